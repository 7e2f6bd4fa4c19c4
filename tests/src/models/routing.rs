//! Masks of DTR, and gates and prior of Switch-DiT.

use burn::tensor::{Tensor, TensorData};
use sinter_models::routing::{self, DtrConfig, Routing};
use sinter_models::{DitConfig, ModelConfig, Network, RoutingConfig};

use super::{Reference, conditions, device, gradient, gradients_of, output, read, tensor, values};
use crate::golden::{Errors, File, Tolerance};

/// The first channel of each task and their number, for other sizes than the network's; and the network's own masks.
pub(super) fn masks(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    for key in file.keys() {
        let Some((field, sizes)) = key.split_once('.') else { continue };
        if !matches!(field, "mask" | "mask_start" | "mask_count") {
            continue;
        }
        let (channels, routing) = mask_sizes(sizes).ok_or(format!("{key} is not understood"))?;
        let mask = routing.mask(channels);
        let tasks = mask.chunks_exact(channels);
        let found: Vec<f64> = match field {
            "mask" => mask.iter().map(|on| f64::from(u8::from(*on))).collect(),
            "mask_start" => tasks.map(|task| task.iter().position(|on| *on).unwrap_or(0) as f64).collect(),
            _ => tasks.map(|task| task.iter().filter(|on| **on).count() as f64).collect(),
        };
        errors.compare(&key, &found, &read(file, &key)?, Tolerance::Absolute(0.0))?;
    }
    let ModelConfig::Dit(DitConfig { width, depth, routing: Some(RoutingConfig::Dtr(routing)), .. }) =
        &reference.config
    else {
        return Err("not a DiT with routed tasks".into());
    };
    for block in 0..*depth {
        let key = format!("w.blocks.{block}.routing._unit_mapping");
        let found: Vec<f64> = routing.mask(*width).iter().map(|on| f64::from(u8::from(*on))).collect();
        errors.compare(&key, &found, &read(file, &key)?, Tolerance::Absolute(0.0))?;
    }
    Ok(())
}

/// `T<tasks>.C<channels>.beta<ratio>.alpha<curvature>`.
fn mask_sizes(sizes: &str) -> Option<(usize, DtrConfig)> {
    let (tasks, rest) = sizes.strip_prefix('T')?.split_once(".C")?;
    let (channels, rest) = rest.split_once(".beta")?;
    let (ratio, curvature) = rest.split_once(".alpha")?;
    let (tasks, ratio, curvature) = (tasks.parse().ok()?, ratio.parse().ok()?, curvature.parse().ok()?);
    Some((channels.parse().ok()?, DtrConfig { tasks, ratio, curvature }))
}

/// The experts of each block: what the gates give them, which are chosen at every time, and the masks that they make of the
/// tokens.
pub(super) fn routers(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let device = device();
    let Network::Dit(network) = reference.network(file, &device)? else { return Err("not a DiT".into()) };
    let x = tensor::<4>(file, "in.x", &device)?;
    let (time, condition) = reference.conditions(file, "in", &device)?;
    let gates = network.gates(time.clone());
    for (block, (routing, gate)) in network.routing.iter().zip(gates).enumerate() {
        let Routing::Experts(experts) = routing else { return Err("no experts".into()) };
        let name = |field: &str| format!("out64.router{block}.{field}");
        errors.compare(&name("probs_active"), &values(gate)?, &read(file, &name("probs_active"))?, output())?;
        let (key, usage) = (name("topk_onehot_all_t"), network.usage().swap_remove(block));
        errors.compare(&key, &values(usage)?, &read(file, &key)?, Tolerance::Absolute(0.0))?;
        let tokens = network.tokens(x.clone(), time.clone(), &condition, block);
        let time = network.conditioning.time.forward(time.clone().into());
        let mask = experts.mask(tokens.into(), time).value;
        errors.compare(&name("mask"), &values(mask)?, &read(file, &name("mask"))?, output())?;
    }
    Ok(())
}

/// The prior and its loss: the table, the costs of matching it, the least cost, and with the stored matching the loss of
/// each image and the gates' gradients.
pub(super) fn prior(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let ModelConfig::Dit(DitConfig { depth, routing: Some(RoutingConfig::Experts(config)), .. }) = &reference.config
    else {
        return Err("not a DiT with experts".into());
    };
    let table = routing::prior::prior(config, *depth);
    let units = table.len() / config.tasks;
    let numbers = |of: &[bool]| of.iter().map(|on| f64::from(u8::from(*on))).collect::<Vec<f64>>();
    errors.compare(
        "prior.unit_mapping",
        &numbers(&table),
        &read(file, "prior.unit_mapping")?,
        Tolerance::Absolute(0.0),
    )?;

    let chosen: Vec<bool> = read(file, "prior.onehot_cat")?.into_iter().map(|on| on > 0.5).collect();
    let costs = routing::prior::costs(&chosen, &table, units);
    let found: Vec<f64> = costs.iter().map(|cost| *cost as f64).collect();
    errors.compare("prior.cost", &found, &read(file, "prior.cost")?, Tolerance::Absolute(0.0))?;
    for step in 0..20 {
        let matched = routing::prior::matching(&costs, units, 0, step);
        let cost: i64 = matched.iter().enumerate().map(|(unit, column)| costs[unit * units + column]).sum();
        let expected = read(file, "prior.matched_cost")?;
        errors.compare("prior.matched_cost", &[cost as f64], &expected, Tolerance::Absolute(0.0))?;
    }

    let device = device().autodiff();
    let network = reference.network(file, &device)?;
    let Network::Dit(dit) = &network else { return Err("not a DiT".into()) };
    let (time, _) = conditions(file, "in", &device)?;
    let tasks: Vec<usize> = read(file, "in.t")?.into_iter().map(|task| task as usize).collect();
    let stored: Vec<usize> =
        read(file, "prior.column_map_gate_to_prior")?.into_iter().map(|column| column as usize).collect();
    let targets = routing::prior::targets(&table, &stored, &tasks);
    let targets = Tensor::from_data(TensorData::new(targets, [tasks.len(), units]), &device);
    let gates = Tensor::cat(dit.gates(time), 1);
    errors.compare("prior.probs_cat", &values(gates.clone())?, &read(file, "prior.probs_cat")?, output())?;
    let losses = routing::prior::divergence(gates / *depth as f64, targets);
    errors.compare("prior.jsd_per_sample", &values(losses.clone())?, &read(file, "prior.jsd_per_sample")?, output())?;
    let loss = losses.mean();
    errors.compare("prior.jsd_loss", &values(loss.clone())?, &read(file, "prior.jsd_loss")?, output())?;
    let ours = gradients_of(&network, &loss.backward())?;
    let theirs = reference.export(ours)?;
    for key in file.keys() {
        let Some(name) = key.strip_prefix("prior.grad.") else { continue };
        let found = theirs.get(name).ok_or(format!("{name} has no gradient"))?;
        errors.compare(&key, found, &read(file, &key)?, gradient())?;
    }
    Ok(())
}

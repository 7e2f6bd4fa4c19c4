//! Outputs and gradients of whole networks, in 32-bit floats, against the reference implementations in 64-bit.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use serde_json::Value;
use sinter_models::parameters::{self, Array, Arrays};
use sinter_models::routing::{self, DtrConfig, ExpertsConfig, Routing};
use sinter_models::unet::AttentionOrder;
use sinter_models::weights;
use sinter_models::{Condition, DataShape, DitConfig, ModelConfig, Network, RoutingConfig, UnetConfig};
use sinter_tests::golden::{self, Case, Errors, File, Tolerance};

const OUTPUT: Tolerance = Tolerance::Relative(2e-5);
const GRADIENT: Tolerance = Tolerance::Relative(5e-5);
/// Of gradients that are zero by structure, relative to the file's largest.
const ZERO_GRADIENT: f64 = 1e-6;

/// Classes of networks that are still to come.
const PENDING: &[&str] = &[
    "EDM DhariwalUNet",
    "EDM SongUNet",
    "EDM preconditioning wrappers",
    "diffusers AutoencoderKL",
    "diffusers UNet2DConditionModel",
    "diffusers UNet2DModel",
];

fn main() -> ExitCode {
    golden::run("golden_models", &["model_"], cases)
}

fn cases(file: &Arc<File>) -> Vec<Case> {
    let class = text(file, "class");
    let reference = match class.as_str() {
        "DiT" => dit_config(file, false),
        "SiT" => dit_config(file, true),
        "DiT with DTR masks" => dtr_config(file),
        "Switch-DiT" => switch_dit_config(file),
        "guided-diffusion UNetModel" => adm_config(file),
        class if PENDING.contains(&class) => return vec![Case::pending("network", class)],
        class => Err(format!("the class {class:?} is not understood")),
    };
    let reference = match reference {
        Ok(reference) => Arc::new(reference),
        Err(reason) => return vec![Case::failed("network", reason)],
    };
    let case = |name: &str, check: fn(&File, &Reference, &mut Errors) -> Result<(), String>| {
        let (file, reference) = (Arc::clone(file), Arc::clone(&reference));
        Case::new(name, move |errors| check(&file, &reference, errors))
    };
    let mut cases = vec![case("outputs", outputs), case("gradients", gradients)];
    if file.contains("cfg.out_scale3") {
        cases.push(case("guided", guided));
    }
    if file.keys().iter().any(|key| key.starts_with("mask_start.")) {
        cases.push(case("masks", masks));
    }
    if file.keys().iter().any(|key| key.starts_with("out64.router")) {
        cases.extend([case("routers", routers), case("prior", prior)]);
    }
    if file.keys().iter().any(|key| key.starts_with("out64.mid.")) {
        cases.push(case("intermediates", intermediates));
    }
    cases
}

/// A network of ours that stands for one of the reference's.
struct Reference {
    config: ModelConfig,
    shape: DataShape,
    implementation: weights::Reference,
    /// Whether the reference throws the second half of its channels away.
    first_half: bool,
}

impl Reference {
    /// The network with the file's weights.
    fn network(&self, file: &File, device: &Device) -> Result<Network, String> {
        let network = self.config.build(&self.shape, device, 0).map_err(|problems| problems.to_string())?;
        let mut weights = Arrays::new();
        if let Some(base) = file.metadata("weights_not_here_are_in") {
            let folder = golden::folder().ok_or("the folder is missing")?;
            let base = File::open(folder.join(base.as_str().unwrap_or_default())).map_err(|error| error.to_string())?;
            weights.extend(self.weights(&base)?);
            // The base may have layers that this network does not.
            let shapes = parameters::names_and_shapes(&network);
            weights.retain(|name, array| shapes.get(name).is_some_and(|shape| *shape == array.shape));
        }
        weights.extend(self.weights(file)?);
        parameters::write(network, weights).map_err(|error| error.to_string())
    }

    /// The file's weights under our names.
    fn weights(&self, file: &File) -> Result<Arrays, String> {
        let mut theirs = Arrays::new();
        for key in file.keys() {
            if let Some(name) = key.strip_prefix("w.") {
                theirs.insert(name.to_owned(), array(file, &key)?);
            }
        }
        self.implementation.import(&self.config, &self.shape, theirs).map_err(|error| error.to_string())
    }

    /// Our tensors under the reference's names.
    fn export(&self, ours: Arrays) -> Result<BTreeMap<String, Vec<f64>>, String> {
        let theirs = self.implementation.export(&self.config, &self.shape, ours).map_err(|error| error.to_string())?;
        Ok(theirs.into_iter().map(|(name, array)| (name, array.values.into_iter().map(f64::from).collect())).collect())
    }

    /// The network's answer to the inputs that start with `prefix`, as far as the reference gives it.
    fn answer(&self, network: &Network, x: Tensor<4>, file: &File, prefix: &str) -> Result<Tensor<4>, String> {
        let device = x.device();
        let (time, condition) = conditions(file, prefix, &device)?;
        let y = network.forward(x, time, &condition, None);
        Ok(if self.first_half { y.chunk(2, 1).swap_remove(0) } else { y })
    }
}

fn outputs(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let device = Device::flex();
    let network = reference.network(file, &device)?;
    let y = reference.answer(&network, tensor(file, "in.x", &device)?, file, "in")?;
    errors.compare("out64.y", &values(y.clone())?, &read(file, "out64.y")?, OUTPUT)?;
    let loss = (y * tensor(file, "fixed", &device)?).mean();
    errors.compare("loss64", &values(loss)?, &read(file, "loss64")?, OUTPUT)
}

fn gradients(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let device = Device::flex().autodiff();
    let network = reference.network(file, &device)?;
    let x = tensor::<4>(file, "in.x", &device)?.require_grad();
    let y = reference.answer(&network, x.clone(), file, "in")?;
    let backward = (y * tensor(file, "fixed", &device)?).mean().backward();

    let ours = gradients_of(&network, &backward)?;
    let square_norm: f64 = ours.values().flat_map(|array| &array.values).map(|value| f64::from(*value).powi(2)).sum();
    errors.compare("grad_sq_norm_all", &[square_norm], &read(file, "grad_sq_norm_all")?, GRADIENT)?;

    let mut ours = reference.export(ours)?;
    ours.insert("x".into(), values(x.grad(&backward).ok_or("no gradient reached x")?)?);

    let zero: BTreeSet<String> = file
        .metadata("params_with_zero_gradient")
        .and_then(|names| serde_json::from_value(names).ok())
        .unwrap_or_default();
    let mut largest = 0.0f64;
    for key in file.keys() {
        let Some(name) = key.strip_prefix("grad64.") else { continue };
        let expected = read(file, &key)?;
        largest = expected.iter().fold(largest, |largest, value| largest.max(value.abs()));
        let found = ours.get(name).ok_or(format!("{name} has no gradient"))?;
        if !zero.contains(name) {
            errors.compare(&key, found, &expected, GRADIENT)?;
        }
    }
    for name in &zero {
        let found = ours.get(name).ok_or(format!("{name} has no gradient"))?;
        let scaled: Vec<f64> = found.iter().map(|value| value / largest).collect();
        errors.compare(name, &scaled, &vec![0.0; scaled.len()], Tolerance::Absolute(ZERO_GRADIENT))?;
    }
    Ok(())
}

/// The gradient of every parameter that has one, by our names.
fn gradients_of(network: &Network, backward: &Gradients) -> Result<Arrays, String> {
    let shapes = parameters::names_and_shapes(network);
    let mut gradients = Arrays::new();
    for (name, gradient) in parameters::gradients(network, backward) {
        let values = gradient.try_into_vec_as::<f32>().map_err(|error| error.to_string())?;
        gradients.insert(name.clone(), Array { shape: shapes[&name].clone(), values });
    }
    Ok(gradients)
}

/// Classifier-free guidance at scale 3 of the first three channels; the other channels are not guided.
fn guided(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let device = Device::flex();
    let network = reference.network(file, &device)?;
    let half = tensor::<4>(file, "cfg.x", &device)?.chunk(2, 0).swap_remove(0);
    let y = reference.answer(&network, Tensor::cat(vec![half.clone(), half], 0), file, "cfg")?;
    let [b, channels, _, _] = y.dims();
    let (with, without) = (y.clone().narrow(0, 0, b / 2), y.clone().narrow(0, b / 2, b / 2));
    let guided = without.clone() + (with - without) * 3.0;
    let mut parts = vec![Tensor::cat(vec![guided.clone(), guided], 0).narrow(1, 0, channels.min(3))];
    if channels > 3 {
        parts.push(y.narrow(1, 3, channels - 3));
    }
    let y = Tensor::cat(parts, 1);
    errors.compare("cfg.out_scale3", &values(y)?, &read(file, "cfg.out_scale3")?, OUTPUT)
}

fn intermediates(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let device = Device::flex();
    let Network::Dit(network) = reference.network(file, &device)? else { return Err("not a DiT".into()) };
    let x = tensor::<4>(file, "in.x", &device)?;
    let (time, condition) = conditions(file, "in", &device)?;
    for key in file.keys() {
        let Some(name) = key.strip_prefix("out64.mid.") else { continue };
        let found = match name {
            "x_emb" => values(network.patch_embedding.forward(x.clone()))?,
            "t_emb" => values(network.conditioning.time.forward(time.clone()))?,
            "block0" => values(network.tokens(x.clone(), time.clone(), &condition, 1))?,
            _ => return Err(format!("{key} is not understood")),
        };
        errors.compare(&key, &found, &read(file, &key)?, OUTPUT)?;
    }
    Ok(())
}

/// The first channel of each task and their number, for other sizes than the network's; and the network's own masks.
fn masks(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
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
fn routers(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let device = Device::flex();
    let Network::Dit(network) = reference.network(file, &device)? else { return Err("not a DiT".into()) };
    let x = tensor::<4>(file, "in.x", &device)?;
    let (time, condition) = conditions(file, "in", &device)?;
    let gates = network.gates(time.clone());
    for (block, (routing, gate)) in network.routing.iter().zip(gates).enumerate() {
        let Routing::Experts(experts) = routing else { return Err("no experts".into()) };
        let name = |field: &str| format!("out64.router{block}.{field}");
        errors.compare(&name("probs_active"), &values(gate)?, &read(file, &name("probs_active"))?, OUTPUT)?;
        let (key, usage) = (name("topk_onehot_all_t"), network.usage().swap_remove(block));
        errors.compare(&key, &values(usage)?, &read(file, &key)?, Tolerance::Absolute(0.0))?;
        let tokens = network.tokens(x.clone(), time.clone(), &condition, block);
        let time = network.conditioning.time.forward(time.clone());
        let mask = experts.mask(tokens, time);
        errors.compare(&name("mask"), &values(mask)?, &read(file, &name("mask"))?, OUTPUT)?;
    }
    Ok(())
}

/// The prior and its loss: the table, the costs of matching it, the least cost, and with the stored matching the loss of
/// each image and the gates' gradients.
fn prior(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
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

    let device = Device::flex().autodiff();
    let network = reference.network(file, &device)?;
    let Network::Dit(dit) = &network else { return Err("not a DiT".into()) };
    let (time, _) = conditions(file, "in", &device)?;
    let tasks: Vec<usize> = read(file, "in.t")?.into_iter().map(|task| task as usize).collect();
    let stored: Vec<usize> =
        read(file, "prior.column_map_gate_to_prior")?.into_iter().map(|column| column as usize).collect();
    let targets = routing::prior::targets(&table, &stored, &tasks);
    let targets = Tensor::from_data(TensorData::new(targets, [tasks.len(), units]), &device);
    let gates = Tensor::cat(dit.gates(time), 1);
    errors.compare("prior.probs_cat", &values(gates.clone())?, &read(file, "prior.probs_cat")?, OUTPUT)?;
    let losses = routing::prior::divergence(gates / *depth as f64, targets);
    errors.compare("prior.jsd_per_sample", &values(losses.clone())?, &read(file, "prior.jsd_per_sample")?, OUTPUT)?;
    let loss = losses.mean();
    errors.compare("prior.jsd_loss", &values(loss.clone())?, &read(file, "prior.jsd_loss")?, OUTPUT)?;
    let ours = gradients_of(&network, &loss.backward())?;
    let theirs = reference.export(ours)?;
    for key in file.keys() {
        let Some(name) = key.strip_prefix("prior.grad.") else { continue };
        let found = theirs.get(name).ok_or(format!("{name} has no gradient"))?;
        errors.compare(&key, found, &read(file, &key)?, GRADIENT)?;
    }
    Ok(())
}

/// DiT with experts.
fn switch_dit_config(file: &File) -> Result<Reference, String> {
    let routing = file.metadata("routing").ok_or("the file has no routing")?;
    let size = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_u64).map(|size| size as usize).ok_or(format!("routing.{key} is missing"))
    };
    let experts = routing.get("param").ok_or("routing.param is missing")?;
    let (count, active) = (size(experts, "num_experts")?, size(experts, "k")?);
    let tasks = size(&routing, "taskcount")?;
    let weight = routing.get("w_JSD").and_then(Value::as_f64).ok_or("routing.w_JSD is missing")?;
    let mut reference = dit_config(file, false)?;
    if let ModelConfig::Dit(config) = &mut reference.config {
        reference.implementation = weights::Reference::SwitchDit;
        let experts = ExpertsConfig { count, active, tasks, prior: weight, ..ExpertsConfig::default() };
        config.routing = Some(RoutingConfig::Experts(experts));
    }
    Ok(reference)
}

/// DiT whose blocks work on some channels at each time.
fn dtr_config(file: &File) -> Result<Reference, String> {
    let number =
        |key: &str| file.metadata(key).and_then(|value| value.as_f64()).ok_or(format!("the file has no {key}"));
    let (tasks, ratio, curvature) = (number("taskcount")? as usize, number("sharing_ratio")?, number("alpha")?);
    let mut reference = dit_config(file, false)?;
    if let ModelConfig::Dit(config) = &mut reference.config {
        reference.implementation = weights::Reference::Dtr;
        config.routing = Some(RoutingConfig::Dtr(DtrConfig { tasks, ratio, curvature }));
    }
    Ok(reference)
}

fn dit_config(file: &File, is_sit: bool) -> Result<Reference, String> {
    let mut config = Config::of(file)?;
    let image = config.size("input_size")?;
    let patch = config.size("patch_size")?;
    let channels = config.size("in_channels")?;
    let classes = config.size("num_classes")?;
    let learned_variance = config.flag("learn_sigma", true);
    let dit = DitConfig {
        patch,
        width: config.size("hidden_size")?,
        depth: config.size("depth")?,
        heads: config.size("num_heads")?,
        mlp_ratio: config.take("mlp_ratio").and_then(|value| value.as_f64()).unwrap_or(4.0),
        null_class: config.take("class_dropout_prob").and_then(|value| value.as_f64()).unwrap_or(0.1) > 0.0,
        learned_variance,
        ..DitConfig::default()
    };
    config.done()?;
    Ok(Reference {
        config: ModelConfig::Dit(dit),
        shape: DataShape::images(channels, image, image).with_classes(classes),
        implementation: weights::Reference::Dit,
        first_half: is_sit && learned_variance,
    })
}

fn adm_config(file: &File) -> Result<Reference, String> {
    let mut config = Config::of(file)?;
    config.take("image_size"); // the reference does not use it
    let (shape, _) = file.tensor("in.x").map_err(|error| error.to_string())?;
    let [_, channels, height, width] = shape[..] else { return Err("in.x is not a batch of images".into()) };
    if config.size("in_channels")? != channels {
        return Err("in_channels is not what in.x has".into());
    }
    let learned_variance = config.size("out_channels")? == 2 * channels;
    let classes = config.take("num_classes").and_then(|value| value.as_u64()).unwrap_or(0) as usize;
    let attention = config.sizes("attention_resolutions")?.into_iter().map(|factor| height / factor).collect();
    let order = match config.flag("use_new_attention_order", false) {
        true => AttentionOrder::PartsFirst,
        false => AttentionOrder::HeadsFirst,
    };
    let unet = UnetConfig {
        channels: config.size("model_channels")?,
        multipliers: config.sizes("channel_mult")?,
        blocks: config.size("num_res_blocks")?,
        attention,
        heads: config.take("num_heads").and_then(|value| value.as_u64()).unwrap_or(1) as usize,
        head_channels: config.take("num_head_channels").and_then(|value| value.as_u64()).map(|size| size as usize),
        attention_order: order,
        scale_shift_norm: config.flag("use_scale_shift_norm", false),
        residual_resample: config.flag("resblock_updown", false),
        null_class: false,
        learned_variance,
        ..UnetConfig::default()
    };
    config.take("dropout"); // the references were run in evaluation mode
    config.done()?;
    Ok(Reference {
        config: ModelConfig::Unet(unet),
        shape: DataShape::images(channels, height, width).with_classes(classes),
        implementation: weights::Reference::Adm,
        first_half: false,
    })
}

/// The reference's own configuration; every key must be taken.
struct Config(BTreeMap<String, Value>);

impl Config {
    fn of(file: &File) -> Result<Self, String> {
        let config = file.metadata("config").ok_or("the file has no config")?;
        serde_json::from_value(config).map(Self).map_err(|error| error.to_string())
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    fn size(&mut self, key: &str) -> Result<usize, String> {
        let value = self.take(key).and_then(|value| value.as_u64()).ok_or(format!("config.{key} is missing"))?;
        Ok(value as usize)
    }

    fn sizes(&mut self, key: &str) -> Result<Vec<usize>, String> {
        let value = self.take(key).ok_or(format!("config.{key} is missing"))?;
        serde_json::from_value(value).map_err(|error| format!("config.{key}: {error}"))
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        self.take(key).and_then(|value| value.as_bool()).unwrap_or(default)
    }

    fn done(self) -> Result<(), String> {
        let rest: Vec<String> = self.0.into_keys().collect();
        if rest.is_empty() { Ok(()) } else { Err(format!("config.{} is not understood", rest.join(", config."))) }
    }
}

/// Time labels and classes of the inputs that start with `prefix`.
fn conditions(file: &File, prefix: &str, device: &Device) -> Result<(Tensor<1>, Condition), String> {
    let time = tensor::<1>(file, &format!("{prefix}.t"), device)?;
    let key = format!("{prefix}.y");
    if !file.contains(&key) {
        return Ok((time, Condition::none()));
    }
    let labels: Vec<i64> = read(file, &key)?.into_iter().map(|label| label as i64).collect();
    let length = labels.len();
    Ok((time, Condition::of_class(Tensor::<1, Int>::from_data(TensorData::new(labels, [length]), device))))
}

fn text(file: &File, key: &str) -> String {
    file.metadata(key).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn read(file: &File, key: &str) -> Result<Vec<f64>, String> {
    file.values(key).map_err(|error| error.to_string())
}

fn array(file: &File, key: &str) -> Result<Array, String> {
    let (shape, values) = file.tensor(key).map_err(|error| error.to_string())?;
    Ok(Array { shape, values: values.into_iter().map(|value| value as f32).collect() })
}

fn tensor<const D: usize>(file: &File, key: &str, device: &Device) -> Result<Tensor<D>, String> {
    let Array { shape, values } = array(file, key)?;
    if shape.len() != D {
        return Err(format!("{key} is {shape:?}, not of {D} dimensions"));
    }
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>, String> {
    let values = tensor.try_into_vec_as::<f32>().map_err(|error| error.to_string())?;
    Ok(values.into_iter().map(f64::from).collect())
}

//! Outputs and gradients of whole networks, in 32-bit floats, against the reference in 64-bit.

use std::collections::BTreeSet;

use burn::tensor::Tensor;
use sinter_models::Network;

use super::{Reference, bound, device, gradient, gradients_of, output, read, tensor, values, zero_gradient};
use crate::golden::{Errors, File, Tolerance};

pub(super) fn outputs(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let device = device();
    let network = reference.network(file, &device)?;
    let y = reference.answer(&network, tensor(file, "in.x", &device)?, file, "in")?;
    let expected = read(file, "out64.y")?;
    errors.compare("out64.y", &values(y.clone())?, &expected, output())?;
    let loss = values((y * tensor(file, "fixed", &device)?).mean())?[0];
    // Its terms have both signs and nearly cancel: it is as exact as they are.
    let terms: Vec<f64> = expected.iter().zip(read(file, "fixed")?).map(|(y, fixed)| (y * fixed).abs()).collect();
    let scale = terms.iter().sum::<f64>() / terms.len() as f64;
    errors.compare("loss64", &[loss / scale], &[read(file, "loss64")?[0] / scale], Tolerance::Absolute(bound(2e-5)))
}

pub(super) fn gradients(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let device = device().autodiff();
    let network = reference.network(file, &device)?;
    let x = tensor::<4>(file, "in.x", &device)?.require_grad();
    let y = reference.answer(&network, x.clone(), file, "in")?;
    let backward = (y * tensor(file, "fixed", &device)?).mean().backward();

    let ours = gradients_of(&network, &backward)?;
    let square_norm: f64 = ours.values().flat_map(|array| &array.values).map(|value| f64::from(*value).powi(2)).sum();
    errors.compare("grad_sq_norm_all", &[square_norm], &read(file, "grad_sq_norm_all")?, gradient())?;

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
            errors.compare(&key, found, &expected, gradient())?;
        }
    }
    for name in &zero {
        let found = ours.get(name).ok_or(format!("{name} has no gradient"))?;
        let scaled: Vec<f64> = found.iter().map(|value| value / largest).collect();
        errors.compare(name, &scaled, &vec![0.0; scaled.len()], Tolerance::Absolute(zero_gradient()))?;
    }
    Ok(())
}

/// Classifier-free guidance at scale 3 of the first three channels; the other channels are not guided.
pub(super) fn guided(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let device = device();
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
    errors.compare("cfg.out_scale3", &values(y)?, &read(file, "cfg.out_scale3")?, output())
}

pub(super) fn intermediates(file: &File, reference: &Reference, errors: &mut Errors) -> Result<(), String> {
    let device = device();
    let Network::Dit(network) = reference.network(file, &device)? else { return Err("not a DiT".into()) };
    let x = tensor::<4>(file, "in.x", &device)?;
    let (time, condition) = reference.conditions(file, "in", &device)?;
    for key in file.keys() {
        let Some(name) = key.strip_prefix("out64.mid.") else { continue };
        let found = match name {
            "x_emb" => values(network.patch_embedding.forward(x.clone().into()).value)?,
            "t_emb" => values(network.conditioning.time.forward(time.clone().into()).value)?,
            "block0" => values(network.tokens(x.clone(), time.clone(), &condition, 1))?,
            _ => return Err(format!("{key} is not understood")),
        };
        errors.compare(&key, &found, &read(file, &key)?, output())?;
    }
    Ok(())
}

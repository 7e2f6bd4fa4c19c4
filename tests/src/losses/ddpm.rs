//! Losses of discrete chains: DDPM's simple loss of three predictions, min-SNR and P2 weights, and the terms of
//! guided-diffusion's `training_losses` that are squared errors.

use burn::tensor::Tensor;
use sinter_process::path::Discrete;
use sinter_process::schedule::Schedule;
use sinter_process::{Path, PathPoint, Prediction, Weight};

use super::Meaning;
use super::batch::{Outcome, combine, images, numbers, objective, read, run};
use crate::golden::{File, number};

/// The golden README's bound.
const TOLERANCE: f64 = 1e-10;

/// The length of the references' chains.
const STEPS: usize = 1000;

pub(super) fn meaning(fields: &[&str]) -> Option<Meaning> {
    match *fields {
        ["x0" | "noise" | "model_out" | "t"] => Some(Meaning::Input),
        [name, "t"] if name.starts_with("respaced") => Some(Meaning::Input),
        [name, ..] if name.starts_with("respace") => Some(Meaning::Pending("chains with some of their steps left out")),
        // Switch-DiT's losses, of epsilon on the linear chain.
        ["switchdit", weight, "loss"] => {
            let weight = match weight {
                "constant" => Weight::Uniform,
                _ => Weight::MinSnr { gamma: number(weight, "min_snr_")? },
            };
            Some(loss(chain("linear")?, Prediction::Epsilon, weight))
        }
        [schedule, ref rest @ ..] => of_chain(chain(schedule)?, rest),
        [] => None,
    }
}

fn chain(schedule: &str) -> Option<Path> {
    Some(Path::Discrete(Discrete::new(Schedule::named(schedule)?, STEPS, false)))
}

fn of_chain(path: Path, fields: &[&str]) -> Option<Meaning> {
    Some(match *fields {
        ["x_t"] => {
            Meaning::tensor(TOLERANCE, move |file| Ok(outcome(file, path, Prediction::Epsilon, Weight::Uniform)?.input))
        }
        ["v_target"] => Meaning::tensor(TOLERANCE, move |file| {
            let of_v = |point: &PathPoint| {
                let target = Prediction::V.target(point);
                (target.data, target.noise)
            };
            Ok(combine(&points(file, &path)?, &read(file, "x0")?, &read(file, "noise")?, of_v))
        }),
        ["snr"] => Meaning::each(TOLERANCE, move |file| Ok(points(file, &path)?.iter().map(PathPoint::snr).collect())),
        ["mse", prediction] => loss(path, self::prediction(prediction)?, Weight::Uniform),
        ["p2", gamma, k, quantity] => {
            weighted(path, quantity, Weight::P2 { k: number(k, "k")?, gamma: number(gamma, "gamma")? })?
        }
        ["q_posterior", quantity] => posterior(path, quantity)?,
        ["prior_bpd"] => Meaning::Pending("the variational bound: its prior term"),
        [min_snr, quantity] => weighted(path, quantity, Weight::MinSnr { gamma: number(min_snr, "minsnr")? })?,
        [mean, variance, kind, term] => guided_diffusion(path, mean, variance, (kind, term))?,
        _ => return None,
    })
}

/// What the file calls a prediction.
fn prediction(name: &str) -> Option<Prediction> {
    match name {
        "eps" | "EPSILON" => Some(Prediction::Epsilon),
        "x0" | "START_X" => Some(Prediction::Data),
        "v" => Some(Prediction::V),
        _ => None,
    }
}

/// The loss of each image.
fn loss(path: Path, prediction: Prediction, weight: Weight) -> Meaning {
    Meaning::each(TOLERANCE, move |file| Ok(outcome(file, path, prediction, weight)?.losses))
}

/// `loss_<prediction>` under a weight, or `w_<prediction>`, the weight itself.
fn weighted(path: Path, quantity: &str, weight: Weight) -> Option<Meaning> {
    let (quantity, prediction) = quantity.split_once('_')?;
    let prediction = self::prediction(prediction)?;
    match quantity {
        "loss" => Some(loss(path, prediction, weight)),
        "w" => Some(Meaning::each(TOLERANCE, move |file| {
            Ok(points(file, &path)?.iter().map(|point| weight.weight(point, &prediction)).collect())
        })),
        _ => None,
    }
}

/// `<mean>.<variance>.<loss type>.<term>`, or `<mean>.<variance>.p.<moment>` of the reverse step.
fn guided_diffusion(path: Path, mean: &str, variance: &str, term: (&str, &str)) -> Option<Meaning> {
    if mean == "PREVIOUS_X" {
        return Some(Meaning::Pending("predictions of the chain's previous state"));
    }
    let prediction = prediction(mean)?;
    Some(match term {
        // Where the network has no part in the variance, the squared error is the whole loss.
        ("MSE" | "RESCALED_MSE", "loss") if variance.starts_with("FIXED_") => loss(path, prediction, Weight::Uniform),
        ("MSE" | "RESCALED_MSE", "mse") => loss(path, prediction, Weight::Uniform),
        ("MSE" | "RESCALED_MSE", "loss" | "vb") => Meaning::Pending("learned variances"),
        ("KL" | "RESCALED_KL", "loss") => Meaning::Pending("the variational bound as a loss"),
        ("p", "pred_xstart") => Meaning::tensor(TOLERANCE, move |file| {
            let state = outcome(file, path.clone(), prediction, Weight::Uniform)?.input;
            let output = numbers(output(file)?);
            let of_data = |point: &PathPoint| {
                let map = prediction.data_from(point);
                (map.x, map.prediction)
            };
            Ok(combine(&points(file, &path)?, &state, &output, of_data))
        }),
        ("p", "mean" | "log_variance") => Meaning::Pending("moments of a chain's reverse steps"),
        _ => return None,
    })
}

/// The posterior of one step back, of each image's every element.
fn posterior(path: Path, quantity: &str) -> Option<Meaning> {
    let of_mean = match quantity {
        "mean" => true,
        "log_variance_clipped" => false,
        _ => return None,
    };
    Some(Meaning::tensor(TOLERANCE, move |file| {
        let Path::Discrete(chain) = &path else { return Err("not a chain".into()) };
        let posterior = chain.table().posterior();
        let (data, state) = (read(file, "x0")?, read(file, "noise")?);
        let state = combine(&points(file, &path)?, &data, &state, |point| (point.alpha, point.sigma));
        let size = data.len() / indices(file)?.len().max(1);
        let images = indices(file)?.into_iter().zip(data.chunks(size).zip(state.chunks(size)));
        let moments = images.flat_map(|(i, (data, state))| {
            let (a, b, log_variance) = (posterior.data[i], posterior.state[i], posterior.log_variance_clipped[i]);
            data.iter().zip(state).map(move |(x0, x)| if of_mean { a * x0 + b * x } else { log_variance })
        });
        Ok(moments.collect())
    }))
}

/// The index of each image on the chain.
fn indices(file: &File) -> Result<Vec<usize>, String> {
    let indices: Vec<usize> = read(file, "t")?.into_iter().map(|index| index as usize).collect();
    if indices.iter().all(|index| *index < STEPS) { Ok(indices) } else { Err("an index beyond the chain".into()) }
}

fn points(file: &File, path: &Path) -> Result<Vec<PathPoint>, String> {
    Ok(indices(file)?.into_iter().map(|index| path.at(path.time_of_native(index as f64))).collect())
}

/// The file's output, without the half that stands for the variance.
fn output(file: &File) -> Result<Tensor<4>, String> {
    let [_, channels, _, _] = images(file, "x0")?.dims();
    Ok(images(file, "model_out")?.narrow(1, 0, channels))
}

fn outcome(file: &File, path: Path, prediction: Prediction, weight: Weight) -> Result<Outcome, String> {
    let points = points(file, &path)?;
    let objective = objective(path, prediction, weight);
    let network = images(file, "model_out")?;
    let outcome = run(&objective, images(file, "x0")?, images(file, "noise")?, &points, |_| network)?;
    let told = outcome.labels.iter().zip(read(file, "t")?).all(|(label, index)| (label - index).abs() < 1e-9);
    if told { Ok(outcome) } else { Err(format!("the network was told the times {:?}", outcome.labels)) }
}

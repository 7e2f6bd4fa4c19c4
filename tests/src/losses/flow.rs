//! Losses and conversions of SiT and flow_matching, whose time runs from noise at 0 to data at 1, and of rectified
//! flow as Stable Diffusion 3 has it, with noise at 1.

use sinter_process::path::VpLinear;
use sinter_process::{Path, PathPoint, Prediction, TimeDistribution, TimeLaw, Weight};

use super::Meaning;
use super::batch::{Outcome, batch, combine, images, numbers, objective, read, run};
use crate::golden::File;

/// The golden README's bound.
const TOLERANCE: f64 = 1e-9;

pub(super) fn meaning(fields: &[&str]) -> Option<Meaning> {
    match *fields {
        ["t" | "x0_noise" | "x1_data" | "velocity" | "score"] | ["rf", "sigma"] => Some(Meaning::Input),
        ["sit" | "fm", name, ..] if name.starts_with("poly") => Some(Meaning::Pending("polynomial paths")),
        ["sit" | "fm", "linearvp", ..] => Some(Meaning::Pending("variance-preserving paths with linear alpha")),
        ["sit" | "fm", name, ref quantity @ ..] => of_path(path(name)?, quantity),
        ["rf", ref quantity @ ..] => rectified(quantity),
        _ => None,
    }
}

fn path(name: &str) -> Option<Path> {
    match name {
        "linear" | "condot" => Some(Path::LinearFlow),
        "gvp" | "cosine" => Some(Path::Trigonometric),
        "vp" => Some(Path::VpLinear(VpLinear::default())),
        _ => None,
    }
}

fn of_path(path: Path, fields: &[&str]) -> Option<Meaning> {
    let quantity = match *fields {
        [quantity] => quantity,
        ["diffusion", ..] => return Some(Meaning::Pending("diffusion coefficients of samplers")),
        _ => return None,
    };
    let curve = |of: fn(&PathPoint) -> f64| {
        let path = path.clone();
        Meaning::each(TOLERANCE, move |file| Ok(points(file, &path)?.iter().map(of).collect()))
    };
    Some(match quantity {
        "alpha" | "alpha_t" => curve(|point| point.alpha),
        "sigma" | "sigma_t" => curve(|point| point.sigma),
        // Their time runs against ours.
        "d_alpha" | "d_alpha_t" => curve(|point| -point.alpha_dot),
        "d_sigma" | "d_sigma_t" => curve(|point| -point.sigma_dot),
        // The forward SDE's drift, and half its squared diffusion: sigma^2 |lambda'|.
        "drift" => Meaning::tensor(TOLERANCE, move |file| {
            let state = state(file, &path)?;
            Ok(combine(&points(file, &path)?, &state, &state, |point| (point.alpha_dot / point.alpha, 0.0)))
        }),
        "drift_var" => curve(|point| -point.sigma.powi(2) * point.lambda_dot()),
        "x_t" => Meaning::tensor(TOLERANCE, move |file| state(file, &path)),
        "u_t" | "dx_t" => Meaning::tensor(TOLERANCE, move |file| {
            Ok(reversed(velocity(&points(file, &path)?, &read(file, "x1_data")?, &read(file, "x0_noise")?)))
        }),
        "loss_velocity" => loss(path, Prediction::Velocity, Weight::Uniform),
        "loss_noise_none" => loss(path, Prediction::Epsilon, Weight::Uniform),
        // SiT's names of weights: of the velocity's error, and of the likelihood's bound.
        "loss_noise_velw" => loss(path, Prediction::Epsilon, Weight::LossOf { prediction: Prediction::Velocity }),
        "loss_noise_likew" => loss(path, Prediction::Epsilon, Weight::Vlb),
        // SiT's loss of a score is |sigma score + eps|^2.
        "loss_score_none" => loss(path, Prediction::Score, Weight::LossOf { prediction: Prediction::Epsilon }),
        _ => conversion(path, quantity)?,
    })
}

/// The loss of each image, where the network puts out the file's `velocity`, whatever it predicts.
fn loss(path: Path, prediction: Prediction, weight: Weight) -> Meaning {
    Meaning::each(TOLERANCE, move |file| Ok(outcome(file, path, prediction, weight)?.losses))
}

/// `<prediction>_from_<prediction>` and `<prediction>_to_<prediction>`.
fn conversion(path: Path, quantity: &str) -> Option<Meaning> {
    let (from, to) = match quantity.split_once("_to_") {
        Some(names) => names,
        None => quantity.split_once("_from_").map(|(to, from)| (from, to))?,
    };
    let (from, to) = (prediction(from)?, prediction(to)?);
    Some(Meaning::tensor(TOLERANCE, move |file| {
        let convert = |point: &PathPoint| {
            let map = from.convert(&to, point);
            (map.x, map.prediction)
        };
        let converted = combine(&points(file, &path)?, &state(file, &path)?, &output(file, &from)?, convert);
        Ok(if to == Prediction::Velocity { reversed(converted) } else { converted })
    }))
}

fn prediction(name: &str) -> Option<Prediction> {
    match name {
        "epsilon" | "noise" => Some(Prediction::Epsilon),
        "target" => Some(Prediction::Data),
        "velocity" => Some(Prediction::Velocity),
        "score" => Some(Prediction::Score),
        _ => None,
    }
}

/// The file's output for a network of a prediction: `score`, and `velocity` for every other.
fn output(file: &File, prediction: &Prediction) -> Result<Vec<f64>, String> {
    match prediction {
        Prediction::Score => read(file, "score"),
        Prediction::Velocity => Ok(reversed(read(file, "velocity")?)),
        _ => read(file, "velocity"),
    }
}

/// A velocity in the other direction of time.
fn reversed(velocity: Vec<f64>) -> Vec<f64> {
    velocity.into_iter().map(|value| -value).collect()
}

/// `rf.<quantity>`: on the linear path at t = sigma.
fn rectified(fields: &[&str]) -> Option<Meaning> {
    let points = |file: &File| -> Result<Vec<PathPoint>, String> {
        Ok(read(file, "rf.sigma")?.into_iter().map(|t| Path::LinearFlow.at(t)).collect())
    };
    let objective = |weight| objective(Path::LinearFlow, Prediction::Velocity, weight);
    Some(match *fields {
        ["x_t"] => Meaning::tensor(TOLERANCE, move |file| {
            let (data, noise) = (images(file, "x1_data")?, images(file, "x0_noise")?);
            Ok(run(&objective(Weight::Uniform), data.clone(), noise, &points(file)?, |_| data)?.input)
        }),
        ["v"] => Meaning::tensor(TOLERANCE, move |file| {
            Ok(velocity(&points(file)?, &read(file, "x1_data")?, &read(file, "x0_noise")?))
        }),
        ["logit_normal_pdf"] => Meaning::each(TOLERANCE, move |file| {
            let law = TimeDistribution::LogitNormal { mean: 0.0, deviation: 1.0 };
            let law = TimeLaw { distribution: law, stratified: false };
            Ok(points(file)?.iter().map(|point| law.density(&Path::LinearFlow, point.t)).collect())
        }),
        ["weight", "none"] => Meaning::each(TOLERANCE, move |file| {
            Ok(points(file)?.iter().map(|point| Weight::Uniform.weight(point, &Prediction::Velocity)).collect())
        }),
        ["weight", ..] => Meaning::Pending("the weights of Stable Diffusion 3"),
        _ => return None,
    })
}

/// The point of each image, whose time in the file is 1 at data.
fn points(file: &File, path: &Path) -> Result<Vec<PathPoint>, String> {
    Ok(read(file, "t")?.into_iter().map(|t| path.at(1.0 - t)).collect())
}

/// The states that the objective shows its network.
fn state(file: &File, path: &Path) -> Result<Vec<f64>, String> {
    Ok(outcome(file, path.clone(), Prediction::Velocity, Weight::Uniform)?.input)
}

/// The path's velocity of each image.
fn velocity(points: &[PathPoint], data: &[f64], noise: &[f64]) -> Vec<f64> {
    combine(points, data, noise, |point| {
        let target = Prediction::Velocity.target(point);
        (target.data, target.noise)
    })
}

fn outcome(file: &File, path: Path, prediction: Prediction, weight: Weight) -> Result<Outcome, String> {
    let points = points(file, &path)?;
    let (data, noise) = (images(file, "x1_data")?, images(file, "x0_noise")?);
    let shape = data.dims();
    // The reference took its loss of a score from the same output as its other losses.
    let output = match prediction {
        Prediction::Score => numbers(images(file, "velocity")?),
        _ => output(file, &prediction)?,
    };
    run(&objective(path, prediction, weight), data, noise, &points, |_| batch(output, shape))
}

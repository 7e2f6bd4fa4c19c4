//! Divergences of two means of one step, in both published scales.

use sinter_process::Path;
use sinter_solvers::{Divergence, FlowKernel, Kernel, Transition};

use super::{Meaning, read, scalar};
use crate::golden::File;

pub(super) fn meaning(fields: &[&str]) -> Option<Meaning> {
    let of = |form: Divergence| {
        Meaning::ours(move |file| {
            let (square, elements) = mean_square(file)?;
            Ok(vec![transition(file, square, form)?.divergence(form, square, elements)])
        })
    };
    match *fields {
        ["kl", "mean" | "mean_ref"] => Some(Meaning::Input),
        ["kl", "flowgrpo_no_dt"] => of(Divergence::WithoutStep),
        ["kl", "true_gaussian_mean_dim"] => of(Divergence::Mean),
        _ => None,
    }
}

/// The mean of the squared differences of both means, and of how many.
fn mean_square(file: &File) -> Result<(f64, usize), String> {
    let (one, other) = (read(file, "kl.mean")?, read(file, "kl.mean_ref")?);
    let squares: f64 = one.iter().zip(&other).map(|(one, other)| (one - other).powi(2)).sum();
    Ok((squares / one.len() as f64, one.len()))
}

/// The step of Flow-GRPO's that the file took the divergences at. The file does not name it, but the two scales are as
/// far apart as the step is long. It rounds the step's deviation, and its noise, to 32 bits.
fn transition(file: &File, square: f64, form: Divergence) -> Result<Transition, String> {
    let times = read(file, "sigmas")?;
    let kernel = Kernel::Flow(FlowKernel { noise: scalar(file, "eta")? });
    let [without_step, mean] = [scalar(file, "kl.flowgrpo_no_dt")?, scalar(file, "kl.true_gaussian_mean_dim")?];
    let steps =
        times.windows(2).map(|pair| kernel.transition(&Path::LinearFlow.at(pair[0]), &Path::LinearFlow.at(pair[1])));
    let distance = |step: &Transition| {
        let of = |form, reference: f64| (step.divergence(form, square, 1) / reference).ln().abs();
        of(Divergence::WithoutStep, without_step) + of(Divergence::Mean, mean)
    };
    let step = steps.min_by(|one, other| distance(one).total_cmp(&distance(other))).ok_or("the file has no steps")?;
    let rounded = |number: f64| f64::from(number as f32);
    let deviation = match form {
        Divergence::WithoutStep => rounded(step.deviation / step.duration.sqrt()) * step.duration.sqrt(),
        Divergence::Sum | Divergence::Mean => rounded(step.deviation),
    };
    Ok(Transition { deviation, ..step })
}

//! The clipped loss: its mean over samples, its gradient by their log densities, and what is logged of it.

use sinter_objectives::reward::{PolicyLoss, StepLoss, approximate_divergence};

use super::{Meaning, read};
use crate::golden::{File, number};

pub(super) fn meaning(fields: &[&str]) -> Option<Meaning> {
    match *fields {
        ["ppo", "advantages" | "logp_new" | "logp_old"] => Some(Meaning::Input),
        ["ppo", "approx_kl"] => Meaning::ours(|file| Ok(vec![approximate_divergence(&log_ratios(file)?)])),
        ["ppo", clip, limit, quantity] => {
            let (clip, limit) = (number(clip, "clip")?, number(limit, "advmax")?);
            let loss = PolicyLoss { clip: Some(clip), advantage_limit: Some(limit) };
            let steps = move |file: &File| -> Result<Vec<StepLoss>, String> {
                let advantages = read(file, "ppo.advantages")?;
                Ok(advantages
                    .iter()
                    .zip(log_ratios(file)?)
                    .map(|(advantage, ratio)| loss.step(*advantage, ratio))
                    .collect())
            };
            let mean = move |of: fn(&StepLoss) -> f64| {
                Meaning::ours(move |file| {
                    let steps = steps(file)?;
                    Ok(vec![steps.iter().map(of).sum::<f64>() / steps.len() as f64])
                })
            };
            match quantity {
                "loss" => mean(|step| step.loss),
                "clipfrac" => mean(|step| if step.outside { 1.0 } else { 0.0 }),
                "grad_logp_new" => Meaning::ours(move |file| {
                    let steps = steps(file)?;
                    Ok(steps.iter().map(|step| step.gradient / steps.len() as f64).collect())
                }),
                _ => None,
            }
        }
        _ => None,
    }
}

fn log_ratios(file: &File) -> Result<Vec<f64>, String> {
    let (now, then) = (read(file, "ppo.logp_new")?, read(file, "ppo.logp_old")?);
    Ok(now.iter().zip(then).map(|(now, then)| now - then).collect())
}

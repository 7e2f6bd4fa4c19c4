//! Stochastic steps: Flow-GRPO's and DanceGRPO's at step `i` of the file's grid, DDPO's between two indices of its chain;
//! and the grids of G2RPO's continuations.

use sinter_process::{Path, PathPoint, Prediction};
use sinter_solvers::rollout::strided;
use sinter_solvers::{AncestralKernel, ConstantKernel, Density, FlowKernel, Kernel, Transition};

use super::{Meaning, as_stored, read, samples, scalar};
use crate::golden::{File, number};

pub(super) fn meaning(fields: &[&str]) -> Option<Meaning> {
    match *fields {
        ["sigmas" | "eta" | "latents" | "model_output" | "noise"] => Some(Meaning::Input),
        ["flowgrpo", step, quantity] => of_step(Family::Flow, number(step, "i")?, quantity),
        ["dance", step, quantity] => of_step(Family::Dance, number(step, "i")?, quantity),
        ["ddpo", "alphas_cumprod" | "step"] => Some(Meaning::Input),
        // Any state will do whose density is asked for; its noise is not in the file.
        ["ddpo", _, "prev"] => Some(Meaning::Input),
        ["ddpo", index, "log_prob"] => {
            let index: usize = number(index, "t")?;
            Meaning::ours(move |file| ancestral(file, index))
        }
        ["g2rpo", "sigmas", branch, stride] => {
            let (branch, stride) = (number(branch, "step")?, number(stride, "granularity")?);
            Meaning::ours(move |file| {
                let times = read(file, "sigmas")?;
                Ok(strided(times.len() - 1, branch, stride).into_iter().map(|index| times[index]).collect())
            })
        }
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Family {
    Flow,
    Dance,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Flow => "flowgrpo",
            Self::Dance => "dance",
        }
    }

    fn kernel(self, noise: f64) -> Kernel {
        match self {
            Self::Flow => Kernel::Flow(FlowKernel { noise }),
            Self::Dance => Kernel::Constant(ConstantKernel { noise }),
        }
    }
}

/// A step of the file's grid with its states and what is expected at them.
struct Step {
    kernel: Kernel,
    from: PathPoint,
    to: PathPoint,
    states: Vec<Vec<f64>>,
    data: Vec<Vec<f64>>,
}

impl Step {
    fn read(file: &File, family: Family, index: usize) -> Result<Self, String> {
        let times = read(file, "sigmas")?;
        let [from, to] = times[..].windows(2).nth(index).and_then(|pair| pair.try_into().ok()).ok_or("no such step")?;
        let (from, to): (f64, f64) = (from, to);
        let (from, to) = (Path::LinearFlow.at(from), Path::LinearFlow.at(to));
        let states = samples(file, "latents")?;
        let map = Prediction::Velocity.data_from(&from);
        let of_sample = |(x, v): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
            x.iter().zip(v).map(|(x, v)| map.x * x + map.prediction * v).collect()
        };
        let data = states.iter().zip(&samples(file, "model_output")?).map(of_sample).collect();
        Ok(Self { kernel: family.kernel(scalar(file, "eta")?), from, to, states, data })
    }

    fn transition(&self) -> Transition {
        self.kernel.transition(&self.from, &self.to)
    }

    fn means(&self) -> Vec<Vec<f64>> {
        let transition = self.transition();
        self.states.iter().zip(&self.data).map(|(x, data)| transition.mean(x, data)).collect()
    }
}

fn of_step(family: Family, index: usize, quantity: &str) -> Option<Meaning> {
    let step = move |file: &File| Step::read(file, family, index);
    let key = format!("{}.i{index}.{quantity}", family.name());
    match quantity {
        "mean" => Meaning::ours(move |file| Ok(step(file)?.means().concat())),
        "pred_x0" => Meaning::ours(move |file| Ok(step(file)?.data.concat())),
        "std" => {
            Meaning::ours(move |file| Ok(vec![as_stored(step(file)?.transition().deviation, scalar(file, &key)?)]))
        }
        "std_dev_t" => Meaning::ours(move |file| {
            let step = step(file)?;
            let noise = step.kernel.diffusion(&step.from, &step.to).ok_or("the kernel follows no SDE")?;
            Ok(vec![as_stored(noise, scalar(file, &key)?)])
        }),
        "prev" => Meaning::ours(move |file| {
            let step = step(file)?;
            let deviation = step.transition().deviation;
            let noise = read(file, "noise")?;
            Ok(step.means().concat().iter().zip(noise).map(|(mean, noise)| mean + deviation * noise).collect())
        }),
        "log_prob" => {
            let next = format!("{}.i{index}.prev", family.name());
            Meaning::ours(move |file| {
                let step = step(file)?;
                let transition = step.transition();
                let next = samples(file, &next)?;
                let means = step.means();
                Ok(next.iter().zip(&means).map(|(x, m)| transition.log_density(Density::Normal, x, m)).collect())
            })
        }
        _ => None,
    }
}

/// The log densities of the file's states at index `t - step` of its chain, from `t`; its network predicts noise.
fn ancestral(file: &File, index: usize) -> Result<Vec<f64>, String> {
    let cumulated = read(file, "ddpo.alphas_cumprod")?;
    let next = index as i64 - scalar(file, "ddpo.step")? as i64;
    let point = |t: f64, cumulated: f64| PathPoint::variance_preserving(t, 0.5 * cumulated.ln(), 0.0);
    let from = point(1.0, *cumulated.get(index).ok_or("no such index")?);
    // Below the chain there are data.
    let to = point(0.0, usize::try_from(next).ok().and_then(|next| cumulated.get(next)).copied().unwrap_or(1.0));
    let transition = Kernel::Ancestral(AncestralKernel { eta: 1.0 }).transition(&from, &to);
    let map = Prediction::Epsilon.data_from(&from);
    let (states, noise) = (samples(file, "latents")?, samples(file, "model_output")?);
    let reached = samples(file, &format!("ddpo.t{index}.prev"))?;
    // The reference takes the logarithm of the root of 2 pi in 32 bits.
    let constant = f64::from(std::f32::consts::TAU.sqrt().ln()) - 0.5 * std::f64::consts::TAU.ln();
    let sample = |((x, noise), reached): ((&Vec<f64>, &Vec<f64>), &Vec<f64>)| {
        let data: Vec<f64> = x.iter().zip(noise).map(|(x, noise)| map.x * x + map.prediction * noise).collect();
        transition.log_density(Density::Normal, reached, &transition.mean(x, &data)) - constant
    };
    Ok(states.iter().zip(&noise).zip(&reached).map(sample).collect())
}

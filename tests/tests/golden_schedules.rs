//! Every schedule, spacing and closed form of the files `schedules*` and `gmm_*`.

use std::process::ExitCode;
use std::sync::Arc;

use sinter_process::path::VpLinear;
use sinter_process::schedule::{
    Schedule, Spacing, Table, exponential, flow_sigmas, karras, linspace, polyexponential, shift_time,
    zero_terminal_snr,
};
use sinter_process::{Path, PathPoint, Prediction, dynamic_threshold};
use sinter_tests::golden::{self, Case, Errors, File, Tolerance, number};

const TOLERANCE: Tolerance = Tolerance::Relative(1e-12);

fn main() -> ExitCode {
    golden::run("golden_schedules", &["schedules", "gmm_"], |file| {
        if file.contains("gmm.w") { mixture_cases(file) } else { schedule_cases(file) }
    })
}

/// One case a tensor; `threshold.x0` is an input.
fn schedule_cases(file: &Arc<File>) -> Vec<Case> {
    let outputs = file.keys().into_iter().filter(|key| key != "threshold.x0");
    outputs
        .map(|key| {
            let file = Arc::clone(file);
            Case::new(key.clone(), move |errors: &mut Errors| {
                let fields = golden::fields(&key);
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                let ours = expected(&file, &fields).ok_or("the key's fields are not understood")??;
                let reference = file.values(&key).map_err(|error| error.to_string())?;
                errors.compare(&key, &ours, &reference, TOLERANCE)
            })
        })
        .collect()
}

/// What we compute for the tensor of the given fields; none if they say nothing to us.
fn expected(file: &File, fields: &[&str]) -> Option<Result<Vec<f64>, String>> {
    let values = match fields {
        ["zerosnr", schedule, steps, quantity] => {
            chain_quantity(&Table::new(zero_terminal_snr(&betas(schedule, steps)?)), quantity)?
        }
        ["posterior", schedule, steps, quantity] => {
            let posterior = Table::new(betas(schedule, steps)?).posterior();
            match *quantity {
                "variance" => posterior.variance,
                "log_variance_clipped" => posterior.log_variance_clipped,
                "mean_coef1" => posterior.data,
                "mean_coef2" => posterior.state,
                _ => return None,
            }
        }
        [family @ ("karras" | "polyexponential"), low, high, count, rho] => {
            let (low, high, count) = (number(low, "lo")?, number(high, "hi")?, number(count, "n")?);
            let grid = if *family == "karras" { karras } else { polyexponential };
            grid(low, high, number(rho, "rho")?, count)
        }
        ["exponential", low, high, count] => exponential(number(low, "lo")?, number(high, "hi")?, number(count, "n")?),
        ["vp", count] => {
            let path = Path::VpLinear(VpLinear::default());
            linspace(1.0, 1e-3, number(count, "n")?).into_iter().map(|t| path.at(t).rho()).collect()
        }
        ["flow", rest @ ..] => flow(rest)?,
        ["threshold", ratio, largest] => {
            return Some(threshold(file, number(ratio, "r")?, number(largest, "max")?));
        }
        [family @ ("euler" | "ddim" | "dpm"), spacing, count, quantity] => {
            spaced(family, spacing, number(count, "n")?, quantity)?
        }
        [schedule, steps, quantity] => chain_quantity(&Table::new(betas(schedule, steps)?), quantity)?,
        _ => return None,
    };
    Some(Ok(values))
}

fn betas(schedule: &str, steps: &str) -> Option<Vec<f64>> {
    let name = if schedule == "squaredcos_cap_v2" { "cosine" } else { schedule };
    Some(Schedule::named(name)?.betas(number(steps, "T")?))
}

fn chain_quantity(table: &Table, quantity: &str) -> Option<Vec<f64>> {
    Some(match quantity {
        "betas" => table.betas().to_vec(),
        "alphas_cumprod" => table.alphas_cumprod(),
        "logsnr" => table.log_snr(),
        _ => return None,
    })
}

fn flow(fields: &[&str]) -> Option<Vec<f64>> {
    let shifted = |times: Vec<f64>, shift: f64| times.into_iter().map(|t| shift_time(t, shift)).collect();
    Some(match fields {
        ["timeshift", shift, count] => {
            shifted(linspace(1.0, 0.0, number::<usize>(count, "n")? + 1), number(shift, "s")?)
        }
        ["diffusers", shift, count] => flow_sigmas(number(shift, "s")?, 1000, number(count, "n")?),
        ["diffusers", shift, count, "timesteps"] => {
            let mut times = flow_sigmas(number(shift, "s")?, 1000, number(count, "n")?);
            times.pop();
            times.into_iter().map(|t| 1000.0 * t).collect()
        }
        [family @ ("expshift" | "linshift"), mu, count] => {
            let (mu, count): (f64, usize) = (number(mu, "mu")?, number(count, "n")?);
            let shift = if *family == "expshift" { mu.exp() } else { mu };
            shifted(linspace(1.0, 1.0 / count as f64, count), shift)
        }
        _ => return None,
    })
}

/// The indices that a family of samplers visits on DDPM's chain of 1000 steps, and their noise levels with a final 0.
fn spaced(family: &str, spacing: &str, count: usize, quantity: &str) -> Option<Vec<f64>> {
    let table = Table::new(Schedule::default().betas(1000));
    let spacing = match spacing {
        "leading" => Spacing::Leading { offset: 0 },
        "trailing" => Spacing::Trailing,
        "linspace" => Spacing::Linspace,
        _ => return None,
    };
    let rounded = |indices: Vec<f64>| indices.into_iter().map(f64::round_ties_even).collect();
    let indices: Vec<f64> = match family {
        "euler" => spacing.indices(1000, count),
        "ddim" => rounded(spacing.indices(1000, count)),
        _ => rounded(spacing.interval_indices(1000, count)),
    };
    match quantity {
        "timesteps" => Some(indices),
        "sigmas" => Some(indices.into_iter().map(|index| table.rho_at(index)).chain([0.0]).collect()),
        _ => None,
    }
}

fn threshold(file: &File, ratio: f64, largest: f64) -> Result<Vec<f64>, String> {
    let (shape, mut images) = file.tensor("threshold.x0").map_err(|error| error.to_string())?;
    let size = shape.iter().skip(1).product();
    for image in images.chunks_mut(size) {
        dynamic_threshold(image, ratio, largest);
    }
    Ok(images)
}

/// One case a quantity that the exact denoiser of a mixture gives.
fn mixture_cases(file: &Arc<File>) -> Vec<Case> {
    let inputs = ["x", "alpha", "sigma", "gmm.w", "gmm.mu", "gmm.var"];
    let outputs = file.keys().into_iter().filter(|key| !inputs.contains(&key.as_str()));
    outputs
        .map(|key| {
            let file = Arc::clone(file);
            Case::new(key.clone(), move |errors: &mut Errors| {
                let ours = mixture_quantity(&file, &key)?;
                let reference = file.values(&key).map_err(|error| error.to_string())?;
                errors.compare(&key, &ours, &reference, TOLERANCE)
            })
        })
        .collect()
}

fn mixture_quantity(file: &File, key: &str) -> Result<Vec<f64>, String> {
    let mixture = golden::mixture(file)?;
    let values = |key: &str| file.values(key).map_err(|error| error.to_string());
    let (x, alpha, sigma) = (values("x")?, values("alpha")?, values("sigma")?);
    let states = x.chunks(mixture.dimension()).zip(alpha.iter().zip(&sigma));
    let mut ours = Vec::new();
    for (x, (&alpha, &sigma)) in states {
        let known = mixture.denoise(x, alpha, sigma);
        // The linear path's velocity eps - x0 needs no more of a point than its derivatives.
        let point = PathPoint { t: sigma, alpha, sigma, alpha_dot: -1.0, sigma_dot: 1.0 };
        match key {
            "logp" => ours.push(known.log_density),
            "score" => ours.extend(known.predict(&Prediction::Score, &point)),
            "eps" => ours.extend(known.predict(&Prediction::Epsilon, &point)),
            "x0" => ours.extend(known.predict(&Prediction::Data, &point)),
            "v" => ours.extend(known.predict(&Prediction::V, &point)),
            "vel" => ours.extend(known.predict(&Prediction::Velocity, &point)),
            _ => return Err("no such quantity of a mixture".into()),
        }
    }
    Ok(ours)
}

//! Runs of `diffusers` schedulers, from the configuration in a file's metadata.

mod classes;
mod grids;
mod settings;

use std::collections::BTreeMap;

use serde_json::Value;
use sinter_solvers::{Level, Plan};

use super::{Built, Run, States, Values, Which, asked_levels, mixture, start};
use crate::golden::{File, Tolerance};
use settings::Settings;

/// States agree to this, absolutely: the golden README's bound.
const TOLERANCE: f64 = 1e-10;

/// Schedules agree to this: the golden README's bound.
const SCHEDULE: Tolerance = Tolerance::Relative(1e-12);

/// Why a run does not become a plan.
enum Stop {
    /// A class or feature that is still to come.
    Pending(String),
    /// Anything else.
    Failed(String),
}

impl Stop {
    fn pending<T>(feature: impl Into<String>) -> Result<T, Self> {
        Err(Self::Pending(feature.into()))
    }
}

impl<T: std::fmt::Display> From<T> for Stop {
    fn from(reason: T) -> Self {
        Self::Failed(reason.to_string())
    }
}

/// The plan of a run, and what its scheduler says of itself.
struct Draft {
    plan: Plan,
    /// Whether the scheduler's own sigmas are those of the linear path, and not noise-to-signal ratios.
    linear: bool,
    /// The times that a network is told, where they follow from the plan or the grid.
    times: Option<Vec<f64>>,
}

/// Every run of the file's metadata.
pub(super) fn runs(file: &File, runs: &Value) -> Vec<(String, Result<Built, String>)> {
    // Python writes infinities that JSON does not know.
    let runs = match runs {
        Value::String(text) => serde_json::from_str(&text.replace("Infinity", "\"inf\"").replace("NaN", "null")),
        other => Ok(other.clone()),
    };
    let runs = match runs {
        Ok(Value::Object(runs)) => runs,
        _ => return vec![("runs".into(), Err("the metadata's runs are no table".into()))],
    };
    let built = |name: &str, entry: &Value| match build(file, name, entry) {
        Ok(run) => Ok(Built::Run(Box::new(run))),
        Err(Stop::Pending(reason)) => Ok(Built::Pending(reason)),
        Err(Stop::Failed(reason)) => Err(reason),
    };
    runs.iter().map(|(name, entry)| (name.clone(), built(name, entry))).collect()
}

fn build(file: &File, name: &str, entry: &Value) -> Result<Run, Stop> {
    let class = entry["cls"].as_str().ok_or("no class")?;
    let steps = entry["steps"].as_u64().filter(|steps| *steps > 0).ok_or("no number of steps")? as usize;
    let settings = Settings::new([&entry["config"], &entry["step_kwargs"], &entry["set_timesteps_kwargs"]]);
    let sigmas = format!("{name}.sigmas");
    let sigmas = if file.contains(&sigmas) { file.values(&sigmas)? } else { Vec::new() };
    let draft = classes::draft(class, &settings, steps, &sigmas)?;
    settings.all_read()?;
    let read = |field: &str| file.values(&format!("{name}.{field}"));
    Ok(Run {
        start: start(file, draft.plan.scale)?,
        mixture: mixture(file)?,
        noise: noise(file, name)?,
        states: vec![States { which: Which::AskedAndLast, values: read("traj")? }],
        values: values(file, name, &draft)?,
        tolerance: TOLERANCE,
        float32_difference: entry["max_diff_if_schedule_in_float32"].as_f64(),
        plan: draft.plan,
    })
}

/// The noise of each draw: the file's, by the number of the call that drew it.
fn noise(file: &File, name: &str) -> Result<BTreeMap<usize, Vec<f64>>, Stop> {
    let (noise, call) = (format!("{name}.noise"), format!("{name}.noise_call"));
    if !file.contains(&noise) {
        return Ok(Default::default());
    }
    let (calls, values) = (file.values(&call)?, file.values(&noise)?);
    let size = values.len() / calls.len().max(1);
    Ok(calls.iter().map(|call| *call as usize).zip(values.chunks(size).map(<[f64]>::to_vec)).collect())
}

/// What is known before the run: levels, the scheduler's sigmas, the network's times.
fn values(file: &File, name: &str, draft: &Draft) -> Result<Vec<Values>, Stop> {
    let read = |field: &str| file.values(&format!("{name}.{field}"));
    let levels = asked_levels(&draft.plan);
    let asked = &levels[..levels.len() - 1];
    // The file's levels and ours may be those of rescaled states: alpha and sigma of unit variance are compared.
    let unit = |alpha: f64, sigma: f64| [alpha, sigma].map(|part| part / alpha.hypot(sigma));
    let ours = asked.iter().flat_map(|level| unit(level.alpha, level.sigma)).collect();
    let (alphas, sigmas) = (read("eval_alpha")?, read("eval_sigma")?);
    let reference = alphas.iter().zip(&sigmas).flat_map(|(alpha, sigma)| unit(*alpha, *sigma)).collect();
    let mut values = vec![Values { what: "levels".into(), ours, reference, tolerance: SCHEDULE }];
    if file.contains(&format!("{name}.sigmas")) {
        let sigma = |level: &Level| if draft.linear { level.sigma } else { level.rho() };
        let ours = levels.iter().map(sigma).collect();
        values.push(Values { what: "sigmas".into(), ours, reference: read("sigmas")?, tolerance: SCHEDULE });
    }
    if let Some(times) = &draft.times {
        let (ours, reference) = (times.clone(), read("timesteps")?);
        values.push(Values { what: "timesteps".into(), ours, reference, tolerance: SCHEDULE });
    }
    Ok(values)
}

//! Runs of k-diffusion's `sample_*` functions on Karras sigmas.

use sinter_process::Path;
use sinter_solvers::{Churn, Clock, Ddim, DpmMultistep, End, Euler, Grid, Heun, Karras, Rule, Sampler, Solver};

use super::keys::Key;
use super::{Built, Run, States, Values, Which, mixture, start};
use crate::golden::{File, Tolerance};

const TOLERANCE: f64 = 1e-10;

/// The functions that are still to come.
const PENDING: [&str; 7] = [
    "sample_dpm_2",
    "sample_dpm_2_ancestral",
    "sample_dpm_adaptive",
    "sample_dpm_fast",
    "sample_dpmpp_2s_ancestral",
    "sample_dpmpp_sde",
    "sample_lms",
];

pub(super) fn build(file: &File, key: &Key) -> Result<Built, String> {
    let function = key.field(0);
    if PENDING.contains(&function) {
        return Ok(Built::Pending(function.into()));
    }
    let steps = key.steps()?;
    let sigmas = file.values(&format!("sigmas.s{steps}")).map_err(|error| error.to_string())?;
    let churn = churn(key);
    // k-diffusion's eta is the square of ours: its noise has deviation sqrt(1 - e^{-2 eta h}).
    let eta = key.number("eta").unwrap_or(0.0).sqrt();
    let multistep = DpmMultistep { lower_order_below: 0, ..DpmMultistep::default() };
    let solver = match function {
        "sample_euler" => Solver::Euler(Euler { clock: Clock::Rho, churn }),
        "sample_heun" => Solver::Heun(Heun { clock: Clock::Rho, churn }),
        // Here eta scales the fresh noise itself.
        "sample_euler_ancestral" => {
            Solver::Ddim(Ddim { eta: key.number("eta").unwrap_or(1.0), noise_from_clipped: false })
        }
        "sample_dpmpp_2m" => Solver::DpmMultistep(multistep),
        "sample_dpmpp_2m_sde" => {
            let rule = if key.has("heun") { Rule::Taylor } else { Rule::Midpoint };
            Solver::DpmMultistep(DpmMultistep { rule, eta, ..multistep })
        }
        "sample_dpmpp_3m_sde" => Solver::DpmMultistep(DpmMultistep { order: 3, rule: Rule::Taylor, eta, ..multistep }),
        other => return Err(format!("unknown function {other}")),
    };
    let (maximum, minimum) = (sigmas.first().copied(), sigmas.get(steps - 1).copied());
    let grid = Grid::Karras(Karras { power: 7.0, minimum, maximum });
    let sampler = Sampler { solver, grid, steps, end: End::Data, clipping: None, start_deviation: 0.0 };
    let plan = sampler.plan(&Path::Edm(Default::default())).map_err(|problems| problems.to_string())?;
    let read = |field: &str| file.values(&format!("{}.{field}", key.name)).map_err(|error| error.to_string());
    let mut states = vec![States { which: Which::Last, values: read("final")? }];
    if file.contains(&format!("{}.x_before_step", key.name)) {
        states.push(States { which: Which::FirstAsked, values: read("x_before_step")? });
    }
    let levels = plan.levels().iter().map(|level| level.sigma).collect();
    let tolerance = Tolerance::Absolute(TOLERANCE);
    let values = vec![Values { what: "sigmas".into(), ours: levels, reference: sigmas, tolerance }];
    Ok(Built::Run(Box::new(Run {
        start: start(file, plan.scale)?,
        mixture: mixture(file)?,
        noise: noise(file, key)?,
        states,
        values,
        tolerance: TOLERANCE,
        float32_difference: None,
        plan,
    })))
}

/// The churn of a key's `churnN`, with the bounds and the scale that the golden README gives.
pub(super) fn churn(key: &Key) -> Churn {
    let Some(amount) = key.number("churn") else { return Churn::default() };
    Churn { amount, minimum: 0.05, maximum: Some(50.0), noise: 1.003, reread: None }
}

/// The noise of each step; it is drawn in every step, used or not.
pub(super) fn noise(file: &File, key: &Key) -> Result<std::collections::BTreeMap<usize, Vec<f64>>, String> {
    let name = format!("{}.noise", key.name);
    if !file.contains(&name) {
        return Ok(Default::default());
    }
    let (shape, values) = file.tensor(&name).map_err(|error| error.to_string())?;
    let size = values.len() / shape.first().copied().unwrap_or(1).max(1);
    Ok(values.chunks(size.max(1)).map(<[f64]>::to_vec).enumerate().collect())
}

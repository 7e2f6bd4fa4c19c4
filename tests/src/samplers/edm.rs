//! Runs of EDM's `edm_sampler` and `ablation_sampler` with their default settings.

use std::f64::consts::PI;

use sinter_process::schedule::{karras, linspace};
use sinter_process::{Path, PathPoint};
use sinter_solvers::{Clock, End, Euler, Grid, Heun, Karras, Plan, Sampler, Solver, compile};

use super::keys::Key;
use super::{Built, Run, States, Which, kdiffusion, mixture, start};
use crate::golden::File;

const TOLERANCE: f64 = 1e-10;

/// Where the schedule's time is not sigma, the reference goes from one to the other and back before each step and adds
/// noise, not recorded, of the variance that rounding leaves between them: about 1e-16 of the state's, so that no two
/// runs of the reference itself need agree to more than 1e-7.
const TOLERANCE_WITH_LEFT_OVER_NOISE: f64 = 2e-7;

pub(super) fn build(file: &File, key: &Key) -> Result<Built, String> {
    let steps = key.steps()?;
    let plain = key.field(0) == "edm_sampler";
    let plan = if plain { sampler(key, steps) } else { ablation(key, steps) }?;
    let exact = plain || key.field(3) == "linear";
    let tolerance = if exact { TOLERANCE } else { TOLERANCE_WITH_LEFT_OVER_NOISE };
    let read = |field: &str| file.values(&format!("{}.{field}", key.name)).map_err(|error| error.to_string());
    Ok(Built::Run(Box::new(Run {
        start: start(file, plan.scale)?,
        mixture: mixture(file)?,
        noise: kdiffusion::noise(file, key)?,
        states: vec![States { which: Which::Last, values: read("final")? }],
        values: Vec::new(),
        tolerance,
        float32_difference: None,
        plan,
    })))
}

/// Algorithm 2 of the paper on EDM's own path and grid.
fn sampler(key: &Key, steps: usize) -> Result<Plan, String> {
    let solver = Solver::Heun(Heun { clock: Clock::Rho, churn: kdiffusion::churn(key) });
    let grid = Grid::Karras(Karras::default());
    let sampler = Sampler { solver, grid, steps, end: End::Data, clipping: None, start_deviation: 0.0 };
    sampler.plan(&Path::Edm(Default::default())).map_err(|problems| problems.to_string())
}

/// `ablation.<solver>.<discretization>.<schedule>.<scaling>`: noise levels by the discretization, at times of the
/// schedule `sigma(t)`, on states scaled by `s(t)`.
fn ablation(key: &Key, steps: usize) -> Result<Plan, String> {
    let discretization = Discretization::new(key.field(2), steps)?;
    let beta = discretization.vp();
    let point = |sigma: f64| -> Result<PathPoint, String> {
        // t and the schedule's derivative at the noise level.
        let (t, sigma_dot) = match key.field(3) {
            "linear" => (sigma, 1.0),
            "ve" => (sigma.powi(2), 0.5 / sigma),
            "vp" => {
                let t = beta.time(sigma);
                (t, 0.5 * (beta.minimum + beta.rise * t) * (sigma + 1.0 / sigma))
            }
            other => return Err(format!("unknown schedule {other}")),
        };
        let (scale, scale_dot) = match key.field(4) {
            "none" => (1.0, 0.0),
            "vp" => {
                let scale = 1.0 / 1f64.hypot(sigma);
                (scale, -sigma * sigma_dot * scale.powi(3))
            }
            other => return Err(format!("unknown scaling {other}")),
        };
        let sigma_dot = scale_dot * sigma + scale * sigma_dot;
        Ok(PathPoint { t, alpha: scale, sigma: scale * sigma, alpha_dot: scale_dot, sigma_dot })
    };
    let mut points = discretization.sigmas.iter().map(|sigma| point(*sigma)).collect::<Result<Vec<_>, _>>()?;
    points.push(PathPoint { t: 0.0, alpha: 1.0, sigma: 0.0, alpha_dot: 0.0, sigma_dot: 0.0 });
    let churn = kdiffusion::churn(key);
    // Churn is defined on rho, which is the schedule's own time where nothing is scaled.
    let plain = key.field(3) == "linear" && key.field(4) == "none";
    let clock = if plain { Clock::Rho } else { Clock::Time };
    let solver = match key.field(1) {
        "euler" => Solver::Euler(Euler { clock, churn }),
        "heun" => Solver::Heun(Heun { clock, churn }),
        other => return Err(format!("unknown solver {other}")),
    };
    compile(&solver, &points).map_err(|problems| problems.to_string())
}

/// Noise levels from the highest to the lowest, without the final zero.
struct Discretization {
    sigmas: Vec<f64>,
    lowest: f64,
    highest: f64,
}

impl Discretization {
    fn new(name: &str, steps: usize) -> Result<Self, String> {
        let vp = Vp { rise: 19.9, minimum: 0.1 };
        let (lowest, highest) = match name {
            "vp" => (vp.sigma(LAST_TIME), vp.sigma(1.0)),
            "ve" => (0.02, 100.0),
            "iddpm" => (0.002, 81.0),
            "edm" => (0.002, 80.0),
            other => return Err(format!("unknown discretization {other}")),
        };
        // The sampler keeps to the levels that its network supports.
        let (lowest, highest) = (f64::max(lowest, 0.002), f64::min(highest, 80.0));
        let sigmas = match name {
            "vp" => {
                let vp = Vp::between(lowest, highest);
                linspace(1.0, LAST_TIME, steps).into_iter().map(|t| vp.sigma(t)).collect()
            }
            "ve" => {
                let ratio: f64 = lowest / highest;
                linspace(0.0, 1.0, steps).into_iter().map(|part| highest * ratio.powf(part)).collect()
            }
            "iddpm" => {
                let levels = iddpm(lowest, highest);
                let last = levels.len() as f64 - 1.0;
                linspace(0.0, last, steps).into_iter().map(|index| levels[index.round_ties_even() as usize]).collect()
            }
            _ => karras(lowest, highest, 7.0, steps),
        };
        Ok(Self { sigmas, lowest, highest })
    }

    fn vp(&self) -> Vp {
        Vp::between(self.lowest, self.highest)
    }
}

/// The time of the VP discretization's last level.
const LAST_TIME: f64 = 1e-3;

/// `sigma(t)^2 = exp(rise t^2 / 2 + minimum t) - 1`.
struct Vp {
    rise: f64,
    minimum: f64,
}

impl Vp {
    /// The schedule that has the lowest level at [`LAST_TIME`] and the highest at 1.
    fn between(lowest: f64, highest: f64) -> Self {
        let [low, high] = [lowest, highest].map(|sigma| (sigma * sigma).ln_1p());
        let rise = 2.0 * (low / LAST_TIME - high) / (LAST_TIME - 1.0);
        Self { rise, minimum: high - rise / 2.0 }
    }

    fn sigma(&self, t: f64) -> f64 {
        (self.rise * t * t / 2.0 + self.minimum * t).exp_m1().sqrt()
    }

    fn time(&self, sigma: f64) -> f64 {
        let log = (sigma * sigma).ln_1p();
        ((self.minimum.powi(2) + 2.0 * self.rise * log).sqrt() - self.minimum) / self.rise
    }
}

/// The levels of improved DDPM's 1000 steps within a range, descending.
fn iddpm(lowest: f64, highest: f64) -> Vec<f64> {
    let steps = 1000;
    let kept = |index: usize| (0.5 * PI * index as f64 / steps as f64 / 1.008).sin().powi(2);
    let mut level: f64 = 0.0;
    let mut levels = vec![level];
    for index in (1..=steps).rev() {
        level = ((level * level + 1.0) / (kept(index - 1) / kept(index)).max(1e-3) - 1.0).sqrt();
        levels.push(level);
    }
    levels.reverse();
    levels.retain(|level| (lowest..=highest).contains(level));
    levels
}

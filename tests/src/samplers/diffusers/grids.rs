//! The grids of schedulers: indices of a chain of betas, and levels spread over a range.

use sinter_process::path::Discrete;
use sinter_process::schedule::{Schedule, Spacing, flow_sigmas, karras, linspace, polyexponential, shift_time};
use sinter_process::{Path, PathPoint};
use sinter_solvers::{Beta, End, Explicit, Grid, Indices, Karras, UniformLambda, Variable};

use super::Stop;
use super::settings::Settings;

/// The chain of betas that a scheduler's network was trained on.
pub(super) struct Chain {
    pub(super) path: Path,
    /// Number of indices.
    pub(super) trained: usize,
    /// Where the chain is rescaled to zero terminal SNR and the scheduler needs a finite sigma, its last alpha squared.
    pub(super) last: Option<f64>,
}

impl Chain {
    pub(super) fn new(settings: &Settings<'_>, beta_start: f64, beta_end: f64) -> Result<Self, Stop> {
        let beta_start = settings.number("beta_start", beta_start);
        let beta_end = settings.number("beta_end", beta_end);
        let schedule = match settings.text("beta_schedule", "linear") {
            "linear" => Schedule::Linear { beta_start, beta_end },
            "scaled_linear" => Schedule::ScaledLinear { beta_start, beta_end },
            "squaredcos_cap_v2" => Schedule::named("cosine").ok_or("no cosine schedule")?,
            // The reference computes `sigmoid` in f32.
            other => return Stop::pending(format!("beta_schedule {other}")),
        };
        let trained = settings.count("num_train_timesteps", 1000);
        let zero = settings.flag("rescale_betas_zero_snr", false);
        Ok(Self { path: Path::Discrete(Discrete::new(schedule, trained, zero)), trained, last: None })
    }

    /// Where zero terminal SNR is asked for, the last alpha squared is 2^-24, so that no sigma is infinite.
    pub(super) fn with_finite_sigmas(mut self, settings: &Settings<'_>) -> Self {
        self.last = settings.flag("rescale_betas_zero_snr", false).then(|| 2f64.powi(-24));
        self
    }

    pub(super) fn at(&self, index: f64) -> PathPoint {
        self.path.at(self.path.time_of_native(index))
    }

    /// Noise-to-signal ratio at an index, linear between whole ones.
    pub(super) fn rho(&self, index: f64) -> f64 {
        let whole = |index: f64| match self.last {
            Some(last) if index as usize + 1 == self.trained => ((1.0 - last) / last).sqrt(),
            _ => self.at(index).rho(),
        };
        let below = whole(index.floor());
        below + index.fract() * (whole(index.ceil()) - below)
    }

    pub(super) fn rhos(&self, indices: &[f64]) -> Vec<f64> {
        indices.iter().map(|index| self.rho(*index)).collect()
    }
}

pub(super) fn spacing(settings: &Settings<'_>, default: &'static str) -> Result<Spacing, Stop> {
    let offset = settings.count("steps_offset", 0);
    match settings.text("timestep_spacing", default) {
        "leading" => Ok(Spacing::Leading { offset }),
        "trailing" => Ok(Spacing::Trailing),
        "linspace" => Ok(Spacing::Linspace),
        other => Err(Stop::Failed(format!("unknown timestep_spacing {other}"))),
    }
}

pub(super) fn rounded(indices: Vec<f64>) -> Vec<f64> {
    indices.into_iter().map(f64::round_ties_even).collect()
}

pub(super) fn explicit(values: Vec<f64>) -> Grid {
    Grid::Explicit(Explicit { variable: Variable::Rho, values })
}

/// The grid of k-diffusion's kind, on states `x0 + rho eps`: a chain's indices, or a grid over the range that they span.
pub(super) struct SigmaGrid {
    pub(super) chain: Chain,
    pub(super) grid: Grid,
    pub(super) end: End,
    /// Deviation of the data that the start allows for.
    pub(super) deviation: f64,
    /// The indices, where the levels are theirs.
    pub(super) times: Option<Vec<f64>>,
}

impl SigmaGrid {
    pub(super) fn new(settings: &Settings<'_>, steps: usize, beta_start: f64, beta_end: f64) -> Result<Self, Stop> {
        let chain = Chain::new(settings, beta_start, beta_end)?.with_finite_sigmas(settings);
        let spacing = spacing(settings, "linspace")?;
        let indices = spacing.indices(chain.trained, steps);
        let rhos = chain.rhos(&indices);
        let minimum = settings.optional_number("sigma_min").or(rhos.last().copied());
        let maximum = settings.optional_number("sigma_max").or(rhos.first().copied());
        let (grid, of_indices) = match spread(settings, minimum, maximum) {
            Some(grid) => (grid, false),
            None if chain.last.is_some() => (explicit(rhos), true),
            None => (Grid::Indices(Indices { spacing, intervals: false, interpolate: true }), true),
        };
        let (grid, end) = ending(settings, grid, &chain, steps)?;
        let deviation = if matches!(spacing, Spacing::Leading { .. }) { 1.0 } else { 0.0 };
        Ok(Self { chain, grid, end, deviation, times: of_indices.then_some(indices) })
    }
}

/// The grid over a range of rho that the settings ask for instead of indices.
pub(super) fn spread(settings: &Settings<'_>, minimum: Option<f64>, maximum: Option<f64>) -> Option<Grid> {
    let asked = |key: &str| settings.flag(key, false);
    let [karras, exponential, beta, lu] =
        ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"].map(asked);
    if karras {
        Some(Grid::Karras(Karras { power: 7.0, minimum, maximum }))
    } else if exponential || lu {
        Some(Grid::UniformLambda(UniformLambda { power: 1.0, minimum, maximum }))
    } else if beta {
        Some(Grid::Beta(Beta { minimum, maximum, ..Beta::default() }))
    } else {
        None
    }
}

/// Where the grid ends: at data, or, below all its levels, at index 0.
pub(super) fn ending(settings: &Settings<'_>, grid: Grid, chain: &Chain, steps: usize) -> Result<(Grid, End), Stop> {
    match settings.text("final_sigmas_type", "zero") {
        "zero" => Ok((grid, End::Data)),
        "sigma_min" if matches!(grid, Grid::Indices(Indices { intervals: true, .. })) => Ok((grid, End::Lowest)),
        "sigma_min" => {
            let points = grid.points(&chain.path, steps, End::Data)?;
            let levels = points[..steps].iter().map(PathPoint::rho);
            Ok((explicit(levels.chain([chain.rho(0.0)]).collect()), End::Lowest))
        }
        other => Err(Stop::Failed(format!("unknown final_sigmas_type {other}"))),
    }
}

/// EDM's levels as its schedulers have them.
///
/// Some compute them in f32, whatever they are asked for. Then those that the file says the scheduler had are taken, if
/// they are ours in that precision.
pub(super) fn edm_levels(settings: &Settings<'_>, steps: usize, kept: &[f64]) -> Result<(Grid, End), Stop> {
    let (minimum, maximum) = (settings.number("sigma_min", 0.002), settings.number("sigma_max", 80.0));
    settings.get("num_train_timesteps");
    let mut levels = match settings.text("sigma_schedule", "karras") {
        "karras" => karras(minimum, maximum, settings.number("rho", 7.0), steps),
        "exponential" => polyexponential(minimum, maximum, 1.0, steps),
        other => return Err(Stop::Failed(format!("unknown sigma_schedule {other}"))),
    };
    let kept = kept.get(..steps).ok_or("fewer sigmas than steps")?;
    if kept.iter().all(|sigma| f64::from(*sigma as f32) == *sigma) {
        let near = |(ours, theirs): (&f64, &f64)| (ours / theirs - 1.0).abs() < SINGLE_PRECISION;
        if !levels.iter().zip(kept).all(near) {
            return Err(Stop::Failed(format!("levels {kept:?} are not {levels:?} in f32")));
        }
        levels = kept.to_vec();
    }
    match settings.text("final_sigmas_type", "zero") {
        "zero" => Ok((explicit(levels), End::Data)),
        "sigma_min" => {
            // One scheduler repeats its last level as it was rounded, the other the number that was asked for.
            let last = if settings.get("solver_order").is_some() { minimum } else { levels[steps - 1] };
            levels.push(last);
            Ok((explicit(levels), End::Lowest))
        }
        other => Err(Stop::Failed(format!("unknown final_sigmas_type {other}"))),
    }
}

/// Relative error of levels that were computed in f32: some twenty roundings of 6e-8.
const SINGLE_PRECISION: f64 = 2e-6;

/// The times of a flow scheduler: shifted, stretched, spread anew.
pub(super) fn flow_times(settings: &Settings<'_>, steps: usize) -> Result<Vec<f64>, Stop> {
    let trained = settings.count("num_train_timesteps", 1000);
    let shift = settings.number("shift", 1.0);
    let mut times = if settings.flag("use_dynamic_shifting", false) {
        let mu = settings.optional_number("mu").ok_or("dynamic shifting without mu")?;
        let shift = match settings.text("time_shift_type", "exponential") {
            "exponential" => mu.exp(),
            _ => mu,
        };
        let even = linspace(1.0, 1.0 / trained as f64, steps);
        even.into_iter().map(|time| shift_time(time, shift)).collect()
    } else {
        settings.get("time_shift_type");
        let mut times = flow_sigmas(shift, trained, steps);
        times.pop();
        times
    };
    if let (Some(terminal), Some(&last)) = (settings.optional_number("shift_terminal"), times.last()) {
        let factor = (1.0 - last) / (1.0 - terminal);
        times.iter_mut().for_each(|time| *time = 1.0 - (1.0 - *time) / factor);
    }
    let (first, last) = (times[0], times[steps - 1]);
    Ok(match spread(settings, Some(last), Some(first)) {
        None => times,
        Some(Grid::Karras(grid)) => karras(last, first, grid.power, steps),
        Some(Grid::UniformLambda(_)) => polyexponential(last, first, 1.0, steps),
        Some(_) => return Stop::pending("flow schedulers with beta sigmas"),
    })
}

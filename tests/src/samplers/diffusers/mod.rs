//! Runs of `diffusers` schedulers, from the configuration in a file's metadata.

use serde_json::Value;
use sinter_process::path::Discrete;
use sinter_process::schedule::{Schedule, Spacing, flow_sigmas, karras, linspace, polyexponential, shift_time};
use sinter_process::{Path, PathPoint, Prediction};
use sinter_solvers::{
    Beta, Builder, Churn, Clamp, Clipping, Clock, Ddim, Ddpm, DpmMultistep, End, Euler, Explicit, Grid, Heun, Indices,
    Karras, Level, Plan, Quantity, Rule, Sampler, Solver, Threshold, UniformLambda, Variable, Variance,
};

use super::settings::Settings;
use super::{Built, Run, States, Values, Which, asked_levels, mixture, start};
use crate::golden::{File, Tolerance};

/// Schedules and states in f64 agree to this, absolutely: the golden README's bound.
const TOLERANCE: f64 = 1e-10;

/// Levels that a scheduler computed in f32 differ from ours by this in their logarithm.
const SINGLE_PRECISION: f64 = 2e-6;

/// Why a run does not become a plan.
enum Stop {
    /// A class or feature that is still to come.
    Pending(String),
    /// Anything else.
    Failed(String),
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
    /// What else is to be compared.
    values: Vec<Values>,
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
    let steps = entry["steps"].as_u64().ok_or("no number of steps")? as usize;
    let settings = Settings::new([&entry["config"], &entry["step_kwargs"], &entry["set_timesteps_kwargs"]]);
    let sigmas = format!("{name}.sigmas");
    let sigmas = if file.contains(&sigmas) { file.values(&sigmas)? } else { Vec::new() };
    let draft = match class {
        "DDIMScheduler" => ddim(&settings, steps),
        "DDPMScheduler" => ddpm(&settings, steps),
        "EulerDiscreteScheduler" => euler(&settings, steps),
        "EulerAncestralDiscreteScheduler" => euler_ancestral(&settings, steps),
        "HeunDiscreteScheduler" => heun(&settings, steps),
        "DPMSolverMultistepScheduler" => dpm_multistep(&settings, steps),
        "EDMEulerScheduler" => edm_euler(&settings, steps, &sigmas),
        "EDMDPMSolverMultistepScheduler" => edm_dpm_multistep(&settings, steps, &sigmas),
        "FlowMatchEulerDiscreteScheduler" => flow_euler(&settings, steps),
        "FlowMatchHeunDiscreteScheduler" => flow_heun(&settings, steps),
        "DDIMInverseScheduler"
        | "DEISMultistepScheduler"
        | "DPMSolverSinglestepScheduler"
        | "KDPM2AncestralDiscreteScheduler"
        | "KDPM2DiscreteScheduler"
        | "LCMScheduler"
        | "LMSDiscreteScheduler"
        | "PNDMScheduler"
        | "TCDScheduler"
        | "UniPCMultistepScheduler" => return Err(Stop::Pending(class.into())),
        _ => return Err(Stop::Failed(format!("unknown class {class}"))),
    }?;
    settings.all_read()?;
    let read = |field: &str| file.values(&format!("{name}.{field}"));
    Ok(Run {
        start: start(file, draft.plan.scale)?,
        mixture: mixture(file)?,
        noise: noise(file, name)?,
        states: vec![States { which: Which::AskedAndLast, values: read("traj")? }],
        values: values(file, name, &draft)?.into_iter().chain(draft.values).collect(),
        tolerance: TOLERANCE,
        float32_difference: entry["max_diff_if_schedule_in_float32"].as_f64(),
        plan: draft.plan,
    })
}

/// The noise of each draw: the file's, by the number of the call that drew it.
fn noise(file: &File, name: &str) -> Result<std::collections::BTreeMap<usize, Vec<f64>>, Stop> {
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
    let tolerance = Tolerance::Absolute(TOLERANCE);
    let mut values = vec![Values { what: "levels".into(), ours, reference, tolerance }];
    if file.contains(&format!("{name}.sigmas")) {
        let sigma = |level: &Level| if draft.linear { level.sigma } else { level.rho() };
        let ours = levels.iter().map(sigma).collect();
        values.push(Values { what: "sigmas".into(), ours, reference: read("sigmas")?, tolerance });
    }
    if let Some(times) = &draft.times {
        let (ours, reference) = (times.clone(), read("timesteps")?);
        values.push(Values { what: "timesteps".into(), ours, reference, tolerance });
    }
    Ok(values)
}

/// The chain of betas that a scheduler's network was trained on.
struct Chain {
    path: Path,
    /// Number of indices.
    trained: usize,
    /// Where the chain is rescaled to zero terminal SNR and the scheduler needs a finite sigma, its last alpha squared.
    last: Option<f64>,
}

impl Chain {
    fn new(settings: &Settings<'_>, beta_start: f64, beta_end: f64) -> Result<Self, Stop> {
        let beta_start = settings.number("beta_start", beta_start);
        let beta_end = settings.number("beta_end", beta_end);
        let schedule = match settings.text("beta_schedule", "linear") {
            "linear" => Schedule::Linear { beta_start, beta_end },
            "scaled_linear" => Schedule::ScaledLinear { beta_start, beta_end },
            "squaredcos_cap_v2" => Schedule::named("cosine").ok_or("no cosine schedule")?,
            "sigmoid" => Schedule::Sigmoid { beta_start, beta_end },
            other => return Err(Stop::Pending(format!("beta_schedule {other}"))),
        };
        let trained = settings.count("num_train_timesteps", 1000);
        let zero = settings.flag("rescale_betas_zero_snr", false);
        Ok(Self { path: Path::Discrete(Discrete::new(schedule, trained, zero)), trained, last: None })
    }

    /// Where zero terminal SNR is asked for, the last alpha squared is 2^-24, so that no sigma is infinite.
    fn with_finite_sigmas(mut self, settings: &Settings<'_>) -> Self {
        self.last = settings.flag("rescale_betas_zero_snr", false).then(|| 2f64.powi(-24));
        self
    }

    fn at(&self, index: f64) -> PathPoint {
        self.path.at(self.path.time_of_native(index))
    }

    /// Noise-to-signal ratio at an index, linear between whole ones.
    fn rho(&self, index: f64) -> f64 {
        let whole = |index: f64| match self.last {
            Some(last) if index as usize + 1 == self.trained => ((1.0 - last) / last).sqrt(),
            _ => self.at(index).rho(),
        };
        let below = whole(index.floor());
        below + index.fract() * (whole(index.ceil()) - below)
    }

    fn rhos(&self, indices: &[f64]) -> Vec<f64> {
        indices.iter().map(|index| self.rho(*index)).collect()
    }
}

fn spacing(settings: &Settings<'_>, default: &'static str) -> Result<Spacing, Stop> {
    let offset = settings.count("steps_offset", 0);
    match settings.text("timestep_spacing", default) {
        "leading" => Ok(Spacing::Leading { offset }),
        "trailing" => Ok(Spacing::Trailing),
        "linspace" => Ok(Spacing::Linspace),
        other => Err(Stop::Failed(format!("unknown timestep_spacing {other}"))),
    }
}

fn rounded(indices: Vec<f64>) -> Vec<f64> {
    indices.into_iter().map(f64::round_ties_even).collect()
}

fn explicit(values: Vec<f64>) -> Grid {
    Grid::Explicit(Explicit { variable: Variable::Rho, values })
}

/// Clipping of the expected data, `clip` being whether it is on by default.
fn clipping(settings: &Settings<'_>, clip: bool) -> Option<Clipping> {
    let limit = settings.number("clip_sample_range", 1.0);
    let clip = settings.flag("clip_sample", clip);
    thresholding(settings).or(clip.then_some(Clipping::Clamp(Clamp { limit })))
}

fn thresholding(settings: &Settings<'_>) -> Option<Clipping> {
    let ratio = settings.number("dynamic_thresholding_ratio", 0.995);
    let maximum = settings.number("sample_max_value", 1.0);
    settings.flag("thresholding", false).then_some(Clipping::Threshold(Threshold { ratio, maximum }))
}

/// The parts of a [`Sampler`] that classes differ in; states start at `sqrt(alpha^2 deviation^2 + sigma^2) z`.
fn plan(
    solver: Solver,
    grid: Grid,
    end: End,
    steps: usize,
    clipping: Option<Clipping>,
    deviation: f64,
    path: &Path,
) -> Result<Plan, Stop> {
    Ok(Sampler { solver, grid, steps, end, clipping, start_deviation: deviation }.plan(path)?)
}

/// `DDIMScheduler`: each step leads down by the same number of indices, whether or not the next one starts there.
fn ddim(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    settings.get("prediction_type");
    let chain = Chain::new(settings, 1e-4, 0.02)?;
    let solver =
        Ddim { eta: settings.number("eta", 0.0), noise_from_clipped: settings.flag("use_clipped_model_output", false) };
    let last = if settings.flag("set_alpha_to_one", true) { Level::DATA } else { (&chain.at(0.0)).into() };
    let times = rounded(spacing(settings, "leading")?.indices(chain.trained, steps));
    let stride = (chain.trained / steps) as f64;
    let level = |index: f64| if index < 0.0 { last } else { (&chain.at(index)).into() };
    let first = level(times[0]);
    let mut plan = Builder::new("ddim", first, first.deviation(1.0)).with_clipping(clipping(settings, true));
    times.iter().for_each(|time| solver.step(&mut plan, level(*time), level(time - stride)));
    Ok(Draft { plan: plan.finish()?, linear: false, times: Some(times), values: Vec::new() })
}

/// `DDPMScheduler`: adds noise on every step but that from index 0.
fn ddpm(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    settings.get("prediction_type");
    let chain = Chain::new(settings, 1e-4, 0.02)?;
    let variance = match settings.text("variance_type", "fixed_small") {
        "fixed_small" | "fixed_small_log" => Variance::Small,
        "fixed_large" => Variance::Large,
        other => return Err(Stop::Pending(format!("DDPMScheduler with variance_type {other}"))),
    };
    let spacing = spacing(settings, "leading")?;
    let times = rounded(spacing.indices(chain.trained, steps));
    let solver = Ddpm { variance, final_noise: times.last() > Some(&0.0) };
    let grid = Grid::Indices(Indices { spacing, intervals: false, interpolate: false });
    let clipping = clipping(settings, true);
    let plan = plan(Solver::Ddpm(solver), grid, End::Data, steps, clipping, 1.0, &chain.path)?;
    Ok(Draft { plan, linear: false, times: Some(times), values: Vec::new() })
}

/// The grid of k-diffusion's kind, on states `x0 + rho eps`: a chain's indices, or a grid over the range that they span.
struct SigmaGrid {
    chain: Chain,
    grid: Grid,
    end: End,
    /// Deviation of the data that the start allows for.
    deviation: f64,
    /// The indices, where the levels are theirs.
    times: Option<Vec<f64>>,
}

impl SigmaGrid {
    fn new(settings: &Settings<'_>, steps: usize, beta_start: f64, beta_end: f64) -> Result<Self, Stop> {
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

    fn plan(&self, solver: Solver, steps: usize, clipping: Option<Clipping>) -> Result<Plan, Stop> {
        plan(solver, self.grid.clone(), self.end, steps, clipping, self.deviation, &self.chain.path)
    }
}

/// The grid over a range of rho that the settings ask for instead of indices.
fn spread(settings: &Settings<'_>, minimum: Option<f64>, maximum: Option<f64>) -> Option<Grid> {
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
fn ending(settings: &Settings<'_>, grid: Grid, chain: &Chain, steps: usize) -> Result<(Grid, End), Stop> {
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

fn euler(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    if settings.text("interpolation_type", "linear") != "linear" {
        return Err(Stop::Pending("EulerDiscreteScheduler with interpolation_type log_linear".into()));
    }
    let grid = SigmaGrid::new(settings, steps, 1e-4, 0.02)?;
    let amount = settings.number("s_churn", 0.0);
    let reread = match settings.text("prediction_type", "epsilon") {
        "epsilon" => Prediction::Epsilon,
        "sample" | "original_sample" => Prediction::Data,
        _ if amount == 0.0 => Prediction::Data,
        other => return Err(Stop::Pending(format!("EulerDiscreteScheduler with churn and {other}"))),
    };
    let solver = Euler { clock: Clock::Rho, churn: churn(settings, amount, reread) };
    let plan = grid.plan(Solver::Euler(solver), steps, None)?;
    let continuous = settings.text("timestep_type", "discrete") == "continuous";
    let continuous = continuous && settings.text("prediction_type", "epsilon") == "v_prediction";
    let times = if continuous { Some(log_sigmas(&plan)) } else { grid.times };
    Ok(Draft { plan, linear: false, times, values: Vec::new() })
}

/// The churn of a scheduler's `step`, which is given what the network answered before it.
fn churn(settings: &Settings<'_>, amount: f64, reread: Prediction) -> Churn {
    Churn {
        amount,
        minimum: settings.number("s_tmin", 0.0),
        maximum: settings.optional_number("s_tmax").filter(|maximum| maximum.is_finite()),
        noise: settings.number("s_noise", 1.0),
        reread: Some(reread),
    }
}

/// Ancestral Euler is DDIM with `eta = 1` on states `x0 + rho eps`.
fn euler_ancestral(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    settings.get("prediction_type");
    let grid = SigmaGrid::new(settings, steps, 1e-4, 0.02)?;
    let points = grid.grid.points(&grid.chain.path, steps, grid.end)?;
    let levels: Vec<Level> = points.iter().map(|point| (&Clock::Rho.point(point)).into()).collect();
    let mut plan = Builder::new("euler_ancestral", levels[0], levels[0].deviation(grid.deviation));
    let solver = Ddim { eta: 1.0, noise_from_clipped: false };
    levels.windows(2).for_each(|pair| solver.step(&mut plan, pair[0], pair[1]));
    Ok(Draft { plan: plan.finish()?, linear: false, times: grid.times, values: Vec::new() })
}

fn heun(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    settings.get("prediction_type");
    let grid = SigmaGrid::new(settings, steps, 0.00085, 0.012)?;
    let solver = Solver::Heun(Heun::default());
    let plan = grid.plan(solver, steps, clipping(settings, false))?;
    // Each index but the first is asked at twice: as the end of a step and as the start of the next.
    let twice = |times: Vec<f64>| times.into_iter().flat_map(|time| [time, time]).skip(1).collect();
    Ok(Draft { plan, linear: false, times: grid.times.map(twice), values: Vec::new() })
}

fn dpm_solver(settings: &Settings<'_>) -> Result<DpmMultistep, Stop> {
    let (quantity, eta) = match settings.text("algorithm_type", "dpmsolver++") {
        "dpmsolver++" => (Quantity::Data, 0.0),
        "dpmsolver" => (Quantity::Noise, 0.0),
        "sde-dpmsolver++" => (Quantity::Data, 1.0),
        "sde-dpmsolver" => (Quantity::Noise, 1.0),
        other => return Err(Stop::Failed(format!("unknown algorithm_type {other}"))),
    };
    let rule = match settings.text("solver_type", "midpoint") {
        "midpoint" | "logrho" | "bh1" | "bh2" => Rule::Midpoint,
        "heun" => Rule::Taylor,
        other => return Err(Stop::Failed(format!("unknown solver_type {other}"))),
    };
    let order = settings.count("solver_order", 2);
    if order == 3 && eta > 0.0 {
        // There the scheduler's weight of the second difference differs from every published one.
        return Err(Stop::Pending("DPMSolverMultistepScheduler, stochastic, of order 3".into()));
    }
    Ok(DpmMultistep {
        order,
        quantity,
        rule,
        eta,
        lower_order_below: if settings.flag("lower_order_final", true) { 15 } else { 0 },
        euler_at_final: settings.flag("euler_at_final", false),
        exact_second_difference: false,
    })
}

fn dpm_multistep(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    settings.get("prediction_type");
    let solver = Solver::DpmMultistep(dpm_solver(settings)?);
    let clipping = thresholding(settings);
    if settings.flag("use_flow_sigmas", false) {
        return dpm_flow(settings, solver, clipping, steps);
    }
    let chain = Chain::new(settings, 1e-4, 0.02)?.with_finite_sigmas(settings);
    let spacing = spacing(settings, "linspace")?;
    // Indices that are noisier than the settings allow are left out.
    let lowest = settings.optional_number("lambda_min_clipped").filter(|lambda| lambda.is_finite());
    let kept = lowest.map_or(chain.trained, |lowest| {
        (0..chain.trained).filter(|index| -chain.rho(*index as f64).ln() >= lowest).count()
    });
    if kept != chain.trained && spacing == Spacing::Trailing {
        return Err(Stop::Pending("DPMSolverMultistepScheduler with trailing, clipped indices".into()));
    }
    let indices = rounded(spacing.interval_indices(kept, steps));
    let (minimum, maximum) = (Some(chain.rho(0.0)), Some(chain.rho(chain.trained as f64 - 1.0)));
    let (grid, of_indices) = match spread(settings, minimum, maximum) {
        Some(grid) => (grid, false),
        None if chain.last.is_some() || kept != chain.trained => (explicit(chain.rhos(&indices)), true),
        None => (Grid::Indices(Indices { spacing, intervals: true, interpolate: false }), true),
    };
    let (grid, end) = ending(settings, grid, &chain, steps)?;
    let plan = plan(solver, grid, end, steps, clipping, 1.0, &chain.path)?;
    Ok(Draft { plan, linear: false, times: of_indices.then_some(indices), values: Vec::new() })
}

/// The linear path's times, even between 0 and its last but `1 / trained`, and shifted.
fn dpm_flow(settings: &Settings<'_>, solver: Solver, clipping: Option<Clipping>, steps: usize) -> Result<Draft, Stop> {
    if settings.text("final_sigmas_type", "zero") != "zero" || settings.get("mu").is_some() {
        return Err(Stop::Pending(
            "DPMSolverMultistepScheduler with flow sigmas that do not end in zero, or mu".into(),
        ));
    }
    let (trained, shift) = (settings.count("num_train_timesteps", 1000), settings.number("flow_shift", 1.0));
    let even = linspace(1.0 - 1.0 / trained as f64, 0.0, steps + 1);
    let values = even[..steps].iter().map(|time| shift_time(*time, shift)).collect();
    let grid = Grid::Explicit(Explicit { variable: Variable::Time, values });
    let plan = plan(solver, grid, End::Data, steps, clipping, 1.0, &Path::LinearFlow)?;
    // The scale of the start is 1 whatever the first level.
    Ok(Draft { plan: Plan { scale: 1.0, ..plan }, linear: true, times: None, values: Vec::new() })
}

/// EDM's grid as its schedulers have it.
///
/// Some of them compute it in f32 whatever they are asked for. Then `kept`, the file's own levels, are used after they
/// were found equal to ours in that precision.
fn edm_grid(settings: &Settings<'_>, steps: usize, kept: &[f64]) -> Result<(Grid, End, Option<Values>), Stop> {
    let (minimum, maximum) = (settings.number("sigma_min", 0.002), settings.number("sigma_max", 80.0));
    settings.get("num_train_timesteps");
    let mut levels = match settings.text("sigma_schedule", "karras") {
        "karras" => karras(minimum, maximum, settings.number("rho", 7.0), steps),
        "exponential" => polyexponential(minimum, maximum, 1.0, steps),
        other => return Err(Stop::Failed(format!("unknown sigma_schedule {other}"))),
    };
    let end = match settings.text("final_sigmas_type", "zero") {
        "zero" => End::Data,
        "sigma_min" => End::Lowest,
        other => return Err(Stop::Failed(format!("unknown final_sigmas_type {other}"))),
    };
    if end == End::Lowest {
        levels.push(minimum);
    }
    let kept = kept.get(..levels.len()).ok_or("fewer sigmas than steps")?;
    let single = kept.iter().all(|sigma| f64::from(*sigma as f32) == *sigma);
    if !single {
        return Ok((explicit(levels), end, None));
    }
    let logarithms = |levels: &[f64]| levels.iter().map(|level| level.ln()).collect();
    let (ours, reference) = (logarithms(&levels), logarithms(kept));
    let tolerance = Tolerance::Absolute(SINGLE_PRECISION);
    let values = Values { what: "ln sigmas in f32".into(), ours, reference, tolerance };
    Ok((explicit(kept.to_vec()), end, Some(values)))
}

fn edm_euler(settings: &Settings<'_>, steps: usize, kept: &[f64]) -> Result<Draft, Stop> {
    let reread = Prediction::EdmF { sigma_data: settings.number("sigma_data", 0.5) };
    let churn = churn(settings, settings.number("s_churn", 0.0), reread);
    edm(settings, Solver::Euler(Euler { clock: Clock::Rho, churn }), None, steps, kept)
}

fn edm_dpm_multistep(settings: &Settings<'_>, steps: usize, kept: &[f64]) -> Result<Draft, Stop> {
    settings.get("sigma_data");
    edm(settings, Solver::DpmMultistep(dpm_solver(settings)?), thresholding(settings), steps, kept)
}

fn edm(
    settings: &Settings<'_>,
    solver: Solver,
    clipping: Option<Clipping>,
    steps: usize,
    kept: &[f64],
) -> Result<Draft, Stop> {
    let (grid, end, values) = edm_grid(settings, steps, kept)?;
    let plan = plan(solver, grid, end, steps, clipping, 1.0, &Path::Edm(Default::default()))?;
    // The start is that of the highest level asked for, however that was rounded.
    let scale = settings.number("sigma_max", 80.0).hypot(1.0);
    let times = Some(log_sigmas(&plan));
    Ok(Draft { plan: Plan { scale, ..plan }, linear: false, times, values: values.into_iter().collect() })
}

/// EDM's time of a network, `ln(sigma) / 4`.
fn log_sigmas(plan: &Plan) -> Vec<f64> {
    let levels = asked_levels(plan);
    levels[..levels.len() - 1].iter().map(|level| level.rho().ln() / 4.0).collect()
}

/// The times of a flow scheduler: shifted, stretched, spread anew.
fn flow_times(settings: &Settings<'_>, steps: usize) -> Result<Vec<f64>, Stop> {
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
        Some(_) => return Err(Stop::Pending("flow schedulers with beta sigmas".into())),
    })
}

fn flow(settings: &Settings<'_>, solver: Solver, steps: usize) -> Result<Draft, Stop> {
    let trained = settings.count("num_train_timesteps", 1000) as f64;
    let grid = Grid::Explicit(Explicit { variable: Variable::Time, values: flow_times(settings, steps)? });
    let plan = plan(solver, grid, End::Data, steps, None, 0.0, &Path::LinearFlow)?;
    let levels = asked_levels(&plan);
    let times = levels[..levels.len() - 1].iter().map(|level| trained * level.sigma).collect();
    // The scale of the start is 1 whatever the first level.
    Ok(Draft { plan: Plan { scale: 1.0, ..plan }, linear: true, times: Some(times), values: Vec::new() })
}

fn flow_euler(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    for feature in ["stochastic_sampling", "invert_sigmas"] {
        if settings.flag(feature, false) {
            return Err(Stop::Pending(format!("FlowMatchEulerDiscreteScheduler with {feature}")));
        }
    }
    flow(settings, Solver::Euler(Euler { clock: Clock::Time, churn: Churn::default() }), steps)
}

fn flow_heun(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    flow(settings, Solver::Heun(Heun { clock: Clock::Time, churn: Churn::default() }), steps)
}

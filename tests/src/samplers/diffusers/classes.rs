//! Each scheduler's class as a solver of ours, with its grid.

use sinter_process::schedule::{Spacing, linspace, shift_time};
use sinter_process::{Path, Prediction};
use sinter_solvers::{
    Builder, Churn, Clamp, Clipping, Clock, Ddim, Ddpm, DpmMultistep, End, Euler, Explicit, Grid, Heun, Indices, Level,
    Plan, Quantity, Rule, Sampler, Solver, Threshold, Variable, Variance,
};

use super::grids::{Chain, SigmaGrid, edm_levels, ending, explicit, flow_times, rounded, spacing, spread};
use super::settings::Settings;
use super::{Draft, Stop, asked_levels};

/// The plan of a run of a class; `kept` are the sigmas that the scheduler had.
pub(super) fn draft(class: &str, settings: &Settings<'_>, steps: usize, kept: &[f64]) -> Result<Draft, Stop> {
    match class {
        "DDIMScheduler" => ddim(settings, steps),
        "DDPMScheduler" => ddpm(settings, steps),
        "EulerDiscreteScheduler" => euler(settings, steps),
        "EulerAncestralDiscreteScheduler" => euler_ancestral(settings, steps),
        "HeunDiscreteScheduler" => heun(settings, steps),
        "DPMSolverMultistepScheduler" => dpm_multistep(settings, steps),
        "EDMEulerScheduler" => edm_euler(settings, steps, kept),
        "EDMDPMSolverMultistepScheduler" => edm_dpm_multistep(settings, steps, kept),
        "FlowMatchEulerDiscreteScheduler" => flow_euler(settings, steps),
        "FlowMatchHeunDiscreteScheduler" => flow_heun(settings, steps),
        "DDIMInverseScheduler"
        | "DEISMultistepScheduler"
        | "DPMSolverSinglestepScheduler"
        | "KDPM2AncestralDiscreteScheduler"
        | "KDPM2DiscreteScheduler"
        | "LCMScheduler"
        | "LMSDiscreteScheduler"
        | "PNDMScheduler"
        | "TCDScheduler"
        | "UniPCMultistepScheduler" => Stop::pending(class),
        _ => Err(Stop::Failed(format!("unknown class {class}"))),
    }
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

/// As [`plan`], on k-diffusion's states and grids.
fn sigma_plan(grid: &SigmaGrid, solver: Solver, steps: usize, clipping: Option<Clipping>) -> Result<Plan, Stop> {
    plan(solver, grid.grid.clone(), grid.end, steps, clipping, grid.deviation, &grid.chain.path)
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
    Ok(Draft { plan: plan.finish()?, linear: false, times: Some(times) })
}

/// `DDPMScheduler`: adds noise on every step but that from index 0.
fn ddpm(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    settings.get("prediction_type");
    let chain = Chain::new(settings, 1e-4, 0.02)?;
    let variance = match settings.text("variance_type", "fixed_small") {
        "fixed_small" | "fixed_small_log" => Variance::Small,
        "fixed_large" => Variance::Large,
        other => return Stop::pending(format!("DDPMScheduler with variance_type {other}")),
    };
    let spacing = spacing(settings, "leading")?;
    let times = rounded(spacing.indices(chain.trained, steps));
    let solver = Ddpm { variance, final_noise: times.last() > Some(&0.0) };
    let grid = Grid::Indices(Indices { spacing, intervals: false, interpolate: false });
    let clipping = clipping(settings, true);
    let plan = plan(Solver::Ddpm(solver), grid, End::Data, steps, clipping, 1.0, &chain.path)?;
    Ok(Draft { plan, linear: false, times: Some(times) })
}

fn euler(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    if settings.text("interpolation_type", "linear") != "linear" {
        return Stop::pending("EulerDiscreteScheduler with interpolation_type log_linear");
    }
    let grid = SigmaGrid::new(settings, steps, 1e-4, 0.02)?;
    let amount = settings.number("s_churn", 0.0);
    let reread = match settings.text("prediction_type", "epsilon") {
        "epsilon" => Prediction::Epsilon,
        "sample" | "original_sample" => Prediction::Data,
        _ if amount == 0.0 => Prediction::Data,
        other => return Stop::pending(format!("EulerDiscreteScheduler with churn and {other}")),
    };
    let solver = Euler { clock: Clock::Rho, churn: churn(settings, amount, reread) };
    let plan = sigma_plan(&grid, Solver::Euler(solver), steps, None)?;
    let continuous = settings.text("timestep_type", "discrete") == "continuous";
    let continuous = continuous && settings.text("prediction_type", "epsilon") == "v_prediction";
    let times = if continuous { Some(log_sigmas(&plan)) } else { grid.times };
    Ok(Draft { plan, linear: false, times })
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
    Ok(Draft { plan: plan.finish()?, linear: false, times: grid.times })
}

fn heun(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    settings.get("prediction_type");
    let grid = SigmaGrid::new(settings, steps, 0.00085, 0.012)?;
    let solver = Solver::Heun(Heun::default());
    let plan = sigma_plan(&grid, solver, steps, clipping(settings, false))?;
    // Each index but the first is asked at twice: as the end of a step and as the start of the next.
    let twice = |times: Vec<f64>| times.into_iter().flat_map(|time| [time, time]).skip(1).collect();
    Ok(Draft { plan, linear: false, times: grid.times.map(twice) })
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
        return Stop::pending("DPMSolverMultistepScheduler, stochastic, of order 3");
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
        return Stop::pending("DPMSolverMultistepScheduler with trailing, clipped indices");
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
    Ok(Draft { plan, linear: false, times: of_indices.then_some(indices) })
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
    Ok(Draft { plan: Plan { scale: 1.0, ..plan }, linear: true, times: None })
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
    let (grid, end) = edm_levels(settings, steps, kept)?;
    let plan = plan(solver, grid, end, steps, clipping, 1.0, &Path::Edm(Default::default()))?;
    // The start is that of the highest level asked for, however it was rounded.
    let scale = settings.number("sigma_max", 80.0).hypot(1.0);
    let times = Some(log_sigmas(&plan));
    Ok(Draft { plan: Plan { scale, ..plan }, linear: false, times })
}

/// EDM's time of a network, `ln(sigma) / 4`.
fn log_sigmas(plan: &Plan) -> Vec<f64> {
    let levels = asked_levels(plan);
    levels[..levels.len() - 1].iter().map(|level| level.rho().ln() / 4.0).collect()
}

fn flow(settings: &Settings<'_>, solver: Solver, steps: usize) -> Result<Draft, Stop> {
    let trained = settings.count("num_train_timesteps", 1000) as f64;
    let grid = Grid::Explicit(Explicit { variable: Variable::Time, values: flow_times(settings, steps)? });
    let plan = plan(solver, grid, End::Data, steps, None, 0.0, &Path::LinearFlow)?;
    let levels = asked_levels(&plan);
    let times = levels[..levels.len() - 1].iter().map(|level| trained * level.sigma).collect();
    // The scale of the start is 1 whatever the first level.
    Ok(Draft { plan: Plan { scale: 1.0, ..plan }, linear: true, times: Some(times) })
}

fn flow_euler(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    for feature in ["stochastic_sampling", "invert_sigmas"] {
        if settings.flag(feature, false) {
            return Stop::pending(format!("FlowMatchEulerDiscreteScheduler with {feature}"));
        }
    }
    flow(settings, Solver::Euler(Euler { clock: Clock::Time, churn: Churn::default() }), steps)
}

fn flow_heun(settings: &Settings<'_>, steps: usize) -> Result<Draft, Stop> {
    flow(settings, Solver::Heun(Heun { clock: Clock::Time, churn: Churn::default() }), steps)
}

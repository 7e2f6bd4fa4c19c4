//! Runs of the DPM-Solver and UniPC authors' code, and its tables.

use sinter_process::path::{Discrete, VpLinear};
use sinter_process::schedule::linspace;
use sinter_process::{Path, PathPoint};
use sinter_solvers::{
    Builder, Ddim, DpmMultistep, End, Grid, Level, Plan, Quantity, Rule, Solver, UniformLambda, UniformTime,
};

use super::keys::Key;
use super::{Built, Run, States, Values, Which, mixture, start};
use crate::golden::{File, Tolerance};

/// The golden README's bound for these files.
const TOLERANCE: f64 = 1e-9;

/// `dpm.<schedule>.<algorithm>.<method>.o<order>.<grid>.<rule>`
pub(super) fn build(file: &File, key: &Key) -> Result<Built, String> {
    let (family, method) = (key.field(0), key.field(3));
    match (family, method) {
        ("unipc", _) => return Ok(Built::Pending("UniPC".into())),
        // Of order 1 there is one method.
        ("dpm", "singlestep" | "singlestep_fixed") if key.has("o1") => {}
        ("dpm", "singlestep" | "singlestep_fixed" | "adaptive") => {
            return Ok(Built::Pending(format!("DPM-Solver, {method}")));
        }
        ("dpm", "multistep") => {}
        _ => return Err(format!("unknown method {method}")),
    }
    let steps = key.steps()?;
    let quantity = match key.field(2) {
        "dpmsolver++" => Quantity::Data,
        "dpmsolver" => Quantity::Noise,
        other => return Err(format!("unknown algorithm {other}")),
    };
    let order = key.number("o").ok_or("the key has no order")? as usize;
    let rule = if key.has("taylor") { Rule::Taylor } else { Rule::Midpoint };
    let solver = DpmMultistep { order, quantity, rule, lower_order_below: 10, ..DpmMultistep::default() };
    let points = Schedule::new(key.field(1))?.points(key.field(5), steps)?;
    let plan = plan(solver, &points, key.has("denoise_to_zero"))?;
    let read = |field: &str| file.values(&format!("{}.{field}", key.name)).map_err(|error| error.to_string());
    let mut states = vec![States { which: Which::Last, values: read("final")? }];
    if file.contains(&format!("{}.traj", key.name)) {
        states.push(States { which: Which::Reached, values: read("traj")? });
    }
    Ok(Built::Run(Box::new(Run {
        start: start(file, plan.scale)?,
        mixture: mixture(file)?,
        noise: Default::default(),
        states,
        values: Vec::new(),
        tolerance: TOLERANCE,
        float32_difference: None,
        plan,
    })))
}

/// The steps of the grid, and then, if asked for, one more to data that does not count among them.
fn plan(solver: DpmMultistep, points: &[PathPoint], to_data: bool) -> Result<Plan, String> {
    let start: Level = (&points[0]).into();
    let mut plan = Builder::new("dpm_multistep", start, start.deviation(1.0));
    Solver::DpmMultistep(solver).append(&mut plan, points);
    if let (true, Some(last)) = (to_data, points.last()) {
        Ddim::default().step(&mut plan, last.into(), Level::DATA);
    }
    plan.finish().map_err(|problems| problems.to_string())
}

/// The authors' two noise schedules.
enum Schedule {
    /// Continuous, of linear beta.
    Linear(Path),
    /// A table of betas. They keep its `ln alpha` and its times in f32, and interpolate between them.
    Discrete {
        /// The chain in f64.
        chain: Discrete,
        times: Vec<f64>,
        log_alphas: Vec<f64>,
    },
}

impl Schedule {
    fn new(name: &str) -> Result<Self, String> {
        match name {
            "linear" => Ok(Self::Linear(Path::VpLinear(VpLinear::default()))),
            "discrete" => {
                let chain = Discrete::default();
                let single = |value: f64| f64::from(value as f32);
                let steps = chain.steps();
                let times = (1..=steps).map(|index| single(index as f64 / steps as f64)).collect();
                let log_alphas = chain.table().log_alphas().iter().copied().map(single).collect();
                Ok(Self::Discrete { chain, times, log_alphas })
            }
            other => Err(format!("unknown schedule {other}")),
        }
    }

    fn at(&self, t: f64) -> PathPoint {
        match self {
            Self::Linear(path) => path.at(t),
            Self::Discrete { times, log_alphas, .. } => {
                let log_alpha = interpolate(t, times, log_alphas);
                PathPoint::variance_preserving(t, log_alpha, f64::NAN)
            }
        }
    }

    fn time_of_lambda(&self, lambda: f64) -> f64 {
        match self {
            Self::Linear(path) => path.time_of_lambda(lambda),
            Self::Discrete { times, log_alphas, .. } => {
                let rising: Vec<f64> = log_alphas.iter().map(|log_alpha| -log_alpha).collect();
                interpolate(0.5 * (-2.0 * lambda).exp().ln_1p(), &rising, times)
            }
        }
    }

    /// The points of one of the authors' grids from time 1 to 1/1000: even in time, in its square root, or in lambda.
    fn points(&self, grid: &str, steps: usize) -> Result<Vec<PathPoint>, String> {
        let power = match grid {
            "time_uniform" | "denoise_to_zero" => Some(1.0),
            "time_quadratic" => Some(2.0),
            "logSNR" => None,
            other => return Err(format!("unknown grid {other}")),
        };
        let spread = match (self, power) {
            (Self::Linear(path), power) => {
                let even = UniformLambda::default();
                let grid = power.map_or(Grid::UniformLambda(even), |power| Grid::UniformTime(UniformTime { power }));
                grid.points(path, steps, End::Lowest)
            }
            (Self::Discrete { chain, .. }, Some(power)) => {
                Grid::UniformTime(UniformTime { power }).points(&Path::Discrete(chain.clone()), steps, End::Lowest)
            }
            (Self::Discrete { .. }, None) => {
                let ends = [1.0, 1e-3].map(|t| self.at(t).lambda());
                let lambdas = linspace(ends[0], ends[1], steps + 1).into_iter();
                Ok(lambdas.map(|lambda| self.at(self.time_of_lambda(lambda))).collect())
            }
        };
        let points = spread.map_err(|problems| problems.to_string())?;
        Ok(points.iter().map(|point| self.at(point.t)).collect())
    }
}

/// The value at `x` on the line through the points next to it; `xs` ascend.
fn interpolate(x: f64, xs: &[f64], ys: &[f64]) -> f64 {
    let above = xs.partition_point(|other| *other <= x).clamp(1, xs.len() - 1);
    let (left, right) = (xs[above - 1], xs[above]);
    ys[above - 1] + (x - left) * (ys[above] - ys[above - 1]) / (right - left)
}

/// The tables that the file holds beside its runs: the schedules at some times, and the grids' times.
pub(super) fn tables(file: &File) -> Vec<(String, Result<Built, String>)> {
    let keys = file.keys().into_iter().map(|key| (table(file, &key), key));
    keys.filter_map(|(table, key)| Some((key, table.transpose()?))).collect()
}

fn table(file: &File, key: &str) -> Result<Option<Built>, String> {
    let fields: Vec<&str> = key.split('.').collect();
    let read = |key: &str| file.values(key).map_err(|error| error.to_string());
    let ours: Vec<f64> = match fields[..] {
        ["time_steps", schedule, name, steps] => {
            let steps = steps[1..].parse().map_err(|_| format!("unknown number of steps {steps}"))?;
            let points = Schedule::new(schedule)?.points(name, steps)?;
            points.iter().map(|point| point.t).collect()
        }
        ["singlestep_orders", ..] => return Ok(Some(Built::Pending("DPM-Solver, singlestep".into()))),
        [name, quantity] if name == "linear" || name == "discrete" => {
            let schedule = Schedule::new(name)?;
            let of = |t: f64| {
                let point = schedule.at(t);
                match quantity {
                    "marginal_log_mean_coeff" => Some(point.alpha.ln()),
                    "marginal_alpha" => Some(point.alpha),
                    "marginal_std" => Some(point.sigma),
                    "marginal_lambda" => Some(point.lambda()),
                    "inverse_lambda_of_marginal_lambda" => Some(schedule.time_of_lambda(point.lambda())),
                    _ => None,
                }
            };
            let values = read("t_probe")?.into_iter().map(of).collect::<Option<_>>();
            values.ok_or_else(|| format!("unknown quantity {quantity}"))?
        }
        _ => return Ok(None),
    };
    let tolerance = Tolerance::Absolute(TOLERANCE);
    Ok(Some(Built::Values(vec![Values { what: key.into(), ours, reference: read(key)?, tolerance }])))
}

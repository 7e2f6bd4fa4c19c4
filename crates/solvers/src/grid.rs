//! Where on a path the steps of a sampler lie.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::schedule::{Spacing, flow_sigmas, karras, linspace, polyexponential, shift_time};
use sinter_process::{Path, PathPoint};

use crate::beta::quantile;

/// The levels that a sampler visits, from noise towards data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Grid {
    /// Even in a power of time.
    UniformTime(UniformTime),
    /// Even in time, then shifted towards noise: flow matching at higher resolutions.
    ShiftedTime(ShiftedTime),
    /// As `FlowMatchEulerDiscreteScheduler` walks: the last step is tiny.
    FlowScheduler(FlowScheduler),
    /// Even in a power of lambda; elsewhere "logSNR", "exponential", "polyexponential".
    #[serde(alias = "exponential")]
    UniformLambda(UniformLambda),
    /// Even in `rho^(1 / power)`: EDM's.
    Karras(Karras),
    /// Spread as quantiles of a beta distribution in rho.
    Beta(Beta),
    /// Indices of a discrete path.
    Indices(Indices),
    /// As listed.
    Explicit(Explicit),
}

/// Times even in `t^(1 / power)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UniformTime {
    /// 1 is even in time; 2 is the "quadratic" grid of DDIM, denser near data.
    pub power: f64,
}

impl Default for UniformTime {
    fn default() -> Self {
        Self { power: 1.0 }
    }
}

/// Times even in `u`, with `t = shift u / (1 + (shift - 1) u)` (Esser et al. 2024, eq. 23).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShiftedTime {
    /// Above 1: more steps near noise.
    pub shift: f64,
}

impl Default for ShiftedTime {
    fn default() -> Self {
        Self { shift: 3.0 }
    }
}

/// Times even from 1 to the shifted time of the first of `train_steps` indices, and shifted (that one a second time): the
/// grid of Stable Diffusion 3's pipeline, and so Flow-GRPO's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlowScheduler {
    /// Above 1: more steps near noise.
    pub shift: f64,
    /// Times that the network was trained at, >= 1.
    pub train_steps: usize,
}

impl Default for FlowScheduler {
    fn default() -> Self {
        Self { shift: 3.0, train_steps: 1000 }
    }
}

/// Levels whose lambda follows the given power of an even grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UniformLambda {
    /// 1 is even; above 1, denser near data.
    pub power: f64,
    /// Lowest noise-to-signal ratio; the path's where there is none.
    pub minimum: Option<f64>,
    /// Highest noise-to-signal ratio; the path's where there is none.
    pub maximum: Option<f64>,
}

impl Default for UniformLambda {
    fn default() -> Self {
        Self { power: 1.0, minimum: None, maximum: None }
    }
}

/// Levels even in `rho^(1 / power)` (Karras et al. 2022, eq. 5).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Karras {
    /// The paper's rho.
    pub power: f64,
    /// Lowest noise-to-signal ratio; the path's where there is none.
    pub minimum: Option<f64>,
    /// Highest noise-to-signal ratio; the path's where there is none.
    pub maximum: Option<f64>,
}

impl Default for Karras {
    fn default() -> Self {
        Self { power: 7.0, minimum: None, maximum: None }
    }
}

/// Levels whose share of the range of rho are evenly spaced quantiles of a beta distribution (Lee et al. 2024): dense at
/// both ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Beta {
    /// First parameter, > 0; below 1, dense near data.
    pub a: f64,
    /// Second parameter, > 0; below 1, dense near noise.
    pub b: f64,
    /// Lowest noise-to-signal ratio; the path's where there is none.
    pub minimum: Option<f64>,
    /// Highest noise-to-signal ratio; the path's where there is none.
    pub maximum: Option<f64>,
}

impl Default for Beta {
    fn default() -> Self {
        Self { a: 0.6, b: 0.6, minimum: None, maximum: None }
    }
}

/// Indices of a discrete path, as published samplers choose them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Indices {
    /// Which indices.
    pub spacing: Spacing,
    /// Whether the way from the last index visited down to index 0 is an interval of the spacing (DPM-Solver's habit);
    /// else the last index visited is the spacing's lowest.
    pub intervals: bool,
    /// Between indices, whether to interpolate rho linearly (k-diffusion's habit); else indices are rounded.
    pub interpolate: bool,
}

/// Levels one by one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Explicit {
    /// What is listed.
    pub variable: Variable,
    /// Its values, from noise to data.
    pub values: Vec<f64>,
}

/// A variable that runs along a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    /// Time in [0, 1].
    Time,
    /// The path's native time.
    Native,
    /// Half log signal-to-noise ratio.
    Lambda,
    /// Noise-to-signal ratio.
    Rho,
}

/// Where the last step leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// To data without noise, below the grid's lowest level.
    #[default]
    Data,
    /// To the grid's lowest level.
    Lowest,
}

impl Grid {
    /// The `steps + 1` points of a path between which the steps lie, from noise to data.
    ///
    /// With [`End::Data`] the grid spreads one point less, and data follow; where the grid's own end is data (as that of
    /// a flow's times), it spreads them all.
    ///
    /// # Errors
    ///
    /// Settings that are wrong, a grid that does not fit the path, or a list of another length.
    pub fn points(&self, path: &Path, steps: usize, end: End) -> Result<Vec<PathPoint>, Problems> {
        let mut problems = self.validate();
        problems.check(steps >= 1, "steps", "must be at least 1");
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut points = self.spread(path, steps, steps + 1)?;
        if end == End::Data && points.last().is_some_and(|lowest| lowest.sigma > 0.0) {
            points = self.spread(path, steps, steps)?;
            points.push(data(path));
        }
        let message = format!("{} levels make {} steps, not {steps}", points.len(), points.len().saturating_sub(1));
        problems.check(points.len() == steps + 1, "steps", message);
        let finite = points.iter().all(|point| point.alpha.is_finite() && point.sigma.is_finite());
        problems.check(finite, "", "a level of this grid lies off the path");
        if problems.is_empty() { Ok(points) } else { Err(problems) }
    }

    /// `count` points, of which the last is the grid's lowest; what is listed has its own count.
    fn spread(&self, path: &Path, steps: usize, count: usize) -> Result<Vec<PathPoint>, Problems> {
        let (low, high) = path.time_range();
        let at = |times: Vec<f64>| times.into_iter().map(|t| path.at(t)).collect();
        let at_rhos = |rhos: Vec<f64>| rhos.into_iter().map(|rho| at_rho(path, rho)).collect();
        // The range of rho: what is asked for, else the path's.
        let range = |minimum: Option<f64>, maximum: Option<f64>| {
            (minimum.unwrap_or_else(|| path.at(low).rho()), maximum.unwrap_or_else(|| path.at(high).rho()))
        };
        Ok(match self {
            Self::UniformTime(UniformTime { power }) => {
                let roots = linspace(high.powf(1.0 / power), low.powf(1.0 / power), count);
                at(roots.into_iter().map(|root| root.powf(*power)).collect())
            }
            Self::ShiftedTime(ShiftedTime { shift }) => {
                at(linspace(high, low, count).into_iter().map(|u| shift_time(u, *shift)).collect())
            }
            Self::FlowScheduler(FlowScheduler { shift, train_steps }) => {
                let times = flow_sigmas(*shift, *train_steps, count).into_iter().take(count);
                at(times.map(|time| time.clamp(low, high)).collect())
            }
            Self::UniformLambda(UniformLambda { power, minimum, maximum }) => {
                let (minimum, maximum) = range(*minimum, *maximum);
                at_rhos(polyexponential(minimum, maximum, *power, count))
            }
            Self::Karras(Karras { power, minimum, maximum }) => {
                let (minimum, maximum) = range(*minimum, *maximum);
                at_rhos(karras(minimum, maximum, *power, count))
            }
            Self::Beta(Beta { a, b, minimum, maximum }) => {
                let (minimum, maximum) = range(*minimum, *maximum);
                let shares = linspace(1.0, 0.0, count).into_iter().map(|share| quantile(share, *a, *b));
                at_rhos(shares.map(|share| minimum + share * (maximum - minimum)).collect())
            }
            Self::Indices(indices) => indices.spread(path, steps, count)?,
            Self::Explicit(Explicit { variable, values }) => {
                values.iter().map(|value| variable.at(path, *value)).collect()
            }
        })
    }

    /// Everything that is wrong with its settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let ordered = |minimum: Option<f64>, maximum: Option<f64>| {
            minimum.is_none_or(|minimum| minimum >= 0.0)
                && maximum.is_none_or(positive)
                && minimum.zip(maximum).is_none_or(|(minimum, maximum)| minimum < maximum)
        };
        match self {
            Self::UniformTime(grid) => problems.check(positive(grid.power), "power", "must be above 0"),
            Self::ShiftedTime(grid) => problems.check(positive(grid.shift), "shift", "must be above 0"),
            Self::FlowScheduler(grid) => {
                problems.check(positive(grid.shift), "shift", "must be above 0");
                problems.check(grid.train_steps >= 1, "train_steps", "must be at least 1");
            }
            Self::UniformLambda(UniformLambda { power, minimum, maximum })
            | Self::Karras(Karras { power, minimum, maximum }) => {
                problems.check(positive(*power), "power", "must be above 0");
                problems.check(ordered(*minimum, *maximum), "minimum", "must not be negative, and below maximum");
            }
            Self::Beta(Beta { a, b, minimum, maximum }) => {
                problems.check(positive(*a), "a", "must be above 0");
                problems.check(positive(*b), "b", "must be above 0");
                problems.check(ordered(*minimum, *maximum), "minimum", "must not be negative, and below maximum");
            }
            Self::Indices(_) => {}
            Self::Explicit(grid) => problems.check(!grid.values.is_empty(), "values", "is empty"),
        }
        problems
    }
}

impl Indices {
    fn spread(&self, path: &Path, steps: usize, count: usize) -> Result<Vec<PathPoint>, Problems> {
        let Path::Discrete(discrete) = path else {
            let mut problems = Problems::new();
            problems.push("type", "only a discrete path has indices");
            return Err(problems);
        };
        let trained = discrete.steps();
        let mut indices = match self.intervals {
            true => self.spacing.interval_indices(trained, steps),
            false => self.spacing.indices(trained, count),
        };
        if self.intervals && count > steps {
            indices.push(0.0);
        }
        let at = |index: f64| path.at(path.time_of_native(index));
        let point = |index: f64| {
            if self.interpolate && index.fract() != 0.0 {
                let (below, above) = (at(index.floor()).rho(), at(index.ceil()).rho());
                at_rho(path, below + index.fract() * (above - below))
            } else {
                at(index.round_ties_even())
            }
        };
        Ok(indices.into_iter().map(point).collect())
    }
}

impl Variable {
    /// The point of a path at which the variable has a value.
    pub fn at(self, path: &Path, value: f64) -> PathPoint {
        match self {
            Self::Time => path.at(value),
            Self::Native => path.at(path.time_of_native(value)),
            Self::Lambda => path.at(path.time_of_lambda(value)),
            Self::Rho => at_rho(path, value),
        }
    }
}

/// The point of a path at a noise-to-signal ratio.
fn at_rho(path: &Path, rho: f64) -> PathPoint {
    let mut point = path.at(path.time_of_lambda(-rho.ln()));
    // Where a path is steep, its time cannot tell neighbouring levels apart: what is missing, a few last digits of rho,
    // is added along the path's derivatives. d ln rho = -lambda' dt.
    let missing = -(rho / point.rho()).ln() / point.lambda_dot();
    if missing.is_finite() {
        point.alpha += missing * point.alpha_dot;
        point.sigma += missing * point.sigma_dot;
    }
    point
}

/// The end of the path where it is data; for paths that keep some noise, data beyond their end.
fn data(path: &Path) -> PathPoint {
    let end = path.at(0.0);
    if end.sigma == 0.0 {
        end
    } else {
        // No time of the path leads there, so that only solvers that do not step in time can.
        PathPoint { t: f64::NAN, alpha: 1.0, sigma: 0.0, alpha_dot: f64::NAN, sigma_dot: f64::NAN }
    }
}

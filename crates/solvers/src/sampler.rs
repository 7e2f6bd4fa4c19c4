//! A solver with its grid: everything a plan is made from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::Path;

use crate::{Builder, Clipping, DpmMultistep, End, Grid, Plan, Solver, UniformTime};

/// How to sample along a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sampler {
    /// How steps are taken.
    pub solver: Solver,
    /// Where they lie.
    pub grid: Grid,
    /// How many there are, >= 1.
    pub steps: usize,
    /// Where the last one leads.
    pub end: End,
    /// What is done to the data that the network expects.
    pub clipping: Option<Clipping>,
    /// Standard deviation of the data that the start allows for: it is `sqrt(alpha^2 d^2 + sigma^2) z`, by default the
    /// noise alone. At the noisy end of a path it hardly matters.
    pub start_deviation: f64,
}

impl Default for Sampler {
    /// DPM-Solver++(2M) in 50 steps even in time: right on every path, and cheap.
    fn default() -> Self {
        Self {
            solver: Solver::DpmMultistep(DpmMultistep::default()),
            grid: Grid::UniformTime(UniformTime::default()),
            steps: 50,
            end: End::Data,
            clipping: None,
            start_deviation: 0.0,
        }
    }
}

impl Sampler {
    /// The plan along a path.
    ///
    /// # Errors
    ///
    /// Settings that are wrong, a grid that does not fit the path, or a step that the solver cannot take.
    pub fn plan(&self, path: &Path) -> Result<Plan, Problems> {
        let mut problems = self.validate();
        if !problems.is_empty() {
            return Err(problems);
        }
        let points = self.grid.points(path, self.steps, self.end).map_err(|wrong| {
            problems.nest("grid", wrong);
            problems
        })?;
        let start = self.solver.level(&points[0]);
        let plan = Builder::new(self.solver.name(), start, start.deviation(self.start_deviation));
        let mut plan = plan.with_clipping(self.clipping);
        self.solver.append(&mut plan, &points);
        plan.finish()
    }

    /// Everything that is wrong with its settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.nest("solver", self.solver.validate());
        problems.nest("grid", self.grid.validate());
        problems.check(self.steps >= 1, "steps", "must be at least 1");
        if let Some(clipping) = &self.clipping {
            problems.nest("clipping", clipping.validate());
        }
        let deviation = self.start_deviation;
        problems.check(deviation >= 0.0 && deviation.is_finite(), "start_deviation", "must be finite and not negative");
        problems
    }
}

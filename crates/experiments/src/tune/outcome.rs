//! What came of trials.

use serde_json::Value;
use sinter_metrics::Summary;

use super::TRIAL;
use crate::state::State;
use crate::sweep::{Axis, Better};
use crate::{Gathered, Index, Outcome, Row};

/// A trial with what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// Its number.
    pub number: usize,
    /// A value for each parameter.
    pub values: Vec<Value>,
    /// How it ended.
    pub ending: Ending,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// All of its seeds are done: the objective over them.
    Done(Summary),
    /// A seed failed, or left no objective: why.
    Failed(String),
    /// Seeds are still to be run.
    Open,
}

impl Tried {
    /// The objective's mean.
    pub fn objective(&self) -> Option<f64> {
        match &self.ending {
            Ending::Done(summary) => Some(summary.mean),
            _ => None,
        }
    }

    /// What a search is told, smaller being better; infinite for what failed, none for what is open.
    pub fn score(&self, better: Better) -> Option<f64> {
        match &self.ending {
            Ending::Done(summary) if better == Better::Less => Some(summary.mean),
            Ending::Done(summary) => Some(-summary.mean),
            Ending::Failed(_) => Some(f64::INFINITY),
            Ending::Open => None,
        }
    }
}

/// What came of the trials of a search, in their order; nothing for a sweep.
pub fn tried(index: &Index, gathered: &Gathered) -> Vec<Tried> {
    let Some(tune) = &index.tune else { return Vec::new() };
    let Some(Axis::Zip { rows, .. }) = index.sweep.axes.first() else { return Vec::new() };
    let one = |outcome: &Outcome<'_>| {
        let number: usize = outcome.levels.get(TRIAL)?.parse().ok()?;
        let values = rows.get(number)?.get(1..)?.to_vec();
        Some(Tried { number, values, ending: ending(&tune.objective.name, &outcome.rows) })
    };
    gathered.outcomes().iter().filter_map(one).collect()
}

fn ending(objective: &str, rows: &[&Row]) -> Ending {
    let mut values = Vec::new();
    let mut open = false;
    for row in rows {
        match &row.state {
            State::Failed(failed) => return Ending::Failed(format!("{}: {}", row.cell.label, failed.message)),
            State::Done(_) => match row.values.get(objective).copied().filter(|value| value.is_finite()) {
                Some(value) => values.push(value),
                None => return Ending::Failed(format!("{}: left no finite `{objective}`", row.cell.label)),
            },
            _ => open = true,
        }
    }
    match Summary::of(&values) {
        Ok(summary) if !open => Ending::Done(summary),
        _ => Ending::Open,
    }
}

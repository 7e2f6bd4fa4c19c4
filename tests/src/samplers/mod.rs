//! Golden runs of samplers: from a file to a plan, its start and its noise, and from what an executor did to a verdict.
//!
//! Any executor can be held to them: it carries out [`Run::plan`] from [`Run::start`] with [`Run::denoise`] as its
//! network and [`Run::noise`] as its noise, keeps a [`Record`], and hands it to [`Run::compare`].

mod diffusers;
mod edm;
mod kdiffusion;
mod keys;
mod official;

use std::collections::BTreeMap;
use std::sync::Arc;

use sinter_process::mixture::Mixture;
use sinter_solvers::host::{Event, execute};
use sinter_solvers::{Level, Operation, Plan};

use crate::golden::{Case, Errors, File, Tolerance};

/// What some hundred operations in f64 leave, relative to the largest number.
pub const F64: f64 = 2e-13;

/// What became of a run in the file.
pub enum Built {
    /// It can be carried out.
    Run(Box<Run>),
    /// Its class or feature is still to come.
    Pending(String),
    /// Something that the file holds besides runs, compared at once.
    Values(Vec<Values>),
}

/// Numbers and their reference.
pub struct Values {
    /// What they are.
    pub what: String,
    /// Ours.
    pub ours: Vec<f64>,
    /// The file's.
    pub reference: Vec<f64>,
    /// How far they may differ.
    pub tolerance: Tolerance,
}

/// One golden run.
pub struct Run {
    /// The plan to carry out.
    pub plan: Plan,
    /// The density whose exact denoiser is the network.
    pub mixture: Mixture,
    /// The start, `[b, d]`.
    pub start: Vec<f64>,
    /// The noise of each draw, `[b, d]`.
    pub noise: BTreeMap<usize, Vec<f64>>,
    /// The states that the file holds.
    pub states: Vec<States>,
    /// Numbers known before the run.
    pub values: Vec<Values>,
    /// How far states may differ in f64.
    pub tolerance: f64,
    /// How far the reference itself moves with a schedule in f32, where the file says so.
    pub float32_difference: Option<f64>,
}

/// States of a run.
pub struct States {
    /// Which they are.
    pub which: Which,
    /// One after the other, each `[b, d]`.
    pub values: Vec<f64>,
}

/// Which states a reference recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those at which the network was asked, and the last one.
    AskedAndLast,
    /// Those at which the network was first asked in each step.
    FirstAsked,
    /// The start and those in which steps ended.
    Reached,
    /// The last one.
    Last,
}

/// What an executor did.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The number of the step, and the state at which the network was asked.
    pub asked: Vec<(usize, Vec<f64>)>,
    /// The states in which steps ended.
    pub reached: Vec<Vec<f64>>,
    /// The last state.
    pub last: Vec<f64>,
}

impl Run {
    /// The expected data of states `[b, d]` at a level.
    pub fn denoise(&self, states: &[f64], level: Level) -> Vec<f64> {
        let samples = states.chunks(self.mixture.dimension());
        samples.flat_map(|sample| self.mixture.denoise(sample, level.alpha, level.sigma).data).collect()
    }

    /// Carries the run out on the host in f64.
    pub fn on_host(&self) -> Result<Record, String> {
        let mut record = Record::default();
        let noise = |draw: usize| self.noise.get(&draw).cloned().unwrap_or_default();
        let observe = |event: Event<'_>| match event {
            Event::Evaluated { input, .. } => record.asked.push((record.reached.len(), input.to_vec())),
            Event::Reached { state, .. } => record.reached.push(state.to_vec()),
        };
        let dimension = self.mixture.dimension();
        let evaluate = |states: &[f64], level: Level| self.denoise(states, level);
        let last = execute(&self.plan, self.start.clone(), dimension, evaluate, noise, observe);
        record.last = last.map_err(|error| error.to_string())?;
        Ok(record)
    }

    /// Those states of a record that a reference recorded, one after the other.
    pub fn recorded(&self, record: &Record, which: Which) -> Vec<f64> {
        let first_asked = |step: usize| record.asked.iter().find(|asked| asked.0 == step).map(|asked| &asked.1);
        match which {
            Which::AskedAndLast => {
                record.asked.iter().map(|asked| &asked.1).chain([&record.last]).flatten().copied().collect()
            }
            Which::FirstAsked => (0..record.reached.len()).filter_map(first_asked).flatten().copied().collect(),
            Which::Reached => [&self.start].into_iter().chain(&record.reached).flatten().copied().collect(),
            Which::Last => record.last.clone(),
        }
    }

    /// Holds a record to every state of the file: to the run's tolerance or, where states are so large that this is
    /// beyond the executor's numbers, to `precision` of the largest. In f64 that is [`F64`].
    pub fn compare(&self, record: &Record, precision: f64, errors: &mut Errors) -> Result<(), String> {
        for states in &self.states {
            let ours = self.recorded(record, states.which);
            let largest = states.values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            let bound = self.tolerance.max(precision * largest);
            errors.compare(&format!("{:?}", states.which), &ours, &states.values, Tolerance::Absolute(bound))?;
        }
        Ok(())
    }

    /// Holds the numbers known before the run to the file.
    pub fn compare_values(&self, errors: &mut Errors) -> Result<(), String> {
        compare_values(&self.values, errors)
    }
}

fn compare_values(values: &[Values], errors: &mut Errors) -> Result<(), String> {
    values.iter().try_for_each(|values| errors.compare(&values.what, &values.ours, &values.reference, values.tolerance))
}

/// Every run of a file, by name; the error says why one cannot be built.
pub fn runs(file: &File) -> Vec<(String, Result<Built, String>)> {
    match file.metadata("runs") {
        Some(runs) => diffusers::runs(file, &runs),
        None => keys::runs(file),
    }
}

/// Every run of a file as a case that `check` decides.
pub fn cases(
    file: &File,
    check: impl Fn(&Run, &mut Errors) -> Result<(), String> + Clone + Send + Sync + 'static,
) -> Vec<Case> {
    let check = Arc::new(check);
    let case = |(name, built): (String, Result<Built, String>)| match built {
        Err(reason) => Case::failed(name, reason),
        Ok(Built::Pending(reason)) => Case::pending(name, reason),
        Ok(Built::Values(values)) => Case::new(name, move |errors| compare_values(&values, errors)),
        Ok(Built::Run(run)) => {
            let check = Arc::clone(&check);
            Case::new(name, move |errors| check(&run, errors))
        }
    };
    runs(file).into_iter().map(case).collect()
}

/// The levels at which a plan asks the network, and its last one.
fn asked_levels(plan: &Plan) -> Vec<Level> {
    let asked = plan.operations.iter().filter_map(|operation| match operation {
        Operation::Evaluate { level, .. } => Some(*level),
        _ => None,
    });
    asked.chain(plan.levels().last().copied()).collect()
}

fn mixture(file: &File) -> Result<Mixture, String> {
    let read = |key: &str| file.tensor(key).map_err(|error| error.to_string());
    let rows = |(shape, values): (Vec<usize>, Vec<f64>)| -> Vec<Vec<f64>> {
        values.chunks(shape.last().copied().unwrap_or(1).max(1)).map(<[f64]>::to_vec).collect()
    };
    let weights = read("gmm.w")?.1;
    Mixture::new(weights, rows(read("gmm.mu")?), rows(read("gmm.var")?)).map_err(|error| error.to_string())
}

/// `scale` times the file's noise `z`, `[b, d]`.
fn start(file: &File, scale: f64) -> Result<Vec<f64>, String> {
    let z = file.values("z").map_err(|error| error.to_string())?;
    Ok(z.into_iter().map(|value| scale * value).collect())
}

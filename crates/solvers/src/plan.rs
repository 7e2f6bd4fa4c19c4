//! A sampler as data: network evaluations and linear combinations over numbered registers.
//!
//! Nearly every sampler of the field does only three things: it asks the network at some state, it adds multiples of
//! vectors, it draws noise. The multiples depend on the grid and on nothing that happens while sampling, so a solver can
//! work them out beforehand, in f64, and write down what is left to do. That list is a [`Plan`]. It can be printed,
//! compared, stored, hashed, searched and transformed, and any device can carry it out.
//!
//! # What fits
//!
//! | sampler | as a plan |
//! |---|---|
//! | multistep (DPM-Solver++, DEIS, Adams-Bashforth, PLMS) | earlier evaluations stay in registers of their own |
//! | predictor-corrector (UniPC) | one evaluation at the predicted state serves the corrector and the next predictor |
//! | singlestep and Runge-Kutta (Heun, DPM-Solver-2S/3S, PRK) | stages are states in registers of their own |
//! | leapfrog (BDIA) | the state before the last one keeps a register: `x'' = f + g (x - b)` is one combination |
//! | coupled states (EDICT) | a second state register, set from the first one by a combination |
//! | momentum (HB, GHVB) | the velocity is a register: `v' = (1 - b) v + b m` |
//! | stochastic (DDIM with eta, ancestral, churn, Restart, SDE solvers) | `Noise`, numbered so that it can be replayed |
//! | inversion with stored noise (edit-friendly DDPM, DPM-Encoder) | the executor answers `Noise` from what was stored |
//! | DC-Solver | the Lagrange interpolation of stored evaluations in time is a combination |
//! | searched schedules (USF, S^3, AutoDiffusion) | each step's choice appends its own operations |
//!
//! Guidance is no part of a plan: it is a combination inside the executor's answer to `Evaluate`.
//!
//! What does not fit, because coefficients depend on the state, becomes an operation with a name (as [`Operation::Clamp`]
//! and [`Operation::Threshold`]) or an executor of its own: learned variances (an elementwise exponential),
//! coefficients that are tensors (DPM-Solver-v3), norms (Langevin correctors), branches (adaptive steps).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::Level;

/// The number of a vector of the state's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Register(pub usize);

/// What an evaluation leaves in its register, converted from whatever the network predicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// The expected data x0.
    #[default]
    Data,
    /// The expected noise eps.
    Noise,
}

/// One thing to do. Inputs are read before the output is written, so that a register may be both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Ask the network.
    Evaluate {
        /// The state to ask at.
        input: Register,
        /// Where the answer goes.
        output: Register,
        /// What the network is told about the state. Never pure data: sigma > 0.
        level: Level,
        /// What the answer is converted to.
        quantity: Quantity,
    },
    /// `output = sum of coefficient * register`.
    Combine {
        /// Where the sum goes.
        output: Register,
        /// The summands; none gives zero.
        terms: Vec<(f64, Register)>,
    },
    /// Draw independent standard normal numbers.
    Noise {
        /// Where they go.
        output: Register,
        /// Which draw this is: equal numbers, equal noise.
        draw: usize,
    },
    /// Clip every element to `[-limit, limit]`.
    Clamp {
        /// What to clip.
        input: Register,
        /// Where it goes.
        output: Register,
        /// Largest absolute value left, > 0.
        limit: f64,
    },
    /// Dynamic thresholding (Saharia et al. 2022, section 2.3): with `s` the `ratio` quantile of a sample's absolute
    /// values, but at least 1 and at most `maximum`, clip the sample to `[-s, s]` and divide it by `s`.
    Threshold {
        /// What to threshold.
        input: Register,
        /// Where it goes.
        output: Register,
        /// Quantile in [0, 1].
        ratio: f64,
        /// Largest `s`, >= 1.
        maximum: f64,
    },
    /// A step ends here: the register holds a state of the trajectory. Changes nothing.
    State {
        /// The state.
        register: Register,
        /// Its level.
        level: Level,
    },
}

impl Operation {
    /// The registers that are read.
    pub fn inputs(&self) -> Vec<Register> {
        match self {
            Self::Evaluate { input, .. } | Self::Clamp { input, .. } | Self::Threshold { input, .. } => vec![*input],
            Self::Combine { terms, .. } => terms.iter().map(|term| term.1).collect(),
            Self::Noise { .. } => Vec::new(),
            Self::State { register, .. } => vec![*register],
        }
    }

    /// The register that is written.
    pub fn output(&self) -> Option<Register> {
        match self {
            Self::Evaluate { output, .. }
            | Self::Combine { output, .. }
            | Self::Noise { output, .. }
            | Self::Clamp { output, .. }
            | Self::Threshold { output, .. } => Some(*output),
            Self::State { .. } => None,
        }
    }
}

/// A sampler, worked out.
///
/// Two plans that serialise alike sample alike, so that a hash of the serialised form names the sampler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What a person calls it.
    pub name: String,
    /// The level of the state at the start.
    pub start: Level,
    /// The start is this times standard normal noise (elsewhere `init_noise_sigma`).
    pub scale: f64,
    /// The register that holds the start before the first operation and the sample after the last.
    pub state: Register,
    /// How many registers there are, numbered from 0.
    pub registers: usize,
    /// What to do, in order.
    pub operations: Vec<Operation>,
}

impl Plan {
    /// Number of network evaluations.
    pub fn evaluations(&self) -> usize {
        self.operations.iter().filter(|operation| matches!(operation, Operation::Evaluate { .. })).count()
    }

    /// The levels of the start and of the state after each step.
    pub fn levels(&self) -> Vec<Level> {
        let reached = self.operations.iter().filter_map(|operation| match operation {
            Operation::State { level, .. } => Some(*level),
            _ => None,
        });
        std::iter::once(self.start).chain(reached).collect()
    }

    /// The draws that the plan asks for, in ascending order, each once.
    pub fn draws(&self) -> Vec<usize> {
        let draws = self.operations.iter().filter_map(|operation| match operation {
            Operation::Noise { draw, .. } => Some(*draw),
            _ => None,
        });
        draws.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Everything that is wrong: registers that are read before they are written or do not exist, numbers that are not
    /// finite, levels at which a network cannot be asked.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.scale.is_finite(), "scale", "must be finite");
        problems.check(self.start.is_valid(), "start", "must be finite, not negative, and not zero throughout");
        problems.check(self.state.0 < self.registers, "state", format!("there are only {} registers", self.registers));
        let mut written = BTreeSet::from([self.state]);
        for (index, operation) in self.operations.iter().enumerate() {
            let key = format!("operations[{index}]");
            for Register(number) in operation.inputs() {
                let message = format!("register {number} is read before anything is written to it");
                problems.check(written.contains(&Register(number)), &key, message);
            }
            if let Some(Register(number)) = operation.output() {
                let message = format!("register {number} is not one of the {} registers", self.registers);
                problems.check(number < self.registers, &key, message);
                written.insert(Register(number));
            }
            check_numbers(operation, &key, &mut problems);
        }
        problems
    }
}

fn check_numbers(operation: &Operation, key: &str, problems: &mut Problems) {
    match operation {
        Operation::Evaluate { level, .. } => {
            problems.check(level.is_valid(), key, format!("the level {level} is not one of a path"));
            problems.check(level.sigma > 0.0, key, "a network cannot be asked at a state without noise");
        }
        Operation::Combine { terms, .. } => {
            let finite = terms.iter().all(|(coefficient, _)| coefficient.is_finite());
            problems.check(finite, key, "a coefficient is not finite");
        }
        Operation::Noise { .. } => {}
        Operation::Clamp { limit, .. } => problems.check(*limit > 0.0, key, "limit must be above 0"),
        Operation::Threshold { ratio, maximum, .. } => {
            problems.check((0.0..=1.0).contains(ratio), key, "ratio must be in [0, 1]");
            problems.check(*maximum >= 1.0, key, "maximum must be at least 1");
        }
        Operation::State { level, .. } => {
            problems.check(level.is_valid(), key, format!("the level {level} is not one of a path"));
        }
    }
}

//! Writing a plan, operation by operation.

use sinter_config::Problems;

use crate::{Clipping, Level, Operation, Plan, Quantity, Register};

/// The register of the state in every plan that a [`Builder`] writes.
pub const STATE: Register = Register(0);

/// A plan being written. Solvers append their steps to it; so may a search that chooses a solver for each step.
#[derive(Clone, Debug)]
pub struct Builder {
    plan: Plan,
    clipping: Option<Clipping>,
    steps: usize,
}

impl Builder {
    /// A plan that starts at `start` with `scale` times standard normal noise.
    pub fn new(name: impl Into<String>, start: Level, scale: f64) -> Self {
        let plan = Plan { name: name.into(), start, scale, state: STATE, registers: 1, operations: Vec::new() };
        Self { plan, clipping: None, steps: 0 }
    }

    /// Clips the expected data of every evaluation from here on.
    pub fn with_clipping(mut self, clipping: Option<Clipping>) -> Self {
        self.clipping = clipping;
        self
    }

    /// How many steps have ended: the number of the step being written.
    pub fn step(&self) -> usize {
        self.steps
    }

    /// The factor on standard normal noise that the plan starts from.
    pub fn scale(&self) -> f64 {
        self.plan.scale
    }

    /// `output = x0` or `eps`, as the network expects it at the state in `input`; clipped if the plan clips.
    pub fn evaluate(&mut self, quantity: Quantity, output: Register, input: Register, level: Level) {
        match (quantity, self.clipping) {
            (Quantity::Noise, Some(_)) => {
                // Only data can be clipped: eps = (x - alpha x0) / sigma takes part through x0.
                self.evaluate(Quantity::Data, output, input, level);
                self.combine(output, [(1.0 / level.sigma, input), (-level.alpha / level.sigma, output)]);
            }
            _ => {
                self.evaluate_unclipped(quantity, output, input, level);
                self.clip(output, output);
            }
        }
    }

    /// As [`evaluate`](Self::evaluate), but never clipped.
    pub fn evaluate_unclipped(&mut self, quantity: Quantity, output: Register, input: Register, level: Level) {
        self.push(Operation::Evaluate { input, output, level, quantity });
    }

    /// The data in `input`, clipped into `output` if the plan clips; returns the register to read.
    pub fn clip(&mut self, output: Register, input: Register) -> Register {
        match self.clipping {
            None => return input,
            Some(Clipping::Clamp(clamp)) => self.push(Operation::Clamp { input, output, limit: clamp.limit }),
            Some(Clipping::Threshold(threshold)) => {
                let (ratio, maximum) = (threshold.ratio, threshold.maximum);
                self.push(Operation::Threshold { input, output, ratio, maximum });
            }
        }
        output
    }

    /// `output = sum of coefficient * register`. Terms of the same register are added up, zeros are left out.
    pub fn combine(&mut self, output: Register, terms: impl IntoIterator<Item = (f64, Register)>) {
        let mut sum: Vec<(f64, Register)> = Vec::new();
        for (coefficient, register) in terms {
            match sum.iter_mut().find(|term| term.1 == register) {
                Some(term) => term.0 += coefficient,
                None => sum.push((coefficient, register)),
            }
        }
        sum.retain(|term| term.0 != 0.0);
        self.push(Operation::Combine { output, terms: sum });
    }

    /// `output` = standard normal noise, the draw of that number.
    pub fn noise(&mut self, output: Register, draw: usize) {
        self.push(Operation::Noise { output, draw });
    }

    /// The step ends: the state register has reached `level`.
    pub fn reach(&mut self, level: Level) {
        self.push(Operation::State { register: STATE, level });
        self.steps += 1;
    }

    /// The plan.
    ///
    /// # Errors
    ///
    /// What [`Plan::validate`] finds, such as a coefficient that is not finite because a solver cannot take a step.
    pub fn finish(self) -> Result<Plan, Problems> {
        let problems = self.plan.validate();
        if problems.is_empty() { Ok(self.plan) } else { Err(problems) }
    }

    fn push(&mut self, operation: Operation) {
        if let Some(Register(number)) = operation.output() {
            self.plan.registers = self.plan.registers.max(number + 1);
        }
        self.plan.operations.push(operation);
    }
}

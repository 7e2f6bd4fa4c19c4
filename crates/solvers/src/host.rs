//! Carrying out a plan in f64 on the host: the reference for every other executor.

use sinter_config::Problems;
use sinter_process::dynamic_threshold;

use crate::{Level, Operation, Plan, Quantity, Register};

/// Why a plan could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The plan contradicts itself.
    #[error("the plan is not valid:\n{0}")]
    Plan(Problems),
    /// The start does not consist of whole samples.
    #[error("a start of {length} numbers does not consist of samples of {sample} numbers")]
    Start {
        /// Numbers in the start.
        length: usize,
        /// Numbers in one sample.
        sample: usize,
    },
    /// The network or the noise source answered with a vector of another length.
    #[error("{what} gave {length} numbers for a state of {expected}")]
    Length {
        /// Who answered.
        what: &'static str,
        /// Numbers in the answer.
        length: usize,
        /// Numbers in the state.
        expected: usize,
    },
}

/// What an observer is shown while a plan is carried out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// The network was asked at `input`, a state of `level`, and expects the data `data` (not yet clipped).
    Evaluated {
        /// The state.
        input: &'a [f64],
        /// Its level.
        level: Level,
        /// What the network expects.
        data: &'a [f64],
    },
    /// A step has ended in `state`.
    Reached {
        /// The state.
        state: &'a [f64],
        /// Its level.
        level: Level,
    },
}

/// Carries out a plan and returns the final state.
///
/// * `start`: the state to start from; for fresh samples, [`Plan::scale`] times standard normal noise. Samples of
///   `sample` numbers follow one another.
/// * `evaluate(x, level)`: the expected data x0 at the states `x`.
/// * `noise(draw)`: as many standard normal numbers as the state has.
/// * `observe`: called with every evaluation and every state reached, in order.
///
/// # Errors
///
/// A plan that is not valid, or lengths that do not agree.
pub fn execute(
    plan: &Plan,
    start: Vec<f64>,
    sample: usize,
    mut evaluate: impl FnMut(&[f64], Level) -> Vec<f64>,
    mut noise: impl FnMut(usize) -> Vec<f64>,
    mut observe: impl FnMut(Event<'_>),
) -> Result<Vec<f64>, ExecuteError> {
    let problems = plan.validate();
    if !problems.is_empty() {
        return Err(ExecuteError::Plan(problems));
    }
    let length = start.len();
    if sample == 0 || !length.is_multiple_of(sample) {
        return Err(ExecuteError::Start { length, sample });
    }
    let mut registers = vec![Vec::new(); plan.registers];
    registers[plan.state.0] = start;
    for operation in &plan.operations {
        match operation {
            Operation::Evaluate { input, output, level, quantity } => {
                let state = &registers[input.0];
                let data = sized("the network", evaluate(state, *level), length)?;
                observe(Event::Evaluated { input: state, level: *level, data: &data });
                registers[output.0] = match quantity {
                    Quantity::Data => data,
                    // eps = (x - alpha x0) / sigma
                    Quantity::Noise => combine(
                        length,
                        [(1.0 / level.sigma, state.as_slice()), (-level.alpha / level.sigma, data.as_slice())],
                    ),
                };
            }
            Operation::Combine { output, terms } => {
                let terms = terms.iter().map(|(coefficient, Register(number))| (*coefficient, &registers[*number][..]));
                registers[output.0] = combine(length, terms);
            }
            Operation::Noise { output, draw } => {
                registers[output.0] = sized("the noise source", noise(*draw), length)?;
            }
            Operation::Clamp { input, output, limit } => {
                registers[output.0] = registers[input.0].iter().map(|value| value.clamp(-limit, *limit)).collect();
            }
            Operation::Threshold { input, output, ratio, maximum } => {
                let mut data = registers[input.0].clone();
                data.chunks_mut(sample).for_each(|sample| {
                    dynamic_threshold(sample, *ratio, *maximum);
                });
                registers[output.0] = data;
            }
            Operation::State { register, level } => {
                observe(Event::Reached { state: &registers[register.0], level: *level });
            }
        }
    }
    Ok(registers.swap_remove(plan.state.0))
}

fn sized(what: &'static str, values: Vec<f64>, expected: usize) -> Result<Vec<f64>, ExecuteError> {
    if values.len() == expected {
        Ok(values)
    } else {
        Err(ExecuteError::Length { what, length: values.len(), expected })
    }
}

fn combine<'a>(length: usize, terms: impl IntoIterator<Item = (f64, &'a [f64])>) -> Vec<f64> {
    let mut sum = vec![0.0; length];
    for (coefficient, values) in terms {
        for (total, value) in sum.iter_mut().zip(values) {
            *total += coefficient * value;
        }
    }
    sum
}

//! Carries out plans on tensors.

use burn::tensor::Tensor;
use sinter_models::Condition;
use sinter_solvers::{Level, Operation, Plan, Quantity, Register};

use crate::{Denoiser, SamplingError};

/// Carries out a plan from `start`, `[b, c, h, w]`, and returns the final state.
///
/// * `noise(draw)`: standard normal noise of the state's shape; equal draws, equal noise.
/// * `observe(state, level)`: called with the state at the end of each step.
///
/// # Errors
/// A plan that is not valid.
pub fn execute(
    plan: &Plan,
    start: Tensor<4>,
    denoiser: &dyn Denoiser,
    condition: &Condition,
    mut noise: impl FnMut(usize) -> Tensor<4>,
    mut observe: impl FnMut(&Tensor<4>, Level),
) -> Result<Tensor<4>, SamplingError> {
    let problems = plan.validate();
    if !problems.is_empty() {
        return Err(SamplingError::Plan(problems));
    }
    let zeros = start.zeros_like();
    let mut registers = vec![zeros.clone(); plan.registers];
    registers[plan.state.0] = start;
    for operation in &plan.operations {
        match operation {
            Operation::Evaluate { input, output, level, quantity } => {
                let state = registers[input.0].clone();
                let data = denoiser.data(state.clone(), level.alpha, level.sigma, condition);
                registers[output.0] = match quantity {
                    Quantity::Data => data,
                    // eps = (x - alpha x0) / sigma
                    Quantity::Noise => state.mul_scalar(1.0 / level.sigma) - data.mul_scalar(level.alpha / level.sigma),
                };
            }
            Operation::Combine { output, terms } => {
                let scaled = |&(coefficient, Register(number)): &(f64, Register)| {
                    registers[number].clone().mul_scalar(coefficient)
                };
                let sum = terms.iter().map(scaled).reduce(|sum, term| sum + term);
                registers[output.0] = sum.unwrap_or_else(|| zeros.clone());
            }
            Operation::Noise { output, draw } => registers[output.0] = noise(*draw),
            Operation::Clamp { input, output, limit } => {
                registers[output.0] = registers[input.0].clone().clamp(-limit, *limit);
            }
            Operation::Threshold { input, output, ratio, maximum } => {
                registers[output.0] = threshold(registers[input.0].clone(), *ratio, *maximum);
            }
            Operation::State { register, level } => observe(&registers[register.0], *level),
        }
    }
    Ok(registers.swap_remove(plan.state.0))
}

/// Dynamic thresholding (Saharia et al. 2022, section 2.3) of each image of `[b, c, h, w]`.
fn threshold(x: Tensor<4>, ratio: f64, maximum: f64) -> Tensor<4> {
    let shape = x.dims();
    let flat: Tensor<2> = x.flatten(1, 3); // [b, c h w]
    let sorted = flat.clone().abs().sort(1);
    // The quantile lies between two neighbours.
    let position = ratio * (sorted.dims()[1] - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.dims()[1] - 1);
    let weight = position - position.floor();
    let limit =
        sorted.clone().narrow(1, below, 1).mul_scalar(1.0 - weight) + sorted.narrow(1, above, 1).mul_scalar(weight); // [b, 1]
    let limit = limit.clamp(1.0, maximum);
    let clipped = flat.min_pair(limit.clone()).max_pair(limit.clone().neg());
    (clipped / limit).reshape(shape)
}

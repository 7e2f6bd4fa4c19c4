//! AdamW and the moving average of weights, in place, in one pass over memory.

use rayon::prelude::*;

use super::Isa;
use super::arithmetic::mul_add;

/// Elements in one piece of work.
const PIECE: usize = if cfg!(miri) { 16 } else { 16 * 1024 };

/// The coefficients of an AdamW step, as 32-bit floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coefficients {
    /// Factor of the gradient.
    pub(crate) gradient_scale: f32,
    /// Decay of the first moment.
    pub(crate) beta_1: f32,
    /// `1 - beta_1`.
    pub(crate) rest_1: f32,
    /// Decay of the second moment.
    pub(crate) beta_2: f32,
    /// `1 - beta_2`.
    pub(crate) rest_2: f32,
    /// Factor of the second moment's root.
    pub(crate) root_scale: f32,
    /// Added to the root.
    pub(crate) epsilon: f32,
    /// Factor of the parameter: weight decay.
    pub(crate) shrink: f32,
    /// Factor of the update.
    pub(crate) step_size: f32,
}

vectorized!(
    fn adamw_piece(parameter: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32], c: Coefficients) =
        adamw_body
);
vectorized!(fn ema_piece(average: &mut [f32], parameter: &[f32], rest: f32) = ema_body);

/// One AdamW step on all elements of one parameter.
pub(crate) fn adamw(
    isa: Isa,
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    coefficients: Coefficients,
) {
    let n = parameter.len();
    assert!(gradient.len() == n && first.len() == n && second.len() == n, "one shape for all tensors of a step");
    let moments = first.par_chunks_mut(PIECE).zip(second.par_chunks_mut(PIECE));
    parameter.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE)).zip(moments).for_each(
        |((parameter, gradient), (first, second))| adamw_piece(isa, parameter, gradient, first, second, coefficients),
    );
}

/// `average += rest (parameter - average)`.
pub(crate) fn ema(isa: Isa, average: &mut [f32], parameter: &[f32], rest: f32) {
    assert_eq!(average.len(), parameter.len(), "one shape for a parameter and its average");
    average
        .par_chunks_mut(PIECE)
        .zip(parameter.par_chunks(PIECE))
        .for_each(|(average, parameter)| ema_piece(isa, average, parameter, rest));
}

#[inline(always)]
fn adamw_body<const FUSED: bool>(
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    c: Coefficients,
) {
    for (((parameter, gradient), first), second) in parameter.iter_mut().zip(gradient).zip(first).zip(second) {
        let gradient = gradient * c.gradient_scale;
        *first = mul_add::<FUSED>(*first, c.beta_1, gradient * c.rest_1);
        *second = mul_add::<FUSED>(*second, c.beta_2, gradient * gradient * c.rest_2);
        let root = mul_add::<FUSED>(second.sqrt(), c.root_scale, c.epsilon);
        *parameter = mul_add::<FUSED>(*parameter, c.shrink, -c.step_size * (*first / root));
    }
}

#[inline(always)]
fn ema_body<const FUSED: bool>(average: &mut [f32], parameter: &[f32], rest: f32) {
    for (average, parameter) in average.iter_mut().zip(parameter) {
        *average = mul_add::<FUSED>(parameter - *average, rest, *average);
    }
}

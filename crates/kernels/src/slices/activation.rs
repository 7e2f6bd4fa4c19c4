//! SiLU and tanh GELU, and their derivatives.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Isa;
use super::arithmetic::{mul_add, sigmoid, sigmoid_and_rest};
use super::memory::written;
use crate::activation::{GELU_CUBIC, GELU_SLOPE};

/// Elements in one piece of work: in and out stay in the level-two cache.
const PIECE: usize = if cfg!(miri) { 16 } else { 16 * 1024 };

vectorized!(fn silu_piece(x: &[f32], y: &mut [MaybeUninit<f32>]) = silu_body);
vectorized!(fn silu_gradient_piece(x: &[f32], g: &[f32], dx: &mut [MaybeUninit<f32>]) = silu_gradient_body);
vectorized!(fn gelu_piece(x: &[f32], y: &mut [MaybeUninit<f32>]) = gelu_body);
vectorized!(fn gelu_gradient_piece(x: &[f32], g: &[f32], dx: &mut [MaybeUninit<f32>]) = gelu_gradient_body);

/// `y = x sigmoid(x)`.
pub(crate) fn silu(isa: Isa, x: &[f32]) -> Vec<f32> {
    map(x, |x, y| silu_piece(isa, x, y))
}

/// The gradient of [`silu`] at `x`, given that of its result.
pub(crate) fn silu_backward(isa: Isa, x: &[f32], g: &[f32]) -> Vec<f32> {
    map_two(x, g, |x, g, dx| silu_gradient_piece(isa, x, g, dx))
}

/// `y = x sigmoid(a x (1 + c x^2))`, the tanh GELU.
pub(crate) fn gelu(isa: Isa, x: &[f32]) -> Vec<f32> {
    map(x, |x, y| gelu_piece(isa, x, y))
}

/// The gradient of [`gelu`] at `x`, given that of its result.
pub(crate) fn gelu_backward(isa: Isa, x: &[f32], g: &[f32]) -> Vec<f32> {
    map_two(x, g, |x, g, dx| gelu_gradient_piece(isa, x, g, dx))
}

fn map(x: &[f32], piece: impl Fn(&[f32], &mut [MaybeUninit<f32>]) + Sync) -> Vec<f32> {
    // SAFETY: the pieces cover the output, and each kernel writes all of its own.
    unsafe {
        written(x.len(), |y| {
            y.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(y, x)| piece(x, y));
        })
    }
}

fn map_two(x: &[f32], g: &[f32], piece: impl Fn(&[f32], &[f32], &mut [MaybeUninit<f32>]) + Sync) -> Vec<f32> {
    assert_eq!(x.len(), g.len(), "the gradient has the shape of the value");
    // SAFETY: the pieces cover the output, and each kernel writes all of its own.
    unsafe {
        written(x.len(), |y| {
            let inputs = x.par_chunks(PIECE).zip(g.par_chunks(PIECE));
            y.par_chunks_mut(PIECE).zip(inputs).for_each(|(y, (x, g))| piece(x, g, y));
        })
    }
}

#[inline(always)]
fn silu_body<const FUSED: bool>(x: &[f32], y: &mut [MaybeUninit<f32>]) {
    for (y, &x) in y.iter_mut().zip(x) {
        y.write(x * sigmoid::<FUSED>(x));
    }
}

#[inline(always)]
fn silu_gradient_body<const FUSED: bool>(x: &[f32], g: &[f32], dx: &mut [MaybeUninit<f32>]) {
    for ((dx, &x), &g) in dx.iter_mut().zip(x).zip(g) {
        let (s, rest) = sigmoid_and_rest::<FUSED>(x);
        dx.write(g * mul_add::<FUSED>(x * s, rest, s));
    }
}

const SLOPE: f32 = GELU_SLOPE as f32;
const CUBIC: f32 = GELU_CUBIC as f32;

#[inline(always)]
fn gelu_body<const FUSED: bool>(x: &[f32], y: &mut [MaybeUninit<f32>]) {
    for (y, &x) in y.iter_mut().zip(x) {
        y.write(x * sigmoid::<FUSED>(SLOPE * x * mul_add::<FUSED>(CUBIC * x, x, 1.0)));
    }
}

#[inline(always)]
fn gelu_gradient_body<const FUSED: bool>(x: &[f32], g: &[f32], dx: &mut [MaybeUninit<f32>]) {
    for ((dx, &x), &g) in dx.iter_mut().zip(x).zip(g) {
        let square = x * x;
        let (s, rest) = sigmoid_and_rest::<FUSED>(SLOPE * x * mul_add::<FUSED>(CUBIC, square, 1.0));
        let inner = SLOPE * mul_add::<FUSED>(3.0 * CUBIC, square, 1.0);
        dx.write(g * mul_add::<FUSED>(x * s * rest, inner, s));
    }
}

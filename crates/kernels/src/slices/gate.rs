//! `x + gate h` with one gate row an image, and its gradients.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Isa;
use super::arithmetic::mul_add;
use super::layer_norm::Rows;
use super::memory::written;

vectorized!(fn image(x: &[f32], h: &[f32], gate: &[f32], y: &mut [MaybeUninit<f32>]) = image_body);
vectorized!(
    fn image_gradient(h: &[f32], gate: &[f32], g: &[f32], dh: &mut [MaybeUninit<f32>], dgate: &mut [f32]) =
        image_gradient_body
);

/// `y = x + gate h`.
pub(crate) fn forward(isa: Isa, x: &[f32], h: &[f32], gate: &[f32], shape: Rows) -> Vec<f32> {
    shape.check([x, h], [gate]);
    let Rows { rows, width } = shape;
    let size = rows * width;
    // SAFETY: one piece an image covers the output, and the kernel writes every row.
    unsafe {
        written(x.len(), |y| {
            let inputs = x.par_chunks(size).zip(h.par_chunks(size)).zip(gate.par_chunks(width));
            y.par_chunks_mut(size).zip(inputs).for_each(|(y, ((x, h), gate))| image(isa, x, h, gate, y));
        })
    }
}

/// The gradients of `h` and `gate`, given that of the result, `g`, which is also the gradient of `x`.
pub(crate) fn backward(isa: Isa, h: &[f32], gate: &[f32], g: &[f32], shape: Rows) -> (Vec<f32>, Vec<f32>) {
    shape.check([h, g], [gate]);
    let Rows { rows, width } = shape;
    let size = rows * width;
    let mut dgate = vec![0.0; gate.len()];
    // SAFETY: one piece an image covers the output, and the kernel writes every row.
    let dh = unsafe {
        written(h.len(), |dh| {
            let inputs = h.par_chunks(size).zip(gate.par_chunks(width)).zip(g.par_chunks(size));
            let outputs = dh.par_chunks_mut(size).zip(dgate.par_chunks_mut(width));
            outputs.zip(inputs).for_each(|((dh, dgate), ((h, gate), g))| image_gradient(isa, h, gate, g, dh, dgate));
        })
    };
    (dh, dgate)
}

#[inline(always)]
fn image_body<const FUSED: bool>(x: &[f32], h: &[f32], gate: &[f32], y: &mut [MaybeUninit<f32>]) {
    let width = gate.len();
    for ((x, h), y) in x.chunks_exact(width).zip(h.chunks_exact(width)).zip(y.chunks_exact_mut(width)) {
        for (((y, x), h), gate) in y.iter_mut().zip(x).zip(h).zip(gate) {
            y.write(mul_add::<FUSED>(*gate, *h, *x));
        }
    }
}

#[inline(always)]
fn image_gradient_body<const FUSED: bool>(
    h: &[f32],
    gate: &[f32],
    g: &[f32],
    dh: &mut [MaybeUninit<f32>],
    dgate: &mut [f32],
) {
    let width = gate.len();
    let dgate = &mut dgate[..width];
    for ((h, g), dh) in h.chunks_exact(width).zip(g.chunks_exact(width)).zip(dh.chunks_exact_mut(width)) {
        for i in 0..width {
            dh[i].write(gate[i] * g[i]);
            dgate[i] = mul_add::<FUSED>(g[i], h[i], dgate[i]);
        }
    }
}

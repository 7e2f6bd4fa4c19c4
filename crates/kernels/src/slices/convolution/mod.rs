//! Two-dimensional convolution and its gradients.
//!
//! A 1 x 1 kernel is a matrix product per image. All others convolve directly on a copy of the image with margins
//! ([`planes`]); no matrix of patches is made.

mod direct;
mod planes;
mod weight;

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Isa;
use super::arithmetic::sum;
use super::matrix::{Matrix, Write, multiply, sum_of_parts};
use super::memory::written;
use planes::Planes;

/// The sizes of a convolution: `[batch, inputs, height, width]` to `[batch, outputs, out_height, out_width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) inputs: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel_height: usize,
    pub(crate) kernel_width: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Shape {
    pub(crate) fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel_height) / self.stride + 1
    }

    pub(crate) fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel_width) / self.stride + 1
    }

    /// Elements of one image.
    fn image(&self) -> usize {
        self.inputs * self.height * self.width
    }

    /// Elements of one image of the result.
    fn out_image(&self) -> usize {
        self.outputs * self.out_pixels()
    }

    fn out_pixels(&self) -> usize {
        self.out_height() * self.out_width()
    }

    fn taps(&self) -> usize {
        self.kernel_height * self.kernel_width
    }

    /// Weights of one output channel.
    fn patch(&self) -> usize {
        self.inputs * self.taps()
    }

    fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.stride == 1 && self.padding == 0
    }

    /// Fails where memory is not what the sizes say; everything below trusts them.
    fn assert_image(&self, x: &[f32]) {
        assert_eq!(x.len(), self.batch * self.image(), "elements of the image");
    }

    fn assert_result(&self, g: &[f32]) {
        assert_eq!(g.len(), self.batch * self.out_image(), "elements of the result's gradient");
    }

    fn assert_weight(&self, weight: &[f32]) {
        assert_eq!(weight.len(), self.outputs * self.patch(), "elements of the weight");
    }

    /// Row and column of each tap in the kernel.
    fn tap_positions(&self) -> impl Iterator<Item = (usize, usize)> {
        let width = self.kernel_width;
        (0..self.taps()).map(move |tap| (tap / width, tap % width))
    }

    /// Where tap `(ky, kx)` reads for the first result.
    fn input_offset(&self, planes: &Planes, ky: usize, kx: usize) -> usize {
        let before = |k: usize| k as isize - self.padding as isize;
        planes.offset(before(ky), before(kx))
    }
}

/// The convolution of `x` with `weight` `[outputs, inputs, kernel_height, kernel_width]`, plus `bias` `[outputs]`.
pub(crate) fn forward(isa: Isa, shape: &Shape, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    shape.assert_image(x);
    shape.assert_weight(weight);
    assert!(bias.is_none_or(|bias| bias.len() == shape.outputs), "one bias per output channel");
    if shape.is_pointwise() {
        pointwise(shape.out_pixels(), x, Matrix::new(weight, shape.outputs, shape.inputs), bias)
    } else {
        direct::forward(isa, shape, x, weight, bias)
    }
}

/// The gradient of `x`, given that of the result, `g`.
pub(crate) fn backward_image(isa: Isa, shape: &Shape, g: &[f32], weight: &[f32]) -> Vec<f32> {
    shape.assert_result(g);
    shape.assert_weight(weight);
    if shape.is_pointwise() {
        pointwise(shape.out_pixels(), g, Matrix::new(weight, shape.outputs, shape.inputs).transposed(), None)
    } else {
        direct::backward_image(isa, shape, g, weight)
    }
}

/// The gradient of the weight, given that of the result, `g`.
pub(crate) fn backward_weight(isa: Isa, shape: &Shape, x: &[f32], g: &[f32]) -> Vec<f32> {
    shape.assert_image(x);
    shape.assert_result(g);
    if shape.is_pointwise() { pointwise_weight(shape, x, g) } else { weight::backward_weight(isa, shape, x, g) }
}

vectorized!(fn plane_sums(g: &[f32], pixels: usize, sums: &mut [f32]) = plane_sums_body);

#[inline(always)]
fn plane_sums_body<const FUSED: bool>(g: &[f32], pixels: usize, sums: &mut [f32]) {
    for (total, plane) in sums.iter_mut().zip(g.chunks_exact(pixels)) {
        *total = sum(plane);
    }
}

/// The gradient of the bias: the sum of `g` over images and pixels.
pub(crate) fn backward_bias(isa: Isa, shape: &Shape, g: &[f32]) -> Vec<f32> {
    shape.assert_result(g);
    let mut sums = vec![0.0f32; shape.batch * shape.outputs];
    sums.par_chunks_mut(shape.outputs)
        .zip(g.par_chunks(shape.out_image()))
        .for_each(|(sums, g)| plane_sums(isa, g, shape.out_pixels(), sums));
    let total = |o: usize| sums.iter().skip(o).step_by(shape.outputs).map(|v| *v as f64).sum::<f64>() as f32;
    (0..shape.outputs).map(total).collect()
}

/// A 1 x 1 convolution of images of `pixels` pixels with `weight` `[outputs, inputs]`: a matrix product for each image.
fn pointwise(pixels: usize, x: &[f32], weight: Matrix, bias: Option<&[f32]>) -> Vec<f32> {
    let (outputs, inputs) = (weight.row_count(), weight.column_count());
    let write = if bias.is_some() { Write::Add } else { Write::Set };
    // SAFETY: each image's bias, then its product, fills its part of the output.
    unsafe {
        written(x.len() / inputs * outputs, |out| {
            let images = out.par_chunks_mut(outputs * pixels).zip(x.par_chunks(inputs * pixels));
            images.for_each(|(out, x)| {
                if let Some(bias) = bias {
                    for (row, bias) in out.chunks_exact_mut(pixels).zip(bias) {
                        row.fill(MaybeUninit::new(*bias));
                    }
                }
                multiply(weight, Matrix::new(x, inputs, pixels), 1.0, out.as_mut_ptr().cast(), pixels, write);
            });
        })
    }
}

/// The gradient of a 1 x 1 convolution's weight: the sum of a matrix product for each image.
fn pointwise_weight(shape: &Shape, x: &[f32], g: &[f32]) -> Vec<f32> {
    /// Images in one part of the sum, and the most parts.
    const IMAGES: usize = 2;
    const MAX_PARTS: usize = 16;
    let pixels = shape.out_pixels();
    let parts = shape.batch.div_ceil(IMAGES).clamp(1, MAX_PARTS);
    let images = shape.batch.div_ceil(parts);
    sum_of_parts(shape.outputs * shape.inputs, parts, |part, dw| {
        for b in part * images..((part + 1) * images).min(shape.batch) {
            let x = Matrix::new(&x[b * shape.image()..][..shape.image()], shape.inputs, pixels);
            let g = Matrix::new(&g[b * shape.out_image()..][..shape.out_image()], shape.outputs, pixels);
            // SAFETY: the product has the shape of the weight, which `dw` holds, zero at first.
            unsafe { multiply(g, x.transposed(), 1.0, dw.as_mut_ptr(), shape.inputs, Write::Add) };
        }
    })
}

#[cfg(test)]
mod tests;

//! Layer normalization without weights, then a shift and scale per image, and its gradients.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Isa;
use super::arithmetic::{dot, mean_variance, mul_add, sum};
use super::memory::written;

/// Shape of an input `[b, n, d]`: `n` rows of `d` elements an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) rows: usize,
    pub(crate) width: usize,
}

impl Rows {
    /// Fails unless all of `images` are whole and as many, and each of `rows` has one row for each of them.
    pub(super) fn check<const A: usize, const B: usize>(self, images: [&[f32]; A], rows: [&[f32]; B]) {
        let len = rows[0].len();
        assert!(len.is_multiple_of(self.width) && rows.iter().all(|row| row.len() == len), "one row an image");
        assert!(images.iter().all(|image| image.len() == len * self.rows), "as many images as rows");
    }
}

/// Gradients of the inputs of [`forward`].
pub(crate) struct Gradients {
    pub(crate) x: Vec<f32>,
    pub(crate) shift: Vec<f32>,
    pub(crate) scale: Vec<f32>,
}

vectorized!(
    fn image(
        x: &[f32],
        shift: &[f32],
        scale: &[f32],
        epsilon: f32,
        y: &mut [MaybeUninit<f32>],
        statistics: &mut [MaybeUninit<f32>],
    ) = image_body
);
vectorized!(
    fn image_gradient(
        x: &[f32],
        g: &[f32],
        scale: &[f32],
        statistics: &[f32],
        dx: &mut [MaybeUninit<f32>],
        dshift: &mut [f32],
        dscale: &mut [f32],
    ) = image_gradient_body
);

/// `y = LN(x) (1 + scale) + shift`, and the mean and reciprocal deviation of each row, which [`backward`] needs.
pub(crate) fn forward(
    isa: Isa,
    x: &[f32],
    shift: &[f32],
    scale: &[f32],
    shape: Rows,
    epsilon: f32,
) -> (Vec<f32>, Vec<f32>) {
    shape.check([x], [shift, scale]);
    let Rows { rows, width } = shape;
    let mut statistics = Vec::new();
    // SAFETY: one piece an image covers both outputs, and the kernel writes each row and its two statistics.
    let y = unsafe {
        written(x.len(), |y| {
            statistics = written(x.len() / width * 2, |statistics| {
                let outputs = y.par_chunks_mut(rows * width).zip(statistics.par_chunks_mut(2 * rows));
                let inputs = x.par_chunks(rows * width).zip(shift.par_chunks(width)).zip(scale.par_chunks(width));
                outputs.zip(inputs).for_each(|((y, statistics), ((x, shift), scale))| {
                    image(isa, x, shift, scale, epsilon, y, statistics);
                });
            });
        })
    };
    (y, statistics)
}

/// The gradients of [`forward`]'s inputs, given that of its result, `g`.
pub(crate) fn backward(isa: Isa, x: &[f32], g: &[f32], scale: &[f32], statistics: &[f32], shape: Rows) -> Gradients {
    shape.check([x, g], [scale]);
    let Rows { rows, width } = shape;
    assert_eq!(statistics.len(), x.len() / width * 2, "two statistics a row");
    let mut dshift = vec![0.0; scale.len()];
    let mut dscale = vec![0.0; scale.len()];
    // SAFETY: one piece an image covers the output, and the kernel writes every row.
    let dx = unsafe {
        written(x.len(), |dx| {
            let size = rows * width;
            let outputs = dx.par_chunks_mut(size).zip(dshift.par_chunks_mut(width)).zip(dscale.par_chunks_mut(width));
            let inputs = x.par_chunks(size).zip(g.par_chunks(size));
            let rest = scale.par_chunks(width).zip(statistics.par_chunks(2 * rows));
            outputs.zip(inputs.zip(rest)).for_each(|(((dx, dshift), dscale), ((x, g), (scale, statistics)))| {
                image_gradient(isa, x, g, scale, statistics, dx, dshift, dscale);
            });
        })
    };
    Gradients { x: dx, shift: dshift, scale: dscale }
}

#[inline(always)]
fn image_body<const FUSED: bool>(
    x: &[f32],
    shift: &[f32],
    scale: &[f32],
    epsilon: f32,
    y: &mut [MaybeUninit<f32>],
    statistics: &mut [MaybeUninit<f32>],
) {
    let width = scale.len();
    let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(statistics.chunks_exact_mut(2));
    for ((x, y), statistics) in rows {
        let (mean, variance) = mean_variance::<FUSED>(x);
        let inverse = 1.0 / (variance + epsilon).sqrt();
        statistics[0].write(mean);
        statistics[1].write(inverse);
        for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
            y.write(mul_add::<FUSED>((x - mean) * inverse, 1.0 + scale, *shift));
        }
    }
}

/// With `z = (x - mean) / deviation` and `h = g (1 + scale)`:
/// `dx = (h - mean(h) - z mean(h z)) / deviation`, `dscale = sum g z`, `dshift = sum g`.
#[inline(always)]
fn image_gradient_body<const FUSED: bool>(
    x: &[f32],
    g: &[f32],
    scale: &[f32],
    statistics: &[f32],
    dx: &mut [MaybeUninit<f32>],
    dshift: &mut [f32],
    dscale: &mut [f32],
) {
    let width = scale.len();
    let (mut h, mut z) = (vec![0.0f32; width], vec![0.0f32; width]);
    let rows = x.chunks_exact(width).zip(g.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    for (((x, g), dx), statistics) in rows.zip(statistics.chunks_exact(2)) {
        let (mean, inverse) = (statistics[0], statistics[1]);
        let (dshift, dscale) = (&mut dshift[..width], &mut dscale[..width]);
        for i in 0..width {
            z[i] = (x[i] - mean) * inverse;
            h[i] = g[i] * (1.0 + scale[i]);
            dshift[i] += g[i];
            dscale[i] = mul_add::<FUSED>(g[i], z[i], dscale[i]);
        }
        let mean_h = sum(&h) / width as f32;
        let mean_hz = dot::<FUSED>(&h, &z) / width as f32;
        for ((dx, h), z) in dx.iter_mut().zip(&h).zip(&z) {
            dx.write(inverse * (h - mean_h - z * mean_hz));
        }
    }
}

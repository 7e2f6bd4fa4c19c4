//! The gradient of the weight: inner products of the result's gradient with what each tap reads.
//!
//! The gradient is laid out with the pitch of the image's planes, zeros where [`direct`](super::direct) drops a result.

use rayon::prelude::*;

use super::super::Isa;
use super::super::arithmetic::add_to;
use super::super::isa::Level;
use super::super::matrix::sum_of_parts;
use super::super::memory::as_unwritten;
use super::super::rows::copy_rows;
#[cfg(target_arch = "x86_64")]
use super::super::vector::{Avx2, Avx512};
use super::super::vector::{Portable, Vector};
use super::Shape;
use super::planes::Planes;

/// Taps in one tile of sums.
const TAPS: usize = 3;
/// Images in one part of the sum, and the most parts.
const IMAGES: usize = 16;
const MAX_PARTS: usize = 16;
/// Results (of several small images together) that make adding up the lanes of a tile worth while.
const RESULTS: usize = 1024;

/// As [`super::backward_weight`].
pub(super) fn backward_weight(isa: Isa, shape: &Shape, x: &[f32], g: &[f32]) -> Vec<f32> {
    let parts = shape.batch.div_ceil(IMAGES).clamp(1, MAX_PARTS);
    let images = shape.batch.div_ceil(parts);
    sum_of_parts(shape.outputs * shape.patch(), parts, |part, dw| {
        let (start, end) = ((part * images).min(shape.batch), ((part + 1) * images).min(shape.batch));
        let x = &x[start * shape.image()..end * shape.image()];
        let g = &g[start * shape.out_image()..end * shape.out_image()];
        part_of_weight(isa, &Shape { batch: end - start, ..*shape }, x, g, dw);
    })
}

/// Output and input channels in one tile of sums: what fits the registers.
fn tile(isa: Isa) -> (usize, usize) {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => (4, 2),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => (4, 1),
        Level::Portable => (2, 1),
    }
}

/// Adds the gradient over the images of `x` and `g` to `dw`, which is `[outputs, inputs, taps]`.
fn part_of_weight(isa: Isa, shape: &Shape, x: &[f32], g: &[f32], dw: &mut [f32]) {
    let (outputs, inputs) = tile(isa);
    let planes = Planes::of_input(shape);
    let results = planes.results(shape.out_height(), shape.out_width());
    let offsets: Vec<usize> = shape.tap_positions().map(|(ky, kx)| shape.input_offset(&planes, ky, kx)).collect();
    let at_once = (RESULTS / results).clamp(1, shape.batch.div_ceil(planes.images).max(1));
    // `[strip, input, plane]` and `[strip, output, results]`; what a last tile reads beyond the channels is not used.
    let (image_size, gradient_size) = (shape.inputs * planes.len(), shape.outputs * results);
    let mut images = vec![0.0; at_once * image_size + (inputs - 1) * planes.len()];
    let mut gradients = vec![0.0; at_once * gradient_size + (outputs - 1) * results];
    let taken = at_once * planes.images;
    for (x, g) in x.chunks(taken * shape.image()).zip(g.chunks(taken * shape.out_image())) {
        for (x, strip) in x.chunks(planes.images * shape.image()).zip(images.chunks_exact_mut(image_size)) {
            planes.copy_strip(isa, x, shape.inputs, strip);
        }
        if g.len() < taken * shape.out_image() {
            gradients.fill(0.0);
        }
        let strips = g.chunks(planes.images * shape.out_image());
        let count = strips.len();
        for (g, strip) in strips.zip(gradients.chunks_exact_mut(gradient_size)) {
            copy_gradient(isa, shape, &planes, results, g, strip);
        }
        let images = Runs { data: &images, image: image_size, channel: planes.len() };
        let gradients = Runs { data: &gradients, image: gradient_size, channel: results };
        dw.par_chunks_mut(outputs * shape.patch()).enumerate().for_each(|(tile, dw)| {
            let gradients = gradients.from(tile * outputs);
            for input in (0..shape.inputs).step_by(inputs) {
                let images = images.from(input);
                for (group, offsets) in offsets.chunks(TAPS).enumerate() {
                    // A last group of fewer taps repeats one, whose sums are not used.
                    let taps = std::array::from_fn(|k| offsets[k.min(offsets.len() - 1)]);
                    let sums = products(isa, images, gradients, count, results, taps);
                    for (dw, sums) in dw.chunks_exact_mut(shape.patch()).zip(sums.chunks_exact(TAPS * inputs)) {
                        let dw = dw[input * shape.taps()..].chunks_exact_mut(shape.taps());
                        for (dw, sums) in dw.zip(sums.chunks_exact(TAPS)) {
                            add_to(&mut dw[group * TAPS..][..offsets.len()], sums);
                        }
                    }
                }
            }
        });
    }
}

/// Lays out the result's gradient for the images of one strip: `[output, results]`, zero where results are dropped.
fn copy_gradient(isa: Isa, shape: &Shape, planes: &Planes, results: usize, g: &[f32], strip: &mut [f32]) {
    for (i, image) in g.chunks_exact(shape.out_image()).enumerate() {
        for (g, into) in image.chunks_exact(shape.out_pixels()).zip(strip.chunks_exact_mut(results)) {
            let size = [shape.out_height(), shape.out_width()];
            // SAFETY: rows of floats are copied there.
            let into = unsafe { as_unwritten(&mut into[i * planes.step()..]) };
            copy_rows(isa, g, shape.out_width(), size, 0.0, into, planes.pitch);
        }
    }
}

/// Channels of several images: channel `c` of image `i` starts at `i image + c channel`.
#[derive(Clone, Copy)]
struct Runs<'a> {
    data: &'a [f32],
    image: usize,
    channel: usize,
}

impl Runs<'_> {
    /// Those from one channel on.
    fn from(self, channel: usize) -> Self {
        Self { data: &self.data[channel * self.channel..], ..self }
    }

    /// Whether `len` elements can be read from each of the first channels of all images.
    fn hold(&self, images: usize, channels: usize, len: usize) -> bool {
        (images - 1) * self.image + (channels - 1) * self.channel + len <= self.data.len()
    }
}

/// Sums of a tile, `[output, input, tap]`, as many as the largest tile has.
type Sums = [f32; 4 * 2 * TAPS];

/// For each output, input and tap of a tile: the sum, over `count` images and `len` results, of gradient times pixel.
fn products(isa: Isa, images: Runs, gradients: Runs, count: usize, len: usize, taps: [usize; TAPS]) -> Sums {
    let (outputs, inputs) = tile(isa);
    assert!(len.is_multiple_of(super::planes::WIDEST) && gradients.hold(count, outputs, len));
    assert!(taps.iter().all(|tap| images.hold(count, inputs, tap + len)));
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
        fn avx512(images: Runs, gradients: Runs, count: usize, len: usize, taps: [usize; TAPS]) -> Sums {
            // SAFETY: the caller has checked the lengths. (24 sums, 6 vectors of pixels, a gradient: 31 of 32 registers.)
            unsafe { products_of::<Avx512, 4, 2>(images, gradients, count, len, taps) }
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(images: Runs, gradients: Runs, count: usize, len: usize, taps: [usize; TAPS]) -> Sums {
            // SAFETY: the caller has checked the lengths. (12 sums, 3 vectors of pixels, a gradient: all 16 registers.)
            unsafe { products_of::<Avx2, 4, 1>(images, gradients, count, len, taps) }
        }
        match isa.level() {
            // SAFETY: an `Isa` of this level exists only where the machine has these instructions.
            Level::Avx512 => return unsafe { avx512(images, gradients, count, len, taps) },
            // SAFETY: as above.
            Level::Avx2 => return unsafe { avx2(images, gradients, count, len, taps) },
            Level::Portable => {}
        }
    }
    // SAFETY: the lengths were checked above.
    unsafe { products_of::<Portable, 2, 1>(images, gradients, count, len, taps) }
}

/// # Safety
///
/// The lengths that [`products`] checks, for this tile.
#[inline(always)]
unsafe fn products_of<V: Vector, const OUTPUTS: usize, const INPUTS: usize>(
    images: Runs,
    gradients: Runs,
    count: usize,
    len: usize,
    taps: [usize; TAPS],
) -> Sums {
    let mut sums = [[[V::zero(); TAPS]; INPUTS]; OUTPUTS];
    for i in 0..count {
        let image = images.data[i * images.image..].as_ptr();
        let gradient = gradients.data[i * gradients.image..].as_ptr();
        for j in (0..len).step_by(V::WIDTH) {
            let mut pixels = [[V::zero(); TAPS]; INPUTS];
            for (c, pixels) in pixels.iter_mut().enumerate() {
                for (pixels, tap) in pixels.iter_mut().zip(taps) {
                    // SAFETY: each channel holds `tap + len` elements.
                    *pixels = unsafe { V::load(image.add(c * images.channel + tap + j)) };
                }
            }
            for (o, sums) in sums.iter_mut().enumerate() {
                // SAFETY: each channel holds `len` elements.
                let gradient = unsafe { V::load(gradient.add(o * gradients.channel + j)) };
                for (sums, pixels) in sums.iter_mut().zip(&pixels) {
                    for (sum, pixels) in sums.iter_mut().zip(pixels) {
                        *sum = sum.add_product(gradient, *pixels);
                    }
                }
            }
        }
    }
    let mut totals = [0.0; 4 * 2 * TAPS];
    // Plain loops, which are unrolled: the sums never leave the registers.
    for o in 0..OUTPUTS {
        for c in 0..INPUTS {
            for k in 0..TAPS {
                totals[(o * INPUTS + c) * TAPS + k] = sums[o][c][k].total();
            }
        }
    }
    totals
}

//! The forward pass and the gradient of the image: results in tiles that stay in registers.
//!
//! With stride `s`, the gradient of the image at row `s y + r` is `sum_k w[k] g[y + (r + padding - k) / s]` over the taps `k`
//! for which that is whole, likewise for columns: for each remainder `r` a convolution of `g` with some of the taps.

use rayon::prelude::*;

use super::super::Isa;
use super::super::isa::Level;
use super::super::matrix::transpose;
use super::super::memory::{SharedOut, written};
use super::super::rows::copy_rows;
#[cfg(target_arch = "x86_64")]
use super::super::vector::{Avx2, Avx512};
use super::super::vector::{Portable, Vector};
use super::Shape;
use super::planes::Planes;

/// Output channels in one tile, whose sums fill the registers that the level has.
fn tile(isa: Isa) -> usize {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => 8,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 6,
        Level::Portable => 6,
    }
}

/// As [`super::forward`].
pub(super) fn forward(isa: Isa, shape: &Shape, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let planes = Planes::of_input(shape);
    let pass = Pass {
        row: 0,
        column: 0,
        height: shape.out_height(),
        width: shape.out_width(),
        offsets: shape.tap_positions().map(|(ky, kx)| shape.input_offset(&planes, ky, kx)).collect(),
        weight: blocks(isa, shape.outputs, shape.inputs * shape.taps(), |first, count, block| {
            let rows = &weight[first * shape.patch()..][..count * shape.patch()];
            transpose(isa, rows, shape.patch(), block, tile(isa));
        }),
    };
    // SAFETY: the pass visits each row of each channel of each image once, and all of the row is written.
    unsafe {
        written(shape.batch * shape.out_image(), |out| {
            let out = SharedOut::new(out);
            run(isa, &planes, [shape.inputs, shape.outputs], &[pass], x, |pass, b, o, results| {
                let bias = bias.map_or(0.0, |bias| bias[o]);
                let out = out.slice((b * shape.outputs + o) * shape.out_pixels(), shape.out_pixels());
                copy_rows(isa, results, planes.pitch, [pass.height, pass.width], bias, out, pass.width);
            });
        })
    }
}

/// As [`super::backward_image`].
pub(super) fn backward_image(isa: Isa, shape: &Shape, g: &[f32], weight: &[f32]) -> Vec<f32> {
    let Shape { stride, padding, kernel_height, kernel_width, .. } = *shape;
    let remainders = |size: usize| 0..stride.min(size);
    // Taps that meet remainder `r`, and how far from `y` they read.
    let reads = |r: usize, kernel: usize| {
        let met = (0..kernel).filter(move |k| (r + padding + stride * kernel - k).is_multiple_of(stride));
        met.map(move |k| (k, (r as isize + padding as isize - k as isize) / stride as isize)).collect::<Vec<_>>()
    };
    // The rows that any tap reads, for the `count(r)` results of each remainder.
    let range = |size: usize, kernel: usize| {
        let mut range = 0..0;
        for r in remainders(size) {
            for (_, first) in reads(r, kernel) {
                let count = (size - r).div_ceil(stride) as isize;
                range = range.start.min(first)..range.end.max(first + count);
            }
        }
        range
    };
    let planes = Planes::of_gradient(shape, range(shape.height, kernel_height), range(shape.width, kernel_width));
    let mut passes = Vec::new();
    for ry in remainders(shape.height) {
        for rx in remainders(shape.width) {
            let (rows, columns) = (reads(ry, kernel_height), reads(rx, kernel_width));
            let taps: Vec<_> = rows.iter().flat_map(|row| columns.iter().map(move |column| (*row, *column))).collect();
            let at = |o: usize, c: usize, ((ky, _), (kx, _)): ((usize, isize), (usize, isize))| {
                ((o * shape.inputs + c) * kernel_height + ky) * kernel_width + kx
            };
            passes.push(Pass {
                row: ry,
                column: rx,
                height: (shape.height - ry).div_ceil(stride),
                width: (shape.width - rx).div_ceil(stride),
                offsets: taps.iter().map(|((_, y), (_, x))| planes.offset(*y, *x)).collect(),
                weight: blocks(isa, shape.inputs, shape.outputs * taps.len(), |first, count, block| {
                    let tile = tile(isa);
                    if taps.is_empty() {
                        return;
                    }
                    for (o, block) in block.chunks_exact_mut(taps.len() * tile).enumerate() {
                        if taps.len() == shape.taps() {
                            // All taps, in their order.
                            let rows = &weight[at(o, first, taps[0])..][..count * shape.taps()];
                            transpose(isa, rows, shape.taps(), block, tile);
                        } else {
                            for (lane, tap) in (0..count).flat_map(|lane| (0..taps.len()).map(move |tap| (lane, tap))) {
                                block[tap * tile + lane] = weight[at(o, first + lane, taps[tap])];
                            }
                        }
                    }
                }),
            });
        }
    }
    // SAFETY: every pixel has one pair of remainders, and the pass of each writes all of its pixels.
    unsafe {
        written(shape.batch * shape.image(), |out| {
            let out = SharedOut::new(out);
            run(isa, &planes, [shape.outputs, shape.inputs], &passes, g, |pass, b, c, results| {
                let plane = (b * shape.inputs + c) * shape.height * shape.width;
                if stride == 1 {
                    let out = out.slice(plane, shape.height * shape.width);
                    copy_rows(isa, results, planes.pitch, [pass.height, pass.width], 0.0, out, shape.width);
                    return;
                }
                for (y, row) in results.chunks(planes.pitch).take(pass.height).enumerate() {
                    let start = out.at(plane + (y * stride + pass.row) * shape.width + pass.column);
                    for (x, value) in row[..pass.width].iter().enumerate() {
                        start.add(x * stride).write(*value);
                    }
                }
            });
        })
    }
}

/// One convolution of laid out images.
struct Pass {
    /// Row and column of its first result; the others follow in steps of the stride.
    row: usize,
    column: usize,
    height: usize,
    width: usize,
    /// Where each tap reads.
    offsets: Vec<usize>,
    /// See [`blocks`].
    weight: Vec<f32>,
}

/// The weights as `[block, row, output of the block]`, where a row is an input and a tap; the last block is filled up with zeros.
/// `fill(first, count, block)` writes those of `count` outputs from `first`.
fn blocks(isa: Isa, outputs: usize, rows: usize, fill: impl Fn(usize, usize, &mut [f32]) + Sync) -> Vec<f32> {
    let tile = tile(isa);
    let mut blocks = vec![0.0; outputs.next_multiple_of(tile) * rows];
    blocks.par_chunks_mut((rows * tile).max(1)).enumerate().for_each(|(i, block)| {
        fill(i * tile, tile.min(outputs - i * tile), block);
    });
    blocks
}

/// Pieces of work that keep all threads busy: where there are fewer strips, each is convolved in several pieces.
const PIECES: usize = 8;

/// Convolves the images of `batch`, of `inputs` channels, by every pass, and calls `write(pass, image, output, results)` for
/// each channel of each; rows of results start a pitch apart.
fn run(
    isa: Isa,
    planes: &Planes,
    [inputs, outputs]: [usize; 2],
    passes: &[Pass],
    batch: &[f32],
    write: impl Fn(&Pass, usize, usize, &[f32]) + Sync,
) {
    let (tile, step) = (tile(isa), planes.step());
    let image_size = inputs * planes.pixels();
    let strips = (batch.len() / image_size.max(1)).div_ceil(planes.images);
    // Output channels of a piece, in whole blocks; pieces of one strip follow each other.
    let blocks = outputs.div_ceil(tile).max(1);
    let channels = tile * blocks.div_ceil(PIECES.div_ceil(strips.max(1)).min(blocks));
    let pieces = outputs.div_ceil(channels);
    (0..strips * pieces).into_par_iter().for_each_init(
        || (vec![0.0; inputs * planes.len()], Vec::new()),
        |(laid_out, block), piece| {
            let (strip, piece) = (piece / pieces, piece % pieces);
            let batch = &batch[strip * planes.images * image_size..];
            let images = planes.images.min(batch.len() / image_size);
            planes.copy_strip(isa, &batch[..images * image_size], inputs, laid_out);
            for pass in passes {
                let results = planes.results(pass.height, pass.width);
                let size = inputs * pass.offsets.len() * tile;
                block.resize(tile * results, 0.0);
                for first in (piece * channels..outputs.min((piece + 1) * channels)).step_by(tile) {
                    let weight = &pass.weight[first / tile * size..][..size];
                    results_of_block(isa, &pass.offsets, laid_out, planes.len(), weight, block);
                    for (o, results) in block.chunks_exact(results).enumerate().take(outputs - first) {
                        for image in 0..images {
                            write(pass, strip * planes.images + image, first + o, &results[image * step..]);
                        }
                    }
                }
            }
        },
    );
}

/// All results of one strip for one block of output channels: `block` is `[tile, results]`.
fn results_of_block(isa: Isa, offsets: &[usize], image: &[f32], plane: usize, weight: &[f32], block: &mut [f32]) {
    let outputs = tile(isa);
    let results = block.len() / outputs;
    assert!(offsets.iter().all(|offset| offset + results <= plane));
    assert!(results.is_multiple_of(super::planes::WIDEST) && block.len() == outputs * results);
    assert!(image.len().is_multiple_of(plane) && weight.len() == image.len() / plane * offsets.len() * outputs);
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
        fn avx512(offsets: &[usize], image: &[f32], plane: usize, weight: &[f32], block: &mut [f32]) {
            // SAFETY: the caller has checked the lengths. (24 sums, 3 vectors of pixels and a weight fit 32 registers.)
            unsafe { tiles::<Avx512, 8, 3>(offsets, image, plane, weight, block) }
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(offsets: &[usize], image: &[f32], plane: usize, weight: &[f32], block: &mut [f32]) {
            // SAFETY: the caller has checked the lengths. (12 sums, 2 vectors of pixels and a weight fit 16 registers.)
            unsafe { tiles::<Avx2, 6, 2>(offsets, image, plane, weight, block) }
        }
        match isa.level() {
            // SAFETY: an `Isa` of this level exists only where the machine has these instructions.
            Level::Avx512 => return unsafe { avx512(offsets, image, plane, weight, block) },
            // SAFETY: as above.
            Level::Avx2 => return unsafe { avx2(offsets, image, plane, weight, block) },
            Level::Portable => {}
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let Level::Portable = isa.level();
    // SAFETY: the lengths were checked above.
    unsafe { tiles::<Portable, 6, 1>(offsets, image, plane, weight, block) }
}

/// [`results_of_block`] in tiles of `OUTPUTS` channels by `VECTORS` vectors of pixels, at most 3; the last are narrower.
///
/// # Safety
///
/// The lengths that `results_of_block` checks.
#[inline(always)]
unsafe fn tiles<V: Vector, const OUTPUTS: usize, const VECTORS: usize>(
    offsets: &[usize],
    image: &[f32],
    plane: usize,
    weight: &[f32],
    block: &mut [f32],
) {
    let results = block.len() / OUTPUTS;
    let mut j = 0;
    while j < results {
        // SAFETY: `results` is a multiple of the vectors' width, so that the tile lies within it.
        unsafe {
            match (results - j) / V::WIDTH {
                left if left >= VECTORS => {
                    tile_of::<V, OUTPUTS, VECTORS>(offsets, image, plane, weight, block, j);
                    j += VECTORS * V::WIDTH;
                }
                2 => {
                    tile_of::<V, OUTPUTS, 2>(offsets, image, plane, weight, block, j);
                    j += 2 * V::WIDTH;
                }
                _ => {
                    tile_of::<V, OUTPUTS, 1>(offsets, image, plane, weight, block, j);
                    j += V::WIDTH;
                }
            }
        }
    }
}

/// The results `j..j + VECTORS * V::WIDTH` of a block of output channels.
///
/// # Safety
///
/// As [`tiles`], and the range must lie within the results.
#[inline(always)]
unsafe fn tile_of<V: Vector, const OUTPUTS: usize, const VECTORS: usize>(
    offsets: &[usize],
    image: &[f32],
    plane: usize,
    weight: &[f32],
    block: &mut [f32],
    j: usize,
) {
    let mut sums = [[V::zero(); VECTORS]; OUTPUTS];
    let mut weight = weight.as_ptr();
    for plane in image.chunks_exact(plane) {
        for offset in offsets {
            // SAFETY: `offset` and the results fit the plane, and `weight` has `OUTPUTS` values for each plane and offset.
            unsafe {
                let start = plane.as_ptr().add(offset + j);
                let mut pixels = [V::zero(); VECTORS];
                for (v, pixels) in pixels.iter_mut().enumerate() {
                    *pixels = V::load(start.add(v * V::WIDTH));
                    // The next channel's: its plane begins elsewhere, where no processor looks ahead by itself.
                    V::prefetch(start.wrapping_add(plane.len() + v * V::WIDTH));
                }
                for (o, sums) in sums.iter_mut().enumerate() {
                    let weight = V::splat(*weight.add(o));
                    for (sum, pixels) in sums.iter_mut().zip(&pixels) {
                        *sum = sum.add_product(weight, *pixels);
                    }
                }
                weight = weight.add(OUTPUTS);
            }
        }
    }
    let results = block.len() / OUTPUTS;
    for (o, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: the block has `results` values for each of its channels.
            unsafe { sum.store(block.as_mut_ptr().add(o * results + j + v * V::WIDTH)) };
        }
    }
}

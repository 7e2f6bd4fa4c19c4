//! Doubling and halving images: each is the other's transpose, up to a factor.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::memory::written;

/// Output elements in one piece of work, about.
const PIECE: usize = if cfg!(miri) { 64 } else { 32 * 1024 };

/// Each pixel of images of width `width`, times `factor`, as a 2 x 2 block: `[.., h, w]` to `[.., 2h, 2w]`.
pub(crate) fn spread(x: &[f32], width: usize, factor: f32) -> Vec<f32> {
    assert!(x.len().is_multiple_of(width), "whole rows");
    let rows = (PIECE / (4 * width)).max(1);
    // SAFETY: the pieces cover the output; each row of `x` writes two whole rows of it.
    unsafe {
        written(x.len() * 4, |y| {
            y.par_chunks_mut(4 * width * rows).zip(x.par_chunks(width * rows)).for_each(|(y, x)| {
                for (y, x) in y.chunks_exact_mut(4 * width).zip(x.chunks_exact(width)) {
                    let (first, second) = y.split_at_mut(2 * width);
                    for (pair, x) in first.as_chunks_mut::<2>().0.iter_mut().zip(x) {
                        *pair = [MaybeUninit::new(x * factor); 2];
                    }
                    second.copy_from_slice(first);
                }
            });
        })
    }
}

/// The sum of each 2 x 2 block of images of width `2 width`, times `factor`: `[.., 2h, 2w]` to `[.., h, w]`.
pub(crate) fn gather(x: &[f32], width: usize, factor: f32) -> Vec<f32> {
    assert!(x.len().is_multiple_of(4 * width), "whole pairs of rows");
    let rows = (PIECE / (4 * width)).max(1);
    // SAFETY: the pieces cover the output; each two rows of `x` write a whole row of it.
    unsafe {
        written(x.len() / 4, |y| {
            y.par_chunks_mut(width * rows).zip(x.par_chunks(4 * width * rows)).for_each(|(y, x)| {
                for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(4 * width)) {
                    let (first, second) = x.split_at(2 * width);
                    let pairs = first.as_chunks::<2>().0.iter().zip(second.as_chunks::<2>().0);
                    for (y, (a, b)) in y.iter_mut().zip(pairs) {
                        y.write(((a[0] + a[1]) + (b[0] + b[1])) * factor);
                    }
                }
            });
        })
    }
}

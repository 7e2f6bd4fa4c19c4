//! Sums of outer products: the lower triangle of `X^T X`, added to a matrix.

use std::cmp::Reverse;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::products::panels;

/// Rows of the triangle that one task updates, left of the diagonal.
const ROWS: usize = 256;

/// Rows that one task updates at the diagonal: few, for what is above it is computed for nothing.
const STRIP: usize = 64;

/// Columns of the triangle that one task updates: a multiple of the product's inner tile.
const COLUMNS: usize = 480;

/// Adds the lower triangle of `X^T X` to `scatter` `[d, d]`, row-major, for X `[m, d]`; what is above the diagonal is
/// of no meaning. In parallel: tiles depend on `d` alone, and each sums its rows in one order, so that the number of
/// threads changes no bit.
///
/// X is best stored by columns: the products read it along `m`, and rows that are a power of two apart would crowd into
/// few places of the caches.
pub(crate) fn add_scatter(scatter: &mut [f64], x: MatRef<'_, f64>) {
    let d = x.ncols();
    let mut tiles = Vec::new();
    for (panel, target) in scatter.chunks_mut(ROWS * d).enumerate() {
        let height = target.len() / d;
        let top = panel * ROWS;
        let target = MatMut::from_row_major_slice_mut(target, height, d).subcols_mut(0, top + height);
        let (left, mut square) = target.split_at_col_mut(top);
        tiles.extend(panels(left, COLUMNS).into_iter().map(|(left, tile)| (top, left, tile)));
        for first in (0..height).step_by(STRIP) {
            let (strip, below) = square.split_at_row_mut(STRIP.min(height - first));
            let end = first + strip.nrows();
            tiles.push((top + first, top, strip.subcols_mut(0, end)));
            square = below;
        }
    }
    // The largest first, each to whichever thread is free: the small ones fill the end.
    tiles.sort_by_key(|(_, _, tile)| Reverse(tile.nrows() * tile.ncols()));
    tiles.into_iter().par_bridge().for_each(|(top, left, tile)| {
        let (height, width) = (tile.nrows(), tile.ncols());
        let (a, b) = (x.subcols(top, height).transpose(), x.subcols(left, width));
        matmul(tile, Accum::Add, a, b, 1.0, Par::Seq);
    });
}

/// The symmetric matrix with a row-major lower triangle `[d, d]`, each value divided by `divisor`. In parallel.
pub(crate) fn symmetric(triangle: &[f64], d: usize, divisor: f64) -> Vec<f64> {
    // Above the diagonal a task reads down the triangle, and takes of each row what a line of the cache holds.
    const SIDE: usize = 8;
    let mut whole = vec![0.0; d * d];
    whole.par_chunks_mut(SIDE * d).enumerate().for_each(|(strip, rows)| {
        let top = strip * SIDE;
        let height = rows.len() / d;
        for (i, row) in rows.chunks_exact_mut(d).enumerate() {
            let end = top + i + 1;
            let from = &triangle[(top + i) * d..];
            row[..end].iter_mut().zip(from).for_each(|(to, from)| *to = from / divisor);
        }
        for j in top + 1..d {
            let line = &triangle[j * d + top..][..height.min(j - top)];
            for (row, from) in rows.chunks_exact_mut(d).zip(line) {
                row[j] = from / divisor;
            }
        }
    });
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_any_fit_make_the_product() {
        for (m, d) in [(1, 1), (3, 7), (9, 129), (5, 300), (2, 1000)] {
            let rows: Vec<f64> = (0..m * d).map(|i| (i as f64 * 0.7).sin()).collect();
            let mut scatter = vec![1.0; d * d];
            add_scatter(&mut scatter, MatRef::from_row_major_slice(&rows, m, d));
            let scatter = symmetric(&scatter, d, 1.0);
            for i in (0..d).step_by(1 + d / 50) {
                for j in 0..d {
                    let expected: f64 = 1.0 + rows.chunks(d).map(|row| row[i] * row[j]).sum::<f64>();
                    assert!((scatter[i * d + j] - expected).abs() < 1e-12, "{m} x {d}: {i}, {j}");
                }
            }
        }
    }
}

//! Inner products of all pairs of two point sets, a block of rows at a time.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::Points;

/// Rows in a block; memory is that many rows of products a thread.
const BLOCK: usize = 128;

/// Hands the inner products of each point of `a` with all points of `b`, `[m]`, to `visit`, and returns what it made of
/// them in the order of `a`. In parallel; the result does not depend on the number of threads.
pub(crate) fn by_row<T: Send>(a: Points<'_>, b: Points<'_>, visit: impl Fn(usize, &[f64]) -> T + Sync) -> Vec<T> {
    let d = a.dimension();
    let right = MatRef::from_row_major_slice(b.values(), b.len(), d); // [m, d]
    let blocks: Vec<Vec<T>> = a
        .values()
        .par_chunks(BLOCK * d)
        .enumerate()
        .map(|(block, rows)| {
            let count = rows.len() / d;
            let left = MatRef::from_row_major_slice(rows, count, d); // [count, d]
            // Column-major, so that the products of one point of `a` lie together.
            let mut products = Mat::zeros(b.len(), count);
            matmul(products.as_mut(), Accum::Replace, right, left.transpose(), 1.0, Par::Seq);
            (0..count).map(|i| visit(block * BLOCK + i, products.col_as_slice(i))).collect()
        })
        .collect();
    blocks.into_iter().flatten().collect()
}

/// A matrix cut into panels of `width` columns, the last one of fewer, each with the index of its first column.
pub(crate) fn panels(mut matrix: MatMut<'_, f64>, width: usize) -> Vec<(usize, MatMut<'_, f64>)> {
    let (columns, mut first) = (matrix.ncols(), 0);
    let mut panels = Vec::with_capacity(columns.div_ceil(width));
    while first < columns {
        let (panel, rest) = matrix.split_at_col_mut(width.min(columns - first));
        let next = first + panel.ncols();
        panels.push((first, panel));
        (matrix, first) = (rest, next);
    }
    panels
}

/// The squared length of every point.
pub(crate) fn squared_lengths(points: Points<'_>) -> Vec<f64> {
    points.rows().map(|row| row.iter().map(|x| x * x).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_there_and_in_order() {
        let values = |n: usize| (0..n * 3).map(|i| (i as f64 * 0.7).sin()).collect::<Vec<_>>();
        let (a, b) = (values(300), values(17));
        let (a, b) = (Points::new(&a, 3).unwrap(), Points::new(&b, 3).unwrap());
        for (i, (index, products)) in by_row(a, b, |index, products| (index, products.to_vec())).iter().enumerate() {
            assert_eq!((*index, products.len()), (i, 17));
            for (j, product) in products.iter().enumerate() {
                let expected: f64 = a.row(i).iter().zip(b.row(j)).map(|(x, y)| x * y).sum();
                assert!((product - expected).abs() < 1e-14);
            }
        }
    }
}

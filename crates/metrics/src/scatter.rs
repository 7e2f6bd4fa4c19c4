//! Sums of outer products: the lower triangle of `X^T X`, added to a matrix.
//!
//! X is stored in panels of [`WIDTH`] columns, row after row, so that it is both factors as it stands: a tile of sums in
//! registers meets [`GROUP`] columns of one panel, a line of the cache a row, with a whole other panel (Goto and van de
//! Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008). Nothing is copied, and nothing above the diagonal's
//! panels is computed.

use std::cmp::Reverse;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Columns of a panel: three vectors of 512 bits.
pub(crate) const WIDTH: usize = 24;
/// Columns of X that are rows of a tile's group: as many as tiles of any height divide.
const GROUP: usize = 8;
/// Rows of X that are added up in one go: then a group and a panel fit the level-one cache.
const DEPTH: usize = 128;
/// Panels whose rows of the triangle are one task.
const TASK: usize = 4;
/// Panels that pass by together, within the level-two cache.
const BLOCK: usize = 16;

/// Rows and columns of a scatter matrix in memory, for d columns of X.
pub(crate) fn side(d: usize) -> usize {
    d.next_multiple_of(WIDTH)
}

/// Adds the lower triangle of `X^T X` to `scatter`, row-major, with [`side`] rows and columns; what is above the diagonal
/// is of no meaning. Each of the `panels` holds X's rows one after another, and may have room for more than the first
/// `rows`, which count.
///
/// In parallel: every sum is taken in the order of the rows, so that the number of threads changes no bit.
pub(crate) fn add_scatter(scatter: &mut [f64], panels: &[&[f64]], rows: usize) {
    let side = panels.len() * WIDTH;
    let arch = Arch::new();
    let mut tasks: Vec<(usize, &mut [f64])> =
        scatter.chunks_mut((TASK * WIDTH * side).max(1)).enumerate().map(|(i, target)| (i * TASK, target)).collect();
    // The largest first, each to whichever thread is free: the small ones fill the end.
    tasks.sort_by_key(|(first, _)| Reverse(*first));
    tasks.into_iter().par_bridge().for_each(|(first, target)| {
        arch.dispatch(Task { target, panels, first, rows, side });
    });
}

/// The rows of the triangle that belong to some neighbouring panels.
struct Task<'a> {
    target: &'a mut [f64],
    panels: &'a [&'a [f64]],
    /// The first of these panels.
    first: usize,
    rows: usize,
    side: usize,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many sums as the registers hold beside a row of the panel.
        match S::F64_LANES {
            8 => self.tiles::<S, 8, 3>(simd),
            4 => self.tiles::<S, 2, 6>(simd),
            2 => self.tiles::<S, 2, 12>(simd),
            _ => self.tiles::<S, 1, 24>(simd),
        }
    }
}

impl Task<'_> {
    /// All tiles of `R` rows and `N` vectors.
    #[inline(always)]
    fn tiles<S: Simd, const R: usize, const N: usize>(self, simd: S) {
        let Self { target, panels, first, rows, side } = self;
        let last = first + target.len() / (WIDTH * side);
        for top in (0..rows).step_by(DEPTH) {
            let part = top * WIDTH..rows.min(top + DEPTH) * WIDTH;
            for block in (0..last).step_by(BLOCK) {
                for left in first.max(block)..last {
                    for group in (0..WIDTH).step_by(GROUP) {
                        for right in block..last.min(block + BLOCK).min(left + 1) {
                            for row in (group..group + GROUP).step_by(R) {
                                let at = ((left - first) * WIDTH + row) * side + right * WIDTH;
                                let factors = [&panels[left][part.clone()], &panels[right][part.clone()]];
                                add_tile::<S, R, N>(simd, factors, row, &mut target[at..], side);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adds the product of the columns `row..row + R` of the left panel with the right one to rows of `out`, which start
/// `side` apart.
#[inline(always)]
fn add_tile<S: Simd, const R: usize, const N: usize>(
    simd: S,
    [left, right]: [&[f64]; 2],
    row: usize,
    out: &mut [f64],
    side: usize,
) {
    let mut sums = [[simd.splat_f64s(0.0); N]; R];
    let (left, right) = (left.as_chunks::<WIDTH>().0, S::as_simd_f64s(right).0.as_chunks::<N>().0);
    let row = row.min(WIDTH - R); // which it is already: so the compiler knows that no index is out of bounds
    for (left, right) in left.iter().zip(right) {
        for (i, sums) in sums.iter_mut().enumerate() {
            let element = simd.splat_f64s(left[row + i]);
            for (sum, vector) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_e_f64s(element, *vector, *sum);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let out = S::as_mut_simd_f64s(&mut out[i * side..][..WIDTH]).0;
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = simd.add_f64s(*out, *sum);
        }
    }
}

/// The symmetric matrix `[d, d]` with a row-major lower triangle whose rows start [`side`] apart, each value divided by
/// `divisor`. In parallel.
pub(crate) fn symmetric(triangle: &[f64], d: usize, divisor: f64) -> Vec<f64> {
    // Above the diagonal a task reads down the triangle, and takes of each row what a line of the cache holds.
    const LINE: usize = 8;
    let side = side(d);
    let mut whole = vec![0.0; d * d];
    whole.par_chunks_mut(LINE * d).enumerate().for_each(|(strip, rows)| {
        let top = strip * LINE;
        let height = rows.len() / d;
        for (i, row) in rows.chunks_exact_mut(d).enumerate() {
            let end = top + i + 1;
            let from = &triangle[(top + i) * side..];
            row[..end].iter_mut().zip(from).for_each(|(to, from)| *to = from / divisor);
        }
        for j in top + 1..d {
            let line = &triangle[j * side + top..][..height.min(j - top)];
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

    /// X `[m, d]` in panels, each with room for a row more.
    fn panels(x: &[f64], m: usize, d: usize) -> Vec<Vec<f64>> {
        let panel = |p: usize| {
            let value = |(i, j): (usize, usize)| if i < m && j < d { x[i * d + j] } else { 0.0 };
            (0..(m + 1) * WIDTH).map(|at| value((at / WIDTH, p * WIDTH + at % WIDTH))).collect()
        };
        (0..side(d) / WIDTH).map(panel).collect()
    }

    #[test]
    fn tiles_of_any_fit_make_the_product() {
        for (m, d) in [(1, 1), (3, 7), (9, 129), (5, 300), (2, 1000), (255, 24), (256, 25), (257, 49), (600, 3)] {
            let rows: Vec<f64> = (0..m * d).map(|i| (i as f64 * 0.7).sin()).collect();
            let panels = panels(&rows, m, d);
            let panels: Vec<&[f64]> = panels.iter().map(Vec::as_slice).collect();
            let mut scatter = vec![1.0; side(d) * side(d)];
            add_scatter(&mut scatter, &panels, m);
            let scatter = symmetric(&scatter, d, 1.0);
            for i in (0..d).step_by(1 + d / 50) {
                for j in 0..d {
                    let expected: f64 = 1.0 + rows.chunks(d).map(|row| row[i] * row[j]).sum::<f64>();
                    assert!((scatter[i * d + j] - expected).abs() < 1e-12, "{m} x {d}: {i}, {j}");
                }
            }
        }
    }

    /// Tiles of every height and width that some machine takes.
    #[test]
    fn all_machines_tiles_agree() {
        struct Scalar<'a>(Task<'a>);
        impl WithSimd for Scalar<'_> {
            type Output = ();
            fn with_simd<S: Simd>(self, simd: S) {
                match S::F64_LANES {
                    8 => self.0.tiles::<S, 4, 3>(simd),
                    4 => self.0.tiles::<S, 1, 6>(simd),
                    2 => self.0.tiles::<S, 1, 12>(simd),
                    _ => self.0.tiles::<S, 2, 24>(simd),
                }
            }
        }
        let (m, d) = (300, 2 * WIDTH);
        let rows: Vec<f64> = (0..m * d).map(|i| (i as f64 * 0.3).cos()).collect();
        let panels = panels(&rows, m, d);
        let panels: Vec<&[f64]> = panels.iter().map(Vec::as_slice).collect();
        let made = |run: &dyn Fn(Task)| {
            let mut target = vec![0.0; d * d];
            run(Task { target: &mut target, panels: &panels, first: 0, rows: m, side: d });
            symmetric(&target, d, 1.0)
        };
        let expected = made(&|task| Arch::new().dispatch(task));
        assert_eq!(made(&|task| Arch::new().dispatch(Scalar(task))), expected);
        let scalar = made(&|task| task.tiles::<pulp::Scalar, 1, 24>(pulp::Scalar::new()));
        assert!(scalar.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}

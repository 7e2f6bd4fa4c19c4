//! The trace of the root of a product of two covariances of full rank, by their Cholesky factors.

use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Accum, Mat, MatRef, Par, Side};
use rayon::prelude::*;

use crate::Gaussian;
use crate::band::eigenvalues;
use crate::products::panels;

/// How many roundings a covariance's smallest eigenvalue must be above zero for this route, where `d eps` times the
/// largest is one. The eigenvalue is estimated, and not from below.
const MARGIN: f64 = 100.0;

/// The expected rounding error that the roots' sum may have, relative to the traces of the covariances. Beyond it, the
/// roots are made without squares.
const ERROR: f64 = 1e-10;

/// Steps of the power iteration for the smallest eigenvalue.
const STEPS: usize = 6;

/// Columns of a product that one task makes.
const PANEL: usize = 96;

/// `tr sqrt(sqrt(S1) S2 sqrt(S1))`, or nothing where this route may not be taken.
///
/// With `S1 = L1 L1^T` and `S2 = L2 L2^T` the eigenvalues of `S1 S2` are those of the symmetric `L1^T S2 L1`, and their
/// roots are the singular values of `L1^T L2`. The former cost a third of the latter, but squaring loses half of the
/// digits of small roots: an eigenvalue `v` is known to about `eps` times the largest, its root to that over
/// `2 sqrt(v)`. As the errors have either sign, that of the sum is about the root of their squares' sum. It is known
/// once the eigenvalues are, and where it is more than 1e-10 of the covariances' traces, the singular values are taken.
///
/// The route is open where each covariance has more samples than dimensions, a Cholesky factor, and a smallest
/// eigenvalue more than `100 d eps` of the largest (both estimated, in `d^2` operations a step).
pub(crate) fn trace_of_root(a: &Gaussian, b: &Gaussian) -> Option<f64> {
    let (first, second) = rayon::join(|| factor(a), || factor(b));
    let (first, second) = (first?, second?);
    let d = a.dimension();
    let covariance = MatRef::from_column_major_slice(b.covariance(), d, d);
    let values = eigenvalues(congruence(first.as_ref(), covariance))?;
    let roots = sum_of_roots(&values);
    let scale = trace(a) + trace(b);
    if roots.error <= ERROR * scale {
        return Some(roots.sum);
    }
    Some((first.transpose() * second).singular_values().ok()?.iter().sum())
}

/// The trace of the covariance.
pub(crate) fn trace(gaussian: &Gaussian) -> f64 {
    gaussian.covariance().iter().step_by(gaussian.dimension() + 1).sum()
}

/// A sum of roots, and the error that it is expected to have.
struct Roots {
    sum: f64,
    error: f64,
}

/// Of eigenvalues that each have an error of `eps` times the largest.
fn sum_of_roots(values: &[f64]) -> Roots {
    let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let rounding = f64::EPSILON * largest;
    let sum = values.iter().map(|value| value.max(0.0).sqrt()).sum();
    // The root of an eigenvalue that is all rounding has no more error than the root of the rounding.
    let squares = values.iter().map(|value| rounding * rounding / value.max(rounding));
    Roots { sum, error: squares.sum::<f64>().sqrt() }
}

/// The Cholesky factor of a covariance that has full rank for certain.
fn factor(gaussian: &Gaussian) -> Option<Mat<f64>> {
    let d = gaussian.dimension();
    if gaussian.count().is_some_and(|count| count <= d as u64) {
        return None;
    }
    let covariance = MatRef::from_column_major_slice(gaussian.covariance(), d, d);
    let lower = covariance.llt(Side::Lower).ok()?.L().to_owned();
    // No eigenvalue is larger than the largest sum of a row's magnitudes.
    let rows = gaussian.covariance().chunks_exact(d).map(|row| row.iter().map(|value| value.abs()).sum());
    let largest = rows.fold(0.0, f64::max);
    let least = MARGIN * d as f64 * f64::EPSILON * largest;
    (smallest_eigenvalue(lower.as_ref()) > least).then_some(lower)
}

/// About the smallest eigenvalue of `L L^T`, from above: the power iteration on its inverse.
fn smallest_eigenvalue(lower: MatRef<'_, f64>) -> f64 {
    let d = lower.nrows();
    // A start that is no eigenvector of any likely matrix.
    let mut vector = Mat::from_fn(d, 1, |i, _| 0.5 + ((i + 1) as f64 * 0.618_033_988_749_894_9).fract());
    let mut growth = 0.0;
    for _ in 0..STEPS {
        let length = vector.norm_l2();
        vector.col_mut(0).iter_mut().for_each(|value| *value /= length);
        solve_lower_triangular_in_place(lower, vector.as_mut(), Par::Seq);
        solve_upper_triangular_in_place(lower.transpose(), vector.as_mut(), Par::Seq);
        growth = vector.norm_l2();
    }
    growth.recip()
}

/// The lower triangle of `L^T S L`. In parallel; panels depend on the size alone.
fn congruence(lower: MatRef<'_, f64>, symmetric: MatRef<'_, f64>) -> Mat<f64> {
    let d = lower.nrows();
    let mut result = Mat::zeros(d, d);
    panels(result.as_mut(), PANEL).into_par_iter().with_max_len(1).for_each(|(first, mut target)| {
        let width = target.ncols();
        // Column `first` of L begins at row `first`, and so does what is below the diagonal of the result.
        let columns = lower.subcols(first, width).subrows(first, d - first);
        let mut product = Mat::zeros(d - first, width);
        let part = symmetric.subrows(first, d - first).subcols(first, d - first);
        matmul(product.as_mut(), Accum::Replace, part, columns, 1.0, Par::Seq);
        for top in (first..d).step_by(PANEL) {
            let height = PANEL.min(d - top);
            let left = lower.subcols(top, height).subrows(top, d - top);
            let right = product.as_ref().subrows(top - first, d - top);
            let target = target.as_mut().subrows_mut(top, height);
            matmul(target, Accum::Replace, left.transpose(), right, 1.0, Par::Seq);
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Moments;
    use crate::draws::Draws;

    /// The Gaussian of points whose coordinates shrink to `last` of the first.
    fn sample(n: usize, d: usize, last: f64) -> Gaussian {
        let draws = Draws::new(2, 0);
        let scale = |j: usize| last.powf(j as f64 / (d - 1) as f64);
        let row = |i: usize| (0..d).map(move |j| scale(j) * draws.normal((i * d + j) as u64));
        let mut moments = Moments::new(d);
        moments.push(&(0..n).flat_map(row).collect::<Vec<_>>()).unwrap();
        moments.gaussian().unwrap()
    }

    /// The roots of equal covariances' product are the covariance's eigenvalues.
    #[test]
    fn of_equal_covariances_it_is_the_trace() {
        for (d, last) in [(3, 1.0), (40, 0.1), (130, 1e-3)] {
            let gaussian = sample(4 * d, d, last);
            let found = trace_of_root(&gaussian, &gaussian).unwrap();
            assert!((found / trace(&gaussian) - 1.0).abs() < 1e-12, "{d}: {found}");
        }
    }

    #[test]
    fn the_triangle_of_the_congruence() {
        let d = 2 * PANEL + 11;
        let lower = Mat::from_fn(d, d, |i, j| if i < j { 0.0 } else { ((i * d + j) as f64).sin() });
        let symmetric = Mat::from_fn(d, d, |i, j| ((i * j + i + j) as f64 * 0.3).cos());
        let (found, expected) =
            (congruence(lower.as_ref(), symmetric.as_ref()), lower.transpose() * &symmetric * &lower);
        for j in 0..d {
            for i in j..d {
                assert!((found[(i, j)] - expected[(i, j)]).abs() < 1e-9, "{i}, {j}");
            }
        }
    }

    #[test]
    fn what_may_lack_rank_is_left_to_the_other_route() {
        let (full, few) = (sample(40, 8, 1.0), sample(8, 8, 1.0));
        assert!(trace_of_root(&full, &full).is_some());
        assert!(trace_of_root(&full, &few).is_none() && trace_of_root(&few, &full).is_none());
        // A coordinate that never varies, one that varies less than rounding, and a matrix that is no covariance.
        for value in [0.0, 1e-14, -1.0] {
            let thin = Gaussian::new(vec![0.0; 2], vec![1.0, 0.0, 0.0, value], None).unwrap();
            assert!(trace_of_root(&thin, &thin).is_none(), "{value}");
        }
    }

    #[test]
    fn an_error_is_expected_where_digits_are_lost() {
        let even = sum_of_roots(&[1.0, 4.0, 9.0]);
        assert!(even.sum == 6.0 && even.error < 1e-14);
        // The root of an eigenvalue of 1e-14 beside 1 has no more than two digits.
        let graded = sum_of_roots(&[1e-14, 1.0]);
        assert!(graded.error > 1e-9 && graded.error < 1e-8);
        // Singular values tell it from 0: about the smallest eigenvalues of both, 1e-7.
        let last = 1e-7f64;
        let thin = Gaussian::new(vec![0.0; 2], vec![1.0, 0.0, 0.0, last], None).unwrap();
        assert!((trace_of_root(&thin, &thin).unwrap() - 1.0 - last).abs() < 1e-15);
    }
}

//! Eigenvalues of a large symmetric matrix in two stages: to a band by matrix products, then to three diagonals.
//!
//! Householder's way straight to three diagonals reads the whole matrix for every column, and the memory sets its pace.
//! Going through a band first (Bischof, Lang and Sun 2000, "A framework for symmetric band reduction") puts nearly all
//! arithmetic into products; the band then fits into a core's cache. Without eigenvectors nothing has to be taken back.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::tridiagonal_self_adjoint_evd;
use faer::linalg::matmul::matmul;
use faer::linalg::temp_mat_scratch;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;

use crate::products::panels;

/// Diagonals of the band below the main one: wide enough for products, narrow enough for the second stage.
const BAND: usize = 24;

/// Below so many rows nobody waits for the direct way.
const SMALL: usize = 256;

/// Columns of the matrix that one task multiplies or updates.
const PANEL: usize = 96;

/// The eigenvalues of the symmetric matrix `[d, d]` with this lower triangle, in ascending order; nothing where the
/// last stage does not converge. In parallel; the number of threads changes no bit.
pub(crate) fn eigenvalues(mut matrix: Mat<f64>) -> Option<Vec<f64>> {
    let d = matrix.nrows();
    if d < SMALL {
        return matrix.self_adjoint_eigenvalues(Side::Lower).ok();
    }
    for j in 0..d {
        for i in 0..j {
            matrix[(i, j)] = matrix[(j, i)];
        }
    }
    for first in (0..d - BAND - 1).step_by(BAND) {
        reduce_panel(matrix.as_mut(), first);
    }
    let mut band = Band::new(matrix.as_ref());
    drop(matrix);
    for column in 0..d - 2 {
        band.chase(column);
    }
    band.tridiagonal_eigenvalues()
}

/// Zeroes what is below the band in columns `first..first + BAND` by an orthogonal similarity.
fn reduce_panel(matrix: MatMut<'_, f64>, first: usize) {
    let next = first + BAND;
    let (_, _, mut panel, mut rest) = matrix.split_at_mut(next, next);
    let mut panel = panel.as_mut().subcols_mut(first, BAND); // [m, b]
    let m = rest.nrows();
    let Reflectors { vectors, triangle } = Reflectors::of(panel.as_mut());
    let b = vectors.ncols();

    // With Q = I - V T V^T: Q^T A Q = A - V X^T - X V^T, where W = A V T and X = W - V (T^T V^T W) / 2.
    let mut product = Mat::zeros(b, m); // (A V)^T
    let symmetric = rest.as_ref();
    panels(product.as_mut(), PANEL).into_par_iter().with_max_len(1).for_each(|(left, target)| {
        let columns = symmetric.subcols(left, target.ncols());
        matmul(target, Accum::Replace, vectors.transpose(), columns, 1.0, Par::Seq);
    });
    let mut x = product.transpose() * &triangle;
    let inner = triangle.transpose() * (vectors.transpose() * &x);
    matmul(x.as_mut(), Accum::Add, &vectors, inner.as_ref(), -0.5, Par::Seq);

    let mut left = Mat::zeros(m, 2 * b); // [V X]
    left.as_mut().subcols_mut(0, b).copy_from(&vectors);
    left.as_mut().subcols_mut(b, b).copy_from(&x);
    // [X V]^T, by columns: what a product reads of it lies together.
    let mut right = Mat::zeros(2 * b, m);
    right.as_mut().subrows_mut(0, b).copy_from(x.transpose());
    right.as_mut().subrows_mut(b, b).copy_from(vectors.transpose());
    panels(rest.as_mut(), PANEL).into_par_iter().with_max_len(1).for_each(|(first, target)| {
        let columns = right.as_ref().subcols(first, target.ncols());
        matmul(target, Accum::Add, left.as_ref(), columns, -1.0, Par::Seq);
    });
}

/// Householder's reflectors of a matrix, as `I - V T V^T` (Schreiber and Van Loan 1989).
struct Reflectors {
    /// `V`, `[m, k]`.
    vectors: Mat<f64>,
    /// `T`, `[k, k]`, upper triangular.
    triangle: Mat<f64>,
}

impl Reflectors {
    /// Of a matrix `[m, n]`, which they make upper triangular; `k` is the smaller size.
    fn of(mut matrix: MatMut<'_, f64>) -> Self {
        let (m, n) = matrix.shape();
        let k = m.min(n);
        let mut columns: Vec<Vec<f64>> =
            matrix.as_ref().col_iter().map(|column| column.iter().copied().collect()).collect();
        let mut vectors = Mat::zeros(m, k);
        let mut scales = vec![0.0; k];
        let mut vector = Vec::new();
        for index in 0..k {
            let scale = reflector(&mut columns[index][index..], &mut vector);
            for column in &mut columns[index + 1..] {
                reflect(&mut column[index..], &vector, scale);
            }
            scales[index] = scale;
            vectors
                .col_mut(index)
                .subrows_mut(index, m - index)
                .iter_mut()
                .zip(&vector)
                .for_each(|(to, from)| *to = *from);
        }
        for (index, column) in columns.iter().enumerate() {
            matrix.as_mut().col_mut(index).iter_mut().zip(column).for_each(|(to, from)| *to = *from);
        }
        let products = vectors.transpose() * &vectors;
        let mut triangle = Mat::<f64>::zeros(k, k);
        for j in 0..k {
            for i in 0..j {
                let sum: f64 = (i..j).map(|l| triangle[(i, l)] * products[(l, j)]).sum();
                triangle[(i, j)] = -scales[j] * sum;
            }
            triangle[(j, j)] = scales[j];
        }
        Self { vectors, triangle }
    }
}

/// The `v` (with `v[0] = 1`) and `s` for which `(I - s v v^T) x` has zeros but for its first value; makes `x` that.
fn reflector(x: &mut [f64], vector: &mut Vec<f64>) -> f64 {
    vector.clear();
    vector.extend_from_slice(x);
    let below = dot(&x[1..], &x[1..]);
    vector[0] = 1.0;
    if below == 0.0 {
        return 0.0;
    }
    // Away from the first value, so that nothing cancels.
    let head = x[0];
    let length = -(head * head + below).sqrt().copysign(head);
    vector[1..].iter_mut().for_each(|value| *value /= head - length);
    x.fill(0.0);
    x[0] = length;
    (length - head) / length
}

/// `x - scale v (v^T x)`.
fn reflect(x: &mut [f64], vector: &[f64], scale: f64) {
    let factor = -scale * dot(x, vector);
    add(x, factor, vector);
}

/// `x + factor y`.
fn add(x: &mut [f64], factor: f64, y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += factor * y);
}

/// The inner product, in eight sums: one alone would wait for itself.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (x, x_rest) = x.as_chunks::<LANES>();
    let (y, y_rest) = y.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f64>() + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f64>()
}

/// The lower half of a symmetric band, by columns, with room for what the second stage pushes below it.
struct Band {
    size: usize,
    /// Column j from its diagonal down, `[size, STRIDE]`.
    values: Vec<f64>,
    /// The reflector at work, the next one, and a product with the former.
    vector: Vec<f64>,
    next: Vec<f64>,
    product: Vec<f64>,
}

/// Values that a column of the band has room for.
const STRIDE: usize = 2 * BAND;

impl Band {
    fn new(matrix: MatRef<'_, f64>) -> Self {
        let size = matrix.nrows();
        let mut values = vec![0.0; size * STRIDE];
        for (j, column) in values.chunks_exact_mut(STRIDE).enumerate() {
            for i in j..=(j + BAND).min(size - 1) {
                column[i - j] = matrix[(i, j)];
            }
        }
        Self { size, values, vector: Vec::new(), next: Vec::new(), product: Vec::new() }
    }

    /// Zeroes column `column` below the first subdiagonal, and chases what that leaves below the band out of the
    /// matrix.
    fn chase(&mut self, column: usize) {
        let Self { size, ref mut values, ref mut vector, ref mut next, ref mut product } = *self;
        let mut top = column + 1;
        let mut height = BAND.min(size - top);
        let mut scale = reflector(&mut values[column * STRIDE + 1..][..height], vector);
        loop {
            two_sided(&mut values[top * STRIDE..], vector, scale, product);
            let below = top + height;
            if below >= size {
                return;
            }
            let next_height = BAND.min(size - below);
            // The block of rows `below..` in columns `top..below`: column c of it.
            let place = |c: usize| (top + c) * STRIDE + height - c;
            product.clear();
            product.resize(next_height, 0.0);
            for (c, factor) in vector.iter().enumerate() {
                add(product, *factor, &values[place(c)..][..next_height]);
            }
            let first = &mut values[place(0)..][..next_height];
            add(first, -scale * vector[0], product);
            let next_scale = reflector(first, next);
            for (c, factor) in vector.iter().enumerate().skip(1) {
                let block = &mut values[place(c)..][..next_height];
                add(block, -scale * factor, product);
                reflect(block, next, next_scale);
            }
            std::mem::swap(vector, next);
            (top, height, scale) = (below, next_height, next_scale);
        }
    }

    fn tridiagonal_eigenvalues(&mut self) -> Option<Vec<f64>> {
        let d = self.size;
        let (mut diagonal, mut below, mut values) = (Diag::zeros(d), Diag::zeros(d), Diag::<f64>::zeros(d));
        for (j, column) in self.values.chunks_exact(STRIDE).enumerate() {
            (diagonal[j], below[j]) = (column[0], column[1]);
        }
        let mut memory = MemBuffer::new(temp_mat_scratch::<f64>(d, 1).array(2));
        let stack = MemStack::new(&mut memory);
        tridiagonal_self_adjoint_evd(
            diagonal.as_ref(),
            below.as_ref(),
            values.as_mut(),
            None,
            Par::Seq,
            stack,
            Default::default(),
        )
        .ok()?;
        Some(values.column_vector().iter().copied().collect())
    }
}

/// `H A H` for a symmetric block and a reflector `H = I - s v v^T`; the block is the lower triangle of the leading rows
/// of columns that are stored from their diagonals down.
fn two_sided(values: &mut [f64], vector: &[f64], scale: f64, product: &mut Vec<f64>) {
    let height = vector.len();
    product.clear();
    product.resize(height, 0.0);
    for j in 0..height {
        let (diagonal, column) = (values[j * STRIDE], &values[j * STRIDE + 1..][..height - j - 1]);
        let (head, tail) = product[j..].split_at_mut(1);
        head[0] += diagonal * vector[j] + dot(column, &vector[j + 1..]);
        add(tail, vector[j], column);
    }
    // A - v w^T - w v^T with w = s A v - (s^2 v^T A v / 2) v.
    let half = -0.5 * scale * scale * dot(product, vector);
    product.iter_mut().zip(vector).for_each(|(product, value)| *product = scale * *product + half * value);
    for j in 0..height {
        let column = &mut values[j * STRIDE..][..height - j];
        let (left, right) = (vector[j], product[j]);
        for ((value, v), w) in column.iter_mut().zip(&vector[j..]).zip(&product[j..]) {
            *value -= v * right + w * left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A symmetric matrix, graded so that its eigenvalues span many sizes where `grade` is below 1.
    fn symmetric(d: usize, grade: f64) -> Mat<f64> {
        let value = |i: usize, j: usize| ((i * d + j) as f64 * 0.7).sin();
        Mat::from_fn(d, d, |i, j| (value(i, j) + value(j, i)) * grade.powi((i + j) as i32))
    }

    #[test]
    fn both_stages_keep_the_eigenvalues() {
        // Sizes around whole bands.
        for d in [SMALL, SMALL + 1, SMALL + BAND - 1, 9 * BAND + 17] {
            for grade in [1.0, 0.95] {
                let matrix = symmetric(d, grade);
                let expected = matrix.self_adjoint_eigenvalues(Side::Lower).unwrap();
                let found = eigenvalues(matrix).unwrap();
                let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
                let error = found.iter().zip(&expected).fold(0.0f64, |error, (a, b)| error.max((a - b).abs()));
                assert!(found.len() == d && error < 1e-13 * largest, "{d}, {grade}: {error:e} of {largest}");
            }
        }
    }

    #[test]
    fn matrices_with_nothing_to_reflect() {
        let d = SMALL + 5;
        let diagonal = eigenvalues(Mat::from_fn(d, d, |i, j| if i == j { (d - i) as f64 } else { 0.0 })).unwrap();
        assert!(diagonal.iter().enumerate().all(|(i, value)| (value - (i + 1) as f64).abs() < 1e-12));
        // Ones everywhere: one eigenvalue is d, all others are 0.
        let ones = eigenvalues(Mat::full(d, d, 1.0)).unwrap();
        assert!((ones[d - 1] - d as f64).abs() < 1e-11 && ones[..d - 1].iter().all(|value| value.abs() < 1e-11));
    }

    #[test]
    fn threads_change_no_bit() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| eigenvalues(symmetric(SMALL + 40, 1.0)).unwrap())
        };
        assert_eq!(on(1), on(3));
    }
}

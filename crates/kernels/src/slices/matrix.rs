//! Matrix products: the `gemm` crate's kernels on one thread each, cut into pieces here.
//!
//! The crate's own threading cuts by the number of threads. Cutting by shape instead keeps results independent of it,
//! and was measured to be faster.

use rayon::prelude::*;

use super::arithmetic::add_to;
use super::memory::{SharedOut, written};

/// Rows (or columns) of the result in one piece: enough to make up for packing the other factor again.
const PIECE: usize = if cfg!(miri) { 16 } else { 512 };
/// Below this many multiply-adds a product runs where it is called.
const SMALL: usize = if cfg!(miri) { 64 } else { 1 << 18 };
/// Rows of the factors in one piece of a sum over rows, and the most pieces.
const SLAB: usize = if cfg!(miri) { 8 } else { 1024 };
const MAX_SLABS: usize = 16;

/// A view of a matrix: element `(i, j)` is `data[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major view whose rows start `row_stride` apart.
    pub(super) fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(
            rows == 0 || columns == 0 || (rows - 1) * row_stride + columns <= data.len(),
            "matrix outside of its data"
        );
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// All of `data` as `rows` rows without gaps.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "matrix of {rows} x {columns}");
        Self::strided(data, rows, columns, columns)
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    pub(super) fn row_count(self) -> usize {
        self.rows
    }

    pub(super) fn column_count(self) -> usize {
        self.columns
    }

    /// Row `i` of a row-major view.
    pub(super) fn row(self, i: usize) -> &'a [f32] {
        assert!(i < self.rows && self.column_stride == 1);
        &self.data[i * self.row_stride..][..self.columns]
    }

    /// `count` rows from `start`.
    pub(super) fn rows(self, start: usize, count: usize) -> Self {
        assert!(start + count <= self.rows);
        Self { data: &self.data[start * self.row_stride..], rows: count, ..self }
    }

    /// `count` columns from `start`.
    fn columns(self, start: usize, count: usize) -> Self {
        self.transposed().rows(start, count).transposed()
    }
}

/// Where a product goes: over what is there, or added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Set,
    Add,
}

/// `out = scale a b` or `out += scale a b` on this thread; rows of `out` start `out_stride` apart.
///
/// # Safety
///
/// `out` must be valid for the rows and columns of the product, and nobody else may use them meanwhile. With
/// [`Write::Add`] they must be initialised.
pub(super) unsafe fn multiply(a: Matrix, b: Matrix, scale: f32, out: *mut f32, out_stride: usize, write: Write) {
    assert_eq!(a.columns, b.rows, "inner dimensions");
    if a.columns == 0 && write == Write::Set {
        // The sum of nothing: `gemm` is not asked whether it writes it.
        for i in 0..a.rows {
            // SAFETY: row `i` of the product is inside `out`.
            unsafe { out.add(i * out_stride).write_bytes(0, b.columns) };
        }
        return;
    }
    // SAFETY: the views were checked against their data when made, and the caller vouches for `out`.
    #[cfg(not(miri))]
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out,
            1,
            out_stride as isize,
            write == Write::Add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    // Miri cannot run the vector code of `gemm`: plain loops through the same pointers.
    #[cfg(miri)]
    for (i, j) in (0..a.rows).flat_map(|i| (0..b.columns).map(move |j| (i, j))) {
        // SAFETY: as above.
        unsafe {
            let left = |k: usize| *a.data.as_ptr().add(i * a.row_stride + k * a.column_stride);
            let right = |k: usize| *b.data.as_ptr().add(k * b.row_stride + j * b.column_stride);
            let sum = scale * (0..a.columns).map(|k| left(k) * right(k)).sum::<f32>();
            let out = out.add(i * out_stride + j);
            out.write(if write == Write::Add { *out + sum } else { sum });
        }
    }
}

/// `a b`, plus `bias` on each row.
pub(crate) fn product(a: Matrix, b: Matrix, bias: Option<&[f32]>) -> Vec<f32> {
    assert_eq!(a.columns, b.rows, "inner dimensions");
    let (rows, columns) = (a.rows, b.columns);
    assert!(bias.is_none_or(|bias| bias.len() == columns), "one bias per column");
    let write = if bias.is_some() { Write::Add } else { Write::Set };
    // SAFETY: the pieces cover the output; each starts from the bias or has the product set all of it.
    unsafe {
        written(rows * columns, |out| {
            let out = SharedOut::new(out);
            // One block of the result, `height` rows from `top` and `width` columns from `left`.
            let block = |top: usize, height: usize, left: usize, width: usize| {
                let start = out.at(top * columns + left);
                if let Some(bias) = bias {
                    for i in 0..height {
                        let row = start.add(i * columns);
                        row.copy_from_nonoverlapping(bias[left..left + width].as_ptr(), width);
                    }
                }
                multiply(a.rows(top, height), b.columns(left, width), 1.0, start, columns, write);
            };
            if rows * columns * a.columns <= SMALL {
                block(0, rows, 0, columns);
            } else if rows >= columns || rows > PIECE {
                let height = piece(rows);
                (0..rows.div_ceil(height)).into_par_iter().for_each(|i| {
                    block(i * height, height.min(rows - i * height), 0, columns);
                });
            } else {
                let width = piece(columns);
                (0..columns.div_ceil(width)).into_par_iter().for_each(|i| {
                    block(0, rows, i * width, width.min(columns - i * width));
                });
            }
        })
    }
}

/// The length of a piece of `n` rows or columns: about [`PIECE`], in whole vectors, all pieces nearly alike.
fn piece(n: usize) -> usize {
    n.div_ceil(n.div_ceil(PIECE)).next_multiple_of(16)
}

/// `a^T b` for two matrices with many rows: the gradient of a weight. Both are summed over rows in slabs.
pub(crate) fn transposed_product(a: Matrix, b: Matrix) -> Vec<f32> {
    assert_eq!(a.rows, b.rows, "rows of both factors");
    let slabs = a.rows.div_ceil(SLAB).clamp(1, MAX_SLABS);
    let height = a.rows.div_ceil(slabs);
    let (rows, columns) = (a.columns, b.columns);
    sum_of_parts(rows * columns, slabs, |i, out| {
        let (start, end) = ((i * height).min(a.rows), ((i + 1) * height).min(a.rows));
        let (a, b) = (a.rows(start, end - start), b.rows(start, end - start));
        // SAFETY: `out` holds the whole product and belongs to this call; it is zero.
        unsafe { multiply(a.transposed(), b, 1.0, out.as_mut_ptr(), columns, Write::Set) }
    })
}

/// The sum of each column of `g`, whose rows have `columns` elements.
pub(crate) fn column_sums(g: &[f32], columns: usize) -> Vec<f32> {
    let rows = g.len() / columns.max(1);
    let slabs = rows.div_ceil(SLAB).clamp(1, MAX_SLABS);
    let height = rows.div_ceil(slabs);
    sum_of_parts(columns, slabs, |i, out| {
        let (start, end) = ((i * height).min(rows), ((i + 1) * height).min(rows));
        for row in g[start * columns..end * columns].chunks_exact(columns) {
            add_to(out, row);
        }
    })
}

/// The sum of `parts` vectors of `len` floats; `part(i, out)` fills vector `i`, given as zeros. They are computed in parallel and
/// added in order.
pub(super) fn sum_of_parts(len: usize, parts: usize, part: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    const CHUNK: usize = if cfg!(miri) { 8 } else { 4096 };
    let run = |i| {
        let mut out = vec![0.0; len];
        part(i, &mut out);
        out
    };
    let (mut total, others) = rayon::join(|| run(0), || (1..parts).into_par_iter().map(run).collect::<Vec<_>>());
    total.par_chunks_mut(CHUNK).enumerate().for_each(|(i, total)| {
        for other in &others {
            add_to(total, &other[i * CHUNK..][..total.len()]);
        }
    });
    total
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, in_time, values};
    use super::*;

    fn naive(a: &[f32], b: &[f32], m: usize, k: usize, n: usize) -> Vec<f64> {
        let mut out = vec![0.0; m * n];
        for i in 0..m {
            for l in 0..k {
                for j in 0..n {
                    out[i * n + j] += a[i * k + l] as f64 * b[l * n + j] as f64;
                }
            }
        }
        out
    }

    fn transpose(a: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..rows * columns).map(|i| a[i % rows * columns + i / rows]).collect()
    }

    #[test]
    fn products_agree_with_the_definition() {
        // A single block, pieces of rows, pieces of columns, and odd sizes; the small ones for Miri.
        let small = [(1, 1, 1), (3, 5, 7), (5, 0, 3), (20, 5, 17), (5, 4, 40)];
        let large = [(64, 33, 70), (1100, 19, 40), (30, 40, 1300)];
        for (m, k, n) in small.into_iter().chain(large).filter(|(m, k, n)| in_time(m * k * n)) {
            let (a, b, bias) = (values(1, m * k), values(2, k * n), values(3, n));
            let (left, right) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
            let want = naive(&a, &b, m, k, n);
            assert_close("product", &product(left, right, None), &want, 1e-6);
            let biased: Vec<f64> = want.iter().enumerate().map(|(i, w)| w + bias[i % n] as f64).collect();
            assert_close("product with bias", &product(left, right, Some(&bias)), &biased, 1e-6);
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            let views = (Matrix::new(&at, k, m).transposed(), Matrix::new(&bt, n, k).transposed());
            assert_close("product of transposed views", &product(views.0, views.1, None), &want, 1e-6);
        }
    }

    #[test]
    fn sums_over_rows_agree_with_the_definition() {
        let sizes = [(1, 1, 1), (7, 3, 5), (19, 3, 5), (1025, 17, 9), (20_000, 3, 2)];
        for (m, k, n) in sizes.into_iter().filter(|(m, k, n)| in_time(m * k * n)) {
            let (a, b) = (values(4, m * k), values(5, m * n));
            let got = transposed_product(Matrix::new(&a, m, k), Matrix::new(&b, m, n));
            assert_close("a^T b", &got, &naive(&transpose(&a, m, k), &b, k, m, n), 2e-6);
            let sums: Vec<f64> = (0..n).map(|j| (0..m).map(|i| b[i * n + j] as f64).sum()).collect();
            let scale = (m as f64).sqrt() / sums.iter().fold(1e-30, |s: f64, v| s.max(v.abs()));
            assert_close("column sums", &column_sums(&b, n), &sums, 2e-6 * scale.max(1.0));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow; the sizes above are shared among threads as well")]
    fn results_do_not_depend_on_threads() {
        let (a, b) = (values(6, 3000 * 24), values(7, 3000 * 40));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let x = Matrix::new(&a, 3000, 24);
                let g = Matrix::new(&b, 3000, 40);
                (transposed_product(x, g), product(x, Matrix::new(&b[..960], 24, 40), None), column_sums(&b, 40))
            })
        };
        let once = run(1);
        assert_eq!(once, run(2));
        assert_eq!(once, run(3));
    }
}

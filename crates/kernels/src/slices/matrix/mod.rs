//! Matrix products: those of many rows by our own tiles ([`packed`]), small ones by the `gemm` crate's kernels, on one thread
//! each.
//!
//! All are cut into pieces by shape, not by the number of threads, so that results do not depend on it.

mod packed;
mod transpose;

use rayon::prelude::*;

use super::Isa;
use super::arithmetic::add_to;
use super::memory::{SharedOut, written};
pub(super) use packed::{GROUP, add_product_of_packed, panel_width, vector_width};
pub(super) use transpose::transpose;

use packed::{DEPTH, Packed, ROWS, Start, WIDEST, multiply_packed};

/// Columns of the result in one piece, where it has few rows.
const PIECE: usize = if cfg!(miri) { 16 } else { 512 };
/// Rows (of a result, or to be summed over) that make up for packing.
const MANY: usize = if cfg!(miri) { 8 } else { 64 };
/// Below this many multiply-adds a product runs where it is called.
const SMALL: usize = if cfg!(miri) { 64 } else { 1 << 18 };
/// Rows of the factors in one piece of a sum over rows, and the most pieces.
const SLAB: usize = if cfg!(miri) { 8 } else { 1024 };
const MAX_SLABS: usize = 16;
/// Pieces of a sum over rows, where slabs and result are large enough: the result of a slab is cut as well, into pieces of at
/// least so many rows or columns.
const PIECES: usize = 8;
const LEAST: usize = if cfg!(miri) { 16 } else { 384 };

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

    fn as_ptr(self) -> *const f32 {
        self.data.as_ptr()
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

/// `a b`, plus `bias` on each row. The rows or the columns of `a` must have no gaps.
pub(crate) fn product(isa: Isa, a: Matrix, b: Matrix, bias: Option<&[f32]>) -> Vec<f32> {
    assert_eq!(a.columns, b.rows, "inner dimensions");
    assert!(bias.is_none_or(|bias| bias.len() == b.columns), "one bias per column");
    if a.rows < MANY || is_small(a, b) {
        product_of_few_rows(a, b, bias)
    } else {
        product_of_many_rows(isa, a, b, bias)
    }
}

/// Whether a product runs where it is called.
fn is_small(a: Matrix, b: Matrix) -> bool {
    a.rows * b.columns * a.columns <= SMALL
}

/// [`product`] in pieces of columns.
fn product_of_few_rows(a: Matrix, b: Matrix, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, columns) = (a.rows, b.columns);
    let width = if is_small(a, b) { columns } else { piece(columns, PIECE, 16) };
    let write = if bias.is_some() { Write::Add } else { Write::Set };
    // SAFETY: the pieces cover the output; each starts from the bias or has the product set all of it.
    unsafe {
        written(rows * columns, |out| {
            let out = SharedOut::new(out);
            let block = |i: usize| {
                let left = i * width;
                let width = width.min(columns - left);
                if let Some(bias) = bias {
                    for i in 0..rows {
                        let row = out.at(i * columns + left);
                        row.copy_from_nonoverlapping(bias[left..left + width].as_ptr(), width);
                    }
                }
                multiply(a, b.columns(left, width), 1.0, out.at(left), columns, write);
            };
            match columns.div_ceil(width.max(1)) {
                1 => block(0),
                pieces => (0..pieces).into_par_iter().for_each(block),
            }
        })
    }
}

/// [`product`] in pieces of rows.
fn product_of_many_rows(isa: Isa, a: Matrix, b: Matrix, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, columns) = (a.rows, b.columns);
    let b = Packed::new(isa, b);
    let start = bias.map_or(Start::Zero, Start::Bias);
    // SAFETY: the pieces cover the output, and the product sets all of it.
    unsafe {
        written(rows * columns, |out| {
            let out = SharedOut::new(out);
            (0..rows.div_ceil(ROWS)).into_par_iter().for_each_init(Vec::new, |scratch, i| {
                let a = a.rows(i * ROWS, ROWS.min(rows - i * ROWS));
                multiply_packed(a, &b, start, (out.at(i * ROWS * columns), columns), scratch);
            });
        })
    }
}

/// The length of a piece of `n` rows or columns: about `length`, in whole `units`, all pieces nearly alike.
fn piece(n: usize, length: usize, unit: usize) -> usize {
    n.div_ceil(n.div_ceil(length)).next_multiple_of(unit)
}

/// `a^T b` for two matrices with many rows: the gradient of a weight. Both are summed over rows in slabs.
pub(crate) fn transposed_product(isa: Isa, a: Matrix, b: Matrix) -> Vec<f32> {
    assert_eq!(a.rows, b.rows, "rows of both factors");
    let slabs = a.rows.div_ceil(SLAB).clamp(1, MAX_SLABS);
    let height = a.rows.div_ceil(slabs);
    let (rows, columns) = (a.columns, b.columns);
    sum_of_parts(rows * columns, slabs, |i, out| {
        let (start, end) = ((i * height).min(a.rows), ((i + 1) * height).min(a.rows));
        let (a, b) = (a.rows(start, end - start), b.rows(start, end - start));
        if a.rows < MANY || is_small(a.transposed(), b) {
            // SAFETY: `out` holds the whole product and belongs to this call.
            unsafe { multiply(a.transposed(), b, 1.0, out.as_mut_ptr(), columns, Write::Set) }
        } else {
            add_transposed_product(isa, a, b, out, PIECES.div_ceil(slabs));
        }
    })
}

/// `out += a^T b` in about `pieces` pieces of the result.
fn add_transposed_product(isa: Isa, a: Matrix, b: Matrix, out: &mut [f32], pieces: usize) {
    let (rows, columns) = (a.columns, b.columns);
    let length = |n: usize| piece(n, n.div_ceil(pieces).max(LEAST), WIDEST);
    let (height, width) = if rows > columns { (length(rows), columns) } else { (rows, length(columns)) };
    let across = columns.div_ceil(width);
    let out = SharedOut::of(out);
    (0..rows.div_ceil(height) * across).into_par_iter().for_each_init(Vec::new, |scratch, i| {
        let (top, left) = (i / across * height, i % across * width);
        let a = a.columns(top, height.min(rows - top));
        let b = b.columns(left, width.min(columns - left));
        for first in (0..a.rows).step_by(DEPTH) {
            let count = DEPTH.min(a.rows - first);
            let b = Packed::new(isa, b.rows(first, count));
            // SAFETY: the pieces are disjoint and inside the result, which is initialised.
            unsafe {
                let out = (out.at(top * columns + left), columns);
                multiply_packed(a.rows(first, count).transposed(), &b, Start::Existing, out, scratch);
            }
        }
    });
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
        // Few rows in one piece and in pieces of columns; many, with panels of one, two and three vectors, tiles and panels that are
        // not whole, and more columns than are added up in one go; the small ones for Miri.
        let small = [(1, 1, 1), (3, 5, 7), (5, 0, 3), (20, 5, 17), (5, 4, 40), (17, 9, 10)];
        let large = [(64, 33, 170), (100, 300, 48), (1100, 19, 40), (203, 517, 67), (30, 40, 1300), (64, 0, 5)];
        for (m, k, n) in small.into_iter().chain(large).filter(|(m, k, n)| in_time(m * k * n)) {
            let (a, b, bias) = (values(1, m * k), values(2, k * n), values(3, n));
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            let want = naive(&a, &b, m, k, n);
            let biased: Vec<f64> = want.iter().enumerate().map(|(i, w)| w + bias[i % n] as f64).collect();
            for isa in Isa::available() {
                let close = |what: &str, got: &[f32], want: &[f64]| {
                    assert_close(&format!("{what} of {m} x {k} x {n}, {isa:?}"), got, want, 1e-6);
                };
                let (left, right) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
                close("product", &product(isa, left, right, None), &want);
                close("product with bias", &product(isa, left, right, Some(&bias)), &biased);
                let (left, right) = (Matrix::new(&at, k, m).transposed(), Matrix::new(&bt, n, k).transposed());
                close("product of transposed views", &product(isa, left, right, None), &want);
            }
        }
    }

    #[test]
    fn sums_over_rows_agree_with_the_definition() {
        // One piece, several slabs, and pieces of the result's rows and columns.
        let small = [(1, 1, 1), (7, 3, 5), (19, 3, 5), (16, 18, 7)];
        let large = [(1025, 17, 9), (20_000, 3, 2), (2500, 30, 40), (300, 20, 900), (270, 900, 10)];
        for (m, k, n) in small.into_iter().chain(large).filter(|(m, k, n)| in_time(m * k * n)) {
            let (a, b) = (values(4, m * k), values(5, m * n));
            let want = naive(&transpose(&a, m, k), &b, k, m, n);
            for isa in Isa::available() {
                let got = transposed_product(isa, Matrix::new(&a, m, k), Matrix::new(&b, m, n));
                assert_close(&format!("a^T b of {m} x {k} x {n}, {isa:?}"), &got, &want, 2e-6);
            }
            let sums: Vec<f64> = (0..n).map(|j| (0..m).map(|i| b[i * n + j] as f64).sum()).collect();
            let scale = (m as f64).sqrt() / sums.iter().fold(1e-30, |s: f64, v| s.max(v.abs()));
            assert_close("column sums", &column_sums(&b, n), &sums, 2e-6 * scale.max(1.0));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow; the sizes above are shared among threads as well")]
    fn results_do_not_depend_on_threads() {
        let isa = Isa::detect();
        let (a, b) = (values(6, 3000 * 24), values(7, 3000 * 40));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let x = Matrix::new(&a, 3000, 24);
                let g = Matrix::new(&b, 3000, 40);
                (
                    transposed_product(isa, x, g),
                    product(isa, x, Matrix::new(&b[..960], 24, 40), None),
                    column_sums(&b, 40),
                )
            })
        };
        let once = run(1);
        assert_eq!(once, run(2));
        assert_eq!(once, run(3));
    }
}

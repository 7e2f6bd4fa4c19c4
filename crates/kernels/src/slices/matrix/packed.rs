//! Products of matrices with many rows, from packed factors.
//!
//! A tile of sums stays in registers while a column of one factor meets a row of the other. Both are copied before, so
//! that a tile reads them in order: the right factor into panels as wide as a tile, of at most [`DEPTH`] rows; the left one,
//! [`ROWS`] rows at a time, into groups as high as a tile (Goto and van de Geijn, "Anatomy of High-Performance Matrix
//! Multiplication", 2008). A group stays in the level-one cache while all panels pass by.

use rayon::prelude::*;

use super::super::Isa;
use super::super::isa::Level;
use super::super::memory::written;
#[cfg(target_arch = "x86_64")]
use super::super::vector::{Avx2, Avx512};
use super::super::vector::{Portable, Vector};
use super::Matrix;
use super::transpose::transpose_at;

/// Rows of the right factor, which are columns of the left one, that are added up in one go.
pub(super) const DEPTH: usize = if cfg!(miri) { 8 } else { 256 };
/// Rows of the left factor that are packed at a time.
pub(super) const ROWS: usize = if cfg!(miri) { 16 } else { 64 };
/// Rows of a group: those of the highest tile.
pub(in super::super) const GROUP: usize = 8;
/// Vectors in a row of the widest tile.
const VECTORS: usize = 3;
/// Floats in the widest tile's row: those of all levels divide it.
pub(super) const WIDEST: usize = 48;
/// Rows of a panel from here on are asked for while one is added up; without, the same product took 1.1 to 1.25 of the
/// time.
const AHEAD: usize = 8;

/// Floats in a vector.
pub(in super::super) fn vector_width(isa: Isa) -> usize {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => Avx512::WIDTH,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => Avx2::WIDTH,
        Level::Portable => Portable::WIDTH,
    }
}

/// Columns of a panel, unless it is a last one.
pub(in super::super) fn panel_width(isa: Isa) -> usize {
    VECTORS * vector_width(isa)
}

/// A right factor as `[block of DEPTH rows, panel, row, column of the panel]`. All panels have [`VECTORS`] vectors but
/// the last, which has as many as it needs, filled up with zeros.
pub(super) struct Packed {
    isa: Isa,
    data: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Packed {
    pub(super) fn new(isa: Isa, b: Matrix) -> Self {
        let padded = b.columns.next_multiple_of(vector_width(isa));
        let panel = panel_width(isa);
        // SAFETY: the panels of all blocks cover the memory, and each is written whole.
        let data = unsafe {
            written(b.rows * padded, |data| {
                let blocks = data.par_chunks_mut((DEPTH * padded).max(1)).enumerate();
                blocks.for_each(|(i, block)| {
                    let depth = block.len() / padded;
                    let b = b.rows(i * DEPTH, depth);
                    block.par_chunks_mut(depth * panel).enumerate().for_each(|(j, panel_data)| {
                        let (left, width) = (j * panel, panel_data.len() / depth);
                        pack_panel(
                            isa,
                            b.columns(left, width.min(b.columns - left)),
                            panel_data.as_mut_ptr().cast(),
                            width,
                        );
                    });
                });
            })
        };
        Self { isa, data, rows: b.rows, columns: b.columns }
    }
}

/// Copies a matrix to rows of `width`, filled up with zeros.
///
/// # Safety
///
/// `to` must be valid for as many rows of `width` as the matrix has.
unsafe fn pack_panel(isa: Isa, b: Matrix, to: *mut f32, width: usize) {
    // SAFETY: rows and columns of the view, which was checked when made, and of the caller's memory.
    unsafe {
        if b.column_stride == 1 {
            for i in 0..b.rows {
                let row = b.as_ptr().add(i * b.row_stride);
                to.add(i * width).copy_from_nonoverlapping(row, b.columns);
            }
        } else {
            let columns = b.transposed();
            transpose_at(isa, (columns.as_ptr(), columns.row_stride), (b.columns, b.rows), (to, width));
        }
        for i in 0..b.rows {
            to.add(i * width + b.columns).write_bytes(0, width - b.columns);
        }
    }
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start<'a> {
    /// Nothing: what stands there is written over.
    Zero,
    /// A row, the same for all.
    Bias(&'a [f32]),
    /// What stands there.
    Existing,
}

/// `out = start + a b` on this thread; rows of `out` start `stride` apart. `scratch` is for the left factor's groups.
///
/// # Safety
///
/// `out` must be valid for the rows and columns of the product, and nobody else may use them meanwhile. With
/// [`Start::Existing`] they must be initialised.
pub(super) unsafe fn multiply_packed(
    a: Matrix,
    b: &Packed,
    start: Start,
    (out, stride): (*mut f32, usize),
    scratch: &mut Vec<f32>,
) {
    assert!(a.columns == b.rows && b.rows > 0, "inner dimensions");
    assert!(a.column_stride == 1 || a.row_stride == 1, "a left factor whose rows or columns have no gaps");
    assert!(!matches!(start, Start::Bias(bias) if bias.len() != b.columns), "one bias per column");
    scratch.resize(ROWS * DEPTH, 0.0);
    let padded = b.columns.next_multiple_of(vector_width(b.isa));
    for top in (0..a.rows).step_by(ROWS) {
        let a = a.rows(top, ROWS.min(a.rows - top));
        for (i, block) in b.data.chunks((DEPTH * padded).max(1)).enumerate() {
            let depth = block.len() / padded;
            pack_groups(b.isa, a.columns(i * DEPTH, depth), scratch);
            let pass = Pass {
                a: scratch,
                rows: a.rows,
                b: block,
                depth,
                columns: b.columns,
                start: if i == 0 { start } else { Start::Existing },
                // SAFETY: the row is inside the result.
                out: unsafe { out.add(top * stride) },
                stride,
            };
            // SAFETY: the caller vouches for `out`; scratch and block were filled above and by `Packed`.
            unsafe { multiply_block(b.isa, pass) };
        }
    }
}

/// Copies up to [`ROWS`] rows to `[group, column, row of the group]`, the last group filled up with zeros.
fn pack_groups(isa: Isa, a: Matrix, groups: &mut [f32]) {
    let depth = a.columns;
    for (i, group) in groups.chunks_exact_mut(GROUP * depth).take(a.rows.div_ceil(GROUP)).enumerate() {
        let a = a.rows(i * GROUP, GROUP.min(a.rows - i * GROUP));
        if a.rows < GROUP {
            group.fill(0.0);
        }
        if a.row_stride == 1 && a.rows == GROUP {
            // A length that the compiler knows: no call for each column.
            for (k, column) in group.chunks_exact_mut(GROUP).enumerate() {
                column.copy_from_slice(&a.data[k * a.column_stride..][..GROUP]);
            }
        } else if a.row_stride == 1 {
            for (k, column) in group.chunks_exact_mut(GROUP).enumerate() {
                column[..a.rows].copy_from_slice(&a.data[k * a.column_stride..][..a.rows]);
            }
        } else {
            // SAFETY: the view was checked when made, and the group holds eight rows of its columns.
            unsafe { transpose_at(isa, (a.as_ptr(), a.row_stride), (a.rows, depth), (group.as_mut_ptr(), GROUP)) };
        }
    }
}

/// Adds the product of one group, `[k, GROUP]`, with one panel, `[k, width]`, to rows of `out` that start `stride` apart.
pub(in super::super) fn add_product_of_packed(
    isa: Isa,
    group: &[f32],
    panel: &[f32],
    width: usize,
    out: &mut [f32],
    stride: usize,
) {
    let depth = group.len() / GROUP;
    assert!(width.is_multiple_of(vector_width(isa)) && width <= panel_width(isa) && panel.len() == depth * width);
    assert!((GROUP - 1) * stride + width <= out.len(), "the product inside its memory");
    let (out, start) = (out.as_mut_ptr(), Start::Existing);
    let pass = Pass { a: group, rows: GROUP, b: panel, depth, columns: width, start, out, stride };
    // SAFETY: checked above.
    unsafe { multiply_block(isa, pass) }
}

/// The product of some rows with one block of the right factor.
#[derive(Clone, Copy)]
struct Pass<'a> {
    /// Groups, as [`pack_groups`] leaves them.
    a: &'a [f32],
    rows: usize,
    /// Panels, as in [`Packed`].
    b: &'a [f32],
    depth: usize,
    columns: usize,
    start: Start<'a>,
    out: *mut f32,
    stride: usize,
}

/// # Safety
///
/// `out` as in [`multiply_packed`]; `a` and `b` must hold the groups and panels of `rows` and `columns`.
unsafe fn multiply_block(isa: Isa, pass: Pass) {
    #[cfg(target_arch = "x86_64")]
    {
        /// # Safety
        ///
        /// As [`multiply_block`].
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
        unsafe fn avx512(pass: Pass) {
            // SAFETY: the caller's. (24 sums, 3 vectors and a broadcast fit 32 registers.)
            unsafe { tiles::<Avx512, 8>(pass) }
        }
        /// # Safety
        ///
        /// As [`multiply_block`].
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(pass: Pass) {
            // SAFETY: the caller's. (12 sums, 3 vectors and a broadcast: all 16 registers.)
            unsafe { tiles::<Avx2, 4>(pass) }
        }
        match isa.level() {
            // SAFETY: an `Isa` of this level exists only where the machine has these instructions; the rest is the caller's.
            Level::Avx512 => return unsafe { avx512(pass) },
            // SAFETY: as above.
            Level::Avx2 => return unsafe { avx2(pass) },
            Level::Portable => {}
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let Level::Portable = isa.level();
    // SAFETY: the caller's.
    unsafe { tiles::<Portable, 2>(pass) }
}

/// All tiles of a pass, each of `R` rows.
///
/// # Safety
///
/// As [`multiply_block`].
#[inline(always)]
unsafe fn tiles<V: Vector, const R: usize>(pass: Pass) {
    let Pass { depth, columns, .. } = pass;
    let panel = VECTORS * V::WIDTH;
    for top in (0..pass.rows).step_by(R) {
        for left in (0..columns).step_by(panel) {
            let tile = Tile {
                a: pass.a[top / GROUP * GROUP * depth + top % GROUP..].as_ptr(),
                b: pass.b[left * depth..].as_ptr(),
                depth,
                rows: R.min(pass.rows - top),
                columns: panel.min(columns - left),
                start: match pass.start {
                    Start::Bias(bias) => Start::Bias(&bias[left..]),
                    start => start,
                },
                // SAFETY: the tile's first element is inside the result.
                out: unsafe { pass.out.add(top * pass.stride + left) },
                stride: pass.stride,
            };
            // SAFETY: `R` rows of a group, the rows of a panel, and the tile's part of the result.
            unsafe {
                match tile.columns.div_ceil(V::WIDTH) {
                    1 => tile.run::<V, R, 1>(),
                    2 => tile.run::<V, R, 2>(),
                    _ => tile.run::<V, R, VECTORS>(),
                }
            }
        }
    }
}

/// A tile of the result and what it is made from.
#[derive(Clone, Copy)]
struct Tile<'a> {
    a: *const f32,
    b: *const f32,
    depth: usize,
    /// Rows and columns that are part of the result.
    rows: usize,
    columns: usize,
    start: Start<'a>,
    out: *mut f32,
    stride: usize,
}

impl Tile<'_> {
    /// # Safety
    ///
    /// `a` must have `depth` columns of `R` rows, [`GROUP`] apart; `b` `depth` rows of `N` vectors; `out` the tile's rows and
    /// columns.
    #[inline(always)]
    unsafe fn run<V: Vector, const R: usize, const N: usize>(self) {
        let width = N * V::WIDTH;
        let mut sums = [[V::zero(); N]; R];
        for k in 0..self.depth {
            // SAFETY: column and row `k`, see above.
            unsafe {
                let (column, row) = (self.a.add(k * GROUP), self.b.add(k * width));
                let mut vectors = [V::zero(); N];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    *vector = V::load(row.add(v * V::WIDTH));
                    V::prefetch(row.wrapping_add(AHEAD * width + v * V::WIDTH));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let element = V::splat(*column.add(i));
                    for (sum, vector) in sums.iter_mut().zip(&vectors) {
                        *sum = sum.add_product(element, *vector);
                    }
                }
            }
        }
        if self.rows == R && self.columns == width {
            for (i, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    // SAFETY: the whole tile is part of the result, and the bias has an element for each column.
                    unsafe {
                        let out = self.out.add(i * self.stride + v * V::WIDTH);
                        let sum = match self.start {
                            Start::Zero => *sum,
                            Start::Bias(bias) => sum.plus(V::load(bias.as_ptr().add(v * V::WIDTH))),
                            Start::Existing => sum.plus(V::load(out)),
                        };
                        sum.store(out);
                    }
                }
            }
            return;
        }
        let mut rows = [[0.0f32; WIDEST]; R];
        for (row, sums) in rows.iter_mut().zip(&sums) {
            for (v, sum) in sums.iter().enumerate() {
                // SAFETY: the widest tile's row fits.
                unsafe { sum.store(row.as_mut_ptr().add(v * V::WIDTH)) };
            }
        }
        for (i, row) in rows.iter().take(self.rows).enumerate() {
            for (j, sum) in row[..self.columns].iter().enumerate() {
                // SAFETY: this row and column are part of the result.
                unsafe {
                    let out = self.out.add(i * self.stride + j);
                    out.write(match self.start {
                        Start::Zero => *sum,
                        Start::Bias(bias) => sum + bias[j],
                        Start::Existing => sum + *out,
                    });
                }
            }
        }
    }
}

//! Transposed copies.

use super::super::Isa;
#[cfg(target_arch = "x86_64")]
use super::super::isa::Level;

/// Copies row `i` of `from`, whose rows are `columns` long, to column `i` of `to`, whose rows are `width` long.
pub(in super::super) fn transpose(isa: Isa, from: &[f32], columns: usize, to: &mut [f32], width: usize) {
    let rows = from.len() / columns.max(1);
    assert!(rows <= width && columns * width <= to.len(), "a transposed copy inside its memory");
    // SAFETY: checked above.
    unsafe { transpose_at(isa, (from.as_ptr(), columns), (rows, columns), (to.as_mut_ptr(), width)) }
}

/// `to[j * to_stride + i] = from[i * from_stride + j]` for `i < rows` and `j < columns`.
///
/// # Safety
///
/// `from` must be readable and `to` writable at these places.
pub(super) unsafe fn transpose_at(
    isa: Isa,
    (from, from_stride): (*const f32, usize),
    (rows, columns): (usize, usize),
    (to, to_stride): (*mut f32, usize),
) {
    // What blocks of 8 x 8 leave over, or all.
    let (mut whole_rows, mut whole_columns) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if isa.level() != Level::Portable {
        (whole_rows, whole_columns) = (rows / 8 * 8, columns / 8 * 8);
        // SAFETY: an `Isa` of this level exists only where the machine has these instructions; the rest is the caller's.
        unsafe { registers::transpose((from, from_stride), (whole_rows, whole_columns), (to, to_stride)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = isa;
    for i in 0..rows {
        let first = if i < whole_rows { whole_columns } else { 0 };
        for j in first..columns {
            // SAFETY: the caller's.
            unsafe { to.add(j * to_stride + i).write(*from.add(i * from_stride + j)) };
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod registers {
    use std::arch::x86_64::*;

    /// [`super::transpose_at`] for multiples of eight.
    ///
    /// # Safety
    ///
    /// As there.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn transpose(
        (from, from_stride): (*const f32, usize),
        (rows, columns): (usize, usize),
        (to, to_stride): (*mut f32, usize),
    ) {
        for i in (0..rows).step_by(8) {
            for j in (0..columns).step_by(8) {
                let mut block = [_mm256_setzero_ps(); 8];
                for (k, row) in block.iter_mut().enumerate() {
                    // SAFETY: the caller's.
                    *row = unsafe { _mm256_loadu_ps(from.add((i + k) * from_stride + j)) };
                }
                for (k, column) in transposed(block).into_iter().enumerate() {
                    // SAFETY: the caller's.
                    unsafe { _mm256_storeu_ps(to.add((j + k) * to_stride + i), column) };
                }
            }
        }
    }

    /// The columns of eight rows: pairs of elements, then quadruples, then halves change places.
    #[target_feature(enable = "avx2")]
    fn transposed(rows: [__m256; 8]) -> [__m256; 8] {
        let mut pairs = rows;
        for i in [0, 2, 4, 6] {
            pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
        }
        let mut fours = pairs;
        for i in [0, 4] {
            fours[i] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[i], pairs[i + 2]);
            fours[i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[i], pairs[i + 2]);
            fours[i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[i + 1], pairs[i + 3]);
            fours[i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[i + 1], pairs[i + 3]);
        }
        let mut columns = fours;
        for i in 0..4 {
            columns[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
            columns[i + 4] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
        }
        columns
    }
}

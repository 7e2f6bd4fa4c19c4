//! The sum of squares.

use rayon::prelude::*;

use super::Isa;

/// Elements in one partial sum.
const PIECE: usize = if cfg!(miri) { 32 } else { 32 * 1024 };
/// Lanes of a partial sum.
const LANES: usize = 16;

vectorized!(fn piece(x: &[f32]) -> f64 = piece_body);

/// The sum of the squares of `x`, added in 64-bit floats in an order that depends on the length alone.
pub(crate) fn square_norm(isa: Isa, x: &[f32]) -> f64 {
    let parts: Vec<f64> = x.par_chunks(PIECE).map(|x| piece(isa, x)).collect();
    parts.iter().sum()
}

#[inline(always)]
fn piece_body<const FUSED: bool>(x: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            // The product of two 24-bit significands is exact in 53 bits: fused or not makes no difference.
            *lane += *x as f64 * *x as f64;
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += *x as f64 * *x as f64;
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::values;
    use super::*;

    #[test]
    fn every_path_gives_the_exact_sum_where_there_is_one() {
        for len in [0, 1, 15, 16, 17, 1000, 3 * PIECE + 5] {
            // Multiples of 2^-10: squares and their sums are exact in 64 bits.
            let x: Vec<f32> = values(9, len).iter().map(|v| (v * 1024.0).round() / 1024.0).collect();
            let want: f64 = x.iter().map(|v| *v as f64 * *v as f64).sum();
            for isa in Isa::available() {
                assert_eq!(square_norm(isa, &x), want, "{isa:?}");
            }
        }
    }

    #[test]
    fn every_path_gives_the_same_bits() {
        let x = values(10, 2 * PIECE + 77);
        let want = square_norm(Isa::detect(), &x).to_bits();
        assert!(Isa::available().into_iter().all(|isa| square_norm(isa, &x).to_bits() == want));
    }
}

//! From random words to normal numbers, with the same bits on every platform.
//!
//! Box and Muller's transform needs a logarithm, a sine and a cosine, which platforms round differently. Here they are
//! short series in additions, multiplications, divisions and square roots, which IEEE 754 defines to the last bit.

use std::f64::consts::{FRAC_PI_2, LN_2};

/// Two independent standard normal numbers: `sqrt(-2 ln u) (cos, sin)(2 pi v)` (Box and Muller 1958). Their largest
/// size is 6.77.
#[inline]
pub(super) fn gaussian_pair(radius: u32, angle: u32) -> [f64; 2] {
    let size = (-2.0 * ln_unit(radius)).sqrt();
    let [sine, cosine] = sin_cos_turn(angle);
    [size * cosine, size * sine]
}

/// A uniform number in [0, 1) that f32 holds exactly.
#[inline]
pub(super) fn unit_half_open(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

/// `ln u` of the centre `u = (word + 1/2) 2^-32` of the word's cell in (0, 1).
#[inline]
fn ln_unit(word: u32) -> f64 {
    let u = (f64::from(word) + 0.5) * (1.0 / (1u64 << 32) as f64);
    // u = 2^exponent m with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh(s) with s = (m - 1) / (m + 1), |s| < 0.172.
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    let above = u.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = (above as i64 >> 52) as f64;
    let m = f64::from_bits((above & ((1 << 52) - 1)) + SQRT_HALF);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut series = 1.0 / 21.0;
    for k in (0..10).rev() {
        series = series * square + 1.0 / f64::from(2 * k + 1);
    }
    exponent * LN_2 + 2.0 * s * series
}

/// Sine and cosine of the centre `(word + 1/2) 2^-32` of the word's cell, in full turns.
#[inline]
fn sin_cos_turn(word: u32) -> [f64; 2] {
    // The two top bits are the quadrant; the rest is an angle in (-pi/4, pi/4) from the quadrant's middle.
    let quadrant = word >> 30;
    let within = (f64::from(word << 2 >> 2) + 0.5) * (1.0 / (1u64 << 30) as f64) - 0.5;
    let x = within * FRAC_PI_2;
    let square = x * x;
    // Taylor series, from the last term inwards: each coefficient is the one before over (n - 1) n.
    let (mut sine, mut cosine) = (1.0, 1.0);
    for k in (1..=8).rev() {
        let n = f64::from(2 * k);
        sine = 1.0 - sine * square * (1.0 / (n * (n + 1.0)));
        cosine = 1.0 - cosine * square * (1.0 / ((n - 1.0) * n));
    }
    sine *= x;
    // Turned by the quadrant's middle: pi/4 and so many quarters.
    const ROOT: f64 = std::f64::consts::FRAC_1_SQRT_2;
    let (sine, cosine) = (ROOT * (sine + cosine), ROOT * (cosine - sine));
    match quadrant {
        0 => [sine, cosine],
        1 => [cosine, -sine],
        2 => [-sine, -cosine],
        _ => [-cosine, sine],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_series_are_the_functions(word: u32) {
            let u = (f64::from(word) + 0.5) / (1u64 << 32) as f64;
            prop_assert!((ln_unit(word) - u.ln()).abs() <= 4e-16 * u.ln().abs().max(0.5));
            let [sine, cosine] = sin_cos_turn(word);
            let angle = std::f64::consts::TAU * u;
            prop_assert!((sine - angle.sin()).abs() < 1e-15, "{} {}", sine, angle.sin());
            prop_assert!((cosine - angle.cos()).abs() < 1e-15, "{} {}", cosine, angle.cos());
        }
    }

    #[test]
    fn the_ends_are_finite() {
        for word in [0, 1, u32::MAX - 1, u32::MAX] {
            assert!(ln_unit(word) < 0.0 && ln_unit(word).is_finite());
        }
        assert!(gaussian_pair(0, u32::MAX / 4)[0].abs() < 6.77);
        assert!(gaussian_pair(0, 0)[0] > 6.76);
    }
}

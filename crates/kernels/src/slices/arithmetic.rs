//! Arithmetic that the compiler turns into vector code: no branches, sums in fixed lanes.

/// Lanes of a partial sum: two vectors of 512 bits.
const LANES: usize = 32;

/// `a b + c`, in one rounding where `FUSED`.
#[inline(always)]
pub(super) fn mul_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction, `f32::mul_add` would call a slow exact routine.
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `exp(x)` with a relative error below 3e-7 for `x` in [-87, 88]; outside, the value at the nearer end.
///
/// With `k = round(x / ln 2)` and `r = x - k ln 2`, `exp(x) = 2^k exp(r)`; `exp(r)`, for |r| <= ln(2)/2, is its Taylor series to
/// degree 7.
#[inline(always)]
pub(super) fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts: products of the first with small integers are exact.
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = (std::f64::consts::LN_2 - 355.0 / 512.0) as f32;
    let x = x.clamp(-87.0, 88.0);
    let rounded = mul_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let k = rounded - ROUND;
    let r = mul_add::<FUSED>(-k, LN_2_HIGH, x);
    let r = mul_add::<FUSED>(-k, LN_2_LOW, r);
    let mut series = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = mul_add::<FUSED>(series, r, coefficient);
    }
    // 2^k, by writing k into the exponent field.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    series * power
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(super) fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FUSED>(-x))
}

/// `sigmoid(x)` and `1 - sigmoid(x)`, the second without subtracting: it keeps its digits where the first is nearly 1.
#[inline(always)]
pub(super) fn sigmoid_and_rest<const FUSED: bool>(x: f32) -> (f32, f32) {
    let e = exp::<FUSED>(-x);
    let s = 1.0 / (1.0 + e);
    (s, e * s)
}

/// Folds the elements of inputs of equal length with `f`, in lanes, then the lanes in pairs with `combine`.
///
/// Lanes are only ever indexed by constants once the loops are unrolled, so that they stay in registers.
#[inline(always)]
fn fold<const N: usize>(
    inputs: [&[f32]; N],
    start: f32,
    f: impl Fn(f32, [f32; N]) -> f32,
    combine: impl Fn(f32, f32) -> f32,
) -> f32 {
    let inputs = inputs.map(|input| input.as_chunks::<LANES>());
    let (blocks, rest) = (inputs[0].0.len(), inputs[0].1.len());
    let mut lanes = [start; LANES];
    for i in 0..blocks {
        let block = inputs.map(|(blocks, _)| &blocks[i]);
        for lane in 0..LANES {
            lanes[lane] = f(lanes[lane], block.map(|block| block[lane]));
        }
    }
    if rest > 0 {
        let block = inputs.map(|(_, rest)| {
            let mut block = [0.0; LANES];
            block[..rest.len()].copy_from_slice(rest);
            block
        });
        for lane in 0..LANES {
            let next = f(lanes[lane], block.map(|block| block[lane]));
            lanes[lane] = if lane < rest { next } else { lanes[lane] };
        }
    }
    let lanes: [f32; LANES / 2] = std::array::from_fn(|i| combine(lanes[i], lanes[i + LANES / 2]));
    let lanes: [f32; LANES / 4] = std::array::from_fn(|i| combine(lanes[i], lanes[i + LANES / 4]));
    let lanes: [f32; LANES / 8] = std::array::from_fn(|i| combine(lanes[i], lanes[i + LANES / 8]));
    let lanes: [f32; LANES / 16] = std::array::from_fn(|i| combine(lanes[i], lanes[i + LANES / 16]));
    combine(lanes[0], lanes[1])
}

/// The sum of `x`.
#[inline(always)]
pub(super) fn sum(x: &[f32]) -> f32 {
    fold([x], 0.0, |s, [x]| s + x, |a, b| a + b)
}

/// The largest of `x` and `start`.
#[inline(always)]
pub(super) fn max(x: &[f32], start: f32) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    fold([x], start, |s, [x]| larger(s, x), larger)
}

/// The inner product of `x` and `y`, of equal length.
#[inline(always)]
pub(super) fn dot<const FUSED: bool>(x: &[f32], y: &[f32]) -> f32 {
    fold([x, &y[..x.len()]], 0.0, |s, [x, y]| mul_add::<FUSED>(x, y, s), |a, b| a + b)
}

/// The inner product of `u` and `x - mean`, of equal length.
#[inline(always)]
pub(super) fn dot_centred<const FUSED: bool>(u: &[f32], x: &[f32], mean: f32) -> f32 {
    fold([u, &x[..u.len()]], 0.0, |s, [u, x]| mul_add::<FUSED>(u, x - mean, s), |a, b| a + b)
}

/// Mean and biased variance of `x`; the variance about the mean, in a second pass.
#[inline(always)]
pub(super) fn mean_variance<const FUSED: bool>(x: &[f32]) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum(x) / n;
    let square = |s, [x]: [f32; 1]| mul_add::<FUSED>(x - mean, x - mean, s);
    (mean, fold([x], 0.0, square, |a, b| a + b) / n)
}

/// `a += b`, element by element.
#[inline(always)]
pub(super) fn add_to(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exp_is_accurate<const FUSED: bool>() {
        for i in (-870_000..=880_000).step_by(if cfg!(miri) { 9_973 } else { 1 }) {
            let x = i as f32 * 1e-4;
            let (got, want) = (exp::<FUSED>(x) as f64, (x as f64).exp());
            assert!((got / want - 1.0).abs() < 3e-7, "exp({x}) = {got}, not {want}");
        }
        assert_eq!(exp::<FUSED>(f32::NEG_INFINITY), exp::<FUSED>(-87.0));
        assert!(exp::<FUSED>(f32::NAN).is_nan(), "a NaN must not be hidden");
        assert_eq!(exp::<FUSED>(0.0), 1.0);
    }

    #[test]
    fn exp_meets_its_bound() {
        exp_is_accurate::<false>();
        exp_is_accurate::<true>();
    }

    #[test]
    fn reductions_agree_with_plain_loops() {
        for n in [0, 1, 31, 32, 33, 100, 257] {
            let x: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 8.0).collect();
            // All terms are multiples of 1/64 and small: every order of summation is exact.
            assert_eq!(sum(&x), x.iter().sum::<f32>());
            assert_eq!(dot::<false>(&x, &x), x.iter().map(|v| v * v).sum::<f32>());
            assert_eq!(dot::<true>(&x, &x), x.iter().map(|v| v * v).sum::<f32>());
            assert_eq!(max(&x, -1e9), x.iter().copied().fold(-1e9, f32::max));
        }
    }

    #[test]
    fn variance_survives_a_large_mean() {
        let x: Vec<f32> = (0..1000).map(|i| 4096.0 + (i % 2) as f32).collect();
        let (mean, variance) = mean_variance::<true>(&x);
        assert_eq!((mean, variance), (4096.5, 0.25));
    }
}

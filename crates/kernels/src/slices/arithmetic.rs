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

/// Folds `f(i)` for `i` in `0..n` with `combine`, in lanes, then the lanes in pairs.
#[inline(always)]
fn fold(n: usize, start: f32, f: impl Fn(f32, usize) -> f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let whole = n / LANES * LANES;
    for i in (0..whole).step_by(LANES) {
        for (lane, value) in lanes.iter_mut().enumerate() {
            *value = f(*value, i + lane);
        }
    }
    for i in whole..n {
        lanes[i - whole] = f(lanes[i - whole], i);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = combine(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of `x`.
#[inline(always)]
pub(super) fn sum(x: &[f32]) -> f32 {
    fold(x.len(), 0.0, |s, i| s + x[i], |a, b| a + b)
}

/// The largest of `x` and `start`.
#[inline(always)]
pub(super) fn max(x: &[f32], start: f32) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    fold(x.len(), start, |s, i| larger(s, x[i]), larger)
}

/// The inner product of `x` and `y`, of equal length.
#[inline(always)]
pub(super) fn dot<const FUSED: bool>(x: &[f32], y: &[f32]) -> f32 {
    let y = &y[..x.len()];
    fold(x.len(), 0.0, |s, i| mul_add::<FUSED>(x[i], y[i], s), |a, b| a + b)
}

/// The inner product of `u` and `x - mean`, of equal length.
#[inline(always)]
pub(super) fn dot_centred<const FUSED: bool>(u: &[f32], x: &[f32], mean: f32) -> f32 {
    let x = &x[..u.len()];
    fold(u.len(), 0.0, |s, i| mul_add::<FUSED>(u[i], x[i] - mean, s), |a, b| a + b)
}

/// Mean and biased variance of `x`; the variance about the mean, in a second pass.
#[inline(always)]
pub(super) fn mean_variance<const FUSED: bool>(x: &[f32]) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum(x) / n;
    let squares = fold(
        x.len(),
        0.0,
        |s, i| {
            let centred = x[i] - mean;
            mul_add::<FUSED>(centred, centred, s)
        },
        |a, b| a + b,
    );
    (mean, squares / n)
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
        for i in -870_000..=880_000 {
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

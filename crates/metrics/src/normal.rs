//! The standard normal distribution: its cumulative function and its quantiles.

use std::f64::consts::PI;

/// `P(Z <= x)` of a standard normal `Z`, to an absolute error of about 1e-15.
pub fn normal_cumulative(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.abs() > 8.0 {
        // Less than 1e-15 is left of the nearer tail.
        return if x < 0.0 { 0.0 } else { 1.0 };
    }
    // 1/2 + density(x) (x + x^3 / 3 + x^5 / (3 5) + x^7 / (3 5 7) + ...): all terms of one sign, nothing cancels.
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while sum + term != sum {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * density(x)
}

/// The `x` with `P(Z <= x) = probability`; -infinity at 0, infinity at 1, NaN outside `[0, 1]`.
pub fn normal_quantile(probability: f64) -> f64 {
    if !(0.0..=1.0).contains(&probability) {
        return f64::NAN;
    }
    if probability == 0.0 || probability == 1.0 {
        return if probability == 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let (mut below, mut above) = (-9.0f64, 9.0f64);
    // Bisection until the interval has no inner number: at most some sixty halvings.
    loop {
        let middle = 0.5 * (below + above);
        if middle <= below || middle >= above {
            return middle;
        }
        if normal_cumulative(middle) < probability {
            below = middle;
        } else {
            above = middle;
        }
    }
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cumulative_function_has_tabulated_values() {
        // 20 digits from the error function's series, rounded.
        for (x, p) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.0, 0.158_655_253_931_457_05),
            (2.0, 0.977_249_868_051_820_8),
            (-3.0, 0.001_349_898_031_630_094_6),
            (5.0, 0.999_999_713_348_428_1),
        ] {
            assert!((normal_cumulative(x) - p).abs() < 2e-15, "{x}: {}", normal_cumulative(x));
        }
        assert_eq!((normal_cumulative(-40.0), normal_cumulative(40.0)), (0.0, 1.0));
    }

    #[test]
    fn quantiles_are_its_inverse() {
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-12);
        assert!((normal_quantile(0.995) - 2.575_829_303_548_901).abs() < 1e-12);
        for i in 1..200 {
            let p = f64::from(i) / 200.0;
            assert!((normal_cumulative(normal_quantile(p)) - p).abs() < 1e-15, "{p}");
        }
        assert!(normal_quantile(0.0) == f64::NEG_INFINITY && normal_quantile(1.0) == f64::INFINITY);
        assert!(normal_quantile(1.5).is_nan());
    }
}

//! Distributions of training times.

use std::f64::consts::{FRAC_PI_2, PI};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::random::Key;
use crate::{Path, normal};

/// Which times training draws, and how a batch shares them out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeLaw {
    /// The distribution, under its `type` beside `stratified`.
    #[serde(flatten)]
    pub distribution: TimeDistribution,
    /// Whether a batch's times are spread evenly over the distribution, from one common random offset
    /// (Kingma et al. 2021, appendix I.1), and not drawn one by one.
    #[serde(default)]
    pub stratified: bool,
}

/// A distribution of training times over a path's [`Path::time_range`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeDistribution {
    /// Even in t.
    #[default]
    Uniform,
    /// `ln(sigma / alpha)` is normal, cut off at the ends of the path (Karras et al. 2022, table 1).
    Lognormal {
        /// Mean of `ln(sigma / alpha)`.
        #[serde(default = "edm_mean")]
        mean: f64,
        /// Its standard deviation.
        #[serde(default = "edm_deviation")]
        deviation: f64,
    },
    /// `ln(t / (1 - t))` is normal (Esser et al. 2024, section 3.1); t as a fraction of the range.
    LogitNormal {
        /// Mean of `ln(t / (1 - t))`; above 0 favours noise.
        #[serde(default)]
        mean: f64,
        /// Its standard deviation.
        #[serde(default = "one")]
        deviation: f64,
    },
    /// `t = 1 - u - scale (cos^2(pi u / 2) - 1 + u)` of a uniform u (Esser et al. 2024, eq. 20): above 0 it favours
    /// the middle, below 0 the ends.
    Mode {
        /// From -1 to 2 / (pi - 2) = 1.75.
        #[serde(default = "mode_scale")]
        scale: f64,
    },
    /// Density proportional to `e^(a t) + e^(a (1 - t))`: favours both ends (Lee et al. 2024).
    UShaped {
        /// Steepness.
        #[serde(default = "four")]
        a: f64,
    },
}

fn edm_mean() -> f64 {
    -1.2
}
fn edm_deviation() -> f64 {
    1.2
}
fn one() -> f64 {
    1.0
}
fn mode_scale() -> f64 {
    1.29
}
fn four() -> f64 {
    4.0
}

impl TimeLaw {
    /// The time below which a fraction `u` of all training times lies, `u` in [0, 1]: a uniform `u` gives a time of
    /// this law.
    pub fn quantile(&self, path: &Path, u: f64) -> f64 {
        self.distribution.quantile(path, u)
    }

    /// The density of training times at `t`, zero outside the path's range.
    pub fn density(&self, path: &Path, t: f64) -> f64 {
        self.distribution.density(path, t)
    }

    /// The training times of a whole batch, images `first_image` to `first_image + count - 1`. Each micro-batch takes
    /// its part of them, so that a stratified law spans the batch however it is split.
    pub fn times(&self, path: &Path, key: &Key, first_image: u64, count: usize) -> Vec<f64> {
        let fractions = fractions(self.stratified, key, first_image, count);
        fractions.into_iter().map(|u| self.quantile(path, u)).collect()
    }

    /// Every problem of the settings.
    pub fn validate(&self) -> Problems {
        self.distribution.validate()
    }
}

/// A fraction in [0, 1) for each image of a whole batch, images `first_image` to `first_image + count - 1`: uniform
/// ones, drawn one by one or, if `stratified`, spread evenly from one common random offset.
pub fn fractions(stratified: bool, key: &Key, first_image: u64, count: usize) -> Vec<f64> {
    let offset = key.at(first_image).uniform(0);
    let fraction = |i: usize| match stratified {
        true => (offset + i as f64 / count as f64).fract(),
        false => key.at(first_image + i as u64).uniform(0),
    };
    (0..count).map(fraction).collect()
}

impl TimeDistribution {
    fn quantile(&self, path: &Path, u: f64) -> f64 {
        let (first, last) = path.time_range();
        let time = match *self {
            Self::Lognormal { mean, deviation } => {
                let (below, above) = lognormal_ends(path, mean, deviation);
                let z = normal::quantile(below + u * (above - below));
                path.time_of_lambda(-(mean + deviation * z))
            }
            _ => first + (last - first) * self.unit_quantile(u),
        };
        time.clamp(first, last)
    }

    fn density(&self, path: &Path, t: f64) -> f64 {
        let (first, last) = path.time_range();
        if !(first..=last).contains(&t) {
            return 0.0;
        }
        match *self {
            Self::Lognormal { mean, deviation } => {
                let (below, above) = lognormal_ends(path, mean, deviation);
                let point = path.at(t);
                let z = (-point.lambda() - mean) / deviation;
                normal::density(z) / deviation * -point.lambda_dot() / (above - below)
            }
            _ => self.unit_density((t - first) / (last - first)) / (last - first),
        }
    }

    /// The quantile of the laws that live on [0, 1] whatever the path.
    fn unit_quantile(&self, u: f64) -> f64 {
        match *self {
            Self::Uniform | Self::Lognormal { .. } => u,
            Self::LogitNormal { mean, deviation } => 1.0 / (1.0 + (-mean - deviation * normal::quantile(u)).exp()),
            // The paper's u runs the other way.
            Self::Mode { scale } => u * (1.0 + scale) - scale * (FRAC_PI_2 * u).sin().powi(2),
            Self::UShaped { a: 0.0 } => u,
            // The distribution function is 1/2 + sinh(a (t - 1/2)) / (2 sinh(a / 2)).
            Self::UShaped { a } => 0.5 + ((2.0 * u - 1.0) * (0.5 * a).sinh()).asinh() / a,
        }
    }

    /// The density that goes with [`Self::unit_quantile`].
    fn unit_density(&self, t: f64) -> f64 {
        match *self {
            Self::Uniform | Self::Lognormal { .. } => 1.0,
            Self::LogitNormal { mean, deviation } => {
                if t <= 0.0 || t >= 1.0 {
                    return 0.0;
                }
                let z = ((t / (1.0 - t)).ln() - mean) / deviation;
                normal::density(z) / (deviation * t * (1.0 - t))
            }
            Self::Mode { scale } => {
                let u = bisect(|u| self.unit_quantile(u) < t);
                1.0 / (1.0 + scale - scale * FRAC_PI_2 * (PI * u).sin())
            }
            Self::UShaped { a: 0.0 } => 1.0,
            Self::UShaped { a } => 0.5 * a * (a * (t - 0.5)).cosh() / (0.5 * a).sinh(),
        }
    }

    fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        match *self {
            Self::Uniform => {}
            Self::Lognormal { mean, deviation } | Self::LogitNormal { mean, deviation } => {
                problems.check(mean.is_finite(), "mean", "must be finite");
                problems.check(deviation > 0.0 && deviation.is_finite(), "deviation", "must be finite and positive");
            }
            Self::Mode { scale } => {
                let monotone = (-1.0..=2.0 / (PI - 2.0)).contains(&scale);
                problems.check(monotone, "scale", "must be in [-1, 2 / (pi - 2)]");
            }
            // Beyond this the density's middle underflows.
            Self::UShaped { a } => problems.check(a.abs() <= 500.0, "a", "must be in [-500, 500]"),
        }
        problems
    }
}

/// The normal's distribution function at both ends of the path.
fn lognormal_ends(path: &Path, mean: f64, deviation: f64) -> (f64, f64) {
    let (first, last) = path.time_range();
    let below = |t: f64| normal::cumulative((-path.at(t).lambda() - mean) / deviation);
    (below(first), below(last))
}

/// The number in [0, 1] up to which `below` holds.
fn bisect(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::path::{Edm, VpCosine, VpLinear};
    use crate::random::Stream;

    const LAWS: [TimeDistribution; 8] = [
        TimeDistribution::Uniform,
        TimeDistribution::Lognormal { mean: -1.2, deviation: 1.2 },
        TimeDistribution::LogitNormal { mean: 0.0, deviation: 1.0 },
        TimeDistribution::LogitNormal { mean: -0.8, deviation: 0.6 },
        TimeDistribution::Mode { scale: 1.29 },
        TimeDistribution::Mode { scale: -0.7 },
        TimeDistribution::UShaped { a: 4.0 },
        TimeDistribution::UShaped { a: 0.0 },
    ];

    fn paths() -> [Path; 4] {
        [
            Path::LinearFlow,
            Path::Edm(Edm::default()),
            Path::VpLinear(VpLinear::default()),
            Path::VpCosine(VpCosine::default()),
        ]
    }

    proptest! {
        /// The density at a quantile is the reciprocal of the quantile's slope.
        #[test]
        fn quantile_and_density_are_one_law(u in 0.02f64..0.98) {
            for path in paths() {
                for law in LAWS {
                    let h = 1e-6;
                    let slope = (law.quantile(&path, u + h) - law.quantile(&path, u - h)) / (2.0 * h);
                    let density = law.density(&path, law.quantile(&path, u));
                    prop_assert!((slope * density - 1.0).abs() < 1e-5, "{law:?} {path:?}: {slope} {density}");
                }
            }
        }
    }

    #[test]
    fn quantiles_cover_the_range() {
        for path in paths() {
            let (first, last) = path.time_range();
            for law in LAWS {
                assert!(law.validate().is_empty());
                let ends = (law.quantile(&path, 0.0), law.quantile(&path, 1.0));
                assert!((ends.0 - first).abs() < 1e-9 && (ends.1 - last).abs() < 1e-9, "{law:?} {path:?} {ends:?}");
                assert_eq!((law.density(&path, -0.1), law.density(&path, 1.1)), (0.0, 0.0));
            }
        }
    }

    #[test]
    fn densities_have_their_published_values() {
        let at = |law: TimeDistribution, t: f64| law.density(&Path::LinearFlow, t);
        let logit = TimeDistribution::LogitNormal { mean: 0.0, deviation: 1.0 };
        assert!((at(logit, 0.5) - 4.0 / (2.0 * PI).sqrt()).abs() < 1e-14);
        let (a, t) = (4.0_f64, 0.2);
        let mass = 2.0 * (a.exp() - 1.0) / a;
        let shaped = ((a * t).exp() + (a * (1.0 - t)).exp()) / mass;
        assert!((at(TimeDistribution::UShaped { a }, t) / shaped - 1.0).abs() < 1e-14);
        // Esser et al.'s function itself, at its u = 0.3.
        let (scale, u) = (1.29, 0.3_f64);
        let published = 1.0 - u - scale * ((FRAC_PI_2 * u).cos().powi(2) - 1.0 + u);
        let ours = TimeDistribution::Mode { scale }.quantile(&Path::LinearFlow, 1.0 - u);
        assert!((ours - published).abs() < 1e-15);
    }

    #[test]
    fn stratified_times_are_spread_over_the_batch() {
        let key = Key::new(5, Stream::TIME);
        let law = TimeLaw { stratified: true, ..TimeLaw::default() };
        let mut times = law.times(&Path::LinearFlow, &key, 640, 64);
        times.sort_by(f64::total_cmp);
        assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 1.0 / 64.0).abs() < 1e-12));
        // Another batch has another offset.
        let other = law.times(&Path::LinearFlow, &key, 704, 64);
        assert!(other.iter().all(|time| times.iter().all(|t| (t - time).abs() > 1e-9)));
    }

    #[test]
    fn times_drawn_one_by_one_do_not_depend_on_the_batch() {
        let (key, law) = (Key::new(5, Stream::TIME), TimeLaw::default());
        let whole = law.times(&Path::LinearFlow, &key, 100, 8);
        let half = law.times(&Path::LinearFlow, &key, 104, 4);
        assert_eq!(whole[4..], half);
    }

    #[test]
    fn settings_are_read_beside_each_other() {
        let text = r#"{"type": "logit_normal", "mean": 0.5, "stratified": true}"#;
        let law: TimeLaw = serde_json::from_str(text).unwrap();
        let distribution = TimeDistribution::LogitNormal { mean: 0.5, deviation: 1.0 };
        assert_eq!(law, TimeLaw { distribution, stratified: true });
        assert_eq!(serde_json::from_str::<TimeLaw>(&serde_json::to_string(&law).unwrap()).unwrap(), law);
        assert!(serde_json::from_str::<TimeLaw>(r#"{"type": "mode", "mean": 0.5}"#).is_err());
    }
}

//! Probability paths `x_t = alpha(t) x0 + sigma(t) eps`.
//!
//! A path is one file: a struct with its settings that implements [`ProbabilityPath`], one line in [`Path`] and one in
//! `Path::formulas`. All paths share the clock t = 0 (data) to t = 1 (noise) and are monotone: lambda falls with t.
//! A path whose literature has another clock keeps it as its native time, a stated function of t.

mod discrete;
mod edm;
mod linear_flow;
mod sub_vp;
mod trigonometric;
mod ve;
mod vp_cosine;
mod vp_linear;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::PathPoint;
pub use discrete::Discrete;
pub use edm::Edm;
pub use linear_flow::LinearFlow;
pub use sub_vp::SubVp;
pub use trigonometric::Trigonometric;
pub use ve::Ve;
pub use vp_cosine::VpCosine;
pub use vp_linear::VpLinear;

/// The formulas of one path.
pub trait ProbabilityPath {
    /// alpha, sigma and their derivatives at time `t`.
    fn at(&self, t: f64) -> PathPoint;

    /// The time at which `ln(alpha / sigma)` is `lambda`: the inverse of [`PathPoint::lambda`].
    fn time_of_lambda(&self, lambda: f64) -> f64;

    /// The literature's own clock at time `t`.
    fn native_time(&self, t: f64) -> f64 {
        t
    }

    /// The inverse of [`ProbabilityPath::native_time`].
    fn time_of_native(&self, native: f64) -> f64 {
        native
    }

    /// The times in which the path is usable for training and sampling: away from ends where lambda runs off.
    fn time_range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }

    /// Every problem of the settings.
    fn validate(&self) -> Problems {
        Problems::new()
    }
}

/// How data becomes noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Path {
    /// `alpha = 1 - t`, `sigma = t`: rectified flow, conditional flow matching.
    LinearFlow,
    /// Variance preserving with linear beta: continuous DDPM.
    VpLinear(VpLinear),
    /// Variance preserving with a cosine: improved DDPM in continuous time.
    VpCosine(VpCosine),
    /// Variance exploding, geometric in sigma.
    Ve(Ve),
    /// VP's signal with a smaller variance.
    SubVp(SubVp),
    /// `alpha = 1` and EDM's grid of sigma.
    Edm(Edm),
    /// `alpha = cos`, `sigma = sin`: TrigFlow.
    Trigonometric,
    /// The table of a discrete chain: DDPM as published, latent diffusion.
    Discrete(Discrete),
}

impl Path {
    fn formulas(&self) -> &dyn ProbabilityPath {
        match self {
            Self::LinearFlow => &LinearFlow,
            Self::VpLinear(path) => path,
            Self::VpCosine(path) => path,
            Self::Ve(path) => path,
            Self::SubVp(path) => path,
            Self::Edm(path) => path,
            Self::Trigonometric => &Trigonometric,
            Self::Discrete(path) => path,
        }
    }

    /// alpha, sigma and their derivatives at time `t` in [0, 1].
    pub fn at(&self, t: f64) -> PathPoint {
        self.formulas().at(t)
    }

    /// The time at which `ln(alpha / sigma)` is `lambda`.
    ///
    /// A lambda that the path does not reach gives a time outside [0, 1], or the nearest end.
    pub fn time_of_lambda(&self, lambda: f64) -> f64 {
        self.formulas().time_of_lambda(lambda)
    }

    /// The clock of the path's literature at time `t`: sigma for VE and EDM, the angle for the trigonometric path, the
    /// index (0 to steps - 1) for a discrete one, `t` itself for the others.
    pub fn native_time(&self, t: f64) -> f64 {
        self.formulas().native_time(t)
    }

    /// The time at which the literature's clock shows `native`.
    pub fn time_of_native(&self, native: f64) -> f64 {
        self.formulas().time_of_native(native)
    }

    /// First and last time that training and sampling use.
    pub fn time_range(&self) -> (f64, f64) {
        self.formulas().time_range()
    }

    /// Every problem of the settings.
    pub fn validate(&self) -> Problems {
        self.formulas().validate()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::Schedule;

    fn all() -> Vec<Path> {
        vec![
            Path::LinearFlow,
            Path::VpLinear(VpLinear::default()),
            Path::VpCosine(VpCosine::default()),
            Path::VpCosine(VpCosine { s: 0.0 }),
            Path::Ve(Ve::default()),
            Path::SubVp(SubVp::default()),
            Path::Edm(Edm::default()),
            Path::Trigonometric,
            Path::Discrete(Discrete::default()),
            Path::Discrete(Discrete::new(Schedule::default(), 1000, true)),
        ]
    }

    /// A time in the path's range, away from the corners of a discrete table.
    fn time(path: &Path, part: f64) -> f64 {
        let (first, last) = path.time_range();
        let t = first + (last - first) * part;
        if matches!(path, Path::Discrete(_)) { ((1000.0 * t).floor() + 0.25 + 0.5 * part) / 1000.0 } else { t }
    }

    proptest! {
        #[test]
        fn derivatives_are_those_of_the_values(part in 0.01f64..0.99) {
            for path in all() {
                let t = time(&path, part);
                let h = 1e-6;
                let (point, before, after) = (path.at(t), path.at(t - h), path.at(t + h));
                let alpha_dot = (after.alpha - before.alpha) / (2.0 * h);
                let sigma_dot = (after.sigma - before.sigma) / (2.0 * h);
                prop_assert!((alpha_dot - point.alpha_dot).abs() < 1e-6 * (1.0 + alpha_dot.abs()), "{path:?} {t}");
                prop_assert!((sigma_dot - point.sigma_dot).abs() < 1e-6 * (1.0 + sigma_dot.abs()), "{path:?} {t}");
                prop_assert!(point.alpha >= 0.0 && point.sigma >= 0.0 && point.determinant() > 0.0);
                let from_determinant = -point.determinant() / (point.alpha * point.sigma);
                prop_assert!((point.lambda_dot() / from_determinant - 1.0).abs() < 1e-12);
            }
        }

        #[test]
        fn lambda_falls_and_is_inverted(a in 0.0f64..1.0, b in 0.0f64..1.0) {
            prop_assume!((a - b).abs() > 1e-9);
            for path in all() {
                let (first, last) = path.time_range();
                let [a, b] = [a.min(b), a.max(b)].map(|part| first + (last - first) * part);
                let (earlier, later) = (path.at(a).lambda(), path.at(b).lambda());
                prop_assert!(earlier > later, "{path:?}: {earlier} at {a}, {later} at {b}");
                for (t, lambda) in [(a, earlier), (b, later)] {
                    let back = path.time_of_lambda(lambda);
                    prop_assert!((back - t).abs() < 1e-13 + 1e-15 / path.at(t).lambda_dot().abs(), "{path:?} {t} {back}");
                }
            }
        }

        #[test]
        fn native_time_is_inverted(t in 0.0f64..1.0) {
            for path in all() {
                prop_assert!((path.time_of_native(path.native_time(t)) - t).abs() < 1e-13, "{path:?} {t}");
            }
        }

        #[test]
        fn vp_paths_preserve_variance(part in 0.0f64..1.0) {
            for path in all() {
                if matches!(path, Path::Ve(_) | Path::Edm(_) | Path::LinearFlow | Path::SubVp(_)) {
                    continue;
                }
                let point = path.at(time(&path, part));
                prop_assert!((point.alpha.hypot(point.sigma) - 1.0).abs() < 1e-15);
            }
        }

        /// Near data sigma follows its leading term to every digit that the term has.
        #[test]
        fn the_data_end_keeps_its_digits(exponent in -14i32..-9) {
            let t = 10f64.powi(exponent);
            let a0 = VpCosine::default().s / (1.0 + VpCosine::default().s) * std::f64::consts::FRAC_PI_2;
            let cosine = (std::f64::consts::PI * t * a0.tan() / (1.0 + VpCosine::default().s)).sqrt();
            let chain = (-(-1e-4f64).ln_1p() * 1000.0 * t).sqrt();
            let expected = [(0, t), (1, (0.1 * t).sqrt()), (2, cosine), (5, 0.1 * t), (8, chain)];
            for (path, sigma) in expected {
                let (path, point) = (&all()[path], all()[path].at(t));
                prop_assert!((point.sigma / sigma - 1.0).abs() < 1e-6, "{path:?} {}", point.sigma);
                let back = path.time_of_lambda(point.lambda());
                prop_assert!((back / t - 1.0).abs() < 1e-6, "{path:?} {back} {t}");
            }
        }
    }

    #[test]
    fn the_noise_end_is_reached() {
        for path in [Path::LinearFlow, Path::Trigonometric, Path::VpCosine(VpCosine::default())] {
            let end = path.at(1.0);
            assert_eq!((end.alpha, end.lambda()), (0.0, f64::NEG_INFINITY), "{path:?}");
            assert!((end.sigma - 1.0).abs() < 1e-15, "{path:?}");
            assert!((path.time_of_lambda(f64::NEG_INFINITY) - 1.0).abs() < 1e-15, "{path:?}");
        }
        for path in [Path::LinearFlow, Path::Trigonometric, Path::VpCosine(VpCosine { s: 0.0 })] {
            assert_eq!((path.at(0.0).sigma, path.time_of_lambda(f64::INFINITY)), (0.0, 0.0), "{path:?}");
        }
    }

    #[test]
    fn edm_and_ve_run_between_their_noise_levels() {
        for (path, low, high) in [(Path::Edm(Edm::default()), 0.002, 80.0), (Path::Ve(Ve::default()), 0.01, 50.0)] {
            assert!((path.at(0.0).sigma / low - 1.0).abs() < 1e-14);
            assert!((path.at(1.0).sigma / high - 1.0).abs() < 1e-14);
            assert!((path.native_time(0.3) - path.at(0.3).sigma).abs() < 1e-15);
        }
    }

    #[test]
    fn settings_are_read_with_defaults_and_checked() {
        let read = |text: &str| serde_json::from_str::<Path>(text);
        assert_eq!(read(r#"{"type": "linear_flow"}"#).unwrap(), Path::LinearFlow);
        assert_eq!(read(r#"{"type": "edm"}"#).unwrap(), Path::Edm(Edm::default()));
        let chain = read(r#"{"type": "discrete", "schedule": {"type": "cosine"}, "zero_terminal_snr": true}"#).unwrap();
        assert_eq!(chain, Path::Discrete(Discrete::new(Schedule::named("cosine").unwrap(), 1000, true)));
        assert_eq!(read(&serde_json::to_string(&chain).unwrap()).unwrap(), chain);
        assert!(read(r#"{"type": "edm", "sigma": 1}"#).unwrap_err().to_string().contains("sigma_min"));
        assert!(all().iter().all(|path| path.validate().is_empty()));
        let bad = Path::Edm(Edm { sigma_min: 0.0, sigma_max: -1.0, rho: f64::NAN });
        let keys: Vec<String> = bad.validate().iter().map(|problem| problem.key.clone()).collect();
        assert_eq!(keys, ["sigma_min", "sigma_max", "rho"]);
        assert!(!Path::Discrete(Discrete::new(Schedule::default(), 1, false)).validate().is_empty());
        let steep = Schedule::LinearOpenaiScaled { beta_start: 1e-4, beta_end: 0.02 };
        assert!(!Path::Discrete(Discrete::new(steep, 10, false)).validate().is_empty());
    }
}

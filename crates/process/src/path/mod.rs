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

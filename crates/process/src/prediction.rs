//! What a network's output stands for, and the linear maps between the possibilities.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::PathPoint;

/// A linear reading of a network: `x X + prediction P` of the state X and the network's output P.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// Coefficient of the state.
    pub x: f64,
    /// Coefficient of the network's output.
    pub prediction: f64,
}

/// A training target: `data x0 + noise eps`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Coefficient of clean data.
    pub data: f64,
    /// Coefficient of the noise.
    pub noise: f64,
}

/// What a network's output stands for.
///
/// All are linear in (x0, eps), and given the state each determines the others. V, velocity and F can be read at both
/// ends of a path; epsilon and score say nothing about the data where alpha is 0, nor data about the noise where sigma
/// is 0: the coefficients are infinite there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Prediction {
    /// The noise eps (Ho et al. 2020).
    Epsilon,
    /// The clean data x0.
    Data,
    /// `v = alpha eps - sigma x0` (Salimans and Ho 2022).
    V,
    /// The score of the noisy density, `-eps / sigma` (Song et al. 2021).
    Score,
    /// The velocity of the path, `alpha' x0 + sigma' eps`; on the linear path `eps - x0` (Lipman et al. 2023).
    Velocity,
    /// The raw network F of EDM's preconditioning (Karras et al. 2022, eq. 7), on `x / alpha` with noise level
    /// `sigma / alpha`. It equals -v of data divided by `sigma_data`, normalised to unit variance.
    EdmF {
        /// Standard deviation of the data.
        #[serde(default = "half")]
        sigma_data: f64,
    },
}

fn half() -> f64 {
    0.5
}

impl Prediction {
    /// What the network is trained to output.
    pub fn target(&self, point: &PathPoint) -> Target {
        let PathPoint { alpha, sigma, alpha_dot, sigma_dot, .. } = *point;
        match *self {
            Self::Epsilon => Target { data: 0.0, noise: 1.0 },
            Self::Data => Target { data: 1.0, noise: 0.0 },
            Self::V => Target { data: -sigma, noise: alpha },
            Self::Score => Target { data: 0.0, noise: -1.0 / sigma },
            Self::Velocity => Target { data: alpha_dot, noise: sigma_dot },
            Self::EdmF { sigma_data } => {
                let deviation = sigma.hypot(alpha * sigma_data);
                Target { data: sigma / (deviation * sigma_data), noise: -alpha * sigma_data / deviation }
            }
        }
    }

    /// Clean data from state and output: `x0 = x X + prediction P`.
    pub fn data_from(&self, point: &PathPoint) -> Linear {
        let PathPoint { alpha, sigma, sigma_dot, .. } = *point;
        match *self {
            Self::Epsilon => Linear { x: 1.0 / alpha, prediction: -sigma / alpha },
            Self::Data => Linear { x: 0.0, prediction: 1.0 },
            Self::V => {
                let square = alpha * alpha + sigma * sigma;
                Linear { x: alpha / square, prediction: -sigma / square }
            }
            Self::Score => Linear { x: 1.0 / alpha, prediction: sigma * sigma / alpha },
            Self::Velocity => {
                let determinant = point.determinant();
                Linear { x: sigma_dot / determinant, prediction: -sigma / determinant }
            }
            // c_skip and c_out at sigma / alpha.
            Self::EdmF { sigma_data } => {
                let deviation = sigma.hypot(alpha * sigma_data);
                Linear { x: alpha * (sigma_data / deviation).powi(2), prediction: sigma * sigma_data / deviation }
            }
        }
    }

    /// Noise from state and output: `eps = x X + prediction P`.
    pub fn noise_from(&self, point: &PathPoint) -> Linear {
        let PathPoint { alpha, sigma, alpha_dot, .. } = *point;
        match *self {
            Self::Epsilon => Linear { x: 0.0, prediction: 1.0 },
            Self::Data => Linear { x: 1.0 / sigma, prediction: -alpha / sigma },
            Self::V => {
                let square = alpha * alpha + sigma * sigma;
                Linear { x: sigma / square, prediction: alpha / square }
            }
            Self::Score => Linear { x: 0.0, prediction: -sigma },
            Self::Velocity => {
                let determinant = point.determinant();
                Linear { x: -alpha_dot / determinant, prediction: alpha / determinant }
            }
            Self::EdmF { sigma_data } => {
                let deviation = sigma.hypot(alpha * sigma_data);
                Linear { x: sigma / (deviation * deviation), prediction: -alpha * sigma_data / deviation }
            }
        }
    }

    /// Another prediction from state and this one's output.
    pub fn convert(&self, other: &Self, point: &PathPoint) -> Linear {
        if self == other {
            return Linear { x: 0.0, prediction: 1.0 };
        }
        let (data, noise) = (self.data_from(point), self.noise_from(point));
        // A target without noise (or data) must not multiply an infinite coefficient by zero.
        let combine = |factor: f64, coefficient: f64| if factor == 0.0 { 0.0 } else { factor * coefficient };
        let target = other.target(point);
        Linear {
            x: combine(target.data, data.x) + combine(target.noise, noise.x),
            prediction: combine(target.data, data.prediction) + combine(target.noise, noise.prediction),
        }
    }

    /// Every problem of the settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        if let Self::EdmF { sigma_data } = *self {
            problems.check(sigma_data > 0.0 && sigma_data.is_finite(), "sigma_data", "must be finite and positive");
        }
        problems
    }
}

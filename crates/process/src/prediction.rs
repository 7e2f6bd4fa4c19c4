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
/// ends of a path; epsilon and scores say nothing about the data where alpha is 0, nor data about the noise where sigma
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
    /// The score times the noise's deviation, `-eps` (EDM's form of variance-exploding networks).
    ScaledScore,
    /// The velocity of the path, `alpha' x0 + sigma' eps`; on the linear path `eps - x0` (Lipman et al. 2023).
    Velocity,
    /// The raw network F of EDM's preconditioning (Karras et al. 2022, eq. 7), on `x / alpha` with noise level
    /// `sigma / alpha`. It equals -v of data divided by `sigma_data`, normalised to unit variance.
    EdmF {
        /// Standard deviation of the data.
        #[serde(default = "half")]
        sigma_data: f64,
    },
    /// The raw network F of consistency models (Song et al. 2023, appendix C): EDM's, with coefficients moved so that the
    /// data read at the noise level `sigma_min` are `x / alpha` itself, whatever the network gives. Not for states without
    /// signal.
    ConsistencyF {
        /// Standard deviation of the data.
        #[serde(default = "half")]
        sigma_data: f64,
        /// The noise level `sigma / alpha` at which states count as data.
        #[serde(default = "lowest")]
        sigma_min: f64,
    },
}

fn half() -> f64 {
    0.5
}

fn lowest() -> f64 {
    0.002
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
            Self::ScaledScore => Target { data: 0.0, noise: -1.0 },
            Self::Velocity => Target { data: alpha_dot, noise: sigma_dot },
            Self::EdmF { sigma_data } => {
                let deviation = sigma.hypot(alpha * sigma_data);
                Target { data: sigma / (deviation * sigma_data), noise: -alpha * sigma_data / deviation }
            }
            // What is left of x0 when c_skip (x0 + rho eps) is taken away, over c_out.
            Self::ConsistencyF { sigma_data, sigma_min } => {
                let (rho, above) = (point.rho(), point.rho() - sigma_min);
                let (deviation, shifted) = (rho.hypot(sigma_data), above.hypot(sigma_data));
                let factor = deviation / (shifted * shifted);
                Target { data: factor * above / sigma_data, noise: -factor * sigma_data * (rho / above) }
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
            Self::ScaledScore => Linear { x: 1.0 / alpha, prediction: sigma / alpha },
            Self::Velocity => {
                let determinant = point.determinant();
                Linear { x: sigma_dot / determinant, prediction: -sigma / determinant }
            }
            // c_skip and c_out at sigma / alpha.
            Self::EdmF { sigma_data } => {
                let deviation = sigma.hypot(alpha * sigma_data);
                Linear { x: alpha * (sigma_data / deviation).powi(2), prediction: sigma * sigma_data / deviation }
            }
            // c_skip and c_out, moved.
            Self::ConsistencyF { sigma_data, sigma_min } => {
                let (rho, above) = (point.rho(), point.rho() - sigma_min);
                let skip = (sigma_data / above.hypot(sigma_data)).powi(2);
                Linear { x: skip / alpha, prediction: above * (sigma_data / rho.hypot(sigma_data)) }
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
            Self::ScaledScore => Linear { x: 0.0, prediction: -1.0 },
            Self::Velocity => {
                let determinant = point.determinant();
                Linear { x: -alpha_dot / determinant, prediction: alpha / determinant }
            }
            Self::EdmF { sigma_data } => {
                let deviation = sigma.hypot(alpha * sigma_data);
                Linear { x: sigma / (deviation * deviation), prediction: -alpha * sigma_data / deviation }
            }
            Self::ConsistencyF { .. } => {
                let data = self.data_from(point);
                Linear { x: (1.0 - alpha * data.x) / sigma, prediction: -alpha * data.prediction / sigma }
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
        if let Self::EdmF { sigma_data } | Self::ConsistencyF { sigma_data, .. } = *self {
            problems.check(sigma_data > 0.0 && sigma_data.is_finite(), "sigma_data", "must be finite and positive");
        }
        if let Self::ConsistencyF { sigma_min, .. } = *self {
            problems.check(sigma_min >= 0.0 && sigma_min.is_finite(), "sigma_min", "must be finite and not negative");
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Prediction; 9] = [
        Prediction::Epsilon,
        Prediction::Data,
        Prediction::V,
        Prediction::Score,
        Prediction::ScaledScore,
        Prediction::Velocity,
        Prediction::EdmF { sigma_data: 0.5 },
        Prediction::EdmF { sigma_data: 1.3 },
        Prediction::ConsistencyF { sigma_data: 0.5, sigma_min: 0.002 },
    ];

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + b.abs())
    }

    prop_compose! {
        /// Any point at which the state and its velocity determine data and noise.
        fn points()(alpha in 0.05f64..2.0, sigma in 0.05f64..2.0, fall in 0.1f64..5.0, rise in 0.1f64..5.0) -> PathPoint {
            PathPoint { t: 0.5, alpha, sigma, alpha_dot: -fall, sigma_dot: rise }
        }
    }

    proptest! {
        #[test]
        fn data_and_noise_come_back(point in points(), data in -3.0f64..3.0, noise in -3.0f64..3.0) {
            let x = point.alpha * data + point.sigma * noise;
            let outputs = ALL.map(|prediction| {
                let target = prediction.target(&point);
                target.data * data + target.noise * noise
            });
            for (prediction, output) in ALL.iter().zip(outputs) {
                let read = |map: Linear| map.x * x + map.prediction * output;
                prop_assert!(close(read(prediction.data_from(&point)), data), "{prediction:?}");
                prop_assert!(close(read(prediction.noise_from(&point)), noise), "{prediction:?}");
                for (other, expected) in ALL.iter().zip(outputs) {
                    prop_assert!(close(read(prediction.convert(other, &point)), expected), "{prediction:?} {other:?}");
                }
            }
        }

        /// Karras et al. 2022, table 1, as printed.
        #[test]
        fn edm_is_its_preconditioning(sigma in 0.002f64..80.0, sigma_data in 0.1f64..2.0) {
            let point = PathPoint { t: 0.5, alpha: 1.0, sigma, alpha_dot: 0.0, sigma_dot: 1.0 };
            let square = sigma.powi(2) + sigma_data.powi(2);
            let map = Prediction::EdmF { sigma_data }.data_from(&point);
            prop_assert!(close(map.x, sigma_data.powi(2) / square));
            prop_assert!(close(map.prediction, sigma * sigma_data / square.sqrt()));
        }

        /// Song et al. 2023, appendix C, as printed; without a lowest noise level it is EDM's.
        #[test]
        fn consistency_is_its_preconditioning(sigma in 0.002f64..80.0, sigma_data in 0.1f64..2.0) {
            let point = PathPoint { t: 0.5, alpha: 1.0, sigma, alpha_dot: 0.0, sigma_dot: 1.0 };
            let (above, deviation) = (sigma - 0.002, (sigma.powi(2) + sigma_data.powi(2)).sqrt());
            let map = Prediction::ConsistencyF { sigma_data, sigma_min: 0.002 }.data_from(&point);
            prop_assert!(close(map.x, sigma_data.powi(2) / (above.powi(2) + sigma_data.powi(2))));
            prop_assert!(close(map.prediction, sigma_data * above / deviation));
            let (edm, moved) = (Prediction::EdmF { sigma_data }, Prediction::ConsistencyF { sigma_data, sigma_min: 0.0 });
            let (edm, moved) = (edm.data_from(&point), moved.data_from(&point));
            prop_assert!(close(edm.x, moved.x) && close(edm.prediction, moved.prediction));
        }

        /// F is the negative v of unit-variance data on the unit circle.
        #[test]
        fn edm_is_negative_v(sigma in 0.002f64..80.0, sigma_data in 0.1f64..2.0) {
            let point = PathPoint { t: 0.5, alpha: 1.0, sigma, alpha_dot: 0.0, sigma_dot: 1.0 };
            let (sine, cosine) = (sigma / sigma_data).atan().sin_cos();
            let circle = PathPoint { alpha: cosine, sigma: sine, ..point };
            let (f, v) = (Prediction::EdmF { sigma_data }.target(&point), Prediction::V.target(&circle));
            prop_assert!(close(f.data * sigma_data, -v.data) && close(f.noise, -v.noise));
        }
    }

    #[test]
    fn v_velocity_and_f_are_read_at_both_ends() {
        for (alpha, sigma) in [(1.0, 0.0), (0.0, 1.0)] {
            let point = PathPoint { t: sigma, alpha, sigma, alpha_dot: -1.0, sigma_dot: 1.0 };
            for prediction in [Prediction::V, Prediction::Velocity, Prediction::EdmF { sigma_data: 0.5 }] {
                for map in [prediction.data_from(&point), prediction.noise_from(&point)] {
                    assert!(map.x.is_finite() && map.prediction.is_finite(), "{prediction:?} {alpha}");
                }
            }
        }
    }

    #[test]
    fn states_of_the_lowest_noise_are_data() {
        let prediction = Prediction::ConsistencyF { sigma_data: 0.5, sigma_min: 0.002 };
        let point = PathPoint { t: 0.0, alpha: 1.0, sigma: 0.002, alpha_dot: 0.0, sigma_dot: 1.0 };
        assert_eq!(prediction.data_from(&point), Linear { x: 1.0, prediction: 0.0 });
    }

    #[test]
    fn linear_flow_reads_as_published() {
        let point = crate::Path::LinearFlow.at(0.3);
        let (data, noise) = (Prediction::Velocity.data_from(&point), Prediction::Velocity.noise_from(&point));
        assert!(close(data.x, 1.0) && close(data.prediction, -0.3));
        assert!(close(noise.x, 1.0) && close(noise.prediction, 0.7));
    }
}

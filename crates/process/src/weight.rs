//! Weights of the loss over time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::{PathPoint, Prediction};

/// The multiplier on the squared error of a network's prediction.
///
/// Every recipe but [`Weight::Uniform`] is a multiplier on the error of some reference prediction and is carried over
/// to the network's own: for a given state, `|d Y| = |dY/dP| |d P|`. A recipe therefore means the same loss whatever
/// the network predicts. (For two recipes the losses agree where their products of weight and time density, per
/// lambda, agree: Kingma and Gao 2023.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Weight {
    /// 1 on the network's own prediction, whatever it is.
    #[default]
    Uniform,
    /// 1 on another prediction: DDPM's simple loss is that of `epsilon`.
    LossOf {
        /// The prediction whose error counts.
        prediction: Prediction,
    },
    /// The variational bound: with uniform t the loss is the continuous-time negative log-likelihood bound in nats (but
    /// for its constant terms and the path's ends), `-lambda'(t) |d eps|^2` (Kingma et al. 2021, eq. 17). Under
    /// another time law divide by its density.
    Vlb,
    /// `min(SNR, gamma)` on data (Hang et al. 2023).
    MinSnr {
        /// Where the weight stops growing.
        #[serde(default = "five")]
        gamma: f64,
    },
    /// `(k + SNR)^-gamma` on epsilon (Choi et al. 2022).
    P2 {
        /// Offset of the SNR.
        #[serde(default = "one")]
        k: f64,
        /// Power.
        #[serde(default = "one")]
        gamma: f64,
    },
    /// EDM's: 1 on its F (Karras et al. 2022, table 1).
    Edm {
        /// Standard deviation of the data.
        #[serde(default = "half")]
        sigma_data: f64,
    },
    /// The variational bound times `sigmoid(bias - 2 lambda)` (Kingma and Gao 2023; Hoogeboom et al. 2024).
    Sigmoid {
        /// The log-SNR, `2 lambda`, around which the weight fades.
        #[serde(default)]
        bias: f64,
    },
}

fn half() -> f64 {
    0.5
}
fn one() -> f64 {
    1.0
}
fn five() -> f64 {
    5.0
}

impl Weight {
    /// The multiplier on the squared error of `prediction` at `point`.
    pub fn weight(&self, point: &PathPoint, prediction: &Prediction) -> f64 {
        let of = |reference: Prediction, factor: f64| factor * prediction.convert(&reference, point).prediction.powi(2);
        match *self {
            Self::Uniform => 1.0,
            Self::LossOf { prediction: reference } => of(reference, 1.0),
            Self::Vlb => of(Prediction::Epsilon, -point.lambda_dot()),
            Self::MinSnr { gamma } => of(Prediction::Data, point.snr().min(gamma)),
            Self::P2 { k, gamma } => of(Prediction::Epsilon, (k + point.snr()).powf(-gamma)),
            Self::Edm { sigma_data } => of(Prediction::EdmF { sigma_data }, 1.0),
            Self::Sigmoid { bias } => {
                let kept = 1.0 / (1.0 + (2.0 * point.lambda() - bias).exp());
                of(Prediction::Epsilon, -point.lambda_dot() * kept)
            }
        }
    }

    /// Every problem of the settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        match *self {
            Self::Uniform | Self::Vlb => {}
            Self::LossOf { prediction } => problems.nest("prediction", prediction.validate()),
            Self::MinSnr { gamma } => problems.check(gamma > 0.0, "gamma", "must be positive"),
            Self::P2 { k, gamma } => {
                problems.check(k >= 0.0 && k.is_finite(), "k", "must be finite and not negative");
                problems.check(gamma >= 0.0 && gamma.is_finite(), "gamma", "must be finite and not negative");
            }
            Self::Edm { sigma_data } => {
                problems.check(sigma_data > 0.0 && sigma_data.is_finite(), "sigma_data", "must be finite and positive");
            }
            Self::Sigmoid { bias } => problems.check(bias.is_finite(), "bias", "must be finite"),
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use proptest::prelude::*;

    use super::*;
    use crate::path::{Edm, VpLinear};
    use crate::{Path, TimeDistribution, TimeLaw, normal};

    /// What a recipe comes to: its multiplier on the epsilon loss times the density of half log-SNR, at `lambda`.
    /// Two recipes with proportional values have the same expected gradient.
    fn effective(path: &Path, law: &TimeLaw, weight: Weight, prediction: Prediction, lambda: f64) -> f64 {
        let point = path.at(path.time_of_lambda(lambda));
        let on_epsilon = weight.weight(&point, &prediction) / prediction.noise_from(&point).prediction.powi(2);
        on_epsilon * law.density(path, point.t) / point.lambda_dot().abs()
    }

    const RECIPES: [Weight; 7] = [
        Weight::LossOf { prediction: Prediction::Velocity },
        Weight::Vlb,
        Weight::MinSnr { gamma: 5.0 },
        Weight::P2 { k: 1.0, gamma: 1.0 },
        Weight::Edm { sigma_data: 0.5 },
        Weight::Sigmoid { bias: 1.0 },
        Weight::LossOf { prediction: Prediction::Epsilon },
    ];

    proptest! {
        /// Densities in the table of Kingma and Gao's weights are over the log-SNR `l = 2 lambda`: half of ours.
        #[test]
        fn recipes_have_their_published_weights(lambda in -3.0f64..3.0) {
            let uniform = TimeLaw::default();
            let flow = effective(&Path::LinearFlow, &uniform, Weight::Uniform, Prediction::Velocity, lambda) / 2.0;
            prop_assert!((flow - (-lambda).exp() / 2.0).abs() < 1e-12 * flow);
            let v = effective(&Path::Trigonometric, &uniform, Weight::Uniform, Prediction::V, lambda) / 2.0;
            prop_assert!((v - (-lambda).exp() / PI).abs() < 1e-12 * v);
            let simple = effective(&Path::Trigonometric, &uniform, Weight::Uniform, Prediction::Epsilon, lambda) / 2.0;
            prop_assert!((simple - 1.0 / (2.0 * PI * lambda.cosh())).abs() < 1e-12 * simple);
            let lognormal = TimeLaw {
                distribution: TimeDistribution::Lognormal { mean: -1.2, deviation: 1.2 },
                stratified: false,
            };
            let edm = Prediction::EdmF { sigma_data: 0.5 };
            let edm = effective(&Path::Edm(Edm::default()), &lognormal, Weight::Uniform, edm, lambda);
            let published = normal::density((-lambda + 1.2) / 1.2) / 1.2 * (1.0 + (-2.0 * lambda).exp() / 0.25);
            // Our lognormal is cut off where the path ends: 2e-5 of its mass.
            prop_assert!((edm / published - 1.0).abs() < 4e-5);
        }

        /// The same recipe on two networks is the same loss.
        #[test]
        fn a_recipe_does_not_depend_on_the_prediction(t in 0.01f64..0.99) {
            let predictions = [Prediction::Epsilon, Prediction::Data, Prediction::V, Prediction::Score, Prediction::Velocity];
            for path in [Path::LinearFlow, Path::VpLinear(VpLinear::default())] {
                let point = path.at(t);
                for weight in RECIPES {
                    let on_epsilon = predictions.map(|p| weight.weight(&point, &p) / p.noise_from(&point).prediction.powi(2));
                    prop_assert!(on_epsilon.iter().all(|w| (w / on_epsilon[0] - 1.0).abs() < 1e-9), "{weight:?} {on_epsilon:?}");
                }
            }
        }

        /// The bound does not depend on the path between its ends.
        #[test]
        fn the_bound_weighs_every_lambda_alike(lambda in -4.0f64..4.0) {
            for path in [Path::LinearFlow, Path::Trigonometric, Path::VpLinear(VpLinear::default())] {
                let (first, last) = path.time_range();
                let weight = effective(&path, &TimeLaw::default(), Weight::Vlb, Prediction::V, lambda) * (last - first);
                prop_assert!((weight - 1.0).abs() < 1e-9, "{path:?} {weight}");
            }
        }

        #[test]
        fn min_snr_is_as_published(t in 0.01f64..0.99, gamma in 1.0f64..10.0) {
            let point = Path::VpLinear(VpLinear::default()).at(t);
            let (snr, weight) = (point.snr(), Weight::MinSnr { gamma });
            let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-12;
            prop_assert!(close(weight.weight(&point, &Prediction::Data), snr.min(gamma)));
            prop_assert!(close(weight.weight(&point, &Prediction::Epsilon), snr.min(gamma) / snr));
            prop_assert!(close(weight.weight(&point, &Prediction::V), snr.min(gamma) / (snr + 1.0)));
        }

        /// Karras et al. 2022, table 1: the weight on the denoiser's error.
        #[test]
        fn edm_is_as_published(t in 0.0f64..1.0, sigma_data in 0.1f64..2.0) {
            let point = Path::Edm(Edm::default()).at(t);
            let published = (point.sigma.powi(2) + sigma_data.powi(2)) / (point.sigma * sigma_data).powi(2);
            let weight = Weight::Edm { sigma_data }.weight(&point, &Prediction::Data);
            prop_assert!((weight / published - 1.0).abs() < 1e-12);
            let own = Weight::Edm { sigma_data }.weight(&point, &Prediction::EdmF { sigma_data });
            prop_assert!((own - 1.0).abs() < 1e-12);
        }
    }
}

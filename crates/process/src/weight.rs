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

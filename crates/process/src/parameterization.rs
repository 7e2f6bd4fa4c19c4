//! How a network is fed and read.

use std::f64::consts::LN_2;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::prediction::Linear;
use crate::{Path, PathPoint, Prediction};

/// The factor on the state before it enters a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum InputScale {
    /// None: the state itself.
    #[default]
    None,
    /// To unit variance: `1 / sqrt(alpha^2 sigma_data^2 + sigma^2)` (EDM's `c_in`, Karras et al. 2022, table 1).
    UnitVariance {
        /// Standard deviation of the data.
        #[serde(default = "half")]
        sigma_data: f64,
    },
}

fn half() -> f64 {
    0.5
}

impl InputScale {
    /// The factor at a point.
    pub fn scale(&self, point: &PathPoint) -> f64 {
        match *self {
            Self::None => 1.0,
            Self::UnitVariance { sigma_data } => 1.0 / point.sigma.hypot(point.alpha * sigma_data),
        }
    }

    /// Every problem of the settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        if let Self::UnitVariance { sigma_data } = *self {
            problems.check(sigma_data > 0.0 && sigma_data.is_finite(), "sigma_data", "must be finite and positive");
        }
        problems
    }
}

/// The number by which a network is told the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeLabel {
    /// `t`.
    Unit,
    /// `1000 t`: fits the sinusoidal embeddings that were made for the indices of DDPM.
    #[default]
    Thousand,
    /// `factor t`.
    Scaled {
        /// What time 1 is told as (999 in EDM's form of variance-preserving networks).
        factor: f64,
    },
    /// The index of a chain of so many steps, `steps t - 1`, fractional between indices; 0 at the least.
    Index {
        /// Steps of the chain.
        #[serde(default = "thousand")]
        steps: usize,
    },
    /// The index of the chain's level whose noise `sigma / alpha` is nearest (EDM's form of improved DDPM's networks).
    NearestIndex {
        /// Steps of the chain.
        #[serde(default = "thousand")]
        steps: usize,
    },
    /// `ln(sigma / alpha) / 4` (EDM's `c_noise`, Karras et al. 2022, table 1).
    LogSigma,
    /// `ln(sigma / (2 alpha))` (EDM's form of variance-exploding networks).
    LogHalfSigma,
    /// `lambda = ln(alpha / sigma)`.
    HalfLogSnr,
    /// The path's native time: sigma, angle, index (see [`Path::native_time`]).
    Native,
}

fn thousand() -> usize {
    1000
}

impl TimeLabel {
    /// The label of a point of `path`.
    pub fn label(&self, path: &Path, point: &PathPoint) -> f64 {
        match *self {
            Self::Unit => point.t,
            Self::Thousand => 1000.0 * point.t,
            Self::Scaled { factor } => factor * point.t,
            Self::Index { steps } => (steps as f64 * point.t - 1.0).max(0.0),
            Self::NearestIndex { steps } => nearest_index(steps, path, point),
            Self::LogSigma => -0.25 * point.lambda(),
            Self::LogHalfSigma => -point.lambda() - LN_2,
            Self::HalfLogSnr => point.lambda(),
            Self::Native => path.native_time(point.t),
        }
    }

    /// Every problem of the settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        match *self {
            Self::Index { steps } | Self::NearestIndex { steps } => {
                problems.check(steps > 0, "steps", "must be positive");
            }
            Self::Scaled { factor } => {
                problems.check(factor > 0.0 && factor.is_finite(), "factor", "must be finite and positive");
            }
            _ => {}
        }
        problems
    }
}

/// Of the two levels that enclose a point, the one whose noise is nearer; the first and last level beyond the ends.
fn nearest_index(steps: usize, path: &Path, point: &PathPoint) -> f64 {
    let last = steps as f64 - 1.0;
    let below = (steps as f64 * point.t - 1.0).floor().clamp(0.0, last);
    let above = (below + 1.0).min(last);
    let distance = |index: f64| {
        let level = path.at((index + 1.0) / steps as f64);
        (level.sigma / level.alpha - point.sigma / point.alpha).abs()
    };
    if distance(above) < distance(below) { above } else { below }
}

/// How a network is fed and read at one point of its path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The factor on the state before it enters the network.
    pub scale: f64,
    /// The number by which the network is told the time.
    pub label: f64,
    /// Clean data from state and output.
    pub data: Linear,
}

/// Everything needed to feed a network and to read its output. It is part of every checkpoint: weights without it say
/// nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameterization {
    /// The path it was trained on.
    pub path: Path,
    /// What its output stands for.
    pub prediction: Prediction,
    /// The factor on its input.
    #[serde(default)]
    pub input_scale: InputScale,
    /// The number by which it is told the time.
    #[serde(default)]
    pub time_label: TimeLabel,
}

impl Parameterization {
    /// Clean data from state and output.
    pub fn data_from(&self, point: &PathPoint) -> Linear {
        self.prediction.data_from(point)
    }

    /// Noise from state and output.
    pub fn noise_from(&self, point: &PathPoint) -> Linear {
        self.prediction.noise_from(point)
    }

    /// How the network is fed and read at a point.
    pub fn reading(&self, point: &PathPoint) -> Reading {
        Reading {
            scale: self.input_scale.scale(point),
            label: self.time_label.label(&self.path, point),
            data: self.data_from(point),
        }
    }

    /// First and last time at which clean data can be read from the network: those of the path, but that epsilon, score
    /// and consistency models' F are not read where alpha is nearly 0, since they are divided by it.
    pub fn time_range(&self) -> (f64, f64) {
        /// The lambda of EDM's noisiest level, `-ln 80`.
        const NOISIEST: f64 = -4.382_026_634_673_881;
        let (first, last) = self.path.time_range();
        match self.prediction {
            Prediction::Epsilon | Prediction::Score | Prediction::ScaledScore | Prediction::ConsistencyF { .. }
                if self.path.at(last).alpha < 1e-3 =>
            {
                (first, self.path.time_of_lambda(NOISIEST).min(last))
            }
            _ => (first, last),
        }
    }

    /// Every problem of the settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.nest("path", self.path.validate());
        problems.nest("prediction", self.prediction.validate());
        problems.nest("input_scale", self.input_scale.validate());
        problems.nest("time_label", self.time_label.validate());
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Discrete, Edm};

    #[test]
    fn labels_are_those_of_the_literature() {
        let edm = Path::Edm(Edm::default());
        let point = edm.at(0.4);
        assert!((TimeLabel::LogSigma.label(&edm, &point) - point.sigma.ln() / 4.0).abs() < 1e-15);
        assert!((TimeLabel::Native.label(&edm, &point) - point.sigma).abs() < 1e-15);
        let scale = InputScale::UnitVariance { sigma_data: 0.5 }.scale(&point);
        assert!((scale - 1.0 / (point.sigma.powi(2) + 0.25).sqrt()).abs() < 1e-15);

        let chain = Path::Discrete(Discrete::default());
        let point = chain.at(chain.time_of_native(250.0));
        for label in [TimeLabel::Native, TimeLabel::Index { steps: 1000 }] {
            assert!((label.label(&chain, &point) - 250.0).abs() < 1e-10);
        }
        assert_eq!(TimeLabel::Thousand.label(&Path::LinearFlow, &Path::LinearFlow.at(0.25)), 250.0);
    }

    #[test]
    fn data_can_be_read_in_the_whole_range() {
        for path in
            [Path::LinearFlow, Path::Trigonometric, Path::Discrete(Discrete::new(Default::default(), 1000, true))]
        {
            for prediction in [Prediction::Epsilon, Prediction::Score, Prediction::Velocity, Prediction::V] {
                let parameterization = Parameterization {
                    path: path.clone(),
                    prediction,
                    input_scale: Default::default(),
                    time_label: Default::default(),
                };
                let (first, last) = parameterization.time_range();
                let map = parameterization.data_from(&path.at(last));
                assert!(first < last && map.x.abs() < 100.0 && map.prediction.abs() < 100.0, "{path:?} {prediction:?}");
            }
        }
    }

    #[test]
    fn a_parameterization_survives_its_checkpoint() {
        let text = r#"{"path": {"type": "edm"}, "prediction": {"type": "edm_f"},
                       "input_scale": {"type": "unit_variance"}, "time_label": {"type": "log_sigma"}}"#;
        let read: Parameterization = serde_json::from_str(text).unwrap();
        assert_eq!(read.prediction, Prediction::EdmF { sigma_data: 0.5 });
        assert_eq!(serde_json::from_str::<Parameterization>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
        assert!(read.validate().is_empty());
    }
}

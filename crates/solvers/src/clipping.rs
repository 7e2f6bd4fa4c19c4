//! Keeping the expected data in the range of the data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

/// What is done to the expected data of each evaluation before a solver uses them. Only for data known to be in [-1, 1]:
/// pixels, not latents. It breaks a solver's order, and inversion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Clipping {
    /// Clip to a fixed range (Ho et al. 2020).
    Clamp(Clamp),
    /// Clip to a range that each sample chooses, and scale back (Saharia et al. 2022, section 2.3).
    Threshold(Threshold),
}

/// Clips to `[-limit, limit]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Clamp {
    /// Largest absolute value left, > 0.
    pub limit: f64,
}

impl Default for Clamp {
    fn default() -> Self {
        Self { limit: 1.0 }
    }
}

/// With `s` the `ratio` quantile of a sample's absolute values, at least 1 and at most `maximum`: clips to `[-s, s]`
/// and divides by `s`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Threshold {
    /// Quantile in [0, 1].
    pub ratio: f64,
    /// Largest `s`, >= 1. 1 is plain clipping.
    pub maximum: f64,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { ratio: 0.995, maximum: 1.5 }
    }
}

impl Clipping {
    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        match self {
            Self::Clamp(clamp) => problems.check(clamp.limit > 0.0, "limit", "must be above 0"),
            Self::Threshold(threshold) => {
                problems.check((0.0..=1.0).contains(&threshold.ratio), "ratio", "must be in [0, 1]");
                problems.check(threshold.maximum >= 1.0, "maximum", "must be at least 1");
            }
        }
        problems
    }
}

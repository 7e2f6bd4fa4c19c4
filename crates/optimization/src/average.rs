//! Exponential moving averages of weights, with their half-life in training images.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_kernels::ema_step;
use sinter_models::parameters::Arrays;

use crate::{OptimizationError, Tensors, tensors};

/// The `[ema]` section: several averages may be kept at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AverageConfig {
    /// Half-lives in images; the first one is what `sample` and `eval` use unless told otherwise. Empty: none kept.
    #[serde(default)]
    pub half_life: Vec<u64>,
    /// The half-life is at most this fraction of the images seen, so that an average early in training forgets the
    /// random initial weights (EDM, `ema_rampup_ratio`). 0 turns the warm-up off.
    #[serde(default = "default_warmup")]
    pub warmup: f64,
}

fn default_warmup() -> f64 {
    0.05
}

impl Default for AverageConfig {
    fn default() -> Self {
        Self { half_life: Vec::new(), warmup: default_warmup() }
    }
}

impl AverageConfig {
    /// Every problem of these settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.half_life.iter().all(|&h| h > 0), "half_life", "every half-life must be at least 1 image");
        let mut sorted = self.half_life.clone();
        sorted.sort_unstable();
        sorted.dedup();
        problems.check(sorted.len() == self.half_life.len(), "half_life", "names the same half-life twice");
        problems.check(self.warmup >= 0.0 && self.warmup.is_finite(), "warmup", "must be a finite number, 0 or above");
        problems
    }
}

/// What remains of an average after `batch` more images, when `images` (these included) have been seen:
/// `0.5^(batch / min(half_life, warmup * images))`.
pub fn decay(half_life: u64, warmup: f64, images: u64, batch: u64) -> f64 {
    let mut half_life = half_life as f64;
    if warmup > 0.0 {
        half_life = half_life.min(warmup * images as f64);
    }
    0.5_f64.powf(batch as f64 / half_life)
}

/// One running average of the parameters of one network.
#[derive(Clone, Debug)]
pub struct Average {
    half_life: u64,
    warmup: f64,
    values: Tensors,
}

impl Average {
    /// Starts at the given parameters (flat, by name).
    pub fn new(half_life: u64, warmup: f64, parameters: Tensors) -> Self {
        Self { half_life, warmup, values: parameters }
    }

    /// The half-life in images.
    pub fn half_life(&self) -> u64 {
        self.half_life
    }

    /// `average <- decay * average + (1 - decay) * parameters`, after an update on `batch` images.
    ///
    /// # Errors
    /// When the parameters are not those that this average began with.
    pub fn update(&mut self, parameters: Tensors, images: u64, batch: u64) -> Result<(), OptimizationError> {
        let decay = decay(self.half_life, self.warmup, images, batch);
        for (name, parameter) in parameters {
            let Some(value) = self.values.remove(&name) else {
                let message = format!("has no parameter `{name}`");
                return Err(OptimizationError::State { owner: self.owner(), message });
            };
            self.values.insert(name, ema_step(value, parameter, decay));
        }
        Ok(())
    }

    fn owner(&self) -> String {
        format!("average of half-life {}", self.half_life)
    }

    /// The averaged parameters, flat, by name.
    pub fn values(&self) -> &Tensors {
        &self.values
    }

    /// Replaces the averaged values.
    ///
    /// # Errors
    /// When a name is unknown or missing, or a length differs.
    pub fn load(&mut self, arrays: &Arrays) -> Result<(), OptimizationError> {
        self.values = tensors::load(&self.values, arrays)
            .map_err(|message| OptimizationError::State { owner: self.owner(), message })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;

    fn one(value: f32) -> Tensors {
        Tensors::from([("w".to_string(), Tensor::<1>::from_floats([value], &Device::flex()))])
    }

    /// With a constant parameter c and start a, n updates give c + (a - c) 2^(-n batch / half_life).
    #[test]
    fn average_equals_its_closed_form() {
        let mut average = Average::new(1000, 0.0, one(5.0));
        for step in 1..=40u64 {
            average.update(one(2.0), step * 64, 64).unwrap();
        }
        let expected = 2.0 + 3.0 * 0.5_f64.powf(40.0 * 64.0 / 1000.0);
        let found = average.values()["w"].clone().into_scalar::<f32>() as f64;
        assert!((found - expected).abs() < 2e-6, "{found} {expected}");
    }

    #[test]
    fn half_life_is_exact_and_does_not_depend_on_the_batch() {
        let one_by_one: f64 = (0..1000).map(|_| decay(1000, 0.0, 1_000_000, 1)).product();
        assert!((one_by_one - 0.5).abs() < 1e-12);
        assert!((decay(1000, 0.0, 1_000_000, 1000) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn warmup_shortens_the_half_life() {
        assert!((decay(1_000_000, 0.05, 2000, 100) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn unknown_parameters_are_refused() {
        let mut average = Average::new(10, 0.0, one(0.0));
        let other = Tensors::from([("v".to_string(), Tensor::<1>::from_floats([1.0], &Device::flex()))]);
        assert!(average.update(other, 1, 1).unwrap_err().to_string().contains("`v`"));
    }
}

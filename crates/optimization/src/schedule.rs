//! The learning rate as a function of training images seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

/// Linear warm-up, then a decay. Counted in images, so that it does not depend on the batch size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Images over which the factor rises linearly from 0 to 1; 0 for none.
    #[serde(default)]
    pub warmup: u64,
    /// What happens after.
    #[serde(default)]
    pub decay: Decay,
}

/// The shape of the decay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decay {
    /// No decay.
    #[default]
    Constant,
    /// Half a cosine from 1 at image 0 to `floor` at `images`, then `floor` (Loshchilov and Hutter 2017).
    Cosine {
        /// Length in images.
        images: u64,
        /// Final factor in [0, 1].
        #[serde(default)]
        floor: f64,
    },
    /// `1 / sqrt(max(images / reference, 1))` (EDM2, Karras et al. 2024, eq. 67).
    InverseSquareRoot {
        /// Images at which the decay begins.
        reference: u64,
    },
}

impl Schedule {
    /// The factor on the learning rate after `images` training images, in [0, 1].
    pub fn factor(&self, images: u64) -> f64 {
        let seen = images as f64;
        let warmup = if self.warmup == 0 { 1.0 } else { (seen / self.warmup as f64).min(1.0) };
        warmup * self.decay.factor(seen)
    }

    /// Every problem of these settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        match self.decay {
            Decay::Constant => {}
            Decay::Cosine { images, floor } => {
                problems.check(images > 0, "decay.images", "must be at least 1");
                problems.check((0.0..=1.0).contains(&floor), "decay.floor", "must be in [0, 1]");
            }
            Decay::InverseSquareRoot { reference } => {
                problems.check(reference > 0, "decay.reference", "must be at least 1");
            }
        }
        problems
    }
}

impl Decay {
    fn factor(&self, seen: f64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Cosine { images, floor } => {
                let progress = (seen / images as f64).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            Self::InverseSquareRoot { reference } => (seen / reference as f64).max(1.0).sqrt().recip(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warmup_is_linear_and_independent_of_the_decay() {
        let schedule = Schedule { warmup: 1000, decay: Decay::Constant };
        assert_eq!(schedule.factor(0), 0.0);
        assert_eq!(schedule.factor(250), 0.25);
        assert_eq!(schedule.factor(1000), 1.0);
        assert_eq!(schedule.factor(10_000), 1.0);
    }

    #[test]
    fn cosine_meets_its_ends_and_its_middle() {
        let schedule = Schedule { warmup: 0, decay: Decay::Cosine { images: 1000, floor: 0.1 } };
        assert_eq!(schedule.factor(0), 1.0);
        assert!((schedule.factor(500) - 0.55).abs() < 1e-15);
        assert!((schedule.factor(1000) - 0.1).abs() < 1e-15);
        assert!((schedule.factor(5000) - 0.1).abs() < 1e-15);
    }

    #[test]
    fn inverse_square_root_halves_at_four_times_the_reference() {
        let schedule = Schedule { warmup: 0, decay: Decay::InverseSquareRoot { reference: 1000 } };
        assert_eq!(schedule.factor(1000), 1.0);
        assert_eq!(schedule.factor(4000), 0.5);
    }
}

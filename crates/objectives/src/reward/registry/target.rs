//! Nearness to a point: the reward of toy problems in the plane.

use sinter_data::Batch;

use super::{Reward, RewardError, Scores, each_image};

/// Minus the squared distance from a point.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) center: Vec<f64>,
}

impl Reward for Target {
    fn scores(&mut self, images: &Batch) -> Result<Scores, RewardError> {
        let scores = each_image(images, |_, pixels| {
            if pixels.len() != self.center.len() {
                let reason = format!("the point has {} numbers, an image {}", self.center.len(), pixels.len());
                return Err(RewardError::Unfit { name: self.name.clone(), reason });
            }
            let squares = pixels.iter().zip(&self.center).map(|(pixel, center)| (f64::from(*pixel) - center).powi(2));
            Ok(-squares.sum::<f64>())
        });
        Ok(scores?.into())
    }
}

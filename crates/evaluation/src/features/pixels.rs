//! The pixels themselves as features.

use super::{FeatureNetwork, Features, Gives};

/// The pixels themselves, channel after channel.
#[derive(Clone, Copy, Debug)]
pub struct PixelFeatures;

impl FeatureNetwork for PixelFeatures {
    fn name(&self) -> String {
        "pixels".into()
    }

    fn hash(&self) -> String {
        String::new()
    }

    fn check(&self, _image: [usize; 3]) -> Result<(), String> {
        Ok(())
    }

    fn gives(&self) -> Gives {
        Gives::default()
    }

    fn features(&self, pixels: &[f32], _shape: [usize; 4]) -> Features {
        Features { pooled: pixels.to_vec(), ..Features::default() }
    }
}

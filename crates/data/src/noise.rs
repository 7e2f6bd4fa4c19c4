//! `noise`: images without structure, of any shape. They stand in for latents and other data where only the shape
//! matters, as in a measurement of speed.

use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::random::{Key, Stream};

use crate::digest::sha256;
use crate::{DataError, Example, Source, Split};

/// The largest side or number of channels: beyond it, it is a slip of the keyboard.
const LARGEST: usize = 1 << 14;
/// The deviation of a pixel, so that nearly all lie in -1..1.
const DEVIATION: f32 = 0.5;

/// Configuration of images of noise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseConfig {
    /// Channels, height and width, each at least 1.
    pub shape: [usize; 3],
    /// Classes, which follow each other by the number of the image; 0: none.
    pub classes: u32,
    /// Number of training images.
    pub size: u64,
    /// Number of held-out images; they are drawn apart from the training images.
    pub test_size: u64,
}

impl Default for NoiseConfig {
    fn default() -> Self {
        Self { shape: [3, 32, 32], classes: 0, size: 50_000, test_size: 10_000 }
    }
}

impl NoiseConfig {
    /// Every problem of the configuration.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        let possible = self.shape.iter().all(|size| (1..=LARGEST).contains(size));
        problems.check(possible, "shape", format!("channels, height and width must be in 1..={LARGEST}"));
        problems.check(self.size >= 1, "size", "must be at least 1");
        problems.check(self.test_size >= 1, "test_size", "must be at least 1");
        problems
    }
}

/// Images whose pixels are independent normal numbers, a function of (seed, split, index).
pub struct Noise {
    config: NoiseConfig,
    split: Split,
    seed: u64,
    class_names: Vec<String>,
}

impl Noise {
    /// The source of one split at one seed.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub fn new(config: NoiseConfig, split: Split, seed: u64) -> Result<Self, Problems> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(problems);
        }
        let class_names = (0..config.classes).map(|class| format!("class {class}")).collect();
        Ok(Self { config, split, seed, class_names })
    }
}

impl Source for Noise {
    fn name(&self) -> &str {
        "noise"
    }

    fn len(&self) -> u64 {
        match self.split {
            Split::Train => self.config.size,
            Split::Test => self.config.test_size,
        }
    }

    fn shape(&self) -> [usize; 3] {
        self.config.shape
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn example(&self, index: u64) -> Result<Example, DataError> {
        if index >= self.len() {
            return Err(DataError::Index { name: self.name().to_owned(), index, len: self.len() });
        }
        let stream = match self.split {
            Split::Train => Stream::RENDER.nth(0),
            Split::Test => Stream::RENDER.nth(1),
        };
        let mut pixels = vec![0.0; self.config.shape.iter().product()];
        Key::new(self.seed, stream).at(index).fill_normal(&mut pixels);
        pixels.iter_mut().for_each(|pixel| *pixel *= DEVIATION);
        let classes = u64::from(self.config.classes);
        let class = (classes > 0).then(|| (index % classes) as u32);
        Ok(Example { pixels, class, caption: None })
    }

    fn fingerprint(&self) -> String {
        // The version changes with the procedure.
        sha256(format!("noise version 1, {:?}, {}, seed {}", self.config, self.split, self.seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_normal_numbers_of_the_shape_asked_for() {
        let config = NoiseConfig { shape: [4, 8, 6], classes: 3, size: 50, test_size: 2 };
        let open = |split, seed| Noise::new(config.clone(), split, seed).unwrap();
        let train = open(Split::Train, 1);
        assert_eq!((train.len(), train.shape(), train.class_names().len()), (50, [4, 8, 6], 3));
        let examples: Vec<_> = (0..50).map(|i| train.example(i).unwrap()).collect();
        assert_eq!(examples[5].class, Some(2));
        let pixels: Vec<f64> = examples.iter().flat_map(|e| e.pixels.iter().map(|v| f64::from(*v))).collect();
        let n = (50 * 4 * 8 * 6) as f64;
        assert_eq!(pixels.len() as f64, n);
        let mean = pixels.iter().sum::<f64>() / n;
        let deviation = (pixels.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        // Four standard errors.
        assert!(mean.abs() < 4.0 * 0.5 / n.sqrt() && (deviation - 0.5).abs() < 4.0 * 0.5 / (2.0 * n).sqrt());
        assert_eq!(train.example(3).unwrap(), examples[3]);
        assert_ne!(open(Split::Test, 1).example(0).unwrap().pixels, examples[0].pixels);
        assert_ne!(open(Split::Train, 2).example(0).unwrap().pixels, examples[0].pixels);
        assert!(train.example(50).is_err());
    }

    #[test]
    fn every_problem_is_told() {
        let problems = NoiseConfig { shape: [0, 8, 8], classes: 0, size: 0, test_size: 0 }.validate();
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["shape", "size", "test_size"]);
    }
}

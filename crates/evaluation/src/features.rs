//! Feature networks: what a distance between distributions of images is measured in.

use burn::tensor::{Device, Tensor, TensorData};
use sinter_models::Classifier;

/// A map from images to feature vectors, with a name and a hash that records carry.
pub trait FeatureNetwork {
    /// Name, such as `classifier:fashion-mnist` or `pixels`.
    fn name(&self) -> String;
    /// Lowercase hexadecimal sha256 of its weights; empty where there are none.
    fn hash(&self) -> String;
    /// Features of images `[n, c, h, w]`, row by row: `n` times the same length.
    fn features(&self, pixels: &[f32], shape: [usize; 4]) -> Vec<f32>;
}

/// The pixels themselves.
#[derive(Clone, Copy, Debug)]
pub struct PixelFeatures;

impl FeatureNetwork for PixelFeatures {
    fn name(&self) -> String {
        "pixels".into()
    }

    fn hash(&self) -> String {
        String::new()
    }

    fn features(&self, pixels: &[f32], _shape: [usize; 4]) -> Vec<f32> {
        pixels.to_vec()
    }
}

/// The last features of a classifier trained by this program.
#[derive(Clone, Debug)]
pub struct ClassifierFeatures {
    /// The run it comes from.
    pub name: String,
    /// Hash of its weights.
    pub hash: String,
    /// The classifier, without gradients.
    pub classifier: Classifier,
    /// Where it lives.
    pub device: Device,
}

impl ClassifierFeatures {
    /// The most probable class of each image.
    pub fn classes(&self, pixels: &[f32], shape: [usize; 4]) -> Vec<u32> {
        let logits = self.classifier.forward(self.tensor(pixels, shape), None); // [n, k]
        logits.argmax(1).into_data().iter::<i64>().map(|class| class as u32).collect()
    }

    fn tensor(&self, pixels: &[f32], shape: [usize; 4]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(pixels.to_vec(), shape), &self.device)
    }
}

impl FeatureNetwork for ClassifierFeatures {
    fn name(&self) -> String {
        format!("classifier:{}", self.name)
    }

    fn hash(&self) -> String {
        self.hash.clone()
    }

    fn features(&self, pixels: &[f32], shape: [usize; 4]) -> Vec<f32> {
        self.classifier.features(self.tensor(pixels, shape)).into_data().iter::<f32>().collect()
    }
}

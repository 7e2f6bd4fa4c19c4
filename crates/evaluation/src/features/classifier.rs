//! A classifier of this program as a feature network.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use sinter_config::Problems;
use sinter_kernels::map_images;
use sinter_models::{Classifier, ClassifierConfig, DataShape};

use super::{FeatureNetwork, Features, Gives};

/// The last features and the logits of a classifier.
#[derive(Clone, Debug)]
pub struct ClassifierFeatures {
    /// Name: that of its run, or `random`.
    name: String,
    /// Hash of its weights.
    hash: String,
    /// The classifier, without gradients.
    classifier: Classifier,
    /// What it was made for.
    shape: DataShape,
    /// Where it lives.
    device: Device,
}

impl ClassifierFeatures {
    /// A trained classifier, made for data of `shape`; `name` is that of its run, `hash` that of its weights.
    pub fn new(name: String, hash: String, classifier: Classifier, shape: DataShape, device: &Device) -> Self {
        Self { name: format!("classifier:{name}"), hash, classifier: classifier.valid(), shape, device: device.clone() }
    }

    /// A classifier of images `[c, h, w]` with weights drawn from `seed`.
    ///
    /// # Errors
    /// When no classifier can be made for such images.
    pub fn random(image: [usize; 3], seed: u64, device: &Device) -> Result<Self, Problems> {
        let [c, h, w] = image;
        let shape = DataShape::images(c, h, w).with_classes(10);
        let classifier = ClassifierConfig::default().build(&shape, device, seed)?;
        let name = format!("random-convolutions-{seed}");
        Ok(Self { name, hash: String::new(), classifier: classifier.valid(), shape, device: device.clone() })
    }
}

impl FeatureNetwork for ClassifierFeatures {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn hash(&self) -> String {
        self.hash.clone()
    }

    fn check(&self, image: [usize; 3]) -> Result<(), String> {
        let expected = [self.shape.channels, self.shape.height, self.shape.width];
        if image == expected {
            return Ok(());
        }
        Err(format!("{} was trained on images of {expected:?}, these are {image:?}", self.name))
    }

    fn gives(&self) -> Gives {
        Gives { logits: true, spatial: false }
    }

    fn features(&self, pixels: &[f32], [n, c, h, w]: [usize; 4]) -> Features {
        let image = c * h * w;
        let parts = map_images(&self.device, n, |range| {
            let shape = [range.len(), c, h, w];
            let data = TensorData::new(pixels[range.start * image..range.end * image].to_vec(), shape);
            let pooled = self.classifier.features(Tensor::from_data(data, &self.device)); // [b, d]
            let logits = self.classifier.logits(pooled.clone(), None); // [b, k]
            let values = |tensor: Tensor<2>| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
            (values(pooled), values(logits))
        });
        let (pooled, logits): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        Features { pooled: pooled.concat(), logits: Some(logits.concat()), spatial: None }
    }
}

//! A network of this program as a feature network, with the weights of any file.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sinter_kernels::map_images;
use sinter_models::layers::tap;
use sinter_models::{Classifier, Condition, DataShape};
use sinter_process::PathPoint;
use sinter_sampling::{Denoiser, NetworkDenoiser};

use super::{ClassifierFeatures, FeatureNetwork, Features, Gives};

/// Which network, and where its weights are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// Its weights: `.safetensors` or PyTorch's, such as `network.safetensors` or `average-2000.safetensors` of a checkpoint,
    /// or what `sinter export` writes.
    pub file: PathBuf,
    /// The configuration that says what it is: of a run, or one with its sections `model` and, for a backbone, `objective`
    /// alone.
    pub config: PathBuf,
    /// The implementation whose names the file has, as `sinter import` knows it; none: this one.
    #[serde(default)]
    pub from: Option<String>,
    /// Entry of a PyTorch checkpoint that holds the weights, as in `ema`.
    #[serde(default)]
    pub part: Option<String>,
    /// The block whose mean over places is taken, as `sinter eval probe` names it: `blocks.3`. None: the last features of
    /// a classifier, with its logits; a backbone needs one.
    #[serde(default)]
    pub layer: Option<String>,
    /// Time of the process at which a backbone looks at images, from 0 (data) to 1. They are scaled as they would be then,
    /// and not noised: features are a function of the image.
    #[serde(default)]
    pub time: f64,
    /// Classes of the network, where the configuration has no section `data`, which says it otherwise.
    #[serde(default)]
    pub classes: Option<usize>,
}

/// The network of a [`NetworkFile`] with its weights, at one of its layers.
#[derive(Clone, Debug)]
pub struct NetworkFeatures {
    /// Name: of the file and the layer.
    name: String,
    hash: String,
    settings: Map<String, Value>,
    eye: Eye,
    shape: DataShape,
    device: Device,
}

/// What looks at the images.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "an evaluation holds a handful of networks")]
enum Eye {
    /// The last features of a classifier.
    Last(ClassifierFeatures),
    /// A level of one.
    Level { classifier: Classifier, layer: String },
    /// A block of a backbone at a time, asked for nothing.
    Block { denoiser: NetworkDenoiser, point: PathPoint, layer: String },
}

/// What is known of a file of weights.
#[derive(Clone, Debug)]
pub struct WeightsFile {
    /// Its name, without folder and ending.
    pub name: String,
    /// Its lowercase hexadecimal sha256.
    pub hash: String,
    /// What else the features depend on, for records.
    pub settings: Map<String, Value>,
    /// What the data that the network was made for look like.
    pub shape: DataShape,
}

impl NetworkFeatures {
    /// A classifier's last features, or those of a `layer`.
    ///
    /// # Errors
    /// When it has no such layer: its layers are listed.
    pub fn classifier(
        weights: WeightsFile,
        classifier: Classifier,
        layer: Option<&str>,
        device: &Device,
    ) -> Result<Self, String> {
        let classifier = classifier.valid();
        let WeightsFile { name, hash, shape, .. } = &weights;
        let (eye, label) = match layer {
            None => {
                let last = ClassifierFeatures::new(name.clone(), hash.clone(), classifier, *shape, device);
                (Eye::Last(last), "features")
            }
            Some(layer) => (Eye::Level { classifier, layer: layer.to_owned() }, layer),
        };
        Self::of(eye, label, weights.clone(), device)
    }

    /// A block of a backbone, which looks at images at `point` of its path.
    ///
    /// # Errors
    /// When it has no such block: its blocks are listed.
    pub fn backbone(
        weights: WeightsFile,
        denoiser: NetworkDenoiser,
        point: PathPoint,
        layer: &str,
        device: &Device,
    ) -> Result<Self, String> {
        let denoiser = NetworkDenoiser { network: denoiser.network.valid(), ..denoiser };
        Self::of(Eye::Block { denoiser, point, layer: layer.to_owned() }, layer, weights, device)
    }

    fn of(eye: Eye, layer: &str, weights: WeightsFile, device: &Device) -> Result<Self, String> {
        let WeightsFile { name, hash, settings, shape } = weights;
        let name = format!("network:{name}:{layer}");
        let features = Self { name, hash, settings, eye, shape, device: device.clone() };
        // One look at one image tells which layers there are.
        if !matches!(features.eye, Eye::Last(_)) {
            let DataShape { channels, height, width, .. } = shape;
            let seen = features.look(&vec![0.0; channels * height * width], [1, channels, height, width]);
            if !seen.iter().any(|seen| seen.block == layer) {
                let names: Vec<&str> = seen.iter().map(|seen| seen.block.as_str()).collect();
                return Err(format!("there is no layer `{layer}`; the network has {}", names.join(", ")));
            }
        }
        Ok(features)
    }

    /// What every block makes of images; nothing where the last features are asked for.
    fn look(&self, pixels: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<tap::Representation> {
        let x = |images: std::ops::Range<usize>| {
            let image = c * h * w;
            let pixels = pixels[images.start * image..images.end * image].to_vec();
            Tensor::<4>::from_data(TensorData::new(pixels, [images.len(), c, h, w]), &self.device)
        };
        match &self.eye {
            Eye::Last(_) => Vec::new(),
            Eye::Level { classifier, .. } => {
                let parts = map_images(&self.device, n, |images| tap::record(|| classifier.features(x(images))).1);
                tap::joined(parts)
            }
            Eye::Block { denoiser, point, .. } => {
                denoiser.representations(x(0..n).mul_scalar(point.alpha), point, &Condition::none())
            }
        }
    }
}

impl FeatureNetwork for NetworkFeatures {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn hash(&self) -> String {
        self.hash.clone()
    }

    fn settings(&self) -> Map<String, Value> {
        self.settings.clone()
    }

    fn check(&self, image: [usize; 3]) -> Result<(), String> {
        let expected = [self.shape.channels, self.shape.height, self.shape.width];
        if image == expected {
            return Ok(());
        }
        Err(format!("{} is for images of {expected:?}, these are {image:?}", self.name))
    }

    fn gives(&self) -> Gives {
        Gives { logits: matches!(self.eye, Eye::Last(_)), spatial: false }
    }

    fn features(&self, pixels: &[f32], shape: [usize; 4]) -> Features {
        let layer = match &self.eye {
            Eye::Last(classifier) => return classifier.features(pixels, shape),
            Eye::Level { layer, .. } | Eye::Block { layer, .. } => layer,
        };
        // `of` has seen that it is there.
        let seen = self.look(pixels, shape).into_iter().find(|seen| seen.block == *layer);
        let pooled = seen.map(|seen| seen.features.into_data().iter::<f32>().collect()).unwrap_or_default();
        Features { pooled, ..Features::default() }
    }
}

//! FID's Inception-v3: the features of the field's FID, sFID and Inception Score, with weights from a user's file.
//!
//! Images become bytes as in an image file, then 299 x 299 pixels ([`Resize`]), then what the network ([`InceptionV3`]) has
//! at a [`Layer`]. All of it is a function of the single image: neither its batch nor the number of threads changes a bit.

mod architecture;
mod network;
mod resize;
mod weights;

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use sinter_kernels::map_images;
use sinter_models::weights::WeightsError;

use crate::{FeatureNetwork, Features, Gives};

pub use network::{InceptionV3, Layer};
pub use resize::{Resize, SIZE, quantize};
pub use weights::{KNOWN, Weights};

/// Images that are resized and taken through the network at a time: enough for every thread's share, few enough for their
/// activations, some 10 MB an image, to fit.
const PORTION: usize = 32;

/// Why there are no features.
#[derive(Debug, thiserror::Error)]
pub enum InceptionError {
    /// The file of weights cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of weights is not one.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The file's tensors are not those of the network; every difference is listed, one a line.
    #[error("these are not the weights of FID's Inception-v3:\n{}", .0.join("\n"))]
    Tensors(Vec<String>),
    /// Images that the network does not read.
    #[error("images {shape:?} of {length} pixels: Inception-v3 reads images [n, c, h, w] of 1 or 3 channels")]
    Shape {
        /// `[n, c, h, w]`.
        shape: [usize; 4],
        /// Pixels that there are.
        length: usize,
    },
}

/// The network with a way to resize: a map from images to features.
#[derive(Clone, Debug)]
pub struct InceptionFeatures {
    network: InceptionV3,
    device: Device,
    resize: Resize,
    hash: String,
}

impl InceptionFeatures {
    /// With the weights of a file, in 32-bit floats.
    ///
    /// # Errors
    /// When the file cannot be read, or its tensors are not the network's.
    pub fn read(path: impl AsRef<Path>, resize: Resize, device: &Device) -> Result<Self, InceptionError> {
        let (weights, hash) = Weights::read(path.as_ref())?;
        Ok(Self::new(weights, hash, resize, device))
    }

    /// With weights whose file has the lowercase hexadecimal sha256 `hash`.
    pub fn new(weights: Weights, hash: String, resize: Resize, device: &Device) -> Self {
        let network = InceptionV3::new(weights, device, DType::F32);
        Self { network, device: device.clone(), resize, hash }
    }

    /// The network, which reads images of 299 x 299 in its own range.
    pub fn network(&self) -> &InceptionV3 {
        &self.network
    }

    /// Whether the weights are the published ones.
    pub fn is_known(&self) -> bool {
        KNOWN.contains(&self.hash.as_str())
    }

    /// Several layers of the same images, in one pass. Pixels are in -1..1 and become bytes first ([`quantize`]).
    ///
    /// # Errors
    /// As [`layers_of_bytes`](Self::layers_of_bytes).
    pub fn layers(&self, pixels: &[f32], shape: [usize; 4], layers: &[Layer]) -> Result<Vec<Vec<f32>>, InceptionError> {
        self.layers_of_bytes(&quantize(pixels), shape, layers)
    }

    /// Several layers of images `[n, c, h, w]` of 1 or 3 channels, of any size: for each layer `n` times its length, row by
    /// row.
    ///
    /// # Errors
    /// [`InceptionError::Shape`] for other numbers of channels and for a wrong number of pixels.
    pub fn layers_of_bytes(
        &self,
        pixels: &[u8],
        shape: [usize; 4],
        layers: &[Layer],
    ) -> Result<Vec<Vec<f32>>, InceptionError> {
        let [n, c, height, width] = shape;
        let image = c * height * width;
        if image == 0 || pixels.len() != n * image {
            return Err(InceptionError::Shape { shape, length: pixels.len() });
        }
        let mut read: Vec<Vec<f32>> = layers.iter().map(|layer| Vec::with_capacity(n * layer.length())).collect();
        for pixels in pixels.chunks(PORTION * image) {
            let count = pixels.len() / image;
            let resized = self.resize.images(pixels, [count, c, height, width], |value| value as f32)?;
            let x = TensorData::new(resized, [count, architecture::CHANNELS, SIZE, SIZE]);
            let x: Tensor<4> = Tensor::from_data(x, &self.device); // [count, 3, 299, 299]
            let parts = map_images(&self.device, count, |images| {
                self.network.forward(x.clone().narrow(0, images.start, images.len()), layers)
            });
            for part in parts {
                for (read, part) in read.iter_mut().zip(part) {
                    read.extend(part.into_data().iter::<f32>());
                }
            }
        }
        Ok(read)
    }
}

impl FeatureNetwork for InceptionFeatures {
    fn name(&self) -> String {
        format!("inception:{}", self.resize.name())
    }

    fn hash(&self) -> String {
        self.hash.clone()
    }

    fn warning(&self) -> Option<String> {
        (!self.is_known()).then(|| {
            format!(
                "the Inception-v3 weights are not the published file ({}): not to be compared with published numbers",
                KNOWN[0]
            )
        })
    }

    fn inception(&self) -> Option<&'static str> {
        self.is_known().then(|| self.resize.name())
    }

    fn check(&self, image: [usize; 3]) -> Result<(), String> {
        let read = matches!(image[0], 1 | 3) && !image.contains(&0);
        read.then_some(()).ok_or_else(|| format!("Inception-v3 reads images of 1 or 3 channels, these are {image:?}"))
    }

    fn gives(&self) -> Gives {
        Gives { spatial: true, logits: true }
    }

    /// FID's 2048 features, sFID's spatial ones, and the logits without their bias, which torch-fidelity takes, too.
    fn features(&self, pixels: &[f32], shape: [usize; 4]) -> Features {
        let layers = [Layer::Pool3, Layer::Spatial, Layer::LogitsUnbiased];
        match self.layers(pixels, shape, &layers).map(<[Vec<f32>; 3]>::try_from) {
            Ok(Ok([pooled, spatial, logits])) => Features { pooled, spatial: Some(spatial), logits: Some(logits) },
            // `check` lets no other images pass.
            _ => Features::default(),
        }
    }
}

#[cfg(test)]
mod tests;

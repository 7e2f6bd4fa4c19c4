//! Backbones: layers, UNet, DiT, conditioning, classifiers; parameters by name, in and out.
//!
//! [`ModelConfig`] is the `[model]` section of a configuration. With the [`DataShape`] of the data it builds a
//! [`Network`], whose `forward` takes noised images `[b, c, h, w]`, a time label for each and a [`Condition`].
//! [`parameters`] reads, writes and changes weights by name; [`weights`] keeps them in files and translates the names of
//! other implementations.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use sinter_models::{Condition, DataShape, DitConfig, ModelConfig};
//!
//! let shape = DataShape::images(3, 8, 8).with_classes(10);
//! let config = ModelConfig::Dit(DitConfig { width: 32, depth: 1, heads: 2, ..DitConfig::default() });
//! let device = Device::flex();
//! let network = config.build(&shape, &device, 0)?;
//!
//! let (x, time) = (Tensor::ones([2, 3, 8, 8], &device), Tensor::ones([2], &device));
//! let prediction = network.forward(x, time, &Condition::none(), None);
//! assert_eq!(prediction.dims(), [2, 3, 8, 8]);
//! # Ok::<(), sinter_config::Problems>(())
//! ```

pub mod adapters;
pub mod caption;
pub mod classifier;
pub mod condition;
pub mod conditioning;
pub mod dit;
pub mod dual;
pub mod initialization;
pub mod layers;
pub mod mlp;
mod network;
pub mod parameters;
pub mod routing;
mod shape;
pub mod song_unet;
pub mod summary;
#[cfg(test)]
mod testing;
pub mod unet;
pub mod weights;

pub use adapters::{AdapterConfig, AdapterRule, AdaptersConfig};
pub use caption::{CaptionConfig, CaptionError, Vocabulary};
pub use classifier::{Classifier, ClassifierConfig};
pub use condition::{Caption, Condition};
pub use dit::{Dit, DitConfig, PriorTargets};
pub use dual::Dual;
pub use initialization::Initialization;
pub use layers::DropoutKey;
pub use mlp::{MlpConfig, ResidualMlp};
pub use network::{ModelConfig, Network};
pub use routing::RoutingConfig;
pub use shape::DataShape;
pub use song_unet::{SongUnet, SongUnetConfig};
pub use summary::Summary;
pub use unet::{Unet, UnetConfig};

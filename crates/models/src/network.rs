use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::condition::Condition;
use crate::dit::{Dit, DitConfig};
use crate::initialization::Initialization;
use crate::layers::DropoutKey;
use crate::mlp::{MlpConfig, ResidualMlp};
use crate::shape::DataShape;
use crate::unet::{Unet, UnetConfig};

/// The `[model]` section: which backbone, and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ModelConfig {
    /// A convolutional pyramid with attention.
    Unet(UnetConfig),
    /// A transformer over patches.
    Dit(DitConfig),
    /// A residual multilayer perceptron, for points in the plane.
    Mlp(MlpConfig),
}

impl ModelConfig {
    /// Every problem of these values for data of the given shape.
    pub fn validate(&self, shape: &DataShape) -> Problems {
        match self {
            Self::Unet(config) => config.validate(shape),
            Self::Dit(config) => config.validate(shape),
            Self::Mlp(config) => config.validate(shape),
        }
    }

    /// The network, with weights drawn from `seed`; on an autodiff device it can be trained.
    ///
    /// # Errors
    /// Every problem that [`validate`](Self::validate) finds.
    pub fn build(&self, shape: &DataShape, device: &Device, seed: u64) -> Result<Network, Problems> {
        let problems = self.validate(shape);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut init = Initialization::new(seed, device);
        Ok(match self {
            Self::Unet(config) => Network::Unet(Unet::new(config, shape, &mut init)),
            Self::Dit(config) => Network::Dit(Dit::new(config, shape, &mut init)),
            Self::Mlp(config) => Network::Mlp(ResidualMlp::new(config, shape, &mut init)),
        })
    }

    /// Whether the network has a class for "any", without which it cannot be guided by class.
    pub fn has_null_class(&self) -> bool {
        match self {
            Self::Unet(config) => config.null_class,
            Self::Dit(config) => config.null_class,
            Self::Mlp(config) => config.null_class,
        }
    }

    /// Whether the network gives a second set of channels, the variance of the reverse process.
    pub fn learns_variance(&self) -> bool {
        match self {
            Self::Unet(config) => config.learned_variance,
            Self::Dit(config) => config.learned_variance,
            Self::Mlp(_) => false,
        }
    }
}

/// A backbone: from a noised image, its time and what is asked for, to a prediction.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a process holds a handful of networks")]
pub enum Network {
    /// See [`UnetConfig`].
    Unet(Unet),
    /// See [`DitConfig`].
    Dit(Dit),
    /// See [`MlpConfig`].
    Mlp(ResidualMlp),
}

impl Network {
    /// Images `[b, c, h, w]` and time labels `[b]` to `[b, c, h, w]`, or `[b, 2 c, h, w]` with a learned variance.
    ///
    /// Without a `dropout` key nothing is dropped. The images must have the size that the network was built for.
    pub fn forward(
        &self,
        x: Tensor<4>,
        time_label: Tensor<1>,
        condition: &Condition,
        dropout: Option<DropoutKey>,
    ) -> Tensor<4> {
        match self {
            Self::Unet(network) => network.forward(x, time_label, condition, dropout),
            Self::Dit(network) => network.forward(x, time_label, condition, dropout),
            Self::Mlp(network) => network.forward(x, time_label, condition, dropout),
        }
    }
}

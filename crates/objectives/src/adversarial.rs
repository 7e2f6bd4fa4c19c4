//! Discriminators on the features of a denoiser: heads that tell generated images from data by what a network's blocks
//! make of them (Yin et al. 2024, section 4.2; Sauer et al. 2024).

use burn::module::Module;
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_models::initialization::{Initialization, Start};
use sinter_models::layers::Mlp;
use sinter_models::layers::tap::{self, Places};
use sinter_models::{Condition, DataShape, Network};

use crate::MethodError;

/// Which blocks a discriminator looks at, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeadsConfig {
    /// Names of blocks, such as `blocks.3` or `middle_block.0`; none: the one in the middle.
    pub blocks: Vec<String>,
    /// Hidden features of a head.
    pub hidden: usize,
}

impl Default for HeadsConfig {
    fn default() -> Self {
        Self { blocks: Vec::new(), hidden: 64 }
    }
}

/// One head a block: a perceptron at every place, whose mean over places is the block's vote; the logit is the mean of the
/// votes.
#[derive(Module, Debug)]
pub struct Heads {
    heads: Vec<Mlp>,
    /// Place of each head's block among all.
    #[module(skip)]
    blocks: Vec<usize>,
}

impl Heads {
    /// Heads for blocks of `network`, which lives on the autodiff device `device`; the initial logits are zero.
    ///
    /// # Errors
    /// When a block is named that the network does not have.
    pub fn new(
        config: &HeadsConfig,
        network: &Network,
        shape: &DataShape,
        device: &Device,
        seed: u64,
    ) -> Result<Self, MethodError> {
        let inner = device.clone().inner();
        let x = Tensor::<4>::zeros([1, shape.channels, shape.height, shape.width], &inner);
        let pass = || network.valid().forward(x, Tensor::zeros([1], &inner), &Condition::none(), None);
        let seen = tap::record_places(pass).1;
        let place = |name: &String| {
            seen.iter().position(|places| places.block == *name).ok_or_else(|| {
                let known: Vec<&str> = seen.iter().map(|places| places.block.as_str()).collect();
                MethodError::Setup(format!("the network has no block `{name}`; it has {}", known.join(", ")))
            })
        };
        let blocks = match config.blocks.is_empty() {
            true if seen.is_empty() => return Err(MethodError::Setup("the network shows no blocks".into())),
            true => vec![seen.len() / 2],
            false => config.blocks.iter().map(place).collect::<Result<_, _>>()?,
        };
        let mut init = Initialization::new(seed, device);
        let head = |&block: &usize| {
            let [_, _, features] = seen[block].features.dims();
            Mlp::new(features, config.hidden, 1, Start::FanIn, &mut init)
        };
        Ok(Self { heads: blocks.iter().map(head).collect(), blocks })
    }

    /// The logit of each image, `[b]`: how much it looks like data. `pass` takes the images through the network.
    pub fn logits(&self, pass: impl FnOnce() -> Tensor<4>) -> Tensor<1> {
        let (_, seen) = tap::record_places(pass);
        let vote = |(head, &block): (&Mlp, &usize)| {
            let Places { features, .. } = &seen[block];
            head.forward_silu(normalized(features.clone()).into()).value.mean_dim(1).flatten::<1>(0, 2) // [b]
        };
        let votes = self.heads.iter().zip(&self.blocks).map(vote);
        let count = self.heads.len() as f64;
        votes.reduce(|sum, vote| sum + vote).map_or_else(|| Tensor::zeros([0], &Device::default()), |sum| sum / count)
    }
}

/// Features `[b, n, d]` at mean 0 and deviation 1 over `d`: blocks differ in scale by orders of magnitude.
fn normalized(features: Tensor<3>) -> Tensor<3> {
    let centred = features.clone() - features.mean_dim(2);
    let deviation = (centred.clone().square().mean_dim(2) + 1e-6).sqrt();
    centred / deviation
}

/// What a generator loses where its images have these logits, `[b]`: `softplus(-l)`, non-saturating (Goodfellow et al.
/// 2014).
pub fn generator_loss(logits: Tensor<1>) -> Tensor<1> {
    softplus(-logits, 1.0)
}

/// What a discriminator loses at the logits of data and of generated images, `[b]`: `softplus(-l(data)) +
/// softplus(l(generated))`.
pub fn discriminator_loss(data: Tensor<1>, generated: Tensor<1>) -> Tensor<1> {
    softplus(-data, 1.0) + softplus(generated, 1.0)
}

//! The parts that networks are made of: a few named parameters around an operation of `sinter-kernels`.

mod adapter;
mod attention;
mod convolution;
mod dropout;
mod embedding;
mod frozen;
mod linear;
mod norm;
mod patch;
mod position;
mod resample;
pub mod tap;
mod time;
pub mod trace;

pub use adapter::{Adapter, Bottleneck, LowRank};
pub use attention::{CrossAttention, SelfAttention};
pub use convolution::Conv2d;
pub use dropout::{Dropout, DropoutKey};
pub use embedding::ClassEmbedding;
pub use frozen::Frozen;
pub use linear::{Linear, Mlp};
pub use norm::{GroupNorm, LayerNorm};
pub use patch::{PatchEmbedding, pixel_shuffle, pixel_unshuffle, unpatchify};
pub use position::sine_cosine_positions;
pub use resample::{Resample, ResampleFilter};
pub use time::{TimeEmbedding, sinusoidal};
pub(crate) use time::{time_frequencies, turns};

#[cfg(test)]
mod tests;

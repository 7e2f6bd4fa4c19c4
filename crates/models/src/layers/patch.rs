use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::trace;
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Rule};

/// Cuts an image into square patches and projects each to a token: a convolution whose stride is its kernel's size.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    /// `[d, c, p, p]`.
    pub weight: Param<Tensor<4>>,
    /// `[d]`.
    pub bias: Param<Tensor<1>>,
}

impl PatchEmbedding {
    /// Patches of `patch` x `patch`; Xavier as if it were a linear layer on the flattened patch.
    pub fn new(channels: usize, patch: usize, width: usize, init: &mut Initialization) -> Self {
        let inputs = channels * patch * patch;
        Self {
            weight: init.parameter([width, channels, patch, patch], Rule::xavier(inputs, width)),
            bias: init.parameter([width], Rule::ZEROS),
        }
    }

    /// `[b, c, h, w]` to tokens `[b, n, d]` in row-major order.
    pub fn forward(&self, x: Dual<4>) -> Dual<3> {
        trace::patch_embedding(&self.weight, x.dims());
        let [width, channels, patch, _] = self.weight.dims();
        let [b, _, h, w] = x.dims();
        let (rows, columns) = (h / patch, w / patch);
        let inputs = channels * patch * patch;
        let patches = x.each(|x| {
            x.reshape([b, channels, rows, patch, columns, patch])
                .permute([0, 2, 4, 1, 3, 5]) // [b, rows, columns, c, p, p]
                .reshape([b, rows * columns, inputs])
        });
        let weight = self.weight.val().reshape([width, inputs]).transpose(); // [c p p, d]
        dual::linear(patches, weight, Some(self.bias.val())) // [b, n, d]
    }
}

/// Tokens `[b, rows * columns, p * p * c]`, each a patch in the order (row, column, channel), to an image
/// `[b, c, rows * p, columns * p]`.
pub fn unpatchify(tokens: Tensor<3>, rows: usize, columns: usize, patch: usize) -> Tensor<4> {
    let [b, _, features] = tokens.dims();
    let channels = features / (patch * patch);
    tokens
        .reshape([b, rows, columns, patch, patch, channels])
        .permute([0, 5, 1, 3, 2, 4]) // [b, c, rows, p, columns, p]
        .reshape([b, channels, rows * patch, columns * patch])
}

/// Each square of `side` x `side` pixels becomes one pixel: `[b, c, h, w]` to `[b, c side side, h / side, w / side]`.
pub fn pixel_unshuffle(x: Tensor<4>, side: usize) -> Tensor<4> {
    let [b, channels, h, w] = x.dims();
    let (rows, columns) = (h / side, w / side);
    x.reshape([b, channels, rows, side, columns, side])
        .permute([0, 1, 3, 5, 2, 4]) // [b, c, side, side, rows, columns]
        .reshape([b, channels * side * side, rows, columns])
}

/// The inverse of [`pixel_unshuffle`]: `[b, c side side, h, w]` to `[b, c, h side, w side]`.
pub fn pixel_shuffle(x: Tensor<4>, side: usize) -> Tensor<4> {
    let [b, features, rows, columns] = x.dims();
    let channels = features / (side * side);
    x.reshape([b, channels, side, side, rows, columns])
        .permute([0, 1, 4, 2, 5, 3]) // [b, c, rows, side, columns, side]
        .reshape([b, channels, rows * side, columns * side])
}

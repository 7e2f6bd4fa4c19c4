//! Doubling and halving the resolution of images.

use burn::tensor::Tensor;

/// Nearest-neighbour upsampling by two: each pixel becomes a 2 x 2 block. `[b, c, h, w]` to `[b, c, 2h, 2w]`.
pub fn upsample_nearest_2x(x: Tensor<4>) -> Tensor<4> {
    upsample_nearest_2x_composed(x)
}

/// [`upsample_nearest_2x`] in Burn's operations.
pub fn upsample_nearest_2x_composed(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h, 1, w, 1]).expand([b, c, h, 2, w, 2]).reshape([b, c, 2 * h, 2 * w])
}

/// Average pooling over 2 x 2 blocks: `[b, c, h, w]` to `[b, c, h/2, w/2]`. Height and width must be even.
pub fn average_pool_2x(x: Tensor<4>) -> Tensor<4> {
    average_pool_2x_composed(x)
}

/// [`average_pool_2x`] in Burn's operations.
pub fn average_pool_2x_composed(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    assert!(h % 2 == 0 && w % 2 == 0, "average_pool_2x: {h} x {w} is not even");
    x.reshape([b, c, h / 2, 2, w / 2, 2]).mean_dim(5).mean_dim(3).reshape([b, c, h / 2, w / 2])
}

//! Doubling and halving the resolution of images.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::extension::{self, Resample};

/// Nearest-neighbour upsampling by two: each pixel becomes a 2 x 2 block. `[b, c, h, w]` to `[b, c, 2h, 2w]`.
pub fn upsample_nearest_2x(x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if extension::is_fusable(&x) {
        return extension::run_1(Resample::UpsampleNearest, x);
    }
    upsample_nearest_2x_composed(x)
}

/// [`upsample_nearest_2x`] in Burn's operations.
pub fn upsample_nearest_2x_composed(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h, 1, w, 1]).expand([b, c, h, 2, w, 2]).reshape([b, c, 2 * h, 2 * w])
}

/// Average pooling over 2 x 2 blocks: `[b, c, h, w]` to `[b, c, h/2, w/2]`. Height and width must be even.
pub fn average_pool_2x(x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if extension::is_fusable(&x) {
        return extension::run_1(Resample::AveragePool, x);
    }
    average_pool_2x_composed(x)
}

/// [`average_pool_2x`] in Burn's operations.
pub fn average_pool_2x_composed(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    assert!(h.is_multiple_of(2) && w.is_multiple_of(2), "average_pool_2x: {h} x {w} is not even");
    x.reshape([b, c, h / 2, 2, w / 2, 2]).mean_dim(5).mean_dim(3).reshape([b, c, h / 2, w / 2])
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::testing::{assert_defined, assert_same, flat};

    fn with([b, c, h, w]: [usize; 4], f: fn(Tensor<4>) -> Tensor<4>) -> impl Fn(&[Tensor<1>]) -> Tensor<1> {
        move |x| flat(f(x[0].clone().reshape([b, c, h, w])))
    }

    #[test]
    fn composed_forms_are_the_definitions() {
        let [b, c, h, w] = [2, 3, 4, 6];
        assert_defined("up", &[b * c * h * w], with([b, c, h, w], upsample_nearest_2x_composed), |x| {
            let at = |i: usize| x[0][i / (4 * w * h) * h * w + i / (2 * w) % (2 * h) / 2 * w + i % (2 * w) / 2];
            (0..b * c * h * w * 4).map(at).collect()
        });
        assert_defined("down", &[b * c * h * w], with([b, c, h, w], average_pool_2x_composed), |x| {
            let at = |i: usize| {
                let corner = i / (w / 2) * 2 * w + i % (w / 2) * 2;
                (x[0][corner] + x[0][corner + 1] + x[0][corner + w] + x[0][corner + w + 1]) / 4.0
            };
            (0..b * c * h * w / 4).map(at).collect()
        });
    }

    #[test]
    fn fused_forms_are_the_composed_ones() {
        for shape in [[2, 3, 4, 6], [1, 1, 2, 2], [5, 16, 28, 28]] {
            let n = shape.iter().product();
            let (fused, composed) = (with(shape, upsample_nearest_2x), with(shape, upsample_nearest_2x_composed));
            assert_same("up", &[n], fused, composed, 1e-6);
            assert_same("down", &[n], with(shape, average_pool_2x), with(shape, average_pool_2x_composed), 1e-6);
        }
        let view = |f: fn(Tensor<4>) -> Tensor<4>| {
            move |x: &[Tensor<1>]| {
                let x = x[0].clone().reshape([2, 4, 6, 3]).permute([0, 3, 1, 2]);
                flat(f(x).permute([0, 2, 3, 1]))
            }
        };
        assert_same("up", &[144], view(upsample_nearest_2x), view(upsample_nearest_2x_composed), 1e-6);
        assert_same("down", &[144], view(average_pool_2x), view(average_pool_2x_composed), 1e-6);
    }
}

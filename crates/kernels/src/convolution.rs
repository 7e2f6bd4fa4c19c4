//! Two-dimensional convolution.

use burn::tensor::{Tensor, module, ops::ConvOptions};

#[cfg(feature = "flex")]
use crate::extension::{self, is_fusable};

/// Two-dimensional convolution (cross-correlation, as everywhere in deep learning), zero padded.
///
/// Shapes: `x` `[b, i, h, w]`, `weight` `[o, i, kh, kw]`, `bias` `[o]`; result `[b, o, oh, ow]` with
/// `oh = (h + 2 padding - kh) / stride + 1`, likewise `ow`.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: usize, padding: usize) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if is_fusable(&x) && is_fusable(&weight) && bias.as_ref().is_none_or(is_fusable) {
        let operation = extension::Convolution { stride, padding };
        return match bias {
            Some(bias) => extension::run_3(operation, x, weight, bias),
            None => extension::run_2(operation, x, weight),
        };
    }
    conv2d_composed(x, weight, bias, stride, padding)
}

/// [`conv2d`] in Burn's operations.
pub fn conv2d_composed(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    module::conv2d(x, weight, bias, ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::testing::{assert_defined, assert_same, flat};

    type Conv2d = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, usize, usize) -> Tensor<4>;

    /// Batch, input channels, height, width, output channels, kernel, stride and padding.
    type Case = [usize; 8];

    fn with([b, i, h, w, o, k, stride, padding]: Case, f: Conv2d) -> impl Fn(&[Tensor<1>]) -> Tensor<1> {
        move |x| {
            let (image, weight) = (x[0].clone().reshape([b, i, h, w]), x[1].clone().reshape([o, i, k, k]));
            flat(f(image, weight, x.get(2).cloned(), stride, padding))
        }
    }

    fn lengths([b, i, h, w, o, k, ..]: Case) -> [usize; 3] {
        [b * i * h * w, o * i * k * k, o]
    }

    #[test]
    fn composed_form_is_the_definition() {
        for case in [[2, 3, 5, 6, 4, 3, 1, 1], [2, 3, 7, 6, 4, 3, 2, 1], [1, 2, 4, 4, 3, 1, 1, 0]] {
            assert_defined("conv2d", &lengths(case), with(case, conv2d_composed), |x| {
                let [b, i, h, w, o, k, stride, padding] = case;
                let (oh, ow) = ((h + 2 * padding - k) / stride + 1, (w + 2 * padding - k) / stride + 1);
                let at = |index: usize| {
                    let (out_x, index) = (index % ow, index / ow);
                    let (out_y, index) = (index % oh, index / oh);
                    let mut sum = x[2][index % o];
                    for c in 0..i {
                        for tap in 0..k * k {
                            let (y, column) = (out_y * stride + tap / k, out_x * stride + tap % k);
                            if (padding..h + padding).contains(&y) && (padding..w + padding).contains(&column) {
                                let pixel = ((index / o * i + c) * h + y - padding) * w + column - padding;
                                sum += x[0][pixel] * x[1][(index % o * i + c) * k * k + tap];
                            }
                        }
                    }
                    sum
                };
                (0..b * o * oh * ow).map(at).collect()
            });
        }
    }

    #[test]
    fn fused_form_is_the_composed_one() {
        for case in [
            [2, 3, 9, 7, 5, 3, 1, 1],
            [3, 8, 14, 14, 13, 3, 1, 1],
            [2, 4, 9, 8, 6, 3, 2, 1],
            [3, 5, 6, 7, 4, 1, 1, 0],
            [2, 3, 8, 8, 4, 2, 2, 0],
            [1, 2, 6, 6, 3, 5, 1, 2],
        ] {
            assert_same("with bias", &lengths(case), with(case, conv2d), with(case, conv2d_composed), 3e-6);
            assert_same("without", &lengths(case)[..2], with(case, conv2d), with(case, conv2d_composed), 3e-6);
        }
    }

    #[test]
    fn fused_form_reads_views() {
        // An image with channels last, a weight turned around, and a gradient with channels last.
        let with = |f: Conv2d| {
            move |x: &[Tensor<1>]| {
                let image = x[0].clone().reshape([2, 6, 5, 3]).permute([0, 3, 1, 2]);
                let weight = x[1].clone().reshape([3, 4, 3, 3]).swap_dims(0, 1);
                flat(f(image, weight, None, 1, 1).permute([0, 2, 3, 1]))
            }
        };
        assert_same("views", &[180, 108], with(conv2d), with(conv2d_composed), 3e-6);
        // The image is its own kernel.
        let with = |f: Conv2d| {
            move |x: &[Tensor<1>]| {
                let x = x[0].clone().reshape([3, 3, 3, 3]);
                flat(f(x.clone(), x, None, 1, 1))
            }
        };
        assert_same("used twice", &[81], with(conv2d), with(conv2d_composed), 3e-6);
    }
}

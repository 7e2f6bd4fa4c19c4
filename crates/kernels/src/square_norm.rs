//! The sum of squares, which global-norm clipping adds up over all gradients.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::extension;

/// The sum of the squares of all elements, as a tensor of one element on the same device.
///
/// The fused form takes tensors that are not part of a graph of gradients. It adds in 64-bit floats, in an order that depends on the length alone.
pub fn square_norm<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    #[cfg(feature = "flex")]
    if extension::is_plain(&x) {
        return extension::square_norm(x);
    }
    square_norm_composed(x)
}

/// [`square_norm`] in Burn's operations.
pub fn square_norm_composed<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    (x.clone() * x).sum()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::testing::{assert_defined, values};

    #[test]
    fn composed_form_is_the_definition() {
        assert_defined(
            "square norm",
            &[77],
            |x| square_norm_composed(x[0].clone()),
            |x| vec![x[0].iter().map(|v| v * v).sum()],
        );
    }

    #[test]
    fn fused_form_is_the_composed_one() {
        let x = Tensor::<1>::from_floats(values(1, 90_000).as_slice(), &Device::flex()).reshape([300, 300]);
        let (fused, composed) = (square_norm(x.clone().swap_dims(0, 1)), square_norm_composed(x));
        let (fused, composed) = (fused.into_scalar::<f32>(), composed.into_scalar::<f32>());
        assert!((fused / composed - 1.0).abs() < 1e-5, "{fused}, not {composed}");
    }

    #[test]
    fn a_tensor_in_a_graph_keeps_its_gradient() {
        let x = Tensor::<1>::from_floats([1.0, 2.0], &Device::flex().autodiff()).require_grad();
        let gradients = square_norm(x.clone()).backward();
        assert_eq!(x.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap(), [2.0, 4.0]);
    }
}

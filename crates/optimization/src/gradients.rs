//! Gradients by parameter name: sum, norm, scale.

use burn::tensor::Tensor;
use sinter_kernels::square_norm;

use crate::{OptimizationError, Tensors};

/// Adds the gradients of one micro-batch to those of the ones before.
pub fn accumulate(total: Option<Tensors>, gradients: Tensors) -> Tensors {
    match total {
        None => gradients,
        Some(mut total) => {
            for (name, gradient) in gradients {
                let sum = match total.remove(&name) {
                    Some(before) => before + gradient,
                    None => gradient,
                };
                total.insert(name, sum);
            }
            total
        }
    }
}

/// The norm of all gradients taken as one vector. The device is asked once.
///
/// # Errors
/// When a gradient is not finite, with the name of the first such parameter.
pub fn global_norm(gradients: &Tensors) -> Result<f64, OptimizationError> {
    if gradients.is_empty() {
        return Ok(0.0);
    }
    let squares: Vec<Tensor<1>> = gradients.values().map(|gradient| square_norm(gradient.clone())).collect();
    let squares: Vec<f32> = Tensor::cat(squares, 0).into_data().iter::<f32>().collect();
    let mut total = 0.0;
    for (name, square) in gradients.keys().zip(squares) {
        if !square.is_finite() {
            return Err(OptimizationError::NonFinite { tensor: name.clone() });
        }
        total += f64::from(square);
    }
    Ok(total.sqrt())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn tensors(values: &[(&str, &[f32])]) -> Tensors {
        values
            .iter()
            .map(|(name, values)| ((*name).to_string(), Tensor::<1>::from_floats(*values, &Device::flex())))
            .collect()
    }

    #[test]
    fn norm_is_that_of_one_long_vector() {
        let gradients = tensors(&[("a", &[3.0, 0.0]), ("b", &[4.0, 12.0])]);
        assert!((global_norm(&gradients).unwrap() - 13.0).abs() < 1e-12);
    }

    #[test]
    fn the_first_tensor_that_is_not_finite_is_named() {
        let gradients = tensors(&[("a", &[3.0]), ("b", &[f32::NAN]), ("c", &[f32::INFINITY])]);
        let error = global_norm(&gradients).unwrap_err();
        assert!(matches!(error, OptimizationError::NonFinite { tensor } if tensor == "b"));
    }

    #[test]
    fn sums_add_by_name() {
        let sum = accumulate(Some(tensors(&[("a", &[1.0]), ("b", &[2.0])])), tensors(&[("b", &[3.0]), ("c", &[4.0])]));
        let found: Vec<f32> = sum.values().map(|t| t.clone().into_scalar::<f32>()).collect();
        assert_eq!(found, [1.0, 5.0, 4.0]);
    }
}

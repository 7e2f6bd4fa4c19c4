//! Distances between images, for losses that compare two networks' outputs.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

/// Added to the square of a norm, whose slope at zero would else be infinite.
const TINY: f64 = 1e-24;

/// How far apart two images of `d` elements are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Distance {
    /// The mean over elements of the squared difference.
    #[default]
    L2,
    /// The mean over elements of the absolute difference.
    L1,
    /// The norm `|a - b|` of all elements (Geng et al. 2024).
    Norm,
    /// `sqrt(|a - b|^2 + c^2) - c` of the norm of all elements: square where it is well below c, the norm above
    /// (Charbonnier et al. 1997; Song and Dhariwal 2023).
    PseudoHuber {
        /// Where the one becomes the other, above 0; `0.00054 sqrt(d)` where not given (Song and Dhariwal 2023, section 3.3).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        c: Option<f64>,
    },
    /// `(sqrt(|a - b|^2 + c^2) - c) / d` with `c = factor d` (Lee et al. 2024, section 4.2).
    MeanPseudoHuber {
        /// `c` over the number of elements, above 0.
        #[serde(default = "published_factor")]
        factor: f64,
    },
    /// The mean over elements of `sqrt((a - b)^2 + c^2) - c`.
    ElementwisePseudoHuber {
        /// Where the square becomes the absolute difference, above 0.
        c: f64,
    },
}

fn published_factor() -> f64 {
    0.00054
}

impl Distance {
    /// `c` of [`Distance::PseudoHuber`] for images of so many elements, where none is given.
    pub fn default_c(elements: usize) -> f64 {
        0.00054 * (elements as f64).sqrt()
    }

    /// The distance of two images on the host.
    pub fn of(&self, a: &[f64], b: &[f64]) -> f64 {
        let over = |of: &dyn Fn(f64) -> f64| a.iter().zip(b).map(|(a, b)| of(a - b)).sum::<f64>();
        let elements = a.len() as f64;
        match *self {
            Self::L2 => over(&|difference| difference * difference) / elements,
            Self::L1 => over(&f64::abs) / elements,
            Self::Norm => over(&|difference| difference * difference).sqrt(),
            Self::PseudoHuber { c } => {
                let c = c.unwrap_or_else(|| Self::default_c(a.len()));
                over(&|difference| difference * difference + c * c / elements).sqrt() - c
            }
            Self::MeanPseudoHuber { factor } => {
                let c = factor * elements;
                (over(&|difference| difference * difference + c * c / elements).sqrt() - c) / elements
            }
            Self::ElementwisePseudoHuber { c } => over(&|difference| difference.hypot(c) - c) / elements,
        }
    }

    /// The distance of each pair of images `[b, c, h, w]`, `[b]`. Its gradient is finite everywhere.
    pub fn losses(&self, a: Tensor<4>, b: Tensor<4>) -> Tensor<1> {
        let difference = (a - b).flatten::<2>(1, 3); // [b, d]
        let elements = difference.dims()[1];
        let mean = |x: Tensor<2>| x.mean_dim(1).squeeze_dim::<1>(1);
        let square = |x: Tensor<2>| x.square().sum_dim(1).squeeze_dim::<1>(1);
        match *self {
            Self::L2 => mean(difference.square()),
            Self::L1 => mean(difference.abs()),
            Self::Norm => above(square(difference), 0.0),
            Self::PseudoHuber { c } => above(square(difference), c.unwrap_or_else(|| Self::default_c(elements))),
            Self::MeanPseudoHuber { factor } => above(square(difference), factor * elements as f64) / elements as f64,
            Self::ElementwisePseudoHuber { c } => mean(above(difference.square(), c)),
        }
    }

    /// Every problem of the settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        match *self {
            Self::PseudoHuber { c: Some(c) } | Self::ElementwisePseudoHuber { c } => {
                problems.check(c > 0.0 && c.is_finite(), "c", "must be finite and above 0");
            }
            Self::MeanPseudoHuber { factor } => {
                problems.check(factor > 0.0 && factor.is_finite(), "factor", "must be finite and above 0");
            }
            _ => {}
        }
        problems
    }
}

/// `sqrt(square + c^2) - c`, without the cancellation.
fn above<const D: usize>(square: Tensor<D>, c: f64) -> Tensor<D> {
    square.clone() / ((square + (c * c + TINY)).sqrt() + c)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};

    use super::*;

    const ALL: [Distance; 7] = [
        Distance::L2,
        Distance::L1,
        Distance::Norm,
        Distance::PseudoHuber { c: None },
        Distance::PseudoHuber { c: Some(0.3) },
        Distance::MeanPseudoHuber { factor: 0.1 },
        Distance::ElementwisePseudoHuber { c: 0.1 },
    ];

    fn image(values: &[f64], device: &Device) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, 1, 1, values.len()]), (device, DType::F64))
    }

    #[test]
    fn they_have_their_closed_forms() {
        let (a, b) = ([3.0, -1.0, 0.5, 0.0], [0.0, 3.0, 0.5, 0.0]);
        let expected = [
            25.0 / 4.0,
            7.0 / 4.0,
            5.0,
            (25.0 + 0.00108f64.powi(2)).sqrt() - 0.00108,
            25.09f64.sqrt() - 0.3,
            (25.16f64.sqrt() - 0.4) / 4.0,
            (9.01f64.sqrt() + 16.01f64.sqrt() - 0.2) / 4.0,
        ];
        for (distance, expected) in ALL.iter().zip(expected) {
            let device = Device::flex();
            let losses = distance.losses(image(&a, &device), image(&b, &device));
            let on_tensors: Vec<f64> = losses.into_data().iter::<f64>().collect();
            assert!((distance.of(&a, &b) - expected).abs() < 1e-14, "{distance:?}");
            assert!((on_tensors[0] - expected).abs() < 1e-14, "{distance:?}");
            assert!(distance.validate().is_empty() && distance.of(&a, &a) == 0.0);
        }
        assert!(!Distance::PseudoHuber { c: Some(0.0) }.validate().is_empty());
    }

    /// Also where both images are the same.
    #[test]
    fn gradients_are_finite() {
        let device = Device::flex().autodiff();
        for distance in ALL {
            for other in [[0.5, -1.0], [0.2, 0.1]] {
                let a = image(&[0.5, -1.0], &device).require_grad();
                let loss = distance.losses(a.clone(), image(&other, &device)).sum();
                let gradient: Vec<f64> = a.grad(&loss.backward()).unwrap().into_data().iter::<f64>().collect();
                let h = 1e-7;
                for (i, found) in gradient.into_iter().enumerate() {
                    let moved = |h: f64| {
                        let mut a = [0.5, -1.0];
                        a[i] += h;
                        distance.of(&a, &other)
                    };
                    let expected = (moved(h) - moved(-h)) / (2.0 * h);
                    assert!((found - expected).abs() < 1e-6, "{distance:?} at {other:?}: {found} {expected}");
                }
            }
        }
    }
}

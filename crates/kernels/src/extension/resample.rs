//! Doubling and halving the resolution.

use burn::backend::flex::FlexTensor;

use super::Operation;
use super::tensor::{dense, sizes, slice, tensor};
use crate::slices::resample::{gather, spread};

/// A change of resolution of images `[b, c, h, w]`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resample {
    /// Each pixel becomes a block of 2 x 2.
    UpsampleNearest,
    /// Each block of 2 x 2 becomes its mean.
    AveragePool,
}

/// `factor` times each pixel, as a block of 2 x 2.
fn up(x: FlexTensor, factor: f32) -> FlexTensor {
    let x = dense(x);
    let [b, c, h, w] = sizes(&x);
    tensor(spread(slice(&x), w, factor), [b, c, 2 * h, 2 * w])
}

/// `factor` times the sum of each block of 2 x 2.
fn down(x: FlexTensor, factor: f32) -> FlexTensor {
    let x = dense(x);
    let [b, c, h, w] = sizes(&x);
    assert!(h.is_multiple_of(2) && w.is_multiple_of(2), "average_pool_2x: {h} x {w} is not even");
    tensor(gather(slice(&x), w / 2, factor), [b, c, h / 2, w / 2])
}

impl Operation<1> for Resample {
    type Saved = ();

    fn name(&self) -> &'static str {
        match self {
            Self::UpsampleNearest => "upsample_nearest_2x",
            Self::AveragePool => "average_pool_2x",
        }
    }

    fn forward(&self, [x]: [FlexTensor; 1]) -> (FlexTensor, ()) {
        let y = match self {
            Self::UpsampleNearest => up(x, 1.0),
            Self::AveragePool => down(x, 0.25),
        };
        (y, ())
    }

    fn backward(&self, (): (), gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let dx = match self {
            Self::UpsampleNearest => down(gradient, 1.0),
            Self::AveragePool => up(gradient, 0.25),
        };
        [Some(dx)]
    }
}

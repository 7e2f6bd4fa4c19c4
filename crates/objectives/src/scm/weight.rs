//! The weight of the loss over time, learned beside the student.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use sinter_models::Initialization;
use sinter_models::initialization::Start;
use sinter_models::layers::{Linear, sinusoidal};
use sinter_sampling::values;

/// Sines and cosines of the time.
const FEATURES: usize = 64;
/// What `ln rho` is multiplied by before: so the fastest of them turns several times over the levels of noise.
const SCALE: f64 = 4.0;

/// `w(ln rho)`, a linear function of sines and cosines (Karras et al. 2024, section 2.3). It starts at zero. Where the loss
/// of a time is L, `e^w L - w` is least at `e^w = 1 / L`: all times come to count alike.
#[derive(Module, Debug)]
pub struct TimeWeight {
    /// `[features] -> [1]`.
    pub linear: Linear,
}

impl TimeWeight {
    /// A fresh one.
    pub fn new(device: &Device) -> Self {
        Self { linear: Linear::new(FEATURES, 1, Start::Zero, &mut Initialization::new(0, device)) }
    }

    /// w at each `ln rho`, `[b]`.
    pub fn forward(&self, log_noise: &[f64], device: &Device, dtype: DType) -> Tensor<1> {
        let scaled: Vec<f64> = log_noise.iter().map(|value| SCALE * value).collect();
        let features = sinusoidal(values(&scaled, device, dtype), FEATURES, false); // [b, features]
        self.linear.forward(features.into()).value.squeeze_dim::<1>(1)
    }
}

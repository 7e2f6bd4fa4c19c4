use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use super::Mlp;
use crate::dual::Dual;
use crate::initialization::{Initialization, Start};

/// The longest period is `2 pi` times this.
const MAXIMUM_PERIOD: f64 = 10_000.0;

/// A vector for a time label: cosines and sines of it at geometrically spaced frequencies, then a small network.
///
/// Frequencies `10000^(-i/half)` for `i` in `0..half` (ADM, DiT), or `10000^(-i/(half - 1))` with the endpoint (DDPM,
/// diffusers); all cosines first, then all sines.
#[derive(Module, Debug)]
pub struct TimeEmbedding {
    /// `[1, half]`, fixed.
    frequencies: Tensor<2>,
    /// `[2 half] -> [d] -> [d]`.
    pub mlp: Mlp,
}

impl TimeEmbedding {
    /// From `features` (even) sines and cosines to `width` features.
    pub fn new(features: usize, endpoint: bool, width: usize, start: Start, init: &mut Initialization) -> Self {
        Self {
            frequencies: frequencies(features, endpoint, init.device()),
            mlp: Mlp::new(features, width, width, start, init),
        }
    }

    /// Labels `[b]` to vectors `[b, d]`.
    pub fn forward(&self, label: Dual<1>) -> Dual<2> {
        self.mlp.forward_silu(self.features(label)) // [b, d]
    }

    /// The cosines and sines alone, `[b, 2 half]`.
    pub fn features(&self, label: Dual<1>) -> Dual<2> {
        let (cosines, sines) = turns(label, self.frequencies.clone());
        Dual::cat(vec![cosines, sines], 1) // [b, 2 half]
    }
}

/// The sines and cosines alone: labels `[b]` to `[b, features]`, `features` even.
pub fn sinusoidal(label: Tensor<1>, features: usize, endpoint: bool) -> Tensor<2> {
    let frequencies = frequencies(features, endpoint, &label.device());
    let (cosines, sines) = turns(label.into(), frequencies);
    Tensor::cat(vec![cosines.value, sines.value], 1)
}

/// Cosines and sines of labels `[b]` at frequencies `[1, half]`, `[b, half]` each. As the labels move they turn at the
/// frequencies' rates.
pub(crate) fn turns(label: Dual<1>, frequencies: Tensor<2>) -> (Dual<2>, Dual<2>) {
    let angle = label.each(|label| label.unsqueeze_dim::<2>(1)) * frequencies; // [b, half]
    let cosines = angle.clone().through(Tensor::cos, |x, tangent| x.sin().neg() * tangent);
    (cosines, angle.through(Tensor::sin, |x, tangent| x.cos() * tangent))
}

fn frequencies(features: usize, endpoint: bool, device: &Device) -> Tensor<2> {
    let frequencies: Vec<f32> = time_frequencies(features, endpoint).map(|frequency| frequency as f32).collect();
    let half = frequencies.len();
    Tensor::from_data(TensorData::new(frequencies, [1, half]), device)
}

/// The frequencies of `features` sines and cosines, from 1 down.
pub(crate) fn time_frequencies(features: usize, endpoint: bool) -> impl Iterator<Item = f64> {
    let half = features / 2;
    let intervals = half - usize::from(endpoint);
    (0..half).map(move |i| (-MAXIMUM_PERIOD.ln() * i as f64 / intervals as f64).exp())
}

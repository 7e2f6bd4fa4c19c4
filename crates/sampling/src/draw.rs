//! From a plan to images.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use sinter_config::Problems;
use sinter_models::Condition;
use sinter_process::random::{Key, Stream};
use sinter_solvers::Plan;

use crate::{Denoiser, Guidance, Guided, execute};

/// What can go wrong while sampling.
#[derive(Debug, thiserror::Error)]
pub enum SamplingError {
    /// The plan contradicts itself.
    #[error("the plan is not valid:\n{0}")]
    Plan(Problems),
    /// Solver, grid and path do not go together.
    #[error("the sampler does not fit the model's path:\n{0}")]
    Sampler(Problems),
}

/// Which samples to draw: every sample is a function of the seed and of its own index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Shape of one image, `[c, h, w]`.
    pub image: [usize; 3],
    /// Seed of the noise.
    pub seed: u64,
    /// Indices of the samples.
    pub indices: Range<u64>,
}

/// Draws samples, `[n, c, h, w]`; `condition` must hold as many rows as there are indices.
///
/// # Errors
/// When the plan is not valid.
pub fn draw(
    plan: &Plan,
    denoiser: &dyn Denoiser,
    guidance: Guidance,
    condition: &Condition,
    request: &Request,
    device: &Device,
) -> Result<Tensor<4>, SamplingError> {
    let start = noise(request, 0, device).mul_scalar(plan.scale);
    let guided = Guided { denoiser, guidance };
    execute(plan, start, &guided, condition, |draw| noise(request, draw + 1, device), |_, _| {})
}

/// Noise number `draw` of the requested samples, `[n, c, h, w]`; number 0 is the start.
fn noise(request: &Request, draw: usize, device: &Device) -> Tensor<4> {
    let [c, h, w] = request.image;
    let count = (request.indices.end - request.indices.start) as usize;
    let mut values = vec![0.0_f32; count * c * h * w];
    let key = Key::new(request.seed, Stream::SAMPLE_NOISE.nth(draw as u32));
    values.par_chunks_mut((c * h * w).max(1)).enumerate().for_each(|(i, chunk)| {
        key.at(request.indices.start + i as u64).fill_normal(chunk);
    });
    Tensor::from_data(TensorData::new(values, [count, c, h, w]), device)
}

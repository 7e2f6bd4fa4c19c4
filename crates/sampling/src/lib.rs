//! Executes plans with a denoiser on tensors: guidance, keyed noise, samples.

mod conditioner;
mod denoiser;
mod draw;
mod executor;
mod guidance;

pub use conditioner::Conditioner;
pub use denoiser::{Denoiser, NetworkDenoiser, data_at_each, per_image, values};
pub use draw::{Request, SamplingError, draw};
pub use executor::execute;
pub use guidance::{Guidance, Guided, guided_data};

//! From batches on the host to tensors, with the random draws that training makes for each image.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use sinter_data::Batch;
use sinter_models::Condition;
use sinter_process::random::{Key, Stream};
use sinter_sampling::Conditioner;

use crate::MethodError;

/// The images as a tensor, `[b, c, h, w]`.
pub fn images(batch: &Batch, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(batch.pixels.clone(), batch.shape), device)
}

/// Standard normal noise for each image of the batch, `[b, c, h, w]`: a function of the seed and the image's position
/// on the clock.
pub fn noise(batch: &Batch, seed: u64, stream: Stream, device: &Device) -> Tensor<4> {
    let key = Key::new(seed, stream);
    let mut values = vec![0.0_f32; batch.pixels.len()];
    let size = batch.pixels.len() / batch.len().max(1);
    values.par_chunks_mut(size).enumerate().for_each(|(i, chunk)| {
        key.at(batch.first_image + i as u64).fill_normal(chunk);
    });
    Tensor::from_data(TensorData::new(values, batch.shape), device)
}

/// What each image is conditioned on; an image is conditioned on nothing with probability `dropout`.
///
/// # Errors
/// When a caption has an unknown word or too many words.
pub fn condition(
    batch: &Batch,
    conditioner: &Conditioner,
    dropout: f64,
    seed: u64,
    device: &Device,
) -> Result<Condition, MethodError> {
    let key = Key::new(seed, Stream::CONDITION_DROPOUT);
    let dropped = |i: usize| dropout > 0.0 && key.at(batch.first_image + i as u64).uniform(0) < dropout;
    Ok(conditioner.condition(batch.classes.as_deref(), batch.captions.as_deref(), dropped, device)?)
}

//! One update from one batch: the batch in portions, their gradients added up.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use sinter_data::Batch;
use sinter_kernels::map_images;
use sinter_models::parameters;
use sinter_optimization::{Tensors, Trainable, accumulate};

use crate::{Clock, MethodError, Tally};

/// The mean loss over `batch` and its gradient by every parameter of `network`.
///
/// `losses` gives the loss of each image of a portion, `[b]`; it is told which range of the batch the portion is. The
/// network that it is given is a copy with gradients of its own, because the portions are taken side by side on the
/// CPU, `micro_batch` images at a time. Their gradients are added in the order of the images.
///
/// # Errors
/// Those of `losses`, and [`MethodError::NonFinite`] for the loss.
pub fn mean_gradients<M: Module + Sync>(
    network: &M,
    batch: &Batch,
    micro_batch: usize,
    device: &Device,
    losses: impl Fn(&M, &Batch, Range<usize>) -> Result<Tensor<1>, MethodError> + Sync,
) -> Result<(f64, Tensors), MethodError> {
    let portion = |range: Range<usize>| -> Result<(f64, Tensors), MethodError> {
        let network = parameters::map(network.clone(), |_, parameter| parameter);
        // The mean over the whole batch, so that the portions' gradients add up to its gradient.
        let loss = losses(&network, &batch.slice(range.clone()), range)?.sum().div_scalar(batch.len() as f64);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        Ok((value, parameters::gradients(&network, &loss.backward())))
    };
    let (mut loss, mut gradients) = (0.0, None);
    for chunk in batch.chunks(micro_batch) {
        let portions =
            map_images(device, chunk.len(), |range| portion(chunk.start + range.start..chunk.start + range.end));
        for result in portions {
            let (value, own) = result?;
            loss += value;
            gradients = Some(accumulate(gradients, own));
        }
    }
    if !loss.is_finite() {
        return Err(MethodError::NonFinite { tensor: "loss".into() });
    }
    Ok((loss, gradients.unwrap_or_default()))
}

/// The step of a method with one network and one loss an image: [`mean_gradients`] and the update, with what is logged.
///
/// # Errors
/// As [`mean_gradients`], and when a gradient is not finite: nothing is changed then.
pub fn one_network<M: Module + Sync>(
    model: &mut Trainable<M>,
    batch: &Batch,
    clock: Clock,
    device: &Device,
    losses: impl Fn(&M, &Batch, Range<usize>) -> Result<Tensor<1>, MethodError> + Sync,
) -> Result<Tally, MethodError> {
    let (loss, gradients) = mean_gradients(model.network(), batch, clock.micro_batch, device, losses)?;
    let update = model.update(gradients, clock.images)?;
    let mut tally = Tally::new();
    tally.add("loss", loss);
    tally.add("gradient_norm", update.gradient_norm);
    tally.add("learning_rate", update.learning_rate);
    Ok(tally)
}

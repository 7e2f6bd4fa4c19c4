//! One update from one batch: the batch in portions, their gradients added up.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use sinter_data::Batch;
use sinter_kernels::map_images;
use sinter_models::parameters;
use sinter_optimization::{Tensors, Trainable, accumulate};

use crate::{Clock, MethodError, Tally};

/// Name of the whole loss.
const TOTAL: &str = "loss";

/// The loss of each image of a portion, `[b]`.
pub struct Losses {
    total: Tensor<1>,
    /// What is logged beside the total, by name.
    parts: Vec<(&'static str, Tensor<1>)>,
}

impl Losses {
    /// The same and `part`, `[b]`, whose mean is also logged alone, under `name`.
    pub fn plus(mut self, name: &'static str, part: Tensor<1>) -> Self {
        self.parts.push((name, part.clone().detach()));
        Self { total: self.total + part, ..self }
    }

    /// The same, with the mean of `values`, `[b]`, logged under `name`.
    pub fn beside(mut self, name: &'static str, values: Tensor<1>) -> Self {
        self.parts.push((name, values.detach()));
        self
    }
}

impl From<Tensor<1>> for Losses {
    fn from(total: Tensor<1>) -> Self {
        Self { total, parts: Vec::new() }
    }
}

/// The means over `batch` of the loss, under `loss`, and of its parts, and the loss's gradient by every parameter of
/// `network`.
///
/// `losses` gives the losses of a portion; it is told which range of the batch the portion is. The
/// network that it is given is a copy with gradients of its own, because the portions are taken side by side on the
/// CPU, `micro_batch` images at a time. Their gradients are added in the order of the images.
///
/// # Errors
/// Those of `losses`, and [`MethodError::NonFinite`] for the loss.
pub fn mean_gradients<M: Module + Sync, L: Into<Losses>>(
    network: &M,
    batch: &Batch,
    micro_batch: usize,
    device: &Device,
    losses: impl Fn(&M, &Batch, Range<usize>) -> Result<L, MethodError> + Sync,
) -> Result<(Tally, Tensors), MethodError> {
    let portion = |range: Range<usize>| -> Result<(BTreeMap<&'static str, f64>, Tensors), MethodError> {
        let network = parameters::map(network.clone(), |_, parameter| parameter);
        // The mean over the whole batch, so that the portions' gradients add up to its gradient.
        let mean = |losses: Tensor<1>| losses.sum().div_scalar(batch.len() as f64);
        let value = |mean: Tensor<1>| f64::from(mean.into_scalar::<f32>());
        let Losses { total, parts } = losses(&network, &batch.slice(range.clone()), range)?.into();
        let total = mean(total);
        let mut means: BTreeMap<_, _> = parts.into_iter().map(|(name, part)| (name, value(mean(part)))).collect();
        means.insert(TOTAL, value(total.clone()));
        Ok((means, parameters::gradients(&network, &total.backward())))
    };
    let (mut means, mut gradients) = (BTreeMap::new(), None);
    for chunk in batch.chunks(micro_batch) {
        let portions =
            map_images(device, chunk.len(), |range| portion(chunk.start + range.start..chunk.start + range.end));
        for result in portions {
            let (of_portion, own) = result?;
            for (name, mean) in of_portion {
                *means.entry(name).or_insert(0.0) += mean;
            }
            gradients = Some(accumulate(gradients, own));
        }
    }
    let mut tally = Tally::new();
    for (name, mean) in means {
        if !mean.is_finite() {
            return Err(MethodError::NonFinite { tensor: name.into() });
        }
        tally.add(name, mean);
    }
    Ok((tally, gradients.unwrap_or_default()))
}

/// The step of a method with one network and one loss an image: [`mean_gradients`] and the update, with what is logged.
///
/// # Errors
/// As [`mean_gradients`], and when a gradient is not finite: nothing is changed then.
pub fn one_network<M: Module + Sync, L: Into<Losses>>(
    model: &mut Trainable<M>,
    batch: &Batch,
    clock: Clock,
    device: &Device,
    losses: impl Fn(&M, &Batch, Range<usize>) -> Result<L, MethodError> + Sync,
) -> Result<Tally, MethodError> {
    let (mut tally, gradients) = mean_gradients(model.network(), batch, clock.micro_batch, device, losses)?;
    let update = model.update(gradients, clock.images)?;
    tally.add("gradient_norm", update.gradient_norm);
    tally.add("learning_rate", update.learning_rate);
    Ok(tally)
}

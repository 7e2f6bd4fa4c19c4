use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use sinter_process::random::{Key, Stream};

use crate::dual::Dual;

/// Which masks a pass through a network takes: row `i` of its batch is training image `first_image + i`. So a batch
/// has the masks of the smaller ones that it could be split into, on every device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutKey {
    /// The run's seed (with another one for each pass of a method that makes several over the same image).
    pub seed: u64,
    /// Index of the batch's first image on the run's clock.
    pub first_image: u64,
}

/// Sets each element to zero with a probability and scales the others up to keep the mean (Srivastava et al., 2014).
#[derive(Module, Debug)]
pub struct Dropout {
    probability: f64,
    ordinal: u32,
}

impl Dropout {
    /// The network's dropout layer number `ordinal`, with `probability` in `[0, 1)`.
    pub fn new(probability: f64, ordinal: u32) -> Self {
        Self { probability, ordinal }
    }

    /// `[b, ...]` to the same shape; without a key (evaluation, sampling) the input itself.
    pub fn forward<const D: usize>(&self, x: Dual<D>, key: Option<DropoutKey>) -> Dual<D> {
        let Some(key) = key.filter(|_| self.probability > 0.0) else { return x };
        let shape = x.dims();
        let mask = TensorData::new(self.mask(key, shape[0], shape.iter().product()), shape);
        let mask = Tensor::<D>::from_data(mask, &x.value.device());
        x * mask
    }

    /// For each element 0, or `1/(1 - probability)`.
    fn mask(&self, key: DropoutKey, batch: usize, elements: usize) -> Vec<f32> {
        let (probability, keep) = (self.probability as f32, (1.0 / (1.0 - self.probability)) as f32);
        let layer = Key::new(key.seed, Stream::DROPOUT.nth(self.ordinal));
        let mut mask = vec![0.0; elements];
        mask.par_chunks_exact_mut((elements / batch.max(1)).max(1)).enumerate().for_each(|(row, mask)| {
            layer.at(key.first_image + row as u64).fill_uniform(mask);
            mask.iter_mut().for_each(|value| *value = if *value < probability { 0.0 } else { keep });
        });
        mask
    }
}

//! Low-rank adapters into the weights that they stand beside, and out of them again.

use std::collections::BTreeSet;

use super::{AdapterConfig, AdaptersConfig, FIELD, is_adapter};
use crate::parameters::{Array, Arrays};

/// Why adapters cannot be merged or unmerged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// What a bottleneck adds is not linear in the layer's input.
    #[error("{layer} has a bottleneck adapter, which is not linear: it cannot be merged into the layer's weight")]
    Bottleneck {
        /// The layer.
        layer: String,
    },
    /// No rule of the configuration gives the layer an adapter.
    #[error("{layer} has an adapter, but no rule of `[adapters]` gives it one")]
    NoRule {
        /// The layer.
        layer: String,
    },
    /// Tensors are missing or their shapes do not go together.
    #[error("the weight {weight:?} and the adapter {down:?}, {up:?} of {layer} do not go together")]
    Shapes {
        /// The layer.
        layer: String,
        /// Shape of its weight; empty if there is none.
        weight: Vec<usize>,
        /// Shape of `down`; empty if there is none.
        down: Vec<usize>,
        /// Shape of `up`; empty if there is none.
        up: Vec<usize>,
    },
}

impl AdaptersConfig {
    /// The base network with the adapters in its weights: adds `scale * up down` to each and leaves out the adapters.
    ///
    /// # Errors
    /// When an adapter is not a low-rank one of these rules, or does not fit its layer.
    pub fn merge(&self, adapted: Arrays) -> Result<Arrays, MergeError> {
        let (adapters, mut base): (Arrays, Arrays) = adapted.into_iter().partition(|(name, _)| is_adapter(name));
        self.add(1.0, &adapters, &mut base)?;
        Ok(base)
    }

    /// The inverse of [`merge`](Self::merge): takes `adapters`, whose names say which are theirs, out of the weights of
    /// `merged` and puts them beside.
    ///
    /// # Errors
    /// As [`merge`](Self::merge).
    pub fn unmerge(&self, merged: Arrays, adapters: Arrays) -> Result<Arrays, MergeError> {
        let mut adapted = merged;
        self.add(-1.0, &adapters, &mut adapted)?;
        adapted.extend(adapters);
        Ok(adapted)
    }

    /// Adds `sign * scale * up down` of each adapter to its layer's weight.
    fn add(&self, sign: f64, adapters: &Arrays, base: &mut Arrays) -> Result<(), MergeError> {
        let layers: BTreeSet<&str> =
            adapters.keys().filter_map(|name| name.split_once(FIELD)).map(|(layer, _)| layer).collect();
        for layer in layers {
            let scale = match self.of_layer(layer) {
                Some(low_rank @ AdapterConfig::LowRank { .. }) => low_rank.scale(),
                Some(AdapterConfig::Bottleneck { .. }) => return Err(MergeError::Bottleneck { layer: layer.into() }),
                None => return Err(MergeError::NoRule { layer: layer.into() }),
            };
            let part = |part: &str| adapters.get(&format!("{layer}{FIELD}{part}")).cloned().unwrap_or_default();
            let (down, up) = (part("down"), part("up"));
            let mut none = Array::default();
            let weight = base.get_mut(&format!("{layer}.weight")).unwrap_or(&mut none);
            let product = product(&weight.shape, &down, &up).ok_or_else(|| MergeError::Shapes {
                layer: layer.into(),
                weight: weight.shape.clone(),
                down: down.shape.clone(),
                up: up.shape.clone(),
            })?;
            for (weight, change) in weight.values.iter_mut().zip(product) {
                *weight = (f64::from(*weight) + sign * scale * change) as f32;
            }
        }
        Ok(())
    }
}

/// `up down` in the layout of a weight of `shape`, if the three go together.
fn product(shape: &[usize], down: &Array, up: &Array) -> Option<Vec<f64>> {
    match (shape, &down.shape[..], &up.shape[..]) {
        (&[inputs, outputs], &[from, rank], &[of, to]) => {
            ((inputs, outputs, rank) == (from, to, of)).then(|| matrices(&down.values, &up.values, rank, outputs))
        }
        (&[outputs, ref kernel @ ..], &[rank, ref from @ ..], &[to, of, 1, 1]) => {
            let size = kernel.iter().product();
            (kernel == from && (outputs, rank) == (to, of)).then(|| matrices(&up.values, &down.values, rank, size))
        }
        _ => None,
    }
}

/// The product of row-major matrices `[rows, inner]` and `[inner, columns]`.
fn matrices(left: &[f32], right: &[f32], inner: usize, columns: usize) -> Vec<f64> {
    let row = |left: &[f32]| {
        let mut row = vec![0.0; columns];
        for (factor, right) in left.iter().zip(right.chunks_exact(columns)) {
            row.iter_mut().zip(right).for_each(|(sum, right)| *sum += f64::from(*factor) * f64::from(*right));
        }
        row
    };
    left.chunks_exact(inner).flat_map(row).collect()
}

//! Which indices of a discrete chain a sampler visits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::linspace;

/// How `count` indices are picked out of a chain of `steps`, descending. The names are those of Lin et al. 2024, table 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Spacing {
    /// Multiples of `steps / count` rounded down, from zero up, plus an offset: never reaches the noisiest index.
    Leading {
        /// Added to each index; latent diffusion has 1.
        #[serde(default)]
        offset: usize,
    },
    /// From the noisiest index down by `steps / count`: never reaches index 0.
    #[default]
    Trailing,
    /// Even from the noisiest index to 0, both included.
    Linspace,
}

impl Spacing {
    /// The indices, of which only those of [`Spacing::Linspace`] can be fractional: a sampler of discrete networks
    /// rounds them (ties to even), one that interpolates noise levels need not.
    pub fn indices(&self, steps: usize, count: usize) -> Vec<f64> {
        match *self {
            Self::Leading { offset } => {
                let stride = steps / count.max(1);
                (0..count).rev().map(|i| (i * stride + offset) as f64).collect()
            }
            Self::Trailing => {
                // Strides add up from the end as a rounded number, as in the references: ties then fall as theirs.
                let end = steps as f64;
                let stride = end - (end - end / count as f64);
                (0..count).map(|i| (end - i as f64 * stride).round_ties_even() - 1.0).collect()
            }
            Self::Linspace => {
                let mut ascending = linspace(0.0, steps as f64 - 1.0, count);
                ascending.reverse();
                ascending
            }
        }
    }

    /// The indices of a sampler that counts its last step, to index 0, as an interval of its own (DPM-Solver):
    /// one index more, of which the last is left out. [`Spacing::Trailing`] has no such index to leave out.
    pub fn interval_indices(&self, steps: usize, count: usize) -> Vec<f64> {
        match self {
            Self::Trailing => self.indices(steps, count),
            Self::Leading { .. } | Self::Linspace => {
                let mut indices = self.indices(steps, count + 1);
                indices.pop();
                indices
            }
        }
    }
}

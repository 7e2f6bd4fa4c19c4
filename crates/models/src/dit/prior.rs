//! The loss on the gates of a DiT with experts ([`routing::prior`](crate::routing::prior)).

use burn::tensor::{Int, Tensor, TensorData};

use super::Dit;
use crate::routing::prior::{costs, divergence, matching, prior, targets};
use crate::routing::{Experts, ExpertsConfig, Routing};

/// What the gates of a network are to give each task, for one update.
#[derive(Clone, Debug)]
pub struct PriorTargets {
    config: ExpertsConfig,
    /// `[tasks, units]`, each row's sum 1.
    table: Vec<f32>,
}

impl Dit {
    /// The experts of each block; none where it has none.
    fn experts(&self) -> impl Iterator<Item = &Experts> {
        self.routing.iter().filter_map(|routing| match routing {
            Routing::Experts(experts) => Some(experts),
            Routing::Masks(_) => None,
        })
    }

    /// What every gate gives the experts of its block, `[b, experts]` each, for time labels `[b]`.
    pub fn gates(&self, time_label: Tensor<1>) -> Vec<Tensor<2>> {
        let time = self.conditioning.time.forward(time_label.into()); // [b, d]
        self.experts().map(|experts| experts.probabilities(time.clone()).value).collect()
    }

    /// Which experts every block takes for each task: ones and zeros `[tasks, experts]`, a block after the other; none
    /// where there are no experts.
    pub fn usage(&self) -> Vec<Tensor<2>> {
        let Some(config) = &self.experts_config else { return Vec::new() };
        let device = self.positions.device();
        let labels = Tensor::<1, Int>::arange(0..config.tasks as i64, &device).float();
        let gates = self.gates(labels);
        self.experts().zip(&gates).map(|(experts, gate)| experts.chosen(gate)).collect()
    }

    /// The prior, its units matched with what the gates choose now; of several equal ways `seed` and `images`, the clock,
    /// decide. `None` where there are no experts, or no prior.
    pub fn prior_targets(&self, seed: u64, images: u64) -> Option<PriorTargets> {
        let config = self.experts_config.clone().filter(|config| config.prior > 0.0)?;
        let prior = prior(&config, self.blocks.len());
        let units = prior.len() / config.tasks;
        let chosen = Tensor::cat(self.usage(), 1).greater_elem(0.5); // [tasks, units]
        let chosen: Vec<bool> = chosen.into_data().iter::<bool>().collect();
        let matched = matching(&costs(&chosen, &prior, units), units, seed, images);
        let tasks: Vec<usize> = (0..config.tasks).collect();
        Some(PriorTargets { table: targets(&prior, &matched, &tasks), config })
    }

    /// The prior's loss of each image, `[b]`, for time labels `[b]`: its weight times the divergence of the gates, as one
    /// distribution over the experts of all blocks, from `targets`.
    pub fn prior_losses(&self, time_label: Tensor<1>, targets: &PriorTargets) -> Tensor<1> {
        let PriorTargets { config, table } = targets;
        let units = table.len() / config.tasks;
        let table = TensorData::new(table.clone(), [config.tasks, units]);
        let table: Tensor<2> = Tensor::from_data(table, &time_label.device());
        let task: Tensor<1, Int> = time_label.clone().clamp(0.0, (config.tasks - 1) as f64).int();
        let gates = Tensor::cat(self.gates(time_label), 1) / self.blocks.len() as f64; // [b, units]
        divergence(gates, table.select(0, task)) * config.prior
    }
}

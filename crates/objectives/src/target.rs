//! A network that follows the one in training at a distance: the target of methods that learn from their own past.

use burn::module::Module;
use sinter_kernels::ema_step;
use sinter_models::Network;
use sinter_models::parameters::{self, Arrays};
use sinter_optimization::{OptimizationError, Part, Tensors};

/// A moving average of a network's weights that training itself reads. A part of its method, so that checkpoints hold it;
/// without gradients and without an optimizer.
#[derive(Debug)]
pub struct TargetNetwork {
    name: String,
    network: Network,
    updates: u64,
}

impl TargetNetwork {
    /// One that starts at the weights of `network`.
    pub fn new(name: &str, network: &Network) -> Self {
        Self { name: name.to_owned(), network: network.valid(), updates: 0 }
    }

    /// The network, outside any gradient graph.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// `weights <- decay weights + (1 - decay) followed`, for the weights that are named.
    pub fn follow(&mut self, mut followed: Tensors, decay: f64) {
        self.network = parameters::map(self.network.clone(), |name, own| match followed.remove(name) {
            Some(parameter) => ema_step(own, parameter, decay),
            None => own,
        });
        self.updates += 1;
    }
}

impl Part for TargetNetwork {
    fn name(&self) -> &str {
        &self.name
    }

    fn tensors(&self) -> Tensors {
        parameters::tensors(&self.network)
    }

    fn parameters(&self) -> Result<Arrays, OptimizationError> {
        Ok(parameters::read(&self.network)?)
    }

    fn load_parameters(&mut self, arrays: Arrays) -> Result<(), OptimizationError> {
        self.network = parameters::write(self.network.clone(), arrays)?;
        Ok(())
    }

    fn state(&self) -> Arrays {
        Arrays::new()
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn load_state(&mut self, arrays: &Arrays, updates: u64) -> Result<(), OptimizationError> {
        if let Some(name) = arrays.keys().next() {
            let message = format!("has no state, yet there is `{name}`");
            return Err(OptimizationError::State { owner: format!("target `{}`", self.name), message });
        }
        self.updates = updates;
        Ok(())
    }
}

//! A run in use: its newest weights for sampling, evaluation, or as another run's features.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sinter_data::{Source, Split};
use sinter_evaluation::WeightsUsed;
use sinter_models::{Network, parameters};
use sinter_objectives::{Method, Objective};
use sinter_optimization::Part;
use sinter_sampling::{Conditioner, NetworkDenoiser};

use crate::checkpoint::Checkpoint;
use crate::run_directory::RunDirectory;
use crate::trainer::{build_method, conditioner};
use crate::{Config, TrainingError};

/// Which weights of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first average of the configuration, or the trained weights where there is none.
    #[default]
    Default,
    /// The trained weights.
    Raw,
    /// The average of this half-life.
    Average(u64),
}

/// A trained run, opened for use.
pub struct Run {
    /// Its resolved configuration.
    pub config: Config,
    /// Its checkpoint.
    pub checkpoint: Checkpoint,
    /// Which weights were loaded.
    pub weights: WeightsUsed,
    /// The data it was trained on, for classes and captions.
    pub source: Arc<dyn Source>,
    /// Its conditions.
    pub conditioner: Conditioner,
    /// The method with the loaded weights.
    pub method: Box<dyn Method>,
    /// Where it lives, without gradients.
    pub device: Device,
}

impl Run {
    /// Opens a run directory at its newest checkpoint, or at the checkpoint of `images`.
    ///
    /// `adjust` may change what does not define the run, such as the device or the data's folder.
    ///
    /// # Errors
    /// When it is not a run, has no checkpoint, or the weights do not match.
    pub fn open(
        root: &Path,
        images: Option<u64>,
        choice: Choice,
        adjust: impl FnOnce(&mut Config),
    ) -> Result<Self, TrainingError> {
        let run = RunDirectory::open(root)?;
        let mut config = run.config()?;
        adjust(&mut config);
        let checkpoint = match images {
            Some(images) => Checkpoint::open(&run.checkpoints().join(images.to_string()))?,
            None => Checkpoint::latest(&run.checkpoints())?
                .ok_or_else(|| TrainingError::Config(format!("{} has no checkpoint yet", root.display())))?,
        };
        let device = config.device.open()?;
        let source = config.data.open(Split::Train, config.seed)?;
        let conditioner = conditioner(source.as_ref())?;
        let mut method = build_method(&config, &conditioner, &device, None)?;
        let half_life = match choice {
            Choice::Raw => None,
            Choice::Average(half_life) => Some(half_life),
            Choice::Default => config.ema.half_life.first().copied(),
        };
        checkpoint.load_weights(method.as_mut(), half_life)?;
        let weights = half_life.map_or(WeightsUsed::Raw, WeightsUsed::Average);
        Ok(Self { config, checkpoint, weights, source, conditioner, method, device })
    }

    /// The network that samples, among those that the method has.
    pub(crate) fn part(&self) -> Result<&dyn Part, TrainingError> {
        let first = self.method.parts().into_iter().next();
        first.ok_or_else(|| TrainingError::Config(format!("the method of {} has no network", self.config.name)))
    }

    /// The network that samples, without gradients.
    pub(crate) fn network(&self) -> Result<Network, TrainingError> {
        let Config { model, adapters, seed, .. } = &self.config;
        let network = model
            .build_adapted(adapters.as_ref(), self.conditioner.shape(), &self.device, *seed)
            .map_err(TrainingError::Problems)?;
        parameters::write(network, self.part()?.parameters()?).map_err(|error| TrainingError::Config(error.to_string()))
    }

    /// The network that samples and what its output means.
    pub(crate) fn denoiser(&self) -> Result<NetworkDenoiser, TrainingError> {
        let parameterization = self.config.objective.parameterization().ok_or_else(|| {
            TrainingError::Config(format!("{} trains a network that does not generate", self.config.name))
        })?;
        Ok(NetworkDenoiser { network: self.network()?, parameterization })
    }
}

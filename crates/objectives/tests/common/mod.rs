//! What tests of methods share: points in the plane, a small network of them, and runs that need no files.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use sinter_data::toy2d::{Toy2d, Toy2dConfig};
use sinter_data::{Loader, LoaderConfig, Source, Split};
use sinter_models::{Classifier, MlpConfig, ModelConfig, Network, parameters};
use sinter_objectives::{MethodError, Runs, Setup, Trained, Training};
use sinter_optimization::OptimizerConfig;
use sinter_process::Parameterization;
use sinter_process::random::{Key, Stream};
use sinter_sampling::{Conditioner, NetworkDenoiser};

/// Everything that a method is built from.
pub(crate) struct Fixture {
    pub(crate) model: ModelConfig,
    pub(crate) optimizer: OptimizerConfig,
    pub(crate) conditioner: Conditioner,
    pub(crate) device: Device,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) runs: OneRun,
    pub(crate) cache: Option<std::path::PathBuf>,
}

/// One run, whatever its name.
pub(crate) struct OneRun {
    pub(crate) model: ModelConfig,
    pub(crate) process: Parameterization,
    pub(crate) conditioner: Conditioner,
    pub(crate) seed: u64,
    /// Whether no parameter is zero; fresh networks return zero.
    pub(crate) random: bool,
}

impl Runs for OneRun {
    fn model(&self, _: &Path) -> Result<Trained, MethodError> {
        let device = Device::flex();
        let mut network = self.model.build(self.conditioner.shape(), &device, self.seed).unwrap();
        if self.random {
            network = randomized(network, self.seed);
        }
        Ok(Trained {
            denoiser: NetworkDenoiser { network, parameterization: self.process.clone() },
            conditioner: self.conditioner.clone(),
            hash: format!("seed {}", self.seed),
        })
    }

    fn classifier(&self, run: &Path) -> Result<(Classifier, String), MethodError> {
        Err(MethodError::Run { run: run.to_path_buf(), message: "is no classifier".into() })
    }
}

/// A network none of whose parameters is zero, as those of a fresh one's last layers are.
pub(crate) fn randomized(network: Network, seed: u64) -> Network {
    let mut parameter = 0;
    parameters::map(network, |_, tensor| {
        let mut values = vec![0.0; tensor.dims()[0]];
        Key::new(seed, Stream::TEST).at(parameter).fill_normal(&mut values);
        parameter += 1;
        let shift = Tensor::<1>::from_data(TensorData::from(values.as_slice()), &tensor.device());
        tensor + shift * 0.1
    })
}

impl Fixture {
    /// Eight Gaussians by class, and a teacher of them whose weights are random.
    pub(crate) fn points(process: &str) -> Self {
        let source: Arc<dyn Source> =
            Arc::new(Toy2d::new(Toy2dConfig { labels: true, ..Default::default() }, Split::Train, 0).unwrap());
        let conditioner = Conditioner::new(source.shape(), source.class_names().len(), &[], 0).unwrap();
        let model = ModelConfig::Mlp(MlpConfig { width: 16, depth: 2, null_class: true, ..MlpConfig::default() });
        let runs = OneRun {
            model: model.clone(),
            process: toml::from_str(process).unwrap(),
            conditioner: conditioner.clone(),
            seed: 5,
            random: true,
        };
        let optimizer = toml::from_str("learning_rate = 1e-3").unwrap();
        Self { model, optimizer, conditioner, device: Device::flex(), source, runs, cache: None }
    }

    pub(crate) fn setup(&self) -> Setup<'_> {
        Setup {
            model: &self.model,
            adapters: None,
            optimizer: &self.optimizer,
            conditioner: &self.conditioner,
            device: &self.device,
            seed: 7,
            training: Some(Training { runs: &self.runs, source: &self.source, cache: self.cache.as_deref() }),
        }
    }

    pub(crate) fn batch(&self, first: u64, count: usize) -> sinter_data::Batch {
        Loader::new(Arc::clone(&self.source), LoaderConfig::in_order(), 0).batch(first, count).unwrap()
    }
}

//! Trained models of other runs: what students learn from, start from and are tuned from.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use sinter_models::parameters::{self, Arrays};
use sinter_models::{Classifier, Condition, Network, adapters};
use sinter_process::Parameterization;
use sinter_sampling::{Conditioner, Guidance, Guided, NetworkDenoiser, guided_data};
use sinter_solvers::Level;

use crate::{MethodError, Setup};

/// Opens trained runs.
pub trait Runs {
    /// The generative model of a run, with its averaged weights where it has some.
    ///
    /// # Errors
    /// When it is not a run, has no checkpoint, or does not generate.
    fn model(&self, run: &Path) -> Result<Trained, MethodError>;

    /// The classifier of a run, and the hash of its weights.
    ///
    /// # Errors
    /// When it is not the run of a classifier or has no checkpoint.
    fn classifier(&self, run: &Path) -> Result<(Classifier, String), MethodError>;
}

/// The generative model of a run.
pub struct Trained {
    /// Its network and what the output means; without gradients.
    pub denoiser: NetworkDenoiser,
    /// What it was trained on.
    pub conditioner: Conditioner,
    /// Hash of its weights.
    pub hash: String,
}

/// A frozen model that a method learns from, asked under guidance.
pub struct Teacher {
    run: PathBuf,
    model: Trained,
    guidance: Guidance,
}

impl Teacher {
    /// Opens the run that the key `objective.<key>` names; none where a model is opened only for use.
    ///
    /// # Errors
    /// When the run cannot be opened, or was trained on images of another shape or other conditions.
    pub fn open(setup: &Setup, key: &str, run: &Path, guidance: Guidance) -> Result<Option<Self>, MethodError> {
        let Some(training) = &setup.training else { return Ok(None) };
        let model = training.runs.model(run)?;
        let refused = |message: String| MethodError::Run { run: run.to_path_buf(), message };
        let (theirs, ours) = (model.conditioner.shape(), setup.conditioner.shape());
        if theirs != ours {
            return Err(refused(format!(
                "was trained on {theirs}, and the data here are {ours}; name another run as objective.{key}, or use its \
                 data"
            )));
        }
        if guidance.scale != 1.0 && !ours.has_classes() && !ours.has_captions() {
            return Err(refused("is conditioned on nothing, so it cannot be guided".into()));
        }
        Ok(Some(Self { run: run.to_path_buf(), model, guidance }))
    }

    /// Its run, and the hash of its weights.
    pub fn identity(&self) -> (String, String) {
        (self.run.display().to_string(), self.model.hash.clone())
    }

    /// What its output means.
    pub fn parameterization(&self) -> &Parameterization {
        &self.model.denoiser.parameterization
    }

    /// Its network, without gradients.
    pub fn network(&self) -> &Network {
        &self.model.denoiser.network
    }

    /// Its denoiser under guidance, for samplers.
    pub fn denoiser(&self) -> Guided<'_> {
        Guided { denoiser: &self.model.denoiser, guidance: self.guidance }
    }

    /// Its prediction of clean data, under guidance, at states `x`, `[b, c, h, w]`, each at a level of its own on any
    /// path.
    pub fn data(&self, x: Tensor<4>, levels: &[Level], condition: &Condition) -> Tensor<4> {
        let NetworkDenoiser { network, parameterization } = &self.model.denoiser;
        guided_data(parameterization, self.guidance, x, levels, condition, |input, labels, condition| {
            network.predict(input, labels, condition)
        })
    }

    /// A student with the teacher's weights; adapters that it has stay as they start.
    ///
    /// # Errors
    /// When the student's network is another one, or what its output means differs.
    pub fn start(&self, student: Network, process: &Parameterization) -> Result<Network, MethodError> {
        let refused = |message: String| MethodError::Run { run: self.run.clone(), message };
        if process != self.parameterization() {
            return Err(refused(
                "reads its network otherwise than objective.process says, so its weights mean something else here; \
                 leave objective.process out"
                    .into(),
            ));
        }
        let mut weights: Arrays = parameters::read(self.network())?;
        for (name, array) in parameters::read(&student)? {
            if adapters::is_adapter(&name) {
                weights.entry(name).or_insert(array);
            }
        }
        parameters::write(student, weights).map_err(|error| {
            refused(format!("has another network than [model] describes ({error}); leave [model] out to take its own"))
        })
    }
}

impl Setup<'_> {
    /// The student's network on an autodiff device: with the teacher's weights where there is a teacher, else fresh.
    ///
    /// # Errors
    /// As [`Setup::network`] and [`Teacher::start`].
    pub fn student(
        &self,
        device: &Device,
        teacher: Option<&Teacher>,
        process: &Parameterization,
    ) -> Result<Network, MethodError> {
        let network = self.network(device)?;
        match teacher {
            Some(teacher) => teacher.start(network, process),
            None => Ok(network),
        }
    }
}

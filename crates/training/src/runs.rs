//! Other runs, opened for a method that learns from them.

use std::path::Path;

use sinter_models::Classifier;
use sinter_objectives::{MethodError, Runs, Trained};

use crate::evaluate::{trained_classifier, weights_hash};
use crate::{Choice, Config, Run, TrainingError};

/// Opens runs on the device, and with the folders of data, of the run that learns from them.
pub(crate) struct OpenRuns<'a>(pub(crate) &'a Config);

impl Runs for OpenRuns<'_> {
    fn model(&self, run: &Path) -> Result<Trained, MethodError> {
        let open = || -> Result<Trained, TrainingError> {
            let opened = Run::open(run, None, Choice::Default, |theirs| {
                theirs.device.clone_from(&self.0.device);
                theirs.data.root.clone_from(&self.0.data.root);
            })?;
            let hash = weights_hash(opened.method.as_ref(), None)?;
            Ok(Trained { denoiser: opened.denoiser()?, conditioner: opened.conditioner.clone(), hash })
        };
        open().map_err(|error| refused(run, error))
    }

    fn classifier(&self, run: &Path) -> Result<(Classifier, String), MethodError> {
        let device = self.0.device.open().map_err(|error| refused(run, error))?;
        let classifier = trained_classifier(run, &device).map_err(|error| refused(run, error))?;
        Ok((classifier.network, classifier.hash))
    }
}

fn refused(run: &Path, error: TrainingError) -> MethodError {
    MethodError::Run { run: run.to_path_buf(), message: format!("cannot be learned from: {error}") }
}

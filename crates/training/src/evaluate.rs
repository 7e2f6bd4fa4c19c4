//! Evaluation of trained models: feature networks from runs, samples through metrics.

use std::path::Path;

use burn::tensor::Device;
use sha2::{Digest, Sha256};
use sinter_data::{DataConfig, Split};
use sinter_evaluation::inception::InceptionFeatures;
use sinter_evaluation::{
    ClassifierFeatures, ClassifierTrainer, ClassifierTraining, Evaluator, FeatureNetwork, FeaturesConfig, Generated,
    HeldOut, MetricConfig, Networks, PixelFeatures, Record, ReferenceImages, Subject,
};
use sinter_models::{Classifier, DataShape, ModelConfig};
use sinter_objectives::{Method, Weights};
use sinter_sampling::{Conditioner, Denoiser};

use crate::checkpoint::Checkpoint;
use crate::classification::SampleClassifier;
use crate::generate::Generation;
use crate::run_directory::RunDirectory;
use crate::trainer::conditioner;
use crate::{Config, TrainingError, feature_file};

/// The folder of the cache in which statistics of references are kept.
const STATISTICS: &str = "statistics";

/// The metrics of a configuration, prepared; none if it names none.
///
/// # Errors
/// When a metric's feature network or the reference data cannot be opened.
pub fn evaluator(config: &Config, device: &Device) -> Result<Option<Evaluator>, TrainingError> {
    let eval = &config.eval;
    if eval.metrics.is_empty() {
        return Ok(None);
    }
    let reference = ReferenceImages {
        source: config.data.open(eval.reference, config.seed)?,
        part: eval.reference.to_string(),
        limit: eval.reference_images,
        statistics: eval.reference_statistics.clone(),
        held_out: held_out(&eval.metrics, &config.data, config.seed)?,
    };
    let cache = config.data.store().cache().map(|folder| folder.join(STATISTICS));
    prepare(&eval.metrics, reference, cache.as_deref(), device).map(Some)
}

/// The images of a run's data that nothing was trained on, where a metric asks for them.
///
/// # Errors
/// When the data have none.
pub fn held_out(metrics: &[MetricConfig], data: &DataConfig, seed: u64) -> Result<Option<HeldOut>, TrainingError> {
    let asked = metrics.iter().any(|metric| matches!(metric, MetricConfig::ClassificationAccuracyScore(_)));
    let open = || Ok(HeldOut { source: data.open(Split::Test, seed)?, part: Split::Test.to_string() });
    asked.then(open).transpose()
}

/// Metrics against a reference, prepared.
///
/// # Errors
/// When a feature network or the reference cannot be opened.
pub fn prepare(
    metrics: &[MetricConfig],
    reference: ReferenceImages,
    cache: Option<&Path>,
    device: &Device,
) -> Result<Evaluator, TrainingError> {
    Evaluator::new(metrics, reference, cache, &On { device })
}

/// The networks of evaluations on a device.
struct On<'a> {
    device: &'a Device,
}

impl Networks for On<'_> {
    type Error = TrainingError;

    fn features(&self, config: &FeaturesConfig, image: [usize; 3]) -> Result<Box<dyn FeatureNetwork>, TrainingError> {
        let device = self.device;
        Ok(match config {
            FeaturesConfig::Pixels {} => Box::new(PixelFeatures),
            FeaturesConfig::Classifier { run } => Box::new(classifier(run, device)?),
            FeaturesConfig::Inception { weights, resize } => {
                let network = InceptionFeatures::read(weights, *resize, device);
                Box::new(network.map_err(|error| TrainingError::Config(error.to_string()))?)
            }
            FeaturesConfig::Network(file) => Box::new(feature_file::open(file, image, device)?),
            FeaturesConfig::RandomConvolutions { seed } => {
                Box::new(ClassifierFeatures::random(image, *seed, device).map_err(TrainingError::Problems)?)
            }
        })
    }

    fn trainer(
        &self,
        config: &ClassifierTraining,
        image: [usize; 3],
        classes: usize,
    ) -> Result<Box<dyn ClassifierTrainer>, TrainingError> {
        Ok(Box::new(SampleClassifier::new(config, image, classes, self.device)?))
    }
}

/// The classifier of a run, as a feature network.
fn classifier(root: &Path, device: &Device) -> Result<ClassifierFeatures, TrainingError> {
    let TrainedClassifier { name, hash, network, shape } = trained_classifier(root, device)?;
    Ok(ClassifierFeatures::new(name, hash, network, shape, device))
}

/// The classifier of a run.
pub(crate) struct TrainedClassifier {
    /// Name of the run.
    name: String,
    /// Hash of its checkpoint.
    pub(crate) hash: String,
    /// The network, without gradients.
    pub(crate) network: Classifier,
    /// What it was trained on.
    shape: DataShape,
}

pub(crate) fn trained_classifier(root: &Path, device: &Device) -> Result<TrainedClassifier, TrainingError> {
    let name = root.display();
    if !root.join("config.toml").is_file() {
        return Err(TrainingError::Config(format!(
            "{name} is not a run: train the classifier first, with the preset of configs/classifier/ that has this \
             name, or name another run"
        )));
    }
    let run = RunDirectory::open(root)?;
    let config = run.config()?;
    let ModelConfig::Classifier(model) = &config.model else {
        return Err(TrainingError::Config(format!("{name} is not the run of a classifier")));
    };
    let checkpoint = Checkpoint::latest(&run.checkpoints())?
        .ok_or_else(|| TrainingError::Config(format!("{name} has no checkpoint yet")))?;
    let source = config.data.open(Split::Train, config.seed)?;
    let shape = *conditioner(source.as_ref())?.shape();
    let half_life = config.ema.half_life.first().copied();
    let network: Classifier = model
        .build_adapted(config.adapters.as_ref(), &shape, device, config.seed)
        .map_err(|p| TrainingError::Config(p.to_string()))?;
    let network = checkpoint.load_module(network, half_life)?;
    Ok(TrainedClassifier { name: config.name.clone(), hash: checkpoint.digest()?, network, shape })
}

/// A trained model whose samples are measured.
pub struct Evaluated<'a> {
    /// As a sampler sees it.
    pub denoiser: &'a dyn Denoiser,
    /// Its conditions.
    pub conditioner: &'a Conditioner,
    /// Where it lives.
    pub device: &'a Device,
}

impl Evaluated<'_> {
    /// Draws samples and measures them as they come; `progress` is told how many are done.
    ///
    /// `generated` says which weights draw; how they draw is filled in.
    ///
    /// # Errors
    /// When sampling or a metric fails.
    pub fn measure(
        &self,
        evaluator: &Evaluator,
        generation: &Generation<'_>,
        generated: &Generated,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<Record>, TrainingError> {
        let Generated { images, weights, weights_hash, data_hash, .. } = generated.clone();
        let drawn = generation.generated(self.denoiser)?;
        let subject = Subject::Generated(Generated { images, weights, weights_hash, data_hash, ..drawn });
        let mut evaluation = evaluator.begin()?;
        let mut done = 0;
        generation.portions(self.denoiser, self.conditioner, self.device, |portion| {
            done += portion.shape[0];
            evaluation.push(portion)?;
            progress(done);
            Ok(())
        })?;
        Ok(evaluation.records(env!("CARGO_PKG_VERSION"), &subject)?)
    }
}

/// One sha256 over a method's weights, with averages in place of those that they replace: names and bits.
///
/// # Errors
/// When a weight cannot be read from the device.
pub fn weights_hash(method: &dyn Method, averages: Option<&Weights>) -> Result<String, TrainingError> {
    let mut digest = Sha256::new();
    for part in method.parts() {
        let mut arrays = part.parameters()?;
        for (name, average) in averages.and_then(|averages| averages.get(part.name())).into_iter().flatten() {
            if let Some(array) = arrays.get_mut(name) {
                array.values = average.to_data().iter::<f32>().collect();
            }
        }
        digest.update(part.name().as_bytes());
        for (name, array) in arrays {
            digest.update(name.as_bytes());
            array.values.iter().for_each(|value| digest.update(value.to_le_bytes()));
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

//! Metrics on samples against a reference, prepared once and applied at every evaluation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use sinter_data::Source;

use crate::classification::{self, ClassifierTrainer, ClassifierTraining, Kept};
use crate::features::{FeatureNetwork, FeaturesConfig};
use crate::gathered::{Gathering, Needs, visit};
use crate::measures::{Finding, Reference, measure, modes};
use crate::pictures::{Reading, Spread};
use crate::record::{Measurement, Protocol, Record, Subject};
use crate::samples::is_point;
use crate::statistics::{About, Statistics};
use crate::{EvaluationError, MetricConfig, Samples};

/// What samples are compared with.
#[derive(Clone)]
pub struct ReferenceImages {
    /// The images.
    pub source: Arc<dyn Source>,
    /// Name of the part of the data, such as `test`; empty where there is none.
    pub part: String,
    /// How many of them, from the first on; none: all.
    pub limit: Option<u64>,
    /// Statistics to take instead of the images, for Frechet distances.
    pub statistics: Option<PathBuf>,
    /// The images that classifiers trained on samples are judged by; none: those of `source`.
    pub held_out: Option<HeldOut>,
}

/// Images that nothing was trained on.
#[derive(Clone)]
pub struct HeldOut {
    /// The images.
    pub source: Arc<dyn Source>,
    /// Name of the part of the data.
    pub part: String,
}

/// Where an evaluation has its networks from: a higher floor, which knows runs and objectives.
pub trait Networks {
    /// Why there is none.
    type Error: From<EvaluationError>;

    /// A feature network for images `[c, h, w]`.
    ///
    /// # Errors
    /// When it cannot be opened, or not for such images.
    fn features(&self, config: &FeaturesConfig, image: [usize; 3]) -> Result<Box<dyn FeatureNetwork>, Self::Error>;

    /// A classifier of so many classes, to be trained on samples `[c, h, w]`.
    ///
    /// # Errors
    /// When the settings do not fit such images.
    fn trainer(
        &self,
        config: &ClassifierTraining,
        image: [usize; 3],
        classes: usize,
    ) -> Result<Box<dyn ClassifierTrainer>, Self::Error>;
}

/// A feature network with what its metrics need.
struct Opened {
    config: FeaturesConfig,
    network: Box<dyn FeatureNetwork>,
    needs: Needs,
    reference: Reference,
}

/// A number of metrics on one kind of data.
pub struct Evaluator {
    metrics: Vec<MetricConfig>,
    networks: Vec<Opened>,
    /// One for each metric that trains one, in their order.
    trainers: Vec<Box<dyn ClassifierTrainer>>,
    spread: Option<Spread>,
    reference: ReferenceImages,
    about: About,
}

impl Evaluator {
    /// Prepares every metric: reference statistics are computed here, once, or taken from the folder `cache`, where they
    /// are left for the next time.
    ///
    /// # Errors
    /// When a metric does not fit the data, or the reference cannot be read.
    pub fn new<N: Networks>(
        metrics: &[MetricConfig],
        reference: ReferenceImages,
        cache: Option<&Path>,
        opening: &N,
    ) -> Result<Self, N::Error> {
        let image = reference.source.shape();
        let mut networks: Vec<Opened> = Vec::new();
        let mut reference_needs: Vec<Needs> = Vec::new();
        let mut trainers = Vec::new();
        let pixels = FeaturesConfig::Pixels {};
        for metric in metrics {
            if let MetricConfig::ClassificationAccuracyScore(training) = metric {
                let held_out = reference.judges()?;
                trainers.push(opening.trainer(training, image, held_out.class_names().len())?);
            }
            let features = metric.features().or(matches!(metric, MetricConfig::Modes {}).then_some(&pixels));
            let Some(config) = features else { continue };
            let place = match networks.iter().position(|opened| opened.config == *config) {
                Some(place) => place,
                None => {
                    let network = opening.features(config, image)?;
                    let reference = Reference::default();
                    networks.push(Opened { config: config.clone(), network, needs: Needs::default(), reference });
                    reference_needs.push(Needs::default());
                    networks.len() - 1
                }
            };
            fits(metric, networks[place].network.as_ref())?;
            networks[place].needs = networks[place].needs.and(metric.needs());
            reference_needs[place] = reference_needs[place].and(metric.reference_needs());
        }

        let images = reference.count_of(reference.source.as_ref());
        let mut evaluator = Self {
            metrics: metrics.to_vec(),
            networks,
            trainers,
            spread: None,
            about: About {
                reference: full_name(reference.source.as_ref(), &reference.part),
                reference_hash: reference.source.fingerprint(),
                reference_images: images,
                features: String::new(),
                features_hash: String::new(),
                features_settings: Map::new(),
                quantization: if is_point(image) { "none" } else { "8 bits" }.to_owned(),
            },
            reference,
        };
        evaluator.prepare(&reference_needs, cache)?;
        if metrics.contains(&MetricConfig::Detector {}) {
            evaluator.spread = Some(Spread::of(evaluator.reference.source.as_ref())?);
        }
        if metrics.contains(&MetricConfig::Modes {}) && evaluator.reference.source.modes().is_none() {
            let message = format!("{} is no mixture of Gaussians in the plane", evaluator.about.reference);
            return Err(EvaluationError::Unfit { metric: "modes", message }.into());
        }
        Ok(evaluator)
    }

    /// Fills in what the networks' metrics need of the reference.
    fn prepare(&mut self, needs: &[Needs], cache: Option<&Path>) -> Result<(), EvaluationError> {
        if let Some(path) = self.reference.statistics.clone() {
            return self.take_statistics(&path, needs);
        }
        let mut missing = Vec::new();
        for (place, needs) in needs.iter().enumerate() {
            let statistics_alone = *needs == Needs { rows: 0, logits: false, ..*needs };
            let cached = cache.filter(|_| statistics_alone).and_then(|folder| self.cached(place, folder));
            match cached {
                Some(statistics) if statistics.spatial.is_some() || !needs.spatial => {
                    self.networks[place].reference = Reference {
                        pooled: Some(statistics.pooled),
                        spatial: statistics.spatial,
                        ..Reference::default()
                    };
                }
                _ if *needs == Needs::default() => {}
                // Whoever computes one of the two statistics leaves both in the cache.
                _ => missing.push((place, Needs { moments: true, spatial: needs.spatial, ..*needs })),
            }
        }
        let networks = missing.iter().map(|&(place, needs)| (self.networks[place].network.as_ref(), needs));
        let mut gathering = Gathering::new(networks, self.reference.source.shape())?;
        let images = if missing.is_empty() { 0 } else { self.about.reference_images };
        visit(self.reference.source.as_ref(), images, |samples| gathering.push(&samples.pixels))?;
        let gathered = gathering.finish()?;
        for ((place, _), gathered) in missing.into_iter().zip(gathered) {
            self.networks[place].reference = Reference::of(gathered)?;
            if let Some(folder) = cache {
                self.remember(place, folder);
            }
        }
        Ok(())
    }

    /// Takes statistics from a file instead of images.
    fn take_statistics(&mut self, path: &Path, needs: &[Needs]) -> Result<(), EvaluationError> {
        let refused = |message: String| EvaluationError::Statistics { path: path.into(), message };
        let statistics = Statistics::read(path)?;
        for (opened, needs) in self.networks.iter_mut().zip(needs) {
            if needs.rows > 0 {
                return Err(refused(format!(
                    "statistics serve `frechet` alone; other metrics in {} need the reference's images",
                    opened.network.name()
                )));
            }
            if let Some(about) = &statistics.about {
                let network = &opened.network;
                if (&about.features, &about.features_hash) != (&network.name(), &network.hash()) {
                    return Err(refused(format!(
                        "they are of {} (weights {}), not of {} (weights {})",
                        about.features,
                        short_hash(&about.features_hash),
                        network.name(),
                        short_hash(&network.hash())
                    )));
                }
                if about.features_settings != network.settings() {
                    let show = |settings: &Map<String, Value>| Value::Object(settings.clone()).to_string();
                    let (theirs, ours) = (show(&about.features_settings), show(&network.settings()));
                    return Err(refused(format!("they are of {} as {theirs}, not as {ours}", about.features)));
                }
            }
            opened.reference = Reference {
                pooled: Some(statistics.pooled.clone()),
                spatial: statistics.spatial.clone(),
                ..Reference::default()
            };
        }
        match statistics.about {
            Some(about) => {
                let (features, features_hash, features_settings) = (String::new(), String::new(), Map::new());
                self.about = About { features, features_hash, features_settings, ..about };
            }
            None => {
                let bytes =
                    std::fs::read(path).map_err(|source| EvaluationError::File { path: path.into(), source })?;
                self.about.reference = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.about.reference_hash = hexadecimal(&Sha256::digest(bytes));
                self.about.reference_images = 0;
            }
        }
        Ok(())
    }

    /// What the statistics of a network's reference are of.
    fn about(&self, place: usize) -> About {
        let network = &self.networks[place].network;
        let (features, features_hash, features_settings) = (network.name(), network.hash(), network.settings());
        About { features, features_hash, features_settings, ..self.about.clone() }
    }

    /// Where a network's statistics are cached: the name is a hash of all that they are of.
    fn cache_path(&self, place: usize, folder: &Path) -> PathBuf {
        let about = serde_json::to_string(&self.about(place)).unwrap_or_default();
        folder.join(format!("{}.npz", hexadecimal(&Sha256::digest(about))))
    }

    fn cached(&self, place: usize, folder: &Path) -> Option<Statistics> {
        let path = self.cache_path(place, folder);
        let statistics = path.is_file().then(|| Statistics::read(&path))?;
        statistics
            .inspect_err(|error| log::warn!("computed anew: {error}"))
            .ok()
            .filter(|statistics| statistics.about.as_ref() == Some(&self.about(place)))
    }

    fn remember(&self, place: usize, folder: &Path) {
        if let Some(statistics) = self.statistics_of(place)
            && let Err(error) = statistics.write(&self.cache_path(place, folder))
        {
            log::warn!("reference statistics are not kept for the next time: {error}");
        }
    }

    fn statistics_of(&self, place: usize) -> Option<Statistics> {
        let Reference { pooled, spatial, .. } = &self.networks[place].reference;
        Some(Statistics { pooled: pooled.clone()?, spatial: spatial.clone(), about: Some(self.about(place)) })
    }

    /// The reference's statistics in the features of the first network, for a file.
    pub fn statistics(&self) -> Option<Statistics> {
        (!self.networks.is_empty()).then(|| self.statistics_of(0))?
    }

    /// Begins an evaluation.
    ///
    /// # Errors
    /// When a feature network does not take the images.
    pub fn begin(&self) -> Result<Evaluation<'_>, EvaluationError> {
        let image = self.reference.source.shape();
        let networks = self.networks.iter().map(|opened| (opened.network.as_ref(), opened.needs));
        Ok(Evaluation {
            evaluator: self,
            gathering: Gathering::new(networks, image)?,
            reading: self.spread.as_ref().map(|spread| Reading::new(self.reference.source.class_names(), spread)),
            kept: (!self.trainers.is_empty()).then(Kept::default),
            classes: Vec::new(),
            image,
            n: 0,
        })
    }
}

/// A metric's network has what it needs.
fn fits(metric: &MetricConfig, network: &dyn FeatureNetwork) -> Result<(), EvaluationError> {
    let (needs, gives) = (metric.needs(), network.gives());
    let lacks = if needs.logits && !gives.logits {
        "logits"
    } else if needs.spatial && !gives.spatial {
        "spatial features"
    } else {
        return Ok(());
    };
    Err(EvaluationError::Unfit { metric: metric.name(), message: format!("{} has no {lacks}", network.name()) })
}

/// One evaluation: samples come in portions and are not kept.
pub struct Evaluation<'a> {
    evaluator: &'a Evaluator,
    gathering: Gathering<'a>,
    reading: Option<Reading<'a>>,
    /// Where a classifier is to be trained on the samples.
    kept: Option<Kept>,
    classes: Vec<u32>,
    image: [usize; 3],
    n: usize,
}

impl Evaluation<'_> {
    /// Takes more samples. How they are portioned changes nothing.
    ///
    /// # Errors
    /// When samples have another shape than the reference, hold what is no number, or do not have what a metric needs.
    pub fn push(&mut self, samples: Samples) -> Result<(), EvaluationError> {
        if samples.image() != self.image {
            let (found, expected) = (samples.image(), self.image);
            return Err(EvaluationError::Images(format!(
                "images of {found:?} do not compare with images of {expected:?}"
            )));
        }
        // Bytes would hide it.
        if let Some((at, value)) = samples.not_finite() {
            return Err(EvaluationError::NotImage { image: self.n + at, value });
        }
        let samples = samples.quantized();
        self.gathering.push(&samples.pixels)?;
        if let Some(kept) = &mut self.kept {
            kept.push(&samples)?;
        }
        if let Some(reading) = &mut self.reading {
            reading.push(&samples)?;
        }
        self.classes.extend(samples.classes.iter().flatten());
        self.n += samples.shape[0];
        Ok(())
    }

    /// Takes the first `count` images of a source, which are read ahead; `progress` is told how many are done.
    ///
    /// # Errors
    /// As [`push`](Self::push), and when an image cannot be read.
    pub fn push_images(
        &mut self,
        source: &dyn Source,
        count: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<(), EvaluationError> {
        visit(source, count, |samples| {
            self.push(samples)?;
            progress(self.n as u64);
            Ok(())
        })
    }

    /// Every metric's numbers; `subject` says what the samples were.
    ///
    /// # Errors
    /// When a metric has no value.
    pub fn records(self, version: &str, subject: &Subject) -> Result<Vec<Record>, EvaluationError> {
        let Self { evaluator, gathering, reading, kept, classes, n, .. } = self;
        if n == 0 {
            return Err(EvaluationError::Images("there are no images to evaluate".into()));
        }
        let gathered = gathering.finish()?;
        let source = evaluator.reference.source.as_ref();
        let mut reading = reading;
        let mut kept = kept.unwrap_or_default();
        let mut trainers = evaluator.trainers.iter().enumerate();
        let subject_hash = match subject {
            Subject::Images { hash, .. } => Some(hash.as_str()),
            Subject::Generated(_) => None,
        };
        let mut records = Vec::new();
        for metric in &evaluator.metrics {
            let pixels = FeaturesConfig::Pixels {};
            let features = metric.features().or(matches!(metric, MetricConfig::Modes {}).then_some(&pixels));
            let place = features.and_then(|config| evaluator.networks.iter().position(|o| o.config == *config));
            let findings = match (metric, place, source.modes()) {
                (MetricConfig::Modes {}, Some(place), Some(centers)) => modes(&gathered[place].rows, &centers)?,
                (MetricConfig::ClassificationAccuracyScore(_), ..) => {
                    let Some((index, trainer)) = trainers.next() else { continue };
                    let held_out = evaluator.reference.judges()?;
                    let count = evaluator.reference.count_of(held_out);
                    // The last one takes what was kept.
                    let last = index + 1 == evaluator.trainers.len();
                    let kept = if last { std::mem::take(&mut kept) } else { kept.clone() };
                    vec![kept.finding(trainer.as_ref(), held_out, count, subject_hash)?]
                }
                (_, Some(place), _) => {
                    let Opened { network, reference, .. } = &evaluator.networks[place];
                    let class_count = source.class_names().len();
                    measure(metric, network.as_ref(), reference, &gathered[place], &classes, class_count)?
                }
                _ => reading.take().map_or(Ok(Vec::new()), Reading::finish)?,
            };
            let network = place.map(|place| evaluator.networks[place].network.as_ref());
            let measurement = evaluator.measurement(metric, network);
            records.extend(findings.into_iter().map(|finding| {
                let mut warnings = finding.warnings.clone();
                warnings.extend(network.and_then(FeatureNetwork::warning));
                let Finding { value, deviation, interval, .. } = finding;
                let protocol = Protocol {
                    version: version.to_owned(),
                    subject: subject.clone(),
                    measurement: measurement.clone(),
                };
                Record { metric: finding.full_name(n), value, n, deviation, interval, warnings, protocol }
            }));
        }
        Ok(records)
    }
}

impl Evaluator {
    fn measurement(&self, metric: &MetricConfig, network: Option<&dyn FeatureNetwork>) -> Measurement {
        let mut settings = match serde_json::to_value(metric) {
            Ok(Value::Object(settings)) => settings,
            _ => Map::new(),
        };
        settings.shift_remove("features");
        let About { reference, reference_hash, reference_images, quantization, .. } = self.about.clone();
        let measurement = Measurement {
            settings,
            features: network.map(FeatureNetwork::name).unwrap_or_default(),
            features_hash: network.map(FeatureNetwork::hash).unwrap_or_default(),
            features_settings: network.map(FeatureNetwork::settings).unwrap_or_default(),
            quantization,
            reference,
            reference_hash,
            reference_images,
        };
        match (metric, &self.reference.held_out) {
            (MetricConfig::ClassificationAccuracyScore(_), Some(HeldOut { source, part })) => Measurement {
                reference: full_name(source.as_ref(), part),
                reference_hash: source.fingerprint(),
                reference_images: self.reference.count_of(source.as_ref()),
                ..measurement
            },
            _ => measurement,
        }
    }
}

impl ReferenceImages {
    /// How many images of a source count.
    fn count_of(&self, source: &dyn Source) -> u64 {
        self.limit.unwrap_or(u64::MAX).min(source.len())
    }

    /// The images that a classifier is judged by.
    fn judges(&self) -> Result<&dyn Source, EvaluationError> {
        let source = match (&self.held_out, &self.statistics) {
            (Some(held_out), _) => held_out.source.as_ref(),
            (None, None) => self.source.as_ref(),
            (None, Some(_)) => {
                return Err(classification::unfit("a classifier is judged by images with classes, not by statistics"));
            }
        };
        classification::fits(source)?;
        if source.shape() != self.source.shape() {
            let (found, expected) = (source.shape(), self.source.shape());
            return Err(classification::unfit(format!("held-out images are {found:?}, the others {expected:?}")));
        }
        Ok(source)
    }
}

/// Name of the data and the part of it.
fn full_name(source: &dyn Source, part: &str) -> String {
    format!("{} {part}", source.name()).trim_end().to_owned()
}

/// The first digits of a hash, for messages.
fn short_hash(hash: &str) -> &str {
    if hash.is_empty() { "none" } else { hash.get(..12).unwrap_or(hash) }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;

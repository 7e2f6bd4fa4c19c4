//! Metrics on samples against a reference, prepared once and applied at every evaluation.

use std::sync::Arc;

use sinter_data::Source;
use sinter_metrics::{Confusion, Gaussian, Moments, Points, frechet, sliced_wasserstein};
use sinter_process::random::{Key, Stream};

use crate::pictures::{self, Spread};
use crate::{
    ClassifierFeatures, EvalConfig, EvaluationError, FeatureNetwork, MetricConfig, PixelFeatures, Protocol, Record,
};

/// Images taken through a feature network at a time.
const CHUNK: usize = 256;

/// Generated images with what was asked of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Shape `[n, c, h, w]`.
    pub shape: [usize; 4],
    /// Pixels in -1..1, `[n, c, h, w]`.
    pub pixels: Vec<f32>,
    /// Class asked for, one an image.
    pub classes: Option<Vec<u32>>,
    /// Caption asked for, one an image.
    pub captions: Option<Vec<String>>,
}

/// A metric with what it needs from the reference.
enum Prepared {
    Frechet { network: Box<dyn FeatureNetwork>, reference: Gaussian },
    ClassifierAccuracy { classifier: Box<ClassifierFeatures> },
    Detector { spread: Spread },
    SlicedWasserstein { projections: usize, points: Vec<f64> },
}

/// The metrics of one `[eval]` section.
pub struct Evaluator {
    metrics: Vec<Prepared>,
    reference: Arc<dyn Source>,
    reference_name: String,
    reference_images: u64,
}

impl Evaluator {
    /// Prepares every metric: reference statistics are computed here, once.
    ///
    /// `classifier` opens the classifier of a run directory.
    ///
    /// # Errors
    /// When a metric does not fit the data, or the reference cannot be read.
    pub fn new<E: From<EvaluationError>>(
        config: &EvalConfig,
        reference: Arc<dyn Source>,
        mut classifier: impl FnMut(&str) -> Result<ClassifierFeatures, E>,
    ) -> Result<Self, E> {
        let reference_images = config.reference_images.unwrap_or(u64::MAX).min(reference.len());
        let mut evaluator = Self {
            metrics: Vec::new(),
            reference_name: format!("{} {}", reference.name(), config.reference),
            reference,
            reference_images,
        };
        for metric in &config.metrics {
            let prepared = match metric {
                MetricConfig::Frechet { features } => {
                    let network: Box<dyn FeatureNetwork> = match features.as_str() {
                        "pixels" => Box::new(PixelFeatures),
                        run => Box::new(classifier(run)?),
                    };
                    let reference = evaluator.moments(network.as_ref())?;
                    Prepared::Frechet { network, reference }
                }
                MetricConfig::ClassifierAccuracy { classifier: run } => {
                    Prepared::ClassifierAccuracy { classifier: Box::new(classifier(run)?) }
                }
                MetricConfig::Detector {} => {
                    let spread = Spread::of(evaluator.reference.as_ref())?;
                    Prepared::Detector { spread }
                }
                MetricConfig::SlicedWasserstein { projections } => {
                    Prepared::SlicedWasserstein { projections: *projections, points: evaluator.points()? }
                }
            };
            evaluator.metrics.push(prepared);
        }
        Ok(evaluator)
    }

    /// Calls `each` with the reference images, some at a time, as (pixels, shape).
    fn visit(
        &self,
        mut each: impl FnMut(&[f32], [usize; 4]) -> Result<(), EvaluationError>,
    ) -> Result<(), EvaluationError> {
        let [c, h, w] = self.reference.shape();
        for first in (0..self.reference_images).step_by(CHUNK) {
            let last = (first + CHUNK as u64).min(self.reference_images);
            let mut pixels = Vec::with_capacity((last - first) as usize * c * h * w);
            for index in first..last {
                pixels.extend(self.reference.example(index)?.pixels);
            }
            each(&pixels, [(last - first) as usize, c, h, w])?;
        }
        Ok(())
    }

    fn moments(&self, network: &dyn FeatureNetwork) -> Result<Gaussian, EvaluationError> {
        let mut moments = None;
        self.visit(|pixels, shape| push(&mut moments, network, pixels, shape))?;
        gaussian(moments)
    }

    fn points(&self) -> Result<Vec<f64>, EvaluationError> {
        let mut points = Vec::new();
        self.visit(|pixels, _| {
            points.extend(pixels.iter().map(|&x| f64::from(x)));
            Ok(())
        })?;
        Ok(points)
    }

    /// Every metric on the samples. `protocol` says how they were drawn; what the reference adds is filled in.
    ///
    /// # Errors
    /// When a metric needs what the samples do not have.
    pub fn evaluate(&self, samples: &Samples, protocol: &Protocol) -> Result<Vec<Record>, EvaluationError> {
        let n = samples.shape[0];
        let protocol = Protocol {
            reference: self.reference_name.clone(),
            reference_hash: self.reference.fingerprint(),
            reference_images: self.reference_images,
            ..protocol.clone()
        };
        let record = |metric: String, value: f64| Record {
            metric,
            value,
            n,
            interval: None,
            warnings: Vec::new(),
            protocol: protocol.clone(),
        };
        let mut records = Vec::new();
        for metric in &self.metrics {
            match metric {
                Prepared::Frechet { network, reference } => {
                    let mut moments = None;
                    for (pixels, shape) in chunks(samples) {
                        push(&mut moments, network.as_ref(), pixels, shape)?;
                    }
                    let distance = frechet(&gaussian(moments)?, reference)?;
                    let mut entry = record(format!("FD[{}]-{n}", network.name()), distance.value);
                    if distance.rank_deficient {
                        entry.warnings.push("fewer samples than feature dimensions: biased upwards".into());
                    }
                    entry.protocol.features = network.name();
                    entry.protocol.features_hash = network.hash();
                    records.push(entry);
                }
                Prepared::ClassifierAccuracy { classifier } => {
                    let asked = samples.classes.as_deref().ok_or(EvaluationError::Unfit {
                        metric: "classifier_accuracy",
                        message: "the samples were not asked for a class".into(),
                    })?;
                    let classes = self.reference.class_names().len();
                    let mut confusion = Confusion::new(classes);
                    let mut found = Vec::with_capacity(n);
                    for (pixels, shape) in chunks(samples) {
                        found.extend(classifier.classes(pixels, shape));
                    }
                    for (&asked, &found) in asked.iter().zip(&found) {
                        confusion.record(asked, found)?;
                    }
                    let accuracy = confusion.accuracy();
                    let mut entry = record(format!("accuracy[{}]-{n}", classifier.name()), accuracy.value());
                    let interval = accuracy.wilson(0.95)?;
                    entry.interval = Some([interval.lower, interval.upper]);
                    entry.protocol.features = classifier.name();
                    entry.protocol.features_hash = classifier.hash();
                    records.push(entry);
                }
                Prepared::Detector { spread } => {
                    for (name, value, interval) in pictures::read(samples, self.reference.class_names(), spread)? {
                        let mut entry = record(format!("{name}-{n}"), value);
                        entry.interval = interval;
                        records.push(entry);
                    }
                }
                Prepared::SlicedWasserstein { projections, points } => {
                    let values: Vec<f64> = samples.pixels.iter().map(|&x| f64::from(x)).collect();
                    let dimension = samples.shape[1..].iter().product();
                    let directions = directions(*projections, dimension);
                    let distance = sliced_wasserstein(
                        Points::new(&values, dimension)?,
                        Points::new(points, dimension)?,
                        Points::new(&directions, dimension)?,
                        2,
                    )?;
                    records.push(record(format!("SW2[{projections}]-{n}"), distance.value));
                }
            }
        }
        Ok(records)
    }
}

fn chunks(samples: &Samples) -> impl Iterator<Item = (&[f32], [usize; 4])> {
    let [_, c, h, w] = samples.shape;
    samples.pixels.chunks(CHUNK * c * h * w).map(move |pixels| (pixels, [pixels.len() / (c * h * w), c, h, w]))
}

fn push(
    moments: &mut Option<Moments>,
    network: &dyn FeatureNetwork,
    pixels: &[f32],
    shape: [usize; 4],
) -> Result<(), EvaluationError> {
    let features = network.features(pixels, shape);
    moments.get_or_insert_with(|| Moments::new(features.len() / shape[0])).push(&features)?;
    Ok(())
}

fn gaussian(moments: Option<Moments>) -> Result<Gaussian, EvaluationError> {
    let moments = moments.ok_or(EvaluationError::Unfit { metric: "frechet", message: "there are no images".into() })?;
    Ok(moments.gaussian()?)
}

/// Random directions, row by row: always the same ones, so that distances compare.
fn directions(count: usize, dimension: usize) -> Vec<f64> {
    let key = Key::new(0, Stream::EVALUATION);
    let mut values = vec![0.0; count * dimension];
    for (i, row) in values.chunks_mut(dimension).enumerate() {
        key.at(i as u64).fill_normal_f64(row);
    }
    values
}

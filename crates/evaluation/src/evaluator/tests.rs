//! Evaluations of small sets of images, with stand-ins for what higher floors bring.

use sinter_data::sources::ByteImages;
use sinter_metrics::Proportion;

use super::*;
use crate::{Features, Gives, PixelFeatures};

/// `n` images `[1, 2, 2]` of classes 0, 1, 2 in turn, from a sequence without a generator.
fn images(n: usize, offset: f64) -> ByteImages {
    let value = |i: usize| (256.0 * ((i as f64 + offset) * 0.618_033_988_749_894_9).fract()) as u8;
    ByteImages {
        name: "images".into(),
        shape: [1, 2, 2],
        classes: ["a", "b", "c"].map(str::to_owned).into(),
        pixels: (0..4 * n).map(value).collect(),
        maximum: u8::MAX,
        labels: (0..n as u32).map(|i| i % 3).collect(),
        fingerprint: format!("{n} from {offset}"),
    }
}

fn reference(images: ByteImages) -> ReferenceImages {
    ReferenceImages { source: Arc::new(images), part: "train".into(), limit: None, statistics: None, held_out: None }
}

/// Pixels as features; trained classifiers are right about as many images as they were trained on, at the most.
struct Plain;

#[derive(Debug)]
struct Counting;

impl ClassifierTrainer for Counting {
    fn accuracy(
        &self,
        samples: Arc<dyn Source>,
        held_out: &dyn Source,
        count: u64,
    ) -> Result<Proportion, EvaluationError> {
        assert_eq!((samples.shape(), samples.class_names()), (held_out.shape(), held_out.class_names()));
        Ok(Proportion { successes: samples.len().min(count), total: count })
    }
}

impl Networks for Plain {
    type Error = EvaluationError;

    fn features(
        &self,
        _config: &FeaturesConfig,
        _image: [usize; 3],
    ) -> Result<Box<dyn FeatureNetwork>, EvaluationError> {
        Ok(Box::new(PixelFeatures))
    }

    fn trainer(
        &self,
        _config: &ClassifierTraining,
        _image: [usize; 3],
        _classes: usize,
    ) -> Result<Box<dyn ClassifierTrainer>, EvaluationError> {
        Ok(Box::new(Counting))
    }
}

/// Features with a NaN for one image.
#[derive(Clone, Copy, Debug)]
struct Damaged {
    image: usize,
    in_logits: bool,
}

impl FeatureNetwork for Damaged {
    fn name(&self) -> String {
        "damaged".into()
    }

    fn hash(&self) -> String {
        String::new()
    }

    fn check(&self, _image: [usize; 3]) -> Result<(), String> {
        Ok(())
    }

    fn gives(&self) -> Gives {
        Gives { logits: true, spatial: false }
    }

    fn features(&self, pixels: &[f32], [n, ..]: [usize; 4]) -> Features {
        let (mut pooled, mut logits) = (pixels.to_vec(), vec![0.5; 3 * n]);
        let damaged = if self.in_logits { &mut logits[3 * self.image + 2] } else { &mut pooled[4 * self.image] };
        *damaged = if self.in_logits { f32::NEG_INFINITY } else { f32::NAN };
        Features { pooled, logits: Some(logits), spatial: None }
    }
}

impl Networks for Damaged {
    type Error = EvaluationError;

    fn features(
        &self,
        _config: &FeaturesConfig,
        _image: [usize; 3],
    ) -> Result<Box<dyn FeatureNetwork>, EvaluationError> {
        Ok(Box::new(*self))
    }

    fn trainer(
        &self,
        _config: &ClassifierTraining,
        _image: [usize; 3],
        _classes: usize,
    ) -> Result<Box<dyn ClassifierTrainer>, EvaluationError> {
        Ok(Box::new(Counting))
    }
}

fn frechet() -> MetricConfig {
    MetricConfig::Frechet { features: FeaturesConfig::default(), spatial: false, extrapolated: false }
}

fn score() -> MetricConfig {
    MetricConfig::ClassificationAccuracyScore(ClassifierTraining::default())
}

fn subject() -> Subject {
    Subject::Images { name: "samples".into(), hash: "samples".into() }
}

/// The records of samples in portions of `size`.
fn records(evaluator: &Evaluator, samples: &dyn Source, size: u64) -> Result<Vec<Record>, EvaluationError> {
    let mut evaluation = evaluator.begin()?;
    for first in (0..samples.len()).step_by(size as usize) {
        evaluation.push(Samples::read(samples, first..(first + size).min(samples.len()))?)?;
    }
    evaluation.records("0", &subject())
}

#[test]
fn neither_portions_nor_reading_ahead_change_a_bit() {
    let evaluator = Evaluator::new(&[frechet()], reference(images(700, 0.0)), None, &Plain).unwrap();
    let samples = images(600, 0.3);
    let whole = records(&evaluator, &samples, 600).unwrap();
    assert_eq!(whole[0].metric, "FD[pixels]-600");
    assert!(whole[0].value > 0.0 && whole[0].warnings.is_empty());
    for size in [1, 7, 256, 599] {
        assert_eq!(records(&evaluator, &samples, size).unwrap(), whole, "portions of {size}");
    }
    let mut evaluation = evaluator.begin().unwrap();
    let mut seen = Vec::new();
    evaluation.push_images(&samples, 600, |done| seen.push(done)).unwrap();
    assert_eq!((evaluation.records("0", &subject()).unwrap(), seen), (whole.clone(), vec![256, 512, 600]));
    // Another order is another sequence of sums: the same distance up to their rounding, which is of covariances of the
    // order of one.
    let mut backwards = samples.clone();
    backwards.pixels = samples.pixels.chunks(4).rev().flatten().copied().collect();
    let backwards = records(&evaluator, &backwards, 600).unwrap()[0].value;
    assert!((backwards - whole[0].value).abs() < 1e-14, "{backwards} and {}", whole[0].value);
}

#[test]
fn fewer_samples_than_dimensions_are_finite_and_warned_of() {
    let evaluator = Evaluator::new(&[frechet()], reference(images(700, 0.0)), None, &Plain).unwrap();
    let few = records(&evaluator, &images(3, 0.3), 3).unwrap().remove(0);
    assert!(few.value.is_finite() && few.value > 0.0);
    assert_eq!(few.warnings, ["fewer samples than feature dimensions: biased upwards"]);
}

#[test]
fn what_is_no_number_gives_no_number() {
    // In the reference's features, in the samples', in logits.
    let network = |image, in_logits| Damaged { image, in_logits };
    let error = |image, in_logits, metric: MetricConfig, samples: usize| match Evaluator::new(
        &[metric],
        reference(images(20, 0.0)),
        None,
        &network(image, in_logits),
    ) {
        Err(error) => error,
        Ok(evaluator) => records(&evaluator, &images(samples, 0.3), 3).unwrap_err(),
    };
    assert!(matches!(error(7, false, frechet(), 5), EvaluationError::NotFinite { image: 7, .. }));
    let score = || MetricConfig::InceptionScore { features: FeaturesConfig::default(), splits: 1 };
    let told = error(4, true, score(), 5);
    assert!(matches!(told, EvaluationError::NotFinite { image: 4, value: f32::NEG_INFINITY }), "{told}");
    assert!(told.to_string().contains("the features of image 4 hold -inf"), "{told}");

    // In samples, which as bytes would look like black.
    let evaluator = Evaluator::new(&[frechet()], reference(images(20, 0.0)), None, &Plain).unwrap();
    let mut evaluation = evaluator.begin().unwrap();
    let samples = || Samples::read(&images(8, 0.3), 0..8).unwrap();
    evaluation.push(samples()).unwrap();
    for value in [f32::NAN, f32::INFINITY] {
        let mut diverged = samples();
        diverged.pixels[4 * 2 + 1] = value;
        let told = evaluation.push(diverged).unwrap_err();
        assert!(matches!(told, EvaluationError::NotImage { image: 10, .. }), "{told}");
        assert!(told.to_string().contains(&format!("sample 10 holds {value}")), "{told}");
    }
}

#[test]
fn a_classifier_is_judged_by_the_held_out_images() {
    let held_out = HeldOut { source: Arc::new(images(40, 0.9)), part: "test".into() };
    let mut real = ReferenceImages { held_out: Some(held_out), ..reference(images(70, 0.0)) };
    let evaluator = Evaluator::new(&[score(), frechet(), score()], real.clone(), None, &Plain).unwrap();
    let found = records(&evaluator, &images(10, 0.3), 3).unwrap();
    let names: Vec<&str> = found.iter().map(|record| record.metric.as_str()).collect();
    assert_eq!(names, ["CAS[classifier]-10", "FD[pixels]-10", "CAS[classifier]-10"]);
    assert_eq!((found[0].value, &found[0]), (0.25, &found[2]));
    assert!(found[0].interval.is_some_and(|[low, high]| low < 0.25 && 0.25 < high));
    let Measurement { settings, reference: name, reference_hash, reference_images, features, .. } =
        found[0].protocol.measurement.clone();
    assert_eq!((name.as_str(), reference_hash.as_str(), reference_images), ("images test", "40 from 0.9", 40));
    assert_eq!((found[1].protocol.measurement.reference.as_str(), features.as_str()), ("images train", ""));
    // The record says all of how the classifier is trained.
    let training: ClassifierTraining = {
        let mut settings = settings;
        assert_eq!(settings.shift_remove("type"), Some("classification_accuracy_score".into()));
        serde_json::from_value(Value::Object(settings)).unwrap()
    };
    assert_eq!(training, ClassifierTraining::default());

    real.limit = Some(25);
    let evaluator = Evaluator::new(&[score()], real, None, &Plain).unwrap();
    let found = records(&evaluator, &images(10, 0.3), 10).unwrap().remove(0);
    assert_eq!((found.value, found.protocol.measurement.reference_images), (0.4, 25));
}

#[test]
fn what_no_classifier_can_learn_or_be_judged_by_is_told() {
    let message = |real: ReferenceImages| Evaluator::new(&[score()], real, None, &Plain).err().unwrap().to_string();
    let statistics = ReferenceImages { statistics: Some("reference.npz".into()), ..reference(images(9, 0.0)) };
    assert!(message(statistics).contains("not by statistics"));
    let unlabelled = ByteImages { classes: Vec::new(), labels: Vec::new(), ..images(9, 0.0) };
    assert!(message(reference(unlabelled.clone())).contains("has no classes"));
    let one = ByteImages { classes: vec!["a".into()], labels: vec![0; 9], ..images(9, 0.0) };
    assert!(message(reference(one)).contains("one class"));
    let wide = ByteImages { shape: [1, 1, 4], ..images(9, 0.0) };
    let held_out = Some(HeldOut { source: Arc::new(wide), part: "test".into() });
    assert!(message(ReferenceImages { held_out, ..reference(images(9, 0.0)) }).contains("[1, 1, 4]"));

    let evaluator = Evaluator::new(&[score()], reference(images(9, 0.0)), None, &Plain).unwrap();
    let told = records(&evaluator, &unlabelled, 9).unwrap_err().to_string();
    assert!(told.contains("not asked for a class"), "{told}");
    let more = ByteImages { labels: vec![3; 9], ..images(9, 0.0) };
    let told = records(&evaluator, &more, 9).unwrap_err().to_string();
    assert!(told.contains("class 3") && told.contains("3 classes"), "{told}");
    // A set that judges itself is no score, and is measured with a warning.
    let own = Subject::Images { name: "images".into(), hash: images(9, 0.0).fingerprint };
    let mut evaluation = evaluator.begin().unwrap();
    evaluation.push_images(&images(9, 0.0), 9, |_| {}).unwrap();
    let found = evaluation.records("0", &own).unwrap().remove(0);
    assert!(found.warnings[0].contains("the very images that it was trained on"), "{found:?}");
}

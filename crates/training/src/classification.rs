//! Classifiers trained on samples, for the classification accuracy score.

use std::sync::Arc;

use burn::tensor::Device;
use sinter_config::Problems;
use sinter_data::{Batch, Loader, LoaderConfig, Source};
use sinter_evaluation::{ClassifierTrainer, ClassifierTraining, EvaluationError, Samples};
use sinter_metrics::Proportion;
use sinter_models::{DataShape, ModelConfig};
use sinter_objectives::{Classification, Clock, Objective, Setup, Tally};
use sinter_optimization::{AdamW, Algorithm, Decay, OptimizerConfig, Schedule};
use sinter_sampling::Conditioner;

use crate::TrainingError;

/// Held-out images that are looked at together.
const PORTION: u64 = 256;

/// A classifier to be trained on samples, with the objective and the optimizer that runs of classifiers have.
#[derive(Debug)]
pub(crate) struct SampleClassifier {
    training: ClassifierTraining,
    model: ModelConfig,
    optimizer: OptimizerConfig,
    conditioner: Conditioner,
    device: Device,
}

impl SampleClassifier {
    /// Of images `[c, h, w]` of so many classes.
    ///
    /// # Errors
    /// Every problem of the settings with such images.
    pub(crate) fn new(
        training: &ClassifierTraining,
        image: [usize; 3],
        classes: usize,
        device: &Device,
    ) -> Result<Self, TrainingError> {
        let [c, h, w] = image;
        let mut problems = training.validate();
        let shape = DataShape::images(c, h, w).with_classes(classes);
        problems.nest("model", training.model.validate(&shape));
        if !problems.is_empty() {
            let mut nested = Problems::new();
            nested.nest("classification_accuracy_score", problems);
            return Err(TrainingError::Problems(nested));
        }
        let conditioner = Conditioner::new(image, classes, &[], 0)
            .map_err(|error| TrainingError::Config(format!("classification_accuracy_score: {error}")))?;
        let ClassifierTraining { images, learning_rate, warmup, floor, clip_norm, weight_decay, .. } = *training;
        let warmup = (warmup * images as f64).round() as u64;
        let optimizer = OptimizerConfig {
            learning_rate,
            schedule: Schedule { warmup, decay: Decay::Cosine { images, floor } },
            clip_norm: Some(clip_norm),
            algorithm: Algorithm::Adamw(AdamW { weight_decay, ..AdamW::default() }),
        };
        let model = ModelConfig::Classifier(training.model.clone());
        Ok(Self { training: training.clone(), model, optimizer, conditioner, device: device.clone() })
    }

    fn run(&self, samples: Arc<dyn Source>, held_out: &dyn Source, count: u64) -> Result<Proportion, TrainingError> {
        let ClassifierTraining { images, batch: size, label_smoothing, seed, .. } = self.training;
        let setup = Setup {
            model: &self.model,
            adapters: None,
            optimizer: &self.optimizer,
            conditioner: &self.conditioner,
            device: &self.device,
            seed,
            training: None,
        };
        let mut method = Classification { label_smoothing }.build(&setup)?;
        let reading = LoaderConfig { augmentation: self.training.augmentation.clone(), ..LoaderConfig::default() };
        let loader = Loader::new(samples, reading, seed);
        for (batch, step) in loader.stream(0, size, images).zip(0..) {
            let batch = batch?;
            method.step(&batch, Clock { images: batch.first_image, step, micro_batch: size })?;
        }
        let inference = method.inference(None);
        let mut tally = Tally::new();
        for first in (0..count).step_by(PORTION as usize) {
            let images = Samples::read(held_out, first..(first + PORTION).min(count))?.quantized();
            let Samples { shape, pixels, classes, captions } = images;
            tally.merge(&inference.validate(&Batch { shape, pixels, classes, captions, first_image: first })?);
        }
        let accuracy = tally.mean("validation/accuracy").unwrap_or_default();
        Ok(Proportion { successes: (accuracy * count as f64).round() as u64, total: count })
    }
}

impl ClassifierTrainer for SampleClassifier {
    fn accuracy(
        &self,
        samples: Arc<dyn Source>,
        held_out: &dyn Source,
        count: u64,
    ) -> Result<Proportion, EvaluationError> {
        self.run(samples, held_out, count).map_err(|error| match error {
            TrainingError::Data(error) => error.into(),
            error => EvaluationError::Unfit {
                metric: "classification_accuracy_score",
                message: format!("the classifier cannot be trained: {error}"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use sinter_data::shapes::{Shapes, ShapesConfig};
    use sinter_data::sources::ByteImages;
    use sinter_data::transform::to_byte;
    use sinter_data::{DataError, Split};
    use sinter_models::ClassifierConfig;

    use super::*;

    /// Few shapes, all of two classes that differ in colour, so that a minute network knows them soon.
    fn shapes(split: Split) -> ByteImages {
        let config = ShapesConfig { resolution: 16, size: 3000, test_size: 2000, ..ShapesConfig::default() };
        let all = Shapes::new(config, split, 0).unwrap();
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for index in 0..all.len() {
            let example = all.example(index).unwrap();
            let name = &all.class_names()[example.class.unwrap() as usize];
            let class = if name.starts_with("red ") {
                0
            } else if name.starts_with("blue ") {
                1
            } else {
                continue;
            };
            pixels.extend(example.pixels.into_iter().map(to_byte));
            labels.push(class);
        }
        let (name, fingerprint) = (split.to_string(), split.to_string());
        let classes = vec!["red".into(), "blue".into()];
        ByteImages { name, shape: [3, 16, 16], classes, pixels, maximum: u8::MAX, labels, fingerprint }
    }

    fn training() -> ClassifierTraining {
        let model = ClassifierConfig { channels: 8, depth: 2, features: 16, groups: 4, dropout: 0.1 };
        ClassifierTraining { model, images: 1600, batch: 32, learning_rate: 1e-2, ..ClassifierTraining::default() }
    }

    fn score(training: &ClassifierTraining, samples: &ByteImages, held_out: &ByteImages) -> Proportion {
        let classifier = SampleClassifier::new(training, [3, 16, 16], 2, &Device::flex()).unwrap();
        classifier.accuracy(Arc::new(samples.clone()), held_out, held_out.len()).unwrap()
    }

    #[test]
    fn what_samples_teach_is_what_is_known() {
        let (samples, held_out) = (shapes(Split::Train), shapes(Split::Test));
        assert!(samples.len() > 80 && held_out.len() > 50, "{} and {}", samples.len(), held_out.len());
        let honest = score(&training(), &samples, &held_out);
        assert!(honest.value() > 0.9, "{honest:?}");
        // Samples with each other's classes teach the opposite.
        let labels = samples.labels.iter().map(|label| 1 - label).collect();
        let swapped = score(&training(), &ByteImages { labels, ..samples.clone() }, &held_out);
        assert!(swapped.value() < 0.1, "{swapped:?}");
        // Of samples that show nothing, only what is more frequent is learned.
        let blank = ByteImages { pixels: vec![128; samples.pixels.len()], ..samples };
        let blank = score(&training(), &blank, &held_out);
        assert!((0.3..0.7).contains(&blank.value()), "{blank:?}");
    }

    #[test]
    fn the_seed_and_the_settings_decide_every_digit() {
        let (samples, held_out) = (shapes(Split::Train), shapes(Split::Test));
        // So few images that nothing is certain.
        let short = ClassifierTraining { images: 96, learning_rate: 3e-3, ..training() };
        let on = |threads: usize, training: &ClassifierTraining| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| score(training, &samples, &held_out))
        };
        let first = on(1, &short);
        assert_eq!(first, on(1, &short));
        assert_eq!(first, on(3, &short));
        let others = (1..6).map(|seed| on(1, &ClassifierTraining { seed, ..short.clone() }));
        assert!(others.into_iter().any(|other| other != first), "{first:?}");
    }

    /// Images that cannot be read.
    struct Broken(ByteImages);

    impl Source for Broken {
        fn name(&self) -> &str {
            "broken"
        }

        fn len(&self) -> u64 {
            self.0.len()
        }

        fn shape(&self) -> [usize; 3] {
            self.0.shape()
        }

        fn class_names(&self) -> &[String] {
            self.0.class_names()
        }

        fn example(&self, index: u64) -> Result<sinter_data::Example, DataError> {
            Err(DataError::Index { name: "broken".into(), index, len: self.len() })
        }

        fn fingerprint(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn what_cannot_be_trained_is_told() {
        let message = |training: &ClassifierTraining, image, classes| {
            SampleClassifier::new(training, image, classes, &Device::flex()).unwrap_err().to_string()
        };
        let wrong =
            ClassifierTraining { batch: 0, model: ClassifierConfig { groups: 5, ..training().model }, ..training() };
        let told = message(&wrong, [3, 16, 16], 1);
        for part in ["score.batch: must be at least 1", "score.model.groups: 5 groups", "at least two classes"] {
            assert!(told.contains(part), "{told}");
        }
        let short = ClassifierTraining { images: 32, ..training() };
        let classifier = SampleClassifier::new(&short, [3, 16, 16], 2, &Device::flex()).unwrap();
        let samples = Arc::new(shapes(Split::Train));
        let broken = classifier.accuracy(samples.clone(), &Broken(shapes(Split::Test)), 10).unwrap_err().to_string();
        assert!(broken.contains("broken"), "{broken}");
        let diverging = ClassifierTraining { learning_rate: 1e30, images: 320, ..training() };
        let classifier = SampleClassifier::new(&diverging, [3, 16, 16], 2, &Device::flex()).unwrap();
        let told = classifier.accuracy(samples, &shapes(Split::Test), 10).unwrap_err().to_string();
        assert!(told.contains("classification_accuracy_score") && told.contains("not finite"), "{told}");
    }
}

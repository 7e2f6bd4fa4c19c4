//! How sure a classifier is of the class that was asked for.

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_data::Batch;
use sinter_kernels::map_images;
use sinter_models::{Classifier, DataShape, parameters};

use super::{Reward, RewardError, Scores};

/// The unit of a classifier's confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// In [0, 1].
    #[default]
    Probability,
    /// Its natural logarithm.
    LogProbability,
}

/// A classifier as a reward.
#[derive(Clone, Debug)]
pub struct ClassifierReward {
    name: String,
    score: Confidence,
    classifier: Classifier,
    shape: DataShape,
    device: Device,
}

impl ClassifierReward {
    /// A trained classifier of data of `shape`.
    ///
    /// # Errors
    /// Why it is none, as the rest of a sentence.
    pub fn new(classifier: Classifier, shape: DataShape, device: &Device) -> Result<Self, String> {
        let shapes = parameters::names_and_shapes(&classifier);
        let size = |name: &str, axis: usize| shapes.get(name).and_then(|shape| shape.get(axis)).copied();
        let theirs = (size("input.weight", 1), size("logits.bias", 0));
        if theirs != (Some(shape.channels), Some(shape.classes)) {
            let [channels, classes] = [theirs.0, theirs.1].map(Option::unwrap_or_default);
            return Err(format!(
                "tells {classes} classes of images of {channels} channels apart, and the data here are {shape}"
            ));
        }
        let name = "classifier".to_owned();
        Ok(Self { name, score: Confidence::default(), classifier: classifier.valid(), shape, device: device.clone() })
    }

    /// The same under a name and in a unit.
    pub(super) fn named(self, name: String, score: Confidence) -> Self {
        Self { name, score, ..self }
    }

    fn log_probabilities(&self, images: &Batch) -> Vec<f32> {
        let [_, c, h, w] = images.shape;
        let parts = map_images(&self.device, images.len(), |range| {
            let part = images.slice(range);
            let data = TensorData::new(part.pixels, [part.shape[0], c, h, w]);
            let logits = self.classifier.forward(Tensor::from_data(data, &self.device), None); // [b, k]
            log_softmax(logits, 1).into_data().iter::<f32>().collect::<Vec<_>>()
        });
        parts.concat()
    }
}

impl Reward for ClassifierReward {
    /// The detail is `accuracy`: the share of images whose likeliest class is the one asked for.
    fn scores(&mut self, images: &Batch) -> Result<Scores, RewardError> {
        let unfit = |reason: String| RewardError::Unfit { name: self.name.clone(), reason };
        let DataShape { channels, height, width, classes, .. } = self.shape;
        let [_, c, h, w] = images.shape;
        if [c, h, w] != [channels, height, width] {
            let expected = [channels, height, width];
            return Err(unfit(format!("was trained on images of {expected:?}, these are {:?}", [c, h, w])));
        }
        let asked = images.classes.as_ref().ok_or_else(|| unfit("the images were asked for no classes".into()))?;
        if let Some(class) = asked.iter().find(|class| **class as usize >= classes) {
            return Err(unfit(format!("knows {classes} classes, and not number {class}")));
        }
        let log_probabilities = self.log_probabilities(images);
        let mut scores = Scores::default();
        for (row, class) in log_probabilities.chunks_exact(classes).zip(asked) {
            let own = row[*class as usize];
            scores.values.push(match self.score {
                Confidence::Probability => f64::from(own).exp(),
                Confidence::LogProbability => f64::from(own),
            });
            scores.details.add("accuracy", if row.iter().all(|other| *other <= own) { 1.0 } else { 0.0 });
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use sinter_models::ClassifierConfig;

    use super::super::tests::images;
    use super::*;

    fn reward(score: Confidence) -> ClassifierReward {
        let (device, shape) = (Device::flex(), DataShape::images(1, 8, 8).with_classes(3));
        let config = ClassifierConfig { channels: 8, depth: 2, features: 16, groups: 4, dropout: 0.0 };
        let classifier = config.build(&shape, &device, 5).unwrap();
        ClassifierReward::new(classifier, shape, &device).unwrap().named("sure".into(), score)
    }

    fn of_class(class: u32) -> Batch {
        let batch = images([4, 1, 8, 8], |i| ((i * 37) % 101) as f32 / 50.0 - 1.0);
        Batch { classes: Some(vec![class; 4]), ..batch }
    }

    #[test]
    fn probabilities_of_all_classes_sum_to_one() {
        let of = |class| reward(Confidence::Probability).scores(&of_class(class)).unwrap();
        let all = [of(0), of(1), of(2)];
        for image in 0..4 {
            let sum: f64 = all.iter().map(|scores| scores.values[image]).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        }
        let accuracies: f64 = all.iter().map(|scores| scores.details.mean("accuracy").unwrap()).sum();
        assert!((accuracies - 1.0).abs() < 1e-12);
        let logs = reward(Confidence::LogProbability).scores(&of_class(1)).unwrap();
        assert!(logs.values.iter().zip(&all[1].values).all(|(log, p)| (log.exp() - p).abs() < 1e-12));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let three = reward(Confidence::Probability).classifier;
        let others = DataShape::images(1, 8, 8).with_classes(10);
        let error = ClassifierReward::new(three, others, &Device::flex()).unwrap_err();
        assert_eq!(
            error,
            "tells 3 classes of images of 1 channels apart, and the data here are images of 1 x 8 x 8 in 10 classes"
        );
        let error = |batch: Batch| reward(Confidence::Probability).scores(&batch).unwrap_err().to_string();
        assert_eq!(error(of_class(3)), "reward `sure`: knows 3 classes, and not number 3");
        assert!(error(images([1, 1, 8, 8], |_| 0.0)).ends_with("asked for no classes"));
        assert!(error(images([1, 3, 8, 8], |_| 0.0)).contains("was trained on images of [1, 8, 8]"));
    }
}

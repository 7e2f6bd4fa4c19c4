//! How well images of `shapes` meet their captions: a GenEval (Ghosh et al. 2023) in small, with an exact detector.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_data::shapes::{Requirements, Skills, detect, satisfies};
use sinter_models::DataShape;

use super::{Reward, RewardError, Scores, each_image};
use crate::Tally;

/// Least side of an image that the detector reads.
const LEAST_SIDE: usize = 16;

/// How the skills that a caption asks for become one number in [0, 1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Composition {
    /// Their mean: partial credit.
    #[default]
    Mean,
    /// 1 where every one is met, else 0.
    All,
}

/// The reward.
pub(super) struct Compositional {
    pub(super) name: String,
    pub(super) score: Composition,
}

pub(super) fn validate(shape: &DataShape, problems: &mut Problems) {
    if shape.vocabulary == 0 {
        problems.push_help(
            "type",
            "scores captions, which these data do not have",
            "use `data.source = { type = \"shapes\", captions = true }`",
        );
    }
    let readable = shape.channels == 3 && shape.height.min(shape.width) >= LEAST_SIDE;
    problems.check(readable, "type", format!("needs images [3, h, w] with sides of at least {LEAST_SIDE}"));
}

impl Reward for Compositional {
    /// The details are the mean of each skill over the images that were asked for it, and `all`, the share of images that
    /// meet every one.
    fn scores(&mut self, images: &Batch) -> Result<Scores, RewardError> {
        let unfit = |reason: String| RewardError::Unfit { name: self.name.clone(), reason };
        let captions = images.captions.as_ref().ok_or_else(|| unfit("the images were asked for no captions".into()))?;
        let [_, c, h, w] = images.shape;
        let skills: Vec<Skills> = each_image(images, |index, pixels| {
            let caption = &captions[index];
            let asked: Requirements =
                caption.parse().map_err(|error| unfit(format!("`{caption}` is no caption of `shapes`: {error}")))?;
            let reading = detect(pixels, [c, h, w]).map_err(|error| unfit(error.to_string()))?;
            Ok(satisfies(&reading, &asked))
        })?;
        let mut details = Tally::new();
        for skills in &skills {
            skills.asked().for_each(|(skill, value)| details.add(skill, value));
            details.add("all", all(skills));
        }
        let score = |skills: &Skills| match self.score {
            Composition::Mean => skills.mean(),
            Composition::All => all(skills),
        };
        Ok(Scores { values: skills.iter().map(score).collect(), details })
    }
}

fn all(skills: &Skills) -> f64 {
    if skills.all() { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use sinter_data::shapes::{ObjectCount, Shapes, ShapesConfig};
    use sinter_data::{Loader, LoaderConfig, Split};

    use super::*;

    fn batch() -> Batch {
        let objects = ObjectCount { min: 1, max: 3 };
        let config = ShapesConfig { objects, captions: true, ..ShapesConfig::default() };
        let source = Shapes::new(config, Split::Test, 3).unwrap();
        Loader::new(std::sync::Arc::new(source), LoaderConfig::in_order(), 3).batch(0, 24).unwrap()
    }

    fn reward(score: Composition) -> Compositional {
        Compositional { name: "compositional".into(), score }
    }

    #[test]
    fn true_images_meet_their_captions_and_exchanged_ones_do_not() {
        let batch = batch();
        let right = reward(Composition::Mean).scores(&batch).unwrap();
        assert!(right.values.iter().filter(|value| **value == 1.0).count() >= 22, "{:?}", right.values);
        assert!(right.details.mean("count").unwrap() > 0.9 && right.details.mean("all").unwrap() > 0.9);
        let mut captions = batch.captions.clone().unwrap();
        captions.rotate_left(1);
        let exchanged = Batch { captions: Some(captions), ..batch.clone() };
        let wrong = reward(Composition::Mean).scores(&exchanged).unwrap();
        let mean = wrong.values.iter().sum::<f64>() / 24.0;
        assert!(mean > 0.0 && mean < 0.6, "{mean}");
        let strict = reward(Composition::All).scores(&exchanged).unwrap();
        assert!(strict.values.iter().all(|value| [0.0, 1.0].contains(value)));
        assert_eq!(strict.details, wrong.details);
        // A blank image meets nothing.
        let blank = Batch { pixels: vec![0.0; batch.pixels.len()], ..batch };
        assert!(reward(Composition::Mean).scores(&blank).unwrap().values.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let batch = batch();
        let without = Batch { captions: None, ..batch.clone() };
        let error = reward(Composition::Mean).scores(&without).unwrap_err().to_string();
        assert_eq!(error, "reward `compositional`: the images were asked for no captions");
        let other = Batch { captions: Some(vec!["a dog".into(); 24]), ..batch };
        let error = reward(Composition::Mean).scores(&other).unwrap_err().to_string();
        assert!(error.contains("`a dog` is no caption of `shapes`") && error.contains("no word `dog`"), "{error}");
    }
}

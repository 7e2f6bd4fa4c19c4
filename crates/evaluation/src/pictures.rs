//! What the exact detector of the `shapes` data says about samples.

use std::collections::BTreeMap;

use sinter_data::Source;
use sinter_data::shapes::{self, Found, Requirements, detect, satisfies};

use crate::measures::Finding;
use crate::{EvaluationError, Samples};

/// Reference images that the spread of positions and sizes is taken from.
const SPREAD_IMAGES: u64 = 4000;

/// Names of the three numbers that place an object.
const PLACES: [&str; 3] = ["x", "y", "size"];

/// How positions and sizes of single objects vary among those of one colour and shape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread(BTreeMap<(&'static str, &'static str), Vec<[f64; 3]>>);

impl Spread {
    /// The spread of the data.
    pub(crate) fn of(source: &dyn Source) -> Result<Self, EvaluationError> {
        let mut spread = Self::default();
        for index in 0..source.len().min(SPREAD_IMAGES) {
            if let Some(found) = read(&source.example(index)?.pixels, source.shape())?.single() {
                spread.add(found);
            }
        }
        Ok(spread)
    }

    fn add(&mut self, found: &Found) {
        let [x, y] = found.pose.centre;
        let kind = (found.colour.name(), found.pose.shape.name());
        self.0.entry(kind).or_default().push([x, y, found.pose.extent]);
    }

    /// The standard deviation of each number around the mean of its kind, over all kinds that have two objects.
    fn deviations(&self) -> Option<[f64; 3]> {
        let mut squares = [0.0; 3];
        let mut freedom = 0;
        for places in self.0.values().filter(|places| places.len() > 1) {
            freedom += places.len() - 1;
            for (k, square) in squares.iter_mut().enumerate() {
                let mean = places.iter().map(|place| place[k]).sum::<f64>() / places.len() as f64;
                *square += places.iter().map(|place| (place[k] - mean).powi(2)).sum::<f64>();
            }
        }
        (freedom > 0).then(|| squares.map(|square| (square / freedom as f64).sqrt()))
    }
}

/// The objects of an image.
fn read(pixels: &[f32], shape: [usize; 3]) -> Result<shapes::Reading, EvaluationError> {
    detect(pixels, shape).map_err(|error| unfit(error.to_string()))
}

/// Share of samples that show what was asked for, by class or by caption; for captions also how well each skill is met;
/// and the spread of positions and sizes of single objects that are right, relative to the data's (1: as wide as the
/// data's, 0: always the same place).
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    class_names: &'a [String],
    data: &'a Spread,
    spread: Spread,
    right: usize,
    total: usize,
    /// Of each caption the mean over its skills.
    composition: Vec<f64>,
    /// How well a skill is met in each sample that was asked for it.
    skills: BTreeMap<&'static str, Vec<f64>>,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(class_names: &'a [String], data: &'a Spread) -> Self {
        let (composition, skills) = (Vec::new(), BTreeMap::new());
        Self { class_names, data, spread: Spread::default(), right: 0, total: 0, composition, skills }
    }

    /// Looks at some samples.
    pub(crate) fn push(&mut self, samples: &Samples) -> Result<(), EvaluationError> {
        let image = samples.image();
        let images = samples.pixels.chunks(image.iter().product());
        self.total += samples.shape[0];
        if let Some(classes) = &samples.classes {
            for (pixels, &class) in images.zip(classes) {
                let name =
                    self.class_names.get(class as usize).ok_or_else(|| unfit(format!("there is no class {class}")))?;
                if let Some(found) = read(pixels, image)?.single()
                    && *name == format!("{} {}", found.colour.name(), found.pose.shape.name())
                {
                    self.right += 1;
                    self.spread.add(found);
                }
            }
            Ok(())
        } else if let Some(captions) = &samples.captions {
            for (pixels, caption) in images.zip(captions) {
                let asked: Requirements = caption.parse().map_err(|error| unfit(format!("{caption:?}: {error}")))?;
                let reading = read(pixels, image)?;
                let skills = satisfies(&reading, &asked);
                self.composition.push(skills.mean());
                skills.asked().for_each(|(skill, value)| self.skills.entry(skill).or_default().push(value));
                if skills.all() {
                    self.right += 1;
                    reading.single().into_iter().for_each(|found| self.spread.add(found));
                }
            }
            Ok(())
        } else {
            Err(unfit("the samples were asked for nothing; the detector needs class labels or captions".into()))
        }
    }

    pub(crate) fn finish(self) -> Result<Vec<Finding>, EvaluationError> {
        let mut findings = vec![Finding::share("detector", self.right, self.total)?];
        if !self.composition.is_empty() {
            findings.push(Finding::mean("composition", &self.composition)?);
        }
        for (skill, values) in &self.skills {
            findings.push(Finding::mean(format!("skill_{skill}"), values)?);
        }
        if let (Some(ours), Some(theirs)) = (self.spread.deviations(), self.data.deviations()) {
            for (k, place) in PLACES.iter().enumerate() {
                findings.push(Finding::new(format!("spread_{place}"), ours[k] / theirs[k]));
            }
        }
        Ok(findings)
    }
}

fn unfit(message: String) -> EvaluationError {
    EvaluationError::Unfit { metric: "detector", message }
}

#[cfg(test)]
mod tests {
    use sinter_data::Split;
    use sinter_data::shapes::{ObjectCount, Shapes, ShapesConfig};

    use super::*;

    fn value(findings: &[Finding], name: &str) -> f64 {
        findings.iter().find(|finding| finding.name == name).unwrap().value
    }

    #[test]
    fn captions_are_judged_by_skill() {
        let objects = ObjectCount { min: 1, max: 2 };
        let config = ShapesConfig { objects, captions: true, ..ShapesConfig::default() };
        let source = Shapes::new(config, Split::Test, 3).unwrap();
        let spread = Spread::of(&source).unwrap();
        let whole = Samples::read(&source, 0..400).unwrap();
        let findings = |samples: &Samples| {
            let mut reading = Reading::new(&[], &spread);
            reading.push(samples).unwrap();
            reading.finish().unwrap()
        };
        let right = findings(&whole);
        for name in ["detector", "composition", "skill_count", "skill_colour", "skill_shape", "skill_position"] {
            assert!(value(&right, name) > 0.95, "{name}: {right:?}");
        }
        // The data's own places spread as the data's.
        assert!((value(&right, "spread_x") - 1.0).abs() < 0.15, "{right:?}");

        // The captions of other images: counts and colours still agree here and there, hardly ever everything.
        let mut captions = whole.captions.clone().unwrap();
        captions.rotate_left(1);
        let wrong = findings(&Samples { captions: Some(captions), ..whole });
        assert!(value(&wrong, "detector") < 0.05 && value(&wrong, "skill_binding") < 0.1, "{wrong:?}");
        assert!((0.05..0.6).contains(&value(&wrong, "composition")), "{wrong:?}");
        let composition = wrong.iter().find(|finding| finding.name == "composition").unwrap();
        let [lower, upper] = composition.interval.unwrap();
        assert!(lower < composition.value && composition.value < upper && upper - lower < 0.1, "{composition:?}");
    }
}

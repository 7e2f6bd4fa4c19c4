//! What the exact detector of the `shapes` data says about samples.

use std::collections::BTreeMap;

use sinter_data::Source;
use sinter_data::shapes::{Found, Requirements, detect, satisfies};

use crate::measures::Finding;
use crate::{EvaluationError, Samples};

/// Reference images that the spread of positions and sizes is taken from.
const SPREAD_IMAGES: u64 = 4000;

/// Names of the three numbers that place an object.
const PLACES: [&str; 3] = ["x", "y", "size"];

/// How positions and sizes of single objects vary within their classes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread(BTreeMap<u32, Vec<[f64; 3]>>);

impl Spread {
    /// The spread of the data.
    pub(crate) fn of(source: &dyn Source) -> Result<Self, EvaluationError> {
        let mut spread = Self::default();
        for index in 0..source.len().min(SPREAD_IMAGES) {
            let example = source.example(index)?;
            if let (Some(class), Some(found)) = (example.class, single(&example.pixels, source.shape())?) {
                spread.add(class, &found);
            }
        }
        Ok(spread)
    }

    fn add(&mut self, class: u32, found: &Found) {
        let [x, y] = found.pose.centre;
        self.0.entry(class).or_default().push([x, y, found.pose.extent]);
    }

    /// The standard deviation of each number around the mean of its class, over all classes that have two objects.
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

/// The only object of an image, if there is just one.
fn single(pixels: &[f32], shape: [usize; 3]) -> Result<Option<Found>, EvaluationError> {
    let reading = detect(pixels, shape).map_err(|error| unfit(error.to_string()))?;
    Ok(reading.single().copied())
}

/// Share of samples that show what was asked for, by class or by caption, and for classes the spread of positions and
/// sizes within a class relative to the data's (1: as wide as the data's, 0: always the same place).
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    class_names: &'a [String],
    data: &'a Spread,
    spread: Spread,
    right: usize,
    total: usize,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(class_names: &'a [String], data: &'a Spread) -> Self {
        Self { class_names, data, spread: Spread::default(), right: 0, total: 0 }
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
                if let Some(found) = single(pixels, image)?
                    && *name == format!("{} {}", found.colour.name(), found.pose.shape.name())
                {
                    self.right += 1;
                    self.spread.add(class, &found);
                }
            }
            Ok(())
        } else if let Some(captions) = &samples.captions {
            for (pixels, caption) in images.zip(captions) {
                let asked: Requirements = caption.parse().map_err(|error| unfit(format!("{caption:?}: {error}")))?;
                let reading = detect(pixels, image).map_err(|error| unfit(error.to_string()))?;
                self.right += usize::from(satisfies(&reading, &asked).all());
            }
            Ok(())
        } else {
            Err(unfit("the samples were asked for nothing; the detector needs class labels or captions".into()))
        }
    }

    pub(crate) fn finish(self) -> Result<Vec<Finding>, EvaluationError> {
        let mut findings = vec![Finding::share("detector", self.right, self.total)?];
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

//! Samples of a trained model: what pictures and metrics are made from.

use burn::tensor::Device;
use sha2::{Digest, Sha256};
use sinter_data::Source;
use sinter_evaluation::{Generated, Samples};
use sinter_sampling::{Conditioner, Denoiser, Guidance, Request, SamplingError, draw};
use sinter_solvers::{Plan, Sampler};

use crate::TrainingError;

/// What samples are asked for: sample `i` has class `classes[i % len]` and caption `captions[i % len]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Classes to go through; empty for none.
    pub classes: Vec<u32>,
    /// Captions to go through; empty for none.
    pub captions: Vec<String>,
}

impl Asked {
    /// Every class in turn, or the captions of the first held-out examples, by what the data have.
    ///
    /// # Errors
    /// When an example cannot be read.
    pub fn every_class(source: &dyn Source, captions: usize) -> Result<Self, TrainingError> {
        let classes = (0..source.class_names().len() as u32).collect::<Vec<_>>();
        let mut asked = Self { classes, captions: Vec::new() };
        if !source.vocabulary().is_empty() {
            for index in 0..(captions as u64).min(source.len()) {
                asked.captions.extend(source.example(index)?.caption);
            }
            // A caption says more than a class does.
            asked.classes.clear();
        }
        Ok(asked)
    }
}

/// How samples are drawn.
#[derive(Clone, Debug)]
pub struct Generation<'a> {
    /// Solver, grid, steps.
    pub sampler: &'a Sampler,
    /// How strongly conditions are followed.
    pub guidance: Guidance,
    /// What they are asked for.
    pub asked: &'a Asked,
    /// How many.
    pub n: usize,
    /// How many at a time; 0: all.
    pub batch: usize,
    /// Seed of their noise. Sample `i` is a function of the seed and `i`.
    pub seed: u64,
}

impl Generation<'_> {
    /// Draws all samples; `progress` is told how many are done.
    ///
    /// # Errors
    /// As [`Generation::portions`].
    pub fn run(
        &self,
        denoiser: &dyn Denoiser,
        conditioner: &Conditioner,
        device: &Device,
        mut progress: impl FnMut(usize),
    ) -> Result<Samples, TrainingError> {
        let mut all: Option<Samples> = None;
        self.portions(denoiser, conditioner, device, |portion| {
            let all = match &mut all {
                Some(all) => {
                    all.shape[0] += portion.shape[0];
                    all.pixels.extend(portion.pixels);
                    all.classes.iter_mut().for_each(|classes| classes.extend(portion.classes.iter().flatten()));
                    let captions = portion.captions.into_iter().flatten();
                    all.captions.iter_mut().for_each(|all| all.extend(captions.clone()));
                    all
                }
                None => all.insert(portion),
            };
            progress(all.shape[0]);
            Ok(())
        })?;
        all.ok_or_else(|| TrainingError::Config("no samples were asked for".into()))
    }

    /// Draws the samples and hands them over `batch` at a time.
    ///
    /// # Errors
    /// When the sampler does not fit the model's path, or a caption its vocabulary; and what `each` gives.
    pub fn portions(
        &self,
        denoiser: &dyn Denoiser,
        conditioner: &Conditioner,
        device: &Device,
        mut each: impl FnMut(Samples) -> Result<(), TrainingError>,
    ) -> Result<(), TrainingError> {
        let plan = self.plan(denoiser)?;
        let shape = conditioner.shape();
        let image = [shape.channels, shape.height, shape.width];
        let Asked { classes, captions } = self.asked;
        let size = if self.batch == 0 { self.n.max(1) } else { self.batch };
        for first in (0..self.n).step_by(size) {
            let range = first..(first + size).min(self.n);
            let classes: Option<Vec<u32>> =
                (!classes.is_empty()).then(|| range.clone().map(|i| classes[i % classes.len()]).collect());
            let captions: Option<Vec<String>> =
                (!captions.is_empty()).then(|| range.clone().map(|i| captions[i % captions.len()].clone()).collect());
            let condition = conditioner
                .condition(classes.as_deref(), captions.as_deref(), |_| false, device)
                .map_err(|error| TrainingError::Config(error.to_string()))?;
            let request = Request { image, seed: self.seed, indices: range.start as u64..range.end as u64 };
            let drawn = draw(&plan, denoiser, self.guidance, &condition, &request, device)?;
            let pixels = drawn.into_data().iter::<f32>().collect();
            each(Samples { shape: [range.len(), image[0], image[1], image[2]], pixels, classes, captions })?;
        }
        Ok(())
    }

    /// The sampler worked out for the model's path.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn plan(&self, denoiser: &dyn Denoiser) -> Result<Plan, TrainingError> {
        Ok(self.sampler.plan(&denoiser.parameterization().path).map_err(SamplingError::Sampler)?)
    }

    /// What a record says of how the samples were drawn; which weights drew them is left to the caller.
    ///
    /// # Errors
    /// As [`Generation::plan`].
    pub fn generated(&self, denoiser: &dyn Denoiser) -> Result<Generated, TrainingError> {
        let plan = self.plan(denoiser)?;
        let text = serde_json::to_string(&plan).unwrap_or_default();
        Ok(Generated {
            sampler: plan.name.clone(),
            plan_hash: Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
            evaluations: plan.evaluations(),
            guidance: self.guidance.scale,
            seed: self.seed,
            ..Generated::default()
        })
    }
}

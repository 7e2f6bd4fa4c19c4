//! Samples of a trained model: what pictures and metrics are made from.

use burn::tensor::Device;
use sha2::{Digest, Sha256};
use sinter_data::Source;
use sinter_evaluation::{Protocol, Samples};
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
    /// Draws the samples; `progress` is told how many are done.
    ///
    /// # Errors
    /// When the sampler does not fit the model's path, or a caption its vocabulary.
    pub fn run(
        &self,
        denoiser: &dyn Denoiser,
        conditioner: &Conditioner,
        device: &Device,
        mut progress: impl FnMut(usize),
    ) -> Result<Samples, TrainingError> {
        let plan = self.plan(denoiser)?;
        let shape = conditioner.shape();
        let image = [shape.channels, shape.height, shape.width];
        let cycle = |list: &[u32]| (0..self.n).map(|i| list[i % list.len()]).collect::<Vec<_>>();
        let classes = (!self.asked.classes.is_empty()).then(|| cycle(&self.asked.classes));
        let captions = &self.asked.captions;
        let captions: Option<Vec<String>> =
            (!captions.is_empty()).then(|| (0..self.n).map(|i| captions[i % captions.len()].clone()).collect());

        let mut pixels = Vec::with_capacity(self.n * image.iter().product::<usize>());
        let size = if self.batch == 0 { self.n.max(1) } else { self.batch };
        for first in (0..self.n).step_by(size) {
            let range = first..(first + size).min(self.n);
            let condition = conditioner
                .condition(
                    classes.as_ref().map(|classes| &classes[range.clone()]),
                    captions.as_ref().map(|captions| &captions[range.clone()]),
                    |_| false,
                    device,
                )
                .map_err(|error| TrainingError::Config(error.to_string()))?;
            let request = Request { image, seed: self.seed, indices: range.start as u64..range.end as u64 };
            let drawn = draw(&plan, denoiser, self.guidance, &condition, &request, device)?;
            pixels.extend(drawn.into_data().iter::<f32>());
            progress(range.end);
        }
        Ok(Samples { shape: [self.n, image[0], image[1], image[2]], pixels, classes, captions })
    }

    /// The sampler worked out for the model's path.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn plan(&self, denoiser: &dyn Denoiser) -> Result<Plan, TrainingError> {
        Ok(self.sampler.plan(&denoiser.parameterization().path).map_err(SamplingError::Sampler)?)
    }

    /// The part of a record's protocol that says how the samples were drawn.
    ///
    /// # Errors
    /// As [`Generation::plan`].
    pub fn protocol(&self, denoiser: &dyn Denoiser) -> Result<Protocol, TrainingError> {
        let plan = self.plan(denoiser)?;
        let text = serde_json::to_string(&plan).unwrap_or_default();
        Ok(Protocol {
            version: env!("CARGO_PKG_VERSION").into(),
            sampler: plan.name.clone(),
            plan_hash: Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
            evaluations: plan.evaluations(),
            guidance: self.guidance.scale,
            seed: self.seed,
            ..Protocol::default()
        })
    }
}

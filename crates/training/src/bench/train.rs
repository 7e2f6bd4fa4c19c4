//! Speed of a configuration: loader, training step, sampling.

use std::fmt;
use std::time::Instant;

use serde::Serialize;
use sinter_data::{Batch, Loader};
use sinter_kernels::image_ranges;
use sinter_objectives::{Clock, Method};

use super::{Profile, Timing, milliseconds};
use crate::checkpoint::Averages;
use crate::generate::{Asked, Generation};
use crate::trainer::{averages_of, build_to_train, open_data, update_averages};
use crate::{Config, TrainingError, memory};

/// A timing of so many images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Of all images.
    #[serde(flatten)]
    pub timing: Timing,
    /// Images of one measurement over the median.
    pub images_per_second: f64,
}

impl Speed {
    /// Of measurements of so many images each; none of none.
    pub(super) fn of(milliseconds: &[f64], images: usize) -> Option<Self> {
        let timing = Timing::of(milliseconds)?;
        Some(Self { timing, images_per_second: images as f64 / timing.median_ms * 1e3 })
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Name of the configuration.
    pub name: String,
    /// Trained parameters of all parts.
    pub parameters: usize,
    /// CPU threads.
    pub threads: usize,
    /// Channels, height and width of an image.
    pub image: [usize; 3],
    /// Classes of the data; 0 where it has none.
    pub classes: usize,
    /// Images of one update.
    pub batch: usize,
    /// The first update, which also allocates and tunes.
    pub first_step_ms: f64,
    /// Resident memory of the process in GiB after the first update, where the system tells.
    pub resident_gib: Option<f64>,
    /// One batch from the loader; where no other update was measured, that of the first.
    pub loader: Option<Speed>,
    /// One update after the first, and the averages after it; none where no other was measured.
    pub train: Option<Speed>,
    /// Those updates in their order.
    pub steps_ms: Vec<f64>,
    /// Peak resident memory of the process in GiB after the updates, where the system tells.
    pub train_peak_memory_gib: Option<f64>,
    /// One batch of samples with the configured sampler; none for models that do not generate.
    pub sample: Option<Speed>,
    /// Images of that batch.
    pub sample_images: usize,
    /// Network evaluations of one sample.
    pub evaluations: usize,
    /// Peak resident memory of the process in GiB at the end, where the system tells.
    pub peak_memory_gib: Option<f64>,
    /// Where the time of an update goes, where it was asked for.
    pub profile: Option<Profile>,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |formatter: &mut fmt::Formatter<'_>, what: &str, speed: &Option<Speed>| match speed {
            None => Ok(()),
            Some(Speed { timing: Timing { median_ms, fastest_ms, slowest_ms }, images_per_second }) => writeln!(
                formatter,
                "{what:<12} {median_ms:>10.1} ms  ({fastest_ms:.1} to {slowest_ms:.1})  {images_per_second:>10.1} \
                 images/s"
            ),
        };
        let memory = |formatter: &mut fmt::Formatter<'_>, what: &str, gib: Option<f64>| match gib {
            None => Ok(()),
            Some(gib) => write!(formatter, "\nmemory       {gib:>10.2} GiB {what}"),
        };
        writeln!(
            formatter,
            "{}: {} parameters, batch {}, {} threads",
            self.name, self.parameters, self.batch, self.threads
        )?;
        row(formatter, "loader", &self.loader)?;
        row(formatter, "train step", &self.train)?;
        row(formatter, "sampling", &self.sample)?;
        if self.sample.is_some() {
            writeln!(formatter, "{:>23} images, {} evaluations each", self.sample_images, self.evaluations)?;
        }
        write!(formatter, "first step   {:>10.1} ms", self.first_step_ms)?;
        memory(formatter, "after the first step", self.resident_gib)?;
        memory(formatter, "at the peak of training", self.train_peak_memory_gib)?;
        memory(formatter, "at the peak", self.peak_memory_gib)?;
        match &self.profile {
            Some(profile) => write!(formatter, "\n\n{profile}"),
            None => Ok(()),
        }
    }
}

/// Measures the first update, then `steps` more, as many batches of the loader, and `sample.n` samples in one batch;
/// with `profile` it records as many updates again. With 0 steps only the first update is measured, as of a cold start.
///
/// # Errors
/// As training itself; and where a profile of 0 steps is asked for.
pub fn measure(config: &Config, steps: usize, profile: bool) -> Result<Report, TrainingError> {
    if profile && steps == 0 {
        return Err(TrainingError::Config("a profile takes at least 1 step".into()));
    }
    let device = config.device.open()?;
    let (source, conditioner) = open_data(config)?;
    let method = build_to_train(config, &source, &conditioner, &device)?;
    let asked = Asked::every_class(source.as_ref(), config.sample.n)?;
    let (batch, micro_batch) = (config.train.batch, config.train.micro_batch());
    let mut updates = Updates {
        averages: averages_of(config, method.as_ref()),
        method,
        loader: Loader::new(source, config.data.loader(), config.seed),
        batch,
        clock: Clock { images: 0, step: 0, micro_batch },
    };

    let (first_load_ms, first_step_ms) = updates.next()?;
    let resident_gib = memory::resident().map(gib);
    let (mut loads_ms, mut steps_ms) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let (load, step) = updates.next()?;
        loads_ms.push(load);
        steps_ms.push(step);
    }
    let train_peak_memory_gib = memory::peak().map(gib);
    let side_by_side = image_ranges(&device, batch.min(micro_batch)).min(config.device.threads);
    let profile = profile.then(|| Profile::record(&mut updates, steps, side_by_side)).transpose()?;

    let method = updates.method;
    let parameters = method.parts().iter().flat_map(|part| part.tensors().into_values()).map(|t| t.dims()[0]).sum();
    let shape = conditioner.shape();
    let inference = method.inference(None);
    let (n, mut evaluations, mut sample) = (config.sample.n, 0, None);
    if let Some(denoiser) = inference.denoiser()
        && steps > 0
        && n > 0
    {
        let (sampler, guidance, seed) = (&config.sample.sampler, config.sample.guidance, config.sample.seed);
        let generation = Generation { sampler, guidance, asked: &asked, n, batch: n, seed };
        evaluations = generation.plan(denoiser)?.evaluations();
        let began = Instant::now();
        generation.run(denoiser, &conditioner, &device, |_| {})?;
        sample = Speed::of(&[milliseconds(began)], n);
    }
    Ok(Report {
        name: config.name.clone(),
        parameters,
        threads: config.device.threads,
        image: [shape.channels, shape.height, shape.width],
        classes: shape.classes,
        batch,
        first_step_ms,
        resident_gib,
        loader: Speed::of(&loads_ms, batch).or_else(|| Speed::of(&[first_load_ms], batch)),
        train: Speed::of(&steps_ms, batch),
        steps_ms,
        train_peak_memory_gib,
        sample,
        sample_images: if sample.is_some() { n } else { 0 },
        evaluations,
        peak_memory_gib: memory::peak().map(gib),
        profile,
    })
}

/// Updates one after another, as the trainer makes them.
pub(super) struct Updates {
    method: Box<dyn Method>,
    averages: Averages,
    loader: Loader,
    batch: usize,
    clock: Clock,
}

impl Updates {
    /// The next batch.
    pub(super) fn load(&self) -> Result<Batch, TrainingError> {
        Ok(self.loader.batch(self.clock.images, self.batch)?)
    }

    /// The next update from that batch, and the averages after it.
    pub(super) fn step(&mut self, batch: &Batch) -> Result<(), TrainingError> {
        let count = batch.len() as u64;
        self.method.step(batch, self.clock)?;
        self.clock.images += count;
        self.clock.step += 1;
        update_averages(&mut self.averages, self.method.as_ref(), self.clock.images, count)
    }

    /// Milliseconds of both.
    fn next(&mut self) -> Result<(f64, f64), TrainingError> {
        let began = Instant::now();
        let batch = self.load()?;
        let load = milliseconds(began);
        let began = Instant::now();
        self.step(&batch)?;
        Ok((load, milliseconds(began)))
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

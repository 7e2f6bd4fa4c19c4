//! Speed of a configuration: loader, training step, sampling.

use std::fmt;
use std::time::Instant;

use serde::Serialize;
use sinter_data::{Loader, Split};
use sinter_objectives::{Clock, Setup};

use crate::generate::{Asked, Generation};
use crate::trainer::conditioner;
use crate::{Config, TrainingError, memory};

/// Milliseconds of repeated measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Median.
    pub median_ms: f64,
    /// Fastest.
    pub fastest_ms: f64,
    /// Slowest.
    pub slowest_ms: f64,
    /// Images of one measurement over the median.
    pub images_per_second: f64,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Name of the configuration.
    pub name: String,
    /// Parameters of all parts.
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
    /// One batch from the loader.
    pub loader: Timing,
    /// One update.
    pub train: Timing,
    /// One batch of samples with the configured sampler; none for models that do not generate.
    pub sample: Option<Timing>,
    /// Network evaluations of one sample.
    pub evaluations: usize,
    /// Peak resident memory of the process in GiB, where the system tells.
    pub peak_memory_gib: Option<f64>,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |formatter: &mut fmt::Formatter<'_>, what: &str, timing: &Timing| {
            writeln!(
                formatter,
                "{what:<12} {:>10.1} ms  ({:.1} to {:.1})  {:>10.1} images/s",
                timing.median_ms, timing.fastest_ms, timing.slowest_ms, timing.images_per_second
            )
        };
        writeln!(
            formatter,
            "{}: {} parameters, batch {}, {} threads",
            self.name, self.parameters, self.batch, self.threads
        )?;
        row(formatter, "loader", &self.loader)?;
        writeln!(formatter, "first step   {:>10.1} ms", self.first_step_ms)?;
        row(formatter, "train step", &self.train)?;
        if let Some(sample) = &self.sample {
            row(formatter, "sampling", sample)?;
            writeln!(formatter, "             {:>10} evaluations a sample", self.evaluations)?;
        }
        if let Some(peak) = self.peak_memory_gib {
            write!(formatter, "peak memory  {peak:>10.2} GiB")?;
        }
        Ok(())
    }
}

/// Measures `steps` updates after one that is not counted, as many batches of the loader, and one batch of samples.
///
/// # Errors
/// As training itself.
pub fn measure(config: &Config, steps: usize) -> Result<Report, TrainingError> {
    let device = config.device.open()?;
    let source = config.data.open(Split::Train, config.seed)?;
    let conditioner = conditioner(source.as_ref())?;
    let problems = config.validate_for(conditioner.shape());
    if !problems.is_empty() {
        return Err(TrainingError::Problems(problems));
    }
    let setup = Setup {
        model: &config.model,
        optimizer: &config.optimizer,
        conditioner: &conditioner,
        device: &device,
        seed: config.seed,
    };
    let mut method = config.objective.build(&setup)?;
    let asked = Asked::every_class(source.as_ref(), config.sample.n)?;
    let loader = Loader::new(source, config.data.loader(), config.seed);
    let batch = config.train.batch;

    let mut clock = Clock { images: 0, step: 0, micro_batch: config.train.micro_batch() };
    let (mut loading, mut training) = (Vec::new(), Vec::new());
    for _ in 0..=steps.max(1) {
        let began = Instant::now();
        let images = loader.batch(clock.images, batch)?;
        loading.push(milliseconds(began));
        let began = Instant::now();
        method.step(&images, clock)?;
        training.push(milliseconds(began));
        clock.images += batch as u64;
        clock.step += 1;
    }
    let first_step_ms = training.remove(0);
    loading.remove(0);

    let parameters = method.parts().iter().flat_map(|part| part.tensors().into_values()).map(|t| t.dims()[0]).sum();
    let shape = conditioner.shape();
    let inference = method.inference(None);
    let mut evaluations = 0;
    let sample = match inference.denoiser() {
        None => None,
        Some(denoiser) => {
            let (sampler, guidance, seed) = (&config.sample.sampler, config.sample.guidance, config.sample.seed);
            let generation = Generation { sampler, guidance, asked: &asked, n: batch, batch, seed };
            evaluations = generation.plan(denoiser)?.evaluations();
            let began = Instant::now();
            generation.run(denoiser, &conditioner, &device, |_| {})?;
            Some(timing(vec![milliseconds(began)], batch))
        }
    };
    Ok(Report {
        name: config.name.clone(),
        parameters,
        threads: config.device.threads,
        image: [shape.channels, shape.height, shape.width],
        classes: shape.classes,
        batch,
        first_step_ms,
        loader: timing(loading, batch),
        train: timing(training, batch),
        sample,
        evaluations,
        peak_memory_gib: memory::peak().map(|bytes| bytes as f64 / f64::from(1 << 30)),
    })
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

fn timing(mut values: Vec<f64>, images: usize) -> Timing {
    values.sort_by(f64::total_cmp);
    let median = values[values.len() / 2];
    Timing {
        median_ms: median,
        fastest_ms: values[0],
        slowest_ms: values[values.len() - 1],
        images_per_second: images as f64 / median * 1e3,
    }
}

//! The training loop, written once for every method.
//!
//! Its state is the clock (images seen), the networks with their optimizers, the averages, and the sums behind the next
//! line of the log; a checkpoint holds all of it. Batches, noise and times are functions of the seed and the clock, so
//! continuing from a checkpoint gives, bit for bit, what going on without it would have given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use sinter_data::{Batch, Loader, LoaderConfig, Manifest, Source, Split};
use sinter_evaluation::{Evaluator, Generated, WeightsUsed};
use sinter_objectives::{Clock, Method, MethodError, Objective, Setup, Tally, Training};
use sinter_optimization::Average;
use sinter_sampling::Conditioner;

use crate::checkpoint::{Averages, Checkpoint, Progress, weights_of};
use crate::config::OnNonfinite;
use crate::evaluate::{Evaluated, evaluator, weights_hash};
use crate::generate::{Asked, Generation};
use crate::journal::Journal;
use crate::run_directory::{Provenance, RunDirectory};
use crate::runs::OpenRuns;
use crate::summary::summarise;
use crate::{Config, TrainingError, faults};

/// How a call of [`train`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The budget is spent; the paths are what to look at first: samples, curves, table, checkpoint.
    Finished(Vec<PathBuf>),
    /// There was nothing left to do.
    AlreadyFinished(PathBuf),
    /// It stopped early, for the stated reason; running the same command again continues.
    Interrupted(String),
}

/// What the caller of [`train`] provides.
pub struct Session<'a> {
    /// Asked after every update; true ends the run with a checkpoint.
    pub interrupted: &'a dyn Fn() -> bool,
    /// The command line, for the provenance.
    pub command: Vec<String>,
}

/// Trains the run of `config` in `root`, from its newest checkpoint if it has one.
///
/// # Errors
/// Every way in which settings, data, device, disk or numbers can fail; what was written before stays.
pub fn train(config: &Config, root: &Path, session: &Session) -> Result<Outcome, TrainingError> {
    let run = RunDirectory::lock(root)?;
    run.claim(config)?;
    if let Some(checkpoint) = Checkpoint::latest(&run.checkpoints())?
        && checkpoint.summary.images >= config.train.images
    {
        checkpoint.belongs_to(&config.hash())?;
        return Ok(Outcome::AlreadyFinished(checkpoint.path));
    }
    Trainer::open(config, run, session)?.run(session)
}

struct Trainer<'a> {
    config: &'a Config,
    run: RunDirectory,
    config_hash: String,
    conditioner: Conditioner,
    asked: Asked,
    device: Device,
    loader: Loader,
    held_out: Option<Loader>,
    method: Box<dyn Method>,
    averages: Averages,
    progress: Progress,
    evaluator: Option<Evaluator>,
    journal: Journal,
    started: Instant,
}

impl<'a> Trainer<'a> {
    fn open(config: &'a Config, run: RunDirectory, session: &Session) -> Result<Self, TrainingError> {
        let device = config.device.open()?;
        let (source, conditioner) = open_data(config)?;
        let config_hash = config.hash();
        let data = Manifest::of(source.as_ref(), Split::Train);
        run.write_provenance(&provenance(config, session.command.clone(), data))?;

        let mut method = build_to_train(config, &source, &conditioner, &device)?;
        let latest = Checkpoint::latest(&run.checkpoints())?;
        if let (None, Some(other)) = (&latest, &config.train.init_from) {
            start_from(method.as_mut(), Path::new(other))?;
        }
        let mut averages = averages_of(config, method.as_ref());
        let mut progress = Progress::default();
        if let Some(checkpoint) = &latest {
            checkpoint.belongs_to(&config_hash)?;
            progress = checkpoint.restore(method.as_mut(), &mut averages)?;
        }
        let journal = Journal::open(&run, config, progress.images)?;
        let held_out = match config.eval.validation {
            0 => None,
            _ => {
                let source = config.data.open(Split::Test, config.seed)?;
                Some(Loader::new(source, LoaderConfig::in_order(), config.seed))
            }
        };
        let evaluator = evaluator(config, &device)?;
        let asked = Asked::every_class(source.as_ref(), config.sample.n.max(config.eval.n))?;
        Ok(Self {
            config,
            config_hash,
            conditioner,
            asked,
            device,
            loader: Loader::new(source, config.data.loader(), config.seed),
            held_out,
            method,
            averages,
            progress,
            evaluator,
            journal,
            run,
            started: Instant::now(),
        })
    }

    fn run(&mut self, session: &Session) -> Result<Outcome, TrainingError> {
        let budget = self.config.train.images;
        self.journal.begin(self.progress.images, budget);
        let batch_size = self.config.train.batch;
        let stream = self.loader.stream(self.progress.images, batch_size, budget);
        for batch in stream {
            let batch = faults::inject(batch?, self.progress.step);
            let before = self.progress.images;
            self.update(&batch)?;
            let end = self.progress.images >= budget;
            self.cadences(before, end)?;
            if end {
                break;
            }
            if let Some(reason) = self.reason_to_stop(session) {
                self.checkpoint()?;
                self.journal.end();
                return Ok(Outcome::Interrupted(reason));
            }
        }
        self.journal.end();
        let mut paths = summarise(&self.run)?;
        paths.push(self.run.checkpoints().join(self.progress.images.to_string()));
        Ok(Outcome::Finished(paths))
    }

    /// One update from one batch, and the averages after it.
    fn update(&mut self, batch: &Batch) -> Result<(), TrainingError> {
        let clock = Clock {
            images: self.progress.images,
            step: self.progress.step,
            micro_batch: self.config.train.micro_batch(),
        };
        let count = batch.len() as u64;
        let began = Instant::now();
        match self.method.step(batch, clock) {
            Ok(mut tally) => {
                tally.add_weighted("time/seconds_per_image", began.elapsed().as_secs_f64(), count as f64);
                self.progress.tally.merge(&tally);
                self.progress.skipped = 0;
                update_averages(&mut self.averages, self.method.as_ref(), clock.images + count, count)?;
            }
            Err(MethodError::NonFinite { tensor }) => self.skip_or_stop(batch, tensor)?,
            Err(error) => return Err(error.into()),
        }
        self.progress.images += count;
        self.progress.step += 1;
        self.journal.tick(self.progress.images, self.progress.tally.mean("loss"));
        Ok(())
    }

    fn skip_or_stop(&mut self, batch: &Batch, tensor: String) -> Result<(), TrainingError> {
        // The cause, where it is the data: everything after it is not finite either.
        let tensor = if batch.pixels.iter().all(|pixel| pixel.is_finite()) { tensor } else { "`batch.pixels`".into() };
        if let OnNonfinite::Skip { limit } = self.config.train.on_nonfinite
            && self.progress.skipped < limit
        {
            self.progress.skipped += 1;
            self.progress.tally.add("skipped", 1.0);
            log::warn!("step {}: {tensor} is not finite; the update is skipped", self.progress.step);
            return Ok(());
        }
        let last_good = match Checkpoint::latest(&self.run.checkpoints()) {
            Ok(Some(checkpoint)) => format!("the last good checkpoint is {}", checkpoint.path.display()),
            _ => "there is no checkpoint yet".into(),
        };
        Err(TrainingError::NonFinite { step: self.progress.step, images: self.progress.images, tensor, last_good })
    }

    /// Everything that happens every so many images, and at the end. The checkpoint comes last, so that what it
    /// promises to be done is done.
    fn cadences(&mut self, before: u64, end: bool) -> Result<(), TrainingError> {
        let images = self.progress.images;
        let due = |every: u64| end || (every > 0 && images / every > before / every);
        if due(self.config.log.every) {
            self.log_means()?;
        }
        if self.config.sample.n > 0 && due(self.config.sample.every) {
            self.sample()?;
        }
        if due(self.config.eval.every) {
            self.evaluate()?;
        }
        if due(self.config.train.checkpoint_every) {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn log_means(&mut self) -> Result<(), TrainingError> {
        let tally = self.progress.tally.take();
        let mut means = tally.means();
        if let Some(seconds) = tally.mean("time/seconds_per_image") {
            means.retain(|(name, _)| name != "time/seconds_per_image");
            means.push(("time/images_per_second".into(), 1.0 / seconds));
        }
        if let Some(bytes) = crate::memory::resident() {
            means.push(("memory/resident_gib".into(), bytes as f64 / f64::from(1 << 30)));
        }
        means.push(self.minutes());
        self.journal.scalars(self.progress.images, self.progress.step, &means)
    }

    /// Time since this process took up the run.
    fn minutes(&self) -> (String, f64) {
        ("time/minutes".into(), self.started.elapsed().as_secs_f64() / 60.0)
    }

    fn sample(&mut self) -> Result<(), TrainingError> {
        let weights = self.averages.first().map(|(_, parts)| weights_of(parts));
        let inference = self.method.inference(weights.as_ref());
        if let Some(denoiser) = inference.denoiser() {
            let config = &self.config.sample;
            let (n, batch, seed) = (config.n, config.batch, config.seed);
            let (sampler, guidance) = (&config.sampler, config.guidance);
            let generation = Generation { sampler, guidance, asked: &self.asked, n, batch, seed };
            let samples = generation.run(denoiser, &self.conditioner, &self.device, |_| {})?;
            self.journal.grid(&self.run.samples_path(self.progress.images), self.progress.images, &samples)?;
        }
        for map in inference.maps() {
            let images = self.progress.images;
            self.journal.map(&self.run.map_path(images, map.name), images, &map)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<(), TrainingError> {
        let weights = self.averages.first().map(|(_, parts)| weights_of(parts));
        let inference = self.method.inference(weights.as_ref());
        let mut scalars = Vec::new();
        if let Some(held_out) = &self.held_out {
            let mut tally = Tally::new();
            let (total, size) = (self.config.eval.validation, self.config.train.micro_batch() as u64);
            for first in (0..total).step_by(size as usize) {
                let batch = held_out.batch(first, size.min(total - first) as usize)?;
                tally.merge(&inference.validate(&batch)?);
            }
            scalars.extend(tally.means());
        }
        if let (Some(evaluator), Some(denoiser)) = (&self.evaluator, inference.denoiser()) {
            let config = &self.config.eval;
            let (n, batch, seed) = (config.n, config.batch, config.seed);
            let (sampler, guidance) = (&self.config.sample.sampler, self.config.sample.guidance);
            let generation = Generation { sampler, guidance, asked: &self.asked, n, batch, seed };
            let generated = Generated {
                images: self.progress.images,
                weights: self.averages.first().map_or(WeightsUsed::Raw, |(h, _)| WeightsUsed::Average(*h)),
                weights_hash: weights_hash(self.method.as_ref(), weights.as_ref())?,
                data_hash: self.loader.source().fingerprint(),
                ..Generated::default()
            };
            let model = Evaluated { denoiser, conditioner: &self.conditioner, device: &self.device };
            for record in model.measure(evaluator, &generation, &generated, |_| {})? {
                record.write(&self.run.evaluations(), &self.progress.images.to_string())?;
                scalars.push((format!("evaluation/{}", record.metric), record.value));
            }
        }
        if self.config.log.histograms {
            for part in self.method.parts() {
                self.journal.histograms(self.progress.images, part.name(), &part.parameters()?)?;
            }
        }
        scalars.push(self.minutes());
        self.journal.scalars(self.progress.images, self.progress.step, &scalars)
    }

    fn checkpoint(&mut self) -> Result<PathBuf, TrainingError> {
        let keep = self.config.train.keep;
        let folder = self.run.checkpoints();
        Checkpoint::write(&folder, self.method.as_ref(), &self.averages, &self.progress, &self.config_hash, keep)
    }

    fn reason_to_stop(&self, session: &Session) -> Option<String> {
        if (session.interrupted)() {
            return Some("interrupted".into());
        }
        let limits = &self.config.train;
        if limits.time_limit.is_some_and(|limit| self.started.elapsed().as_secs_f64() > limit) {
            return Some("the time limit is reached".into());
        }
        let resident = crate::memory::resident().map_or(0.0, |bytes| bytes as f64 / f64::from(1 << 30));
        if limits.memory_limit.is_some_and(|limit| resident > limit) {
            return Some("the memory limit is reached".into());
        }
        None
    }
}

/// The conditions of a data source.
///
/// # Errors
/// When its vocabulary holds something that is not a word.
pub fn conditioner(source: &dyn Source) -> Result<Conditioner, TrainingError> {
    Conditioner::new(source.shape(), source.class_names().len(), source.vocabulary(), source.longest_caption())
        .map_err(|error| TrainingError::Config(error.to_string()))
}

/// The training data of a configuration, and what its networks are told about it.
///
/// # Errors
/// When it cannot be opened, and every problem of the configuration with this data.
pub(crate) fn open_data(config: &Config) -> Result<(Arc<dyn Source>, Conditioner), TrainingError> {
    let source = config.data.open(Split::Train, config.seed)?;
    let conditioner = conditioner(source.as_ref())?;
    let problems = config.validate_for(conditioner.shape());
    if problems.is_empty() { Ok((source, conditioner)) } else { Err(TrainingError::Problems(problems)) }
}

/// The method of a configuration, before its first image; without `training`, to be used and not trained.
///
/// # Errors
/// As [`Objective::build`].
pub(crate) fn build_method(
    config: &Config,
    conditioner: &Conditioner,
    device: &Device,
    training: Option<Training<'_>>,
) -> Result<Box<dyn Method>, TrainingError> {
    let (model, adapters, optimizer, seed) = (&config.model, config.adapters.as_ref(), &config.optimizer, config.seed);
    Ok(config.objective.build(&Setup { model, adapters, optimizer, conditioner, device, seed, training })?)
}

/// The method of a configuration, before its first image, to be trained on `source`.
///
/// # Errors
/// As [`Objective::build`].
pub(crate) fn build_to_train(
    config: &Config,
    source: &Arc<dyn Source>,
    conditioner: &Conditioner,
    device: &Device,
) -> Result<Box<dyn Method>, TrainingError> {
    let store = config.data.store();
    let training = Training { runs: &OpenRuns(config), source, cache: store.cache() };
    build_method(config, conditioner, device, Some(training))
}

/// What makes a run now.
pub(crate) fn provenance(config: &Config, command: Vec<String>, data: Manifest) -> Provenance {
    Provenance {
        version: env!("CARGO_PKG_VERSION").into(),
        burn: "0.22.1".into(),
        command,
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        device: config.device.name.clone(),
        threads: config.device.threads,
        config_hash: config.hash(),
        data,
    }
}

/// Fresh averages of every averaged part, by half-life.
pub(crate) fn averages_of(config: &Config, method: &dyn Method) -> Averages {
    let averaged = method.averaged();
    let of = |half_life: u64| {
        let parts = method.parts().into_iter().filter(|part| averaged.contains(&part.name()));
        parts.map(|p| (p.name().to_string(), Average::new(half_life, config.ema.warmup, p.tensors()))).collect()
    };
    config.ema.half_life.iter().map(|&half_life| (half_life, of(half_life))).collect()
}

/// Moves every average towards the weights after an update, by which `images` were seen, `count` of them in it.
pub(crate) fn update_averages(
    averages: &mut Averages,
    method: &dyn Method,
    images: u64,
    count: u64,
) -> Result<(), TrainingError> {
    let parts: BTreeMap<String, _> =
        method.parts().into_iter().map(|part| (part.name().to_string(), part.tensors())).collect();
    for (_, averages) in averages {
        for (part, average) in averages {
            if let Some(tensors) = parts.get(part) {
                average.update(tensors.clone(), images, count)?;
            }
        }
    }
    Ok(())
}

/// Gives a fresh method the newest weights of another run, which may have no adapters.
fn start_from(method: &mut dyn Method, root: &Path) -> Result<(), TrainingError> {
    let run = RunDirectory::open(root)?;
    let checkpoint = Checkpoint::latest(&run.checkpoints())?
        .ok_or_else(|| TrainingError::Config(format!("train.init_from: {} has no checkpoint", root.display())))?;
    checkpoint.start(method)
}

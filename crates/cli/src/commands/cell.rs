//! `sinter train --cell`: one cell of a sweep, once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sinter_evaluation::Generated;
use sinter_experiments::{Cell, CellLock, CellState, ExperimentError, Index, Kind, Store};
use sinter_training::logging::{grid, jsonl, save};
use sinter_training::{
    Asked, Choice, Config, Evaluated, Generation, Outcome, Run, RunDirectory, Session, evaluator, train, weights_hash,
};

use super::train::on_interrupt;
use crate::failure::INTERRUPTED;
use crate::{Ending, Failure};

/// Where engines say which of an array's jobs a process is.
const INDICES: [&str; 3] = ["SLURM_ARRAY_TASK_ID", "HQ_TASK_ID", "JOB_COMPLETION_INDEX"];

pub(crate) fn run(path: &Path) -> Ending {
    let (cell, store) = find(path)?;
    store.verify(&cell)?;
    let folder = store.cell(&cell.hash);
    for need in &cell.needs {
        let state = CellState::of(&store.cell(need))?;
        if !matches!(state, CellState::Done(_)) {
            eprintln!("{}: needs {}, which is {}", cell.label, store.cell(need).display(), state.name());
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    let lock = match CellLock::take(&folder) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            println!("done already: {}", folder.display());
            return Ok(ExitCode::SUCCESS);
        }
        Err(error @ ExperimentError::Busy(_)) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Err(error) => return Err(error.into()),
    };
    println!("{} ({})", cell.label, folder.display());
    match work(&cell, &store, &folder) {
        Ok(None) => {
            lock.done()?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Some(reason)) => {
            lock.interrupted()?;
            println!("{reason}: run the same command again to continue");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(failure) => {
            lock.failed(&failure.to_string())?;
            Err(failure)
        }
    }
}

/// The cell that a path names: its own folder, `SWEEP/N`, or a sweep's folder with the number in the environment.
fn find(path: &Path) -> Result<(Cell, Store), Failure> {
    if path.join("cell.json").is_file() {
        let cell = Cell::read(path)?;
        // `<root>/cells/<hash>`.
        let root = path.ancestors().nth(2).map_or_else(|| path.join("../.."), Path::to_path_buf);
        let root = if root.as_os_str().is_empty() { PathBuf::from(".") } else { root };
        return Ok((cell, Store::new(root)));
    }
    let (folder, number) = if path.join("index.json").is_file() {
        let found = INDICES.iter().find_map(|name| Some((*name, std::env::var(name).ok()?)));
        let (name, number) = found.ok_or_else(|| {
            let names = INDICES.join(", ");
            Failure::Setting(format!("which cell of {}? Name it as DIR/N, or set one of {names}", path.display()))
        })?;
        let number: usize =
            number.parse().map_err(|_| Failure::Setting(format!("{name}={number} is not the number of a cell")))?;
        (path, number)
    } else {
        let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        let none = || Failure::Setting(format!("{} is neither an expanded sweep nor a cell of one", path.display()));
        (path.parent().ok_or_else(none)?, number.ok_or_else(none)?)
    };
    let (index, store) = Index::read(folder)?;
    Ok((index.cell(number)?.clone(), store))
}

/// Does what the cell is there for; a reason if it stopped early.
fn work(cell: &Cell, store: &Store, folder: &Path) -> Result<Option<String>, Failure> {
    let config = RunDirectory::open(folder)?.config()?;
    config.device.set_threads();
    match &cell.kind {
        Kind::Train => {
            let interrupted = on_interrupt("finishing this update, then writing a checkpoint")?;
            let interrupted = || interrupted.load(Ordering::SeqCst);
            let session = Session { interrupted: &interrupted, command: std::env::args().collect() };
            Ok(match train(&config, folder, &session)? {
                Outcome::Finished(_) | Outcome::AlreadyFinished(_) => None,
                Outcome::Interrupted(reason) => Some(reason),
            })
        }
        Kind::Evaluate { run } => evaluate(&config, &store.cell(run), folder).map(|()| None),
    }
}

/// Samples from a run as a cell's `[sample]` says, measures as its `[eval]` says, and leaves records, a grid of samples and
/// a line of metrics in the cell's folder.
fn evaluate(config: &Config, run: &Path, folder: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let mut run = Run::open(run, None, Choice::Default, |theirs| {
        theirs.device = config.device.clone();
        theirs.data.root.clone_from(&config.data.root);
    })?;
    run.config.sample = config.sample.clone();
    run.config.eval = config.eval.clone();
    let other = |error: sinter_training::logging::LoggingError| Failure::Other(error.to_string());
    let evaluator = evaluator(&run.config, &run.device)?
        .ok_or_else(|| Failure::Setting("eval.metrics: a cell that evaluates names at least one metric".into()))?;
    let inference = run.method.inference(None);
    let denoiser = inference
        .denoiser()
        .ok_or_else(|| Failure::Setting(format!("{} does not generate images", run.config.name)))?;
    let images = run.checkpoint.summary.images;
    let generated = Generated {
        images,
        weights: run.weights,
        weights_hash: weights_hash(run.method.as_ref(), None)?,
        data_hash: run.source.fingerprint(),
        ..Generated::default()
    };
    let (sampler, guidance) = (&config.sample.sampler, config.sample.guidance);
    let asked = Asked::every_class(run.source.as_ref(), config.eval.n.max(config.sample.n))?;
    if config.sample.n > 0 {
        let (n, batch, seed) = (config.sample.n, config.sample.batch, config.sample.seed);
        let generation = Generation { sampler, guidance, asked: &asked, n, batch, seed };
        let samples = generation.run(denoiser, &run.conditioner, &run.device, |_| {})?;
        let picture = grid::picture(&samples.pixels, samples.shape).map_err(other)?;
        save(&picture, &folder.join("samples").join(format!("{images}.png"))).map_err(other)?;
    }
    let (n, batch, seed) = (config.eval.n, config.eval.batch, config.eval.seed);
    let generation = Generation { sampler, guidance, asked: &asked, n, batch, seed };
    let model = Evaluated { denoiser, conditioner: &run.conditioner, device: &run.device };
    let mut scalars = Vec::new();
    for record in model.measure(&evaluator, &generation, &generated, |_| {})? {
        println!("{:<44} {:.4}", record.metric, record.value);
        let written = record.write(&folder.join("eval"), &images.to_string());
        written.map_err(|error| Failure::Other(error.to_string()))?;
        scalars.push((format!("evaluation/{}", record.metric), record.value));
    }
    scalars.push(("time/minutes".into(), began.elapsed().as_secs_f64() / 60.0));
    let path = folder.join("metrics.jsonl");
    // An evaluation is made as a whole: what one that was cut off left counts nothing.
    let _ = std::fs::remove_file(&path);
    let mut metrics = jsonl::MetricsWriter::open(&path).map_err(other)?;
    metrics.append(images, run.checkpoint.summary.step, &scalars).map_err(other)
}

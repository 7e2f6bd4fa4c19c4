//! `sinter eval images` and `sinter eval stats`: sets of images that are there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sinter_data::sources::images::FolderImages;
use sinter_data::sources::npz;
use sinter_data::{CardConfig, DataConfig, Source, SourceConfig, Split};
use sinter_evaluation::{MetricConfig, ReferenceImages, Subject};
use sinter_training::{DeviceConfig, RunDirectory, held_out, prepare};

use super::{done, features, metrics, tell};
use crate::arguments::{EvalImages, EvalStats, Reading};
use crate::{Ending, Failure};

pub(super) fn evaluate(arguments: &EvalImages) -> Ending {
    let metrics = metrics(&arguments.metrics)?;
    if metrics.is_empty() {
        return Err(Failure::Setting("say what to measure with --metrics, as in `--metrics frechet`".into()));
    }
    let reading = &arguments.reading;
    let images = open(&arguments.images, reading, &[])?;
    let reference = match statistics_file(&arguments.reference) {
        // The images' shape says which images the statistics are taken to be of.
        Some(path) => ReferenceImages { statistics: Some(path), ..plain(Arc::clone(&images.source)) },
        None => open(&arguments.reference, reading, &metrics)?,
    };
    same_classes(images.source.as_ref(), reference.source.as_ref(), &metrics)?;
    let device = device(reading)?;
    let evaluator = prepare(&metrics, reference, None, &device)?;

    let source = images.source.as_ref();
    let subject = Subject::Images { name: full_name(&images), hash: source.fingerprint() };
    let count = images.limit.unwrap_or(u64::MAX).min(source.len());
    let bar = indicatif::ProgressBar::new(count);
    let mut evaluation = evaluator.begin().map_err(other)?;
    evaluation.push_images(source, count, |done| bar.set_position(done)).map_err(other)?;
    bar.finish_and_clear();
    let records = evaluation.records(env!("CARGO_PKG_VERSION"), &subject).map_err(other)?;
    tell(&records, &arguments.out, source.name())?;
    done()
}

pub(super) fn statistics(arguments: &EvalStats) -> Ending {
    let features = features(&arguments.features)?;
    let reference = open(&arguments.images, &arguments.reading, &[])?;
    let device = device(&arguments.reading)?;
    let metric = MetricConfig::Frechet { features, spatial: false, extrapolated: false };
    let evaluator = prepare(&[metric], reference, None, &device)?;
    let statistics = evaluator.statistics().ok_or_else(|| Failure::Other("there are no statistics".into()))?;
    statistics.write(&arguments.out).map_err(other)?;
    let about = statistics.about.as_ref();
    let (images, features) = about.map_or((0, ""), |about| (about.reference_images, about.features.as_str()));
    println!("{}: {images} images in {features}", arguments.out.display());
    done()
}

fn device(reading: &Reading) -> Result<burn::tensor::Device, Failure> {
    let mut config = DeviceConfig { name: reading.device.clone(), threads: reading.threads, ..DeviceConfig::default() };
    config.resolve_threads();
    config.set_threads();
    Ok(config.open()?)
}

fn plain(source: Arc<dyn Source>) -> ReferenceImages {
    ReferenceImages { source, part: String::new(), limit: None, statistics: None, held_out: None }
}

/// The path of an `.npz` file that holds statistics and no images.
fn statistics_file(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let archive = path.extension().is_some_and(|extension| extension == "npz");
    (archive && sinter_evaluation::Statistics::read(path).is_ok()).then(|| path.to_owned())
}

/// Fails where a metric reads the images' classes, and they are not those of the reference. Batches of samples have
/// numbers alone, which are the reference's.
fn same_classes(images: &dyn Source, reference: &dyn Source, metrics: &[MetricConfig]) -> Result<(), Failure> {
    let reads = |metric: &MetricConfig| {
        matches!(metric, MetricConfig::ClassifierAccuracy { .. } | MetricConfig::ClassificationAccuracyScore(_))
    };
    let (ours, theirs) = (images.class_names(), reference.class_names());
    let numbers = ours.iter().enumerate().all(|(class, name)| *name == class.to_string());
    if numbers || theirs.is_empty() || ours == theirs || !metrics.iter().any(reads) {
        return Ok(());
    }
    let list = |names: &[String]| names.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
    Err(Failure::Setting(format!(
        "the images' classes ({}, ...) are not the reference's ({}, ...): give its folders the same names",
        list(ours),
        list(theirs)
    )))
}

/// A folder, a batch of samples, a run's data, or a data set, with what `metrics` need of it.
fn open(text: &str, reading: &Reading, metrics: &[MetricConfig]) -> Result<ReferenceImages, Failure> {
    let path = Path::new(text);
    let mut data = DataConfig { root: reading.data.clone(), ..DataConfig::default() };
    let stamps = data.store().stamps();
    let mut reference = if path.join("config.toml").is_file() {
        let config = RunDirectory::open(path)?.config()?;
        data = DataConfig { root: reading.data.clone().or(config.data.root.clone()), ..config.data };
        let source = data.open(config.eval.reference, config.seed).map_err(other)?;
        let part = config.eval.reference.to_string();
        let held_out = held_out(metrics, &data, config.seed)?;
        ReferenceImages { source, part, limit: config.eval.reference_images, statistics: None, held_out }
    } else if path.extension().is_some_and(|extension| extension == "npz") {
        plain(npz::open(path, &stamps).map_err(other)?)
    } else if path.is_dir() {
        plain(FolderImages::open(path, reading.skip_damaged, &stamps).map_err(other)?)
    } else {
        let (name, split) = match text.split_once(':') {
            None => (text, Split::Train),
            Some((name, "train")) => (name, Split::Train),
            Some((name, "test")) => (name, Split::Test),
            Some(_) => return Err(Failure::Setting(format!("{text}: a data set's splits are `train` and `test`"))),
        };
        data.source = SourceConfig::Card(CardConfig { name: name.into() });
        let source = data.open(split, 0).map_err(|error| {
            Failure::Setting(format!("{text} is no folder of images, no .npz file and no data set: {error}"))
        })?;
        ReferenceImages { part: split.to_string(), ..plain(source) }
    };
    reference.limit = reading.n.or(reference.limit);
    Ok(reference)
}

/// Name of the data and the part of it.
fn full_name(images: &ReferenceImages) -> String {
    format!("{} {}", images.source.name(), images.part).trim_end().to_owned()
}

fn other(error: impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

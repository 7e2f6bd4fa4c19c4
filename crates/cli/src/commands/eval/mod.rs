//! `sinter eval`: numbers with their protocol.

mod compare;
mod images;
mod probe;
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;
use sinter_evaluation::{FeaturesConfig, MetricConfig, Record};
use sinter_metrics::Summary;

use crate::arguments::{Eval, EvalCommand, Metrics};
use crate::commands::settings;
use crate::{Ending, Failure};

pub(crate) fn run(arguments: &Eval) -> Ending {
    match &arguments.command {
        EvalCommand::Run(run) => run::run(run),
        EvalCommand::Images(images) => images::evaluate(images),
        EvalCommand::Stats(stats) => images::statistics(stats),
        EvalCommand::Compare(compare) => compare::run(compare),
        EvalCommand::Probe(probe) => probe::run(probe),
    }
}

/// The metrics that the command line names; none if it names none.
fn metrics(given: &Metrics) -> Result<Vec<MetricConfig>, Failure> {
    let features = given.features.as_deref().map(features).transpose()?;
    let metrics: Vec<MetricConfig> =
        given.metrics.iter().map(|text| metric(text, features.as_ref())).collect::<Result<_, _>>()?;
    let mut problems = sinter_config::Problems::new();
    for (place, metric) in metrics.iter().enumerate() {
        problems.nest(&format!("metrics.{place}"), metric.validate());
    }
    if problems.is_empty() { Ok(metrics) } else { Err(Failure::Config(problems.into())) }
}

/// A metric by name or as a table; `features` stand in where it names none.
fn metric(text: &str, features: Option<&FeaturesConfig>) -> Result<MetricConfig, Failure> {
    let mut table: toml::Table = settings::component("--metrics", text)?;
    let parse = |table: toml::Table| MetricConfig::deserialize(table);
    if let Some(features) = features
        && !table.contains_key("features")
    {
        let mut with = table.clone();
        let features = toml::Value::try_from(features).map_err(|error| Failure::Other(error.to_string()))?;
        with.insert("features".into(), features);
        // Some metrics are measured in nothing.
        if parse(with.clone()).is_ok() {
            table = with;
        }
    }
    parse(table).map_err(|error| {
        let help = if features.is_none() && error.message().contains("`features`") {
            "; say what it is measured in with --features"
        } else {
            ""
        };
        Failure::Setting(format!("--metrics {text}: {}{help}", error.message().trim_end()))
    })
}

/// Features by name, by a classifier's run directory, or as a table.
fn features(text: &str) -> Result<FeaturesConfig, Failure> {
    let run = PathBuf::from(text);
    if run.join("config.toml").is_file() {
        return Ok(FeaturesConfig::Classifier { run });
    }
    settings::component("--features", text).map_err(|failure| match failure {
        Failure::Setting(message) if !text.trim_start().starts_with('{') => {
            Failure::Setting(format!("{}; it is no run directory either", message.trim_end()))
        }
        other => other,
    })
}

/// Prints records and writes them into `folder` as `<name>-<metric>.json`.
fn tell(records: &[Record], folder: &Path, name: &str) -> Result<(), Failure> {
    for record in records {
        println!("{:<44} {}", record.metric, shown(record));
        for warning in &record.warnings {
            println!("    {warning}");
        }
        record.write(folder, name).map_err(|error| Failure::Other(error.to_string()))?;
    }
    Ok(())
}

/// Prints the mean and the range of a metric over several seeds.
fn tell_range(metric: &str, values: &[f64]) -> Result<(), Failure> {
    let summary = Summary::of(values).map_err(|error| Failure::Other(error.to_string()))?;
    let Summary { mean, min, max, .. } = summary;
    println!("{metric:<44} {mean:.4} [{min:.4}, {max:.4}]");
    Ok(())
}

/// A value with its spread and interval.
fn shown(record: &Record) -> String {
    let deviation = record.deviation.map(|deviation| format!(" ± {deviation:.4}")).unwrap_or_default();
    let interval = record.interval.map(|[low, high]| format!("  [{low:.4}, {high:.4}]")).unwrap_or_default();
    format!("{:.4}{deviation}{interval}", record.value)
}

/// Nothing went wrong.
fn done() -> Ending {
    Ok(ExitCode::SUCCESS)
}

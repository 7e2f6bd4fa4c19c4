//! `sinter eval`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Sampling, Trained};

#[derive(Debug, Args)]
pub(crate) struct Eval {
    #[command(subcommand)]
    pub(crate) command: EvalCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// Evaluate a trained run; `sinter eval RUN` is short for it
    Run(EvalRun),
    /// Compare images with other images: folders, `.npz` batches of samples, data sets
    Images(EvalImages),
    /// Compute the statistics of a set of images, for Frechet distances from it
    Stats(EvalStats),
    /// Print records side by side, if they were measured alike
    Compare(EvalCompare),
    /// Tell how well classes can be read off every block of a denoiser, at several times
    Probe(EvalProbe),
}

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// Metric, by name or as a table of the `[eval]` section: `frechet`, `{type = "kernel", subsets = 50}`; may be
    /// repeated
    #[arg(long = "metrics", visible_alias = "metric", value_name = "METRIC")]
    pub(crate) metrics: Vec<String>,
    /// What metrics are measured in that do not say so themselves: `pixels`, the run directory of a classifier, or a
    /// table: `{type = "random_convolutions"}`
    #[arg(long, value_name = "FEATURES")]
    pub(crate) features: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EvalRun {
    #[command(flatten)]
    pub(crate) trained: Trained,
    /// Samples
    #[arg(long)]
    pub(crate) n: Option<usize>,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
    /// Seeds, one evaluation each, as in `1,2,3`: their mean and range are printed, too
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "seed")]
    pub(crate) seeds: Vec<u64>,
    #[command(flatten)]
    pub(crate) metrics: Metrics,
    /// Statistics to compare with instead of the run's data (`.npz`; Frechet distances alone)
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: Option<PathBuf>,
}

/// How sets of images are read.
#[derive(Debug, Args)]
pub(crate) struct Reading {
    /// Images of a set, from its first one on; by default all
    #[arg(long)]
    pub(crate) n: Option<u64>,
    /// Leave out images that cannot be decoded, instead of stopping
    #[arg(long)]
    pub(crate) skip_damaged: bool,
    /// Folder of data sets
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Device: auto, flex, wgpu, vulkan or cuda, the last three with an index as in `cuda:1`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) device: String,
    /// CPU threads; 0 for every core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

#[derive(Debug, Args)]
pub(crate) struct EvalImages {
    /// Images that are evaluated: a folder, an `.npz` batch of samples, a data set by its name (`fashion-mnist:test`
    /// for its test split)
    pub(crate) images: String,
    /// What they are compared with: the same, `.npz` statistics, or a run, for the data that it is evaluated with
    pub(crate) reference: String,
    #[command(flatten)]
    pub(crate) metrics: Metrics,
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// Folder for the records
    #[arg(long, value_name = "DIR", default_value = "eval")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct EvalStats {
    /// Images: a folder, an `.npz` batch, a data set by its name, or a run, for the data that it is evaluated with
    pub(crate) images: String,
    /// What they are measured in: `pixels`, the run directory of a classifier, or a table
    #[arg(long, value_name = "FEATURES")]
    pub(crate) features: String,
    /// `.npz` file to write, with `mu` and `sigma`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Debug, Args)]
pub(crate) struct EvalProbe {
    #[command(flatten)]
    pub(crate) trained: Trained,
    /// Times, from 0 (data) to 1 (noise), as in `0.1,0.3`; by default seven from 0.02 to 0.9
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) times: Vec<f64>,
    /// Training images that probes learn from
    #[arg(long, default_value_t = 2000)]
    pub(crate) n: u64,
    /// Held-out images that they are judged by
    #[arg(long, default_value_t = 1000)]
    pub(crate) test: u64,
}

#[derive(Debug, Args)]
pub(crate) struct EvalCompare {
    /// Records, as evaluations write them
    #[arg(required = true, value_name = "RECORD")]
    pub(crate) records: Vec<PathBuf>,
    /// Print them also where they were measured differently
    #[arg(long)]
    pub(crate) force: bool,
}

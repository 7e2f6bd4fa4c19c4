//! `sinter bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Overrides;

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure loading, training and sampling of a configuration
    Train(BenchTrain),
    /// Measure single operations, beside what the machine can do at best
    Ops(BenchOps),
    /// Measure the way from image files to features: decoding, resizing and networks
    Features(BenchFeatures),
    /// Measure the experts of a block in three forms; prints a page in Markdown
    Experts(BenchExperts),
}

/// What both measurements take.
#[derive(Debug, Args)]
pub(crate) struct Measurement {
    /// Take the composed form of every operation: plain Burn, nothing fused
    #[arg(long)]
    pub(crate) composed: bool,
    /// Write the numbers as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchTrain {
    /// Configuration file
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Training steps measured after the first; 0 for the first alone, as of a cold start
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) steps: usize,
    /// Record as many steps again, and tell where their time goes by operation
    #[arg(long)]
    pub(crate) profile: bool,
    #[command(flatten)]
    pub(crate) measurement: Measurement,
}

#[derive(Debug, Args)]
pub(crate) struct BenchExperts {
    /// How often each form is measured at each size
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// CPU threads; 0 for every core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
    /// Write the numbers as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchFeatures {
    /// Sides of the images in pixels
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [32, 256])]
    pub(crate) sizes: Vec<usize>,
    /// Images of a measurement
    #[arg(long, default_value_t = 64)]
    pub(crate) n: usize,
    /// How often each stage is measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Device: auto, flex, wgpu, vulkan or cuda, the last three with an index as in `cuda:1`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) device: String,
    /// CPU threads; 0 for every core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
    /// Write the numbers as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOps {
    /// Part of an operation's name or sizes, as printed; by default all are measured
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) filter: String,
    /// CPU threads; 0 for every core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
    #[command(flatten)]
    pub(crate) measurement: Measurement,
}

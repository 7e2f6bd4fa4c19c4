//! The command line.

mod bench;
mod evaluation;
mod experiments;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};
use sinter_models::weights::Reference;

pub(crate) use self::bench::*;
pub(crate) use self::evaluation::*;
pub(crate) use self::experiments::*;

/// Train, sample and evaluate diffusion and flow models.
#[derive(Debug, Parser)]
#[command(name = "sinter", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// The process's command line.
    pub(crate) fn of_process() -> Self {
        Self::parse_from(with_run(std::env::args_os().collect()))
    }
}

/// `sinter eval RUN` as `sinter eval run RUN`: a first word that is no command of `eval` belongs to a run.
fn with_run(mut words: Vec<OsString>) -> Vec<OsString> {
    if let [_, eval, word, ..] = words.as_slice()
        && eval == "eval"
    {
        let eval = Arguments::command();
        let known = eval.find_subcommand("eval").is_some_and(|eval| eval.find_subcommand(word).is_some());
        if !known && !["help", "-h", "--help"].iter().any(|help| word == help) {
            words.insert(2, "run".into());
        }
    }
    words
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model from a configuration file, or a cell of a sweep; run again to resume
    Train(Train),
    /// Draw samples from a trained run
    Sample(Sample),
    /// Evaluate a trained run
    Eval(Eval),
    /// Evaluate a run's network on given tensors
    Predict(Predict),
    /// Make a run of weights from another implementation
    Import(Import),
    /// Write a run's weights for another implementation
    Export(Export),
    /// Make a run of an adapted run's weights, the adapters merged into them
    Merge(Merge),
    /// Print one hash over a run's newest checkpoint: equal digests mean equal runs
    Digest(Digest),
    /// Tell what a network is made of and what it costs
    Model(Model),
    /// Check, show or describe configuration files
    Config(Config),
    /// List, prepare or look at data sets
    Data(Data),
    /// List backends and devices
    Devices,
    /// Measure speed: of a configuration, of single operations, of features
    Bench(Bench),
    /// Run a paper's ablation: many configurations from one file
    Sweep(Sweep),
    /// Search for the settings that make a metric best; run again to go on
    Tune(Tune),
    /// Write a report of sweeps, searches and runs: claims, tables, curves, pictures
    Report(Report),
    /// List and compare runs, and free the space of old checkpoints
    Runs(Runs),
}

/// What can be changed about a configuration from the command line.
#[derive(Debug, Args)]
pub(crate) struct Overrides {
    /// Change a value, as in `--set optimizer.learning_rate=1e-4`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Device: auto, flex, wgpu, vulkan or cuda, the last three with an index as in `cuda:1`
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// CPU threads; 0 for every core
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Train {
    /// Configuration file
    #[arg(required_unless_present = "cell")]
    pub(crate) config: Option<PathBuf>,
    /// Run directory; by default `runs/<name>`
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    /// Cell of an expanded sweep: its folder, or the sweep's with a number as in `DIR/3`; without one, the number is
    /// SLURM_ARRAY_TASK_ID, HQ_TASK_ID or JOB_COMPLETION_INDEX
    #[arg(long, value_name = "DIR[/N]", conflicts_with_all = ["config", "run", "set", "device", "threads"])]
    pub(crate) cell: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

/// Which weights of which run, where.
#[derive(Debug, Args)]
pub(crate) struct Trained {
    /// Run directory
    pub(crate) run: PathBuf,
    /// Checkpoint, by its training images; by default the newest
    #[arg(long, value_name = "IMAGES")]
    pub(crate) checkpoint: Option<u64>,
    /// Weights: `raw`, or the half-life of an average; by default the first average of the configuration
    #[arg(long, value_name = "WEIGHTS")]
    pub(crate) ema: Option<String>,
    /// Device: auto, flex, wgpu, vulkan or cuda, the last three with an index as in `cuda:1`
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// Folder of data sets
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// How samples are drawn; what is not given is as in the run's configuration.
#[derive(Debug, Args)]
pub(crate) struct Sampling {
    /// Seed of the noise
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Solver, by name or as a table: `heun`, `{type = "ddim", eta = 1.0}`
    #[arg(long)]
    pub(crate) solver: Option<String>,
    /// Times of the steps, by name or as a table: `uniform_time`, `{type = "karras", rho = 7.0}`
    #[arg(long)]
    pub(crate) grid: Option<String>,
    /// Steps
    #[arg(long)]
    pub(crate) steps: Option<usize>,
    /// Scale of classifier-free guidance; 1 for none
    #[arg(long)]
    pub(crate) guidance: Option<f64>,
    /// Samples drawn at a time
    #[arg(long)]
    pub(crate) batch: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Sample {
    #[command(flatten)]
    pub(crate) trained: Trained,
    /// Folder for `grid.png` and the images
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Samples
    #[arg(long, default_value_t = 64)]
    pub(crate) n: usize,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
    /// Class, by name or number; by default all in turn
    #[arg(long)]
    pub(crate) class: Option<String>,
    /// Caption
    #[arg(long)]
    pub(crate) caption: Option<String>,
    /// Write `samples.npz` (uint8 `[n, h, w, c]`, and labels) instead of one PNG a sample
    #[arg(long)]
    pub(crate) npz: bool,
    /// Print the sampler's plan and stop
    #[arg(long)]
    pub(crate) plan: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Predict {
    #[command(flatten)]
    pub(crate) trained: Trained,
    /// `.safetensors` file of floats: images `x` [b, c, h, w], time labels `t` [b], classes `y` [b] if asked for
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: PathBuf,
    /// `.safetensors` file to write: `output` [b, c, h, w]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// The implementations by their names.
fn references() -> impl TypedValueParser<Value = Reference> {
    PossibleValuesParser::new(Reference::ALL.map(Reference::name)).try_map(|name| {
        Reference::ALL.into_iter().find(|reference| reference.name() == name).ok_or("no such implementation")
    })
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Weights, `.safetensors` or PyTorch's `.pt` or `.pth`
    pub(crate) file: PathBuf,
    /// Configuration of the run that is made
    pub(crate) config: PathBuf,
    /// Implementation that made the file
    #[arg(long, value_name = "NAME", value_parser = references())]
    pub(crate) from: Reference,
    /// Entry of a PyTorch checkpoint that holds the weights, as in `ema`
    #[arg(long, value_name = "KEY")]
    pub(crate) part: Option<String>,
    /// Run directory; by default `runs/<name>`
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) trained: Trained,
    /// Implementation that is to read the file
    #[arg(long, value_name = "NAME", value_parser = references())]
    pub(crate) to: Reference,
    /// `.safetensors` file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Merge {
    #[command(flatten)]
    pub(crate) trained: Trained,
    /// Run directory to make
    #[arg(long = "run", value_name = "DIR")]
    pub(crate) merged: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Digest {
    /// Run directory
    pub(crate) run: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Model {
    #[command(subcommand)]
    pub(crate) command: ModelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Print shapes, parameters, multiply-adds and activations by layer, and their totals
    Summary(ModelSummary),
}

#[derive(Debug, Args)]
pub(crate) struct ModelSummary {
    /// Configuration file, of a run or of a model alone
    pub(crate) config: PathBuf,
    /// Channels, height and width of the images, instead of what the configuration's data have
    #[arg(long, value_name = "C,H,W", value_parser = image_shape)]
    pub(crate) shape: Option<[usize; 3]>,
    /// Classes of the images; by default none
    #[arg(long, value_name = "N", requires = "shape")]
    pub(crate) classes: Option<usize>,
    /// Images of a batch, for its activations
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: usize,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

fn image_shape(text: &str) -> Result<[usize; 3], String> {
    let sizes: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    let shape = sizes.ok().and_then(|sizes| <[usize; 3]>::try_from(sizes).ok());
    shape.filter(|shape| !shape.contains(&0)).ok_or_else(|| "give three sizes above 0, as in `4,32,32`".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Report every problem of a configuration file
    Check(ConfigFile),
    /// Print the resolved configuration with the origin of each value
    Show(ConfigFile),
    /// Print the JSON Schema of configuration files, for editors
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// Configuration file
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

#[derive(Debug, Args)]
pub(crate) struct Data {
    #[command(subcommand)]
    pub(crate) command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// List known data sets and where they were found
    List {
        /// Folder of data sets
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// Find a data set, fetch what is missing, verify its checksums
    Prepare {
        /// Name of the data set, as `sinter data list` prints it
        name: String,
        /// Folder of data sets
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// Draw a contact sheet of a configuration's training data
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// Images
        #[arg(long, default_value_t = 64)]
        n: usize,
        /// PNG to write
        #[arg(long, default_value = "data.png")]
        out: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_evaluated_without_a_word() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(with_run(words("sinter eval runs/a --n 8")), words("sinter eval run runs/a --n 8"));
        assert_eq!(with_run(words("sinter eval --n 8 runs/a")), words("sinter eval run --n 8 runs/a"));
        for line in
            ["sinter eval images a b", "sinter eval run a", "sinter eval --help", "sinter eval", "sinter train a"]
        {
            assert_eq!(with_run(words(line)), words(line));
        }
    }
}

//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};
use sinter_models::weights::Reference;

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

#[derive(Debug, Args)]
pub(crate) struct Sweep {
    #[command(subcommand)]
    pub(crate) command: SweepCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SweepCommand {
    /// List sweeps: what they cost, how far they are, which claims held
    List(SweepList),
    /// Report every problem of sweeps and searches and of all their cells
    Check(SweepCheck),
    /// Write the cells of a sweep, resolved and checked, and their index
    Expand(SweepExpand),
    /// Run sweeps in a local pool of processes; run again to go on
    Run(SweepRun),
    /// Write job files that run a sweep on an engine
    Emit(SweepEmit),
}

/// Where the results of sweeps are kept.
#[derive(Debug, Args)]
pub(crate) struct Kept {
    /// Folder of runs and sweeps
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) root: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct SweepList {
    /// Sweep file, or folder of such
    #[arg(default_value = "experiments")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) kept: Kept,
}

#[derive(Debug, Args)]
pub(crate) struct SweepCheck {
    /// Sweep file, or folder of such
    #[arg(default_value = "experiments")]
    pub(crate) path: PathBuf,
    /// Size that is checked; by default all
    #[arg(long, value_name = "TIER")]
    pub(crate) tier: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SweepExpand {
    /// Sweep file
    pub(crate) file: PathBuf,
    /// Size: smoke, cpu, gpu or paper
    #[arg(long, value_name = "TIER")]
    pub(crate) tier: String,
    #[command(flatten)]
    pub(crate) kept: Kept,
}

#[derive(Debug, Args)]
pub(crate) struct SweepRun {
    /// Sweep files, or folders of such
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Size: smoke, cpu, gpu or paper
    #[arg(long, value_name = "TIER")]
    pub(crate) tier: String,
    /// Processes at a time; by default one, or one a device
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) jobs: Option<u32>,
    /// GPUs, one for each process, as in `0,1,2`: what CUDA_VISIBLE_DEVICES is set to; by default what it says
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) gpus: Vec<String>,
    #[command(flatten)]
    pub(crate) kept: Kept,
}

#[derive(Debug, Args)]
pub(crate) struct Tune {
    /// Search file
    pub(crate) file: PathBuf,
    /// Size: smoke, cpu, gpu or paper
    #[arg(long, value_name = "TIER", default_value = "cpu")]
    pub(crate) tier: String,
    /// Trials in all, those that are done among them; by default as the file says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) trials: Option<u32>,
    /// Processes at a time; by default one, or one a device
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) jobs: Option<u32>,
    /// GPUs, one for each process, as in `0,1,2`: what CUDA_VISIBLE_DEVICES is set to; by default what it says
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) gpus: Vec<String>,
    /// Try failed trials again; the search goes on from what comes of them
    #[arg(long)]
    pub(crate) retry: bool,
    #[command(flatten)]
    pub(crate) kept: Kept,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Engine {
    /// Array jobs, and a script that submits them
    Slurm,
    /// One job file of dependent tasks
    Hyperqueue,
    /// One indexed job
    K8s,
}

#[derive(Debug, Args)]
pub(crate) struct SweepEmit {
    /// Engine that runs the jobs
    pub(crate) engine: Engine,
    /// Sweep file
    pub(crate) file: PathBuf,
    /// Size: smoke, cpu, gpu or paper
    #[arg(long, value_name = "TIER")]
    pub(crate) tier: String,
    /// The `sinter` binary where jobs run
    #[arg(long, value_name = "PATH", default_value = "sinter")]
    pub(crate) program: String,
    /// CPU cores of a cell
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) cpus: u32,
    /// GPUs of a cell
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) gpus: u32,
    /// Memory of a cell in GiB
    #[arg(long, value_name = "GIB", default_value_t = 8)]
    pub(crate) memory: u32,
    /// Minutes after which a job is stopped; its cell goes on in the next
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) minutes: u32,
    /// Jobs at a time
    #[arg(long, value_name = "N")]
    pub(crate) at_a_time: Option<u32>,
    /// Slurm's partition
    #[arg(long, value_name = "NAME")]
    pub(crate) partition: Option<String>,
    /// Container image, for Kubernetes
    #[arg(long, value_name = "IMAGE", default_value = "sinter:latest")]
    pub(crate) image: String,
    /// Claim of the volume that holds the working folder, for Kubernetes
    #[arg(long, value_name = "NAME", default_value = "sinter")]
    pub(crate) volume: String,
    #[command(flatten)]
    pub(crate) kept: Kept,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Sweep and search files, folders of such, folders of expanded ones, run directories
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Size of sweeps; by default every one that was expanded
    #[arg(long, value_name = "TIER")]
    pub(crate) tier: Option<String>,
    /// File to write; Markdown and CSV are written beside it
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub(crate) out: PathBuf,
    /// Title of the page
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    #[command(flatten)]
    pub(crate) kept: Kept,
}

#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// By default, `list`
    #[command(subcommand)]
    pub(crate) command: Option<RunsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs: state, images, loss, metrics, age
    List {
        /// Folder that holds runs, at any depth
        #[arg(default_value = "runs")]
        folder: PathBuf,
        /// Runs of this setting alone, as in `model.type=dit`; may be repeated
        #[arg(long = "where", value_name = "KEY=VALUE")]
        filters: Vec<String>,
        /// Runs in this state alone: finished, running, stopped or new
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
    },
    /// Print the settings in which runs differ, and their metrics
    Compare {
        /// Run directories
        #[arg(required = true, num_args = 2..)]
        runs: Vec<PathBuf>,
    },
    /// Remove old checkpoints: all but the newest good ones of every run, and none of a run that is being trained
    Gc {
        /// Folder that holds runs, at any depth
        #[arg(default_value = "runs")]
        folder: PathBuf,
        /// Checkpoints that a run keeps
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        keep: u32,
        /// Tell what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
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

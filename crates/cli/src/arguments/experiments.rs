//! Sweeps, searches, reports and lists of runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Sweep {
    #[command(subcommand)]
    pub(crate) command: SweepCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SweepCommand {
    /// List sweeps and searches: what they cost, how far they are, which claims held
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

//! `sinter sweep`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use sinter_config::{ConfigError, Layered, Problems, Resolver};
use sinter_data::{DataConfig, Split};
use sinter_experiments::{
    Cell, Expansion, Index, Listed, Store, Sweep, Tune, Typed, Verdict, check, emit, expand, experiment_files,
    sweep_files,
};
use sinter_models::{DataShape, Summary};
use sinter_sampling::Conditioner;
use sinter_training::{Config, conditioner, inherit};

use super::pool::{Workers, told};
use super::tune;
use crate::arguments::{self, Engine, SweepCommand, SweepEmit, SweepRun};
use crate::failure::INTERRUPTED;
use crate::{Ending, Failure};

pub(crate) fn run(arguments: &arguments::Sweep) -> Ending {
    match &arguments.command {
        SweepCommand::List(list) => self::list(&list.path, &Store::new(&list.kept.root)),
        SweepCommand::Check(check) => self::check_all(&check.path, check.tier.as_deref()),
        SweepCommand::Expand(arguments) => {
            let store = Store::new(&arguments.kept.root);
            let expansion = expanded(&arguments.file, &arguments.tier, &store, &Checker::new(false))?;
            let folder = expansion.write(&store)?;
            println!("{} cells: {}", expansion.index.cells.len(), folder.display());
            Ok(ExitCode::SUCCESS)
        }
        SweepCommand::Run(arguments) => run_all(arguments),
        SweepCommand::Emit(arguments) => emit_jobs(arguments),
    }
}

/// Reads a sweep, checks it, and expands one of its tiers.
fn expanded(file: &Path, tier: &str, store: &Store, checker: &Checker) -> Result<Expansion, Failure> {
    let sweep = Sweep::load(file)?;
    sound(&sweep, file)?;
    Ok(expand(&sweep, file, tier, store, checker)?)
}

/// A sweep says all that it must.
fn sound(sweep: &Sweep, file: &Path) -> Result<(), Failure> {
    let problems = check(sweep);
    if problems.is_empty() { Ok(()) } else { Err(Failure::Config(Layered::load(file)?.locate(problems))) }
}

fn list(path: &Path, store: &Store) -> Ending {
    for file in experiment_files(path)? {
        if Tune::is_one(&file) {
            let search = Tune::load(&file)?;
            println!("{}  {}", file.display(), search.title);
            Listed::of_search(&search, store)?.iter().for_each(|listed| println!("{}", standing(listed)));
            continue;
        }
        let sweep = Sweep::load(&file)?;
        println!("{}  {}", file.display(), sweep.title);
        for listed in Listed::of(&sweep, store)? {
            let verdicts = &listed.verdicts;
            let claims = if verdicts.is_empty() { format!("{} claims", sweep.claims.len()) } else { tally(verdicts) };
            println!("{}; {claims}", standing(&listed));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn standing(listed: &Listed) -> String {
    let Listed { tier, cells, minutes, on, done, failed, .. } = listed;
    let cost = minutes.map_or_else(|| "cost unknown".into(), |minutes| format!("{} on {on}", duration(minutes)));
    let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("    {tier:<6} {cells:>4} cells, {cost:<28} {done} done{failed}")
}

/// `2 held, 1 undecided`.
fn tally(verdicts: &[Verdict]) -> String {
    let count = |verdict: Verdict| verdicts.iter().filter(|other| **other == verdict).count();
    let parts = Verdict::ALL.into_iter().filter(|verdict| count(*verdict) > 0);
    parts.map(|verdict| format!("{} {verdict}", count(verdict))).collect::<Vec<_>>().join(", ")
}

fn duration(minutes: f64) -> String {
    if minutes < 1.0 {
        format!("{:.0} s", minutes * 60.0)
    } else if minutes < 120.0 {
        format!("{minutes:.0} min")
    } else {
        format!("{:.1} h", minutes / 60.0)
    }
}

fn check_all(path: &Path, tier: Option<&str>) -> Ending {
    let checker = Checker::new(false);
    let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
    // Runs that cells need are written to be read by those; nobody needs them afterwards.
    let scratch = std::env::temp_dir().join(format!("sinter-sweep-check-{}", std::process::id()));
    let store = Store::new(&scratch);
    let mut one = |file: &Path| -> Result<(), Failure> {
        let mut counts = Vec::new();
        let wanted = |name: &&String| tier.is_none_or(|tier| tier == *name);
        let name = if Tune::is_one(file) {
            let tune = tune::sound(file)?;
            for tier in tune.tiers.keys().filter(wanted) {
                // What it would try first.
                let trials = tune.next(&[], &[], tune.trials(tier)?)?;
                let expansion = tune.expand(&trials, file, tier, &store, &checker)?;
                counts.push(format!("{} {tier}", expansion.index.cells.len()));
            }
            tune.name
        } else {
            let sweep = Sweep::load(file)?;
            sound(&sweep, file)?;
            for tier in sweep.tiers.keys().filter(wanted) {
                let expansion = expand(&sweep, file, tier, &store, &checker)?;
                counts.push(format!("{} {tier}", expansion.index.cells.len()));
            }
            sweep.name
        };
        if let Some(other) = names.insert(name.clone(), file.to_path_buf()) {
            let (file, other) = (file.display(), other.display());
            return Err(Failure::Setting(format!("{file}: {other} is named `{name}`, too")));
        }
        println!("{}: no problems; cells: {}", file.display(), counts.join(", "));
        Ok(())
    };
    let checked = experiment_files(path)?.into_iter().try_for_each(|file| one(&file));
    let _ = std::fs::remove_dir_all(&scratch);
    checked?;
    Ok(ExitCode::SUCCESS)
}

fn run_all(arguments: &SweepRun) -> Ending {
    let store = Store::new(&arguments.kept.root);
    let checker = Checker::new(true);
    let mut indices: Vec<(Index, PathBuf)> = Vec::new();
    // All are checked before any is begun.
    for path in &arguments.paths {
        for file in sweep_files(path)? {
            let expansion = expanded(&file, &arguments.tier, &store, &checker)?;
            let folder = expansion.write(&store)?;
            indices.push((expansion.index, folder));
        }
    }
    let workers = Workers::new(arguments.jobs, &arguments.gpus)?;
    let cells: Vec<&Cell> = indices.iter().flat_map(|(index, _)| &index.cells).collect();
    let outcome = workers.run(&store, &cells)?;
    told(&outcome);
    for (_, folder) in &indices {
        println!("sinter report {}", folder.display());
    }
    Ok(match (outcome.interrupted, outcome.failed.is_empty()) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

fn emit_jobs(arguments: &SweepEmit) -> Ending {
    let store = Store::new(&arguments.kept.root);
    let expansion = expanded(&arguments.file, &arguments.tier, &store, &Checker::new(false))?;
    let folder = expansion.write(&store)?;
    let resources = emit::Resources {
        program: arguments.program.clone(),
        cpus: arguments.cpus,
        gpus: arguments.gpus,
        memory: arguments.memory,
        minutes: arguments.minutes,
        at_a_time: arguments.at_a_time,
        partition: arguments.partition.clone(),
        image: arguments.image.clone(),
        volume: arguments.volume.clone(),
    };
    let files = match arguments.engine {
        Engine::Slurm => emit::slurm(&expansion.index, &folder, &resources),
        Engine::Hyperqueue => emit::hyperqueue(&expansion.index, &folder, &resources),
        Engine::K8s => emit::kubernetes(&expansion.index, &folder, &resources),
    };
    for file in files {
        let path = folder.join(&file.name);
        std::fs::write(&path, &file.text)?;
        #[cfg(unix)]
        if file.executable {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The typed check of cells: types, what fits together, what fits the data, and, where they are to run here, whether the
/// data are there and the memory suffices.
pub(crate) struct Checker {
    resolver: Resolver<Config>,
    here: bool,
    /// What networks are told about data, by the data's settings.
    shapes: Mutex<HashMap<String, Result<DataShape, String>>>,
    /// Bytes that training takes, by network, data, and batch.
    bytes: Mutex<HashMap<String, Option<u64>>>,
}

impl Checker {
    pub(crate) fn new(here: bool) -> Self {
        Self { resolver: Resolver::new(), here, shapes: Mutex::default(), bytes: Mutex::default() }
    }

    fn shape(&self, data: &DataConfig, seed: u64) -> Result<DataShape, String> {
        let data = DataConfig { download: false, ..data.clone() };
        let key = serde_json::to_string(&data).unwrap_or_default();
        let known = self.shapes.lock().ok().and_then(|shapes| shapes.get(&key).cloned());
        known.unwrap_or_else(|| {
            let found = if self.here {
                let opened = data.open(Split::Train, seed).map_err(|error| error.to_string());
                opened.and_then(|source| conditioner(source.as_ref()).map_err(|error| error.to_string()))
            } else {
                let outline = data.outline().map_err(|error| error.to_string());
                outline.and_then(|outline| {
                    Conditioner::new(outline.shape, outline.classes, &outline.vocabulary, outline.longest_caption)
                        .map_err(|error| error.to_string())
                })
            };
            let found = found.map(|conditioner| *conditioner.shape());
            if let Ok(mut shapes) = self.shapes.lock() {
                shapes.insert(key, found.clone());
            }
            found
        })
    }

    /// Bytes of weights, gradients, moments, averages and activations of one network in training; none where the network
    /// cannot be told.
    fn bytes(&self, config: &Config, shape: &DataShape) -> Option<u64> {
        let batch = config.train.micro_batch();
        let model = serde_json::to_string(&config.model).unwrap_or_default();
        let key = format!("{model} {shape:?} {batch} {}", config.ema.half_life.len());
        if let Some(known) = self.bytes.lock().ok()?.get(&key) {
            return *known;
        }
        let device = config.device.open().ok();
        let summary = device.and_then(|device| Summary::new(&config.model, shape, &device).ok());
        let bytes = summary.map(|summary| {
            let copies = 4 + config.ema.half_life.len() as u64;
            4 * copies * summary.parameters() as u64 + summary.activations(batch) as u64
        });
        self.bytes.lock().ok()?.insert(key, bytes);
        bytes
    }
}

impl Typed for Checker {
    fn resolve(&self, mut layered: Layered) -> Result<String, ConfigError> {
        inherit(&mut layered)?;
        let mut config = self.resolver.resolve(&layered)?;
        config.device.resolve_threads();
        let mut problems = config.validate();
        if problems.is_empty() {
            match self.shape(&config.data, config.seed) {
                Ok(shape) => {
                    problems = config.validate_for(&shape);
                    if self.here && problems.is_empty() {
                        problems = self.fits(&config, &shape);
                    }
                }
                Err(error) => problems.push("data", error),
            }
        }
        if !problems.is_empty() {
            return Err(layered.locate(problems));
        }
        toml::to_string(&config).map_err(|error| {
            let mut problems = Problems::new();
            problems.push("", error.to_string());
            problems.into()
        })
    }
}

impl Checker {
    /// That a cell fits into this machine's memory, where it computes there.
    fn fits(&self, config: &Config, shape: &DataShape) -> Problems {
        let mut problems = Problems::new();
        let on_cpu = matches!(config.device.name.as_str(), "flex" | "auto");
        if let (true, Some(memory), Some(bytes)) = (on_cpu, memory(), self.bytes(config, shape)) {
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            let message = format!("takes about {:.1} GiB, and this machine has {:.1}", gib(bytes), gib(memory));
            if bytes > memory {
                problems.push_help("train.micro_batch", message, "take fewer images through the network at a time");
            }
        }
        problems
    }
}

/// Bytes of this machine's memory, where the system tells (Linux).
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A thousand cells of one network: 20 learning rates, 5 batches, 10 seeds.
    fn thousand() -> String {
        let layers = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/layers");
        let rates: Vec<String> = (1..=20).map(|rate| format!("{:.3}", 1e-3 * f64::from(rate))).collect();
        format!(
            r#"
name = "thousand"
title = "Thousand"
question = "?"
seeds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
base = {{ extends = ["{layers}/shapes.toml", "{layers}/flow.toml", "{layers}/dit.toml"] }}
axes = [
    {{ type = "grid", name = "rate", key = "optimizer.learning_rate", values = [{}] }},
    {{ type = "grid", name = "half-life", key = "ema.half_life", values = [[100], [200], [400], [800], [1600]] }},
]
metrics = []
[tiers.cpu]
"#,
            rates.join(", ")
        )
    }

    /// What makes a thousand cells cost half a second is that each is resolved once and what they share is found once.
    #[test]
    fn a_thousand_cells_are_each_checked_once_and_what_they_share_is_looked_at_once() {
        struct Counting {
            checker: Checker,
            resolved: AtomicUsize,
        }
        impl Typed for Counting {
            fn resolve(&self, layered: Layered) -> Result<String, ConfigError> {
                self.resolved.fetch_add(1, Ordering::Relaxed);
                self.checker.resolve(layered)
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sweep.toml");
        std::fs::write(&file, thousand()).unwrap();
        let (sweep, store) = (Sweep::load(&file).unwrap(), Store::new(folder.path().join("runs")));
        let counting = Counting { checker: Checker::new(true), resolved: AtomicUsize::new(0) };
        let expansion = expand(&sweep, &file, "cpu", &store, &counting).unwrap();
        assert_eq!(expansion.index.cells.len(), 1000);
        assert_eq!(counting.resolved.load(Ordering::Relaxed), 1000);
        let hashes: std::collections::HashSet<&str> =
            expansion.index.cells.iter().map(|cell| cell.hash.as_str()).collect();
        assert_eq!(hashes.len(), 1000);
        // One data set; one network.
        assert_eq!(counting.checker.shapes.lock().unwrap().len(), 1);
        assert_eq!(counting.checker.bytes.lock().unwrap().len(), 1);
        // Checked all the same: one wrong rate is found, in its cells alone.
        std::fs::write(&file, thousand().replace("0.020", "-0.020")).unwrap();
        let error = expand(&Sweep::load(&file).unwrap(), &file, "cpu", &store, &counting).unwrap_err().to_string();
        assert!(error.contains("optimizer.learning_rate") && error.contains("and 47 more"), "{error}");
    }
}

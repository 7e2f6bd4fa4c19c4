//! `sinter runs`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use sinter_experiments::{Cell, RunFiles, is_locked};
use sinter_training::{Checkpoint, RunDirectory};

use crate::arguments::{Runs, RunsCommand};
use crate::{Ending, Failure};

/// Metrics in a line of the list.
const METRICS: usize = 3;

pub(crate) fn run(arguments: &Runs) -> Ending {
    match &arguments.command {
        None => list(Path::new("runs"), &[], None),
        Some(RunsCommand::List { folder, filters, state }) => list(folder, filters, state.as_deref()),
        Some(RunsCommand::Compare { runs }) => compare(runs),
        Some(RunsCommand::Gc { folder, keep, dry_run }) => collect_garbage(folder, *keep as usize, *dry_run),
    }
}

/// A run, as far as the terminal shows it.
struct Shown {
    path: PathBuf,
    config: toml::Table,
    files: RunFiles,
}

impl Shown {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path.join("config.toml"))?;
        let config = toml::from_str(&text)
            .map_err(|error| Failure::Other(format!("{}: {error}", path.join("config.toml").display())))?;
        Ok(Self { path: path.to_path_buf(), config, files: RunFiles::read(path)? })
    }

    fn state(&self) -> Result<&'static str, Failure> {
        let locked = is_locked(&self.path.join("run.lock"))? || is_locked(&self.path.join("cell.lock"))?;
        let budget = value(&self.config, "train.images").and_then(toml::Value::as_integer).unwrap_or(0);
        Ok(match self.files.images() {
            _ if locked => "running",
            images if images > 0 && images as i64 >= budget => "finished",
            0 => "new",
            _ => "stopped",
        })
    }

    /// The newest values of what evaluations measured.
    fn metrics(&self) -> Vec<(String, f64)> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.files.lines.iter().flat_map(|line| &line.scalars) {
            let wanted = name.starts_with("evaluation/") || name.starts_with("validation/");
            if wanted && !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let newest = |name: &str| Some((name.trim_start_matches("evaluation/").to_owned(), self.files.last(name)?));
        names.into_iter().filter_map(newest).collect()
    }

    /// Its path, and what a sweep calls it.
    fn name(&self) -> String {
        match Cell::read(&self.path) {
            Ok(cell) => format!("{} ({})", self.path.display(), cell.label),
            Err(_) => self.path.display().to_string(),
        }
    }
}

/// The value at a dotted key.
fn value<'a>(config: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    let mut names = key.split('.');
    let first = config.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

/// Every run directory under a folder, in order.
fn find(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if folder.join("config.toml").is_file() {
        return Ok(vec![folder.to_path_buf()]);
    }
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(folder).map_err(|error| Failure::Other(format!("{}: {error}", folder.display())))?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    for folder in folders {
        found.extend(find(&folder)?);
    }
    Ok(found)
}

fn list(folder: &Path, filters: &[String], state: Option<&str>) -> Ending {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for filter in filters {
        let refused = || Failure::Setting(format!("--where {filter}: a filter is written key=value"));
        wanted.push(filter.split_once('=').ok_or_else(refused)?);
    }
    for path in find(folder)? {
        let run = Shown::read(&path)?;
        let is =
            |(key, expected): &(&str, &str)| value(&run.config, key).is_some_and(|value| written(value) == *expected);
        let now = run.state()?;
        if !wanted.iter().all(is) || state.is_some_and(|state| state != now) {
            continue;
        }
        let mut line = format!("{:<9} {:>9} images", now, run.files.images());
        if let Some(loss) = run.files.last("loss") {
            line += &format!("  loss {loss:.4}");
        }
        for (name, value) in run.metrics().into_iter().take(METRICS) {
            line += &format!("  {name} {value:.4}");
        }
        println!("{line}  {}\n    {}", age(&path), run.name());
    }
    Ok(ExitCode::SUCCESS)
}

/// A value as people write it on the command line.
fn written(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How long ago a run last wrote something down.
fn age(path: &Path) -> String {
    let times =
        ["metrics.jsonl", "config.toml"].iter().filter_map(|name| path.join(name).metadata().ok()?.modified().ok());
    let newest = times.max().and_then(|time| SystemTime::now().duration_since(time).ok());
    let seconds = newest.map_or(0, |age| age.as_secs());
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

fn compare(paths: &[PathBuf]) -> Ending {
    let runs: Vec<Shown> = paths.iter().map(|path| Shown::read(path)).collect::<Result<_, _>>()?;
    let mut keys: Vec<String> = Vec::new();
    runs.iter().for_each(|run| leaves("", &run.config, &mut keys));
    let mut rows: Vec<Vec<String>> = vec![std::iter::once(String::new()).chain(runs.iter().map(Shown::name)).collect()];
    for key in keys.iter().filter(|key| *key != "name") {
        let values: Vec<String> =
            runs.iter().map(|run| value(&run.config, key).map_or_else(|| "-".to_owned(), written)).collect();
        if values.iter().any(|value| *value != values[0]) {
            rows.push(std::iter::once(key.clone()).chain(values).collect());
        }
    }
    let images = runs.iter().map(|run| run.files.images().to_string());
    rows.push(std::iter::once("images".to_owned()).chain(images).collect());
    let mut names: Vec<String> = vec!["loss".into()];
    for (name, _) in runs.iter().flat_map(Shown::metrics) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names {
        let of = |run: &Shown| run.files.last(&name).or_else(|| run.files.last(&format!("evaluation/{name}")));
        let values = runs.iter().map(|run| of(run).map_or_else(|| "-".to_owned(), |value| format!("{value:.4}")));
        rows.push(std::iter::once(name.clone()).chain(values).collect());
    }
    let columns = runs.len() + 1;
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// The dotted keys of everything that is no table, each once.
fn leaves(path: &str, table: &toml::Table, keys: &mut Vec<String>) {
    for (name, value) in table {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            toml::Value::Table(table) => leaves(&key, table, keys),
            _ if keys.contains(&key) => {}
            _ => keys.push(key),
        }
    }
}

fn collect_garbage(folder: &Path, keep: usize, dry_run: bool) -> Ending {
    let mut freed = 0;
    for path in find(folder)? {
        let checkpoints = path.join("checkpoints");
        if !checkpoints.is_dir() {
            continue;
        }
        // Held until its checkpoints are gone: nobody may begin to resume from one of them.
        let Ok(run) = RunDirectory::lock(&path) else {
            println!("{}: in use, left alone", path.display());
            continue;
        };
        let Some(newest) = Checkpoint::latest(&run.checkpoints())? else { continue };
        // Of those before the newest good one, all but the last few.
        let older = Checkpoint::list(&checkpoints).into_iter().filter(|(images, _)| *images < newest.summary.images);
        let mut older: Vec<PathBuf> = older.map(|(_, path)| path).collect();
        older.truncate(older.len().saturating_sub(keep - 1));
        for old in older {
            let size = size(&old);
            freed += size;
            println!("{} {} ({:.1} MiB)", if dry_run { "would remove" } else { "removes" }, old.display(), mebi(size));
            if !dry_run {
                std::fs::remove_dir_all(&old)?;
            }
        }
    }
    println!("{:.1} MiB {}", mebi(freed), if dry_run { "would be free" } else { "freed" });
    Ok(ExitCode::SUCCESS)
}

fn mebi(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes of all files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |path: PathBuf| if path.is_dir() { size(&path) } else { path.metadata().map_or(0, |file| file.len()) };
    entries.map(|entry| of(entry.path())).sum()
}

//! Which experiments there are, and where they stand.

use std::path::{Path, PathBuf};

use crate::state::State;
use crate::{Cost, ExperimentError, Gathered, Index, Store, Sweep, Tune, Verdict, judge, sweep_folder, tune_folder};

/// The sweep files that a path names: itself, or those of a folder and of the folders in it, in order. Files of a folder
/// `layers` are parts of sweeps, and none themselves; searches are left out.
///
/// # Errors
/// When there are neither.
pub fn sweep_files(path: &Path) -> Result<Vec<PathBuf>, ExperimentError> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    collect(path, &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(ExperimentError::Asked(format!("{} holds no sweep files (.toml)", path.display())));
    }
    files.retain(|file| !Tune::is_one(file));
    Ok(files)
}

/// The search files that a path names, as [`sweep_files`] does sweeps; there may be none.
///
/// # Errors
/// When a folder cannot be read.
pub fn tune_files(path: &Path) -> Result<Vec<PathBuf>, ExperimentError> {
    let mut files = Vec::new();
    if path.is_file() {
        files.push(path.to_path_buf());
    } else {
        collect(path, &mut files)?;
    }
    files.retain(|file| Tune::is_one(file));
    files.sort();
    Ok(files)
}

/// Sweeps and then searches that a path names, each once.
///
/// # Errors
/// As [`sweep_files`].
pub fn experiment_files(path: &Path) -> Result<Vec<PathBuf>, ExperimentError> {
    let mut files = sweep_files(path)?;
    if path.is_dir() {
        files.extend(tune_files(path)?);
    }
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), ExperimentError> {
    let entries = std::fs::read_dir(folder).map_err(ExperimentError::file(folder))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "layers") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

/// Where an experiment stands in one of its tiers.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The tier.
    pub tier: String,
    /// Results that the tier has.
    pub cells: usize,
    /// What all of them are expected to take, in minutes.
    pub minutes: Option<f64>,
    /// On what.
    pub on: String,
    /// Cells that are done.
    pub done: usize,
    /// Cells that failed.
    pub failed: usize,
    /// The verdicts, by claim; none where the tier was not expanded.
    pub verdicts: Vec<Verdict>,
}

impl Listed {
    /// Where every tier of a sweep stands.
    ///
    /// # Errors
    /// When cells cannot be read.
    pub fn of(sweep: &Sweep, store: &Store) -> Result<Vec<Self>, ExperimentError> {
        let mut all = Vec::new();
        for (name, tier) in &sweep.tiers {
            let gathered = gathered(&sweep_folder(store, &sweep.name, name))?;
            let judged =
                |gathered: &Gathered| sweep.claims.iter().map(|claim| judge(claim, sweep, gathered).verdict).collect();
            let verdicts = gathered.as_ref().map(judged).unwrap_or_default();
            all.push(Self::new(name, sweep.cells(tier), tier.cost.as_ref(), gathered.as_ref(), verdicts));
        }
        all.sort_by_key(Self::size);
        Ok(all)
    }

    /// Where every tier of a search stands.
    ///
    /// # Errors
    /// When cells cannot be read.
    pub fn of_search(tune: &Tune, store: &Store) -> Result<Vec<Self>, ExperimentError> {
        let mut all = Vec::new();
        for (name, tier) in &tune.tiers {
            let gathered = gathered(&tune_folder(store, &tune.name, name))?;
            let seeds = tier.seeds.as_ref().unwrap_or(&tune.seeds).len();
            let cells = tune.trials(name)? * seeds;
            all.push(Self::new(name, cells, tier.cost.as_ref(), gathered.as_ref(), Vec::new()));
        }
        all.sort_by_key(Self::size);
        Ok(all)
    }

    fn new(tier: &str, cells: usize, cost: Option<&Cost>, gathered: Option<&Gathered>, verdicts: Vec<Verdict>) -> Self {
        let count = |is: &dyn Fn(&State) -> bool| {
            gathered.map_or(0, |gathered| gathered.rows.iter().filter(|row| is(&row.state)).count())
        };
        Self {
            tier: tier.to_owned(),
            cells,
            minutes: cost.map(|cost| cost.minutes * cells as f64),
            on: cost.map(|cost| cost.on.clone()).unwrap_or_default(),
            done: count(&|state| matches!(state, State::Done(_))),
            failed: count(&|state| matches!(state, State::Failed(_))),
            verdicts,
        }
    }

    /// From the smallest to the largest.
    fn size(&self) -> usize {
        let order = ["smoke", "cpu", "gpu", "paper"];
        order.iter().position(|tier| *tier == self.tier).unwrap_or(order.len())
    }
}

/// What was expanded into a folder; None where nothing was.
fn gathered(folder: &Path) -> Result<Option<Gathered>, ExperimentError> {
    if !folder.join("index.json").is_file() {
        return Ok(None);
    }
    let (index, store) = Index::read(folder)?;
    Gathered::read(&index, &store).map(Some)
}

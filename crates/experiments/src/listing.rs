//! Which experiments there are, and where they stand.

use std::path::{Path, PathBuf};

use crate::state::State;
use crate::{ExperimentError, Gathered, Index, Store, Sweep, Tune, Verdict, judge, sweep_folder};

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
            let cells = sweep.cells(tier);
            let (minutes, on) = match &tier.cost {
                Some(cost) => (Some(cost.minutes * cells as f64), cost.on.clone()),
                None => (None, String::new()),
            };
            let folder = sweep_folder(store, &sweep.name, name);
            let (mut done, mut failed, mut verdicts) = (0, 0, Vec::new());
            if folder.join("index.json").is_file() {
                let (index, store) = Index::read(&folder)?;
                let gathered = Gathered::read(&index, &store)?;
                done = gathered.rows.iter().filter(|row| matches!(row.state, State::Done(_))).count();
                failed = gathered.rows.iter().filter(|row| matches!(row.state, State::Failed(_))).count();
                verdicts = sweep.claims.iter().map(|claim| judge(claim, sweep, &gathered).verdict).collect();
            }
            all.push(Self { tier: name.clone(), cells, minutes, on, done, failed, verdicts });
        }
        // From the smallest size to the largest.
        let order = ["smoke", "cpu", "gpu", "paper"];
        all.sort_by_key(|listed| order.iter().position(|tier| *tier == listed.tier).unwrap_or(order.len()));
        Ok(all)
    }
}

//! `sinter report`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sinter_experiments::report::{PlainRun, Section, csv, html, markdown};
use sinter_experiments::{Gathered, Index, Store, Sweep, Tune, experiment_files, sweep_folder, tune_folder};

use crate::arguments::Report;
use crate::{Ending, Failure};

/// Sizes from the smallest to the largest.
const TIERS: [&str; 4] = ["smoke", "cpu", "gpu", "paper"];

pub(crate) fn run(arguments: &Report) -> Ending {
    let store = Store::new(&arguments.kept.root);
    let mut sections = Vec::new();
    let mut runs = Vec::new();
    for path in &arguments.paths {
        if path.join("index.json").is_file() {
            sections.push(section(path)?);
        } else if path.join("config.toml").is_file() {
            runs.push(PlainRun::read(path)?);
        } else {
            sections.extend(of_files(path, arguments.tier.as_deref(), &store)?);
        }
    }
    if !runs.is_empty() {
        sections.push(Section::of_runs(&runs));
    }
    let title = arguments.title.clone().unwrap_or_else(|| match sections.as_slice() {
        [one] => one.title.clone(),
        _ => "Experiments".into(),
    });
    if let Some(folder) = arguments.out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let write = |extension: &str, text: String| -> Result<PathBuf, Failure> {
        let path = arguments.out.with_extension(extension);
        std::fs::write(&path, text)?;
        Ok(path)
    };
    println!("{}", write("html", html(&title, &sections))?.display());
    println!("{}", write("md", markdown(&title, &sections))?.display());
    println!("{}", write("csv", csv(&sections))?.display());
    Ok(ExitCode::SUCCESS)
}

fn section(folder: &Path) -> Result<Section, Failure> {
    let (index, store) = Index::read(folder)?;
    Ok(Section::of_sweep(&index, &Gathered::read(&index, &store)?))
}

/// What was expanded of sweep files.
fn of_files(path: &Path, tier: Option<&str>, store: &Store) -> Result<Vec<Section>, Failure> {
    let mut sections = Vec::new();
    let mut files = Vec::new();
    for file in experiment_files(path)? {
        let folder: &dyn Fn(&str) -> PathBuf = if Tune::is_one(&file) {
            let name = Tune::load(&file)?.name;
            &move |tier| tune_folder(store, &name, tier)
        } else {
            let name = Sweep::load(&file)?.name;
            &move |tier| sweep_folder(store, &name, tier)
        };
        for tier in TIERS.into_iter().filter(|name| tier.is_none_or(|tier| tier == *name)) {
            if folder(tier).join("index.json").is_file() {
                sections.push(section(&folder(tier))?);
            }
        }
        files.push(file);
    }
    if sections.is_empty() {
        let names = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        let tier = tier.unwrap_or("smoke");
        let command = if Tune::is_one(path) { "tune" } else { "sweep run" };
        let message = format!("nothing of {names} was run: `sinter {command} {} --tier {tier}` does", path.display());
        return Err(Failure::Setting(message));
    }
    Ok(sections)
}

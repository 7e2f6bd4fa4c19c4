//! What a finished run has to show: a table and its curves.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::TrainingError;
use crate::logging::curve::{Plot, Series};
use crate::logging::{jsonl, save};
use crate::run_directory::{RunDirectory, write_atomically};

/// Columns of the table that every run has; its evaluation metrics follow.
const COLUMNS: [&str; 4] = ["time/minutes", "loss", "validation/loss", "validation/accuracy"];

/// Writes `summary.md` (one row an evaluation) and `curves.png` into the run directory, and returns the paths a person
/// would open first: the newest sample grid, the curves, the table.
///
/// # Errors
/// When the metrics cannot be read or a file cannot be written.
pub(crate) fn summarise(run: &RunDirectory) -> Result<Vec<PathBuf>, TrainingError> {
    let records = jsonl::read(&run.metrics_path())?;
    let mut names: Vec<String> = COLUMNS.iter().map(|name| (*name).to_string()).collect();
    for record in &records {
        for (name, _) in &record.scalars {
            if name.starts_with("evaluation/") && !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names.retain(|name| records.iter().any(|record| record.scalars.iter().any(|(other, _)| other == name)));

    // A row stands for the images at which something was evaluated, or else for every line.
    let evaluated = |images: u64| {
        let at = records.iter().filter(|record| record.images == images);
        at.flat_map(|record| &record.scalars)
            .any(|(name, _)| name.contains('/') && !name.starts_with("time/") && !name.starts_with("memory/"))
    };
    let mut clocks: Vec<u64> = records.iter().map(|record| record.images).collect();
    clocks.dedup();
    if clocks.iter().any(|&images| evaluated(images)) {
        clocks.retain(|&images| evaluated(images));
    }
    let value = |images: u64, name: &str| {
        let at = records.iter().filter(|record| record.images == images);
        at.flat_map(|record| &record.scalars).rfind(|(other, _)| other == name).map(|(_, value)| *value)
    };

    let mut table = format!("| images | {} |\n", names.join(" | "));
    let _ = writeln!(table, "|{}", "---:|".repeat(names.len() + 1));
    for images in clocks {
        let cells = names.iter().map(|name| value(images, name).map_or(String::new(), |value| format!("{value:.4}")));
        let _ = writeln!(table, "| {images} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    let table_path = run.root().join("summary.md");
    write_atomically(&table_path, table.as_bytes())?;

    let series = |name: &str| Series {
        name: name.to_string(),
        points: records
            .iter()
            .flat_map(|record| {
                record.scalars.iter().filter(|(other, _)| other == name).map(|(_, v)| (record.images as f64, *v))
            })
            .filter(|(_, value)| value.is_finite())
            .collect(),
    };
    let plot = Plot {
        title: "loss".into(),
        x_label: "training images".into(),
        series: ["loss", "validation/loss"].into_iter().map(series).filter(|s| !s.points.is_empty()).collect(),
        ..Plot::default()
    };
    let curves = run.root().join("curves.png");
    save(&plot.draw(), &curves)?;

    Ok(newest_picture(&run.root().join("samples")).into_iter().chain([curves, table_path]).collect())
}

/// The sample grid of the largest clock.
fn newest_picture(folder: &Path) -> Option<PathBuf> {
    let pictures = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| {
        let images: u64 = entry.path().file_stem()?.to_str()?.parse().ok()?;
        Some((images, entry.path()))
    });
    pictures.max().map(|(_, path)| path)
}

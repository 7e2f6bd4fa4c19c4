//! Job files: a sweep on an existing engine.
//!
//! Each names the cells by number and leaves the rest to `sinter train --cell`: locks, resuming, what is done already.

mod hyperqueue;
mod kubernetes;
mod slurm;

use std::path::{Path, PathBuf};

pub use hyperqueue::hyperqueue;
pub use kubernetes::kubernetes;
pub use slurm::slurm;

use crate::Index;

/// What a cell's job asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    /// The `sinter` binary where jobs run.
    pub program: String,
    /// CPU cores.
    pub cpus: u32,
    /// GPUs.
    pub gpus: u32,
    /// Memory in GiB.
    pub memory: u32,
    /// Minutes after which a job may be stopped; a cell that is goes on in the next.
    pub minutes: u32,
    /// Jobs at a time; none for as many as the engine allows.
    pub at_a_time: Option<u32>,
    /// Slurm's partition, if one is to be named.
    pub partition: Option<String>,
    /// Container image, for Kubernetes.
    pub image: String,
    /// Claim of the volume that holds the working folder, for Kubernetes.
    pub volume: String,
}

impl Default for Resources {
    fn default() -> Self {
        let (program, image, volume) = ("sinter".into(), "sinter:latest".into(), "sinter".into());
        Self { program, cpus: 2, gpus: 0, memory: 8, minutes: 60, at_a_time: None, partition: None, image, volume }
    }
}

/// A file to write into the sweep's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFile {
    /// Its name.
    pub name: String,
    /// What stands in it.
    pub text: String,
    /// Whether it is a program.
    pub executable: bool,
}

/// Cells in stages: all that a stage needs is in those before. Ranges of numbers.
fn stages(index: &Index) -> Vec<Vec<usize>> {
    let mut stage_of = std::collections::HashMap::new();
    let mut stages: Vec<Vec<usize>> = Vec::new();
    for cell in &index.cells {
        let after = cell.needs.iter().filter_map(|need| stage_of.get(need.as_str())).max();
        let stage: usize = after.map_or(0, |stage: &usize| stage + 1);
        // Results wait for no other result: those without needs may run at once.
        stage_of.insert(cell.hash.as_str(), stage);
        if stages.len() <= stage {
            stages.resize(stage + 1, Vec::new());
        }
        stages[stage].push(cell.number);
    }
    stages
}

/// `0-3,7` of ascending numbers.
fn ranges(numbers: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => parts.push((number, number)),
        }
    }
    let part =
        |(first, last): &(usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

/// A word that shells take as it is.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The folder as job files name it: from the folder where they are submitted.
fn shown(folder: &Path) -> String {
    let folder: PathBuf = folder.components().collect();
    folder.to_string_lossy().into_owned()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

//! HyperQueue: one job file, whose tasks depend on each other.

use std::fmt::Write;
use std::path::Path;

use super::{JobFile, Resources, shown};
use crate::Index;

/// How often a task is started again after a death of its worker.
const CRASHES: u32 = 5;

/// `hyperqueue.toml`, for `hq job submit-file`.
pub fn hyperqueue(index: &Index, folder: &Path, resources: &Resources) -> Vec<JobFile> {
    let folder = shown(folder);
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let number = |hash: &str| index.cells.iter().find(|cell| cell.hash == hash).map(|cell| cell.number);
    let mut text = format!(
        "# hq job submit-file {folder}/hyperqueue.toml, where the sweep was expanded\nname = {}\n",
        quoted(&format!("{}-{}", index.sweep.name, index.tier))
    );
    for cell in &index.cells {
        let needs: Vec<String> = cell.needs.iter().filter_map(|need| number(need)).map(|n| n.to_string()).collect();
        let command = [&resources.program, "train", "--cell", &folder].map(quoted).join(", ");
        let _ = write!(
            text,
            "\n[[task]]\nid = {}\ncommand = [{command}]\ncrash_limit = {CRASHES}\nstdout = {log}\nstderr = {log}\n",
            cell.number,
            log = quoted(&format!("{folder}/hyperqueue-{}.log", cell.number)),
        );
        if !needs.is_empty() {
            let _ = writeln!(text, "deps = [{}]", needs.join(", "));
        }
        let gpus = if resources.gpus > 0 { format!(", \"gpus/nvidia\" = {}", resources.gpus) } else { String::new() };
        let _ = writeln!(text, "[[task.request]]\nresources = {{ \"cpus\" = {}{gpus} }}", resources.cpus);
    }
    vec![JobFile { name: "hyperqueue.toml".into(), text, executable: false }]
}

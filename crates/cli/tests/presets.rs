//! Every preset is a valid configuration that says what it is and what it costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn presets(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            presets(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

#[test]
fn presets_are_valid_and_say_what_they_are() {
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut files = Vec::new();
    presets(&workspace.join("configs"), &mut files);
    files.sort();
    let mut checked = 0;
    // Presets of students say nothing of what they distil.
    let teacher = TempDir::new().unwrap();
    let mut train = Command::new(env!("CARGO_BIN_EXE_sinter"));
    train.args(["train", "configs/toy2d/mlp-flow.toml", "--set", "train.images=500", "--set", "eval.metrics=[]"]);
    train.current_dir(workspace).arg("--run").arg(teacher.path().join("run"));
    assert!(train.output().unwrap().status.success());
    // Nor do those of rewards say what they tune: one that reads captions.
    let mut train = Command::new(env!("CARGO_BIN_EXE_sinter"));
    train.args(["train", "configs/shapes/captions-dit.toml"]).current_dir(workspace);
    let small =
        ["model.width=16", "model.depth=1", "model.heads=2", "model.caption={ width = 8, depth = 1, heads = 2 }"];
    let short = ["train.images=16", "train.batch=16", "eval.metrics=[]", "eval.validation=0", "sample.n=0"];
    small.iter().chain(&short).for_each(|value| {
        train.args(["--set", value]);
    });
    train.arg("--run").arg(teacher.path().join("policy"));
    assert!(train.output().unwrap().status.success());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{} opens with no comment", file.display());
        // Layers are not whole configurations; those that name a run are.
        if !text.lines().any(|line| line.starts_with("name = ")) {
            continue;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_sinter"));
        command.args(["config", "check"]).arg(&file);
        if file.parent().is_some_and(|folder| folder.ends_with("distill")) {
            command.arg("--set").arg(format!("objective.teacher={:?}", teacher.path().join("run")));
        }
        if file.parent().is_some_and(|folder| folder.ends_with("reward")) {
            command.arg("--set").arg(format!("objective.policy={:?}", teacher.path().join("policy")));
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}:\n{error}", file.display());
        checked += 1;
    }
    assert!(checked > 5);
}

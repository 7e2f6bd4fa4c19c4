//! Kill and resume: a run that is killed again and again ends as the run that never was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{digest, killed_ends_as_straight, workspace};
use tempfile::TempDir;

fn train(run: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sinter"));
    command.current_dir(workspace()).args(["train", "configs/smoke.toml", "--threads", "2", "--run"]).arg(run);
    // Enough images for the threads to share them, in training and in sampling.
    for value in ["train.batch=24", "train.micro_batch=16", "eval.n=16", "eval.batch=16"] {
        command.args(["--set", value]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_killed_run_ends_as_the_straight_one() {
    killed_ends_as_straight(train);
}

#[test]
fn a_finished_run_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("run");
    assert!(train(&run).args(["--set", "train.images=80"]).status().unwrap().success());
    let before = (digest(&run), std::fs::read(run.join("metrics.jsonl")).unwrap());
    assert!(train(&run).args(["--set", "train.images=80"]).status().unwrap().success());
    assert_eq!(before, (digest(&run), std::fs::read(run.join("metrics.jsonl")).unwrap()));
}

#[cfg(unix)]
#[test]
fn a_terminated_run_writes_a_checkpoint_and_says_75() {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("run");
    let mut child = train(&run).args(["--set", "train.images=1000000"]).spawn().unwrap();
    while !run.join("metrics.jsonl").exists() || std::fs::metadata(run.join("metrics.jsonl")).unwrap().len() == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(75));
    digest(&run);
}

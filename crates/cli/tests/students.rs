//! Methods that learn from another run, from the command line: killed and resumed, sampled without their teacher, and
//! refused where the teacher changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{killed_ends_as_straight, workspace};
use tempfile::TempDir;

fn sinter(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sinter")).current_dir(workspace()).args(arguments).output().unwrap()
}

fn succeeds(arguments: &[&str]) {
    let output = sinter(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Points in the plane: seconds, and every part of a method takes part.
fn teacher(run: &Path, seed: u64) {
    let (run, seed) = (run.display().to_string(), format!("seed={seed}"));
    let small = ["model.width=16", "model.depth=2", "data.source.labels=true"];
    let short = ["train.images=3000", "optimizer.schedule.warmup=0", "eval.metrics=[]", "sample.n=0", &seed];
    let settings = small.iter().chain(&short).flat_map(|value| ["--set", value]).collect::<Vec<_>>();
    succeeds(&[&["train", "configs/toy2d/mlp-flow.toml", "--run", &run], &settings[..]].concat());
}

/// A student of `teacher` by a preset, in `run`; the cache of pairs lies beside the run.
fn student(preset: &str, teacher: &Path, run: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sinter"));
    command.current_dir(workspace()).args(["train", preset, "--threads", "2", "--run"]).arg(run);
    command.stdout(Stdio::null());
    command.env("XDG_CACHE_HOME", run.with_extension("cache"));
    command.arg("--set").arg(format!("objective.teacher={:?}", teacher.display().to_string()));
    let short = ["train.images=600", "train.batch=60", "train.checkpoint_every=120", "sample.n=20", "eval.every=240"];
    for value in short.iter().chain(&["log.every=60", "eval.validation=40"]).chain(more) {
        command.args(["--set", value]);
    }
    command
}

#[test]
fn students_that_are_killed_end_as_the_straight_ones() {
    let folder = TempDir::new().unwrap();
    let from = folder.path().join("teacher");
    teacher(&from, 0);
    let few = "objective.pairs.images=500";
    let steps = "objective.fake_score.updates=2";
    let levels = "objective.pairs.levels.images=600";
    let consistency = [
        ("cd", &[][..]),
        ("ct", &[levels]),
        ("ict", &[levels]),
        ("ect", &["objective.pairs.stage_images=150"]),
        ("scm", &["objective.warmup=300"]),
    ];
    let others = [("reflow", &[few][..]), ("rfpp", &[few]), ("dmd2", &[steps])];
    for (preset, more) in others.into_iter().chain(consistency) {
        let preset = format!("configs/distill/{preset}.toml");
        killed_ends_as_straight(|run| student(&preset, &from, run, more));
    }
}

#[test]
fn a_student_is_used_without_its_teacher_and_refuses_another() {
    let folder = TempDir::new().unwrap();
    let (from, run) = (folder.path().join("teacher"), folder.path().join("run"));
    teacher(&from, 0);
    let few = "objective.pairs.images=500";
    assert!(
        student("configs/distill/reflow.toml", &from, &run, &[few, "train.images=120"]).status().unwrap().success()
    );

    // Other weights of the same run.
    std::fs::remove_dir_all(&from).unwrap();
    teacher(&from, 1);
    let output = student("configs/distill/reflow.toml", &from, &run, &[few]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("learned from other weights"), "{error}");

    std::fs::remove_dir_all(&from).unwrap();
    let (run, out) = (run.display().to_string(), folder.path().join("samples").display().to_string());
    succeeds(&["sample", &run, "--out", &out, "--n", "4", "--steps", "1"]);

    let gone = format!("objective.teacher={:?}", from.display().to_string());
    let output = sinter(&["train", "configs/distill/reflow.toml", "--set", &gone, "--run", &run]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.contains("objective.teacher") && error.contains("is not a run directory"), "{error}");
}

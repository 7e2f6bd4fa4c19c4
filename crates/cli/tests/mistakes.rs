//! Wrong input: one clear message and the right exit code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn sinter(arguments: &[&str]) -> Output {
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    Command::new(env!("CARGO_BIN_EXE_sinter")).current_dir(workspace).args(arguments).output().unwrap()
}

/// Runs, and checks the code and that standard error holds every expected text and no panic.
fn fails(arguments: &[&str], code: i32, expected: &[&str]) {
    let output = sinter(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for text in expected {
        assert!(error.contains(text), "{text:?} is not in:\n{error}");
    }
    assert!(!error.contains("panicked"), "{error}");
}

/// A run directory of its own, as text.
fn run(folder: &TempDir) -> String {
    folder.path().join("run").display().to_string()
}

const SMOKE: &str = "configs/smoke.toml";

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    let folder = TempDir::new().unwrap();
    let arguments = ["train", SMOKE, "--run", &run(&folder), "--set", "optimizer.learning_rat=1e-3"];
    fails(&arguments, 78, &["learning_rat", "learning_rate"]);
}

#[test]
fn a_wrong_type_is_refused_with_its_place() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("wrong.toml");
    let smoke = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/smoke.toml")).canonicalize().unwrap();
    std::fs::write(&file, format!("extends = [{smoke:?}]\n\n[train]\nbatch = \"eight\"\n")).unwrap();
    fails(&["config", "check", &file.display().to_string()], 78, &["train.batch", "wrong.toml", "integer"]);
}

#[test]
fn a_missing_file_is_named() {
    fails(&["train", "configs/none.toml"], 78, &["configs/none.toml"]);
    fails(&["digest", "runs/none"], 78, &["runs/none"]);
}

#[test]
fn a_batch_of_zero_is_refused() {
    let folder = TempDir::new().unwrap();
    fails(&["train", SMOKE, "--run", &run(&folder), "--set", "train.batch=0"], 78, &["train.batch", "at least 1"]);
}

#[test]
fn an_image_that_the_patch_does_not_divide_is_refused() {
    let folder = TempDir::new().unwrap();
    let model = "model={type=\"dit\",patch=5,width=32,depth=1,heads=2}";
    fails(&["train", SMOKE, "--run", &run(&folder), "--set", model], 78, &["model.patch", "16 x 16", "5 x 5"]);
}

#[test]
fn a_corrupt_archive_is_named() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("digits8x8");
    std::fs::create_dir(&data).unwrap();
    for name in ["digits-images-idx3-ubyte.gz", "digits-labels-idx1-ubyte.gz"] {
        std::fs::write(data.join(name), b"\x1f\x8b\x08\x00 this is not gzip").unwrap();
    }
    let root = format!("data.root={:?}", folder.path().display().to_string());
    let source = "data.source={type=\"card\",name=\"digits8x8\"}";
    let arguments =
        ["train", SMOKE, "--run", &run(&folder), "--set", source, "--set", &root, "--set", "eval.metrics=[]"];
    fails(&arguments, 1, &["digits-images-idx3-ubyte.gz", "sha256"]);
}

#[test]
fn another_runs_directory_is_refused_and_the_difference_named() {
    let folder = TempDir::new().unwrap();
    let run = run(&folder);
    assert!(sinter(&["train", SMOKE, "--run", &run, "--set", "train.images=16"]).status.success());
    fails(&["train", SMOKE, "--run", &run, "--set", "seed=5"], 78, &["seed", "0 there, 5 here", "init_from"]);
}

#[test]
fn a_checkpoint_of_another_config_is_refused() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let train = |run: &PathBuf, seed: &str| {
        sinter(&["train", SMOKE, "--run", &run.display().to_string(), "--set", "train.images=16", "--set", seed])
    };
    assert!(train(&one, "seed=1").status.success());
    assert!(train(&other, "seed=2").status.success());
    std::fs::remove_dir_all(other.join("checkpoints")).unwrap();
    std::fs::rename(one.join("checkpoints"), other.join("checkpoints")).unwrap();
    let arguments =
        ["train", SMOKE, "--run", &other.display().to_string(), "--set", "train.images=32", "--set", "seed=2"];
    fails(&arguments, 1, &["checkpoint", "other settings"]);
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let folder = TempDir::new().unwrap();
    let run = run(&folder);
    assert!(sinter(&["train", SMOKE, "--run", &run, "--set", "train.images=16"]).status.success());
    let file = Path::new(&run).join("checkpoints/16/optimizer.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    fails(&["train", SMOKE, "--run", &run, "--set", "train.images=32"], 1, &["optimizer.safetensors", "damaged"]);
}

#[test]
fn two_processes_do_not_share_a_run() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("run");
    std::fs::create_dir(&root).unwrap();
    let lock = std::fs::File::create(root.join("run.lock")).unwrap();
    lock.lock().unwrap();
    fails(&["train", SMOKE, "--run", &root.display().to_string()], 1, &["in use by another process"]);
}

#[test]
fn a_nan_stops_with_its_step_tensor_and_the_last_good_checkpoint() {
    let folder = TempDir::new().unwrap();
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let run = folder.path().join("run");
    let output = Command::new(env!("CARGO_BIN_EXE_sinter"))
        .current_dir(workspace)
        .env("SINTER_FAULT", "nan@12")
        .args(["train", SMOKE, "--run"])
        .arg(&run)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    for text in ["step 12", "batch.pixels", "checkpoints/80"] {
        assert!(error.contains(text), "{text:?} is not in:\n{error}");
    }
}

#[test]
fn a_nan_is_skipped_where_that_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let output = Command::new(env!("CARGO_BIN_EXE_sinter"))
        .current_dir(workspace)
        .env("SINTER_FAULT", "nan@3")
        .args(["train", SMOKE, "--set", "train.images=64", "--set"])
        .arg("train.on_nonfinite={type=\"skip\",limit=2}")
        .arg("--run")
        .arg(folder.path().join("run"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn unknown_devices_solvers_and_classes_are_named() {
    let folder = TempDir::new().unwrap();
    let run = run(&folder);
    fails(&["train", SMOKE, "--run", &run, "--device", "cdua"], 78, &["cdua", "cuda"]);
    assert!(sinter(&["train", SMOKE, "--run", &run, "--set", "train.images=16"]).status.success());
    let out = folder.path().join("out").display().to_string();
    fails(&["sample", &run, "--out", &out, "--n", "1", "--solver", "hoin"], 78, &["hoin"]);
    fails(&["sample", &run, "--out", &out, "--n", "1", "--class", "red circel"], 78, &["red circle"]);
    fails(&["sample", &run, "--out", &out, "--n", "1", "--checkpoint", "7"], 1, &["checkpoints/7"]);
    fails(&["sample", &run, "--out", &out, "--n", "1", "--ema", "3"], 1, &["half-life 3", "100"]);
}

#[test]
fn benches_say_what_they_cannot_measure() {
    fails(&["bench", "ops", "conv5d"], 78, &["conv5d", "known", "conv2d"]);
    fails(&["bench", "features", "--n", "1"], 78, &["at least 2 images"]);
    fails(&["bench", "train", SMOKE, "--steps", "0", "--profile"], 78, &["at least 1 step"]);
}

//! Weights leave a run and come back as another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const MODEL: &str = r#"model={type="dit",patch=4,width=32,depth=2,heads=2,routing={type="dtr"}}"#;

fn sinter(arguments: &[&str]) -> Output {
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    Command::new(env!("CARGO_BIN_EXE_sinter")).current_dir(workspace).args(arguments).output().unwrap()
}

fn succeeds(arguments: &[&str]) {
    let output = sinter(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A trained run in the form of a DiT with routed tasks, as another run, and out again; the other run samples and trains on.
#[test]
fn an_exported_run_is_imported_as_it_was() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (first, second, file, again) =
        (path("first"), path("second"), path("first.safetensors"), path("again.safetensors"));
    let settings = ["--set", MODEL, "--set", "train.images=16", "--set", "eval.metrics=[]", "--set", "sample.n=0"];
    let smoke = "configs/smoke.toml";
    succeeds(&[&["train", smoke, "--run", &first], &settings[..]].concat());
    succeeds(&["export", &first, "--ema", "raw", "--to", "dtr", "--out", &file]);

    let import = ["import", &file, smoke, "--from", "dtr", "--run", &second];
    succeeds(&[&import, &settings[..]].concat());
    succeeds(&["export", &second, "--ema", "100", "--to", "dtr", "--out", &again]);
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(&again).unwrap());
    succeeds(&["sample", &second, "--n", "2", "--steps", "2", "--out", &path("samples")]);

    // A run that has started is not written over; another network's weights are listed.
    let refused = sinter(&[&import, &settings[..]].concat());
    assert_eq!(refused.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is there already"));
    let third = path("third");
    let other = ["import", &file, smoke, "--from", "dit", "--run", &third, "--set", "eval.metrics=[]"];
    let refused = sinter(&other);
    let message = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{message}");
    assert!(message.contains("one of `adm`, not of `dit`") && !message.contains("panicked"), "{message}");
    assert!(!Path::new(&third).exists(), "nothing is written");

    succeeds(&[&["train", smoke, "--run", &second], &settings[..]].concat());
}

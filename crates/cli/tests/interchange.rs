//! Weights leave a run and come back as another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;
use std::process::{Command, Output};

use sinter_models::parameters::{Array, Arrays};
use sinter_models::weights;
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

/// Four images of `smoke.toml`'s data, the last without a class of its own.
fn inputs() -> Arrays {
    let array = |shape: &[usize], value: fn(usize) -> f32| Array {
        shape: shape.to_vec(),
        values: (0..shape.iter().product()).map(value).collect(),
    };
    [
        ("x".to_owned(), array(&[4, 3, 16, 16], |i| (i as f32).sin())),
        ("t".to_owned(), array(&[4], |i| 250.5 * i as f32)),
        ("y".to_owned(), array(&[4], |i| 16.0 * i as f32)),
    ]
    .into()
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

    // Both are the same network.
    let (given, one, two) = (path("inputs"), path("one"), path("two"));
    weights::write(&given, &inputs(), &Default::default()).unwrap();
    succeeds(&["predict", &first, "--ema", "raw", "--inputs", &given, "--out", &one]);
    succeeds(&["predict", &second, "--inputs", &given, "--out", &two]);
    let (output, _) = weights::read(&one).unwrap();
    assert_eq!(output["output"].shape, [4, 3, 16, 16]);
    assert!(output["output"].values.iter().all(|value| value.is_finite() && *value != 0.0));
    assert_eq!(output, weights::read(&two).unwrap().0);

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

/// Inputs that are not the run's are refused, by the tensor's name.
#[test]
fn a_network_takes_its_own_inputs_only() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (run, given, out) = (path("run"), path("inputs"), path("out"));
    let settings = ["--set", "train.images=8", "--set", "eval.metrics=[]", "--set", "sample.n=0"];
    succeeds(&[&["train", "configs/smoke.toml", "--run", &run], &settings[..]].concat());

    let refused = |change: fn(&mut Arrays), expected: &str| {
        let mut inputs = inputs();
        change(&mut inputs);
        weights::write(&given, &inputs, &Default::default()).unwrap();
        let output = sinter(&["predict", &run, "--inputs", &given, "--out", &out]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{message}");
        assert!(message.contains(expected) && !message.contains("panicked"), "{message}");
    };
    refused(|inputs| drop(inputs.remove("t")), "tensor t is missing");
    refused(
        |inputs| drop(inputs.insert("z".into(), Array { shape: vec![1], values: vec![0.0] })),
        "tensor z is not one of x, t and y",
    );
    refused(|inputs| inputs.get_mut("x").unwrap().shape = vec![4, 3, 8, 32], "not [b, 3, 16, 16]");
    refused(|inputs| drop(inputs.insert("t".into(), Array { shape: vec![1], values: vec![0.0] })), "t [1] is not [4]");
    refused(|inputs| inputs.get_mut("y").unwrap().values[2] = 2.5, "2.5 is not a class");
    refused(|inputs| inputs.get_mut("y").unwrap().values[2] = 49.0, "49 is not a class");
    assert!(!Path::new(&out).exists());
}

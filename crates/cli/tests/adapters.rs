//! Adapters in a run: trained beside frozen weights of another run, resumed, merged and exported.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;
use std::process::{Command, Output};

use sinter_models::adapters::is_adapter;
use sinter_models::parameters::Arrays;
use sinter_models::weights;
use tempfile::TempDir;

const SMOKE: &str = "configs/smoke.toml";
const MODEL: &str = r#"model={type="dit",patch=4,width=32,depth=2,heads=2}"#;
const SETTINGS: [&str; 8] =
    ["--set", MODEL, "--set", "eval.metrics=[]", "--set", "sample.n=0", "--set", "optimizer.schedule.warmup=0"];
const ADAPTERS: &str = r#"adapters={rules=[{layers="**.attention.*",type="low_rank",rank=2,alpha=4.0}]}"#;

fn sinter(arguments: &[&str]) -> Output {
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    Command::new(env!("CARGO_BIN_EXE_sinter")).current_dir(workspace).args(arguments).output().unwrap()
}

fn succeeds(arguments: &[&str]) -> Vec<u8> {
    let output = sinter(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Trains to `images` with further settings.
fn train(run: &str, images: u64, more: &[&str]) -> Vec<u8> {
    let images = format!("train.images={images}");
    let further = more.iter().flat_map(|value| ["--set", value]).collect::<Vec<_>>();
    succeeds(&[&["train", SMOKE, "--run", run, "--set", &images], &SETTINGS[..], &further].concat())
}

fn tensors(run: &str, images: u64, file: &str) -> Arrays {
    weights::read(Path::new(run).join(format!("checkpoints/{images}/{file}.safetensors"))).unwrap().0
}

#[test]
fn a_run_of_adapters_trains_resumes_and_is_merged() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (base, run, straight, merged) = (path("base"), path("run"), path("straight"), path("merged"));
    train(&base, 16, &[]);
    let from = format!("train.init_from={base:?}");
    train(&run, 16, &[ADAPTERS, &from]);

    // The weights are those of the base, the adapters have moved, and they alone have moments and averages.
    let (before, after) = (tensors(&base, 16, "network"), tensors(&run, 16, "network"));
    let (adapters, rest): (Arrays, Arrays) = after.into_iter().partition(|(name, _)| is_adapter(name));
    assert_eq!(rest, before);
    assert_eq!(adapters.len(), 2 * 2 * 2, "down and up of two layers in two blocks");
    assert!(adapters.values().all(|array| array.values.iter().any(|value| *value != 0.0)));
    assert!(tensors(&run, 16, "average-100").keys().eq(adapters.keys()));
    assert!(tensors(&run, 16, "optimizer").keys().all(|name| is_adapter(name)));
    assert_eq!(tensors(&run, 16, "optimizer").len(), 2 * adapters.len());

    train(&run, 32, &[ADAPTERS, &from]);
    train(&straight, 32, &[ADAPTERS, &from]);
    assert_eq!(succeeds(&["digest", &run]), succeeds(&["digest", &straight]), "resumed and not");

    // Without the adapters it is another run; an empty list takes off those of a layer below.
    for none in [&[][..], &["--set", ADAPTERS, "--set", "adapters.rules=[]"]] {
        let refused = sinter(&[&["train", SMOKE, "--run", &run, "--set", &from], none, &SETTINGS[..]].concat());
        let message = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(78), "{message}");
        assert!(message.contains("adapters: {") && message.contains("null here"), "{message}");
    }

    // Merged into a run of its own and then exported, or exported at once.
    succeeds(&["merge", &run, "--ema", "raw", "--run", &merged]);
    assert!(tensors(&merged, 0, "network").keys().eq(before.keys()));
    let (at_once, by_way) = (path("at-once.safetensors"), path("by-way.safetensors"));
    succeeds(&["export", &run, "--ema", "raw", "--to", "dit", "--out", &at_once]);
    succeeds(&["export", &merged, "--to", "dit", "--out", &by_way]);
    assert_eq!(std::fs::read(&at_once).unwrap(), std::fs::read(&by_way).unwrap());
    for run in [&run, &merged] {
        succeeds(&["sample", run, "--n", "2", "--steps", "2", "--out", &path("samples")]);
    }
    let refused = sinter(&["merge", &merged, "--run", &path("again")]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("merged has no adapters"));

    // Weights of another implementation are a base, too.
    let imported = path("imported");
    let import = ["import", &at_once, SMOKE, "--from", "dit", "--run", &imported, "--set", ADAPTERS];
    succeeds(&[&import, &SETTINGS[..]].concat());
    train(&imported, 16, &[ADAPTERS]);
}

#[test]
fn a_pattern_without_a_layer_is_refused_where_it_stands() {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("run").display().to_string();
    let misspelled = ADAPTERS.replace("attention", "attn");
    for arguments in [&["config", "check", SMOKE][..], &["train", SMOKE, "--run", &run]] {
        let refused = sinter(&[arguments, &SETTINGS, &["--set", &misspelled]].concat());
        let message = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(78), "{message}");
        for text in ["adapters.rules[0].layers", "`**.attn.*`", "blocks.*.attention.qkv"] {
            assert!(message.contains(text), "{text:?} is not in:\n{message}");
        }
    }
}

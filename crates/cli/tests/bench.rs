//! The measuring commands, at sizes that take seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// Runs `sinter bench`, and gives what it wrote and what it printed.
fn bench(arguments: &[&str]) -> (Value, String) {
    let folder = TempDir::new().unwrap();
    let json = folder.path().join("report.json");
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sinter"));
    command.current_dir(workspace).arg("bench").args(arguments).arg("--json").arg(&json);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (
        serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

const SMOKE: &str = "configs/smoke.toml";

#[test]
fn training_is_measured_with_its_profile() {
    let (report, text) = bench(&["train", SMOKE, "--steps", "1", "--profile"]);
    assert_eq!(report["name"], "smoke");
    assert_eq!(report["steps_ms"].as_array().unwrap().len(), 1);
    assert_eq!(report["train"]["median_ms"], report["steps_ms"][0]);
    // Four steps of Heun, the last of one evaluation.
    assert_eq!((&report["sample_images"], &report["evaluations"]), (&4.into(), &7.into()));
    assert!(report["sample"]["images_per_second"].as_f64().unwrap() > 0.0);

    let profile = &report["profile"];
    let rows = profile["operations"].as_array().unwrap();
    let row = |operation: &str, pass: &str| {
        rows.iter().find(|row| row["operation"] == operation && row["pass"] == pass).unwrap_or_else(|| panic!("{text}"))
    };
    for (operation, pass) in [("conv2d", "forward"), ("conv2d", "backward"), ("adamw", "update"), ("ema", "update")] {
        let row = row(operation, pass);
        assert!(row["calls"].as_f64().unwrap() >= 1.0 && row["ms"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["read_megabytes"].as_f64().unwrap() > 0.0, "{row}");
    }
    assert!(row("conv2d", "forward")["allocations"].as_f64().unwrap() >= 1.0);
    assert!(profile["allocations"].as_f64().unwrap() > 100.0);
    assert!(text.contains("outside (Burn's operations, waiting)"), "{text}");
}

#[test]
fn a_cold_start_is_the_first_step_alone() {
    let (report, _) = bench(&["train", SMOKE, "--steps", "0", "--composed"]);
    assert!(report["first_step_ms"].as_f64().unwrap() > 0.0);
    assert!(report["train"].is_null() && report["sample"].is_null() && report["profile"].is_null());
    assert_eq!(report["steps_ms"], Value::Array(Vec::new()));
    #[cfg(target_os = "linux")]
    assert!(report["resident_gib"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_way_to_features_is_measured_stage_by_stage() {
    let (report, text) = bench(&["features", "--sizes", "8", "--n", "3", "--rounds", "2", "--threads", "1"]);
    assert_eq!((&report["threads"], &report["images"], &report["rounds"]), (&1.into(), &3.into(), &2.into()));
    let stages = report["stages"].as_array().unwrap();
    let speed = |name: &str| {
        let stage = stages.iter().find(|stage| stage["stage"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
        assert_eq!(stage["pixels"], 8);
        let (speed, median) = (stage["images_per_second"].as_f64().unwrap(), stage["median_ms"].as_f64().unwrap());
        assert!((speed * median - 3000.0).abs() < 1e-6, "{stage}");
        speed
    };
    assert_eq!(stages.len(), 7);
    for name in ["decode", "resize_tensorflow", "resize_pytorch", "inception", "inception_pass"] {
        assert!(speed(name) > 0.0);
    }
    assert!(speed("classifier") > speed("inception") && speed("classifier_pass") > 0.0, "{text}");
    assert!(text.contains("8 x 8") && text.contains("Inception-v3 alone"), "{text}");
}

#[test]
fn operations_are_measured_beside_the_ceilings() {
    let (report, text) = bench(&["ops", "silu", "--threads", "1"]);
    assert_eq!(report["threads"], 1);
    assert!(report["ceiling"]["gflops"].as_f64().unwrap() > 0.0);
    assert!(report["ceiling"]["copy_gbs"].as_f64().unwrap() > 0.0);
    let [silu] = report["operations"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&silu["operation"], &silu["sizes"]["elements"]), (&"silu".into(), &(64 * 64 * 768).into()));
    for pass in ["forward", "both"] {
        assert!(silu[pass]["median_ms"].as_f64().unwrap() > 0.0, "{silu}");
    }
    assert!(silu["share_forward"].as_f64().unwrap() > 0.0);
    assert!(text.contains("silu 64 x 64 x 768"), "{text}");
}

//! The experiments of this repository say what they must.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::path::Path;

use sinter_experiments::{Sweep, Tune, check, check_tune, sweep_files, tune_files};

#[test]
fn every_experiment_is_sound() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments"));
    let mut names = BTreeSet::new();
    for file in sweep_files(folder).unwrap() {
        assert!(std::fs::read_to_string(&file).unwrap().starts_with("# "), "{} opens with no comment", file.display());
        let sweep = Sweep::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let problems = check(&sweep);
        assert!(problems.is_empty(), "{}:\n{problems}", file.display());
        assert_eq!(file.parent().unwrap().file_name().unwrap().to_str(), Some(sweep.name.as_str()));
        assert!(names.insert(sweep.name));
    }
    assert!(names.len() >= 10, "{names:?}");
}

#[test]
fn every_search_is_sound() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments"));
    let files = tune_files(folder).unwrap();
    assert!(!files.is_empty());
    for file in files {
        assert!(std::fs::read_to_string(&file).unwrap().starts_with("# "), "{} opens with no comment", file.display());
        let tune = Tune::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let problems = check_tune(&tune);
        assert!(problems.is_empty(), "{}:\n{problems}", file.display());
        assert_eq!(file.file_stem().unwrap().to_str(), Some(tune.name.as_str()));
        for tier in ["smoke", "cpu"] {
            assert!(tune.trials(tier).is_ok(), "{}: {tier}", file.display());
        }
    }
}

//! `sinter model summary`: presets alone, runs without their data, and flags.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;
use std::process::{Command, Output};

/// `sinter model summary` with these arguments.
fn summary(arguments: &[&str]) -> Output {
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sinter"));
    command.current_dir(workspace).args(["model", "summary"]).args(arguments).output().unwrap()
}

/// What it prints.
fn printed(arguments: &[&str]) -> String {
    let output = summary(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_preset_says_its_published_size() {
    let text = printed(&["configs/models/dit-s-2.toml"]);
    for line in
        ["32,865,056 trained parameters (32,963,360 with fixed positions)", "6.056 GMACs an image (6,055,673,856)"]
    {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in:\n{text}");
    }
    assert!(!text.contains("active on an image") && !text.contains("not used"), "{text}");
}

#[test]
fn experts_are_stored_and_active() {
    let text = printed(&["configs/models/switch-dit-s-2.toml", "--set", "model.depth=2"]);
    // Of each block one expert is idle.
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("with fixed positions")).collect();
    let number = |line: &str| line.split(' ').next().unwrap().replace(',', "").parse::<usize>().unwrap();
    assert_eq!(number(lines[0]) - number(lines[1]), 2 * (384 * 384 + 384), "{text}");
    assert!(lines[1].contains("of them active on an image"), "{text}");
}

#[test]
fn the_table_of_a_small_network() {
    let arguments =
        ["configs/toy2d/mlp-flow.toml", "--set", "model.depth=1", "--set", "model.width=16", "--batch", "64"];
    insta::assert_snapshot!("model", printed(&arguments));
}

#[test]
fn data_need_not_be_there_and_flags_take_their_place() {
    let config = "configs/fashion-mnist/dit-flow.toml";
    let tokens = |arguments: &[&str]| {
        let text = printed(&[&[config, "--set", "model.depth=1", "--set", "data.root=nowhere"], arguments].concat());
        text.lines().find(|line| line.starts_with("patch_embedding")).unwrap().to_owned()
    };
    // Tokens of 4 x 4 pixels: of the card's 28 x 28 padded to 32 x 32, then of what the flags say.
    assert!(tokens(&[]).contains(" 64 x 192 "));
    assert!(tokens(&["--shape", "3,64,32", "--classes", "5"]).contains(" 128 x 192 "));
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("model.toml");
    std::fs::write(&file, "[model]\ntype = \"mlp\"\n").unwrap();
    let file = file.display().to_string();
    let dit = "configs/models/dit-s-2.toml";
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (&[&file], 78, &["model.toml", "--shape C,H,W"]),
        (&[&file, "--shape", "4,32"], 2, &["4,32", "three sizes"]),
        (&[&file, "--classes", "4"], 2, &["--shape"]),
        (&[dit, "--shape", "4,33,32"], 78, &["model.patch", "33 x 32", "dit-s-2.toml"]),
        (&[dit, "--set", "model.widht=3"], 78, &["model.widht", "width"]),
        (&[dit, "--set", "modl.width=3"], 78, &["modl", "model"]),
    ];
    for (arguments, code, expected) in cases {
        let output = summary(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        for text in expected {
            assert!(error.contains(text), "{text:?} is not in:\n{error}");
        }
    }
}

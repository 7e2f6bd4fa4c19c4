//! The help texts, as users see them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::process::Command;

#[test]
fn help_texts_are_as_recorded() {
    let commands: [&[&str]; 37] = [
        &[],
        &["train"],
        &["sample"],
        &["eval"],
        &["eval", "run"],
        &["eval", "images"],
        &["eval", "stats"],
        &["eval", "compare"],
        &["eval", "probe"],
        &["digest"],
        &["model"],
        &["model", "summary"],
        &["config"],
        &["config", "check"],
        &["config", "show"],
        &["config", "schema"],
        &["data"],
        &["data", "prepare"],
        &["data", "show"],
        &["devices"],
        &["bench"],
        &["bench", "train"],
        &["bench", "ops"],
        &["bench", "features"],
        &["bench", "experts"],
        &["sweep"],
        &["sweep", "list"],
        &["sweep", "check"],
        &["sweep", "expand"],
        &["sweep", "run"],
        &["sweep", "emit"],
        &["tune"],
        &["report"],
        &["runs"],
        &["runs", "list"],
        &["runs", "compare"],
        &["runs", "gc"],
    ];
    let mut text = String::new();
    for command in commands {
        let output = Command::new(env!("CARGO_BIN_EXE_sinter")).args(command).arg("--help").output().unwrap();
        assert!(output.status.success());
        text += &format!(
            "$ sinter {}\n{}\n",
            [command, &["--help"]].concat().join(" "),
            String::from_utf8_lossy(&output.stdout)
        );
    }
    insta::assert_snapshot!("help", text);
}

/// As in `sinter --help | head`, whose reader goes before all is said.
#[cfg(unix)]
#[test]
fn a_reader_that_has_gone_is_no_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let sweep = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/switch-dit");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sinter"));
    let output = command.args(["sweep", "check", sweep]).stdout(writer).stderr(std::process::Stdio::piped()).output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(said.is_empty(), "{said}");
}

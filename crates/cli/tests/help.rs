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

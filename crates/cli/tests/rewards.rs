//! Policies tuned to rewards from the command line: killed and resumed with every way of exploring and with a scorer of
//! one's own, sampled without their policy, and refused where a reward does not fit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{killed_ends_as_straight, workspace};
use tempfile::TempDir;

fn sinter(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sinter")).current_dir(workspace()).args(arguments).output().unwrap()
}

fn succeeds(arguments: &[&str]) {
    let output = sinter(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Points in the plane: seconds.
fn policy(run: &Path) {
    let run = run.display().to_string();
    let settings = ["model.width=16", "model.depth=2", "data.source.labels=true", "train.images=3000"];
    let more = ["optimizer.schedule.warmup=0", "eval.metrics=[]", "sample.n=0"];
    let settings = settings.iter().chain(&more).flat_map(|value| ["--set", value]).collect::<Vec<_>>();
    succeeds(&[&["train", "configs/toy2d/mlp-flow.toml", "--run", &run], &settings[..]].concat());
}

/// Nearness to a point.
const TARGET: &str = "objective.rewards=[{ type = \"target\", center = [0.5, 0.0] }]";

/// The policy tuned by a preset, in `run`.
fn tuned(preset: &str, policy: &Path, run: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sinter"));
    let preset = format!("configs/reward/{preset}.toml");
    command.current_dir(workspace()).args(["train", &preset, "--threads", "2", "--run"]).arg(run);
    command.arg("--set").arg(format!("objective.policy={:?}", policy.display().to_string()));
    let short = ["train.images=240", "train.batch=24", "train.micro_batch=24", "train.checkpoint_every=48"];
    let often = ["sample.every=96", "sample.n=8", "eval.every=96", "eval.validation=16", "log.every=24"];
    for value in short.iter().chain(&often).chain(&[TARGET]).chain(more) {
        command.args(["--set", value]);
    }
    command
}

#[test]
fn policies_that_are_killed_end_as_the_straight_ones() {
    let folder = TempDir::new().unwrap();
    let from = folder.path().join("policy");
    policy(&from);
    let scorer = folder.path().join("scorer.sh");
    // Minus the squared distance of the first coordinate from 0.5, line by line.
    let script = r#"while read -r line; do printf '%s\n' "$line" | awk '{
        n = split($0, image, "\"pixels\":\\["); scores = ""
        for (i = 2; i <= n; i++) { x = image[i] + 0; scores = scores (i > 2 ? "," : "") (-(x - 0.5) * (x - 0.5)) }
        print "{\"scores\": [" scores "]}"
    }'; done"#;
    std::fs::write(&scorer, script).unwrap();
    let external = format!(
        "objective.rewards=[{{ type = \"external\", command = [\"sh\", {:?}] }}]",
        scorer.display().to_string()
    );
    let random = "objective.exploration={ type = \"window\", width = 3, motion = { type = \"random\" } }";
    let short = "objective.steps=6";
    for (preset, more) in [
        ("flow-grpo", &["objective.group=12", short, "objective.validation_steps=8"][..]),
        ("dance-grpo", &[short, external.as_str()]),
        ("mix-grpo", &["objective.steps=8", random]),
        ("g2rpo", &[short, "objective.exploration.steps=[0, 2]"]),
        ("g2rpo-script", &[short, "objective.exploration.steps=[1, 0]", "objective.exploration.update=each_step"]),
        ("ddpo", &[short, "objective.history={ samples = 4, minimum = 3 }"]),
    ] {
        killed_ends_as_straight(|run| tuned(preset, &from, run, more));
    }
}

#[test]
fn a_tuned_policy_is_used_without_the_one_that_it_was() {
    let folder = TempDir::new().unwrap();
    let (from, run) = (folder.path().join("policy"), folder.path().join("run"));
    policy(&from);
    assert!(tuned("flow-grpo", &from, &run, &["objective.steps=4"]).output().unwrap().status.success());
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    for name in
        ["reward/target", "validation/reward/target", "ratio/outside", "divergence/reference", "cost/evaluations"]
    {
        assert!(log.contains(&format!("\"{name}\"")), "{name}");
    }
    std::fs::remove_dir_all(&from).unwrap();
    let [run, out, merged] = ["run", "samples", "merged"].map(|name| folder.path().join(name).display().to_string());
    let solver = "{type = \"stochastic\", kernel = {type = \"constant\"}}";
    succeeds(&["sample", &run, "--out", &out, "--n", "4", "--steps", "4", "--solver", solver]);
    // Its adapters go into the weights.
    succeeds(&["merge", &run, "--run", &merged]);
    succeeds(&["sample", &merged, "--out", &out, "--n", "4"]);
}

#[test]
fn a_reward_that_does_not_fit_is_refused() {
    let folder = TempDir::new().unwrap();
    let from = folder.path().join("policy");
    policy(&from);
    let refused = |more: &str| {
        // Each in a run of its own: other rewards are another run.
        let run = TempDir::new().unwrap();
        let output = tuned("dance-grpo", &from, &run.path().join("run"), &[more]).output().unwrap();
        assert!(!output.status.success());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, error) = refused("objective.rewards=[{ type = \"compositional\" }]");
    assert!(code == Some(78) || code == Some(1), "{code:?}: {error}");
    assert!(error.contains("scores captions, which these data do not have"), "{error}");
    let (_, error) = refused("objective.rewards=[{ type = \"external\", command = [\"sh\", \"-c\", \"exit 7\"] }]");
    assert!(error.contains("reward `external`") && error.contains("exit status: 7"), "{error}");
    let (_, error) = refused("objective.rewards=[{ type = \"classifier\", run = \"runs/nowhere\" }]");
    assert!(error.contains("runs/nowhere") && error.contains("is not a run"), "{error}");
}

//! Kill and resume: a run that is killed again and again ends as the run that never was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Kills in one run; the environment variable asks for more.
const KILLS: &str = "SINTER_KILLS";

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn train(run: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sinter"));
    command.current_dir(workspace()).args(["train", "configs/smoke.toml", "--threads", "2", "--run"]).arg(run);
    // Enough images for the threads to share them, in training and in sampling.
    for value in ["train.batch=24", "train.micro_batch=16", "eval.n=16", "eval.batch=16"] {
        command.args(["--set", value]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn digest(run: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sinter")).arg("digest").arg(run).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of `metrics.jsonl` without what depends on the clock on the wall.
fn metrics(run: &Path) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        object.retain(|key, _| !key.starts_with("time/") && !key.starts_with("memory/"));
        object
    };
    text.lines().map(line).collect()
}

/// A number in [0, 1) that differs from call to call.
fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn a_killed_run_ends_as_the_straight_one() {
    let folder = TempDir::new().unwrap();
    let straight = folder.path().join("straight");
    let began = std::time::Instant::now();
    assert!(train(&straight).status().unwrap().success());
    let duration = began.elapsed();

    let kills: u32 = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(3);
    let killed = folder.path().join("killed");
    let mut done = 0;
    while done < kills {
        let mut child = train(&killed).spawn().unwrap();
        // Any moment of the run: start, update, sample grid, evaluation, checkpoint.
        let moment = duration.mul_f64(1.2 * chance() / f64::from(kills).sqrt());
        std::thread::sleep(moment.max(Duration::from_millis(5)));
        let finished: Option<ExitStatus> = child.try_wait().unwrap();
        if finished.is_some() {
            // It ended before the blow: begin another run.
            std::fs::remove_dir_all(&killed).unwrap();
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        done += 1;
    }
    assert!(train(&killed).status().unwrap().success());

    assert_eq!(digest(&straight), digest(&killed), "weights, averages, moments and clock");
    assert_eq!(metrics(&straight), metrics(&killed));
}

#[test]
fn a_finished_run_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("run");
    assert!(train(&run).args(["--set", "train.images=80"]).status().unwrap().success());
    let before = (digest(&run), std::fs::read(run.join("metrics.jsonl")).unwrap());
    assert!(train(&run).args(["--set", "train.images=80"]).status().unwrap().success());
    assert_eq!(before, (digest(&run), std::fs::read(run.join("metrics.jsonl")).unwrap()));
}

#[cfg(unix)]
#[test]
fn a_terminated_run_writes_a_checkpoint_and_says_75() {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("run");
    let mut child = train(&run).args(["--set", "train.images=1000000"]).spawn().unwrap();
    while !run.join("metrics.jsonl").exists() || std::fs::metadata(run.join("metrics.jsonl")).unwrap().len() == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(75));
    digest(&run);
}

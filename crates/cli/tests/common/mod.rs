//! What tests that start the binary share: folders to work in, and runs that are killed and go on.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Kills in one run; the environment variable asks for more.
const KILLS: &str = "SINTER_KILLS";

pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

pub(crate) fn digest(run: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sinter")).arg("digest").arg(run).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of `metrics.jsonl` without what depends on the clock on the wall.
pub(crate) fn metrics(run: &Path) -> Vec<serde_json::Map<String, serde_json::Value>> {
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

/// Kills a run again and again, at any moment, and lets it go on: it must end as the run that never was killed, weights,
/// averages, moments, clock and log.
///
/// `train` gives the command that trains the run in a directory.
pub(crate) fn killed_ends_as_straight(train: impl Fn(&Path) -> Command) {
    let train = |run: &Path| {
        let mut command = train(run);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let folder = TempDir::new().unwrap();
    let straight = folder.path().join("straight");
    let began = Instant::now();
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

/// A folder with a file `trial.toml`, in which the program works.
pub(crate) struct World {
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new(trial: &str) -> Self {
        let world = Self { folder: TempDir::new().unwrap() };
        std::fs::write(world.file(), trial).unwrap();
        world
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("trial.toml")
    }

    pub(crate) fn sinter(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sinter"));
        command.current_dir(self.folder.path()).args(arguments);
        command
    }
}

/// All that a program wrote.
pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

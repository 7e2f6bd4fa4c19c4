//! Sweeps from the command line, on runs of a second or less.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{World, digest, metrics, text, workspace};
use serde_json::Value;

/// Points in the plane, a perceptron: what is asked of cells is that they end, not what they learn.
fn sweep(images: u64, rates: &str) -> String {
    format!(
        r#"# A trial.
name = "trial"
title = "Trial"
question = "Does it run?"
paper = {{ title = "A paper", authors = "Somebody 2024", reference = "arXiv 0000.00000" }}
seeds = [1, 2, 3]

[base]
extends = {:?}
train = {{ images = {images}, batch = 50, checkpoint_every = 500 }}
sample = {{ n = 50, sampler.steps = 4 }}
eval = {{ every = {images}, validation = 100, n = 100, batch = 100, reference_images = 100 }}
log = {{ every = 500, tensorboard = false }}
device.threads = 1

[[axes]]
type = "grid"
name = "rate"
key = "optimizer.learning_rate"
values = {rates}

[tiers.smoke]
cost = {{ minutes = 0.1, on = "two CPU cores" }}

[tiers.cpu]
cost = {{ minutes = 0.1, on = "two CPU cores" }}

[[metrics]]
name = "distance"
title = "sliced Wasserstein distance"
from = {{ type = "record", metric = "SW2[" }}
better = "less"

[[claims]]
name = "order"
statement = "The first rate is better."
table = "Table 1"
measured = "FID-50k"
numbers = [{{ of = "first", cell = {{ rate = "0.001" }}, value = 1.5 }}]
expect = {{ type = "less", metric = "distance", cell = {{ rate = "0.001" }}, than = {{ rate = "0.0001" }} }}
seeds = 3
"#,
        workspace().join("configs/toy2d/mlp-flow.toml")
    )
}

impl World {
    fn run(&self, jobs: &str) -> Command {
        self.sinter(&["sweep", "run", "trial.toml", "--tier", "smoke", "-j", jobs])
    }

    fn expand(&self) {
        let output = self.sinter(&["sweep", "expand", "trial.toml", "--tier", "smoke"]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }

    /// The folders of all cells with their labels.
    fn cells(&self) -> Vec<(PathBuf, String)> {
        let index = fs::read(self.folder.path().join("runs/sweeps/trial/smoke/index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let cell = |cell: &Value| {
            let folder = self.folder.path().join("runs/cells").join(cell["hash"].as_str().unwrap());
            (folder, cell["label"].as_str().unwrap().to_owned())
        };
        index["cells"].as_array().unwrap().iter().map(cell).collect()
    }
}

/// The events of a cell's attempts, with the processes that worked.
fn attempts(folder: &Path) -> Vec<(String, u32)> {
    let text = fs::read_to_string(folder.join("attempts.jsonl")).unwrap_or_default();
    let attempt = |line: &str| {
        let attempt: Value = serde_json::from_str(line).unwrap();
        (attempt["event"].as_str().unwrap().to_owned(), attempt["process"].as_u64().unwrap() as u32)
    };
    text.lines().map(attempt).collect()
}

fn times(folder: &Path, event: &str) -> usize {
    attempts(folder).iter().filter(|(other, _)| other == event).count()
}

/// The process that started another.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn three_pools_on_one_folder_and_one_is_killed_in_the_middle_of_a_cell() {
    let world = World::new(&sweep(4000, "[1e-3, 1e-4]"));
    let straight = World::new(&sweep(4000, "[1e-3, 1e-4]"));
    world.expand();
    let start = || -> Child {
        // A group of its own: one blow kills the pool and the process that it started.
        world.run("1").process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut pools = [start(), start(), start()];
    let since = Instant::now();
    let (victim, cell) = 'found: loop {
        for (folder, _) in world.cells() {
            // In the middle: there is a checkpoint to go on from.
            if let Some((event, process)) = attempts(&folder).last()
                && event == "begin"
                && folder.join("checkpoints/latest").exists()
                && let Some(place) = pools.iter().position(|pool| parent(*process) == Some(pool.id()))
            {
                break 'found (place, folder);
            }
        }
        assert!(since.elapsed() < Duration::from_secs(120), "no pool worked");
        std::thread::sleep(Duration::from_millis(2));
    };
    let group = format!("-{}", pools[victim].id());
    assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
    for (place, pool) in pools.iter_mut().enumerate() {
        assert_eq!(pool.wait().unwrap().success(), place != victim);
    }
    let cells = world.cells();
    assert_eq!(cells.len(), 6);
    for (folder, label) in &cells {
        assert_eq!(times(folder, "done"), 1, "{label}");
        // The blow may have come just after its cell had ended.
        let begun = times(folder, "begin");
        assert!(begun == 1 || begun == 2 && *folder == cell, "{label}: {begun}");
    }
    // The cell that was killed ends as one that never was.
    straight.expand();
    let (same, _) = straight.cells().into_iter().find(|(folder, _)| folder.file_name() == cell.file_name()).unwrap();
    assert!(straight.sinter(&["train", "--cell"]).arg(&same).output().unwrap().status.success());
    assert_eq!((digest(&cell), metrics(&cell)), (digest(&same), metrics(&same)));
}

#[test]
fn a_failing_cell_is_told_others_go_on_and_nothing_is_done_twice() {
    let world = World::new(&sweep(1000, "[1e-3, 1e-4]"));
    world.expand();
    let (broken, label) = &world.cells()[4];
    // A NaN in one cell alone: its environment is that of all, so its own directory is in the way instead.
    fs::create_dir_all(broken.join("metrics.jsonl")).unwrap();
    let output = world.run("2").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let told = text(&output);
    assert!(told.contains("5 done, 1 failed") && told.contains(&format!("{label}: failed")), "{told}");
    assert!(told.contains("metrics.jsonl") && told.contains("log.txt"), "{told}");
    let failed: Value = serde_json::from_slice(&fs::read(broken.join("failed.json")).unwrap()).unwrap();
    assert!(failed["message"].as_str().unwrap().contains("metrics.jsonl"), "{failed}");

    // Put right: that cell alone is run.
    fs::remove_dir(broken.join("metrics.jsonl")).unwrap();
    let output = world.run("2").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("6 done (5 before), 0 failed"), "{}", text(&output));
    for (folder, label) in world.cells() {
        assert_eq!(times(&folder, "done"), 1, "{label}");
        assert_eq!(times(&folder, "begin"), if folder == *broken { 2 } else { 1 }, "{label}");
    }
    let listed = text(&world.sinter(&["sweep", "list", "trial.toml"]).output().unwrap());
    assert!(listed.lines().any(|line| line.contains("smoke") && line.contains("6 done")), "{listed}");
}

#[test]
fn numbers_that_are_not_finite_fail_a_cell() {
    let world = World::new(&sweep(500, "[1e-3, 1e-4]"));
    let output = world.run("2").env("SINTER_FAULT", "nan@3").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output);
    assert!(told.contains("0 done, 6 failed") && told.contains("step 3 (image 150)"), "{told}");
    let report = world.sinter(&["report", "trial.toml"]).output().unwrap();
    assert!(report.status.success());
    let page = fs::read_to_string(world.folder.path().join("report.html")).unwrap();
    assert!(page.contains("Failed cells") && page.contains("is not finite"));
}

#[test]
fn an_array_job_finds_its_cell_and_a_report_shows_pictures() {
    // Several lines of the log: a curve has more than one point.
    let world = World::new(&sweep(500, "[1e-3, 1e-4]").replace("log = { every = 500", "log = { every = 100"));
    let emitted = world.sinter(&["sweep", "emit", "slurm", "trial.toml", "--tier", "smoke"]).output().unwrap();
    assert!(emitted.status.success(), "{}", text(&emitted));
    let script = fs::read_to_string(world.folder.path().join("runs/sweeps/trial/smoke/slurm-0.sh")).unwrap();
    assert!(script.contains("#SBATCH --array=0-5\n"), "{script}");
    let folder = "runs/sweeps/trial/smoke";
    for number in 0..6 {
        // As an engine would; the last by its number.
        let output = match number {
            5 => world.sinter(&["train", "--cell", &format!("{folder}/5")]).output().unwrap(),
            _ => {
                let mut command = world.sinter(&["train", "--cell", folder]);
                command.env("SLURM_ARRAY_TASK_ID", number.to_string()).output().unwrap()
            }
        };
        assert!(output.status.success(), "{}", text(&output));
    }
    let without = world.sinter(&["train", "--cell", folder]).output().unwrap();
    assert_eq!(without.status.code(), Some(78), "{}", text(&without));
    assert!(
        text(&world.sinter(&["train", "--cell", &format!("{folder}/0")]).output().unwrap()).contains("done already")
    );

    let report = world.sinter(&["report", folder, "--out", "out/page.html"]).output().unwrap();
    assert!(report.status.success(), "{}", text(&report));
    let page = fs::read_to_string(world.folder.path().join("out/page.html")).unwrap();
    for part in ["6 of 6 cells done", "data:image/png;base64,", "<polyline"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains("The first rate is better.") && page.contains("SW2["));
    let table = fs::read_to_string(world.folder.path().join("out/page.csv")).unwrap();
    assert_eq!(table.lines().filter(|line| line.contains(",done,500,")).count(), 6, "{table}");
}

#[test]
fn wrong_cells_are_told_before_any_is_run() {
    let world = World::new(&sweep(500, "[1e-3, 1e-4, -1.0]"));
    let output = world.run("1").output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert!(text(&output).contains("optimizer.learning_rate"), "{}", text(&output));
    assert!(!world.folder.path().join("runs/sweeps").exists());
    let unknown = World::new(&sweep(500, "[1e-3, 1e-4]").replace("optimizer.learning_rate", "optimizer.lerning_rate"));
    let output = unknown.sinter(&["sweep", "check", "trial.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert!(text(&output).contains("did you mean `learning_rate`?"), "{}", text(&output));
}

#[test]
fn runs_are_listed_compared_and_their_old_checkpoints_removed() {
    let world = World::new(&sweep(2000, "[1e-3, 1e-4]"));
    world.expand();
    let cells = world.cells();
    for (folder, _) in &cells[2..4] {
        assert!(world.sinter(&["train", "--cell"]).arg(folder).output().unwrap().status.success());
    }
    let list = |arguments: &[&str]| text(&world.sinter(&[&["runs", "list"][..], arguments].concat()).output().unwrap());
    let all = list(&[]);
    assert_eq!((all.matches("finished").count(), all.matches("new ").count()), (2, 4), "{all}");
    assert!(all.contains("rate=0.001 seed=3"), "{all}");
    let one = list(&["--where", "optimizer.learning_rate=0.001", "--state", "finished"]);
    assert_eq!(one.lines().count(), 2, "{one}");
    let mut compare = world.sinter(&["runs", "compare"]);
    let compared = text(&compare.arg(&cells[2].0).arg(&cells[3].0).output().unwrap());
    let line = compared.lines().find(|line| line.starts_with("optimizer.learning_rate")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["optimizer.learning_rate", "0.001", "0.0001"],
        "{compared}"
    );

    let checkpoints = || {
        fs::read_dir(cells[2].0.join("checkpoints")).unwrap().flatten().filter(|entry| entry.path().is_dir()).count()
    };
    let before = digest(&cells[2].0);
    assert_eq!(checkpoints(), 2);
    assert!(world.sinter(&["runs", "gc", "--dry-run"]).output().unwrap().status.success());
    assert_eq!(checkpoints(), 2);
    let freed = world.sinter(&["runs", "gc"]).output().unwrap();
    assert!(freed.status.success(), "{}", text(&freed));
    assert_eq!((checkpoints(), digest(&cells[2].0)), (1, before));
}

/// The experiments of this repository expand to valid configurations at every size.
#[test]
fn every_experiment_can_be_run() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sinter"));
    let output = command.current_dir(workspace()).args(["sweep", "check", "experiments"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

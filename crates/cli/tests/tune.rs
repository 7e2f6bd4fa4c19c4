//! Searches from the command line, on runs of a second or less.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{World, digest, metrics, text, workspace};
use serde_json::Value;

/// Points in the plane, a perceptron, and what is varied of it.
fn search(images: u64, parameters: &str) -> String {
    format!(
        r#"# A trial.
name = "trial"
title = "Trial"
question = "Which settings are best?"
trials = 7
seeds = [1]
search = {{ type = "tpe", seed = 5, startup = 3, at_a_time = 2 }}
parameters = [{parameters}]

[base]
extends = {:?}
train = {{ images = {images}, batch = 50, checkpoint_every = 500 }}
sample = {{ n = 50, sampler.steps = 4 }}
eval = {{ every = {images}, validation = 100, n = 100, batch = 100, reference_images = 100 }}
log = {{ every = 500, tensorboard = false }}
device.threads = 1

[objective]
name = "distance"
title = "sliced Wasserstein distance"
from = {{ type = "record", metric = "SW2[" }}
better = "less"

[tiers.smoke]
cost = {{ minutes = 0.1, on = "two CPU cores" }}

[tiers.cpu]
cost = {{ minutes = 0.1, on = "two CPU cores" }}
"#,
        workspace().join("configs/toy2d/mlp-flow.toml")
    )
}

const RATE: &str = r#"{ type = "log_uniform", key = "optimizer.learning_rate", low = 1e-5, high = 1e-1 }"#;

impl World {
    fn tune(&self, more: &[&str]) -> Output {
        self.sinter(&[&["tune", "trial.toml", "--tier", "smoke", "-j", "2"][..], more].concat()).output().unwrap()
    }

    fn index(&self) -> Value {
        let path = self.folder.path().join("runs/tunes/trial/smoke/index.json");
        serde_json::from_slice(&fs::read(path).unwrap_or_default()).unwrap_or_default()
    }

    /// The trials with their values, as the axis of the index has them.
    fn trials(&self) -> Vec<Value> {
        self.index()["sweep"]["axes"][0]["rows"].as_array().cloned().unwrap_or_default()
    }

    /// The folders of all cells, trial by trial.
    fn cells(&self) -> Vec<PathBuf> {
        let index = self.index();
        let folder = |cell: &Value| self.folder.path().join("runs/cells").join(cell["hash"].as_str().unwrap());
        index["cells"].as_array().map(|cells| cells.iter().map(folder).collect()).unwrap_or_default()
    }

    /// How often each cell was begun.
    fn begun(&self) -> Vec<usize> {
        let begun = |cell: &PathBuf| {
            let text = fs::read_to_string(cell.join("attempts.jsonl")).unwrap_or_default();
            text.lines().filter(|line| line.contains("\"begin\"")).count()
        };
        self.cells().iter().map(begun).collect()
    }
}

#[test]
fn a_search_that_is_killed_goes_on_to_the_same_trials_and_one_that_is_done_does_nothing() {
    let parameters = format!("{RATE}, {{ type = \"integer\", key = \"model.width\", low = 8, high = 32 }}");
    let (killed, straight) = (World::new(&search(3000, &parameters)), World::new(&search(3000, &parameters)));
    let output = straight.tune(&[]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("7 trials: 7 done"), "{}", text(&output));

    // A group of its own: one blow kills the search and the processes that it started.
    let mut command = killed.sinter(&["tune", "trial.toml", "--tier", "smoke"]);
    let mut search = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let since = Instant::now();
    // In the middle of a trial that was chosen by what came of others.
    while !killed.cells().get(4).is_some_and(|cell| cell.join("checkpoints/latest").exists()) {
        assert!(since.elapsed() < Duration::from_secs(120), "it came to no fifth trial");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-KILL", "--", &format!("-{}", search.id())]).status().unwrap().success());
    assert!(!search.wait().unwrap().success());
    assert!(killed.trials().len() < 7);
    let output = killed.tune(&[]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(killed.trials(), straight.trials());
    for (one, other) in killed.cells().iter().zip(straight.cells()) {
        assert_eq!(one.file_name(), other.file_name());
        assert_eq!((digest(one), metrics(one)), (digest(&other), metrics(&other)));
    }
    // The blow may have come just after its cell had ended.
    let begun: usize = killed.begun().iter().sum();
    assert!(begun == 7 || begun == 8, "{begun}");

    // Again: nothing is begun. Longer: it goes on from there.
    let (before, index) = (killed.begun(), killed.index());
    let output = killed.tune(&[]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!((killed.begun(), killed.index()), (before, index));
    assert!(killed.tune(&["--trials", "9"]).status.success());
    let trials = killed.trials();
    assert_eq!((trials.len(), &trials[..7]), (9, &straight.trials()[..]));

    let list = killed.sinter(&["sweep", "list", "trial.toml"]).output().unwrap();
    assert!(text(&list).contains("Trial") && text(&list).contains("9 done"), "{}", text(&list));

    let report = killed.sinter(&["report", "trial.toml"]).output().unwrap();
    assert!(report.status.success(), "{}", text(&report));
    let page = fs::read_to_string(killed.folder.path().join("report.html")).unwrap();
    // Nine dots over each of two parameters.
    assert_eq!(page.matches("<circle").count(), 18, "{page}");
    assert!(page.contains("9 trials: 9 done") && page.contains("Best: trial "), "{page}");
    let table = fs::read_to_string(killed.folder.path().join("report.csv")).unwrap();
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("experiment,tier,trial,optimizer.learning_rate,model.width,seed,"));
    let values: Vec<f64> = lines.map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect();
    assert!(values.len() == 9 && values.is_sorted(), "{table}");
}

#[test]
fn a_trial_that_fails_is_the_worst_and_told_and_not_tried_again() {
    // Of these, one leads to numbers that are not finite.
    let parameters = r#"{ type = "choice", key = "optimizer.learning_rate", values = [1e-3, 1e-4, 1e30] }"#;
    let world = World::new(&search(500, parameters).replace("startup = 3", "startup = 6"));
    let output = world.tune(&[]);
    assert!(output.status.success(), "{}", text(&output));
    let told = text(&output);
    assert!(told.contains("failed") && told.contains("is not finite"), "{told}");
    let worst = told.lines().filter(|line| line.ends_with("1e+30")).all(|line| line.contains("failed"));
    assert!(worst && told.contains("1e+30"), "{told}");
    let before = world.begun();
    assert!(world.tune(&[]).status.success());
    assert_eq!(world.begun(), before);
    assert!(world.sinter(&["report", "trial.toml"]).output().unwrap().status.success());
    let page = fs::read_to_string(world.folder.path().join("report.html")).unwrap();
    assert!(page.contains("failed and counts as the worst") && page.contains("class=\"failed\""), "{page}");
}

#[test]
fn a_search_of_which_nothing_works_ends_early_and_can_be_tried_again() {
    let world = World::new(&search(500, RATE));
    let mut command = world.sinter(&["tune", "trial.toml", "--tier", "smoke"]);
    let output = command.env("SINTER_FAULT", "nan@3").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("every trial failed"), "{}", text(&output));
    assert_eq!(world.trials().len(), 3);
    assert_eq!(world.tune(&[]).status.code(), Some(1));
    assert_eq!(world.begun(), [1, 1, 1]);
    let output = world.tune(&["--retry"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(world.begun(), [2, 2, 2, 1, 1, 1, 1]);
}

#[test]
fn what_is_no_search_is_refused() {
    let refused = |search: &str, message: &str| {
        let world = World::new(search);
        for command in [&["tune", "trial.toml"][..], &["sweep", "check", "."]] {
            let output = world.sinter(command).output().unwrap();
            assert_eq!(output.status.code(), Some(78), "{}", text(&output));
            assert!(text(&output).contains(message), "{message}:\n{}", text(&output));
        }
        assert!(!world.folder.path().join("runs/tunes").exists());
    };
    let sound = search(500, RATE);
    refused(&sound.replace("learning_rate", "lerning_rate"), "did you mean `learning_rate`?");
    refused(&sound.replace("low = 1e-5", "low = 0.0"), "must be above 0: its logarithm is taken");
    refused(&sound.replace("startup = 3", "startup = 0"), "at least one trial is by chance");
    refused(&sound.replace("better = \"less\"", "bettr = \"less\""), "did you mean `better`?");
    refused(
        &sound.replace("1e-1 }", "1e-1 }, { type = \"integer\", key = \"model.width\", low = -4, high = -2 }"),
        "model.width",
    );
    let world = World::new(&sound);
    let output = world.sinter(&["sweep", "check", "."]).output().unwrap();
    assert!(text(&output).contains("trial.toml: no problems; cells: 3 cpu, 3 smoke"), "{}", text(&output));
    let output = world.sinter(&["report", "trial.toml"]).output().unwrap();
    assert!(text(&output).contains("`sinter tune trial.toml --tier smoke` does"), "{}", text(&output));
}

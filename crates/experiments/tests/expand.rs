//! From sweep files to cells on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sinter_config::{ConfigError, Layered, Problems};
use sinter_experiments::{Cell, Expansion, ExperimentError, Index, Kind, Store, Sweep, Typed, check, expand};
use tempfile::TempDir;

const SWEEP: &str = r#"
name = "trial"
title = "Trial"
question = "Does it expand?"
paper = { title = "A paper", authors = "Somebody 2024", reference = "arXiv 0000.00000" }
seeds = [1, 2, 3]

[base]
extends = ["../../configs/base.toml"]
train.images = 100
eval.features = "@judge"

[prepare.judge]
base = { extends = "../../configs/judge.toml" }

[prepare.teacher]
base = { extends = "../../configs/base.toml", eval.features = "@judge" }
tier = true
needs = ["judge"]

[[axes]]
type = "list"
name = "network"
levels = [
    { name = "dit" },
    { name = "unet", with = { extends = "../../configs/unet.toml" } },
    { name = "student", with = { objective = { teacher = "@teacher/checkpoints" } } },
]

[[axes]]
type = "grid"
name = "rate"
key = "optimizer.learning_rate"
values = [1e-3, 0.5]

[[axes]]
type = "zip"
name = "batch"
keys = ["train.batch", "optimizer.schedule"]
rows = [["small", 8, { warmup = 64 }], ["large", 64, { warmup = 512 }]]

[tiers.smoke]
cost = { minutes = 0.1, on = "two CPU cores" }
with = { train.images = 10 }
levels.network.unet = { model.channels = 4 }
only = { rate = ["0.5"], batch = ["small"] }
seeds = [1]

[tiers.cpu]
prepare.judge = { train.images = 64_000 }
cost = { minutes = 2, on = "two CPU cores" }

[[metrics]]
name = "fd"
title = "Frechet distance"
from = { type = "record", metric = "FD" }
better = "less"

[[claims]]
name = "first"
statement = "DiT is better."
table = "Table 1"
measured = "FID-50k"
numbers = [{ of = "DiT", cell = { network = "dit" }, value = 3.5 }]
expect = { type = "less", metric = "fd", cell = { network = "dit" }, than = { network = "unet" } }
seeds = 3
"#;

struct World {
    folder: TempDir,
}

impl World {
    fn new(sweep: &str) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        world.write("configs/base.toml", "model = { type = 'dit', depth = 6 }\n[train]\nimages = 1_000_000\n");
        world.write("configs/unet.toml", "[model]\ntype = 'unet'\nchannels = 64\n");
        world.write("configs/judge.toml", "model = { type = 'classifier' }\n");
        world.write("experiments/trial/sweep.toml", sweep);
        world
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("experiments/trial/sweep.toml")
    }

    fn store(&self) -> Store {
        Store::new(self.folder.path().join("runs"))
    }

    fn sweep(&self) -> Sweep {
        Sweep::load(&self.file()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn expand(&self, tier: &str) -> Result<Expansion, ExperimentError> {
        expand(&self.sweep(), &self.file(), tier, &self.store(), &Strict)
    }

    fn config(&self, cell: &Cell) -> toml::Table {
        toml::from_str(&fs::read_to_string(self.store().cell(&cell.hash).join("config.toml")).unwrap()).unwrap()
    }
}

/// Refuses what the tests call wrong.
struct Strict;

impl Typed for Strict {
    fn resolve(&self, layered: Layered) -> Result<String, ConfigError> {
        let table = layered.value();
        let mut problems = Problems::new();
        let rate = table.get("optimizer").and_then(|optimizer| optimizer.get("learning_rate"));
        let low = rate.is_none_or(|rate| rate.as_float().is_some_and(|rate| rate < 1.0));
        problems.check(low, "optimizer.learning_rate", "too high");
        if problems.is_empty() { Ok(toml::to_string(&table).unwrap()) } else { Err(layered.locate(problems)) }
    }
}

fn find<'a>(index: &'a Index, label: &str) -> &'a Cell {
    index
        .cells
        .iter()
        .find(|cell| cell.label == label)
        .unwrap_or_else(|| panic!("{:?}", index.cells.iter().map(|cell| &cell.label).collect::<Vec<_>>()))
}

#[test]
fn every_combination_is_a_cell() {
    let world = World::new(SWEEP);
    let expansion = world.expand("cpu").unwrap();
    let folder = expansion.write(&world.store()).unwrap();
    let (index, store) = Index::read(&folder).unwrap();
    assert_eq!((&index, store.root()), (&expansion.index, world.store().root()));
    // Two prepared runs, then 3 networks, 2 rates, 2 batches, 3 seeds.
    assert_eq!(index.cells.len(), 2 + 36);
    assert!(index.cells.iter().enumerate().all(|(place, cell)| cell.number == place));
    assert_eq!(index.cells.iter().map(|cell| &cell.hash).collect::<BTreeSet<_>>().len(), 38);
    let config = world.config(find(&index, "network=unet rate=0.5 batch=large seed=2"));
    assert_eq!(config["model"], toml::from_str::<toml::Value>("type = 'unet'\nchannels = 64").unwrap());
    assert_eq!(config["optimizer"]["schedule"]["warmup"].as_integer(), Some(512));
    assert_eq!(config["optimizer"]["learning_rate"].as_float(), Some(0.5));
    assert_eq!((config["train"]["batch"].as_integer(), config["train"]["images"].as_integer()), (Some(64), Some(100)));
    assert_eq!(config["seed"].as_integer(), Some(2));
}

#[test]
fn runs_that_cells_need_come_first_and_are_named_by_their_folders() {
    let world = World::new(SWEEP);
    let expansion = world.expand("cpu").unwrap();
    expansion.write(&world.store()).unwrap();
    let index = expansion.index;
    let (judge, teacher) = (&index.cells[0], &index.cells[1]);
    assert_eq!((judge.label.as_str(), teacher.label.as_str()), ("judge", "teacher"));
    assert!(judge.prepared && teacher.prepared);
    assert_eq!(teacher.needs, std::slice::from_ref(&judge.hash));
    assert_eq!(world.config(judge)["train"]["images"].as_integer(), Some(64_000));
    let dit = find(&index, "network=dit rate=0.001 batch=small seed=1");
    assert_eq!(dit.needs, std::slice::from_ref(&judge.hash));
    let student = find(&index, "network=student rate=0.001 batch=small seed=1");
    assert_eq!(student.needs, [judge.hash.clone(), teacher.hash.clone()]);
    let path = world.store().cell(&teacher.hash).join("checkpoints");
    assert_eq!(world.config(student)["objective"]["teacher"].as_str(), path.to_str());
}

#[test]
fn a_tier_changes_sizes_and_chooses_levels() {
    let world = World::new(SWEEP);
    let expansion = world.expand("smoke").unwrap();
    expansion.write(&world.store()).unwrap();
    let labels: Vec<&str> = expansion.index.cells.iter().map(|cell| cell.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "judge",
            "teacher",
            "network=dit rate=0.5 batch=small seed=1",
            "network=unet rate=0.5 batch=small seed=1",
            "network=student rate=0.5 batch=small seed=1"
        ]
    );
    let unet = world.config(&expansion.index.cells[3]);
    assert_eq!((unet["model"]["channels"].as_integer(), unet["train"]["images"].as_integer()), (Some(4), Some(10)));
    // The teacher asks for the tier's size, the judge does not.
    assert_eq!(world.config(&expansion.index.cells[1])["train"]["images"].as_integer(), Some(10));
    assert!(world.config(&expansion.index.cells[0]).get("train").is_none());
}

#[test]
fn expanding_again_changes_nothing_and_equal_cells_are_shared() {
    let world = World::new(SWEEP);
    let first = world.expand("cpu").unwrap();
    first.write(&world.store()).unwrap();
    let listed =
        |folder: &Path| -> BTreeSet<PathBuf> { fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect() };
    let cells = listed(&world.store().root().join("cells"));
    let again = world.expand("cpu").unwrap();
    again.write(&world.store()).unwrap();
    assert_eq!(first.index, again.index);
    // Another sweep with one more seed makes the cells of that seed alone.
    world.write(
        "experiments/trial/sweep.toml",
        &SWEEP.replace("\"trial\"", "\"other\"").replace("[1, 2, 3]", "[1, 2, 3, 4]"),
    );
    world.expand("cpu").unwrap().write(&world.store()).unwrap();
    let more = listed(&world.store().root().join("cells"));
    assert!(more.is_superset(&cells));
    assert_eq!(more.len(), cells.len() + 12);
}

#[test]
fn an_evaluation_takes_over_the_run_that_it_evaluates() {
    let sweep = SWEEP
        .replace("[base]\nextends = [\"../../configs/base.toml\"]\ntrain.images = 100\neval.features = \"@judge\"", "")
        .replace("seeds = [1, 2, 3]", "seeds = [1, 2, 3]\nevaluates = \"teacher\"")
        .replace("    { name = \"student\", with = { objective = { teacher = \"@teacher/checkpoints\" } } },\n", "");
    let world = World::new(&sweep);
    let expansion = world.expand("cpu").unwrap();
    expansion.write(&world.store()).unwrap();
    let teacher = &expansion.index.cells[1];
    let cell = &expansion.index.cells[2];
    assert_eq!(cell.kind, Kind::Evaluate { run: teacher.hash.clone() });
    assert!(cell.needs.contains(&teacher.hash));
    let config = world.config(cell);
    assert_eq!((config["seed"].as_integer(), config["eval"]["seed"].as_integer()), (Some(1), Some(1)));
    assert_eq!(config["train"]["images"].as_integer(), Some(1_000_000));
}

#[test]
fn nothing_is_written_if_a_cell_is_wrong_and_all_that_is_wrong_is_said_once() {
    let world = World::new(&SWEEP.replace("values = [1e-3, 0.5]", "values = [1e-3, 0.5, 7.0]"));
    let error = world.expand("cpu").unwrap_err().to_string();
    assert!(error.contains("optimizer.learning_rate: too high"), "{error}");
    assert!(error.contains("in `network=dit rate=7.0 batch=small seed=1`") && error.contains("and 15 more"), "{error}");
    assert_eq!(error.matches("too high").count(), 1);
    assert!(!world.store().root().join("sweeps").exists());
    let same = World::new(&SWEEP.replace("values = [1e-3, 0.5]", "values = [1e-3, 0.001]"));
    let error = same.expand("cpu").unwrap_err().to_string();
    assert!(error.contains("the same configuration as"), "{error}");
    let unknown = World::new(&SWEEP.replace("\"@judge\"", "\"@judges\""));
    assert!(unknown.expand("cpu").unwrap_err().to_string().contains("there is no `prepare.judges`"));
    assert!(world.expand("gpu").unwrap_err().to_string().contains("no tier `gpu`"));
}

#[test]
fn an_experiment_says_what_it_costs_who_stated_it_and_what() {
    let problems = |sweep: &str| check(&World::new(sweep).sweep()).to_string();
    assert_eq!(problems(SWEEP), "");
    let paper = SWEEP.lines().find(|line| line.starts_with("paper")).unwrap();
    assert!(problems(&SWEEP.replace(paper, "")).contains("paper: an experiment names the paper"));
    let cost = "cost = { minutes = 2, on = \"two CPU cores\" }";
    assert!(problems(&SWEEP.replace(cost, "")).contains("tiers.cpu.cost: an expected cost is missing"));
    assert!(problems(&SWEEP.replace("minutes = 2,", "minutes = 5,")).contains("takes at most 3 minutes"));
    let claims = SWEEP.split_once("[[claims]]").unwrap().0;
    assert!(problems(claims).contains("claims: an experiment has at least one claim"));
    for (from, to, message) in [
        ("than = { network = \"unet\" }", "than = { network = \"unett\" }", "did you mean `unet`?"),
        ("than = { network = \"unet\" }", "than = { rate = \"0.5\" }", "must name levels of the axes of `cell`"),
        ("metric = \"fd\", cell", "metric = \"fid\", cell", "claims[0].expect.metric: `fid` is no metric"),
        ("seeds = 3\n", "seeds = 4\n", "it could never be decided"),
        ("seeds = 3\n", "seeds = 3\ntest = { type = \"bootstrap\" }\n", "a bootstrap takes at least 5 seeds"),
        ("measured = \"FID-50k\"\n", "", "must say what the paper's numbers measure"),
        ("[tiers.cpu]", "[tiers.gpu]", "tiers.cpu: is missing"),
    ] {
        let found = problems(&SWEEP.replace(from, to));
        assert!(found.contains(message), "{message}:\n{found}");
    }
    let misspelled = World::new(&SWEEP.replace("better =", "bettr ="));
    let error = Sweep::load(&misspelled.file()).unwrap_err().to_string();
    assert!(error.contains("did you mean `better`?"), "{error}");
}

//! Pools of real processes: every cell is done once, whatever dies on the way.
//!
//! The workers and pools that tests start are this very program, told by its arguments to run one of the tests below that
//! are otherwise ignored.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sinter_config::{ConfigError, Layered};
use sinter_experiments::{
    Attempt, Cell, CellLock, CellState, Event, Finished, Index, Pool, PoolConfig, PoolOutcome, Store, Sweep, expand,
};

const SWEEP: &str = r#"
name = "pool"
title = "Pool"
question = "?"
seeds = [1]
prepare.first = { base = { work = "steady" } }
base = { teacher = "@first" }
axes = [{ type = "grid", name = "work", key = "work", values = ["a", "b", "c", "d", "e", "f", "g", "h"] }]
metrics = []
[tiers.smoke]
"#;

/// The environment variable that names the folder of a worker's cell, or of a pool's sweep.
const FOLDER: &str = "POOL_TEST_FOLDER";

fn prepared(root: &Path, sweep: &str) -> (Index, Store) {
    let file = root.join("sweep.toml");
    fs::write(&file, sweep).unwrap();
    let store = Store::new(root.join("runs"));
    let typed = |layered: Layered| -> Result<String, ConfigError> { Ok(toml::to_string(&layered.value()).unwrap()) };
    let expansion = expand(&Sweep::load(&file).unwrap(), &file, "smoke", &store, &typed).unwrap();
    Index::read(&expansion.write(&store).unwrap()).unwrap()
}

fn this(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(FOLDER, folder);
    command
}

/// Runs one cell as its configuration says.
#[test]
#[ignore = "started by other tests"]
fn worker() {
    let folder = std::path::PathBuf::from(std::env::var_os(FOLDER).expect("started by other tests"));
    let Some(lock) = CellLock::take(&folder).unwrap() else { return };
    let config: toml::Table = toml::from_str(&fs::read_to_string(folder.join("config.toml")).unwrap()).unwrap();
    let attempts = attempts(&folder).iter().filter(|attempt| attempt.event == "begin").count();
    println!("device {}", std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default());
    match config["work"].as_str().unwrap() {
        "fails" => {
            println!("about to fail");
            lock.failed("it does").unwrap();
            std::process::exit(1);
        }
        "breaks" => std::process::exit(9),
        "dies once" if attempts == 1 => std::process::abort(),
        "dies" => std::process::abort(),
        "stops once" if attempts == 1 => {
            lock.interrupted().unwrap();
            std::process::exit(75);
        }
        _ => {
            std::thread::sleep(Duration::from_millis(120));
            lock.done().unwrap();
        }
    }
}

/// Runs a sweep with one process.
#[test]
#[ignore = "started by other tests"]
fn pool() {
    let folder = std::path::PathBuf::from(std::env::var_os(FOLDER).expect("started by other tests"));
    let (index, store) = Index::read(&folder).unwrap();
    let outcome = run(&index, &store, 1, vec![], &mut |_| {});
    assert!(outcome.failed.is_empty(), "{outcome:?}");
}

fn run(
    index: &Index,
    store: &Store,
    jobs: usize,
    devices: Vec<String>,
    tell: &mut dyn FnMut(Event<'_>),
) -> PoolOutcome {
    let command = |folder: &Path| this("worker", folder);
    let config = PoolConfig {
        jobs,
        devices,
        command: &command,
        interrupted: &|| false,
        terminate: &|_| panic!("not told to stop"),
    };
    Pool::new(store, &index.cells, config).run(tell).unwrap()
}

fn attempts(folder: &Path) -> Vec<Attempt> {
    let text = fs::read_to_string(folder.join("attempts.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn times(store: &Store, cell: &Cell, event: &str) -> usize {
    attempts(&store.cell(&cell.hash)).iter().filter(|attempt| attempt.event == event).count()
}

#[test]
fn a_pool_does_every_cell_once_and_what_is_needed_first() {
    let folder = tempfile::tempdir().unwrap();
    let (index, store) = prepared(folder.path(), SWEEP);
    let mut started = Vec::new();
    let outcome = run(&index, &store, 3, vec!["4".into(), "5".into(), "6".into()], &mut |event| {
        if let Event::Started { cell, slot, .. } = event {
            started.push((cell.number, slot));
        }
    });
    assert_eq!((outcome.done, outcome.before, outcome.failed.len()), (9, 0, 0));
    assert_eq!(started[0], (0, 0));
    for cell in &index.cells {
        assert_eq!((times(&store, cell, "begin"), times(&store, cell, "done")), (1, 1));
        let slot = started.iter().find(|(number, _)| *number == cell.number).unwrap().1;
        let log = fs::read_to_string(store.cell(&cell.hash).join("log.txt")).unwrap();
        assert!(log.contains(&format!("device {}", slot + 4)), "{log}");
    }
    // Again: nothing is started.
    let mut events = 0;
    let outcome =
        run(&index, &store, 3, vec![], &mut |event| events += usize::from(matches!(event, Event::Started { .. })));
    assert_eq!((outcome.done, outcome.before, events), (9, 9, 0));
}

#[test]
fn what_fails_is_told_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = SWEEP.replace("\"a\", \"b\"", "\"fails\", \"breaks\", \"dies\", \"dies once\", \"stops once\"");
    let (index, store) = prepared(folder.path(), &sweep);
    let outcome = run(&index, &store, 2, vec![], &mut |_| {});
    assert_eq!(outcome.done, 9);
    let mut failed: Vec<(String, String)> = outcome
        .failed
        .iter()
        .map(|(label, how)| match how {
            Finished::Failed { message, .. } => (label.clone(), message.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    failed.sort();
    assert_eq!(failed[0], ("work=breaks seed=1".into(), "ended with exit code 9".into()));
    assert!(failed[1].1.starts_with("ended early 3 times, at last with signal: 6"), "{failed:?}");
    assert_eq!(failed[2], ("work=fails seed=1".into(), "it does".into()));
    let tail = outcome.failed.iter().find_map(|(_, how)| match how {
        Finished::Failed { message, tail, .. } if message == "it does" => Some(tail.clone()),
        _ => None,
    });
    assert!(tail.unwrap().contains("about to fail"));
    for label in ["work=dies once seed=1", "work=stops once seed=1"] {
        let cell = index.cells.iter().find(|cell| cell.label == label).unwrap();
        assert_eq!((times(&store, cell, "begin"), times(&store, cell, "done")), (2, 1), "{label}");
    }
    // Again: what failed is tried again, what is done is not.
    let again = run(&index, &store, 2, vec![], &mut |_| {});
    assert_eq!((again.done, again.before, again.failed.len()), (9, 9, 3));
}

#[test]
fn what_needs_a_failed_cell_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let (index, store) = prepared(folder.path(), &SWEEP.replace("steady", "fails"));
    let outcome = run(&index, &store, 2, vec![], &mut |_| {});
    assert_eq!((outcome.done, outcome.failed.len()), (0, 9));
    let blocked = outcome.failed.iter().filter(|(_, how)| *how == Finished::Blocked { by: "first".into() });
    assert_eq!(blocked.count(), 8);
    assert!(index.cells[1..].iter().all(|cell| times(&store, cell, "begin") == 0));
}

#[test]
fn three_pools_share_a_sweep_and_one_is_killed_in_the_middle_of_a_cell() {
    let folder = tempfile::tempdir().unwrap();
    let (index, store) = prepared(folder.path(), SWEEP);
    let sweep = store.root().join("sweeps/pool/smoke");
    let start = || {
        // A group of its own, so that a blow kills the pool and the worker that it started.
        this("pool", &sweep).process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut pools = [start(), start(), start()];
    // Until the first of them has a worker in the middle of a cell.
    let since = Instant::now();
    let parent = |process: u32| -> Option<u32> {
        // `pid (name) state parent ...`
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let victim = 'found: loop {
        for cell in &index.cells[1..] {
            let begun = attempts(&store.cell(&cell.hash));
            if let Some(last) = begun.last().filter(|last| last.event == "begin")
                && let Some(place) = pools.iter().position(|pool| parent(last.process) == Some(pool.id()))
            {
                break 'found (place, cell);
            }
        }
        assert!(since.elapsed() < Duration::from_secs(30), "no pool worked");
    };
    let group = format!("-{}", pools[victim.0].id());
    assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
    for (place, pool) in pools.iter_mut().enumerate() {
        assert_eq!(pool.wait().unwrap().success(), place != victim.0);
    }
    for cell in &index.cells {
        assert!(matches!(CellState::of(&store.cell(&cell.hash)).unwrap(), CellState::Done(_)));
        let expected = if cell.hash == victim.1.hash { 2 } else { 1 };
        assert_eq!((times(&store, cell, "begin"), times(&store, cell, "done")), (expected, 1), "{}", cell.label);
    }
}

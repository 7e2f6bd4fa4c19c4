//! Reports of made-up results.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::Path;

use sinter_config::{ConfigError, Layered};
use sinter_experiments::report::{PlainRun, Section, csv, html, markdown};
use sinter_experiments::{CellLock, Gathered, Index, Store, Sweep, expand};

const SWEEP: &str = r#"
name = "trial"
title = "Trial <b>"
question = "Which is better?"
paper = { title = "A paper", authors = "Somebody 2024", reference = "arXiv 0000.00000" }
seeds = [1, 2, 3]
axes = [{ type = "grid", name = "network", key = "network", values = ["dit", "unet, small"] }]
metrics = [
    { name = "fd", title = "Frechet distance", from = { type = "record", metric = "FD[" }, better = "less" },
]
[tiers.smoke]
cost = { minutes = 0.1, on = "two CPU cores" }
[[claims]]
name = "first"
statement = "DiT is better."
table = "Table 1"
measured = "FID-50k"
numbers = [{ of = "DiT", cell = { network = "dit" }, value = 3.25 }, { of = "another", value = 9.5 }]
expect = { type = "less", metric = "fd", cell = { network = "dit" }, than = { network = "unet, small" } }
seeds = 3
"#;

const RECORD: &str = "eval/100-FD_pixels_-8.json";

fn record(value: f64, reference: &str) -> String {
    format!(
        r#"{{"metric": "FD[pixels]-8", "value": {value}, "n": 8, "warnings": ["few samples"],
        "protocol": {{"measurement": {{"reference": "{reference}"}}}}}}"#
    )
}

/// Writes results of cells: distances 1, 2, 3 of `dit`, 4 more of the other, but one of that fails.
fn made_up(root: &Path, fails: bool) -> Section {
    let file = root.join("sweep.toml");
    fs::write(&file, SWEEP).unwrap();
    let store = Store::new(root.join("runs"));
    let typed = |layered: Layered| -> Result<String, ConfigError> { Ok(toml::to_string(&layered.value()).unwrap()) };
    let expansion = expand(&Sweep::load(&file).unwrap(), &file, "smoke", &store, &typed).unwrap();
    let (index, store) = Index::read(&expansion.write(&store).unwrap()).unwrap();
    for cell in &index.cells {
        let folder = store.cell(&cell.hash);
        let lock = CellLock::take(&folder).unwrap().unwrap();
        let other = cell.levels["network"] != "dit";
        let value = cell.seed as f64 + if other { 4.0 + 0.1 * cell.seed as f64 } else { 0.0 };
        fs::create_dir_all(folder.join("eval")).unwrap();
        // Data that are drawn by the seed are another reference for each.
        fs::write(folder.join(RECORD), record(value, &format!("drawn by {}", cell.seed))).unwrap();
        let line = |images: u64| format!("{{\"images\":{images},\"step\":1,\"loss\":{value},\"time/minutes\":0.5}}\n");
        fs::write(folder.join("metrics.jsonl"), format!("{}{}", line(50), line(100))).unwrap();
        fs::create_dir_all(folder.join("samples")).unwrap();
        fs::write(folder.join("samples/100.png"), b"\x89PNG made up").unwrap();
        if fails && other && cell.seed == 3 {
            fs::write(folder.join("log.txt"), "one\nthe last <line>\n").unwrap();
            lock.failed("loss is not finite").unwrap();
        } else {
            lock.done().unwrap();
        }
    }
    Section::of_sweep(&index, &Gathered::read(&index, &store).unwrap())
}

#[test]
fn a_page_needs_nothing_else_and_shows_all() {
    let folder = tempfile::tempdir().unwrap();
    let page = html("A <title>", &[made_up(folder.path(), false)]);
    for text in [
        "A &lt;title&gt;",
        "Trial &lt;b&gt;",
        "✓ held",
        "A paper, Somebody 2024 (arXiv 0000.00000)",
        "<strong>2</strong> <span class=\"range\">[1, 3] n=3</span>",
        "<td class=\"number\" data-label=\"paper\">3.25</td>",
        "FD[pixels]-8",
        "few samples",
        "6 of 6 cells done",
        "<polyline",
        "data:image/png;base64,iVBORyBtYWRlIHVw",
    ] {
        assert!(page.contains(text), "{text} is not in\n{page}");
    }
    // Nothing is fetched, nothing runs.
    for text in ["http:", "https:", "<script", "<link rel=\"stylesheet", "url(", "@import"] {
        assert!(!page.contains(text), "{text}");
    }
    assert_eq!(page.matches("src=").count(), page.matches("src=\"data:").count());
}

#[test]
fn a_failed_cell_is_shown_with_the_end_of_its_log_and_leaves_the_claim_undecided() {
    let folder = tempfile::tempdir().unwrap();
    let section = made_up(folder.path(), true);
    let page = html("Trial", std::slice::from_ref(&section));
    for text in [
        "? undecided",
        "2 of 3 seeds are done",
        "loss is not finite",
        "the last &lt;line&gt;",
        "5 of 6 cells done",
        "1 failed",
    ] {
        assert!(page.contains(text), "{text} is not in\n{page}");
    }
    let page = markdown("Trial", &[section]);
    assert!(page.contains("**undecided**: DiT is better. (Table 1)"), "{page}");
    assert!(page.contains("Failed: `network=unet, small seed=3`: loss is not finite"), "{page}");
}

#[test]
fn numbers_of_a_seed_that_were_measured_otherwise_decide_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(markdown("Trial", &[made_up(folder.path(), false)]).contains("**held**"));
    let (index, store) = Index::read(&folder.path().join("runs/sweeps/trial/smoke")).unwrap();
    let last = index.cells.last().unwrap();
    fs::write(store.cell(&last.hash).join(RECORD), record(9.0, "another")).unwrap();
    let page = markdown("Trial", &[Section::of_sweep(&index, &Gathered::read(&index, &store).unwrap())]);
    for text in ["**undecided**", "cells were not measured alike: `network=unet, small seed=3` differs from"] {
        assert!(page.contains(text), "{text} is not in\n{page}");
    }
}

#[test]
fn several_experiments_begin_with_how_their_claims_stand() {
    let (done, failed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sections = [made_up(done.path(), false), made_up(failed.path(), true)];
    let page = markdown("Trials", &sections);
    let lines: Vec<&str> = page.lines().skip(2).take(5).collect();
    let title = &sections[0].title;
    assert_eq!(lines[0], "| experiment | size | held | not held | undecided |");
    assert_eq!(lines[2], format!("| {title} | smoke | 1 | 0 | 0 |"));
    assert_eq!(lines[3], format!("| {title} | smoke | 0 | 0 | 1 |"));
    assert_eq!(lines[4], "| **all** |  | 1 | 0 | 1 |");
}

#[test]
fn markdown_and_csv_hold_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let sections = [made_up(folder.path(), false)];
    let page = markdown("Trial", &sections);
    for line in [
        "| network | Frechet distance ↓ | minutes |",
        "| dit | 2 [1, 3] (n = 3) | 0.50 |",
        "| unet, small | 6.2 [5.1, 7.3] (n = 3) | 0.50 |",
        "| DiT | 3.25 | 2 [1, 3] (n = 3) |",
        "| another | 9.5 |  |",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }
    let table = csv(&sections);
    let lines: Vec<&str> = table.split("\r\n").collect();
    assert_eq!(lines[0], "experiment,tier,network,seed,state,images,minutes,cell,fd");
    assert!(
        lines[4].starts_with("trial,smoke,\"unet, small\",1,done,100,0.500,") && lines[4].ends_with(",5.1"),
        "{}",
        lines[4]
    );
    assert_eq!(lines.len(), 1 + 6 + 1);
}

#[test]
fn runs_of_no_sweep_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, value: f64| {
        let run = folder.path().join(name);
        fs::create_dir_all(&run).unwrap();
        let line =
            |images: u64| format!("{{\"images\":{images},\"step\":1,\"loss\":{value},\"evaluation/FD[a]-8\":7.5}}\n");
        fs::write(run.join("metrics.jsonl"), format!("{}{}", line(10), line(20))).unwrap();
        PlainRun::read(&run).unwrap()
    };
    let sections = [Section::of_runs(&[run("one", 0.25), run("two", 0.5)])];
    let page = markdown("Runs", &sections);
    for line in ["| run | loss | FD[a]-8 | minutes |", "| one | 0.25 | 7.5 |  |", "| two | 0.5 | 7.5 |  |"] {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }
    assert!(html("Runs", &sections).contains("<polyline"));
    assert!(csv(&sections).contains("runs,,two,0,run,20,,,0.5,7.5"), "{}", csv(&sections));
}

//! Numbers with their protocol: the same from the same weights, by whatever way, and none from bad input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const SMOKE: &str = "configs/smoke.toml";
const DIT: [&str; 4] = ["--set", r#"model={type="dit",patch=4,width=32,depth=1,heads=2}"#, "--set", "eval.metrics=[]"];

/// The program, with an empty cache of its own.
struct Sinter {
    folder: TempDir,
}

impl Sinter {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        Command::new(env!("CARGO_BIN_EXE_sinter"))
            .current_dir(workspace)
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .args(arguments)
            .output()
            .unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What it says when it fails, and its exit code.
    fn fails(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && !message.contains("panicked"), "{arguments:?}: {message}");
        (message, output.status.code())
    }

    fn train(&self, name: &str, more: &[&str]) -> String {
        let run = self.path(name);
        let settings = ["--set", "train.images=16", "--set", "eval.every=0", "--set", "sample.n=0"];
        self.succeeds(&[&["train", SMOKE, "--run", &run], &settings[..], &DIT[..], more].concat());
        run
    }
}

/// The bytes of the only record of a metric.
fn record(folder: &str, metric: &str) -> Vec<u8> {
    fs::read(record_path(folder, metric)).unwrap()
}

fn record_path(folder: &str, metric: &str) -> PathBuf {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = names.filter(|path| path.to_string_lossy().contains(metric)).collect();
    assert_eq!(found.len(), 1, "{metric} in {folder}: {found:?}");
    found[0].clone()
}

fn number(bytes: &[u8]) -> f64 {
    let record: Value = serde_json::from_slice(bytes).unwrap();
    record["value"].as_f64().unwrap()
}

const METRICS: [&str; 10] = [
    "--metrics",
    "frechet",
    "--metrics",
    r#"{type="kernel",subsets=3,subset_size=6}"#,
    "--metrics",
    r#"{type="manifold",neighbours=1}"#,
    "--metrics",
    r#"{type="inception_score",splits=2}"#,
    "--features",
    r#"{type="random_convolutions"}"#,
];

#[test]
fn equal_weights_give_equal_records() {
    let sinter = Sinter::new();
    let run = sinter.train("straight", &[]);
    let folder = format!("{run}/eval");
    let evaluate =
        |run: &str, more: &[&str]| sinter.succeeds(&[&["eval", run, "--n", "8"], &METRICS[..], more].concat());
    evaluate(&run, &["--ema", "raw"]);
    let first = record(&folder, "FD_random");
    assert!(number(&first) > 0.0);
    // Again, the reference now from the cache; in other portions; with more metrics beside it.
    evaluate(&run, &["--ema", "raw"]);
    assert_eq!(record(&folder, "FD_random"), first);
    evaluate(&run, &["--ema", "raw", "--batch", "3", "--metrics", "detector"]);
    assert_eq!(record(&folder, "FD_random"), first);

    // Stopped and continued.
    let halves = sinter.train("halves", &["--set", "train.images=8"]);
    sinter.train("halves", &[]);
    evaluate(&halves, &["--ema", "raw"]);
    assert_eq!(record(&format!("{halves}/eval"), "FD_random"), first);

    // Out of the run and into another: all but the clock, which does not travel.
    let (file, imported) = (sinter.path("weights.safetensors"), sinter.path("imported"));
    sinter.succeeds(&["export", &run, "--ema", "raw", "--to", "dit", "--out", &file]);
    sinter.succeeds(&[&["import", &file, SMOKE, "--from", "dit", "--run", &imported], &DIT[..]].concat());
    evaluate(&imported, &["--ema", "raw"]);
    let without_clock = |bytes: &[u8]| {
        let mut record: Value = serde_json::from_slice(bytes).unwrap();
        record["protocol"]["subject"]["images"] = 0.into();
        record
    };
    assert_eq!(without_clock(&record(&format!("{imported}/eval"), "FD_random")), without_clock(&first));
}

#[test]
fn samples_in_files_have_the_numbers_of_the_run() {
    let sinter = Sinter::new();
    let run = sinter.train("run", &[]);
    let metrics = ["--metrics", "frechet", "--features", "pixels"];
    sinter.succeeds(&[&["eval", &run, "--n", "8", "--seed", "5"], &metrics[..]].concat());
    let expected = number(&record(&format!("{run}/eval"), "FD_pixels"));
    let (images, npz, out) = (sinter.path("images"), sinter.path("npz"), sinter.path("records"));
    let sample = ["sample", &run, "--n", "8", "--seed", "5", "--batch", "4", "--out"];
    sinter.succeeds(&[&sample[..], &[&images]].concat());
    sinter.succeeds(&[&sample[..], &[&npz, "--npz"]].concat());
    let npz = format!("{npz}/samples.npz");
    for set in [&images, &npz] {
        sinter.succeeds(&[&["eval", "images", set, &run, "--out", &out], &metrics[..]].concat());
        assert_eq!(number(&record(&out, "FD_pixels")), expected, "{set}");
        fs::remove_dir_all(&out).unwrap();
    }

    // Against statistics in a file, and not against those of other features.
    let statistics = sinter.path("statistics.npz");
    sinter.succeeds(&["eval", "stats", &run, "--features", "pixels", "--out", &statistics]);
    sinter.succeeds(&[&["eval", "images", &npz, &statistics, "--out", &out], &metrics[..]].concat());
    assert_eq!(number(&record(&out, "FD_pixels")), expected);
    let other = ["--metrics", "frechet", "--features", "random_convolutions"];
    let (message, _) = sinter.fails(&[&["eval", "images", &npz, &statistics, "--out", &out], &other[..]].concat());
    assert!(message.contains("statistics.npz") && message.contains("they are of pixels"), "{message}");

    // Three seeds: each, and their mean and range.
    let text = sinter.succeeds(&[&["eval", &run, "--n", "8", "--seeds", "1,2,3"], &metrics[..]].concat());
    assert!(text.contains("seed 3") && text.contains("mean [least, largest]"), "{text}");

    // Only what was measured alike compares.
    let records = format!("{run}/eval");
    let [one, two] = ["seed-1-FD", "seed-2-FD"].map(|name| record_path(&records, name).display().to_string());
    let text = sinter.succeeds(&["eval", "compare", &one, &two]);
    assert!(text.contains("seed 1") && text.contains("seed 2"), "{text}");
    sinter.succeeds(&[&["eval", &run, "--n", "6", "--seed", "9"], &metrics[..]].concat());
    let fewer = record_path(&records, "pixels_-6").display().to_string();
    let (message, _) = sinter.fails(&["eval", "compare", &one, &fewer]);
    assert!(message.contains("n is 6, not 8") && message.contains("--force"), "{message}");
    sinter.succeeds(&["eval", "compare", &one, &fewer, "--force"]);
    let (message, _) = sinter.fails(&["eval", "compare", &npz]);
    assert!(message.contains("samples.npz"), "{message}");
}

#[test]
fn every_block_is_probed_at_every_time() {
    let sinter = Sinter::new();
    let run = sinter.train("run", &[]);
    let text = sinter.succeeds(&["eval", "probe", &run, "--times", "0.1,0.8", "--n", "100", "--test", "40"]);
    assert!(text.contains("blocks.0") && text.contains("best: blocks.0 at t = "), "{text}");
    let report: Value = serde_json::from_slice(&fs::read(format!("{run}/eval/16-probe.json")).unwrap()).unwrap();
    let cells = report["cells"].as_array().unwrap();
    assert_eq!((cells.len(), &report["classes"]), (2, &48.into()));
    assert!(cells.iter().all(|cell| (0.0..=1.0).contains(&cell["linear"].as_f64().unwrap())));
    for kind in ["linear", "neighbours"] {
        assert!(image::open(format!("{run}/eval/16-probe-{kind}.png")).is_ok());
    }
    let (message, _) = sinter.fails(&["eval", "probe", &run, "--times", "1.5"]);
    assert!(message.contains("times from 0 to 1"), "{message}");
}

#[test]
fn bad_input_is_told_and_gives_no_number() {
    let sinter = Sinter::new();
    let (folder, out) = (sinter.path("images"), sinter.path("records"));
    fs::create_dir(&folder).unwrap();
    let image = |name: &str, size: u32, value: u8| {
        image::GrayImage::from_pixel(size, size, image::Luma([value])).save(format!("{folder}/{name}")).unwrap();
    };
    let metrics = ["--metrics", "frechet", "--features", "pixels", "--out", &out];
    let evaluate = ["eval", "images", &folder, &folder];
    let fails = |more: &[&str]| sinter.fails(&[&evaluate[..], &metrics[..], more].concat());

    assert!(fails(&[]).0.contains("no PNG or JPEG"));
    for (i, name) in ["a.png", "b.png", "c.png"].iter().enumerate() {
        image(name, 4, 60 * i as u8);
    }
    sinter.succeeds(&[&evaluate[..], &metrics[..]].concat());
    fs::remove_dir_all(&out).unwrap();

    fs::write(format!("{folder}/d.png"), [137, 80, 78, 71]).unwrap();
    assert!(fails(&[]).0.contains("d.png"));
    assert!(!Path::new(&out).exists());
    sinter.succeeds(&[&evaluate[..], &metrics[..], &["--skip-damaged"]].concat());
    fs::remove_dir_all(&out).unwrap();

    image("d.png", 5, 9);
    let (message, _) = fails(&["--skip-damaged"]);
    assert!(message.contains("d.png") && message.contains("5 x 5"), "{message}");

    // Settings that do not fit.
    let code = |arguments: &[&str], text: &str| {
        let (message, code) = sinter.fails(arguments);
        assert!(message.contains(text) && code == Some(78), "{message}: {code:?}");
    };
    code(&["eval", "images", &folder, &folder, "--out", &out], "--metrics");
    code(&["eval", "images", &folder, &folder, "--metrics", "frechet"], "--features");
    code(&["eval", "images", &folder, &folder, "--metrics", "fid", "--features", "pixels"], "fid");
    code(&["eval", "images", &folder, &folder, "--metrics", "frechet", "--features", "runs/none"], "runs/none");
    code(&["eval", "images", "no-such-set", &folder, "--metrics", "frechet", "--features", "pixels"], "no-such-set");
}

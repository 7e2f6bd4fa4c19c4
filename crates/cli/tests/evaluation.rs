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
    let [first, second] = [&one, &two].map(|path| number(&fs::read(path).unwrap()));
    let (least, largest) = (first.min(second), first.max(second));
    let mean = (first + second) / 2.0;
    assert!(text.contains("seeds 1, 2, all else equal: mean [least, largest]"), "{text}");
    assert!(text.contains(&format!("{mean:.4} [{least:.4}, {largest:.4}]")), "{text}");
    assert!(!sinter.succeeds(&["eval", "compare", &one, &one]).contains("all else equal"));
    sinter.succeeds(&[&["eval", &run, "--n", "6", "--seed", "9"], &metrics[..]].concat());
    let fewer = record_path(&records, "pixels_-6").display().to_string();
    let (message, _) = sinter.fails(&["eval", "compare", &one, &fewer]);
    assert!(message.contains("n is 6, not 8") && message.contains("--force"), "{message}");
    sinter.succeeds(&["eval", "compare", &one, &fewer, "--force"]);
    let (message, _) = sinter.fails(&["eval", "compare", &npz]);
    assert!(message.contains("samples.npz"), "{message}");
}

const SCORE: &str = r#"{type="classification_accuracy_score",images=64,batch=16,learning_rate=1e-2,model={channels=8,depth=1,features=8,groups=4}}"#;

#[test]
fn a_classifier_is_trained_on_samples_and_judged_by_the_data() {
    let sinter = Sinter::new();
    let run = sinter.train("run", &[]);
    let metrics = ["--metrics", SCORE];
    let score = || {
        sinter.succeeds(&[&["eval", &run, "--n", "96", "--seed", "5"], &metrics[..]].concat());
        record(&format!("{run}/eval"), "CAS")
    };
    let first = score();
    assert_eq!(score(), first);
    let told: Value = serde_json::from_slice(&first).unwrap();
    let measurement = &told["protocol"]["measurement"];
    assert_eq!((&told["metric"], &measurement["reference"]), (&"CAS[classifier]-96".into(), &"shapes test".into()));
    // As many as `eval.reference_images` says.
    assert_eq!(measurement["reference_images"], 50);
    for (name, value) in [("images", 64.0), ("batch", 16.0), ("learning_rate", 1e-2), ("warmup", 0.05), ("seed", 0.0)] {
        assert_eq!(measurement["settings"][name].as_f64(), Some(value), "{name}");
    }
    assert_eq!(measurement["settings"]["model"]["channels"], 8);
    let (value, low) = (told["value"].as_f64().unwrap(), told["interval"][0].as_f64().unwrap());
    assert!((0.0..=1.0).contains(&value) && low <= value);

    // Of the same samples in a file, the same number.
    let (npz, out) = (sinter.path("npz"), sinter.path("records"));
    sinter.succeeds(&["sample", &run, "--n", "96", "--seed", "5", "--npz", "--out", &npz]);
    let samples = format!("{npz}/samples.npz");
    let evaluate = |images: &str, reference: &str| {
        [&["eval", "images", images, reference, "--out", &out], &metrics[..]]
            .concat()
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let words = evaluate(&samples, &run);
    sinter.succeeds(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(number(&record(&out, "CAS")), value);

    // Files without classes teach nothing; classes of other names are not the data's.
    let fails = |images: &str, reference: &str| {
        let words = evaluate(images, reference);
        sinter.fails(&words.iter().map(String::as_str).collect::<Vec<_>>()).0
    };
    let files = sinter.path("files");
    sinter.succeeds(&["sample", &run, "--n", "4", "--out", &files]);
    let message = fails(&files, &run);
    assert!(message.contains("not asked for a class"), "{message}");
    let folders = sinter.path("folders");
    for class in ["circle", "square"] {
        fs::create_dir_all(format!("{folders}/{class}")).unwrap();
        image::RgbImage::new(16, 16).save(format!("{folders}/{class}/a.png")).unwrap();
    }
    let message = fails(&folders, &run);
    assert!(message.contains("circle, square") && message.contains("the reference's"), "{message}");
    let statistics = sinter.path("statistics.npz");
    sinter.succeeds(&["eval", "stats", &run, "--features", "pixels", "--out", &statistics]);
    let message = fails(&samples, &statistics);
    assert!(message.contains("not by statistics"), "{message}");
    let wrong = r#"{type="classification_accuracy_score",batch=0,model={groups=5}}"#;
    let (message, code) = sinter.fails(&["eval", &run, "--metrics", wrong]);
    assert!(message.contains("batch: must be at least 1") && code == Some(78), "{message}");
}

/// A classifier of the smoke test's data, of one update.
fn classifier(sinter: &Sinter) -> String {
    let run = sinter.path("classifier");
    let settings = [
        "data.source={type=\"shapes\",resolution=16,size=200,test_size=100}",
        "model={type=\"classifier\",channels=8,depth=2,features=8,groups=4}",
        "train.images=16",
        "train.batch=16",
        "eval.validation=0",
        "ema.half_life=[8]",
    ];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let words: Vec<&str> =
        ["train", "configs/classifier/shapes.toml", "--run", &run].into_iter().chain(settings).collect();
    sinter.succeeds(&words);
    run
}

#[test]
fn a_file_of_weights_is_a_feature_network() {
    let sinter = Sinter::new();
    let (run, network) = (sinter.train("run", &[]), classifier(&sinter));
    let file = format!("{network}/checkpoints/16/average-8.safetensors");
    let features =
        |file: &str, more: &str| format!(r#"{{type="network",config="{network}/config.toml",file="{file}"{more}}}"#);
    let folder = format!("{run}/eval");
    let evaluate = |features: &str| {
        let words = [
            "eval",
            &run,
            "--n",
            "8",
            "--metrics",
            "frechet",
            "--metrics",
            "classifier_accuracy",
            "--features",
            features,
        ];
        sinter.run(&words)
    };
    assert!(evaluate(&network).status.success());
    let of_run = record(&folder, "FD_classifier_classifier-shapes_-8");
    let output = evaluate(&features(&file, ""));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let of_file = record(&folder, "FD_network_classifier-shapes_features_-8");
    assert_eq!(number(&of_run), number(&of_file));
    let told: Value = serde_json::from_slice(&of_file).unwrap();
    let measurement = &told["protocol"]["measurement"];
    assert_eq!(measurement["features_hash"], sinter_data::digest::sha256(fs::read(&file).unwrap()));
    assert_eq!(measurement["features_settings"]["model"]["groups"], 4);

    // A level of it, which has no logits; a layer that there is not.
    let message = |features: &str| {
        let output = evaluate(features);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let level = message(&features(&file, r#",layer="levels.1""#));
    assert!(level.contains("classifier_accuracy") && level.contains("has no logits"), "{level}");
    let none = message(&features(&file, r#",layer="levels.7""#));
    assert!(none.contains("levels.0, levels.1"), "{none}");
    // The weights of something else, and of nothing.
    let other = message(&features(&format!("{run}/checkpoints/16/network.safetensors"), ""));
    assert!(other.contains("network.safetensors") && other.contains("missing: logits.bias"), "{other}");
    let missing = message(&features("no/such.safetensors", ""));
    assert!(missing.contains("no/such.safetensors"), "{missing}");
    // Weights that are no numbers.
    let (mut arrays, metadata) = sinter_models::weights::read(&file).unwrap();
    arrays.get_mut("model/features.bias").unwrap().values[3] = f32::NAN;
    let damaged = sinter.path("damaged.safetensors");
    sinter_models::weights::write(&damaged, &arrays, &metadata).unwrap();
    let not_finite = message(&features(&damaged, ""));
    assert!(not_finite.contains("the features of image 0 hold NaN"), "{not_finite}");

    // A block of the run's own network, from a file that it exported.
    let exported = sinter.path("weights.safetensors");
    sinter.succeeds(&["export", &run, "--ema", "raw", "--to", "dit", "--out", &exported]);
    let block = format!(
        r#"{{type="network",config="{run}/config.toml",file="{exported}",from="dit",layer="blocks.0",time=0.1}}"#
    );
    sinter.succeeds(&["eval", &run, "--n", "8", "--metrics", "frechet", "--features", &block]);
    let told: Value = serde_json::from_slice(&record(&folder, "FD_network_smoke_blocks_0_-8")).unwrap();
    let settings = &told["protocol"]["measurement"]["features_settings"];
    assert_eq!((&settings["time"], &settings["from"]), (&0.1.into(), &"dit".into()));
    assert!(told["value"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_model_that_gives_no_numbers_has_no_score() {
    let sinter = Sinter::new();
    let run = sinter.train("run", &[]);
    let (file, broken) = (sinter.path("weights.safetensors"), sinter.path("broken"));
    sinter.succeeds(&["export", &run, "--ema", "raw", "--to", "dit", "--out", &file]);
    let (mut arrays, metadata) = sinter_models::weights::read(&file).unwrap();
    let name = arrays.keys().find(|name| name.contains("final_layer")).unwrap().clone();
    arrays.get_mut(&name).unwrap().values.fill(f32::NAN);
    sinter_models::weights::write(&file, &arrays, &metadata).unwrap();
    sinter.succeeds(&[&["import", &file, SMOKE, "--from", "dit", "--run", &broken], &DIT[..]].concat());
    let (message, _) = sinter.fails(&["eval", &broken, "--n", "8", "--metrics", "frechet", "--features", "pixels"]);
    assert!(message.contains("sample 0 holds NaN"), "{message}");
    assert!(!Path::new(&format!("{broken}/eval")).exists());
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

    // Weights that are not Inception's.
    image("d.png", 4, 9);
    let weights = sinter.path("inception.pth");
    let inception = format!(r#"{{type="inception",weights="{weights}"}}"#);
    let fails =
        || sinter.fails(&["eval", "images", &folder, &folder, "--metrics", "frechet", "--features", &inception]).0;
    assert!(fails().contains("inception.pth"));
    fs::write(&weights, "no weights").unwrap();
    assert!(fails().contains("inception.pth"));
    let one = sinter_models::parameters::Array { shape: vec![2], values: vec![0.0; 2] };
    sinter_models::weights::write(&weights, &[("fc.bias".to_owned(), one)].into(), &Default::default()).unwrap();
    let message = fails();
    assert!(message.contains("not the weights of FID's Inception-v3"), "{message}");
    assert!(message.contains("shape: fc.bias is [2] and not [1008]"), "{message}");

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

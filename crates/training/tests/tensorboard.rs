//! Event files, read by TensorBoard itself.
//!
//! `SINTER_TENSORBOARD_PYTHON` names a Python with the packages of `tools/tensorboard/requirements.txt`; without it the
//! tests are ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;
use std::process::{Command, ExitCode};

use image::{Rgb, RgbImage};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use sinter_training::logging::tensorboard::{EventWriter, Hyperparameter, truncate};

const PYTHON: &str = "SINTER_TENSORBOARD_PYTHON";

fn main() -> ExitCode {
    let python = std::env::var(PYTHON).ok().filter(|python| !python.is_empty());
    let test = |name, body: fn(&Reader) -> Result<(), Failed>| {
        let reader = Reader { python: python.clone().unwrap_or_default() };
        Trial::test(name, move || body(&reader)).with_ignored_flag(python.is_none())
    };
    let tests = vec![
        test("reads_scalars", reads_scalars),
        test("reads_pictures_that_are_not_square", reads_pictures_that_are_not_square),
        test("reads_histograms", reads_histograms),
        test("reads_texts", reads_texts),
        test("reads_hyperparameters", reads_hyperparameters),
        test("reads_a_continued_run", reads_a_continued_run),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

struct Reader {
    python: String,
}

impl Reader {
    /// What TensorBoard finds in a folder.
    fn read(&self, folder: &Path) -> Result<Value, Failed> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/tensorboard/read.py");
        let output = Command::new(&self.python).arg(script).arg(folder).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What TensorBoard finds of what `write` writes.
    fn read_back(&self, write: impl FnOnce(&mut EventWriter) -> Result<(), Failed>) -> Result<Value, Failed> {
        let folder = tempfile::tempdir()?;
        write(&mut EventWriter::create(folder.path(), 0)?)?;
        self.read(folder.path())
    }
}

fn expect(found: &Value, expected: &Value) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("found {found}\nexpected {expected}").into()) }
}

fn reads_scalars(reader: &Reader) -> Result<(), Failed> {
    let found = reader.read_back(|writer| {
        writer.scalars(0, &[("loss/total", 0.5), ("rate", 1e-4)])?;
        writer.scalars(10_000_000_000, &[("loss/total", -0.25)])?;
        Ok(())
    })?;
    let rate = f64::from(1e-4_f32);
    expect(&found["scalars"], &json!({"loss/total": [[0, 0.5], [10_000_000_000_u64, -0.25]], "rate": [[0, rate]]}))
}

fn reads_pictures_that_are_not_square(reader: &Reader) -> Result<(), Failed> {
    let picture = RgbImage::from_fn(5, 3, |x, y| Rgb([50 * x as u8, 100 * y as u8, 7]));
    let found = reader.read_back(|writer| Ok(writer.image(64, "samples", &picture)?))?;
    let pixels: Vec<_> = picture.pixels().map(|pixel| pixel.0).collect();
    let expected = json!({"images": 64, "size": [5, 3], "size_in_png": [5, 3], "pixels": pixels});
    expect(&found["pictures"], &json!({"samples": [expected]}))
}

fn reads_histograms(reader: &Reader) -> Result<(), Failed> {
    let values: Vec<f32> = (0..=128).map(|i| i as f32 / 64.0 - 1.0).collect();
    let found = reader.read_back(|writer| {
        writer.histogram(1, "weights", &values)?;
        writer.histogram(2, "constant", &[3.0; 4])?;
        writer.histogram(3, "nothing", &[f32::NAN])?;
        Ok(())
    })?;
    let limits: Vec<f64> = (1..=64).map(|i| f64::from(i) / 32.0 - 1.0).collect();
    let mut counts = vec![2.0; 64];
    counts[63] = 3.0;
    let squares: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let one = |images: u64, x: f64, n: f64| {
        json!([{"images": images, "range": [x, x], "number": n, "sum": n * x, "sum_squares": n * x * x, "limits": [x],
            "counts": [n]}])
    };
    let expected = json!({
        "weights": [{"images": 1, "range": [-1.0, 1.0], "number": 129.0, "sum": 0.0, "sum_squares": squares,
            "limits": limits, "counts": counts}],
        "constant": one(2, 3.0, 4.0),
        "nothing": one(3, 0.0, 0.0),
    });
    expect(&found["histograms"], &expected)
}

fn reads_texts(reader: &Reader) -> Result<(), Failed> {
    let text = "# A run\n\n| key | value |\n|---|---|\n| naïve | `ß` |\n";
    let found = reader.read_back(|writer| {
        writer.text(0, "config", text)?;
        writer.text(9, "config", "")?;
        Ok(())
    })?;
    expect(&found["texts"], &json!({"config": [[0, text], [9, ""]]}))
}

fn reads_hyperparameters(reader: &Reader) -> Result<(), Failed> {
    let found = reader.read_back(|writer| {
        let values = [
            ("model.type", Hyperparameter::Word("dit".into())),
            ("train.batch", Hyperparameter::Number(64.0)),
            ("eval.test", Hyperparameter::Flag(false)),
        ];
        writer.hyperparameters(&values.map(|(name, value)| (name.to_owned(), value)), &["loss", "eval/frechet"])?;
        Ok(())
    })?;
    let expected = json!({
        "values": {"model.type": "dit", "train.batch": 64.0, "eval.test": false},
        "kinds": {"model.type": "DATA_TYPE_STRING", "train.batch": "DATA_TYPE_FLOAT64", "eval.test": "DATA_TYPE_BOOL"},
        "metrics": ["loss", "eval/frechet"],
    });
    expect(&found["hyperparameters"], &expected)
}

/// A run that was killed at 300 images and continued from its checkpoint at 100.
fn reads_a_continued_run(reader: &Reader) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut killed = EventWriter::create(folder.path(), 0)?;
    for images in [0, 100, 200, 300] {
        killed.scalars(images, &[("loss", 1.0)])?;
        killed.text(images, "note", "killed")?;
    }
    let path = std::fs::read_dir(folder.path())?.next().ok_or("no file")??.path();
    let whole = std::fs::read(&path)?;
    std::fs::write(&path, &whole[..whole.len() - 5])?;

    truncate(folder.path(), 100)?;
    let mut continued = EventWriter::create(folder.path(), 100)?;
    for images in [200, 300] {
        continued.scalars(images, &[("loss", 2.0)])?;
    }
    let found = reader.read(folder.path())?;
    expect(&found["scalars"], &json!({"loss": [[0, 1.0], [100, 1.0], [200, 2.0], [300, 2.0]]}))?;
    expect(&found["texts"], &json!({"note": [[0, "killed"], [100, "killed"]]}))
}

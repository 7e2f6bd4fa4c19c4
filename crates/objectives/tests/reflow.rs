//! Reflow and its pairs, as the trainer drives them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use burn::tensor::{DType, Device, Tensor};
use common::Fixture;
use sinter_objectives::distillation::pairs::{PairBatch, Pairs, PairsConfig};
use sinter_objectives::distillation::reflow::{Reflow, Stage};
use sinter_objectives::{Clock, MethodError, Objective};
use sinter_process::{Path, PathPoint};
use sinter_sampling::values;

const FLOW: &str = r#"path = { type = "linear_flow" }
prediction = { type = "velocity" }"#;

const EDM: &str = r#"path = { type = "edm" }
prediction = { type = "edm_f" }
input_scale = { type = "unit_variance" }
time_label = { type = "log_sigma" }"#;

fn reflow(process: &str, rest: &str) -> Reflow {
    let process = process.replace('\n', ", ");
    toml::from_str(&format!(
        "teacher = \"runs/teacher\"\nprocess = {{ {process} }}\npairs = {{ images = 64, sampler = {{ steps = 4 }} }}\n{rest}"
    ))
    .unwrap()
}

/// The loss of a network that predicts clean data exactly as `data`, plus an error of the line's velocity, for data
/// `s eps` of noise eps: the coupling that an exact flow of N(0, s^2) makes.
fn losses(config: &Reflow, s: f64, error: f64, t: f64) -> Vec<f64> {
    let device = Device::flex();
    let noise = values(&[0.3, -1.2, 2.0, 0.7], &device, DType::F32).reshape([2, 2, 1, 1]);
    let data = noise.clone() * s;
    let path = &config.process.path;
    let point = path.at(path.time_of_lambda(Path::LinearFlow.at(t).lambda()));
    let points: Vec<PathPoint> = vec![point; 2];
    // On the line x_t = ((1 - t) s + t) eps, so that x0 = s x_t / ((1 - t) s + t): Liu et al.'s 2-flow of a Gaussian.
    let output = |input: Tensor<4>, _: Tensor<1>| {
        let state = input / config.process.input_scale.scale(&point);
        let exact = state.clone() * (s / (point.alpha * s + point.sigma));
        let wrong = exact - error * point.sigma / (point.alpha + point.sigma);
        let map = config.process.prediction.data_from(&point);
        (wrong - state * map.x) / map.prediction
    };
    config.losses(data, noise, &points, output).into_data().iter::<f32>().map(f64::from).collect()
}

#[test]
fn the_loss_is_that_of_the_lines_velocity_whatever_the_network_predicts() {
    for process in [FLOW, EDM] {
        let squared = reflow(process, "");
        let huber = reflow(process, "distance = { type = \"mean_pseudo_huber\", factor = 0.1 }");
        for t in [0.2, 0.6, 0.95] {
            for loss in losses(&squared, 0.4, 0.0, t) {
                assert!(loss < 1e-9, "{loss}");
            }
            for loss in losses(&squared, 0.4, 0.5, t) {
                assert!((loss - 0.25).abs() < 1e-4, "{loss}");
            }
            let c: f64 = 0.1 * 2.0;
            let expected = ((2.0 * 0.25 + c * c).sqrt() - c) / 2.0;
            for loss in losses(&huber, 0.4, 0.5, t) {
                assert!((loss - expected).abs() < 1e-4, "{loss} {expected}");
            }
        }
    }
}

fn pairs(fixture: &Fixture) -> Pairs {
    let config: PairsConfig =
        toml::from_str("images = 64\nsampler = { solver = { type = \"heun\", clock = \"time\" }, steps = 4 }").unwrap();
    Pairs::open(&fixture.setup(), std::path::Path::new("runs/teacher"), &config).unwrap().unwrap()
}

#[test]
fn pairs_are_the_same_made_kept_lost_or_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::points(FLOW);
    let without: PairBatch = pairs(&fixture).batch(3, 10, 64).unwrap();
    assert_eq!(without.images.first_image, 3);
    assert!(without.images.pixels.iter().zip(&without.noise).any(|(x, z)| (x - z).abs() > 0.1));

    fixture.cache = Some(folder.path().to_path_buf());
    assert_eq!(pairs(&fixture).batch(3, 10, 64).unwrap(), without);
    let kept = std::fs::read_dir(folder.path().join("pairs")).unwrap().next().unwrap().unwrap().path();
    assert!(kept.join("manifest.json").is_file());
    let file = kept.join("000000.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(pairs(&fixture).batch(3, 10, 64).unwrap(), without);

    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for wrong in [&damaged[..], &bytes[..100]] {
        std::fs::write(&file, wrong).unwrap();
        assert_eq!(pairs(&fixture).batch(3, 10, 64).unwrap(), without);
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }

    // After the last pair comes the first; another teacher has a folder of its own.
    let round = pairs(&fixture).batch(67, 10, 64).unwrap();
    assert_eq!((&round.images.pixels, &round.noise), (&without.images.pixels, &without.noise));
    fixture.runs.seed = 6;
    assert_ne!(pairs(&fixture).batch(3, 10, 64).unwrap().images.pixels, without.images.pixels);
    assert_eq!(std::fs::read_dir(folder.path().join("pairs")).unwrap().count(), 2);
}

#[test]
fn a_student_begins_as_its_teacher_and_learns_one_step() {
    let fixture = Fixture::points(FLOW);
    let mut config = reflow(FLOW, "");
    config.stage = Stage::Distillation;
    let mut method = config.build(&fixture.setup()).unwrap();
    assert_eq!(method.teachers()["runs/teacher"], "seed 5");
    let mut clock = Clock { images: 0, step: 0, micro_batch: 64 };
    let mut losses = Vec::new();
    for _ in 0..60 {
        let batch = fixture.batch(clock.images, 64);
        losses.push(method.step(&batch, clock).unwrap().mean("loss").unwrap());
        clock.images += 64;
        clock.step += 1;
    }
    assert!(losses[59] < 0.5 * losses[0], "{} after {}", losses[59], losses[0]);
    let held_out = method.inference(None).validate(&fixture.batch(0, 32)).unwrap().mean("validation/loss").unwrap();
    assert!(held_out < 0.5 * losses[0], "{held_out}");
}

#[test]
fn what_does_not_fit_is_told() {
    let refused = |config: &Reflow, fixture: &Fixture| config.build(&fixture.setup()).err().unwrap().to_string();
    let fixture = Fixture::points(FLOW);
    let message = refused(&reflow(EDM, ""), &fixture);
    assert!(message.contains("objective.process"), "{message}");

    let mut config = reflow(FLOW, "");
    config.pairs = toml::from_str("images = 4\nsampler = { solver = { type = \"ddpm\" }, steps = 4 }").unwrap();
    let message = refused(&config, &fixture);
    assert!(message.contains("draws noise"), "{message}");

    let mut other = Fixture::points(FLOW);
    other.runs.conditioner = sinter_sampling::Conditioner::new([1, 8, 8], 0, &[], 0).unwrap();
    other.runs.model =
        toml::from_str("type = \"unet\"\nchannels = 8\nmultipliers = [1]\nblocks = 1\ngroups = 4\nattention = []")
            .unwrap();
    let message = refused(&reflow(FLOW, ""), &other);
    assert!(message.contains("images of 1 x 8 x 8") && message.contains("objective.teacher"), "{message}");

    let mut smaller = Fixture::points(FLOW);
    smaller.model = toml::from_str("type = \"mlp\"\nwidth = 8\ndepth = 2").unwrap();
    let message = refused(&reflow(FLOW, ""), &smaller);
    assert!(message.contains("another network"), "{message}");

    // Opened for use: no teacher is needed, and training says so.
    let setup = sinter_objectives::Setup { training: None, ..fixture.setup() };
    let mut method = reflow(FLOW, "").build(&setup).unwrap();
    let step = method.step(&fixture.batch(0, 4), Clock { images: 0, step: 0, micro_batch: 4 });
    assert!(matches!(step, Err(MethodError::Setup(_))));
}

//! Distribution matching: closed forms between Gaussians, and the method as the trainer drives it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::Fixture;
use sinter_objectives::adversarial::{discriminator_loss, generator_loss};
use sinter_objectives::distillation::dmd::{DifferenceWeight, Dmd, surrogate};
use sinter_objectives::{Clock, Objective};
use sinter_process::{Path, PathPoint};

const FLOW: &str = r#"path = { type = "linear_flow" }
prediction = { type = "velocity" }"#;

fn dmd(process: &str, rest: &str) -> Dmd {
    let process = process.replace('\n', ", ");
    toml::from_str(&format!(
        "teacher = \"runs/teacher\"\nprocess = {{ {process} }}\ngrid = {{ type = \"uniform_time\" }}\n{rest}"
    ))
    .unwrap()
}

fn images(values: &[f64]) -> Tensor<4> {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count, 1, 1, 1]), &Device::flex())
}

/// Teacher N(m, s^2) and generator `a z + b`, on EDM's path, at one noise level (the method sheet's numbers): the points
/// `z = +-1`, `eps = +-1` have the first two moments of the draws, and the expected data are linear in them.
#[test]
fn the_gradient_between_gaussians_is_the_closed_form() {
    let (m, s, b, a, sigma) = (0.3_f64, 0.7_f64, 1.1_f64, 1.4_f64, 0.9_f64);
    let mut config = dmd("path = { type = \"edm\" }\nprediction = { type = \"edm_f\" }", "");
    config.weight = DifferenceWeight::Uniform;
    let draws = [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)];
    let x: Vec<f64> = draws.iter().map(|(z, _)| a * z + b).collect();
    let states: Vec<f64> = draws.iter().zip(&x).map(|((_, eps), x)| x + sigma * eps).collect();
    let expected = |mean: f64, deviation: f64| {
        let variance = deviation * deviation;
        let of = |x: &f64| (variance * x + sigma * sigma * mean) / (variance + sigma * sigma);
        images(&states.iter().map(of).collect::<Vec<_>>())
    };
    let point = PathPoint { t: 0.5, alpha: 1.0, sigma, alpha_dot: 0.0, sigma_dot: 1.0 };
    let gradient = |fake| config.gradient(&images(&x), expected(m, s), fake, &[point; 4]);
    let values: Vec<f32> = gradient(expected(b, a)).into_data().iter::<f32>().collect();
    let mean = values.iter().map(|&g| f64::from(g)).sum::<f64>() / 4.0;
    let slope = values.iter().zip(draws).map(|(&g, (z, _))| f64::from(g) * z).sum::<f64>() / 4.0;
    let closed_mean = sigma.powi(2) * (b - m) / (s * s + sigma * sigma);
    let closed_slope = a * sigma.powi(2) * (a * a - s * s) / ((a * a + sigma * sigma) * (s * s + sigma * sigma));
    assert!((closed_mean - 0.49846).abs() < 1e-5 && (closed_slope - 0.46292).abs() < 1e-5);
    assert!((mean - closed_mean).abs() < 1e-6, "{mean} {closed_mean}");
    assert!((slope - closed_slope).abs() < 1e-6, "{slope} {closed_slope}");
    // Nothing to learn where the second network expects what the teacher does.
    assert!(gradient(expected(m, s)).abs().max().into_scalar::<f32>() == 0.0);
}

#[test]
fn weights_of_the_difference_are_as_published() {
    let (x, teachers, fakes) = (images(&[1.0, 2.0]), images(&[0.5, 1.0]), images(&[0.75, 0.0]));
    let point = Path::LinearFlow.at(0.25);
    let of = |weight| {
        let config = Dmd { weight, ..dmd(FLOW, "") };
        config.gradient(&x, teachers.clone(), fakes.clone(), &[point; 2]).into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let close = |found: Vec<f32>, expected: [f32; 2]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} {expected:?}");
    };
    close(of(DifferenceWeight::Uniform), [0.25, -1.0]);
    close(of(DifferenceWeight::MeanAbsolute), [0.5, -1.0]);
    close(of(DifferenceWeight::Score), [2.25, -9.0]);
}

#[test]
fn the_surrogate_has_the_gradient_over_the_elements() {
    let device = Device::flex().autodiff();
    let shape = [2, 3, 2, 2];
    let ramp = |factor: f32| {
        let values: Vec<f32> = (0..24).map(|i| factor * (i as f32 - 9.0)).collect();
        Tensor::<4>::from_data(TensorData::new(values, shape), &device)
    };
    let x = ramp(0.1).require_grad();
    let gradients = surrogate(x.clone(), ramp(0.03)).sum().backward();
    let found: Vec<f32> = x.grad(&gradients).unwrap().into_data().iter::<f32>().collect();
    for (i, found) in found.into_iter().enumerate() {
        assert!((found - 0.03 * (i as f32 - 9.0) / 12.0).abs() < 1e-6);
    }
}

/// The best logit is `ln(p_data / p_generated)`: the losses' derivatives, weighted by both densities, cancel there.
#[test]
fn the_best_discriminator_knows_the_ratio_of_densities() {
    let device = Device::flex().autodiff();
    for (data, generated) in [(0.7_f32, 0.2_f32), (0.1, 0.9), (0.5, 0.5)] {
        let logit = Tensor::<1>::from_floats([(data / generated).ln()], &device).require_grad();
        let zero = || Tensor::<1>::zeros([1], &device);
        let on_data = discriminator_loss(logit.clone(), zero()) * data;
        let on_generated = discriminator_loss(zero(), logit.clone()) * generated;
        let gradients = (on_data + on_generated).sum().backward();
        assert!(logit.grad(&gradients).unwrap().into_scalar::<f32>().abs() < 1e-6);
    }
    // The generator's loss falls as its images look more like data.
    let losses = generator_loss(Tensor::from_floats([-2.0, 0.0, 2.0], &device)).into_data();
    let losses: Vec<f32> = losses.iter::<f32>().collect();
    assert!(losses[0] > losses[1] && losses[1] > losses[2] && (losses[1] - 2.0_f32.ln()).abs() < 1e-6);
}

/// A flow whose velocity is zero gives its noise as data; of N(0, 1) the second network is to expect
/// `(1 - t) x / ((1 - t)^2 + t^2)`.
#[test]
fn the_second_network_learns_the_generators_distribution() {
    let mut fixture = Fixture::points(FLOW);
    fixture.runs.random = false;
    fixture.optimizer.learning_rate = 0.0;
    let config =
        dmd(FLOW, "guidance = { scale = 1.0 }\nfake_score = { updates = 1, optimizer = { learning_rate = 3e-3 } }");
    let mut method = config.build(&fixture.setup()).unwrap();
    let mut clock = Clock { images: 0, step: 0, micro_batch: 512 };
    let mut tail = Vec::new();
    for step in 0..300 {
        let tally = method.step(&fixture.batch(clock.images, 512), clock).unwrap();
        if step >= 250 {
            tail.push(tally.mean("loss/fake_score").unwrap());
        }
        clock.images += 512;
        clock.step += 1;
    }
    // The least loss of velocity: the variance of eps - x0 given x, over uniform t, is 1 / ((1 - t)^2 + t^2): pi / 2.
    let loss = tail.iter().sum::<f64>() / tail.len() as f64;
    assert!((loss - std::f64::consts::FRAC_PI_2).abs() < 0.03, "{loss}");
}

fn run(config: &Dmd, fixture: &Fixture, steps: u64, micro_batch: usize) -> Vec<(String, Vec<f32>)> {
    let mut method = config.build(&fixture.setup()).unwrap();
    for step in 0..steps {
        let clock = Clock { images: 32 * step, step, micro_batch };
        method.step(&fixture.batch(clock.images, 32), clock).unwrap();
    }
    let parts = method.parts();
    let of = |part: &&dyn sinter_optimization::Part| {
        let values = part.parameters().unwrap().into_values().flat_map(|array| array.values).collect();
        (part.name().to_owned(), values)
    };
    parts.iter().map(of).collect()
}

const ALL: &str = "steps = 3\nfake_score = { updates = 2 }\nadversarial = { generator = 0.1, heads = { blocks = [\"blocks.0\", \"blocks.1\"], hidden = 8 } }\nregression = { weight = 0.5, pairs = { images = 64, sampler = { steps = 2 } } }\nguidance = { scale = 2.0 }";

#[test]
fn every_part_moves_and_portions_add_up() {
    let mut fixture = Fixture::points(FLOW);
    fixture.optimizer.learning_rate = 1e-2;
    let config = dmd(FLOW, ALL);
    assert!(config.validate(&fixture.model, fixture.conditioner.shape()).is_empty());
    let (start, whole, portions) =
        (run(&config, &fixture, 0, 32), run(&config, &fixture, 3, 32), run(&config, &fixture, 3, 8));
    assert_eq!(
        start.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["model", "fake_score", "discriminator"]
    );
    for ((before, after), portions) in start.iter().zip(&whole).zip(&portions) {
        let moved = before.1.iter().zip(&after.1).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let apart = after.1.iter().zip(&portions.1).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(moved > 5e-3, "{} moved by {moved}", before.0);
        assert!(apart < 0.2 * moved, "{}: portions are {apart} apart, moved by {moved}", before.0);
    }
    // A step is a function of seed and clock.
    assert_eq!(whole, run(&config, &fixture, 3, 32));
}

#[test]
fn an_unknown_block_is_told_with_those_there_are() {
    let fixture = Fixture::points(FLOW);
    let config = dmd(FLOW, "adversarial = { heads = { blocks = [\"blocks.9\"] } }");
    let message = config.build(&fixture.setup()).err().unwrap().to_string();
    assert!(message.contains("blocks.9") && message.contains("blocks.0, blocks.1"), "{message}");
}

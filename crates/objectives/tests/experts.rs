//! What is logged of the loss of a network with experts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use burn::tensor::Device;
use sinter_data::Batch;
use sinter_models::ModelConfig;
use sinter_objectives::{Clock, Objective, ObjectiveConfig, Setup, Tally};
use sinter_optimization::OptimizerConfig;
use sinter_sampling::Conditioner;

const IMAGES: usize = 6;

/// The first step with a prior of this weight, in portions of `micro_batch`.
fn step(prior: f64, micro_batch: usize) -> Tally {
    let objective: ObjectiveConfig = toml::from_str(
        r#"
        type = "denoising"
        path = { type = "linear_flow" }
        prediction = { type = "velocity" }
        time_label = { type = "thousand" }
        "#,
    )
    .unwrap();
    let model = format!(
        r#"
        type = "dit"
        width = 16
        depth = 2
        heads = 2
        routing = {{ type = "experts", prior = {prior:.1} }}
        "#
    );
    let model: ModelConfig = toml::from_str(&model).unwrap();
    let optimizer: OptimizerConfig = toml::from_str("learning_rate = 1e-3").unwrap();
    let conditioner = Conditioner::new([3, 8, 8], 5, &[], 0).unwrap();
    let device = Device::flex();
    let setup = Setup {
        model: &model,
        adapters: None,
        optimizer: &optimizer,
        conditioner: &conditioner,
        device: &device,
        seed: 7,
        training: None,
    };
    let batch = Batch {
        shape: [IMAGES, 3, 8, 8],
        pixels: (0..IMAGES * 3 * 64).map(|i| ((i * 31) % 97) as f32 / 48.0 - 1.0).collect(),
        classes: Some((0..IMAGES as u32).map(|i| i % 5).collect()),
        captions: None,
        first_image: 40,
    };
    objective.build(&setup).unwrap().step(&batch, Clock { images: 40, step: 0, micro_batch }).unwrap()
}

/// The total is the denoising loss and the prior's, which is also told alone.
#[test]
fn the_prior_is_logged_beside_the_total() {
    let none = step(0.0, IMAGES);
    assert_eq!(none.mean("loss/prior"), None);
    let part = |weight, micro_batch| {
        let tally = step(weight, micro_batch);
        let prior = tally.mean("loss/prior").unwrap();
        let rest = tally.mean("loss").unwrap() - prior;
        assert!((rest - none.mean("loss").unwrap()).abs() < 1e-6, "{rest}");
        prior
    };
    let once = part(1.0, IMAGES);
    assert!((0.0..std::f64::consts::LN_2).contains(&once) && once > 1e-3, "{once}");
    assert!((part(2.0, IMAGES) - 2.0 * once).abs() < 1e-6);
    assert!((part(1.0, 2) - once).abs() < 1e-6);
}

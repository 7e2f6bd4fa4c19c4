//! Accumulation, and the agreement of presets, through the code that trains.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use burn::tensor::Device;
use sinter_data::Batch;
use sinter_models::ModelConfig;
use sinter_objectives::{Clock, Denoising, Method, Objective, ObjectiveConfig, Setup};
use sinter_optimization::OptimizerConfig;
use sinter_sampling::Conditioner;

/// Without memory (`beta_1 = 0`) the first moment of AdamW is the gradient itself.
const PRESET: &str = r#"
    objective = { type = "denoising", path = { type = "linear_flow" }, prediction = { type = "velocity" }, time = { type = "uniform", stratified = true } }
    model = { type = "unet", channels = 8, multipliers = [1, 2], blocks = 1, groups = 4, attention = [4], head_channels = 8, dropout = 0.2 }
    optimizer = { learning_rate = 1e-3, algorithm = { type = "adamw", beta_1 = 0.0 } }
"#;

#[derive(serde::Deserialize)]
struct Preset {
    objective: ObjectiveConfig,
    model: ModelConfig,
    optimizer: OptimizerConfig,
}

/// Enough images for the threads to share them.
const IMAGES: usize = 24;

fn batch() -> Batch {
    let pixels = (0..IMAGES * 3 * 64).map(|i| ((i * 31) % 97) as f32 / 48.0 - 1.0).collect();
    Batch {
        shape: [IMAGES, 3, 8, 8],
        pixels,
        classes: Some((0..IMAGES as u32).map(|i| i % 5).collect()),
        captions: None,
        first_image: 40,
    }
}

fn method() -> Box<dyn Method> {
    let Preset { objective, model, optimizer } = toml::from_str(PRESET).unwrap();
    let conditioner = Conditioner::new([3, 8, 8], 5, &[], 0).unwrap();
    assert!(objective.validate(&model, conditioner.shape()).is_empty());
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
    objective.build(&setup).unwrap()
}

/// The gradient of one step in portions of `micro_batch`.
fn gradient(micro_batch: usize) -> Vec<f64> {
    let mut method = method();
    // Away from the zero-initialised outputs, at which most gradients vanish: a few steps with the whole batch.
    for step in 0..3 {
        method.step(&batch(), Clock { images: step * IMAGES as u64, step, micro_batch: IMAGES }).unwrap();
    }
    method.step(&batch(), Clock { images: 3 * IMAGES as u64, step: 3, micro_batch }).unwrap();
    let state = method.parts()[0].state();
    let gradients = state.iter().filter(|(name, _)| name.starts_with("first_moment/"));
    gradients.flat_map(|(_, array)| array.values.iter().map(|&v| f64::from(v))).collect()
}

#[test]
fn accumulation_gives_the_gradient_of_the_large_batch() {
    let whole = gradient(IMAGES);
    let norm = whole.iter().map(|g| g * g).sum::<f64>().sqrt();
    assert!(norm > 1e-3);
    for micro_batch in [1, 2, 4, 8, 16] {
        let split = gradient(micro_batch);
        let difference = whole.iter().zip(&split).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        assert!(difference < 1e-6 * norm, "portions of {micro_batch}: {:e} of the norm", difference / norm);
    }
}

#[test]
fn a_step_is_a_function_of_seed_and_clock() {
    assert_eq!(gradient(IMAGES), gradient(IMAGES));
}

/// The four presets are the same method: their losses at the exact prediction are zero, whatever the parameterization.
#[test]
fn the_exact_prediction_has_no_loss() {
    use burn::tensor::{Tensor, TensorData};
    for name in ["flow", "ddpm", "edm", "score"] {
        let path = format!("{}/../../configs/process/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let mut table = table["objective"].as_table().unwrap().clone();
        table.remove("type");
        let config: Denoising = toml::Value::Table(table).try_into().unwrap();
        let device = Device::flex();
        let tensor = |factor: usize| {
            let values: Vec<f32> = (0..4 * 12).map(|i| ((i * factor) % 23) as f32 / 11.0 - 1.0).collect();
            Tensor::<4>::from_data(TensorData::new(values, [4, 3, 2, 2]), &device)
        };
        let (data, noise) = (tensor(7), tensor(5));
        let points: Vec<_> = [0.2, 0.4, 0.6, 0.8].map(|t| config.path.at(t)).to_vec();
        let targets: Vec<_> = points.iter().map(|point| config.prediction.target(point)).collect();
        let column = |values: Vec<f64>| sinter_sampling::per_image(&values, &data);
        let exact = data.clone() * column(targets.iter().map(|t| t.data).collect())
            + noise.clone() * column(targets.iter().map(|t| t.noise).collect());
        let losses = config.losses(data.clone(), noise, &points, |_, _| exact);
        assert!(losses.max().into_scalar::<f32>() < 1e-9, "{name}");
    }
}

//! What a user sees: a small experiment's configuration, and every kind of mistake in it.

mod layers;
mod mistakes;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConfigError, Layered, resolve};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Experiment {
    name: String,
    #[serde(default)]
    seed: u64,
    model: Model,
    train: Train,
    #[serde(default)]
    weights: BTreeMap<String, f64>,
    #[serde(default)]
    sample: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Model {
    /// A convolutional network.
    Unet(Unet),
    /// A transformer.
    Dit(Dit),
    Identity,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Unet {
    channels: u32,
    #[serde(default)]
    multipliers: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Dit {
    depth: u8,
    patch_size: u32,
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    dropout: f64,
    #[serde(default)]
    position: Option<Position>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Position {
    /// Fixed waves.
    Sinusoidal,
    Learned,
    Rotary,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Train {
    images: u64,
    #[serde(default = "Train::batch")]
    batch: u32,
    #[serde(default)]
    betas: Option<(f64, f64)>,
    #[serde(default)]
    limit: Option<Limit>,
}

impl Train {
    fn batch() -> u32 {
        64
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Limit {
    hours: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sample {
    steps: Steps,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Steps {
    Count(u32),
    Times(Vec<f64>),
    Schedule(Model),
    Limit(Limit),
}

const GOOD: &str = r#"name = "first"

[model]
type = "dit"
depth = 12
patch_size = 2

[train]
images = 1_000
betas = [0.9, 0.99]

[weights]
denoising = 1

[[sample]]
steps = 20

[[sample]]
steps = [0.5, 1]
"#;

fn typed(text: &str) -> Result<Experiment, ConfigError> {
    resolve(&Layered::from_str("run.toml", text)?)
}

#[test]
fn a_good_file_is_typed() {
    let experiment = typed(GOOD).unwrap();
    let position = None;
    assert_eq!(experiment.model, Model::Dit(Dit { depth: 12, patch_size: 2, dropout: 0.0, position }));
    assert_eq!(experiment.train, Train { images: 1_000, batch: 64, betas: Some((0.9, 0.99)), limit: None });
    assert_eq!(experiment.weights["denoising"], 1.0);
    assert_eq!(experiment.sample[1].steps, Steps::Times(vec![0.5, 1.0]));
}

#[test]
fn editors_get_a_schema() {
    let schema = crate::schema::<Experiment>();
    assert!(schema.get("required").is_none());
    assert_eq!(schema["properties"]["seed"]["default"], 0);
    assert_eq!(schema["properties"]["extends"]["anyOf"][0]["type"], "string");
}

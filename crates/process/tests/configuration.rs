//! Processes as users write them: read through the configuration's own check, with its messages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use schemars::JsonSchema;
use serde::Deserialize;
use sinter_config::{Layered, resolve};
use sinter_process::path::{Discrete, Edm};
use sinter_process::schedule::{Schedule, Spacing};
use sinter_process::{InputScale, Path, Prediction, TimeDistribution, TimeLabel, TimeLaw, Weight};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Process {
    path: Path,
    prediction: Prediction,
    #[serde(default)]
    input_scale: InputScale,
    #[serde(default)]
    time_label: TimeLabel,
    #[serde(default)]
    weight: Weight,
    #[serde(default)]
    time: TimeLaw,
    #[serde(default)]
    spacing: Spacing,
}

fn read(text: &str) -> Result<Process, String> {
    let layered = Layered::from_str("process.toml", text).map_err(|error| error.to_string())?;
    resolve(&layered).map_err(|error| error.to_string())
}

#[test]
fn edm_is_a_few_lines() {
    let process = read(
        r#"
        path = { type = "edm" }
        prediction = { type = "edm_f" }
        input_scale = { type = "unit_variance" }
        time_label = { type = "log_sigma" }
        time = { type = "lognormal", stratified = true }
        "#,
    )
    .unwrap();
    assert_eq!(process.path, Path::Edm(Edm::default()));
    assert_eq!(process.prediction, Prediction::EdmF { sigma_data: 0.5 });
    assert_eq!(process.input_scale, InputScale::UnitVariance { sigma_data: 0.5 });
    assert_eq!(process.time_label, TimeLabel::LogSigma);
    assert_eq!(process.time.distribution, TimeDistribution::Lognormal { mean: -1.2, deviation: 1.2 });
    assert!(process.time.stratified);
    assert_eq!(process.weight, Weight::Uniform);
}

#[test]
fn latent_diffusion_is_a_few_lines() {
    let process = read(
        r#"
        path = { type = "discrete", schedule = { type = "scaled_linear" }, zero_terminal_snr = true }
        prediction = { type = "v" }
        weight = { type = "loss_of", prediction = { type = "epsilon" } }
        spacing = { type = "leading", offset = 1 }
        "#,
    )
    .unwrap();
    assert_eq!(process.path, Path::Discrete(Discrete::new(Schedule::named("scaled_linear").unwrap(), 1000, true)));
    assert_eq!(process.weight, Weight::LossOf { prediction: Prediction::Epsilon });
    assert_eq!(process.spacing, Spacing::Leading { offset: 1 });
}

/// Types without settings of their own, and the law of time beside `stratified`, refuse what they do not know.
#[test]
fn unknown_keys_and_types_are_refused() {
    let flow = "path = { type = \"linear_flow\" }\n";
    let velocity = "prediction = { type = \"velocity\" }\n";
    for (text, key, hint) in [
        ("path = { type = \"linear_flow\", beta_min = 1 }\n".to_owned() + velocity, "path.beta_min", "unknown key"),
        ("path = { type = \"linear_flwo\" }\n".to_owned() + velocity, "path.type", "linear_flow"),
        (
            flow.to_owned() + "prediction = { type = \"velocity\", sigma_data = 1 }",
            "prediction.sigma_data",
            "unknown key",
        ),
        (flow.to_owned() + velocity + "time = { type = \"uniform\", mean = 1 }", "time.mean", "unknown key"),
        (flow.to_owned() + velocity + "time = { type = \"logit_normal\", mena = 1 }", "time.mena", "mean"),
        (
            flow.to_owned() + velocity + "time = { type = \"uniform\", stratfied = true }",
            "time.stratfied",
            "stratified",
        ),
        (flow.to_owned() + velocity + "weight = { type = \"min_snr\", gama = 1 }", "weight.gama", "gamma"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.contains(key) && error.contains(hint), "{text}\n{error}");
    }
}

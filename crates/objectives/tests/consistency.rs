//! Consistency models as the trainer drives them: steps, targets, masks, portions, resume, refusals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use common::Fixture;
use sinter_models::{MlpConfig, ModelConfig};
use sinter_objectives::{Clock, Consistency, Method, Objective};

const FLOW: &str = r#"
    path = { type = "linear_flow" }
    prediction = { type = "velocity" }
    time_label = { type = "unit" }
"#;
const EDM: &str = r#"
    path = { type = "edm" }
    prediction = { type = "edm_f" }
    input_scale = { type = "unit_variance" }
    time_label = { type = "log_sigma" }
"#;

/// The `[objective]` of each preset, short enough for all of its schedule to pass.
const CD: &str = r#"
    pairs = { type = "grid", levels = { type = "constant", levels = 18 } }
    descent = { type = "heun" }
    guidance = { scale = 2.0 }
"#;
const CT: &str = r#"
    pairs = { type = "grid", levels = { type = "square_root", start = 2, end = 150, images = 100 } }
    target = { type = "average", half_life = 40.0 }
    start = "fresh"
"#;
const ICT: &str = r#"
    pairs = { type = "grid", levels = { type = "doubling", start = 10, end = 1280, images = 100 }, law = { type = "lognormal" } }
    distance = { type = "pseudo_huber" }
    weight = { type = "inverse_step" }
"#;
const ECT: &str = r#"
    pairs = { type = "shrinking", stage_images = 25 }
    distance = { type = "norm" }
    weight = { type = "inverse_step" }
"#;

fn config(objective: &str, process: &str) -> Consistency {
    toml::from_str(&format!("teacher = \"runs/teacher\"\n{objective}\n[process]\n{process}")).unwrap()
}

fn build(fixture: &Fixture, config: &Consistency) -> Box<dyn Method> {
    let problems = config.validate(&fixture.model, fixture.conditioner.shape());
    assert!(problems.is_empty(), "{problems}");
    config.build(&fixture.setup()).unwrap()
}

fn clock(step: u64, micro_batch: usize) -> Clock {
    Clock { images: step * 20, step, micro_batch }
}

/// Everything that a checkpoint holds of a method.
fn state(method: &dyn Method) -> Vec<(String, Vec<f32>)> {
    let mut all = Vec::new();
    for part in method.parts() {
        let (parameters, state) = (part.parameters().unwrap(), part.state());
        for (name, array) in parameters.into_iter().chain(state) {
            all.push((format!("{} {name} {}", part.name(), part.updates()), array.values));
        }
    }
    all
}

/// Six updates, and the same with a stop after three: what is loaded into a new method goes on bit for bit.
#[test]
fn every_preset_trains_and_resumes() {
    for process in [FLOW, EDM] {
        let fixture = Fixture::points(process);
        for objective in [CD, CT, ICT, ECT] {
            let config = config(objective, process);
            let mut straight = build(&fixture, &config);
            let before = state(straight.as_ref());
            let mut kept = None;
            for step in 0..6 {
                let tally = straight.step(&fixture.batch(step * 20, 20), clock(step, 20)).unwrap();
                assert!(tally.mean("loss").unwrap().is_finite() && tally.mean("gradient_norm").unwrap() > 0.0);
                if step == 2 {
                    let parts = straight.parts().into_iter();
                    kept = Some(parts.map(|p| (p.parameters().unwrap(), p.state(), p.updates())).collect::<Vec<_>>());
                }
            }
            assert_ne!(before, state(straight.as_ref()));
            let mut resumed = build(&fixture, &config);
            for (part, (parameters, state, updates)) in resumed.parts_mut().into_iter().zip(kept.unwrap()) {
                part.load_parameters(parameters).unwrap();
                part.load_state(&state, updates).unwrap();
            }
            for step in 3..6 {
                resumed.step(&fixture.batch(step * 20, 20), clock(step, 20)).unwrap();
            }
            assert_eq!(state(straight.as_ref()), state(resumed.as_ref()), "{objective}");
            let held_out = straight.inference(None).validate(&fixture.batch(5000, 16)).unwrap();
            assert!(held_out.mean("validation/loss").unwrap().is_finite());
        }
    }
}

/// The gradient of portions is that of the batch: every draw is the image's own.
#[test]
fn portions_add_up() {
    let mut fixture = Fixture::points(FLOW);
    fixture.model =
        ModelConfig::Mlp(MlpConfig { width: 16, depth: 2, dropout: 0.3, null_class: true, ..MlpConfig::default() });
    fixture.runs.model = fixture.model.clone();
    fixture.optimizer = toml::from_str("learning_rate = 1e-3\nalgorithm = { type = \"adamw\", beta_1 = 0.0 }").unwrap();
    let gradient = |micro_batch: usize| {
        let mut method = build(&fixture, &config(CD, FLOW));
        method.step(&fixture.batch(0, 24), Clock { images: 0, step: 0, micro_batch }).unwrap();
        let state = method.parts()[0].state();
        let moments = state.iter().filter(|(name, _)| name.starts_with("first_moment/"));
        moments.flat_map(|(_, array)| array.values.iter().map(|v| f64::from(*v))).collect::<Vec<_>>()
    };
    let whole = gradient(24);
    let norm = whole.iter().map(|g| g * g).sum::<f64>().sqrt();
    for micro_batch in [1, 5, 8] {
        let difference = whole.iter().zip(gradient(micro_batch)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-6 && difference < 1e-5 * norm, "{micro_batch}: {difference:e} of {norm:e}");
    }
}

/// Half of the features dropped, and yet two levels that nearly coincide nearly agree: both answers have the same masks.
#[test]
fn both_branches_have_the_same_masks() {
    let mut fixture = Fixture::points(FLOW);
    fixture.model =
        ModelConfig::Mlp(MlpConfig { width: 16, depth: 2, dropout: 0.5, null_class: true, ..MlpConfig::default() });
    fixture.runs.model = fixture.model.clone();
    let disagreement = |levels: usize| {
        let objective = format!("pairs = {{ type = \"grid\", levels = {{ type = \"constant\", levels = {levels} }} }}");
        let mut method = build(&fixture, &config(&objective, FLOW));
        method.step(&fixture.batch(0, 200), clock(0, 200)).unwrap().mean("loss").unwrap()
    };
    let (far, near) = (disagreement(10), disagreement(10_000));
    // The square of a difference that is a thousand times smaller.
    assert!(near < 1e-4 * far, "{near:e} of {far:e}");
}

/// The average goes towards the student by what its half-life leaves, which grows with the number of intervals.
#[test]
fn an_average_target_follows_at_its_half_life() {
    let fixture = Fixture::points(FLOW);
    let mut method = build(&fixture, &config(CT, FLOW));
    assert_eq!(method.parts().iter().map(|part| part.name()).collect::<Vec<_>>(), ["model", "target"]);
    assert_eq!(method.averaged(), ["model"]);
    assert!(method.teachers().is_empty(), "trained from nothing, it learns from no run");
    let parameters = |method: &dyn Method, part: usize| method.parts()[part].parameters().unwrap();
    for (step, intervals) in [(0, 1.0), (2, 95.0), (5, 150.0)] {
        let before = parameters(method.as_ref(), 1);
        let tally = method.step(&fixture.batch(step * 20, 20), clock(step, 20)).unwrap();
        let decay = 0.5f64.powf(20.0 / (40.0 * intervals));
        assert!((tally.mean("target_decay").unwrap() - decay).abs() < 1e-12, "{step}");
        assert_eq!(tally.mean("levels").unwrap(), intervals + 1.0);
        let (after, student) = (parameters(method.as_ref(), 1), parameters(method.as_ref(), 0));
        for (name, after) in &after {
            for ((after, before), student) in after.values.iter().zip(&before[name].values).zip(&student[name].values) {
                let expected = decay * f64::from(*before) + (1.0 - decay) * f64::from(*student);
                assert!((f64::from(*after) - expected).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let fixture = Fixture::points(EDM);
    let problems = |objective: &str, process: &str| {
        let config = config(objective, process);
        config.validate(&fixture.model, fixture.conditioner.shape()).to_string()
    };
    let data = FLOW.replace("velocity", "data");
    assert!(problems(ECT, &data).contains("process.prediction"), "{}", problems(ECT, &data));
    assert!(problems(&format!("boundary = 0.002\n{ECT}"), FLOW).contains("boundary"));
    assert_eq!(problems(&format!("boundary = 0.002\n{ECT}"), EDM), "");
    let far = CD.replace("levels = 18 }", "levels = 18 }, sigma_max = 100.0");
    assert!(problems(&far, EDM).contains("the network's noise ends at 80.0000"), "{}", problems(&far, EDM));
    assert_eq!(problems(&far, FLOW), "");
    assert!(problems(&CT.replace("40.0", "0.0"), FLOW).contains("target.half_life"));

    // A boundary moves the coefficients by which the student is read, not those of its teacher.
    let config = config(&format!("boundary = 0.002\n{CD}"), EDM);
    assert_ne!(config.parameterization().unwrap(), config.process);
    build(&fixture, &config).step(&fixture.batch(0, 20), clock(0, 20)).unwrap();
    // Opened for use, without its teacher, it samples and does not train.
    let mut setup = fixture.setup();
    setup.training = None;
    let mut opened = config.build(&setup).unwrap();
    assert!(opened.inference(None).denoiser().is_some());
    assert!(opened.step(&fixture.batch(0, 20), clock(0, 20)).unwrap_err().to_string().contains("without its teacher"));
}

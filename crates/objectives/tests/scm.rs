//! Continuous-time consistency models as the trainer drives them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::Fixture;
use sinter_objectives::scm::Normalization;
use sinter_objectives::{Clock, Method, Objective, Scm};

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

fn config(objective: &str, process: &str) -> Scm {
    toml::from_str(&format!("teacher = \"runs/teacher\"\n{objective}\n[process]\n{process}")).unwrap()
}

fn build(fixture: &Fixture, config: &Scm) -> Box<dyn Method> {
    let problems = config.validate(&fixture.model, fixture.conditioner.shape());
    assert!(problems.is_empty(), "{problems}");
    config.build(&fixture.setup()).unwrap()
}

fn clock(step: u64, micro_batch: usize) -> Clock {
    Clock { images: step * 20, step, micro_batch }
}

fn state(method: &dyn Method) -> Vec<(String, Vec<f32>)> {
    let mut all = Vec::new();
    for part in method.parts() {
        for (name, array) in part.parameters().unwrap().into_iter().chain(part.state()) {
            all.push((format!("{} {name} {}", part.name(), part.updates()), array.values));
        }
    }
    all
}

const DUAL: &str = "warmup = 60\nguidance = { scale = 1.5 }";
const DIFFERENCE: &str = "derivative = { type = \"difference\" }";
const DISCRETE: &str = "derivative = { type = \"discrete\", steps = 1024 }";
const TRAINING: &str = r#"
    velocity = "data"
    start = "fresh"
    weighting = { type = "uniform" }
    normalization = { type = "clamp" }
    prior_weight = true
"#;

#[test]
fn every_form_trains_and_resumes() {
    for process in [FLOW, EDM] {
        let fixture = Fixture::points(process);
        for objective in [DUAL, DIFFERENCE, DISCRETE, TRAINING] {
            let config = config(objective, process);
            let mut straight = build(&fixture, &config);
            assert_eq!(straight.teachers().len(), usize::from(objective != TRAINING));
            let mut kept = None;
            for step in 0..6 {
                let tally = straight.step(&fixture.batch(step * 20, 20), clock(step, 20)).unwrap();
                assert!(tally.mean("loss").unwrap().is_finite() && tally.mean("tangent").unwrap().is_finite());
                if step == 2 {
                    let parts = straight.parts().into_iter();
                    kept = Some(parts.map(|p| (p.parameters().unwrap(), p.state(), p.updates())).collect::<Vec<_>>());
                }
            }
            let mut resumed = build(&fixture, &config);
            for (part, (parameters, state, updates)) in resumed.parts_mut().into_iter().zip(kept.unwrap()) {
                part.load_parameters(parameters).unwrap();
                part.load_state(&state, updates).unwrap();
            }
            for step in 3..6 {
                resumed.step(&fixture.batch(step * 20, 20), clock(step, 20)).unwrap();
            }
            assert_eq!(state(straight.as_ref()), state(resumed.as_ref()), "{objective}");
        }
    }
}

/// The tangent of the same student by all three ways: the difference to a thousandth, the discrete form to its first
/// order.
#[test]
fn derivatives_agree() {
    let fixture = Fixture::points(FLOW);
    let tangent = |objective: &str| {
        let method = build(&fixture, &config(objective, FLOW));
        let tally = method.inference(None).validate(&fixture.batch(1000, 200)).unwrap();
        tally.mean("validation/tangent").unwrap()
    };
    let exact = tangent("");
    assert!(exact > 1e-3, "{exact}");
    assert!((tangent(DIFFERENCE) / exact - 1.0).abs() < 1e-3, "{} {exact}", tangent(DIFFERENCE));
    let [coarse, fine] = [64, 512].map(|steps| {
        let found = tangent(&format!("derivative = {{ type = \"discrete\", steps = {steps} }}"));
        (found / exact - 1.0).abs()
    });
    assert!(fine < 0.05 && fine < 0.5 * coarse, "{coarse:e} {fine:e}");
}

/// The first update in portions is that of the batch.
#[test]
fn portions_add_up() {
    let mut fixture = Fixture::points(FLOW);
    fixture.optimizer = toml::from_str("learning_rate = 1e-3\nalgorithm = { type = \"adamw\", beta_1 = 0.0 }").unwrap();
    let gradient = |micro_batch: usize| {
        let mut method = build(&fixture, &config("", FLOW));
        method.step(&fixture.batch(0, 24), Clock { images: 0, step: 0, micro_batch }).unwrap();
        let mut gradient = Vec::new();
        for part in method.parts() {
            let state = part.state();
            let moments = state.iter().filter(|(name, _)| name.starts_with("first_moment/"));
            gradient.extend(moments.flat_map(|(_, array)| array.values.iter().map(|v| f64::from(*v))));
        }
        gradient
    };
    let whole = gradient(24);
    let norm = whole.iter().map(|g| g * g).sum::<f64>().sqrt();
    for micro_batch in [1, 5, 8] {
        let difference = whole.iter().zip(gradient(micro_batch)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-6 && difference < 1e-5 * norm, "{micro_batch}: {difference:e} of {norm:e}");
    }
}

#[test]
fn tangents_are_normalized() {
    let device = Device::flex();
    let g = Tensor::<4>::from_data(TensorData::new(vec![3.0f32, -4.0, 0.3, 0.4], [2, 2, 1, 1]), &device);
    let found =
        |normalization: Normalization| normalization.apply(g.clone()).into_data().iter::<f32>().collect::<Vec<_>>();
    let close = |found: Vec<f32>, expected: [f32; 4]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    };
    close(found(Normalization::None), [3.0, -4.0, 0.3, 0.4]);
    close(found(Normalization::Clamp { limit: 1.0 }), [1.0, -1.0, 0.3, 0.4]);
    let raw = Normalization::Norm { c: 0.1, root_mean_square: false };
    close(found(raw), [3.0 / 5.1, -4.0 / 5.1, 0.5, 0.4 / 0.6]);
    let [large, small] = [5.0 / 2f32.sqrt() + 0.1, 0.5 / 2f32.sqrt() + 0.1];
    close(found(Normalization::default()), [3.0 / large, -4.0 / large, 0.3 / small, 0.4 / small]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let fixture = Fixture::points(FLOW);
    let problems = |objective: &str, process: &str| {
        config(objective, process).validate(&fixture.model, fixture.conditioner.shape()).to_string()
    };
    let fast = FLOW.replace("unit", "thousand");
    assert!(problems(DIFFERENCE, &fast).contains("too fast for differences"), "{}", problems(DIFFERENCE, &fast));
    assert_eq!(problems(DUAL, &fast), "");
    assert_eq!(problems(DIFFERENCE, EDM), "");
    let nearest = r#"
        path = { type = "discrete" }
        prediction = { type = "epsilon" }
        time_label = { type = "nearest_index" }
    "#;
    assert!(problems(DUAL, nearest).contains("process.time_label"));
    assert!(problems("sigma_data = 0.0", FLOW).contains("sigma_data"));
}

//! Knowledge distillation: a student of another size learns its teacher's images.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use common::Fixture;
use sinter_objectives::distillation::knowledge::Knowledge;
use sinter_objectives::{Clock, Objective};

#[test]
fn a_smaller_student_learns_its_teachers_images() {
    let mut fixture = Fixture::points("path = { type = \"linear_flow\" }\nprediction = { type = \"velocity\" }");
    fixture.model = toml::from_str("type = \"mlp\"\nwidth = 12\ndepth = 1").unwrap();
    fixture.optimizer.learning_rate = 1e-2;
    let config: Knowledge = toml::from_str(
        "teacher = \"runs/teacher\"\npairs = { images = 256, sampler = { steps = 4 } }\nprocess = { path = { type = \"linear_flow\" }, prediction = { type = \"velocity\" } }",
    )
    .unwrap();
    let mut method = config.build(&fixture.setup()).unwrap();
    assert_eq!(method.teachers()["runs/teacher"], "seed 5");
    let losses: Vec<f64> = (0..120)
        .map(|step| {
            let clock = Clock { images: 128 * step, step, micro_batch: 128 };
            method.step(&fixture.batch(clock.images, 128), clock).unwrap().mean("loss").unwrap()
        })
        .collect();
    // A fresh network returns no velocity: its image is the noise itself.
    assert!(losses[119] < 0.2 * losses[0], "{} after {}", losses[119], losses[0]);
}

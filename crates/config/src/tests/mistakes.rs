use super::{Experiment, GOOD, typed};
use crate::{ConfigError, Layered, Problems, resolve};

/// What is said of [`GOOD`] with one thing put wrong, and the text that is marked.
fn said(right: &str, wrong: &str) -> (String, String) {
    assert!(GOOD.contains(right), "{right}");
    let error = typed(&GOOD.replacen(right, wrong, 1)).unwrap_err();
    let origin = error.problems[0].origin.clone().unwrap();
    (error.to_string(), origin.source.text[origin.span].to_owned())
}

fn overridden(text: &str) -> ConfigError {
    let mut layered = Layered::from_str("run.toml", GOOD).unwrap();
    layered.set(text).unwrap();
    resolve::<Experiment>(&layered).unwrap_err()
}

#[test]
fn each_mistake_has_one_clear_message() {
    for (right, wrong, message, marked) in [
        (
            "depth = 12",
            "dept = 12",
            "run.toml:5: model.dept: unknown key (did you mean `depth`? known: type, depth, patch_size, dropout, position)\n\
             run.toml:3: model.depth: missing, and it has no default",
            "dept",
        ),
        (
            "\"dit\"",
            "\"ditt\"",
            "run.toml:4: model.type: unknown type `ditt` (did you mean `dit`? known: unet, dit, identity)",
            "\"ditt\"",
        ),
        (
            "type = \"dit\"",
            "",
            "run.toml:3: model: missing required key `type` (one of unet, dit, identity)",
            "[model]",
        ),
        ("\"dit\"", "3", "run.toml:4: model.type: expected a string, found 3 (one of unet, dit, identity)", "3"),
        (
            "depth = 12",
            "depth = \"12\"",
            "run.toml:5: model.depth: expected an integer, found the string \"12\"",
            "\"12\"",
        ),
        ("depth = 12", "depth = 300", "run.toml:5: model.depth: must be at most 255, found 300", "300"),
        ("depth = 12", "depth = -1", "run.toml:5: model.depth: must be at least 0, found -1", "-1"),
        ("depth = 12", "depth = 12\ndropout = 1.5", "run.toml:6: model.dropout: must be at most 1, found 1.5", "1.5"),
        (
            "depth = 12",
            "depth = 12\nposition = \"rotray\"",
            "run.toml:6: model.position: unknown value `rotray` (did you mean `rotary`? known: learned, rotary, sinusoidal)",
            "\"rotray\"",
        ),
        (
            "images = 1_000",
            "images = 2e6",
            "run.toml:9: train.images: expected an integer, found 2000000.0 (write 2_000_000)",
            "2e6",
        ),
        ("images = 1_000", "", "run.toml:8: train.images: missing, and it has no default", "[train]"),
        ("[0.9, 0.99]", "[0.9]", "run.toml:10: train.betas: expected an array of 2, found 1", "[0.9]"),
        ("[0.9, 0.99]", "[0.9, true]", "run.toml:10: train.betas[1]: expected a number, found true", "true"),
        ("[0.9, 0.99]", "0.9", "run.toml:10: train.betas: expected an array, found 0.9", "0.9"),
        ("betas = [0.9, 0.99]", "limit = 3", "run.toml:10: train.limit: expected a table, found 3", "3"),
        (
            "betas = [0.9, 0.99]",
            "limit = { minutes = 3, hours = 1 }",
            "run.toml:10: train.limit.minutes: unknown key (known: hours)",
            "minutes",
        ),
        (
            "denoising = 1",
            "denoising = 1979-05-27",
            "run.toml:13: weights.denoising: expected a number, found the date 1979-05-27",
            "1979-05-27",
        ),
        (
            "steps = 20",
            "steps = \"many\"",
            "run.toml:16: sample[0].steps: expected an integer or an array or a table, found the string \"many\"",
            "\"many\"",
        ),
        (
            "steps = 20",
            "steps = { hours = true }",
            "run.toml:16: sample[0].steps.hours: expected a number, found true",
            "true",
        ),
        (
            "steps = [0.5, 1]",
            "steps = [0.5, '1']",
            "run.toml:19: sample[1].steps[1]: expected a number, found the string \"1\"",
            "'1'",
        ),
        ("[train]", "[train", "run.toml:8: not TOML: unclosed table, expected `]`", ""),
    ] {
        assert_eq!(said(right, wrong), (message.to_owned(), marked.to_owned()), "{wrong}");
    }
}

#[test]
fn all_mistakes_are_said_at_once() {
    let error = typed("nam = 'x'\n[model]\ntype = 'unet'\nchannels = 'x'\n[train]\nimages = 1\nbatch = -1\n[modle]\n")
        .unwrap_err();
    let said: Vec<_> = error.problems.iter().map(|located| located.problem.key.as_str()).collect();
    assert_eq!(said, ["nam", "model.channels", "train.batch", "modle", "name"]);
}

#[test]
fn an_override_that_names_nothing_is_an_error() {
    for (text, message) in [
        (
            "train.bacth=1",
            "--set train.bacth=1: train.bacth: unknown key (did you mean `batch`? known: images, batch, betas, limit)",
        ),
        (
            "tran.batch=1",
            "--set tran.batch=1: tran: unknown key (did you mean `train`? known: name, seed, model, train, weights, sample)",
        ),
        ("train.batch=many", "--set train.batch=many: train.batch: expected an integer, found the string \"many\""),
        ("name.first=a", "--set name.first=a: name: expected a string, found a table"),
        ("model.type=unet", "--set model.type=unet: model.channels: missing, and it has no default"),
    ] {
        assert_eq!(overridden(text).to_string(), message);
    }
}

#[test]
fn what_only_serde_refuses_has_its_key_too() {
    #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
    struct Outer {
        #[expect(dead_code, reason = "never made")]
        inner: Inner,
    }
    #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
    #[serde(try_from = "u32")]
    struct Inner(#[expect(dead_code, reason = "never made")] u32);
    impl TryFrom<u32> for Inner {
        type Error = String;
        fn try_from(value: u32) -> Result<Self, String> {
            Err(format!("{value} is not even"))
        }
    }
    let layered = Layered::from_str("run.toml", "\ninner = 3\n").unwrap();
    assert_eq!(resolve::<Outer>(&layered).unwrap_err().to_string(), "run.toml:2: inner: 3 is not even");
}

#[test]
fn components_problems_get_their_places() {
    let layered = Layered::from_str("run.toml", GOOD).unwrap();
    let mut problems = Problems::new();
    problems.push("model.patch_size", "must divide the image size");
    problems.push("train.batch", "must not be 0");
    problems.push("sample[1].steps", "must fall");
    problems.push("eval", "is missing");
    assert_eq!(
        layered.locate(problems).to_string(),
        "run.toml:6: model.patch_size: must divide the image size\nrun.toml:8: train.batch: must not be 0\n\
         run.toml:19: sample[1].steps: must fall\nrun.toml:1: eval: is missing"
    );
}

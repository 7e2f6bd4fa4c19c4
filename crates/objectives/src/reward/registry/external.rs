//! A scorer of one's own: a program that reads requests and writes scores, a line of JSON each.
//!
//! A request is `{"shape": [c, h, w], "images": [{"pixels": [...], "caption": "...", "class": 3}, ...]}` with pixels of 0 to
//! 255, channel after channel, and caption or class only where there is one; for points of the plane pixels are their
//! coordinates. The answer is `{"scores": [...]}` with one finite number an image, or `{"error": "..."}`. The program ends
//! when its input does.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sinter_config::Problems;
use sinter_data::Batch;
use sinter_data::transform::to_byte;

use super::process::{Process, Silence};
use super::{Reward, RewardError, Scores};

/// A program that scores images: it is started once, asked line by line, and started again once where it dies or takes
/// too long. Its scores must be a function of the images alone, or a resumed run is another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalConfig {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Seconds that an answer may take, > 0.
    #[serde(default = "timeout")]
    pub timeout: f64,
    /// Images of a request at the most, >= 1.
    #[serde(default = "portion")]
    pub portion: usize,
}

fn timeout() -> f64 {
    60.0
}

fn portion() -> usize {
    64
}

impl ExternalConfig {
    /// Everything that is wrong with it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.command.first().is_some_and(|word| !word.is_empty()), "command", "must name a program");
        problems.check(self.timeout > 0.0 && self.timeout.is_finite(), "timeout", "must be a finite number above 0");
        problems.check(self.portion >= 1, "portion", "must be at least 1");
        problems
    }
}

/// The reward.
pub(super) struct External {
    name: String,
    config: ExternalConfig,
    process: Option<Process>,
}

impl External {
    /// Nothing is started before it is asked.
    pub(super) fn new(name: String, config: ExternalConfig) -> Self {
        Self { name, config, process: None }
    }

    /// The answer to a request, from a process that is started again once.
    fn answer(&mut self, request: &str) -> Result<String, RewardError> {
        let command = self.config.command.join(" ");
        let failed = |reason: String| RewardError::Scorer { name: self.name.clone(), reason };
        let mut restarted = false;
        loop {
            let mut process = match self.process.take() {
                Some(process) => process,
                None => Process::start(&self.config.command).map_err(failed)?,
            };
            let reason = match process.ask(request, Duration::from_secs_f64(self.config.timeout)) {
                Ok(answer) => {
                    self.process = Some(process);
                    return Ok(answer);
                }
                Err(Silence::Ended(how)) => format!("`{command}` ended without an answer ({how})"),
                Err(Silence::TimedOut) => {
                    process.kill();
                    format!("`{command}` gave no answer within {} s", self.config.timeout)
                }
            };
            if restarted {
                return Err(failed(format!("{reason}, also when started again")));
            }
            log::warn!("reward `{}`: {reason}; it is started again", self.name);
            restarted = true;
        }
    }

    fn scores_of(&self, answer: &str, images: usize) -> Result<Vec<f64>, RewardError> {
        let failed = |reason: String| RewardError::Scorer { name: self.name.clone(), reason };
        let name = || self.name.clone();
        let parsed: Value = match serde_json::from_str(answer) {
            Ok(parsed) => parsed,
            // What Python writes for them is no JSON.
            Err(_) if ["NaN", "Infinity"].iter().any(|word| answer.contains(word)) => {
                let image = answer.split(',').position(|part| part.contains("NaN") || part.contains("Infinity"));
                let value = if answer.contains("NaN") { "NaN" } else { "infinite" };
                return Err(RewardError::NotFinite { name: name(), image: image.unwrap_or(0), value: value.into() });
            }
            Err(error) => return Err(failed(format!("its answer is no JSON ({error}): {}", excerpt(answer)))),
        };
        if let Some(error) = parsed.get("error") {
            return Err(failed(format!(
                "it says: {}",
                error.as_str().map_or_else(|| error.to_string(), str::to_owned)
            )));
        }
        let scores = parsed.get("scores").and_then(Value::as_array);
        let scores = scores.ok_or_else(|| failed(format!("its answer has no list `scores`: {}", excerpt(answer))))?;
        if scores.len() != images {
            return Err(RewardError::Count { name: name(), scores: scores.len(), images });
        }
        let score = |(image, value): (usize, &Value)| {
            let not_finite = || RewardError::NotFinite { name: name(), image, value: value.to_string() };
            value.as_f64().filter(|score| score.is_finite()).ok_or_else(not_finite)
        };
        scores.iter().enumerate().map(score).collect()
    }
}

impl Reward for External {
    fn scores(&mut self, images: &Batch) -> Result<Scores, RewardError> {
        let mut scores = Vec::with_capacity(images.len());
        for range in images.chunks(self.config.portion) {
            let part = images.slice(range);
            let answer = self.answer(&request(&part))?;
            scores.extend(self.scores_of(&answer, part.len())?);
        }
        Ok(scores.into())
    }
}

fn request(images: &Batch) -> String {
    let [_, c, h, w] = images.shape;
    let size = (c * h * w).max(1);
    let image = |(index, pixels): (usize, &[f32])| {
        let pixels: Value = match [c, h, w] {
            [2, 1, 1] => json!(pixels),
            _ => json!(pixels.iter().map(|pixel| to_byte(*pixel)).collect::<Vec<u8>>()),
        };
        let mut image = json!({ "pixels": pixels });
        if let Some(captions) = &images.captions {
            image["caption"] = json!(captions[index]);
        }
        if let Some(classes) = &images.classes {
            image["class"] = json!(classes[index]);
        }
        image
    };
    let list: Vec<Value> = images.pixels.chunks(size).enumerate().map(image).collect();
    json!({ "shape": [c, h, w], "images": list }).to_string()
}

/// The beginning of a line.
fn excerpt(line: &str) -> String {
    const LENGTH: usize = 120;
    match line.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::tests::images;
    use super::*;

    /// A scorer in the shell's language.
    fn scorer(script: &str, timeout: f64) -> External {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let config = ExternalConfig { command, timeout, portion: 64 };
        assert!(config.validate().is_empty());
        External::new("mine".into(), config)
    }

    fn two() -> Batch {
        images([2, 1, 2, 2], |i| i as f32 / 4.0 - 1.0)
    }

    fn error(script: &str, timeout: f64) -> String {
        scorer(script, timeout).scores(&two()).unwrap_err().to_string()
    }

    /// A path that no other test uses.
    fn scratch(name: &str) -> String {
        let path = std::env::temp_dir().join(format!("sinter-scorer-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path.display().to_string()
    }

    #[test]
    fn a_scorer_is_asked_line_by_line() {
        // Scores grow with every line: one process answers all of them.
        let script = r#"n=0; while read line; do n=$((n+1)); echo "{\"scores\": [$n, 0.5]}"; done"#;
        let mut scorer = scorer(script, 20.0);
        assert_eq!(scorer.scores(&two()).unwrap().values, [1.0, 0.5]);
        assert_eq!(scorer.scores(&two()).unwrap().values, [2.0, 0.5]);
        let mut parted = self::scorer(r#"while read line; do echo '{"scores": [7]}'; done"#, 20.0);
        parted.config.portion = 1;
        assert_eq!(parted.scores(&two()).unwrap().values, [7.0, 7.0]);
    }

    #[test]
    fn requests_hold_bytes_captions_and_classes() {
        let batch =
            Batch { captions: Some(vec!["a \"red\" circle".into(), "b".into()]), classes: Some(vec![4, 5]), ..two() };
        let parsed: Value = serde_json::from_str(&request(&batch)).unwrap();
        assert_eq!(parsed["shape"], json!([1, 2, 2]));
        assert_eq!(parsed["images"][0]["pixels"], json!([0, 32, 64, 96]));
        assert_eq!(parsed["images"][0]["caption"], json!("a \"red\" circle"));
        assert_eq!(parsed["images"][1]["class"], json!(5));
        let point = images([1, 2, 1, 1], |i| i as f32 * 0.25);
        assert_eq!(serde_json::from_str::<Value>(&request(&point)).unwrap()["images"][0]["pixels"], json!([0.0, 0.25]));
    }

    #[test]
    fn one_that_dies_is_started_again_once() {
        let mark = scratch("dies-once");
        let script = format!(
            "if [ -e {mark} ]; then read l; echo '{{\"scores\": [1, 2]}}'; cat >/dev/null; else touch {mark}; exit 3; fi"
        );
        assert_eq!(scorer(&script, 20.0).scores(&two()).unwrap().values, [1.0, 2.0]);
        let said = error("read l; echo 'out of memory' >&2; exit 3", 20.0);
        assert!(said.starts_with("reward `mine`: `sh -c"), "{said}");
        assert!(said.contains("ended without an answer (exit status: 3; its last lines: out of memory)"), "{said}");
        assert!(said.ends_with("also when started again"), "{said}");
        std::fs::remove_file(mark).unwrap();
    }

    #[test]
    fn one_that_hangs_is_not_waited_for() {
        let began = Instant::now();
        let said = error("exec sleep 600", 0.2);
        assert!(said.contains("gave no answer within 0.2 s, also when started again"), "{said}");
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    /// A request far larger than a pipe holds, to a child that never reads.
    #[test]
    fn one_that_does_not_read_is_not_waited_for() {
        let batch = images([32, 3, 64, 64], |_| 0.0);
        let said = scorer("exec sleep 600", 0.2).scores(&batch).unwrap_err().to_string();
        assert!(said.contains("gave no answer within 0.2 s"), "{said}");
    }

    #[test]
    fn answers_that_are_none_are_refused() {
        let answering = |answer: &str| error(&format!("read l; echo '{answer}'; cat >/dev/null"), 20.0);
        let nan = "reward `mine`: the score of image 1 is NaN, not a finite number";
        assert_eq!(answering(r#"{"scores": [1.0, NaN]}"#), nan);
        assert!(answering(r#"{"scores": [-Infinity, 1]}"#).contains("the score of image 0 is infinite"));
        assert!(answering(r#"{"scores": [null, 1]}"#).contains("the score of image 0 is null"));
        assert!(answering(r#"{"scores": [1, "2"]}"#).contains("the score of image 1 is \"2\""));
        assert_eq!(answering(r#"{"scores": [1, 2, 3]}"#), "reward `mine`: 3 scores for 2 images");
        assert_eq!(answering(r#"{"error": "no such model"}"#), "reward `mine`: it says: no such model");
        assert!(answering("loading ...").contains("its answer is no JSON"));
        assert!(answering(r#"{"score": [1, 2]}"#).contains("its answer has no list `scores`"));
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let config = ExternalConfig { command: vec!["/no/such/scorer".into()], timeout: 1.0, portion: 1 };
        let said = External::new("mine".into(), config).scores(&two()).unwrap_err().to_string();
        assert!(said.starts_with("reward `mine`: cannot start `/no/such/scorer`"), "{said}");
        let wrong = ExternalConfig { command: Vec::new(), timeout: 0.0, portion: 0 };
        assert_eq!(wrong.validate().len(), 3);
    }

    #[test]
    fn it_ends_with_its_input() {
        let mark = scratch("ends");
        let script = format!("while read l; do echo '{{\"scores\": [1, 2]}}'; done; echo done > {mark}");
        let mut scorer = scorer(&script, 20.0);
        scorer.scores(&two()).unwrap();
        assert!(!std::path::Path::new(&mark).exists());
        drop(scorer);
        assert!(std::path::Path::new(&mark).exists());
        std::fs::remove_file(mark).unwrap();
    }
}

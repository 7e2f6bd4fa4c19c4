//! Which settings are tried: a function of the seed and of what came of the trials before.

use std::convert::Infallible;

use rand::TryRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sinter_process::random::{Draws, Key, Stream};
use tpe::density_estimation::DefaultEstimatorBuilder;
use tpe::{TpeOptimizer, TpeOptimizerBuilder};

use super::parameter::{Line, Parameter};
use super::{Trial, Tune};
use crate::ExperimentError;

/// Draws until a trial is one that was there before; the second half of them by chance alone.
const DRAWS: usize = 16;

/// How trials are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Search {
    /// By chance.
    Random {
        /// Seed of the draws.
        #[serde(default)]
        seed: u64,
    },
    /// Tree-structured Parzen estimator (Bergstra et al. 2011): of several candidates, drawn where trials were good, the one
    /// that is likeliest there in proportion to where they were not. Parameters are taken one by one.
    Tpe {
        /// Seed of the draws.
        #[serde(default)]
        seed: u64,
        /// Trials by chance in the beginning.
        #[serde(default = "startup")]
        startup: usize,
        /// Trials that are chosen together, before anything is known of each other, and so can be run side by side.
        #[serde(default = "at_a_time")]
        at_a_time: usize,
        /// Share of the trials that count as good, in (0, 1).
        #[serde(default = "good")]
        good: f64,
        /// Candidates.
        #[serde(default = "candidates")]
        candidates: usize,
    },
}

fn startup() -> usize {
    10
}

fn at_a_time() -> usize {
    4
}

fn good() -> f64 {
    0.1
}

fn candidates() -> usize {
    24
}

/// Random numbers of one parameter of one trial, one after the other, for `tpe`.
struct Generator {
    draws: Draws,
    slot: u32,
}

impl Generator {
    fn bits(&mut self) -> u64 {
        let bits = self.draws.bits(self.slot);
        self.slot += 1;
        bits
    }
}

impl TryRng for Generator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.bits() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.bits())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl Search {
    /// How many of the first trials can be chosen once `told` of them are told.
    fn reach(&self, told: usize) -> usize {
        match self {
            Self::Random { .. } => usize::MAX,
            Self::Tpe { startup, .. } if told < *startup => *startup,
            Self::Tpe { startup, at_a_time, .. } => {
                let together = (*at_a_time).max(1);
                startup + ((told - startup) / together + 1) * together
            }
        }
    }

    /// How many cells can be run at a time, where a trial has so many.
    pub fn width(&self, seeds: usize) -> usize {
        match self {
            Self::Random { .. } => usize::MAX,
            Self::Tpe { at_a_time, .. } => at_a_time * seeds,
        }
    }

    fn seed(&self) -> u64 {
        let (Self::Random { seed } | Self::Tpe { seed, .. }) = self;
        *seed
    }
}

impl Tune {
    /// The trials that follow on `trials`, all of which are told, up to `total` in all. `scores`: what came of them, smaller
    /// being better, infinite for those that failed.
    ///
    /// # Errors
    /// When a range is none; [`check_tune`](super::check_tune) tells.
    pub fn next(&self, trials: &[Trial], scores: &[f64], total: usize) -> Result<Vec<Trial>, ExperimentError> {
        let until = self.search.reach(trials.len()).min(total);
        let mut all = trials.to_vec();
        // A trial of the same round is not told yet. It counts as bad until it is, so that its neighbours look elsewhere.
        let bad = scores.iter().copied().filter(|score| score.is_finite()).fold(f64::NEG_INFINITY, f64::max);
        let mut scores = scores.to_vec();
        while all.len() < until {
            all.push(self.choose(&all, &scores)?);
            scores.push(if bad.is_finite() { bad } else { f64::INFINITY });
        }
        Ok(all.split_off(trials.len()))
    }

    fn choose(&self, before: &[Trial], scores: &[f64]) -> Result<Trial, ExperimentError> {
        let number = before.len();
        let mut generators: Vec<Generator> = (0u32..)
            .zip(&self.parameters)
            .map(|(place, _)| {
                let key = Key::new(self.search.seed(), Stream::SEARCH.nth(place));
                Generator { draws: key.at(number as u64), slot: 0 }
            })
            .collect();
        let mut estimators = match &self.search {
            Search::Tpe { startup, good, candidates, .. } if number >= *startup => {
                let estimator = |(place, parameter): (usize, &Parameter)| {
                    estimator(parameter, place, before, scores, *good, *candidates)
                };
                Some(self.parameters.iter().enumerate().map(estimator).collect::<Result<Vec<_>, _>>()?)
            }
            _ => None,
        };
        let mut first = None;
        for draw in 0..DRAWS {
            let mut values = Vec::new();
            for (place, parameter) in self.parameters.iter().enumerate() {
                let generator = &mut generators[place];
                let found = match &mut estimators {
                    Some(estimators) if draw < DRAWS / 2 => {
                        let Ok(found) = estimators[place].ask(generator);
                        found
                    }
                    _ => {
                        let Line { start, end } = parameter.line();
                        start + (end - start) * (generator.bits() >> 11) as f64 * 2.0f64.powi(-53)
                    }
                };
                values.push(parameter.value(found));
            }
            if !before.iter().any(|trial| trial.values == values) {
                return Ok(Trial { number, values });
            }
            first.get_or_insert(values);
        }
        // All was there before: what is chosen costs nothing.
        Ok(Trial { number, values: first.unwrap_or_default() })
    }
}

/// What is known of one parameter.
fn estimator(
    parameter: &Parameter,
    place: usize,
    trials: &[Trial],
    scores: &[f64],
    good: f64,
    candidates: usize,
) -> Result<TpeOptimizer<DefaultEstimatorBuilder>, ExperimentError> {
    let wrong = |error: &dyn std::fmt::Display| ExperimentError::Asked(format!("{}: {error}", parameter.key()));
    let Line { start, end } = parameter.line();
    let range = tpe::range(start, end).map_err(|error| wrong(&error))?;
    let kind = match parameter {
        Parameter::Choice { .. } => tpe::histogram_estimator(),
        _ => tpe::parzen_estimator(),
    };
    let mut builder = TpeOptimizerBuilder::new();
    builder.gamma(good).candidates(candidates);
    let mut estimator = builder.build(kind, range).map_err(|error| wrong(&error))?;
    for (trial, score) in trials.iter().zip(scores) {
        let value: Option<&Value> = trial.values.get(place);
        let found = value.and_then(|value| parameter.place(value)).unwrap_or(f64::NAN);
        estimator.tell(found, *score).map_err(|error| wrong(&error))?;
    }
    Ok(estimator)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TUNE: &str = r#"
name = "trial"
title = "Trial"
question = "?"
trials = 40
seeds = [1]
parameters = [
    { type = "log_uniform", key = "rate", low = 1e-5, high = 1.0 },
    { type = "uniform", key = "weight", low = -2.0, high = 2.0 },
    { type = "integer", key = "depth", low = 1, high = 12 },
    { type = "choice", key = "kind", values = ["a", "b", "c"] },
]
objective = { name = "loss", title = "loss", from = { type = "scalar", name = "loss" }, better = "less" }
tiers = {}
"#;

    fn tune(search: &str) -> Tune {
        toml::from_str(&format!("search = {search}\n{TUNE}")).unwrap()
    }

    /// A bowl with its bottom 0 at a rate of 0.01, a weight of 0.5, a depth of 6 and the kind "b".
    fn bowl(values: &[Value]) -> f64 {
        let number = |place: usize| values[place].as_f64().unwrap();
        let kind = if values[3] == json!("b") { 0.0 } else { 1.0 };
        ((number(0) / 0.01).log10() / 2.0).powi(2)
            + (number(1) - 0.5).powi(2)
            + ((number(2) - 6.0) / 4.0).powi(2)
            + kind
    }

    fn searched(tune: &Tune, total: usize, score: impl Fn(&[Value]) -> f64) -> (Vec<Trial>, Vec<f64>) {
        let (mut trials, mut scores): (Vec<Trial>, Vec<f64>) = (Vec::new(), Vec::new());
        while trials.len() < total {
            let more = tune.next(&trials, &scores, total).unwrap();
            assert!(!more.is_empty());
            scores.extend(more.iter().map(|trial| score(&trial.values)));
            trials.extend(more);
        }
        (trials, scores)
    }

    #[test]
    fn a_search_finds_the_bottom_of_a_bowl_and_chance_less_of_it() {
        let best = |kind: &str| -> Vec<f64> {
            let best = |seed: u64| {
                let (_, scores) = searched(&tune(&format!("{{ type = \"{kind}\", seed = {seed} }}")), 60, bowl);
                scores.iter().copied().fold(f64::INFINITY, f64::min)
            };
            (0..20).map(best).collect()
        };
        let (chance, tpe) = (best("random"), best("tpe"));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let better = chance.iter().zip(&tpe).filter(|(chance, tpe)| tpe < chance).count();
        // Of 20 fair coins, 16 or more heads come in one of 170 cases.
        assert!(better >= 16, "{better}: {chance:?} {tpe:?}");
        assert!(mean(&tpe) < 0.5 * mean(&chance), "{} {}", mean(&tpe), mean(&chance));
    }

    #[test]
    fn a_search_is_a_function_of_its_seed_and_a_longer_one_begins_like_a_shorter_one() {
        let with = |seed: u64| tune(&format!("{{ type = \"tpe\", seed = {seed}, startup = 7, at_a_time = 3 }}"));
        let (long, _) = searched(&with(1), 40, bowl);
        // 23 cuts a round in two.
        for total in [5, 23, 40] {
            assert_eq!(searched(&with(1), total, bowl).0, long[..total]);
        }
        assert_ne!(searched(&with(2), 40, bowl).0, long);
        // What a trial came to changes those of later rounds alone.
        let other = |values: &[Value]| if *values == long[8].values { 1e3 } else { bowl(values) };
        let (changed, _) = searched(&with(1), 40, other);
        assert_eq!(changed[..10], long[..10]);
        assert_ne!(changed[10..], long[10..]);
    }

    #[test]
    fn a_round_is_chosen_together_and_none_of_it_is_chosen_twice() {
        let search = tune("{ type = \"tpe\", startup = 10, at_a_time = 4 }");
        assert_eq!([0, 9, 10, 13, 14].map(|told| search.search.reach(told)), [10, 10, 14, 14, 18]);
        let (trials, _) = searched(&search, 60, bowl);
        for (place, trial) in trials.iter().enumerate() {
            assert!(trials[..place].iter().all(|other| other.values != trial.values), "{trial:?}");
        }
    }

    #[test]
    fn what_fails_is_avoided_and_all_failing_does_no_harm() {
        let search = tune("{ type = \"tpe\" }");
        // Everything but "a" fails, though "b" would be best.
        let fails = |values: &[Value]| if values[3] == json!("a") { bowl(values) } else { f64::INFINITY };
        let (trials, _) = searched(&search, 100, fails);
        let working = trials[50..].iter().filter(|trial| trial.values[3] == json!("a")).count();
        assert!(working > 25, "{working} of 50");
        assert_eq!(searched(&search, 30, |_| f64::INFINITY).0.len(), 30);
    }

    #[test]
    fn a_small_space_is_tried_whole_before_anything_is_tried_twice() {
        let mut small = tune("{ type = \"tpe\", startup = 4, at_a_time = 1 }");
        small.parameters = vec![Parameter::Integer { key: "n".into(), low: 1, high: 4, logarithmic: false }];
        let (trials, _) = searched(&small, 8, |values| values[0].as_f64().unwrap());
        let mut first: Vec<i64> = trials[..4].iter().map(|trial| trial.values[0].as_i64().unwrap()).collect();
        first.sort_unstable();
        assert_eq!(first, [1, 2, 3, 4]);
    }
}

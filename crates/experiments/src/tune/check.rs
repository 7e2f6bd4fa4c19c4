//! What every search must say before it may cost anything.

use sinter_config::Problems;

use super::{Parameter, Search, Tune};
use crate::check::{distinct, plain, tier};

/// Everything that is wrong with a search as such; its configurations are checked by expanding it.
pub fn check_tune(tune: &Tune) -> Problems {
    let mut problems = Problems::new();
    problems.check(plain(&tune.name), "name", "must be a plain directory name");
    problems.check(!tune.question.trim().is_empty(), "question", "must say what is searched for");
    problems.check(tune.trials > 0, "trials", "at least one is made");
    problems.check(!tune.seeds.is_empty(), "seeds", "at least one is needed");
    distinct(&mut problems, "seeds", tune.seeds.iter().map(ToString::to_string));
    let names = std::iter::once(&tune.objective).chain(&tune.metrics).map(|metric| metric.name.clone());
    distinct(&mut problems, "metrics", names);
    if let Some(run) = &tune.evaluates {
        problems.check(tune.prepare.contains_key(run), "evaluates", format!("there is no `prepare.{run}`"));
    }
    problems.check(!tune.parameters.is_empty(), "parameters", "a search varies at least one");
    distinct(&mut problems, "parameters", tune.parameters.iter().map(|parameter| parameter.key().to_owned()));
    for (place, found) in tune.parameters.iter().enumerate() {
        let mut inner = Problems::new();
        parameter(&mut inner, found);
        problems.nest(&format!("parameters[{place}]"), inner);
    }
    if let Search::Tpe { startup, at_a_time, good, candidates, .. } = &tune.search {
        problems.check(
            *startup > 0,
            "search.startup",
            "at least one trial is by chance: there is nothing to learn from",
        );
        problems.check(*at_a_time > 0, "search.at_a_time", "must be at least 1");
        problems.check(*good > 0.0 && *good < 1.0, "search.good", "must lie between 0 and 1");
        problems.check(*candidates > 0, "search.candidates", "must be at least 1");
    }
    let prepared: Vec<&str> = tune.prepare.keys().map(String::as_str).collect();
    for (name, found) in &tune.tiers {
        tier(&mut problems, name, found.cost.as_ref(), found.seeds.as_deref(), found.prepare.keys(), &prepared);
        problems.check(found.trials != Some(0), format!("tiers.{name}.trials"), "at least one is made");
    }
    problems.check(!tune.tiers.is_empty(), "tiers", "at least one size is needed");
    problems
}

fn parameter(problems: &mut Problems, parameter: &Parameter) {
    problems.check(!parameter.key().trim().is_empty(), "key", "is empty");
    match parameter {
        Parameter::Uniform { low, high, .. } => {
            problems.check(low.is_finite() && high.is_finite() && low < high, "high", "must be finite and above `low`");
        }
        Parameter::LogUniform { low, high, .. } => {
            problems.check(*low > 0.0, "low", "must be above 0: its logarithm is taken");
            problems.check(high.is_finite() && low < high, "high", "must be finite and above `low`");
        }
        Parameter::Integer { low, high, logarithmic, .. } => {
            problems.check(low < high, "high", "must be above `low`");
            problems.check(!logarithmic || *low > 0, "low", "must be above 0: its logarithm is taken");
        }
        Parameter::Choice { values, .. } => {
            problems.check(values.len() > 1, "values", "at least two are needed to choose");
            distinct(problems, "values", values.iter().map(ToString::to_string));
        }
    }
}

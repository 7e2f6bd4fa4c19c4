//! What every experiment must say before it may cost anything.

use std::collections::BTreeSet;

use sinter_config::{Problems, nearest};

use crate::claims::{Comparison, Test};
use crate::sweep::{Axis, Cost, Sweep};
use crate::{Selection, Verdict};

/// Tiers that every experiment has, so that it can be tried without a GPU.
const EVERYWHERE: [&str; 2] = ["smoke", "cpu"];
/// Tiers that there are.
const TIERS: [&str; 4] = ["smoke", "cpu", "gpu", "paper"];
/// Most minutes of a cell, by tier.
const MOST: [(&str, f64); 2] = [("smoke", 0.5), ("cpu", 3.0)];
/// Seeds below which a bootstrap's interval is too narrow to be believed.
const BOOTSTRAP_SEEDS: usize = 5;

/// Everything that is wrong with an experiment as such; its configurations are checked by expanding it.
pub fn check(sweep: &Sweep) -> Problems {
    let mut problems = Problems::new();
    problems.check(plain(&sweep.name), "name", "must be a plain directory name");
    problems.check(!sweep.question.trim().is_empty(), "question", "must say what is asked");
    match &sweep.paper {
        None => {
            problems.push_help("paper", "an experiment names the paper that it is about", "title, authors, reference")
        }
        Some(paper) => {
            problems.check(!paper.title.trim().is_empty(), "paper.title", "is empty");
            problems.check(!paper.reference.trim().is_empty(), "paper.reference", "is empty");
        }
    }
    problems.check(!sweep.claims.is_empty(), "claims", "an experiment has at least one claim");
    problems.check(!sweep.metrics.is_empty(), "metrics", "an experiment reads at least one metric");
    distinct(&mut problems, "seeds", sweep.seeds.iter().map(ToString::to_string));
    problems.check(!sweep.seeds.is_empty(), "seeds", "at least one is needed");
    axes(&mut problems, sweep);
    tiers(&mut problems, sweep);
    distinct(&mut problems, "metrics", sweep.metrics.iter().map(|metric| metric.name.clone()));
    distinct(&mut problems, "claims", sweep.claims.iter().map(|claim| claim.name.clone()));
    if let Some(run) = &sweep.evaluates {
        problems.check(sweep.prepare.contains_key(run), "evaluates", format!("there is no `prepare.{run}`"));
    }
    for (place, claim) in sweep.claims.iter().enumerate() {
        let mut inner = Problems::new();
        inner.check(!claim.statement.trim().is_empty(), "statement", "must say what the paper states");
        inner.check(!claim.table.trim().is_empty(), "table", "must say where the paper states it");
        inner.check(
            claim.numbers.is_empty() || claim.measured.is_some(),
            "measured",
            "must say what the paper's numbers measure",
        );
        inner.check(claim.seeds >= 2, "seeds", "at least two are needed to tell chance from effect");
        let confidence = claim.test.confidence();
        inner.check(confidence > 0.5 && confidence < 1.0, "test.confidence", "must lie between 0.5 and 1");
        if let Test::Bootstrap { .. } = claim.test {
            inner.check(
                claim.seeds >= BOOTSTRAP_SEEDS,
                "test",
                format!("a bootstrap takes at least {BOOTSTRAP_SEEDS} seeds: of fewer its interval is far too narrow"),
            );
        }
        let available = ["cpu", "gpu", "paper"].iter().filter_map(|tier| sweep.tiers.get(*tier));
        let most = available.map(|tier| sweep.seeds(tier).len()).max().unwrap_or(0);
        inner.check(
            most >= claim.seeds,
            "seeds",
            format!(
                "{} are asked for, but no tier beyond `smoke` runs more than {most}: it could never be decided",
                claim.seeds
            ),
        );
        comparison(&mut inner, sweep, &claim.expect);
        for (place, number) in claim.numbers.iter().enumerate() {
            if let Some(cell) = &number.cell {
                selection(&mut inner, sweep, &format!("numbers[{place}].cell"), cell);
            }
        }
        problems.nest(&format!("claims[{place}]"), inner);
    }
    problems
}

pub(crate) fn plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

pub(crate) fn distinct(problems: &mut Problems, key: &str, names: impl Iterator<Item = String>) {
    let mut known = BTreeSet::new();
    for name in names {
        if !known.insert(name.clone()) {
            problems.push(key, format!("`{name}` is there twice"));
        }
    }
}

fn axes(problems: &mut Problems, sweep: &Sweep) {
    distinct(problems, "axes", sweep.axes.iter().map(|axis| axis.name().to_owned()));
    for (place, axis) in sweep.axes.iter().enumerate() {
        let key = format!("axes[{place}]");
        problems.check(axis.name() != "seed", key.clone(), "seeds are an axis by themselves: `seeds = [1, 2, 3]`");
        problems.check(axis.levels().len() > 1, key.clone(), "an axis has at least two levels");
        distinct(problems, &key, axis.levels().into_iter());
        if let Axis::Zip { keys, rows, .. } = axis {
            let fits = rows.iter().all(|row| row.len() == keys.len() + 1 && row[0].is_string());
            problems.check(fits, format!("{key}.rows"), format!("a row is a name and {} values", keys.len()));
        }
    }
}

fn tiers(problems: &mut Problems, sweep: &Sweep) {
    for tier in EVERYWHERE {
        let why = "every experiment has it, so that it can be tried anywhere";
        problems.check(sweep.tiers.contains_key(tier), format!("tiers.{tier}"), format!("is missing: {why}"));
    }
    let prepared: Vec<&str> = sweep.prepare.keys().map(String::as_str).collect();
    for (name, tier) in &sweep.tiers {
        let key = format!("tiers.{name}");
        self::tier(problems, name, tier.cost.as_ref(), tier.seeds.as_deref(), tier.prepare.keys(), &prepared);
        for (axis, levels) in &tier.only {
            for level in levels {
                level_exists(problems, sweep, &format!("{key}.only"), axis, level);
            }
        }
        for (axis, levels) in &tier.levels {
            for level in levels.keys() {
                level_exists(problems, sweep, &format!("{key}.levels"), axis, level);
            }
        }
    }
}

/// What sizes of sweeps and of searches have in common.
pub(crate) fn tier<'a>(
    problems: &mut Problems,
    name: &str,
    cost: Option<&Cost>,
    seeds: Option<&[u64]>,
    overlaid: impl Iterator<Item = &'a String>,
    prepared: &[&str],
) {
    let key = format!("tiers.{name}");
    if !TIERS.contains(&name) {
        problems.push_help(key.clone(), "is no tier", format!("known: {}", TIERS.join(", ")));
    }
    match cost {
        None => problems.push_help(
            format!("{key}.cost"),
            "an expected cost is missing",
            "such as { minutes = 2.5, on = \"two CPU cores\" }",
        ),
        Some(cost) => {
            problems.check(cost.minutes > 0.0, format!("{key}.cost.minutes"), "must be above 0");
            problems.check(!cost.on.trim().is_empty(), format!("{key}.cost.on"), "must say on what");
            if let Some((_, most)) = MOST.iter().find(|(tier, _)| *tier == name) {
                let message = format!("a cell of `{name}` takes at most {most} minutes");
                problems.check(cost.minutes <= *most, format!("{key}.cost.minutes"), message);
            }
        }
    }
    problems.check(seeds.is_none_or(|seeds| !seeds.is_empty()), format!("{key}.seeds"), "is empty");
    for run in overlaid {
        if !prepared.contains(&run.as_str()) {
            unknown(problems, &format!("{key}.prepare"), "prepared run", run, prepared);
        }
    }
}

fn level_exists(problems: &mut Problems, sweep: &Sweep, key: &str, axis: &str, level: &str) {
    let Some(found) = sweep.axes.iter().find(|other| other.name() == axis) else {
        let names: Vec<&str> = sweep.axes.iter().map(Axis::name).collect();
        return unknown(problems, key, "axis", axis, &names);
    };
    let levels = found.levels();
    if !levels.iter().any(|other| other == level) {
        let names: Vec<&str> = levels.iter().map(String::as_str).collect();
        unknown(problems, key, &format!("level of {axis}"), level, &names);
    }
}

fn unknown(problems: &mut Problems, key: &str, what: &str, name: &str, known: &[&str]) {
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", known.join(", ")),
    };
    problems.push_help(key, format!("`{name}` is no {what}"), help);
}

fn selection(problems: &mut Problems, sweep: &Sweep, key: &str, selection: &Selection) {
    for (axis, level) in selection {
        level_exists(problems, sweep, key, axis, level);
    }
}

fn comparison(problems: &mut Problems, sweep: &Sweep, expect: &Comparison) {
    let metric = expect.metric();
    if sweep.metric(metric).is_none() {
        let names: Vec<&str> = sweep.metrics.iter().map(|metric| metric.name.as_str()).collect();
        unknown(problems, "expect.metric", "metric", metric, &names);
    }
    let mut pair = |names: [&str; 2], first: &Selection, second: &Selection| {
        selection(problems, sweep, &format!("expect.{}", names[0]), first);
        selection(problems, sweep, &format!("expect.{}", names[1]), second);
        problems.check(!first.is_empty(), format!("expect.{}", names[0]), "names no level");
        problems.check(first != second, format!("expect.{}", names[1]), "are the same cells");
        let same = first.keys().eq(second.keys());
        problems.check(same, format!("expect.{}", names[1]), format!("must name levels of the axes of `{}`", names[0]));
    };
    match expect {
        Comparison::Less { cell, than, .. } | Comparison::Greater { cell, than, .. } => {
            pair(["cell", "than"], cell, than)
        }
        Comparison::Ratio { cell, to, at_least, at_most, .. } => {
            pair(["cell", "to"], cell, to);
            let bounds: Vec<f64> = at_least.iter().chain(at_most).copied().collect();
            problems.check(!bounds.is_empty(), "expect", "a ratio needs `at_least` or `at_most`");
            problems.check(bounds.iter().all(|bound| *bound > 0.0), "expect", "bounds of a ratio are above 0");
        }
        Comparison::Monotone { axis, levels, at, .. } => {
            let all = sweep.axes.iter().find(|other| other.name() == axis).map(Axis::levels).unwrap_or_default();
            let named = if levels.is_empty() { &all } else { levels };
            problems.check(named.len() > 1, "expect.axis", format!("`{axis}` has no two levels to compare"));
            named.iter().for_each(|level| level_exists(problems, sweep, "expect.levels", axis, level));
            selection(problems, sweep, "expect.at", at);
        }
        Comparison::BestOf { axis, level, at, .. } => {
            level_exists(problems, sweep, "expect.level", axis, level);
            selection(problems, sweep, "expect.at", at);
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.words())
    }
}

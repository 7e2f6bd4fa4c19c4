//! Verdicts.

use serde::{Deserialize, Serialize};

use super::contrast::{Contrast, Interval, Scale};
use super::{Claim, Comparison, Direction, Test};
use crate::{Better, Gathered, Selection, Sweep};

/// Whether a claim held here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What was expected showed, beyond chance.
    Held,
    /// The opposite showed, beyond chance.
    NotHeld,
    /// Neither did, or cells are missing.
    Undecided,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Held, Self::NotHeld, Self::Undecided];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotHeld => "not held",
            Self::Undecided => "undecided",
        }
    }
}

/// A claim with its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The claim's name.
    pub claim: String,
    /// Whether it held.
    pub verdict: Verdict,
    /// What was found, a line a comparison.
    pub evidence: Vec<String>,
    /// Why it is undecided, and what it would have taken.
    pub reasons: Vec<String>,
}

/// One comparison that a claim asks for.
struct Question {
    first: Selection,
    second: Selection,
    scale: Scale,
    /// The effect must be below (true) or above this.
    below: bool,
    bound: f64,
}

/// Judges a claim by the finished cells.
///
/// Every comparison that a claim asks for must show at the test's confidence; that one is reversed counts at a confidence
/// that allows for the number of comparisons (Bonferroni), since any of them would refute the claim.
pub fn judge(claim: &Claim, sweep: &Sweep, gathered: &Gathered) -> Judged {
    let metric = claim.expect.metric();
    let mut judged =
        Judged { claim: claim.name.clone(), verdict: Verdict::Undecided, evidence: vec![], reasons: vec![] };
    if let Some(difference) = gathered.unlike.get(metric) {
        judged.reasons.push(format!("cells were not measured alike: {difference}"));
        return judged;
    }
    let questions = questions(&claim.expect, sweep, gathered);
    let confidence = claim.test.confidence();
    let strict = 1.0 - (1.0 - confidence) / questions.len().max(1) as f64;
    let mut verdicts = Vec::new();
    for question in &questions {
        let contrast = Contrast::of(&gathered.rows, metric, &question.first, &question.second, question.scale);
        let Some(contrast) = contrast else {
            let [first, second] = [&question.first, &question.second].map(crate::selection::written);
            judged.reasons.push(format!("no finished pair of {first} and {second}"));
            verdicts.push(Verdict::Undecided);
            continue;
        };
        let interval = contrast.interval(&claim.test, confidence).ok();
        // Both bounds of a ratio rest on the same.
        let evidence = contrast.evidence(&claim.test, interval);
        if !judged.evidence.contains(&evidence) {
            judged.evidence.push(evidence);
        }
        let verdict = if contrast.seeds < claim.seeds {
            judged.reasons.push(format!("{} of {} seeds are done", contrast.seeds, claim.seeds));
            Verdict::Undecided
        } else {
            question.verdict(interval, contrast.interval(&claim.test, strict).ok())
        };
        if verdict == Verdict::Undecided && contrast.seeds >= claim.seeds {
            judged.reasons.push(detectable(&contrast, question, &claim.test));
        }
        verdicts.push(verdict);
    }
    judged.reasons.dedup();
    judged.verdict = if verdicts.contains(&Verdict::NotHeld) {
        Verdict::NotHeld
    } else if !verdicts.is_empty() && verdicts.iter().all(|verdict| *verdict == Verdict::Held) {
        Verdict::Held
    } else {
        Verdict::Undecided
    };
    if judged.verdict != Verdict::Undecided {
        judged.reasons.clear();
    }
    judged
}

impl Question {
    fn verdict(&self, interval: Option<Interval>, strict: Option<Interval>) -> Verdict {
        let (Some(interval), Some(strict)) = (interval, strict) else { return Verdict::Undecided };
        let below = |interval: Interval| interval.upper < self.bound;
        let above = |interval: Interval| interval.lower > self.bound;
        match self.below {
            true if below(interval) => Verdict::Held,
            true if above(strict) => Verdict::NotHeld,
            false if above(interval) => Verdict::Held,
            false if below(strict) => Verdict::NotHeld,
            _ => Verdict::Undecided,
        }
    }
}

/// What difference would have been found.
fn detectable(contrast: &Contrast, question: &Question, test: &Test) -> String {
    let seeds = contrast.seeds;
    match (contrast.detectable(test), question.scale) {
        (Ok(effect), Scale::Difference) => {
            let size = crate::text::number(effect);
            format!(
                "with {seeds} seeds a difference of {size} would be found in four of five repetitions, smaller ones less often"
            )
        }
        (Ok(effect), Scale::LogRatio) => {
            let (low, high) = ((question.bound - effect).exp(), (question.bound + effect).exp());
            let (low, high) = (crate::text::number(low), crate::text::number(high));
            format!(
                "with {seeds} seeds a ratio below {low} or above {high} would be told from the bound in four of five repetitions"
            )
        }
        (Err(error), _) => format!("with {seeds} seeds nothing can be said: {error}"),
    }
}

/// The comparisons that a claim asks for.
fn questions(expect: &Comparison, sweep: &Sweep, gathered: &Gathered) -> Vec<Question> {
    let difference = |first: &Selection, second: &Selection, below: bool| Question {
        first: first.clone(),
        second: second.clone(),
        scale: Scale::Difference,
        below,
        bound: 0.0,
    };
    let along = |axis: &str, at: &Selection, level: &str| {
        let mut selection = at.clone();
        selection.insert(axis.to_owned(), level.to_owned());
        selection
    };
    // What this tier runs, in the sweep's order.
    let levels = |axis: &str| -> Vec<String> {
        let named = sweep.axes.iter().find(|other| other.name() == axis);
        let all = named.map(crate::Axis::levels).unwrap_or_default();
        let run = |level: &String| gathered.rows.iter().any(|row| row.cell.levels.get(axis) == Some(level));
        all.into_iter().filter(run).collect()
    };
    match expect {
        Comparison::Less { cell, than, .. } => vec![difference(cell, than, true)],
        Comparison::Greater { cell, than, .. } => vec![difference(cell, than, false)],
        Comparison::Monotone { axis, direction, levels: named, at, .. } => {
            let levels = if named.is_empty() { levels(axis) } else { named.clone() };
            let falls = *direction == Direction::Falls;
            let next = |pair: &[String]| difference(&along(axis, at, &pair[1]), &along(axis, at, &pair[0]), falls);
            levels.windows(2).map(next).collect()
        }
        Comparison::Ratio { cell, to, at_least, at_most, .. } => {
            let bound = |bound: f64, below: bool| {
                let (first, second, bound) = (cell.clone(), to.clone(), bound.ln());
                Question { first, second, scale: Scale::LogRatio, below, bound }
            };
            at_least.map(|least| bound(least, false)).into_iter().chain(at_most.map(|most| bound(most, true))).collect()
        }
        Comparison::BestOf { metric, axis, level, at } => {
            let less = sweep.metric(metric).is_none_or(|metric| metric.better == Better::Less);
            let others = levels(axis).into_iter().filter(|other| other != level);
            others.map(|other| difference(&along(axis, at, level), &along(axis, at, &other), less)).collect()
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

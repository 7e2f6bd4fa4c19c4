//! Two groups of cells side by side: how far apart they are, and how sure that is.

use std::collections::BTreeMap;

use sinter_metrics::{Bootstrap, MetricError, Summary, normal_quantile, student_two_sided};

use super::Test;
use crate::selection::{rest, selects, written};
use crate::{Row, Selection, text};

/// The chance with which a difference that is called detectable is found.
const POWER: f64 = 0.8;
/// Seed of the bootstrap's draws.
const SEED: u64 = 1;

/// What a reader calls one selection beside another: the levels in which they differ.
fn distinguished(this: &Selection, other: &Selection) -> String {
    let differs = |(axis, level): &(&String, &String)| other.get(*axis) != Some(*level);
    let levels: Vec<(&String, &String)> = this.iter().filter(differs).collect();
    match levels.as_slice() {
        [] => written(this),
        [(_, level)] => (*level).clone(),
        several => several.iter().map(|(axis, level)| format!("{axis} = {level}")).collect::<Vec<_>>().join(", "),
    }
}

/// How two groups are set against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// The first less the second.
    Difference,
    /// The logarithm of the first divided by the second.
    LogRatio,
}

/// Two groups side by side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Contrast {
    /// What a reader calls the groups.
    names: [String; 2],
    groups: [Vec<f64>; 2],
    scale: Scale,
    /// Seeds of which both groups have values.
    pub(super) seeds: usize,
    /// What distinguishes the groups, on the scale.
    effect: f64,
}

/// Where an effect lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) lower: f64,
    pub(super) upper: f64,
}

impl Contrast {
    /// The cells of two selections that have a partner in the other: the same seed, the same levels of axes that the
    /// selections leave open. None where there are no pairs.
    pub(super) fn of(rows: &[Row], metric: &str, first: &Selection, second: &Selection, scale: Scale) -> Option<Self> {
        let group = |selection: &Selection| -> BTreeMap<(Selection, u64), f64> {
            let chosen = rows.iter().filter(|row| selects(selection, &row.cell.levels));
            let value = |row: &Row| {
                let value = row.values.get(metric).copied().filter(|value| value.is_finite())?;
                (scale == Scale::Difference || value > 0.0)
                    .then(|| ((rest(selection, &row.cell.levels), row.cell.seed), value))
            };
            chosen.filter_map(value).collect()
        };
        let (one, two) = (group(first), group(second));
        let mut groups = [Vec::new(), Vec::new()];
        let mut seeds: Vec<u64> = Vec::new();
        for (key, value) in &one {
            if let Some(partner) = two.get(key) {
                groups[0].push(*value);
                groups[1].push(*partner);
                seeds.push(key.1);
            }
        }
        seeds.sort_unstable();
        seeds.dedup();
        let names = [distinguished(first, second), distinguished(second, first)];
        let mut contrast = Self { names, groups, scale, seeds: seeds.len(), effect: 0.0 };
        if seeds.is_empty() {
            return None;
        }
        let effects = contrast.paired();
        contrast.effect = effects.iter().sum::<f64>() / effects.len() as f64;
        Some(contrast)
    }

    /// The effects of the pairs.
    fn paired(&self) -> Vec<f64> {
        let effect = |(one, two): (&f64, &f64)| match self.scale {
            Scale::Difference => one - two,
            Scale::LogRatio => (one / two).ln(),
        };
        self.groups[0].iter().zip(&self.groups[1]).map(effect).collect()
    }

    /// The interval of the effect at a confidence.
    pub(super) fn interval(&self, test: &Test, confidence: f64) -> Result<Interval, MetricError> {
        match test {
            Test::Paired { .. } => {
                let interval = Summary::of(&self.paired())?.mean_interval(confidence)?;
                Ok(Interval { lower: interval.lower, upper: interval.upper })
            }
            Test::Bootstrap { resamples, .. } => {
                let interval = self.replicates(*resamples)?.interval(confidence)?;
                Ok(Interval { lower: interval.lower, upper: interval.upper })
            }
        }
    }

    /// The effect on resamples of both groups, drawn apart.
    fn replicates(&self, resamples: u32) -> Result<sinter_metrics::Replicates, MetricError> {
        let [one, two] = &self.groups;
        let (n, scale) = (one.len(), self.scale);
        // An index below n n is two independent ones below n.
        Bootstrap { resamples, seed: SEED }.replicates(n * n, |indices| {
            let mean = |of: &dyn Fn(usize) -> f64| indices[..n].iter().map(|&index| of(index)).sum::<f64>() / n as f64;
            let (one, two) = (mean(&|index| one[index % n]), mean(&|index| two[index / n]));
            match scale {
                Scale::Difference => one - two,
                Scale::LogRatio => (one / two).ln(),
            }
        })
    }

    /// The smallest effect that the test would find in four repetitions of five, were it the true one.
    pub(super) fn detectable(&self, test: &Test) -> Result<f64, MetricError> {
        let confidence = test.confidence();
        // Two-sided at 2 P - 1 is one-sided at P.
        let one_sided = 2.0 * POWER - 1.0;
        match test {
            Test::Paired { .. } => {
                let summary = Summary::of(&self.paired())?;
                let deviation = summary.deviation.ok_or(MetricError::TooFew { what: "pairs", count: 1, least: 2 })?;
                let freedom = summary.n - 1;
                let errors = student_two_sided(confidence, freedom)? + student_two_sided(one_sided, freedom)?;
                Ok(errors * deviation / (summary.n as f64).sqrt())
            }
            Test::Bootstrap { resamples, .. } => {
                let errors = normal_quantile(0.5 + 0.5 * confidence) + normal_quantile(POWER);
                Ok(errors * self.replicates(*resamples)?.standard_error())
            }
        }
    }

    /// A size of the effect for people: a difference, or a factor.
    pub(super) fn shown(&self, effect: f64) -> String {
        match self.scale {
            Scale::Difference => text::signed(effect),
            Scale::LogRatio => text::number(effect.exp()),
        }
    }

    /// What was found, in a line.
    pub(super) fn evidence(&self, test: &Test, interval: Option<Interval>) -> String {
        let group = |place: usize| {
            let values = &self.groups[place];
            let summary = Summary::of(values);
            let shown = summary.map_or(String::new(), |summary| {
                let Summary { n, mean, min, max, .. } = summary;
                format!("{} [{}, {}] (n = {n})", text::number(mean), text::number(min), text::number(max))
            });
            format!("{}: {shown}", self.names[place])
        };
        let what = if self.scale == Scale::Difference { "difference" } else { "ratio" };
        let interval = interval.map_or("no interval from one pair".into(), |interval| {
            let (lower, upper) = (self.shown(interval.lower), self.shown(interval.upper));
            format!("{:.0}% interval {lower} to {upper}", test.confidence() * 100.0)
        });
        let how = match test {
            Test::Paired { .. } => "paired",
            Test::Bootstrap { .. } => "bootstrap",
        };
        format!(
            "{}; {}; {what} {}, {interval} ({how}, {} seeds)",
            group(0),
            group(1),
            self.shown(self.effect),
            self.seeds
        )
    }
}

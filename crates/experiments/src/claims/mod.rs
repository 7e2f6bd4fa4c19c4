//! Claims: what a paper states, and how that is tested here.

mod contrast;
mod judge;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use judge::{Judged, Verdict, judge};

use crate::Selection;

/// A statement of a paper and its test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Plain name.
    pub name: String,
    /// What the paper states, in words of our own.
    pub statement: String,
    /// Where it states it, such as `Table 2`.
    pub table: String,
    /// What the paper's numbers measure, such as `FID-50k, ImageNet 256 x 256`; never what is measured here.
    #[serde(default)]
    pub measured: Option<String>,
    /// The paper's numbers.
    #[serde(default)]
    pub numbers: Vec<PaperNumber>,
    /// What must show here for the claim to hold.
    pub expect: Comparison,
    /// The seeds that it takes to decide.
    pub seeds: usize,
    /// How chance is told from effect.
    #[serde(default)]
    pub test: Test,
}

/// A number that a paper prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaperNumber {
    /// What it is of, as the paper has it.
    pub of: String,
    /// The cells here that stand for it; not there where none do.
    #[serde(default)]
    pub cell: Option<Selection>,
    /// The number.
    pub value: f64,
}

/// What is compared. Cells are named by levels of axes; what is left open is taken pair by pair, as seeds are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Comparison {
    /// The metric of `cell` is smaller than that of `than`.
    Less {
        /// Name of the metric.
        metric: String,
        /// Levels by axis.
        cell: Selection,
        /// Levels of the same axes.
        than: Selection,
    },
    /// The metric of `cell` is greater than that of `than`.
    Greater {
        /// Name of the metric.
        metric: String,
        /// Levels by axis.
        cell: Selection,
        /// Levels of the same axes.
        than: Selection,
    },
    /// The metric falls or rises from each level of an axis to the next.
    Monotone {
        /// Name of the metric.
        metric: String,
        /// The axis.
        axis: String,
        /// Which way.
        direction: Direction,
        /// The levels that take part, in order; by default all of the axis.
        #[serde(default)]
        levels: Vec<String>,
        /// Levels of other axes.
        #[serde(default)]
        at: Selection,
    },
    /// The metric of `cell` divided by that of `to` lies within bounds.
    Ratio {
        /// Name of the metric, whose values are above 0.
        metric: String,
        /// Levels by axis.
        cell: Selection,
        /// Levels of the same axes.
        to: Selection,
        /// Lower bound.
        #[serde(default)]
        at_least: Option<f64>,
        /// Upper bound.
        #[serde(default)]
        at_most: Option<f64>,
    },
    /// One level of an axis is better than every other.
    BestOf {
        /// Name of the metric; it says which way is better.
        metric: String,
        /// The axis.
        axis: String,
        /// The level.
        level: String,
        /// Levels of other axes.
        #[serde(default)]
        at: Selection,
    },
}

/// Which way a metric goes along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Each level's is smaller than the one before.
    Falls,
    /// Each level's is greater than the one before.
    Rises,
}

/// How chance is told from effect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Test {
    /// Student's interval of the differences between cells of the same seed. Right for few seeds.
    Paired {
        /// Of the two-sided interval.
        #[serde(default = "confidence")]
        confidence: f64,
    },
    /// Percentile interval of the difference of means on resampled seeds. Takes at least five of them: of three, its
    /// interval is far too narrow.
    Bootstrap {
        /// Of the two-sided interval.
        #[serde(default = "confidence")]
        confidence: f64,
        /// Resamples.
        #[serde(default = "resamples")]
        resamples: u32,
    },
}

impl Default for Test {
    fn default() -> Self {
        Self::Paired { confidence: confidence() }
    }
}

impl Test {
    /// Of the two-sided interval.
    pub fn confidence(&self) -> f64 {
        match self {
            Self::Paired { confidence } | Self::Bootstrap { confidence, .. } => *confidence,
        }
    }
}

fn confidence() -> f64 {
    0.95
}

fn resamples() -> u32 {
    10_000
}

impl Comparison {
    /// Name of the metric.
    pub fn metric(&self) -> &str {
        match self {
            Self::Less { metric, .. }
            | Self::Greater { metric, .. }
            | Self::Monotone { metric, .. }
            | Self::Ratio { metric, .. }
            | Self::BestOf { metric, .. } => metric,
        }
    }

    /// What must show, in a line; `metric` is what a reader calls the metric.
    pub fn written(&self, metric: &str) -> String {
        let cells = crate::selection::written;
        let at = |at: &Selection| if at.is_empty() { String::new() } else { format!(" at {}", cells(at)) };
        match self {
            Self::Less { cell, than, .. } => format!("{metric}: {} < {}", cells(cell), cells(than)),
            Self::Greater { cell, than, .. } => format!("{metric}: {} > {}", cells(cell), cells(than)),
            Self::Monotone { axis, direction, levels, at: other, .. } => {
                let way = if *direction == Direction::Falls { "falls" } else { "rises" };
                let levels = if levels.is_empty() { String::new() } else { format!(" over {}", levels.join(", ")) };
                format!("{metric} {way} along {axis}{levels}{}", at(other))
            }
            Self::Ratio { cell, to, at_least, at_most, .. } => {
                let least = at_least.map(|bound| format!(", at least {bound}")).unwrap_or_default();
                let most = at_most.map(|bound| format!(", at most {bound}")).unwrap_or_default();
                format!("{metric}: {} / {}{least}{most}", cells(cell), cells(to))
            }
            Self::BestOf { axis, level, at: other, .. } => format!("{metric} is best at {axis} = {level}{}", at(other)),
        }
    }
}

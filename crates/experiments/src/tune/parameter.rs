//! What a search varies: values on a line, or from a list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::expand::inline;

/// Significant digits of a value that is tried: more say nothing, and would tie a trial to a platform's logarithm.
const DIGITS: usize = 6;

/// A setting that a search varies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Parameter {
    /// A number of an interval, all alike.
    Uniform {
        /// Dotted key of the configuration.
        key: String,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// A number of an interval above 0, all magnitudes alike.
    LogUniform {
        /// Dotted key of the configuration.
        key: String,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// A whole number of `low`, ..., `high`.
    Integer {
        /// Dotted key of the configuration.
        key: String,
        /// Least.
        low: i64,
        /// Largest.
        high: i64,
        /// Whether magnitudes are alike in place of numbers; `low` is then above 0.
        #[serde(default)]
        logarithmic: bool,
    },
    /// One of several values, which have no order.
    Choice {
        /// Dotted key of the configuration.
        key: String,
        /// The values: numbers, words, tables.
        values: Vec<Value>,
    },
}

/// The interval in which a parameter is searched, `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) start: f64,
    pub(super) end: f64,
}

impl Parameter {
    /// The key that it sets.
    pub fn key(&self) -> &str {
        match self {
            Self::Uniform { key, .. }
            | Self::LogUniform { key, .. }
            | Self::Integer { key, .. }
            | Self::Choice { key, .. } => key,
        }
    }

    /// Whether magnitudes are alike.
    pub(crate) fn is_logarithmic(&self) -> bool {
        matches!(self, Self::LogUniform { .. } | Self::Integer { logarithmic: true, .. })
    }

    /// Where it is searched: numbers or their logarithms, whole numbers with half a unit on both sides, places in a list.
    pub(super) fn line(&self) -> Line {
        let (start, end) = match self {
            Self::Uniform { low, high, .. } => (*low, *high),
            Self::LogUniform { low, high, .. } => (low.ln(), high.ln()),
            Self::Integer { low, high, logarithmic, .. } => {
                let (start, end) = (*low as f64 - 0.5, *high as f64 + 0.5);
                if *logarithmic { (start.ln(), end.ln()) } else { (start, end) }
            }
            Self::Choice { values, .. } => (0.0, values.len() as f64),
        };
        Line { start, end }
    }

    /// The value at a place of the line.
    pub(super) fn value(&self, place: f64) -> Value {
        match self {
            Self::Uniform { low, high, .. } => json!(rounded(place).clamp(*low, *high)),
            Self::LogUniform { low, high, .. } => json!(rounded(place.exp()).clamp(*low, *high)),
            Self::Integer { low, high, logarithmic, .. } => {
                let place = if *logarithmic { place.exp() } else { place };
                json!((place.round() as i64).clamp(*low, *high))
            }
            Self::Choice { values, .. } => {
                let index = (place.max(0.0) as usize).min(values.len().saturating_sub(1));
                values.get(index).cloned().unwrap_or_default()
            }
        }
    }

    /// The place of a value on the line; none for what is no value of this parameter.
    pub(super) fn place(&self, value: &Value) -> Option<f64> {
        let line = self.line();
        let place = match self {
            Self::Choice { values, .. } => values.iter().position(|other| other == value)? as f64,
            _ if self.is_logarithmic() => value.as_f64()?.ln(),
            _ => value.as_f64()?,
        };
        Some(place.clamp(line.start, line.end.next_down()))
    }
}

/// A value for people: a word as it is, anything else as TOML.
pub(crate) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| inline(value), str::to_owned)
}

fn rounded(value: f64) -> f64 {
    format!("{value:.*e}", DIGITS - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Vec<Parameter> {
        let key = || "a.b".to_owned();
        vec![
            Parameter::Uniform { key: key(), low: -1.0, high: 2.0 },
            Parameter::LogUniform { key: key(), low: 1e-5, high: 1e-1 },
            Parameter::Integer { key: key(), low: 2, high: 5, logarithmic: false },
            Parameter::Integer { key: key(), low: 1, high: 64, logarithmic: true },
            Parameter::Choice { key: key(), values: vec![json!("a"), json!({ "type": "b" }), json!(3)] },
        ]
    }

    #[test]
    fn values_and_places_go_into_each_other() {
        for parameter in parameters() {
            let Line { start, end } = parameter.line();
            for step in 0..1000 {
                let value = parameter.value(start + (end - start) * f64::from(step) / 1000.0);
                let place = parameter.place(&value).unwrap();
                assert!((start..end).contains(&place), "{parameter:?} {value}");
                assert_eq!(parameter.value(place).to_string(), value.to_string(), "{parameter:?}");
            }
        }
    }

    #[test]
    fn whole_numbers_and_choices_have_equal_shares() {
        for parameter in [&parameters()[2], &parameters()[4]] {
            let Line { start, end } = parameter.line();
            let mut counts = std::collections::BTreeMap::new();
            for step in 0..1200 {
                let value = parameter.value(start + (end - start) * (f64::from(step) + 0.5) / 1200.0);
                *counts.entry(value.to_string()).or_insert(0) += 1;
            }
            let share = 1200 / counts.len();
            assert!(counts.values().all(|count| *count == share), "{counts:?}");
        }
    }

    #[test]
    fn what_is_no_value_has_no_place() {
        assert_eq!(parameters()[4].place(&json!("c")), None);
        assert_eq!(parameters()[0].place(&json!("c")), None);
        assert_eq!(rounded(0.001_234_567_89), 0.001_234_57);
    }
}

//! Sums behind the means that are logged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// In place of a count: the value is the latest one, and no sum.
const LATEST: f64 = -1.0;

/// Named running means, each a sum and a count in f64, and latest values. Adding in the same order gives the same bits, and a tally is
/// part of a checkpoint, so a resumed run logs the numbers of the straight one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally(BTreeMap<String, (f64, f64)>);

impl Tally {
    /// An empty tally.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one observation.
    pub fn add(&mut self, name: &str, value: f64) {
        self.add_weighted(name, value, 1.0);
    }

    /// Adds the sum of `count` observations.
    pub fn add_weighted(&mut self, name: &str, sum: f64, count: f64) {
        let entry = self.0.entry(name.to_string()).or_insert((0.0, 0.0));
        entry.0 += sum;
        entry.1 += count;
    }

    /// Sets a value that is not averaged: the latest one counts.
    pub fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_string(), (value, LATEST));
    }

    /// Adds everything of another tally, whose latest values are later.
    pub fn merge(&mut self, other: &Self) {
        for (name, &(sum, count)) in &other.0 {
            if count == LATEST {
                self.set(name, sum);
            } else {
                self.add_weighted(name, sum, count);
            }
        }
    }

    /// The same with `prefix` before every name.
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Self {
        Self(self.0.iter().map(|(name, entry)| (format!("{prefix}{name}"), *entry)).collect())
    }

    /// The mean under a name, if anything was added to it, or its latest value.
    pub fn mean(&self, name: &str) -> Option<f64> {
        match *self.0.get(name)? {
            (value, LATEST) => Some(value),
            (sum, count) => (count > 0.0).then(|| sum / count),
        }
    }

    /// All means and latest values, by name.
    pub fn means(&self) -> Vec<(String, f64)> {
        self.0.keys().filter_map(|name| self.mean(name).map(|mean| (name.clone(), mean))).collect()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes everything out.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_sums_over_counts_also_when_merged() {
        let mut tally = Tally::new();
        tally.add("loss", 1.0);
        tally.add("loss", 2.0);
        let mut other = Tally::new();
        other.add_weighted("loss", 9.0, 2.0);
        other.add("norm", 5.0);
        tally.merge(&other);
        assert_eq!(tally.means(), [("loss".to_string(), 3.0), ("norm".to_string(), 5.0)]);
        assert_eq!(tally.prefixed("held out/").mean("held out/loss"), Some(3.0));
        tally.set("total", 1.0);
        other.set("total", 7.0);
        tally.merge(&other);
        assert_eq!(tally.mean("total"), Some(7.0));
        assert!(!tally.take().is_empty());
        assert!(tally.is_empty());
    }
}

//! Records side by side: only what was measured alike compares.

use serde_json::Value;

use crate::Record;

/// A difference between two records that makes their numbers incomparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs, such as `reference_images`.
    pub what: String,
    /// In the first record, and in the other.
    pub values: [String; 2],
}

/// How the measurement of `other` differs from that of `first`: in its metric, its samples' number, its features, its
/// reference, its settings. What was measured, such as weights and sampler, may differ.
pub fn differences(first: &Record, other: &Record) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what: &str, first: &Value, other: &Value| {
        if first != other {
            let show = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            found.push(Difference { what: what.to_owned(), values: [show(first), show(other)] });
        }
    };
    compare("metric", &first.metric.clone().into(), &other.metric.clone().into());
    compare("n", &first.n.into(), &other.n.into());
    let measurement = |record: &Record| serde_json::to_value(&record.protocol.measurement).unwrap_or_default();
    let (first, other) = (measurement(first), measurement(other));
    let keys = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
    let mut names: Vec<String> = [keys(&first), keys(&other)].into_iter().flatten().flatten().collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        compare(&name, first.get(&name).unwrap_or(&Value::Null), other.get(&name).unwrap_or(&Value::Null));
    }
    found
}

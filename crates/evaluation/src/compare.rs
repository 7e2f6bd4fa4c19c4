//! Records side by side: only what was measured alike compares.

use serde_json::Value;

use crate::{Generated, Record, Subject};

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

/// Groups of records, by their places, that differ in the seed of their samples alone: the same weights, sampler and
/// measurement. Each group has two records at least and no seed twice; what has no such company is in none.
pub fn repetitions(records: &[Record]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(Record, Vec<u64>, Vec<usize>)> = Vec::new();
    for (place, record) in records.iter().enumerate() {
        let Subject::Generated(generated) = &record.protocol.subject else { continue };
        let seed = generated.seed;
        let alike = without_draws(record, generated);
        match groups.iter_mut().find(|(group, ..)| *group == alike) {
            Some((_, seeds, _)) if seeds.contains(&seed) => {}
            Some((_, seeds, places)) => {
                seeds.push(seed);
                places.push(place);
            }
            None => groups.push((alike, vec![seed], vec![place])),
        }
    }
    groups.into_iter().map(|(.., places)| places).filter(|places| places.len() > 1).collect()
}

/// What a record has in common with those of other seeds.
fn without_draws(record: &Record, generated: &Generated) -> Record {
    let mut alike = record.clone();
    alike.protocol.subject = Subject::Generated(Generated { seed: 0, ..generated.clone() });
    Record { value: 0.0, deviation: None, interval: None, warnings: Vec::new(), ..alike }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Measurement, Protocol};

    fn record(seed: u64, value: f64) -> Record {
        let measurement = Measurement { reference: "shapes test".into(), ..Measurement::default() };
        let subject = Subject::Generated(Generated { weights_hash: "12".into(), seed, ..Generated::default() });
        let protocol = Protocol { version: "0.1.0".into(), subject, measurement };
        let (deviation, interval, warnings) = (Some(value / 2.0), None, Vec::new());
        Record { metric: "FD[pixels]-8".into(), value, n: 8, deviation, interval, warnings, protocol }
    }

    #[test]
    fn records_of_one_kind_differ_in_their_seed_alone() {
        let with = |seed: u64, change: fn(&mut Generated)| {
            let mut record = record(seed, 5.0);
            if let Subject::Generated(generated) = &mut record.protocol.subject {
                change(generated);
            }
            record
        };
        let other = |seed| with(seed, |generated| generated.weights_hash = "34".into());
        let records = [
            record(1, 1.0),
            other(1),
            record(2, 3.0),
            with(3, |generated| generated.guidance = 2.0),
            record(2, 9.0),
            other(5),
            record(7, 4.0),
        ];
        // The second record of seed 2 is no other draw.
        assert_eq!(repetitions(&records), [vec![0, 2, 6], vec![1, 5]]);
        let mut images = record(1, 1.0);
        images.protocol.subject = Subject::Images { name: "a".into(), hash: "b".into() };
        assert!(repetitions(&[images.clone(), images]).is_empty());
        let mut fewer = record(2, 1.0);
        fewer.n = 7;
        assert!(repetitions(&[record(1, 1.0), fewer]).is_empty());
    }

    #[test]
    fn what_was_measured_differently_is_named() {
        let (first, mut other) = (record(1, 1.0), record(2, 2.0));
        assert!(differences(&first, &other).is_empty());
        other.protocol.measurement.features_settings.insert("time".into(), 0.5.into());
        other.protocol.measurement.reference_images = 4;
        let found: Vec<String> = differences(&first, &other).into_iter().map(|difference| difference.what).collect();
        assert_eq!(found, ["features_settings", "reference_images"]);
    }
}

//! `sinter eval compare`.

use std::path::PathBuf;

use sinter_evaluation::{Generated, Record, Subject, WeightsUsed, differences, repetitions};

use super::{done, shown, tell_range};
use crate::arguments::EvalCompare;
use crate::{Ending, Failure};

pub(super) fn run(arguments: &EvalCompare) -> Ending {
    let read = |path: &PathBuf| Record::read(path).map_err(|error| Failure::Other(error.to_string()));
    let records: Vec<Record> = arguments.records.iter().map(read).collect::<Result<_, _>>()?;
    let mut unlike = Vec::new();
    for (path, record) in arguments.records.iter().zip(&records).skip(1) {
        for difference in differences(&records[0], record) {
            let [first, other] = difference.values;
            unlike.push(format!("{}: {} is {other}, not {first}", path.display(), difference.what));
        }
    }
    if !unlike.is_empty() {
        let list = unlike.join("\n  ");
        if !arguments.force {
            return Err(Failure::Other(format!(
                "these numbers do not compare with those of {}:\n  {list}\n--force prints them all the same",
                arguments.records[0].display()
            )));
        }
        println!("measured differently:\n  {list}");
    }
    for (path, record) in arguments.records.iter().zip(&records) {
        println!("{:<44} {:<28} {}", record.metric, shown(record), subject(record));
        println!("    {}", path.display());
    }
    for places in repetitions(&records) {
        let records = places.iter().map(|&place| &records[place]);
        let values: Vec<f64> = records.clone().map(|record| record.value).collect();
        let seeds: Vec<String> = records.clone().filter_map(seed).map(|seed| seed.to_string()).collect();
        println!("seeds {}, all else equal: mean [least, largest]", seeds.join(", "));
        if let Some(first) = records.clone().next() {
            tell_range(&first.metric, &values)?;
        }
    }
    done()
}

/// The seed of the samples, where there were some.
fn seed(record: &Record) -> Option<u64> {
    match &record.protocol.subject {
        Subject::Images { .. } => None,
        Subject::Generated(generated) => Some(generated.seed),
    }
}

/// What was measured, in a line.
fn subject(record: &Record) -> String {
    match &record.protocol.subject {
        Subject::Images { name, .. } => name.clone(),
        Subject::Generated(generated) => {
            let Generated { images, weights, sampler, evaluations, guidance, seed, .. } = generated;
            let weights = match weights {
                WeightsUsed::Raw => "raw weights".to_owned(),
                WeightsUsed::Average(half_life) => format!("average of half-life {half_life}"),
            };
            format!(
                "{images} images, {weights}, {sampler}, {evaluations} evaluations, guidance {guidance}, seed {seed}"
            )
        }
    }
}

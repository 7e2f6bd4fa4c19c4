//! What the cells of a sweep have come to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rayon::prelude::*;
use serde_json::Value;
use sinter_metrics::Summary;

use crate::run_files::pictures;
use crate::state::State;
use crate::sweep::MetricSource;
use crate::{Cell, ExperimentError, Index, RunFiles, Selection, Store};

/// The cells of a sweep with what they have come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    /// The cells that are results, in the order of their numbers.
    pub rows: Vec<Row>,
    /// The cells that others needed.
    pub prepared: Vec<Row>,
    /// Metrics that were not measured alike in all cells of a seed, with what differs.
    pub unlike: BTreeMap<String, String>,
}

/// A cell with what it has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The cell.
    pub cell: Cell,
    /// Its folder.
    pub folder: PathBuf,
    /// Where it stands.
    pub state: State,
    /// Its metrics by name; those of cells that are not done are left out.
    pub values: BTreeMap<String, f64>,
    /// True names of the records that metrics come from, with their warnings.
    pub records: BTreeMap<String, (String, Vec<String>)>,
    /// Training images seen.
    pub images: u64,
    /// Minutes by its log, over all attempts.
    pub minutes: Option<f64>,
    /// Curves over training images, by the name of the scalar or metric.
    pub curves: BTreeMap<String, Vec<(f64, f64)>>,
    /// Pictures with their kinds.
    pub pictures: Vec<(String, PathBuf)>,
    /// `provenance.json`.
    pub provenance: Value,
    /// How records were measured, by metric.
    measurement: BTreeMap<String, Value>,
}

/// All cells of one combination of levels.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<'a> {
    /// The levels by axis.
    pub levels: &'a Selection,
    /// The cells, one a seed.
    pub rows: Vec<&'a Row>,
}

impl Outcome<'_> {
    /// A metric over the seeds that are done.
    pub fn summary(&self, metric: &str) -> Option<Summary> {
        let values: Vec<f64> = self.rows.iter().filter_map(|row| row.values.get(metric).copied()).collect();
        Summary::of(&values).ok()
    }
}

impl Gathered {
    /// Reads the cells of an expanded sweep.
    ///
    /// # Errors
    /// When a file of a cell cannot be read.
    pub fn read(index: &Index, store: &Store) -> Result<Self, ExperimentError> {
        let rows: Vec<Row> =
            index.cells.par_iter().map(|cell| Row::read(cell, index, store)).collect::<Result<_, _>>()?;
        let (prepared, rows): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.cell.prepared);
        let mut unlike = BTreeMap::new();
        for metric in &index.sweep.metrics {
            // Cells of a seed are set against each other; data that are drawn by the seed are another reference for each.
            let mut firsts: BTreeMap<u64, (&Row, &Value)> = BTreeMap::new();
            for row in &rows {
                let Some(how) = row.measurement.get(&metric.name) else { continue };
                let (first, expected) = firsts.entry(row.cell.seed).or_insert((row, how));
                if *expected != how {
                    let difference = format!("`{}` differs from `{}`", row.cell.label, first.cell.label);
                    unlike.insert(metric.name.clone(), difference);
                    break;
                }
            }
        }
        Ok(Self { rows, prepared, unlike })
    }

    /// Cells by combination of levels, in order.
    pub fn outcomes(&self) -> Vec<Outcome<'_>> {
        let mut outcomes: Vec<Outcome<'_>> = Vec::new();
        let mut places: BTreeMap<&Selection, usize> = BTreeMap::new();
        for row in &self.rows {
            let place = *places.entry(&row.cell.levels).or_insert(outcomes.len());
            if place == outcomes.len() {
                outcomes.push(Outcome { levels: &row.cell.levels, rows: Vec::new() });
            }
            outcomes[place].rows.push(row);
        }
        outcomes
    }
}

impl Row {
    fn read(cell: &Cell, index: &Index, store: &Store) -> Result<Self, ExperimentError> {
        let folder = store.cell(&cell.hash);
        let state = State::of(&folder)?;
        let run = RunFiles::read(&folder)?;
        let done = matches!(state, State::Done(_));
        let (mut values, mut records, mut measurement) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut curves = BTreeMap::new();
        curves.insert("loss".to_owned(), run.curve("loss"));
        for metric in &index.sweep.metrics {
            let name = metric.name.clone();
            match &metric.from {
                MetricSource::Scalar { name: scalar } => {
                    curves.insert(name.clone(), run.curve(scalar));
                    values.extend(run.last(scalar).map(|value| (name, value)));
                }
                MetricSource::Record { metric: start } => {
                    curves.insert(name.clone(), run.curve(&format!("evaluation/{start}*")));
                    if let Some(record) = run.record(start) {
                        values.insert(name.clone(), record.value);
                        records.insert(name.clone(), (record.metric.clone(), record.warnings.clone()));
                        let mut how = record.protocol.get("measurement").cloned().unwrap_or_default();
                        how["n"] = record.n.into();
                        measurement.insert(name, how);
                    }
                }
            }
        }
        if !done {
            values.clear();
        }
        curves.retain(|_, points| points.len() > 1);
        let minutes = minutes(&run);
        let (images, pictures) = (run.images(), pictures(&folder)?);
        let (cell, provenance) = (cell.clone(), run.provenance);
        Ok(Self { cell, folder, state, values, records, images, minutes, curves, pictures, provenance, measurement })
    }
}

/// Minutes of a run: its log counts those of every attempt from 0.
fn minutes(run: &RunFiles) -> Option<f64> {
    let (mut total, mut last, mut any) = (0.0, 0.0, false);
    for (_, value) in run.lines.iter().flat_map(|line| &line.scalars).filter(|(name, _)| name == "time/minutes") {
        if *value < last {
            total += last;
        }
        last = *value;
        any = true;
    }
    any.then_some(total + last)
}

#[cfg(test)]
impl Row {
    /// A finished cell with one metric.
    pub(crate) fn of(levels: &[(&str, &str)], seed: u64, metric: &str, value: f64) -> Self {
        let levels: Selection = levels.iter().map(|(axis, level)| ((*axis).to_owned(), (*level).to_owned())).collect();
        let (hash, label) = (format!("{levels:?}{seed}"), format!("{levels:?} seed={seed}"));
        let kind = crate::Kind::Train;
        let cell = Cell { number: 0, hash, kind, label, levels, seed, prepared: false, needs: vec![] };
        Self {
            cell,
            folder: PathBuf::new(),
            state: State::Waiting,
            values: BTreeMap::from([(metric.to_owned(), value)]),
            records: BTreeMap::new(),
            images: 0,
            minutes: None,
            curves: BTreeMap::new(),
            pictures: Vec::new(),
            provenance: Value::Null,
            measurement: BTreeMap::new(),
        }
    }
}

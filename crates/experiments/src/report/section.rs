//! What a report says of one experiment, before it is written in any format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sinter_metrics::Summary;

use super::chart::{Chart, Series};
use super::scatter::Scatter;
use crate::claims::{Claim, Judged, Verdict, judge};
use crate::selection::{selects, written};
use crate::state::State;
use crate::{Better, ExperimentError, Gathered, Index, Outcome, RunFiles, pictures, text, unix_time};

/// Lines of one chart; more cannot be told apart.
pub(super) const SERIES: usize = 8;
/// Charts of one experiment.
const CHARTS: usize = 12;
/// Pictures of one experiment.
const PICTURES: usize = 24;
/// Lines of a failed cell's log.
const TAIL: usize = 12;
/// Failed cells whose logs are shown.
const FAILURES: usize = 10;

/// One experiment in a report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Plain name.
    pub name: String,
    /// What a reader calls it.
    pub title: String,
    /// The publication.
    pub(super) paper: Option<String>,
    /// What was asked.
    pub(super) question: String,
    /// The size it was run at.
    pub(super) tier: String,
    /// How far it is and what it cost.
    pub(super) standing: Vec<String>,
    /// Claims with their verdicts.
    pub(super) claims: Vec<ShownClaim>,
    /// Names of the axes.
    pub(super) axes: Vec<String>,
    /// What was measured.
    pub(super) columns: Vec<Column>,
    /// One row a combination of levels.
    pub(super) rows: Vec<TableRow>,
    /// The objective of a search over its parameters.
    pub(super) scatters: Vec<Scatter>,
    /// Learning curves.
    pub(super) charts: Vec<Chart>,
    /// Pictures of the first seed.
    pub(super) pictures: Vec<Picture>,
    /// What failed.
    pub(super) failures: Vec<Failure>,
    /// What a reader should know.
    pub(super) notes: Vec<String>,
    /// What it rests on.
    pub(super) provenance: Vec<(String, String)>,
    /// One row a cell.
    pub(super) cells: Vec<CellRow>,
}

/// A run that belongs to no sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainRun {
    /// What a reader calls it.
    pub name: String,
    /// What its directory holds.
    pub files: RunFiles,
    /// Its pictures with their kinds.
    pub pictures: Vec<(String, PathBuf)>,
}

impl PlainRun {
    /// Reads a run directory.
    ///
    /// # Errors
    /// When a file of it cannot be read.
    pub fn read(folder: &Path) -> Result<Self, ExperimentError> {
        let name =
            folder.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into());
        Ok(Self { name, files: RunFiles::read(folder)?, pictures: pictures(folder)? })
    }
}

/// A claim with its verdict.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ShownClaim {
    pub(super) claim: Claim,
    pub(super) judged: Judged,
    /// What must show here.
    pub(super) expect: String,
    /// What a reader calls the metric, with its true name.
    pub(super) metric: String,
    /// What is measured here for each of the paper's numbers.
    pub(super) ours: Vec<Option<Summary>>,
}

/// A metric.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) title: String,
    /// The record's own name, where it is one.
    pub(super) record: Option<String>,
    pub(super) better: Option<Better>,
}

/// A combination of levels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TableRow {
    /// In the order of the axes.
    pub(super) levels: Vec<String>,
    pub(super) done: usize,
    pub(super) seeds: usize,
    /// In the order of the columns.
    pub(super) values: Vec<Option<Summary>>,
    /// Mean minutes of a cell.
    pub(super) minutes: Option<f64>,
}

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture {
    pub(super) caption: String,
    pub(super) path: PathBuf,
}

/// A cell that failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) label: String,
    pub(super) message: String,
    pub(super) tail: String,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CellRow {
    pub(super) levels: Vec<String>,
    pub(super) seed: u64,
    pub(super) state: &'static str,
    pub(super) values: Vec<Option<f64>>,
    pub(super) images: u64,
    pub(super) minutes: Option<f64>,
    pub(super) hash: String,
}

impl Section {
    /// Claims with a verdict.
    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.claims.iter().filter(|claim| claim.judged.verdict == verdict).count()
    }

    /// What there is to say of an expanded sweep, or of a search.
    pub fn of_sweep(index: &Index, gathered: &Gathered) -> Self {
        match &index.tune {
            None => {
                let outcomes = gathered.outcomes();
                Self::of_outcomes(index, gathered, &outcomes, &outcomes)
            }
            Some(tune) => Self::of_search(tune, index, gathered),
        }
    }

    /// What there is to say of outcomes, in their order; `shown`: those whose curves and pictures are shown.
    pub(super) fn of_outcomes(
        index: &Index,
        gathered: &Gathered,
        outcomes: &[Outcome<'_>],
        shown: &[Outcome<'_>],
    ) -> Self {
        let sweep = &index.sweep;
        let columns: Vec<Column> = sweep
            .metrics
            .iter()
            .map(|metric| Column {
                name: metric.name.clone(),
                title: metric.title.clone(),
                record: gathered
                    .rows
                    .iter()
                    .find_map(|row| row.records.get(&metric.name))
                    .map(|(name, _)| name.clone()),
                better: Some(metric.better),
            })
            .collect();
        let axes: Vec<String> = sweep.axes.iter().map(|axis| axis.name().to_owned()).collect();
        let paper =
            sweep.paper.as_ref().map(|paper| format!("{}, {} ({})", paper.title, paper.authors, paper.reference));
        let mut section = Self {
            name: sweep.name.clone(),
            title: sweep.title.clone(),
            paper,
            question: sweep.question.trim().to_owned(),
            tier: index.tier.clone(),
            standing: standing(index, gathered),
            claims: sweep.claims.iter().map(|claim| shown_claim(claim, index, gathered, &columns)).collect(),
            rows: outcomes.iter().map(|outcome| table_row(outcome, &axes, &columns)).collect(),
            failures: failures(gathered),
            notes: notes(index, gathered),
            provenance: provenance(index, gathered),
            cells: gathered.rows.iter().map(|row| cell_row(row, &axes, &columns)).collect(),
            axes,
            columns,
            ..Self::default()
        };
        section.draw(shown);
        section.picture(shown);
        section
    }

    /// What there is to say of runs that belong to no sweep, by name.
    pub fn of_runs(runs: &[PlainRun]) -> Self {
        let mut names: Vec<String> = Vec::new();
        for run in runs {
            let scalars = run.files.lines.iter().flat_map(|line| &line.scalars).map(|(name, _)| name);
            for name in scalars.filter(|name| name.starts_with("evaluation/") || name.starts_with("validation/")) {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names.insert(0, "loss".into());
        let column = |name: &String| Column {
            name: name.clone(),
            title: name.trim_start_matches("evaluation/").to_owned(),
            record: None,
            better: None,
        };
        let columns: Vec<Column> = names.iter().map(column).collect();
        let row = |PlainRun { name, files, .. }: &PlainRun| TableRow {
            levels: vec![name.clone()],
            done: 1,
            seeds: 1,
            values: columns.iter().map(|column| Summary::of(&[files.last(&column.name)?]).ok()).collect(),
            minutes: files.last("time/minutes"),
        };
        let cell = |PlainRun { name, files, .. }: &PlainRun| CellRow {
            levels: vec![name.clone()],
            seed: 0,
            state: "run",
            values: columns.iter().map(|column| files.last(&column.name)).collect(),
            images: files.images(),
            minutes: files.last("time/minutes"),
            hash: files.provenance.get("config_hash").and_then(|hash| hash.as_str()).unwrap_or_default().to_owned(),
        };
        let chart = |column: &Column| {
            let curve = |PlainRun { name, files, .. }: &PlainRun| Series::of(name, &[&files.curve(&column.name)]);
            Chart::new(&column.title, runs.iter().filter_map(curve).take(SERIES).collect())
        };
        let pictures = runs.iter().flat_map(|PlainRun { name, pictures, .. }| {
            pictures.iter().map(move |(kind, path)| Picture { caption: format!("{name}: {kind}"), path: path.clone() })
        });
        Self {
            name: "runs".into(),
            title: "Runs".into(),
            axes: vec!["run".into()],
            rows: runs.iter().map(row).collect(),
            charts: columns.iter().filter_map(chart).take(CHARTS).collect(),
            pictures: pictures.take(PICTURES).collect(),
            provenance: facts(runs.iter().map(|run| &run.files.provenance)),
            cells: runs.iter().map(cell).collect(),
            columns,
            ..Self::default()
        }
    }

    /// Charts of every curve, in groups that can be told apart.
    fn draw(&mut self, outcomes: &[Outcome<'_>]) {
        let mut names: Vec<(String, String)> = vec![("loss".into(), "training loss".into())];
        names.extend(self.columns.iter().map(|column| (column.name.clone(), column.title.clone())));
        let mut groups: Vec<(String, Vec<&Outcome<'_>>)> = vec![(String::new(), outcomes.iter().collect())];
        for axis in &self.axes {
            if groups.iter().all(|(_, outcomes)| outcomes.len() <= SERIES) {
                break;
            }
            let mut finer: Vec<(String, Vec<&Outcome<'_>>)> = Vec::new();
            for (title, outcomes) in groups {
                let first = finer.len();
                for outcome in outcomes {
                    let level = outcome.levels.get(axis).map_or("", String::as_str);
                    let name = if title.is_empty() {
                        format!("{axis} = {level}")
                    } else {
                        format!("{title}, {axis} = {level}")
                    };
                    match finer[first..].iter_mut().find(|(other, _)| *other == name) {
                        Some((_, group)) => group.push(outcome),
                        None => finer.push((name, vec![outcome])),
                    }
                }
            }
            groups = finer;
        }
        let (mut left_out, mut drawn) = (0, 0);
        for (group, outcomes) in &groups {
            for (name, title) in &names {
                let series = |outcome: &&Outcome<'_>| {
                    let curves: Vec<&Vec<(f64, f64)>> =
                        outcome.rows.iter().filter_map(|row| row.curves.get(name)).collect();
                    Series::of(&label(outcome, group), &curves)
                };
                let series: Vec<Series> = outcomes.iter().filter_map(series).take(SERIES).collect();
                let title = if group.is_empty() { title.clone() } else { format!("{title}: {group}") };
                let Some(chart) = Chart::new(&title, series) else { continue };
                if drawn < CHARTS {
                    self.charts.push(chart);
                    drawn += 1;
                } else {
                    left_out += 1;
                }
            }
        }
        if left_out > 0 {
            self.notes.push(format!("{left_out} charts are left out; the curves are in each run's metrics.jsonl."));
        }
    }

    /// Pictures of the first seed that has any, configuration by configuration.
    fn picture(&mut self, outcomes: &[Outcome<'_>]) {
        let pictures: Vec<Picture> = outcomes
            .iter()
            .filter_map(|outcome| Some((outcome, outcome.rows.iter().find(|row| !row.pictures.is_empty())?)))
            .flat_map(|(outcome, row)| {
                row.pictures.iter().map(move |(kind, path)| {
                    let caption = format!("{}, seed {}: {kind}", label(outcome, ""), row.cell.seed);
                    Picture { caption, path: path.clone() }
                })
            })
            .collect();
        if pictures.len() > PICTURES {
            let more = pictures.len() - PICTURES;
            self.notes.push(format!("{more} pictures are left out; they are in each run's folder `samples`."));
        }
        self.pictures = pictures.into_iter().take(PICTURES).collect();
    }
}

/// The levels of a combination that its group does not say.
fn label(outcome: &Outcome<'_>, group: &str) -> String {
    let levels = outcome.levels.iter().filter(|(axis, level)| !group.contains(&format!("{axis} = {level}")));
    let levels: Vec<&str> = levels.map(|(_, level)| level.as_str()).collect();
    if levels.is_empty() { written(outcome.levels) } else { levels.join(", ") }
}

fn shown_claim(claim: &Claim, index: &Index, gathered: &Gathered, columns: &[Column]) -> ShownClaim {
    let metric = claim.expect.metric();
    let column = columns.iter().find(|column| column.name == metric);
    let title = column.map_or(metric, |column| &column.title);
    let ours = claim.numbers.iter().map(|number| {
        let cell = number.cell.as_ref()?;
        let rows = gathered.rows.iter().filter(|row| selects(cell, &row.cell.levels));
        let values: Vec<f64> = rows.filter_map(|row| row.values.get(metric).copied()).collect();
        Summary::of(&values).ok()
    });
    ShownClaim {
        judged: judge(claim, &index.sweep, gathered),
        expect: claim.expect.written(title),
        metric: column.and_then(|column| column.record.clone()).unwrap_or_else(|| title.to_owned()),
        ours: ours.collect(),
        claim: claim.clone(),
    }
}

fn table_row(outcome: &Outcome<'_>, axes: &[String], columns: &[Column]) -> TableRow {
    let minutes: Vec<f64> = outcome.rows.iter().filter_map(|row| row.minutes).collect();
    TableRow {
        levels: axes.iter().map(|axis| outcome.levels.get(axis).cloned().unwrap_or_default()).collect(),
        done: outcome.rows.iter().filter(|row| matches!(row.state, State::Done(_))).count(),
        seeds: outcome.rows.len(),
        values: columns.iter().map(|column| outcome.summary(&column.name)).collect(),
        minutes: Summary::of(&minutes).ok().map(|summary| summary.mean),
    }
}

fn cell_row(row: &crate::Row, axes: &[String], columns: &[Column]) -> CellRow {
    CellRow {
        levels: axes.iter().map(|axis| row.cell.levels.get(axis).cloned().unwrap_or_default()).collect(),
        seed: row.cell.seed,
        state: row.state.name(),
        values: columns.iter().map(|column| row.values.get(&column.name).copied()).collect(),
        images: row.images,
        minutes: row.minutes,
        hash: row.cell.hash.clone(),
    }
}

/// How far an experiment is and what it cost.
fn standing(index: &Index, gathered: &Gathered) -> Vec<String> {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &gathered.rows {
        *states.entry(row.state.name()).or_default() += 1;
    }
    let total = gathered.rows.len();
    let done = states.remove("done").unwrap_or(0);
    let mut lines = vec![format!("{done} of {total} cells done")];
    lines.extend(states.into_iter().map(|(state, count)| format!("{count} {state}")));
    let spent: f64 = gathered.rows.iter().chain(&gathered.prepared).filter_map(|row| row.minutes).sum();
    if spent > 0.0 {
        lines.push(format!("{} of training and evaluation", text::minutes(spent)));
    }
    if let Some(cost) = index.sweep.tiers.get(&index.tier).and_then(|tier| tier.cost.as_ref()) {
        lines.push(format!("expected: {} a cell on {}", text::minutes(cost.minutes), cost.on));
    }
    lines
}

fn failures(gathered: &Gathered) -> Vec<Failure> {
    let rows = gathered.prepared.iter().chain(&gathered.rows);
    let failure = |row: &crate::Row| match &row.state {
        State::Failed(failed) => {
            let log = std::fs::read(row.folder.join("log.txt")).unwrap_or_default();
            let tail = text::tail(&String::from_utf8_lossy(&log), TAIL);
            Some(Failure { label: row.cell.label.clone(), message: failed.message.clone(), tail })
        }
        _ => None,
    };
    rows.filter_map(failure).take(FAILURES).collect()
}

fn notes(index: &Index, gathered: &Gathered) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for (metric, difference) in &gathered.unlike {
        let title = index.sweep.metric(metric).map_or(metric, |metric| &metric.title);
        notes.push(format!("{title} was not measured alike in all cells: {difference}."));
    }
    for row in &gathered.rows {
        for (record, warnings) in row.records.values() {
            for warning in warnings {
                let note = format!("{record}: {warning}");
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
    }
    notes
}

/// What an experiment rests on.
fn provenance(index: &Index, gathered: &Gathered) -> Vec<(String, String)> {
    let rows = || gathered.prepared.iter().chain(&gathered.rows);
    let mut all = vec![("sweep".to_owned(), format!("{}, tier {}", index.file.display(), index.tier))];
    let mut seeds: Vec<u64> = gathered.rows.iter().map(|row| row.cell.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    all.push(("seeds".into(), seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    all.extend(facts(rows().map(|row| &row.provenance)));
    let records: Vec<String> =
        gathered.rows.iter().flat_map(|row| row.records.values()).map(|(name, _)| name.clone()).collect();
    let ends = rows().filter_map(|row| match &row.state {
        State::Done(done) => Some(done.time),
        _ => None,
    });
    let (first, last) = ends.fold((f64::INFINITY, 0.0f64), |(first, last), time| (first.min(time), last.max(time)));
    if first.is_finite() {
        all.push(("finished (UTC)".into(), format!("{} to {}", unix_time::date(first), unix_time::date(last))));
    }
    let mut distinct = records;
    distinct.sort();
    distinct.dedup();
    if !distinct.is_empty() {
        all.push(("records".into(), distinct.join(", ")));
    }
    all
}

/// What `provenance.json` files say, each thing once with all its values.
fn facts<'a>(files: impl Iterator<Item = &'a serde_json::Value>) -> Vec<(String, String)> {
    let wanted = [
        ("program", "/version"),
        ("tensor library", "/burn"),
        ("platform", "/platform"),
        ("device", "/device"),
        ("threads", "/threads"),
        ("data", "/data/name"),
        ("data fingerprint", "/data/fingerprint"),
    ];
    let mut found: Vec<(String, Vec<String>)> =
        wanted.iter().map(|(name, _)| ((*name).to_owned(), Vec::new())).collect();
    for file in files {
        for ((_, pointer), (_, values)) in wanted.iter().zip(&mut found) {
            let value = match file.pointer(pointer) {
                None | Some(serde_json::Value::Null) => continue,
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    found.into_iter().filter(|(_, values)| !values.is_empty()).map(|(name, values)| (name, values.join("; "))).collect()
}

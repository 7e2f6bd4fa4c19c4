//! What a report says of a search: its trials, best first, and the objective over each parameter.

use std::cmp::Ordering;

use super::Section;
use super::scatter::Scatter;
use super::section::SERIES;
use crate::sweep::Better;
use crate::tune::{Ending, Tried, Tune, shown, tried};
use crate::{Gathered, Index, text};

impl Section {
    /// What there is to say of a search.
    pub(super) fn of_search(tune: &Tune, index: &Index, gathered: &Gathered) -> Self {
        let tried = best_first(tried(index, gathered), tune.objective.better);
        let mut outcomes = gathered.outcomes();
        let place = |trial: Option<usize>| tried.iter().position(|other| Some(other.number) == trial);
        let number = |levels: &crate::Selection| levels.values().next().and_then(|level| level.parse().ok());
        outcomes.sort_by_key(|outcome| place(number(outcome.levels)));
        let done = tried.iter().filter(|trial| trial.objective().is_some()).count();
        let mut section = Self::of_outcomes(index, gathered, &outcomes, &outcomes[..done.min(SERIES)]);
        section.axes.extend(tune.parameters.iter().map(|parameter| parameter.key().to_owned()));
        // A row's first level is its trial.
        let values = |levels: &[String]| {
            let place = place(levels.first().and_then(|level| level.parse().ok()));
            place.map(|place| tried[place].values.iter().map(shown).collect::<Vec<_>>()).unwrap_or_default()
        };
        section.rows.iter_mut().for_each(|row| row.levels.extend(values(&row.levels)));
        section.cells.sort_by_key(|cell| place(cell.levels.first().and_then(|level| level.parse().ok())));
        section.cells.iter_mut().for_each(|cell| cell.levels.extend(values(&cell.levels)));
        section.standing.insert(0, standing(&tried));
        if let Some(best) = tried.first().filter(|best| best.objective().is_some()) {
            section.notes.insert(0, described(tune, best));
        }
        for trial in &tried {
            if let Ending::Failed(why) = &trial.ending {
                section.notes.push(format!("Trial {} failed and counts as the worst: {why}.", trial.number));
            }
        }
        section.scatters = (0..tune.parameters.len()).filter_map(|place| Scatter::of(tune, place, &tried)).collect();
        section
    }
}

/// Trials in the order of their objective; those that failed, and then those that are open, come last.
pub(super) fn best_first(mut tried: Vec<Tried>, better: Better) -> Vec<Tried> {
    tried.sort_by(|one, other| match (one.score(better), other.score(better)) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    });
    tried
}

/// `12 trials: 10 done, 1 failed, 1 open`.
fn standing(tried: &[Tried]) -> String {
    let count = |kind: fn(&Ending) -> bool| tried.iter().filter(|trial| kind(&trial.ending)).count();
    let done = count(|ending| matches!(ending, Ending::Done(_)));
    let others = [
        (count(|ending| matches!(ending, Ending::Failed(_))), "failed"),
        (count(|ending| matches!(ending, Ending::Open)), "open"),
    ];
    let others: String =
        others.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!(", {count} {word}")).collect();
    format!("{} trials: {done} done{others}", tried.len())
}

fn described(tune: &Tune, trial: &Tried) -> String {
    let settings: Vec<String> = tune
        .parameters
        .iter()
        .zip(&trial.values)
        .map(|(parameter, value)| format!("{} = {}", parameter.key(), shown(value)))
        .collect();
    let objective = trial.objective().map_or_else(String::new, text::number);
    format!("Best: trial {}, {} {objective}, with {}.", trial.number, tune.objective.title, settings.join(", "))
}

/// The trials of a search as lines of text, best first, at most `most` of them.
pub fn trials(index: &Index, gathered: &Gathered, most: usize) -> Vec<String> {
    let Some(tune) = &index.tune else { return Vec::new() };
    let tried = best_first(tried(index, gathered), tune.objective.better);
    let mut rows = vec![vec!["trial".to_owned(), tune.objective.title.clone()]];
    rows[0].extend(tune.parameters.iter().map(|parameter| parameter.key().to_owned()));
    for trial in tried.iter().take(most) {
        let ending = match &trial.ending {
            Ending::Done(summary) if summary.n > 1 => {
                let [mean, least, most] = [summary.mean, summary.min, summary.max].map(text::number);
                format!("{mean} [{least}, {most}]")
            }
            Ending::Done(summary) => text::number(summary.mean),
            Ending::Failed(_) => "failed".into(),
            Ending::Open => "open".into(),
        };
        let mut row = vec![trial.number.to_string(), ending];
        row.extend(trial.values.iter().map(shown));
        rows.push(row);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![standing(&tried)];
    lines.extend(rows.iter().map(line));
    if tried.len() > most {
        lines.push(format!("and {} more in the report", tried.len() - most));
    }
    lines
}

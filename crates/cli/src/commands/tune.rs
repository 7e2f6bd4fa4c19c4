//! `sinter tune`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use sinter_config::Layered;
use sinter_experiments::{
    Cell, CellState, ExperimentError, Gathered, Index, Store, Trial, Tried, Tune, check_tune, report, tried,
};

use super::pool::{Workers, told};
use super::sweep::Checker;
use crate::failure::INTERRUPTED;
use crate::{Ending, Failure, arguments};

/// Trials that are printed.
const SHOWN: usize = 10;

/// Reads a search that says all that it must.
pub(crate) fn sound(file: &Path) -> Result<Tune, Failure> {
    let tune = Tune::load(file)?;
    let problems = check_tune(&tune);
    if problems.is_empty() { Ok(tune) } else { Err(Failure::Config(Layered::load(file)?.locate(problems))) }
}

pub(crate) fn run(arguments: &arguments::Tune) -> Ending {
    let tune = sound(&arguments.file)?;
    let (tier, store) = (&arguments.tier, Store::new(&arguments.kept.root));
    let total = arguments.trials.map_or_else(|| tune.trials(tier), |trials| Ok(trials as usize))?;
    let checker = Checker::new(true);
    let workers = Workers::new(arguments.jobs, &arguments.gpus)?;
    let seeds = tune.tiers.get(tier).and_then(|tier| tier.seeds.as_ref()).unwrap_or(&tune.seeds).len();
    if workers.jobs > tune.search.width(seeds) {
        eprintln!(
            "{} processes, but after the first trials there are {} cells at a time: search.at_a_time and seeds say how many",
            workers.jobs,
            tune.search.width(seeds)
        );
    }
    // What failed in an earlier call is tried again where that is asked for; what fails in this one has been told.
    let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    let again = if arguments.retry { began } else { f64::NEG_INFINITY };
    let mut trials: Vec<Trial> = Vec::new();
    let mut all: Vec<Tried> = Vec::new();
    // Trials that are done are found again and cost nothing: the search is a function of them.
    let (index, gathered, folder) = loop {
        let scores: Option<Vec<f64>> = all.iter().map(|trial| trial.score(tune.objective.better)).collect();
        let scores = scores.ok_or_else(|| Failure::Other("a trial has come to no end".into()))?;
        trials.extend(tune.next(&trials, &scores, total)?);
        let expansion = tune.expand(&trials, &arguments.file, tier, &store, &checker)?;
        let folder = expansion.write(&store)?;
        let index = expansion.index;
        let outcome = workers.run(&store, &to_run(&index, &store, again)?)?;
        let failed = index.cells.iter().filter(|cell| cell.prepared);
        let failed = failed.filter(|cell| outcome.failed.iter().any(|(label, _)| *label == cell.label)).count();
        if outcome.interrupted || failed > 0 {
            told(&outcome);
            return Ok(if outcome.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE });
        }
        if !outcome.failed.is_empty() {
            told(&outcome);
        }
        let gathered = Gathered::read(&index, &store)?;
        all = tried(&index, &gathered);
        if all.iter().all(|trial| trial.objective().is_none()) {
            report::trials(&index, &gathered, SHOWN).iter().for_each(|line| println!("{line}"));
            return Err(Failure::Other("every trial failed: there is nothing to go on from".into()));
        }
        if trials.len() >= total {
            break (index, gathered, folder);
        }
    };
    report::trials(&index, &gathered, SHOWN).iter().for_each(|line| println!("{line}"));
    println!("sinter report {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

/// The cells that have not ended. One that failed is tried again if it did so before a time, in seconds since 1970.
fn to_run<'a>(index: &'a Index, store: &Store, again: f64) -> Result<Vec<&'a Cell>, ExperimentError> {
    let mut cells = Vec::new();
    for cell in &index.cells {
        match CellState::of(&store.cell(&cell.hash))? {
            CellState::Done(_) => {}
            CellState::Failed(failed) if !cell.prepared && failed.time >= again => {}
            _ => cells.push(cell),
        }
    }
    Ok(cells)
}

//! `sinter eval probe`.

use sinter_training::{Probing, probe};

use super::done;
use crate::arguments::EvalProbe;
use crate::commands::settings;
use crate::{Ending, Failure};

pub(super) fn run(arguments: &EvalProbe) -> Ending {
    let run = settings::open(&arguments.trained)?;
    let mut probing = Probing { train: arguments.n, test: arguments.test, ..Probing::default() };
    if !arguments.times.is_empty() {
        probing.times.clone_from(&arguments.times);
    }
    let bar = indicatif::ProgressBar::new(probing.times.len() as u64);
    let report = probe(&run, &probing, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    println!("{:<20} {:>8} {:>8} {:>8}", "block", "t", "linear", "nearest");
    for cell in &report.cells {
        println!("{:<20} {:>8} {:>8.3} {:>8.3}", cell.block, cell.time, cell.linear, cell.neighbours);
    }
    let best = report.best().ok_or_else(|| Failure::Other("there is nothing to probe".into()))?;
    let [low, high] = best.linear_interval;
    println!("best: {} at t = {}, {:.3} [{low:.3}, {high:.3}]", best.block, best.time, best.linear);
    let folder = arguments.trained.run.join("eval");
    report.write(&folder)?;
    println!("{}", folder.join(format!("{}-probe-linear.png", report.images)).display());
    done()
}

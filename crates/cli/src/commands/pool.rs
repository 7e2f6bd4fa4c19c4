//! Cells in a pool of processes on this machine, and how that is shown.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use sinter_experiments::{Cell, Event, Finished, Pool, PoolConfig, PoolOutcome, Store};

use super::train::on_interrupt;
use crate::Failure;

/// The processes of a pool.
pub(crate) struct Workers {
    /// Processes at a time.
    pub(crate) jobs: usize,
    devices: Vec<String>,
    program: PathBuf,
    interrupted: Arc<AtomicBool>,
}

impl Workers {
    /// As many processes as asked for, or one, or one a device; made once a process, since it takes over Ctrl-C.
    pub(crate) fn new(jobs: Option<u32>, gpus: &[String]) -> Result<Self, Failure> {
        let mut devices = gpus.to_vec();
        if devices.is_empty() {
            let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
            devices = visible.split(',').filter(|device| !device.is_empty()).map(str::to_owned).collect();
        }
        let jobs = jobs.map_or(devices.len().max(1), |jobs| jobs as usize);
        if !devices.is_empty() && jobs > devices.len() {
            let count = devices.len();
            return Err(Failure::Setting(format!(
                "--jobs {jobs}: there are {count} devices, and each process has one"
            )));
        }
        let program = std::env::current_exe()?;
        let interrupted = on_interrupt("waiting for the cells to write their checkpoints")?;
        Ok(Self { jobs, devices, program, interrupted })
    }

    /// Runs cells until all have ended, and shows what happens.
    pub(crate) fn run(&self, store: &Store, cells: &[&Cell]) -> Result<PoolOutcome, Failure> {
        let command = |folder: &Path| {
            let mut command = Command::new(&self.program);
            command.args(["train", "--cell"]).arg(folder);
            command
        };
        let config = PoolConfig {
            jobs: self.jobs,
            devices: self.devices.clone(),
            command: &command,
            interrupted: &|| self.interrupted.load(Ordering::SeqCst),
            terminate: &terminate,
        };
        let mut view = View::new(cells);
        let outcome = Pool::new(store, cells.iter().copied(), config).run(&mut |event| view.show(&event))?;
        view.bar.finish_and_clear();
        Ok(outcome)
    }
}

/// Asks a process to stop as Ctrl-C would.
fn terminate(process: u32) {
    let _ = Command::new("kill").args(["-TERM", &process.to_string()]).status();
}

/// What came of a pool, failures last.
pub(crate) fn told(outcome: &PoolOutcome) {
    let PoolOutcome { done, before, failed, interrupted } = outcome;
    let before = if *before > 0 { format!(" ({before} before)") } else { String::new() };
    let stopped = if *interrupted { ", stopped early: run the same command again to continue" } else { "" };
    println!("{done} done{before}, {} failed{stopped}", failed.len());
    for (label, how) in failed {
        eprintln!("{label}: {how}");
        if let Finished::Failed { tail, log, .. } = how {
            tail.lines().for_each(|line| eprintln!("    {line}"));
            eprintln!("    {}", log.display());
        }
    }
}

/// The progress of a pool: a bar on a terminal, plain lines elsewhere.
struct View {
    bar: ProgressBar,
    terminal: bool,
    working: Vec<(String, String)>,
}

impl View {
    fn new(cells: &[&Cell]) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let count = cells.iter().map(|cell| &cell.hash).collect::<std::collections::HashSet<_>>().len();
        let bar = if terminal { ProgressBar::new(count as u64) } else { ProgressBar::hidden() };
        if let Ok(style) =
            ProgressStyle::with_template("{bar:24} {pos}/{len} cells, {elapsed}, about {eta} left  {msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(500));
        Self { bar, terminal, working: Vec::new() }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { cell, resumed, .. } => {
                self.line(&format!("{} {}", if *resumed { "resumes" } else { "begins" }, cell.label));
                self.working.push((cell.hash.clone(), cell.label.clone()));
            }
            Event::Ended(cell, how) => {
                self.working.retain(|(hash, _)| *hash != cell.hash);
                self.bar.inc(1);
                if !matches!(how, Finished::Done { before: true, .. }) {
                    self.line(&format!("{}: {how}", cell.label));
                }
            }
        }
        let labels: Vec<&str> = self.working.iter().map(|(_, label)| label.as_str()).collect();
        self.bar.set_message(labels.join(" | "));
    }

    fn line(&self, line: &str) {
        if self.terminal { self.bar.println(line) } else { eprintln!("{line}") }
    }
}

//! A pool of processes on this machine: every cell once, each process with one device, whatever dies on the way.

use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::state::{State, record_failure};
use crate::{Cell, ExperimentError, Failed, Store, text, unix_time};

/// The exit code of a process that stopped early and can go on.
const RESUMABLE: i32 = 75;
/// How often a cell may be killed by something before it counts as failed.
const DEATHS: u32 = 3;
/// A process that stops sooner than this has not worked.
const QUICK: Duration = Duration::from_secs(1);
/// Lines of a failed cell's log that are shown.
const TAIL: usize = 12;
/// Time between two looks at the processes.
const LOOK: Duration = Duration::from_millis(30);
/// Time between two looks at the cells of others.
const LOOK_AROUND: Duration = Duration::from_millis(300);

/// How cells are run.
pub struct PoolConfig<'a> {
    /// Processes at a time, at least 1.
    pub jobs: usize,
    /// What the processes see of the machine's devices, one each, as `CUDA_VISIBLE_DEVICES`; empty: they are told nothing.
    pub devices: Vec<String>,
    /// The command that runs a cell, given its folder: it takes the cell's lock itself, and ends with 0 when the cell is
    /// done, 75 when it stopped and can go on.
    pub command: &'a dyn Fn(&std::path::Path) -> Command,
    /// Asked all the time: true ends the pool after its processes have stopped.
    pub interrupted: &'a dyn Fn() -> bool,
    /// Asks a process to stop.
    pub terminate: &'a dyn Fn(u32),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// A process took up a cell.
    Started {
        /// The cell.
        cell: &'a Cell,
        /// Which of the pool's processes, from 0.
        slot: usize,
        /// Whether somebody had begun it before.
        resumed: bool,
    },
    /// A cell ended, here or elsewhere.
    Ended(&'a Cell, Finished),
}

/// How a cell ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Finished {
    /// It is done.
    Done {
        /// Minutes that its last attempt took.
        minutes: f64,
        /// Whether it was done before the pool began.
        before: bool,
    },
    /// It failed.
    Failed {
        /// What went wrong.
        message: String,
        /// The last lines that it wrote.
        tail: String,
        /// All that it wrote.
        log: PathBuf,
    },
    /// A cell that it needs failed.
    Blocked {
        /// That cell's label.
        by: String,
    },
}

/// What a pool did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolOutcome {
    /// Cells that are done, those that were before among them.
    pub done: usize,
    /// Of these, cells that were done before.
    pub before: usize,
    /// How the others ended, by label.
    pub failed: Vec<(String, Finished)>,
    /// Whether the pool was told to stop.
    pub interrupted: bool,
}

/// A pool.
pub struct Pool<'a> {
    store: &'a Store,
    config: PoolConfig<'a>,
    cells: Vec<&'a Cell>,
    /// How each cell ended, by place.
    ended: Vec<Option<Finished>>,
    /// How often each cell was killed, by place.
    deaths: Vec<u32>,
    places: HashMap<&'a str, usize>,
    began: f64,
}

/// A process at work.
struct Working {
    child: Child,
    place: usize,
    since: Instant,
}

impl<'a> Pool<'a> {
    /// A pool for cells; those of equal hashes are one.
    pub fn new(store: &'a Store, cells: impl IntoIterator<Item = &'a Cell>, config: PoolConfig<'a>) -> Self {
        let mut known = HashSet::new();
        let cells: Vec<&Cell> = cells.into_iter().filter(|cell| known.insert(cell.hash.as_str())).collect();
        let places = cells.iter().enumerate().map(|(place, cell)| (cell.hash.as_str(), place)).collect();
        let (ended, deaths) = (vec![None; cells.len()], vec![0; cells.len()]);
        Self { store, config, cells, ended, deaths, places, began: unix_time::now() }
    }

    /// Runs until every cell has ended, and tells what happens. Cells that other processes work on are waited for, and
    /// taken up should those die.
    ///
    /// # Errors
    /// When a file cannot be read or written or a process not be started; processes that work are left to finish.
    pub fn run(mut self, tell: &mut dyn FnMut(Event<'_>)) -> Result<PoolOutcome, ExperimentError> {
        let mut slots: Vec<Option<Working>> = (0..self.config.jobs.max(1)).map(|_| None).collect();
        for place in 0..self.cells.len() {
            if let State::Done(done) = self.state(place)? {
                self.end(place, Finished::Done { minutes: done.minutes, before: true }, tell);
            }
        }
        let mut stopping = false;
        let mut looked: Option<Instant> = None;
        loop {
            let mut changed = false;
            for slot in &mut slots {
                if let Some(working) = slot
                    && let Some(status) = working.child.try_wait().map_err(ExperimentError::file("a worker"))?
                {
                    let (place, lived) = (working.place, working.since.elapsed());
                    *slot = None;
                    changed = true;
                    self.reap(place, status, lived > QUICK, stopping, tell)?;
                }
            }
            if !stopping && (self.config.interrupted)() {
                stopping = true;
                slots.iter().flatten().for_each(|working| (self.config.terminate)(working.child.id()));
            }
            if stopping {
                if slots.iter().all(Option::is_none) {
                    break;
                }
            } else if changed || looked.is_none_or(|looked| looked.elapsed() > LOOK_AROUND) {
                self.fill(&mut slots, tell)?;
                looked = Some(Instant::now());
                if self.ended.iter().all(Option::is_some) {
                    break;
                }
            }
            std::thread::sleep(LOOK);
        }
        Ok(self.outcome(stopping))
    }

    fn state(&self, place: usize) -> Result<State, ExperimentError> {
        State::of(&self.store.cell(&self.cells[place].hash))
    }

    fn end(&mut self, place: usize, how: Finished, tell: &mut dyn FnMut(Event<'_>)) {
        tell(Event::Ended(self.cells[place], how.clone()));
        self.ended[place] = Some(how);
    }

    /// Gives free slots cells that can be run, and notes what others did.
    fn fill(&mut self, slots: &mut [Option<Working>], tell: &mut dyn FnMut(Event<'_>)) -> Result<(), ExperimentError> {
        let mut working: HashSet<usize> = slots.iter().flatten().map(|working| working.place).collect();
        for place in 0..self.cells.len() {
            if self.ended[place].is_some() || working.contains(&place) {
                continue;
            }
            match self.readiness(place) {
                Readiness::Waits => continue,
                Readiness::Blocked(by) => {
                    self.end(place, Finished::Blocked { by }, tell);
                    continue;
                }
                Readiness::Ready => {}
            }
            let resumed = match self.state(place)? {
                State::Done(done) => {
                    self.end(place, Finished::Done { minutes: done.minutes, before: false }, tell);
                    continue;
                }
                State::Running => continue,
                // Another pool found out since this one began: no need to find out once more.
                State::Failed(failed) if failed.time > self.began => {
                    self.fail(place, failed, tell);
                    continue;
                }
                State::Failed(_) | State::Interrupted => true,
                State::Waiting => false,
            };
            let Some(slot) = slots.iter().position(Option::is_none) else { continue };
            let child = self.spawn(place, slot)?;
            tell(Event::Started { cell: self.cells[place], slot, resumed });
            slots[slot] = Some(Working { child, place, since: Instant::now() });
            working.insert(place);
        }
        Ok(())
    }

    fn readiness(&self, place: usize) -> Readiness {
        let mut waits = false;
        for need in &self.cells[place].needs {
            // What is not among the cells of this pool is looked up by the process itself.
            let Some(&other) = self.places.get(need.as_str()) else { continue };
            match &self.ended[other] {
                None => waits = true,
                Some(Finished::Done { .. }) => {}
                Some(_) => return Readiness::Blocked(self.cells[other].label.clone()),
            }
        }
        if waits { Readiness::Waits } else { Readiness::Ready }
    }

    fn spawn(&self, place: usize, slot: usize) -> Result<Child, ExperimentError> {
        let folder = self.store.cell(&self.cells[place].hash);
        let path = folder.join("log.txt");
        let file = ExperimentError::file;
        let log = OpenOptions::new().create(true).append(true).open(&path).map_err(file(&path))?;
        let errors = log.try_clone().map_err(file(&path))?;
        let mut command = (self.config.command)(&folder);
        if let Some(device) = self.config.devices.get(slot % self.config.devices.len().max(1)) {
            command.env("CUDA_VISIBLE_DEVICES", device);
        }
        let program = PathBuf::from(command.get_program());
        command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().map_err(file(&program))
    }

    /// A process ended: what became of its cell?
    fn reap(
        &mut self,
        place: usize,
        status: ExitStatus,
        worked: bool,
        stopping: bool,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), ExperimentError> {
        let folder = self.store.cell(&self.cells[place].hash);
        match (self.state(place)?, status.code()) {
            (State::Done(done), _) => {
                self.end(place, Finished::Done { minutes: done.minutes, before: false }, tell);
                return Ok(());
            }
            // Somebody else works on it: the next look finds out what came of that.
            (State::Running, _) => return Ok(()),
            (State::Failed(failed), Some(_)) => {
                self.fail(place, failed, tell);
                return Ok(());
            }
            // Stopped or killed: it goes on from its checkpoint, unless it comes to nothing again and again.
            (_, code @ (None | Some(RESUMABLE))) => {
                self.deaths[place] += u32::from(code.is_none() || !worked);
                if stopping || self.deaths[place] < DEATHS {
                    return Ok(());
                }
                record_failure(&folder, &format!("ended early {DEATHS} times, at last with {status}"))?;
            }
            (_, Some(code)) => record_failure(&folder, &format!("ended with exit code {code}"))?,
        }
        if let State::Failed(failed) = self.state(place)? {
            self.fail(place, failed, tell);
        }
        Ok(())
    }

    fn fail(&mut self, place: usize, failed: Failed, tell: &mut dyn FnMut(Event<'_>)) {
        let log = self.store.cell(&self.cells[place].hash).join("log.txt");
        let tail = text::tail(&String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()), TAIL);
        self.end(place, Finished::Failed { message: failed.message, tail, log }, tell);
    }

    fn outcome(self, interrupted: bool) -> PoolOutcome {
        let mut outcome = PoolOutcome { interrupted, ..PoolOutcome::default() };
        for (cell, how) in self.cells.iter().zip(self.ended) {
            match how {
                Some(Finished::Done { before, .. }) => {
                    outcome.done += 1;
                    outcome.before += usize::from(before);
                }
                Some(how) => outcome.failed.push((cell.label.clone(), how)),
                None => {}
            }
        }
        outcome
    }
}

enum Readiness {
    Ready,
    Waits,
    Blocked(String),
}

impl std::fmt::Display for Finished {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done { minutes, .. } => write!(formatter, "done ({})", text::minutes(*minutes)),
            Self::Failed { message, .. } => write!(formatter, "failed: {message}"),
            Self::Blocked { by } => write!(formatter, "not run: `{by}`, which it needs, failed"),
        }
    }
}

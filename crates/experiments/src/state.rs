//! What has become of a cell: files in its folder, and a lock that the operating system drops with its holder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{ExperimentError, text, unix_time};

/// How long a cell's lock is tried for: whoever only looks whether it is held may hold it for a moment.
const PATIENCE: Duration = Duration::from_secs(2);

/// What has become of a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Nobody has begun.
    Waiting,
    /// A process works on it.
    Running,
    /// Somebody had begun, and died or stopped: whoever takes it up goes on from its newest checkpoint.
    Interrupted,
    /// It is done.
    Done(Done),
    /// It failed.
    Failed(Failed),
}

/// `done.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Seconds since 1970 at its end.
    pub time: f64,
    /// Minutes that the last attempt took.
    pub minutes: f64,
    /// Attempts, the one that finished among them.
    pub attempts: usize,
}

/// `failed.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// Seconds since 1970 at its end.
    pub time: f64,
    /// What went wrong.
    pub message: String,
    /// Attempts so far.
    pub attempts: usize,
}

/// A line of `attempts.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Seconds since 1970.
    pub time: f64,
    /// Process that worked.
    pub process: u32,
    /// `begin`, `done`, `failed` or `interrupted`. A `begin` with nothing after it is an attempt that died.
    pub event: String,
}

impl State {
    /// What has become of the cell in a folder.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn of(folder: &Path) -> Result<Self, ExperimentError> {
        if let Some(done) = read(&folder.join("done.json"))? {
            return Ok(Self::Done(done));
        }
        if is_locked(&lock_path(folder))? {
            return Ok(Self::Running);
        }
        // Done in between.
        if let Some(done) = read(&folder.join("done.json"))? {
            return Ok(Self::Done(done));
        }
        if let Some(failed) = read(&folder.join("failed.json"))? {
            return Ok(Self::Failed(failed));
        }
        Ok(if folder.join("attempts.jsonl").exists() { Self::Interrupted } else { Self::Waiting })
    }

    /// A word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, ExperimentError> {
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        bytes => {
            let bytes = bytes.map_err(ExperimentError::file(path))?;
            serde_json::from_slice(&bytes).map(Some).map_err(|error| ExperimentError::content(path, error))
        }
    }
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.join("cell.lock")
}

/// Whether a process holds the lock of a file; one that is not there has no lock.
///
/// # Errors
/// When that cannot be told.
pub fn is_locked(path: &Path) -> Result<bool, ExperimentError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        file => file.map_err(ExperimentError::file(path))?,
    };
    // Shared, so that those who look do not see each other.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(ExperimentError::file(path)(error)),
    }
}

/// A cell taken by this process. Dropped without a word, by whatever death, it leaves the cell interrupted.
#[derive(Debug)]
pub struct CellLock {
    folder: PathBuf,
    began: Instant,
    /// The operating system drops it with the process.
    _lock: File,
}

impl CellLock {
    /// Takes the cell in a folder and notes the attempt; none if it is done already.
    ///
    /// # Errors
    /// [`ExperimentError::Busy`] if another process works on it.
    pub fn take(folder: &Path) -> Result<Option<Self>, ExperimentError> {
        let path = lock_path(folder);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(ExperimentError::file(&path))?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(ExperimentError::Busy(folder.display().to_string())),
                Err(TryLockError::Error(error)) => return Err(ExperimentError::file(&path)(error)),
            }
        }
        if folder.join("done.json").exists() {
            return Ok(None);
        }
        remove(&folder.join("failed.json"))?;
        let taken = Self { folder: folder.to_path_buf(), began: Instant::now(), _lock: lock };
        taken.note("begin")?;
        Ok(Some(taken))
    }

    /// The cell is done.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn done(self) -> Result<(), ExperimentError> {
        let minutes = self.began.elapsed().as_secs_f64() / 60.0;
        let done = Done { time: unix_time::now(), minutes, attempts: attempts(&self.folder) };
        text::write(&self.folder.join("done.json"), &text::json(&done))?;
        self.note("done")
    }

    /// The cell failed.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn failed(self, message: &str) -> Result<(), ExperimentError> {
        record_failure(&self.folder, message)?;
        self.note("failed")
    }

    /// The cell stops here, to be continued.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn interrupted(self) -> Result<(), ExperimentError> {
        self.note("interrupted")
    }

    fn note(&self, event: &str) -> Result<(), ExperimentError> {
        let path = self.folder.join("attempts.jsonl");
        let attempt = Attempt { time: unix_time::now(), process: std::process::id(), event: event.to_owned() };
        let line = format!("{}\n", serde_json::to_string(&attempt).unwrap_or_default());
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(ExperimentError::file(&path))
    }
}

/// Writes down that the cell in a folder failed.
pub(crate) fn record_failure(folder: &Path, message: &str) -> Result<(), ExperimentError> {
    let failed = Failed { time: unix_time::now(), message: message.to_owned(), attempts: attempts(folder) };
    text::write(&folder.join("failed.json"), &text::json(&failed))
}

/// Attempts that were begun.
fn attempts(folder: &Path) -> usize {
    let text = fs::read_to_string(folder.join("attempts.jsonl")).unwrap_or_default();
    let begun = |line: &&str| serde_json::from_str::<Attempt>(line).is_ok_and(|attempt| attempt.event == "begin");
    text.lines().filter(begun).count()
}

fn remove(path: &Path) -> Result<(), ExperimentError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ExperimentError::file(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_goes_through_its_states() {
        let folder = tempfile::tempdir().unwrap();
        let state = || State::of(folder.path()).unwrap().name();
        assert_eq!(state(), "waiting");
        let taken = CellLock::take(folder.path()).unwrap().unwrap();
        assert_eq!(state(), "running");
        assert!(matches!(CellLock::take(folder.path()), Err(ExperimentError::Busy(_))));
        drop(taken);
        assert_eq!(state(), "interrupted");
        CellLock::take(folder.path()).unwrap().unwrap().failed("no luck").unwrap();
        let State::Failed(failed) = State::of(folder.path()).unwrap() else { panic!("{}", state()) };
        assert_eq!((failed.message.as_str(), failed.attempts), ("no luck", 2));
        CellLock::take(folder.path()).unwrap().unwrap().done().unwrap();
        let State::Done(done) = State::of(folder.path()).unwrap() else { panic!("{}", state()) };
        assert_eq!(done.attempts, 3);
        assert!(CellLock::take(folder.path()).unwrap().is_none());
    }
}

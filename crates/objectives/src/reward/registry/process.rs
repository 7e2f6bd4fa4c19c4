//! A child process that answers one line with one line.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Lines of its error output that are kept for a message.
const LAST_LINES: usize = 8;
/// How long a process that was asked to end may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running child. It ends when this is dropped.
pub(super) struct Process {
    child: Child,
    /// To the thread that writes: a child that does not read must not hold up the one who waits for it.
    requests: Option<Sender<String>>,
    replies: Receiver<String>,
    errors: Arc<Mutex<VecDeque<String>>>,
}

/// Why there was no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It ended, with this status and these last lines.
    Ended(String),
    /// It took too long.
    TimedOut,
}

impl Process {
    /// Starts a command; the first word is the program.
    pub(super) fn start(command: &[String]) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("the command is empty")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start `{}`: {error}", command.join(" ")))?;
        let (Some(mut input), Some(output), Some(error)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("the process has no pipes".into());
        };
        let (requests, to_write) = channel::<String>();
        thread::spawn(move || {
            for request in to_write {
                if input.write_all(request.as_bytes()).and_then(|()| input.flush()).is_err() {
                    break;
                }
            }
        });
        let (answered, replies) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                if answered.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&errors);
        thread::spawn(move || {
            for line in BufReader::new(error).lines() {
                let Ok(line) = line else { break };
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LAST_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Ok(Self { child, requests: Some(requests), replies, errors })
    }

    /// Sends a line, and waits for one.
    pub(super) fn ask(&mut self, request: &str, patience: Duration) -> Result<String, Silence> {
        if let Some(requests) = &self.requests {
            // Where the writer has ended, so has the child, as the wait below finds out.
            let _ = requests.send(format!("{request}\n"));
        }
        self.replies.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => Silence::TimedOut,
            RecvTimeoutError::Disconnected => Silence::Ended(self.last_words()),
        })
    }

    /// How the child ended, and what it said last.
    fn last_words(&mut self) -> String {
        let status = match self.end() {
            Some(status) => status.to_string(),
            None => "closed its output".into(),
        };
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        match errors.is_empty() {
            true => status,
            false => format!("{status}; its last lines: {}", errors.iter().cloned().collect::<Vec<_>>().join(" | ")),
        }
    }

    /// Ends the child: by the end of its input, or by force if it does not take the hint.
    fn end(&mut self) -> Option<std::process::ExitStatus> {
        self.requests = None;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                Err(_) => break,
            }
        }
        self.kill();
        None
    }

    /// Ends the child by force.
    pub(super) fn kill(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

//! Reading ahead.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::loader::Loader;
use crate::{Batch, DataError};

/// Batches in the order of the clock, read ahead by threads.
///
/// Of `w` threads the k-th reads the batches k, k + w, k + 2w, ..., each into a bounded channel of its own, and the
/// stream takes from the channels in turn. So nothing depends on which thread is faster. After an error the stream ends.
pub struct BatchStream {
    loader: Loader,
    /// Size of every batch but the last.
    batch: usize,
    /// The next image to give out, and the one after the last.
    next: u64,
    end: u64,
    /// How many batches were given out.
    given: usize,
    workers: Vec<Worker>,
}

/// A thread and what it has read.
struct Worker {
    batches: Receiver<Result<Batch, DataError>>,
    thread: JoinHandle<()>,
}

impl BatchStream {
    pub(crate) fn new(loader: Loader, first_image: u64, batch: usize, end: u64) -> Self {
        let count = match batch {
            0 => 0,
            batch => end.saturating_sub(first_image).div_ceil(batch as u64),
        };
        let workers = loader.config().workers.min(usize::try_from(count).unwrap_or(usize::MAX));
        let spawned = (0..workers).map(|worker| {
            let starts = (first_image..end).step_by(batch).skip(worker).step_by(workers);
            spawn(worker, loader.clone(), starts, batch, end)
        });
        // Without threads the same batches are read when they are asked for.
        let workers = spawned.collect::<Result<Vec<_>, _>>().unwrap_or_else(|error| {
            log::warn!("cannot start the data loader's threads ({error}); reading without them");
            Vec::new()
        });
        Self { loader, batch, next: first_image, end, given: 0, workers }
    }

    /// The next batch, from a thread if there are any.
    fn receive(&self, size: usize) -> Result<Batch, DataError> {
        if self.batch == 0 {
            let reason = "a batch has at least one image".to_owned();
            return Err(DataError::Unsuitable { key: "train.batch".to_owned(), reason });
        }
        if self.workers.is_empty() {
            return self.loader.batch(self.next, size);
        }
        let worker = &self.workers[self.given % self.workers.len()];
        worker.batches.recv().unwrap_or_else(|_| {
            let name = self.loader.source().name().to_owned();
            Err(DataError::Worker { name, first_image: self.next })
        })
    }
}

/// Starts a thread that reads the batches at `starts`.
fn spawn(
    number: usize,
    loader: Loader,
    starts: impl Iterator<Item = u64> + Send + 'static,
    batch: usize,
    end: u64,
) -> std::io::Result<Worker> {
    let (sender, batches) = sync_channel(loader.config().prefetch.max(1));
    let thread = Builder::new().name(format!("data-{number}")).spawn(move || {
        for first_image in starts {
            let result = loader.batch(first_image, size_at(first_image, batch, end));
            let failed = result.is_err();
            // Nobody listens any more once the stream is dropped.
            if sender.send(result).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(Worker { batches, thread })
}

/// Size of the batch that begins at `first_image`.
fn size_at(first_image: u64, batch: usize, end: u64) -> usize {
    usize::try_from(end - first_image).unwrap_or(usize::MAX).min(batch)
}

impl Iterator for BatchStream {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let size = size_at(self.next, self.batch, self.end);
        let result = self.receive(size);
        self.given += 1;
        self.next = if result.is_ok() { self.next + size as u64 } else { self.end };
        Some(result)
    }
}

impl Drop for BatchStream {
    fn drop(&mut self) {
        for Worker { batches, thread } in self.workers.drain(..) {
            drop(batches);
            // A panic there was told by `next`, or concerns a batch that nobody wants any more.
            let _ = thread.join();
        }
    }
}

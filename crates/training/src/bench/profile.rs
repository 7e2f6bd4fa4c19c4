//! Where the time of a training step goes, operation by operation.

use std::fmt;
use std::time::Instant;

use serde::Serialize;
use sinter_kernels::allocations::{self, Allocations};
use sinter_kernels::profile::{self, Costs, Pass};

use super::milliseconds;
use super::train::Updates;
use crate::TrainingError;

/// Means over recorded steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Steps that were recorded.
    pub steps: usize,
    /// Wall time of a step while recording.
    pub step_ms: f64,
    /// Threads that take images through the network side by side; with 1, all threads work inside one operation.
    pub side_by_side: usize,
    /// The fused operations, the costliest first.
    pub operations: Vec<Row>,
    /// Thread time of a step (`step_ms` times `side_by_side`) that no operation accounts for: Burn's own operations,
    /// the graph of gradients, waiting.
    pub outside_ms: f64,
    /// The part of a step's thread time that is outside.
    pub outside_share: f64,
    /// Allocations of a step, of all threads; 0 where the program does not count them.
    pub allocations: f64,
    /// Their 10^6 bytes.
    pub allocated_megabytes: f64,
}

/// One pass of an operation. All numbers are of one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the operation.
    pub operation: &'static str,
    /// `forward`, `backward` or `update`.
    pub pass: &'static str,
    /// Calls.
    pub calls: f64,
    /// Time of the calling threads.
    pub ms: f64,
    /// Part of the step's thread time. An update has all threads to itself, so its time counts for each of them.
    pub share: f64,
    /// 10^6 bytes of the tensors read.
    pub read_megabytes: f64,
    /// 10^6 bytes of the tensors written.
    pub written_megabytes: f64,
    /// Allocations of the calling threads.
    pub allocations: f64,
    /// Their 10^6 bytes.
    pub allocated_megabytes: f64,
}

impl Profile {
    /// Records `steps` updates, which take images through the network on `side_by_side` threads.
    pub(super) fn record(updates: &mut Updates, steps: usize, side_by_side: usize) -> Result<Self, TrainingError> {
        let (mut total_ms, before) = (0.0, Allocations::of_process());
        profile::start();
        for _ in 0..steps {
            let batch = updates.load()?;
            allocations::count(true);
            let began = Instant::now();
            updates.step(&batch)?;
            total_ms += milliseconds(began);
            allocations::count(false);
        }
        Ok(Self::of(profile::stop(), Allocations::of_process() - before, steps, total_ms, side_by_side))
    }

    fn of(costs: Costs, allocated: Allocations, steps: usize, total_ms: f64, side_by_side: usize) -> Self {
        let a_step = |total: f64| total / steps as f64;
        let thread_ms = a_step(total_ms) * side_by_side as f64;
        let row = |((operation, pass), cost): ((&'static str, Pass), profile::Cost)| {
            let ms = a_step(cost.seconds * 1e3);
            let (pass, threads) = match pass {
                Pass::Forward => ("forward", 1),
                Pass::Backward => ("backward", 1),
                Pass::Update => ("update", side_by_side),
            };
            Row {
                operation,
                pass,
                calls: a_step(cost.calls as f64),
                ms,
                share: ms * threads as f64 / thread_ms,
                read_megabytes: a_step(cost.read as f64 / 1e6),
                written_megabytes: a_step(cost.written as f64 / 1e6),
                allocations: a_step(cost.allocations.count as f64),
                allocated_megabytes: a_step(cost.allocations.bytes as f64 / 1e6),
            }
        };
        let mut operations: Vec<Row> = costs.into_iter().map(row).collect();
        operations.sort_by(|a, b| b.share.total_cmp(&a.share));
        let outside_share = 1.0 - operations.iter().map(|row| row.share).sum::<f64>();
        Self {
            steps,
            step_ms: a_step(total_ms),
            side_by_side,
            operations,
            outside_ms: outside_share * thread_ms,
            outside_share,
            allocations: a_step(allocated.count as f64),
            allocated_megabytes: a_step(allocated.bytes as f64 / 1e6),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<20} {:<9} {:>8} {:>9} {:>7} {:>9} {:>10} {:>11} {:>12}",
            "operation", "pass", "calls", "ms", "share", "read MB", "written MB", "allocations", "allocated MB"
        )?;
        for row in &self.operations {
            writeln!(
                formatter,
                "{:<20} {:<9} {:>8.0} {:>9.2} {:>6.1}% {:>9.1} {:>10.1} {:>11.0} {:>12.1}",
                row.operation,
                row.pass,
                row.calls,
                row.ms,
                100.0 * row.share,
                row.read_megabytes,
                row.written_megabytes,
                row.allocations,
                row.allocated_megabytes
            )?;
        }
        let outside = "outside (Burn's operations, waiting)";
        writeln!(formatter, "{outside:<38} {:>9.2} {:>6.1}%", self.outside_ms, 100.0 * self.outside_share)?;
        writeln!(
            formatter,
            "{:<38} {:>9.2} {:>29} {:>11.0} {:>12.1}",
            "a step, by the clock", self.step_ms, "", self.allocations, self.allocated_megabytes
        )?;
        let threads = match self.side_by_side {
            1 => {
                "Operations run one after another, all threads inside each: shares are of the step's time.".to_string()
            }
            n => format!(
                "{n} threads run operations side by side, each on its own images: shares are of {n} times the step's \
                 time.\nAn update has all threads to itself, and counts for each."
            ),
        };
        write!(
            formatter,
            "Means of {} steps. ms: on the calling threads, which others may help.\n{threads}\nMB read and written: \
             the operation's tensors, each once. Allocations: of the calling threads; in the last line, of all.",
            self.steps
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_threads_time() {
        let cost = |seconds: f64| profile::Cost { calls: 4, seconds, read: 8_000_000, ..profile::Cost::default() };
        let costs = Costs::from([(("linear", Pass::Forward), cost(0.06)), (("adamw", Pass::Update), cost(0.02))]);
        // Two steps of 50 ms on two threads: 100 ms of both; 30 of them in `linear`, 10 of each thread in `adamw`.
        let profile = Profile::of(costs, Allocations { count: 10, bytes: 3_000_000 }, 2, 100.0, 2);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a}, not {b}");
        let [linear, adamw] = profile.operations.as_slice() else { panic!("{profile:?}") };
        close(profile.step_ms, 50.0);
        close(linear.share, 0.3);
        close(linear.ms, 30.0);
        close(linear.calls, 2.0);
        close(linear.read_megabytes, 4.0);
        close(adamw.share, 0.2);
        close(adamw.ms, 10.0);
        close(profile.outside_share, 0.5);
        close(profile.outside_ms, 50.0);
        close(profile.allocations, 5.0);
        close(profile.allocated_megabytes, 1.5);
    }
}

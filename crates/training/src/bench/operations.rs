//! Speed of each operation, beside what the machine can do at best.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use serde::{Serialize, Serializer};

use super::cases::{self, Body, Case};
use super::{Ceiling, Timing, milliseconds};
use crate::{DeviceConfig, TrainingError};

/// Each measurement is repeated at least so often, and at least so long.
const LEAST_RUNS: usize = 5;
const LEAST_MS: f64 = 200.0;

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// CPU threads.
    pub threads: usize,
    /// What the machine can do at best.
    pub ceiling: Ceiling,
    /// The operations.
    pub operations: Vec<Measured>,
}

/// One operation at one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Name of the function.
    pub operation: &'static str,
    /// Its sizes by name.
    #[serde(serialize_with = "as_map")]
    pub sizes: Vec<(&'static str, usize)>,
    /// Name and sizes in words.
    pub label: String,
    /// 10^9 floating-point operations of the forward pass.
    pub gflop: f64,
    /// 10^6 bytes of the forward pass' inputs and result.
    pub megabytes: f64,
    /// The forward pass alone, outside any graph of gradients.
    pub forward: Timing,
    /// The forward pass and the gradients of all inputs; none for updates, which have no gradients.
    pub both: Option<Timing>,
    /// What the forward pass would take at the nearer ceiling, over what it took. It may exceed 1: data may stay in the
    /// caches, and a machine's speed changes.
    pub share_forward: f64,
}

fn as_map<S: Serializer>(sizes: &[(&'static str, usize)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(sizes.iter().copied())
}

/// One line of the table that is printed.
fn line(cells: [&str; 6]) -> String {
    let [operation, forward, forward_range, both, both_range, share] = cells;
    format!("{operation:<60} {forward:>9} {forward_range:<18} {both:>9} {both_range:<18} {share:>8}")
}

/// The heading of the table.
fn heading() -> String {
    line(["median ms (both: with gradients), fastest to slowest", "forward", "", "both", "", "ceiling"])
}

impl fmt::Display for Measured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = |timing: &Timing| format!("{:.2}", timing.median_ms);
        let range = |timing: &Timing| format!("{:.2} to {:.2}", timing.fastest_ms, timing.slowest_ms);
        let (both, both_range) = (self.both.as_ref().map(median), self.both.as_ref().map(range));
        formatter.write_str(&line([
            &self.label,
            &median(&self.forward),
            &range(&self.forward),
            both.as_deref().unwrap_or("-"),
            both_range.as_deref().unwrap_or_default(),
            &format!("{:.0}%", 100.0 * self.share_forward),
        ]))
    }
}

/// Measures the operations whose label contains `filter`, in their composed form if asked. `say` is told the ceilings
/// and each operation as soon as it is measured.
///
/// # Errors
/// When no operation has such a label, and when the device fails.
pub fn measure(
    filter: &str,
    composed: bool,
    threads: usize,
    mut say: impl FnMut(&dyn fmt::Display),
) -> Result<Report, TrainingError> {
    let mut cases = cases::all();
    let names: Vec<_> = cases.iter().map(|case| case.operation).collect();
    cases.retain(|case| case.label.contains(filter));
    if cases.is_empty() {
        let mut names = names;
        names.dedup();
        return Err(TrainingError::Config(format!("no operation is named `{filter}`; known: {}", names.join(", "))));
    }
    let device = DeviceConfig::default().open()?;
    let ceiling = Ceiling::measure(&device)?;
    say(&ceiling);
    // From here on: the ceiling is the machine's, whatever form is measured.
    if composed {
        sinter_kernels::use_composed();
    }
    say(&heading());
    let mut operations = Vec::new();
    for case in cases {
        let measured = case.measure(&device, &ceiling)?;
        say(&measured);
        operations.push(measured);
    }
    Ok(Report { threads, ceiling, operations })
}

impl Case {
    fn measure(self, device: &Device, ceiling: &Ceiling) -> Result<Measured, TrainingError> {
        let (flop, bytes) = (self.flop, self.bytes());
        let (forward, both) = match self.body {
            Body::Function(function) => {
                let inputs = |device: &Device| -> Vec<Tensor<1>> {
                    let normal = Distribution::Normal(0.0, 1.0);
                    self.inputs.iter().map(|n| Tensor::random([*n], normal, device)).collect()
                };
                let plain = inputs(device);
                let forward = time(device, || drop(black_box(function(&plain))))?;
                let tracked: Vec<_> =
                    inputs(&device.clone().autodiff()).into_iter().map(Tensor::require_grad).collect();
                // From the gradient of the result, all ones: no reduction to a scalar is timed.
                let both = time(device, || drop(black_box(function(&tracked).backward())))?;
                (forward, Some(both))
            }
            Body::Update(update) => {
                // Above 0, as second moments are.
                let uniform = |n: &usize| Tensor::random([*n], Distribution::Default, device);
                let mut state: Vec<Tensor<1>> = self.inputs.iter().map(uniform).collect();
                (time(device, || state = update(std::mem::take(&mut state)))?, None)
            }
        };
        Ok(Measured {
            operation: self.operation,
            sizes: self.sizes,
            label: self.label,
            gflop: flop / 1e9,
            megabytes: bytes / 1e6,
            forward,
            both,
            share_forward: ceiling.seconds(flop, bytes) / (forward.median_ms / 1e3),
        })
    }
}

/// Times `run`, after one call that is not counted and allocates.
fn time(device: &Device, mut run: impl FnMut()) -> Result<Timing, TrainingError> {
    let (mut single, mut total) = (Vec::new(), 0.0);
    run();
    synchronise(device)?;
    loop {
        let began = Instant::now();
        run();
        synchronise(device)?;
        single.push(milliseconds(began));
        total += milliseconds(began);
        if let Some(timing) = Timing::of(&single)
            && single.len() >= LEAST_RUNS
            && total >= LEAST_MS
        {
            return Ok(timing);
        }
    }
}

/// Waits until the device has done what it was given.
pub(super) fn synchronise(device: &Device) -> Result<(), TrainingError> {
    device.sync().map_err(|error| TrainingError::Device(error.to_string()))
}

//! Whether stochastic steps keep the marginals of an analytic flow, by exact recursions of mean and variance.
//!
//! On normal data every kernel's step is affine in the state, so that mean and variance of the state follow without a
//! draw: `m' = a m + b`, `V' = a^2 V + s^2`.

#![allow(clippy::unwrap_used)]

use sinter_process::{Path, PathPoint};
use sinter_solvers::{
    ConstantKernel, End, FlowKernel, FlowScheduler, Grid, Kernel, Level, PreservingKernel, ShiftedTime,
};

const MEAN: f64 = 1.5;
const DEVIATION: f64 = 0.5;

/// Mean and deviation of samples whose every step, the last one too, is the kernel's.
fn reached(kernel: Kernel, points: &[PathPoint]) -> (f64, f64) {
    let (mut mean, mut variance) = (0.0, 1.0);
    for pair in points.windows(2) {
        let level: Level = (&pair[0]).into();
        let step = kernel.transition(&pair[0], &pair[1]);
        // E[x0 | x] = gain x + offset
        let gain = level.alpha * DEVIATION.powi(2) / level.deviation(DEVIATION).powi(2);
        let offset = MEAN * (1.0 - gain * level.alpha);
        let slope = step.state + step.data * gain;
        mean = slope * mean + step.data * offset;
        variance = slope.powi(2) * variance + step.deviation.powi(2);
    }
    (mean, variance.sqrt())
}

fn shifted(steps: usize) -> Vec<PathPoint> {
    Grid::ShiftedTime(ShiftedTime { shift: 3.0 }).points(&Path::LinearFlow, steps, End::Data).unwrap()
}

fn scheduled(steps: usize) -> Vec<PathPoint> {
    Grid::FlowScheduler(FlowScheduler::default()).points(&Path::LinearFlow, steps, End::Data).unwrap()
}

const FLOW: Kernel = Kernel::Flow(FlowKernel { noise: 0.7 });
const CONSTANT: Kernel = Kernel::Constant(ConstantKernel { noise: 0.3 });
const PRESERVING: Kernel = Kernel::CoefficientsPreserving(PreservingKernel { noise: 0.8 });

/// Deviations from the same recursion worked out apart from this code, in the velocity, to so many digits.
#[track_caller]
fn check(kernel: Kernel, grid: fn(usize) -> Vec<PathPoint>, expected: &[(usize, f64)], digits: f64) {
    for &(steps, expected) in expected {
        let (mean, deviation) = reached(kernel, &grid(steps));
        assert!((mean - MEAN).abs() < 1e-9, "{kernel:?} {steps}: mean {mean}");
        assert!((deviation - expected).abs() < digits, "{kernel:?} {steps}: {deviation}, not {expected}");
    }
}

#[test]
fn the_scheduler_grid_is_the_published_one() {
    let times: Vec<f64> = scheduled(10).iter().map(|point| point.t).collect();
    let published = [1.0, 0.9601, 0.9133, 0.8577, 0.7904, 0.7073, 0.6022, 0.4649, 0.2780, 0.0089, 0.0];
    assert_eq!(times.len(), 11);
    assert!(times.iter().zip(published).all(|(ours, theirs)| (ours - theirs).abs() < 5e-5), "{times:?}");
}

#[test]
fn steps_of_the_sde_come_to_the_marginals_as_steps_get_shorter() {
    check(FLOW, shifted, &[(10, 0.42436), (40, 0.47930), (400, 0.49863)], 1e-5);
    check(FLOW.quiet(), shifted, &[(10, 0.36969), (40, 0.46472), (400, 0.49636)], 1e-5);
    check(FLOW, scheduled, &[(10, 0.42102), (40, 0.47941)], 1e-5);
    check(FLOW.quiet(), scheduled, &[(10, 0.35916), (40, 0.46452)], 1e-5);
    check(CONSTANT, shifted, &[(10, 0.38518), (40, 0.46858), (400, 0.49676)], 1e-5);
    // First order in the step's length: what is missing falls with it.
    let missing = |kernel: Kernel, steps: usize| reached(kernel, &shifted(steps)).1 - DEVIATION;
    assert!((missing(CONSTANT, 1000) / missing(CONSTANT, 4000) - 4.0).abs() < 0.05);
    // The noise of Flow-GRPO's SDE grows beyond bounds towards t = 1, so that the first step's variance is off by a^4 / 4
    // however short it is. Later steps forget that, as steps^(-a^2): slower than first order, but they do.
    let first = FLOW.transition(&Path::LinearFlow.at(1.0), &Path::LinearFlow.at(0.999_999));
    assert!((first.state.powi(2) + first.deviation.powi(2) - 1.0 - 0.7f64.powi(4) / 4.0).abs() < 1e-5);
    for (steps, expected) in [(16_000, 1.267e-4), (64_000, 8.041e-5), (256_000, 4.480e-5)] {
        assert!((missing(FLOW, steps) / expected - 1.0).abs() < 1e-3, "{steps}");
    }
}

#[test]
fn the_preserving_step_does_not() {
    check(PRESERVING, shifted, &[(10, 0.31458), (40, 0.37107), (400, 0.39771)], 1e-5);
    let (_, limit) = reached(PRESERVING, &shifted(100_000));
    assert!((limit - 0.404).abs() < 5e-3 && (limit - DEVIATION).abs() > 0.09, "{limit}");
}

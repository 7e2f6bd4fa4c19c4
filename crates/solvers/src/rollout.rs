//! Rollouts: samples some of whose steps are actions of a policy.
//!
//! Flow-GRPO's rollouts draw every step from a kernel, MixGRPO's only those of a window, G2RPO's a single one, from
//! which each group member goes on without noise along several grids. All are plans.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::schedule::{linspace, shift_time, unshift_time};
use sinter_process::{Path, PathPoint};

use crate::dpm_multistep::{NOISE, evaluation};
use crate::{Builder, DpmMultistep, Kernel, Level, Plan, Quantity, Transition};

/// A sample through `points`, of which the steps `stochastic` are drawn from a kernel. Step `k` leads from `points[k]` to
/// `points[k + 1]`, and its noise is draw `k` of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// How noisy steps are taken; without its noise, the other steps, too.
    pub kernel: Kernel,
    /// From the start to data.
    pub points: Vec<PathPoint>,
    /// Which steps are noisy.
    pub stochastic: Range<usize>,
    /// How the steps after the noisy ones are taken, if not by the kernel; evaluations before them count as its own.
    pub multistep: Option<DpmMultistep>,
}

impl Rollout {
    /// The plan.
    ///
    /// # Errors
    /// Fewer than two points, or a step that cannot be taken: its coefficients are not finite.
    pub fn plan(&self, name: &str) -> Result<Plan, Problems> {
        let mut problems = Problems::new();
        problems.nest("kernel", self.kernel.validate());
        problems.check(self.points.len() >= 2, "points", "a rollout needs at least two");
        let steps = self.points.len().saturating_sub(1);
        problems.check(self.stochastic.end <= steps, "stochastic", format!("there are only {steps} steps"));
        if let Some(multistep) = &self.multistep {
            problems.nest("multistep", multistep.validate());
            let fits = multistep.quantity == Quantity::Data && multistep.eta == 0.0;
            problems.check(fits, "multistep", "goes on from expected data, without noise");
        }
        let [first, ..] = &self.points[..] else { return Err(problems) };
        if !problems.is_empty() {
            return Err(problems);
        }
        let levels: Vec<Level> = self.points.iter().map(Level::from).collect();
        let mut plan = Builder::new(name, levels[0], first.sigma);
        for (step, pair) in self.points.windows(2).enumerate() {
            match &self.multistep {
                Some(multistep) if step >= self.stochastic.end => multistep.step(&mut plan, &levels, step),
                _ => self.kernel_at(step).step(&mut plan, &pair[0], &pair[1], evaluation(step), NOISE),
            }
        }
        plan.finish()
    }

    /// What a step draws from; without noise outside of the noisy steps.
    pub fn transition(&self, step: usize) -> Transition {
        self.kernel_at(step).transition(&self.points[step], &self.points[step + 1])
    }

    fn kernel_at(&self, step: usize) -> Kernel {
        if self.stochastic.contains(&step) { self.kernel } else { self.kernel.quiet() }
    }
}

/// Where a strided continuation ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StridedEnd {
    /// As published: the last time of the list is only aimed at, and the sample is the data expected one before it, even
    /// where the list ends above data.
    #[default]
    Published,
    /// Data are appended to lists that end above them: one evaluation more there.
    Appended,
}

/// The points of a grid of `steps` steps that a sample visits which branches at step `branch` and goes on in strides:
/// `0, ..., branch + 1`, then `branch + 2, branch + 2 + stride, ...` (Zhou et al. 2025, G2RPO's multi-granularity).
pub fn strided(steps: usize, branch: usize, stride: usize) -> Vec<usize> {
    (0..(branch + 2).min(steps + 1)).chain((branch + 2..=steps).step_by(stride.max(1))).collect()
}

/// The points from the state after the branch to data, through which a strided sample goes on without noise.
pub fn continuation(points: &[PathPoint], branch: usize, stride: usize, end: StridedEnd) -> Vec<PathPoint> {
    let steps = points.len().saturating_sub(1);
    let mut indices = strided(steps, branch, stride).split_off((branch + 1).min(steps));
    match (end, indices.last_mut()) {
        // The expected data are where a step to data leads.
        (StridedEnd::Published, Some(last)) => *last = steps,
        (StridedEnd::Appended, Some(last)) if *last < steps => indices.push(steps),
        _ => {}
    }
    indices.into_iter().map(|index| points[index]).collect()
}

/// The points after `points[from]` on a coarser grid to data: `n = max(floor((steps - from + 1) ratio), 1)` times even in
/// the unshifted time from that of `points[from]`, shifted, as MixGRPO's Flash rollouts have it; `n = 1` alone would never
/// reach data, which then follow.
pub fn respaced(path: &Path, points: &[PathPoint], from: usize, ratio: f64, shift: f64) -> Vec<PathPoint> {
    let steps = points.len().saturating_sub(1);
    let count = (((steps - from + 1) as f64 * ratio).floor() as usize).max(2);
    let first = unshift_time(points[from].t, shift);
    let times = linspace(first, 0.0, count).into_iter().skip(1);
    times.map(|time| path.at(shift_time(time, shift))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Event, execute};
    use crate::{Clock, End, Euler, FlowKernel, Grid, ShiftedTime, Solver, compile};

    fn grid(steps: usize) -> Vec<PathPoint> {
        Grid::ShiftedTime(ShiftedTime { shift: 3.0 }).points(&Path::LinearFlow, steps, End::Data).unwrap()
    }

    fn rollout(steps: usize, stochastic: Range<usize>) -> Rollout {
        Rollout { kernel: Kernel::default(), points: grid(steps), stochastic, multistep: None }
    }

    /// Expected data of N(1.5, 0.25) under noise.
    fn expected(x: f64, level: Level) -> f64 {
        let gain = 0.25 * level.alpha / level.deviation(0.5).powi(2);
        1.5 + gain * (x - level.alpha * 1.5)
    }

    fn trajectory(plan: &Plan, start: f64, noise: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut states = vec![start];
        let evaluate = |x: &[f64], level: Level| x.iter().map(|x| expected(*x, level)).collect();
        let observe = |event: Event<'_>| {
            if let Event::Reached { state, .. } = event {
                states.push(state[0]);
            }
        };
        execute(plan, vec![start], 1, evaluate, |draw| vec![noise(draw)], observe).unwrap();
        states
    }

    #[test]
    fn a_window_of_nothing_is_the_flow_and_one_of_all_is_the_solver() {
        let points = grid(10);
        let euler = compile(&Solver::Euler(Euler { clock: Clock::Time, ..Euler::default() }), &points).unwrap();
        let ours = trajectory(&rollout(10, 0..0).plan("flow").unwrap(), 0.7, |_| 1.0);
        for (ours, theirs) in ours.iter().zip(trajectory(&euler, 0.7, |_| 0.0)) {
            assert!((ours - theirs).abs() < 1e-14);
        }
        let solver = crate::Stochastic { final_noise: true, ..Default::default() };
        let whole = compile(&Solver::Stochastic(solver), &points).unwrap();
        let noise = |draw: usize| (draw as f64).sin();
        let ours = trajectory(&rollout(10, 0..10).plan("stochastic").unwrap(), 0.7, noise);
        assert_eq!(ours, trajectory(&whole, 0.7, noise));
        let window = crate::Stochastic { from: 2, count: Some(3), ..Default::default() };
        let windowed = compile(&Solver::Stochastic(window), &points).unwrap();
        assert_eq!(windowed.draws(), [2, 3, 4]);
        let ours = trajectory(&rollout(10, 2..5).plan("stochastic").unwrap(), 0.7, noise);
        assert_eq!(ours, trajectory(&windowed, 0.7, noise));
    }

    #[test]
    fn members_of_a_group_part_at_the_window() {
        let plan = rollout(12, 3..5).plan("window").unwrap();
        let (one, other) = (trajectory(&plan, 0.3, |_| 0.5), trajectory(&plan, 0.3, |_| -0.5));
        assert_eq!(one[..4], other[..4]);
        assert!(one[4..].iter().zip(&other[4..]).all(|(a, b)| a != b));
    }

    #[test]
    fn the_state_after_a_step_is_its_transition() {
        let rollout = Rollout { kernel: Kernel::Flow(FlowKernel { noise: 0.5 }), ..rollout(8, 1..4) };
        let states = trajectory(&rollout.plan("rollout").unwrap(), 0.3, |draw| draw as f64 - 1.5);
        for (step, pair) in states.windows(2).enumerate() {
            let transition = rollout.transition(step);
            let data = expected(pair[0], (&rollout.points[step]).into());
            let mean = transition.mean(&[pair[0]], &[data])[0];
            assert!((mean + transition.deviation * (step as f64 - 1.5) - pair[1]).abs() < 1e-14);
            assert_eq!(transition.deviation > 0.0, (1..4).contains(&step));
        }
    }

    #[test]
    fn strides_miss_the_end_as_published() {
        assert_eq!(strided(16, 0, 3), [0, 1, 2, 5, 8, 11, 14]);
        assert_eq!(strided(16, 1, 2).last(), Some(&15));
        assert_eq!(strided(10, 2, 2), [0, 1, 2, 3, 4, 6, 8, 10]);
        let points = grid(16);
        let times = |end| -> Vec<f64> { continuation(&points, 0, 3, end).iter().map(|point| point.t).collect() };
        let at = |indices: &[usize]| -> Vec<f64> { indices.iter().map(|&index| points[index].t).collect() };
        assert_eq!(times(StridedEnd::Published), at(&[1, 2, 5, 8, 11, 16]));
        assert_eq!(times(StridedEnd::Appended), at(&[1, 2, 5, 8, 11, 14, 16]));
        assert_eq!(continuation(&points, 14, 1, StridedEnd::Published).len(), 2);
    }

    /// The published cost: the anchor's evaluations, and those of each group member.
    #[test]
    fn evaluations_are_counted_from_the_plans() {
        assert_eq!(rollout(16, 0..0).plan("anchor").unwrap().evaluations(), 16);
        let points = grid(16);
        let of = |strides: &[usize]| -> usize {
            let pairs = (0..8).flat_map(|branch| strides.iter().map(move |stride| (branch, *stride)));
            let plans = pairs.map(|(branch, stride)| {
                let points = continuation(&points, branch, stride, StridedEnd::Published);
                Rollout { points, ..rollout(16, 0..0) }.plan("branch").unwrap()
            });
            plans.map(|plan| plan.evaluations()).sum()
        };
        assert_eq!([of(&[1]), of(&[1, 2]), of(&[1, 2, 3])], [92, 140, 173]);
    }

    /// Published counts of the compressed tail: in all 11 evaluations at ratio 0.4, 7 at 0.2.
    #[test]
    fn a_compressed_tail_has_fewer_steps() {
        let points = grid(25);
        for (ratio, evaluations) in [(0.4, 11), (0.2, 7)] {
            let tail = respaced(&Path::LinearFlow, &points, 4, ratio, 3.0);
            let points = points[..=4].iter().copied().chain(tail).collect();
            let multistep = Some(DpmMultistep { lower_order_below: 0, ..DpmMultistep::default() });
            let rollout = Rollout { kernel: Kernel::default(), points, stochastic: 0..4, multistep };
            assert_eq!(rollout.plan("flash").unwrap().evaluations(), evaluations);
            assert_eq!(rollout.points.last().unwrap().sigma, 0.0);
        }
        let short = respaced(&Path::LinearFlow, &points, 24, 0.2, 3.0);
        assert_eq!(short.iter().map(|point| point.t).collect::<Vec<_>>(), [0.0]);
    }

    /// The tail's first step is of second order already: it uses the window's evaluation.
    #[test]
    fn a_compressed_tail_is_of_second_order() {
        // From t = 0.75 on, so that all of the error is the tail's.
        let error = |steps: usize| {
            let times = linspace(0.75, 0.05, steps + 1);
            let points: Vec<PathPoint> = times.into_iter().map(|t| Path::LinearFlow.at(t)).collect();
            let multistep = Some(DpmMultistep { lower_order_below: 0, ..DpmMultistep::default() });
            let rollout = Rollout { kernel: Kernel::default(), points, stochastic: 0..1, multistep };
            let states = trajectory(&rollout.plan("tail").unwrap(), 0.9, |_| 0.0);
            let deviation = |point: &PathPoint| Level::from(point).deviation(0.5);
            let [first, last] = [1, steps].map(|step| rollout.points[step]);
            let exact = 1.5 * last.alpha + (states[1] - 1.5 * first.alpha) * deviation(&last) / deviation(&first);
            (states[steps] - exact).abs()
        };
        let order = (error(80) / error(320)).log2() / 2.0;
        assert!((order - 2.0).abs() < 0.15, "{order}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(rollout(4, 0..5).plan("rollout").is_err());
        let noise = DpmMultistep { quantity: Quantity::Noise, ..DpmMultistep::default() };
        assert!(Rollout { multistep: Some(noise), ..rollout(4, 0..1) }.plan("rollout").is_err());
        assert!(Rollout { points: Vec::new(), ..rollout(4, 0..0) }.plan("rollout").is_err());
    }
}

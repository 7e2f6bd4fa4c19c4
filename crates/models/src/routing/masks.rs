//! Fixed channels for every time (DTR, Park et al., "Denoising Task Routing for Diffusion Models", 2024).

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::random::{Key, Stream};

use super::RoutingConfig;
use crate::dual::Dual;

/// A window of channels that moves as noise grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DtrConfig {
    /// Tasks: times with a window of their own.
    pub tasks: usize,
    /// Width of the window over the number of channels, above 0 and at most 1 (`beta` in the paper).
    pub ratio: f64,
    /// The window's place grows with this power of time (`alpha` in the paper): above 1, tasks of little noise share more
    /// channels.
    pub curvature: f64,
}

impl Default for DtrConfig {
    fn default() -> Self {
        Self { tasks: 1000, ratio: 0.8, curvature: 4.0 }
    }
}

/// Channels drawn for each task and block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandomConfig {
    /// Tasks: times with channels of their own.
    pub tasks: usize,
    /// Channels of a task over all, above 0 and at most 1.
    pub ratio: f64,
    /// Of the draws, which all runs that share it have in common.
    pub seed: u64,
}

impl Default for RandomConfig {
    fn default() -> Self {
        Self { tasks: 1000, ratio: 0.8, seed: 0 }
    }
}

impl DtrConfig {
    /// Every problem of these values.
    pub fn validate(&self) -> Problems {
        let mut problems = problems(self.tasks, self.ratio);
        let curvature = self.curvature > 0.0 && self.curvature.is_finite();
        problems.check(curvature, "curvature", "must be finite and above 0");
        problems
    }

    /// The channels of each task, of so many: `[tasks, channels]`, row-major.
    pub fn mask(&self, channels: usize) -> Vec<bool> {
        windows(self.tasks, channels, active(channels, self.ratio), self.curvature)
    }
}

impl RandomConfig {
    /// Every problem of these values.
    pub fn validate(&self) -> Problems {
        problems(self.tasks, self.ratio)
    }

    /// The channels of each task in block `block`, of so many: `[tasks, channels]`, row-major.
    pub fn mask(&self, channels: usize, block: usize) -> Vec<bool> {
        let mut draws = vec![0.0f32; self.tasks * channels];
        Key::new(self.seed, Stream::ROUTING).at(block as u64).fill_uniform(&mut draws);
        let width = active(channels, self.ratio);
        draws.chunks_exact(channels).flat_map(|draws| smallest(draws, width)).collect()
    }
}

fn problems(tasks: usize, ratio: f64) -> Problems {
    let mut problems = Problems::new();
    problems.check(tasks > 0, "tasks", "must be at least 1");
    problems.check(ratio > 0.0 && ratio <= 1.0, "ratio", "must be above 0 and at most 1");
    problems
}

/// Channels of a task.
fn active(channels: usize, ratio: f64) -> usize {
    (channels as f64 * ratio) as usize
}

/// For each of so many tasks a window over `width` of `units`, `[tasks, units]`, that starts at
/// `round((s / (tasks - 1))^curvature (units - width))`, halves to even.
pub(super) fn windows(tasks: usize, units: usize, width: usize, curvature: f64) -> Vec<bool> {
    let last = tasks.saturating_sub(1).max(1) as f64;
    let rest = (units - width) as f64;
    let start = |task: usize| ((task as f64 / last).powf(curvature) * rest).round_ties_even() as usize;
    (0..tasks).flat_map(|task| (0..units).map(move |unit| (start(task)..start(task) + width).contains(&unit))).collect()
}

/// Which are the `count` smallest.
fn smallest(draws: &[f32], count: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..draws.len()).collect();
    order.sort_by(|a, b| draws[*a].total_cmp(&draws[*b]));
    let mut mask = vec![false; draws.len()];
    order[..count].iter().for_each(|channel| mask[*channel] = true);
    mask
}

/// The masks of one block.
#[derive(Module, Debug)]
pub struct Masks {
    /// `[tasks, channels]`, fixed.
    mask: Tensor<2, Bool>,
}

impl Masks {
    /// From `[tasks, channels]`, row-major.
    pub fn new(mask: Vec<bool>, channels: usize, device: &Device) -> Self {
        let tasks = mask.len() / channels;
        Self { mask: Tensor::from_data(TensorData::new(mask, [tasks, channels]), device) }
    }

    /// Ones and zeros `[b, channels]` for time labels `[b]`.
    pub fn of(&self, time_label: Tensor<1>) -> Tensor<2> {
        let [tasks, _] = self.mask.dims();
        let task: Tensor<1, Int> = time_label.clamp(0.0, (tasks - 1) as f64).int(); // [b]
        self.mask.clone().float().select(0, task)
    }

    /// Feature maps `[b, c, h, w]` with zeros in place of the channels that the tasks of time labels `[b]` leave over.
    pub(crate) fn over(&self, x: Dual<4>, time_label: Tensor<1>) -> Dual<4> {
        let [b, channels, _, _] = x.dims();
        x * self.of(time_label).reshape([b, channels, 1, 1])
    }
}

/// Makes the masks of one block after the other, where these differ in width.
pub(crate) struct BlockMasks<'a> {
    config: &'a RoutingConfig,
    device: &'a Device,
    /// Blocks so far.
    blocks: usize,
    /// DTR's, by the number of channels: blocks of one width have them in common.
    windows: BTreeMap<usize, Masks>,
}

impl<'a> BlockMasks<'a> {
    pub(crate) fn new(config: &'a RoutingConfig, device: &'a Device) -> Self {
        Self { config, device, blocks: 0, windows: BTreeMap::new() }
    }

    /// Those of the next block, of so many channels; experts have none.
    pub(crate) fn next(&mut self, channels: usize) -> Option<Masks> {
        let block = self.blocks;
        self.blocks += 1;
        match self.config {
            RoutingConfig::Dtr(config) => {
                let masks = || Masks::new(config.mask(channels), channels, self.device);
                Some(self.windows.entry(channels).or_insert_with(masks).clone())
            }
            RoutingConfig::Random(config) => Some(Masks::new(config.mask(channels, block), channels, self.device)),
            RoutingConfig::Experts(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;

    fn dtr(tasks: usize, ratio: f64, curvature: f64) -> DtrConfig {
        DtrConfig { tasks, ratio, curvature }
    }

    /// First channel and number of channels of each task.
    fn windows(config: &DtrConfig, channels: usize) -> Vec<(usize, usize)> {
        let mask = config.mask(channels);
        let first = |row: &[bool]| row.iter().position(|on| *on).unwrap();
        mask.chunks_exact(channels).map(|row| (first(row), row.iter().filter(|on| **on).count())).collect()
    }

    #[test]
    fn windows_move_with_the_noise() {
        let starts = [0, 0, 0, 0, 0, 0, 1, 1, 2, 4];
        assert_eq!(windows(&dtr(10, 0.8, 4.0), 16), starts.map(|start| (start, 12)));
        let starts = [0, 0, 0, 1, 3, 7, 15, 28, 48, 77];
        assert_eq!(windows(&dtr(10, 0.8, 4.0), 384), starts.map(|start| (start, 307)));
        assert_eq!(windows(&dtr(1, 0.5, 4.0), 8), [(0, 4)]);
        assert_eq!(windows(&dtr(3, 1.0, 4.0), 8), [(0, 8); 3]);
    }

    #[test]
    fn random_channels_are_as_many_and_differ_by_task_and_block() {
        let config = RandomConfig { tasks: 5, ratio: 0.75, seed: 1 };
        let (first, second) = (config.mask(16, 0), config.mask(16, 1));
        assert!(first.chunks_exact(16).all(|row| row.iter().filter(|on| **on).count() == 12));
        assert_ne!(first, second);
        assert_ne!(first[..16], first[16..32]);
        assert_eq!(first, config.mask(16, 0));
    }

    #[test]
    fn labels_are_held_to_the_tasks() {
        let device = Device::flex();
        let config = dtr(10, 0.5, 1.0);
        let masks = Masks::new(config.mask(8), 8, &device);
        // Before the first task, in the middle of one, and after the last.
        let found = values(&masks.of(Tensor::from_data([-1.0f32, 4.5, 12.0], &device)));
        let windows = windows(&config, 8);
        for (i, on) in found.iter().enumerate() {
            let (start, count) = windows[[0, 4, 9][i / 8]];
            assert_eq!(*on == 1.0, (start..start + count).contains(&(i % 8)));
        }
    }
}

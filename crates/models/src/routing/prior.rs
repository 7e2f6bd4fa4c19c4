//! The loss that leads a network's gates to share experts among times as DTR shares channels (Switch-DiT, "diffusion
//! prior loss").
//!
//! The units are the experts of all blocks. The prior is a window over them for each task; which unit stands where in
//! it is of no account, so the units are matched with the prior's columns first, by what the gates choose now.

use burn::tensor::Tensor;
use pathfinding::kuhn_munkres::kuhn_munkres_min;
use pathfinding::matrix::Matrix;
use sinter_process::random::{Key, Stream};

use super::ExpertsConfig;
use super::masks::windows;

/// Inside the logarithms, as in the reference.
const EPSILON: f64 = 1e-6;

/// The prior: for each task the units that it should choose, `[tasks, blocks * count]`, row-major.
pub fn prior(config: &ExpertsConfig, blocks: usize) -> Vec<bool> {
    windows(config.tasks, blocks * config.count, blocks * config.active, config.curvature)
}

/// How often two columns differ: `[unit of the network, column of the prior]`, from `[tasks, units]` each.
pub fn costs(chosen: &[bool], prior: &[bool], units: usize) -> Vec<i64> {
    assert_eq!(chosen.len(), prior.len(), "as many tasks and units");
    let mut costs = vec![0; units * units];
    for (chosen, prior) in chosen.chunks_exact(units).zip(prior.chunks_exact(units)) {
        for (costs, chosen) in costs.chunks_exact_mut(units).zip(chosen) {
            for (cost, prior) in costs.iter_mut().zip(prior) {
                *cost += i64::from(chosen != prior);
            }
        }
    }
    costs
}

/// For each unit of the network its column of the prior, at the least cost in all. Of several equal ways the `seed` and
/// the clock, `images`, choose one: both sides are put in random order first.
pub fn matching(costs: &[i64], units: usize, seed: u64, images: u64) -> Vec<usize> {
    let key = Key::new(seed, Stream::ROUTING);
    let order = |which: u64| {
        let mut draws = vec![0.0f32; units];
        key.at(2 * images + which).fill_uniform(&mut draws);
        let mut order: Vec<usize> = (0..units).collect();
        order.sort_by(|a, b| draws[*a].total_cmp(&draws[*b]));
        order
    };
    let (rows, columns) = (order(0), order(1));
    let shuffled = Matrix::from_fn(units, units, |(i, j)| costs[rows[i] * units + columns[j]]);
    let (_, assignment) = kuhn_munkres_min(&shuffled);
    let mut matched = vec![0; units];
    for (row, column) in rows.into_iter().zip(assignment) {
        matched[row] = columns[column];
    }
    matched
}

/// The prior's distribution over the network's units for tasks `[b]`: `[b, units]`, each row's sum 1.
pub fn targets(prior: &[bool], matched: &[usize], tasks: &[usize]) -> Vec<f32> {
    let units = matched.len();
    let row = |task: &usize| {
        let prior = &prior[task * units..][..units];
        let share = 1.0 / prior.iter().filter(|on| **on).count().max(1) as f32;
        matched.iter().map(move |column| if prior[*column] { share } else { 0.0 })
    };
    tasks.iter().flat_map(row).collect()
}

/// The Jensen-Shannon divergence of each row of two batches of distributions `[b, units]`: `[b]`, between 0 and `ln 2`.
pub fn divergence(found: Tensor<2>, wanted: Tensor<2>) -> Tensor<1> {
    let middle = ((found.clone() + wanted.clone()) / 2.0 + EPSILON).log();
    let half = |p: Tensor<2>| p.clone() * ((p + EPSILON).log() - middle.clone());
    ((half(found) + half(wanted)) / 2.0).sum_dim(1).squeeze_dim::<1>(1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::testing::values;

    #[test]
    fn windows_of_experts_overlap_in_those_that_are_always_on() {
        for (blocks, width, shared) in [(12, 24, 12), (4, 8, 4)] {
            let prior = prior(&ExpertsConfig::default(), blocks);
            let rows: Vec<&[bool]> = prior.chunks_exact(3 * blocks).collect();
            assert!(rows.iter().all(|row| row.iter().filter(|on| **on).count() == width));
            assert_eq!((0..3 * blocks).filter(|unit| rows.iter().all(|row| row[*unit])).count(), shared);
        }
    }

    #[test]
    fn permuted_units_are_found_again() {
        let prior = prior(&ExpertsConfig { tasks: 50, ..ExpertsConfig::default() }, 2);
        let place = [3, 0, 5, 1, 4, 2];
        let chosen: Vec<bool> = prior.chunks_exact(6).flat_map(|row| place.map(|column| row[column])).collect();
        let costs = costs(&chosen, &prior, 6);
        for step in 0..5 {
            let matched = matching(&costs, 6, 1, step);
            assert_eq!(matched.iter().enumerate().map(|(unit, column)| costs[unit * 6 + column]).sum::<i64>(), 0);
        }
    }

    #[test]
    fn divergences_are_zero_of_equals_and_ln_2_of_strangers() {
        let device = Device::flex();
        let p: Tensor<2> = Tensor::from_data([[0.5f32, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]], &device);
        let q: Tensor<2> = Tensor::from_data([[0.5f32, 0.5, 0.0, 0.0], [0.0, 0.0, 0.3, 0.7]], &device);
        let found = values(&divergence(p, q));
        assert!(found[0].abs() < 1e-5 && (found[1] - std::f32::consts::LN_2).abs() < 1e-5, "{found:?}");
    }
}

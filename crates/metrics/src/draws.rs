//! Random draws as functions of a seed: this room has no generator with a state.

use std::f64::consts::TAU;

/// The draws of one purpose: each is a function of the key and of its position alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    key: u64,
}

impl Draws {
    /// The draws number `which` of a seed.
    pub(crate) fn new(seed: u64, which: u64) -> Self {
        Self { key: mix(mix(seed) ^ which) }
    }

    /// A whole number below `n`, which is at least 1.
    pub(crate) fn below(&self, position: u64, n: usize) -> usize {
        ((u128::from(mix(self.key ^ position)) * n as u128) >> 64) as usize
    }

    /// A standard normal number (Box and Muller 1958).
    pub(crate) fn normal(&self, position: u64) -> f64 {
        let uniform = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let pair = Draws { key: mix(self.key ^ position) };
        (-2.0 * uniform(mix(pair.key)).ln()).sqrt() * (TAU * uniform(mix(pair.key ^ 1))).cos()
    }

    /// `count` different whole numbers below `n`, all such sequences equally likely; `count` is at most `n`.
    pub(crate) fn without_replacement(&self, count: usize, n: usize) -> Vec<usize> {
        // The first steps of Fisher and Yates' shuffle.
        let mut indices: Vec<usize> = (0..n).collect();
        for place in 0..count.min(n) {
            let from = place + self.below(place as u64, n - place);
            indices.swap(place, from);
        }
        indices.truncate(count);
        indices
    }
}

/// A counter turned into 64 even bits: the output function of SplitMix64 (Steele, Lea and Flood 2014) one step on.
fn mix(counter: u64) -> u64 {
    let mut z = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normal_cumulative;

    #[test]
    fn mix_is_splitmix64() {
        // The first outputs of SplitMix64 from the state 0, as published with its reference implementation.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn normal_numbers_are_normal() {
        let draws = Draws::new(5, 0);
        let mut values: Vec<f64> = (0..4000).map(|position| draws.normal(position)).collect();
        values.sort_unstable_by(f64::total_cmp);
        // Kolmogorov's distance: beyond 1.63 / sqrt(n) in one of a hundred cases.
        let gap = values.iter().enumerate().map(|(i, x)| (normal_cumulative(*x) - (i as f64 + 0.5) / 4000.0).abs());
        assert!(gap.fold(0.0, f64::max) < 1.63 / 4000.0f64.sqrt());
        let neighbours: f64 = (0..4000).map(|i| draws.normal(i) * draws.normal(i + 1)).sum::<f64>() / 4000.0;
        assert!(neighbours.abs() < 4.0 / 4000.0f64.sqrt(), "{neighbours}");
    }

    #[test]
    fn subsets_have_every_member_once_and_every_member_as_often() {
        let mut counts = [0u32; 10];
        for which in 0..1000 {
            let mut subset = Draws::new(1, which).without_replacement(4, 10);
            subset.iter().for_each(|&member| counts[member] += 1);
            subset.sort_unstable();
            subset.dedup();
            assert_eq!(subset.len(), 4);
        }
        // 400 expected at each, with a deviation of 15.5.
        assert!(counts.iter().all(|count| count.abs_diff(400) < 65), "{counts:?}");
        let mut all = Draws::new(1, 0).without_replacement(10, 10);
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }
}

//! A random order of any length without a table.

use super::philox::{philox, words};

const ROUNDS: u32 = 6;

/// A pseudo-random permutation of 0, ..., len - 1 whose entries are computed one at a time.
///
/// A Feistel network (with Philox as its round function) permutes the smallest even power of two that holds `len`; an
/// entry that falls outside is sent through again until it falls inside (cycle walking), fewer than four times on
/// average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    key: [u32; 2],
}

impl Permutation {
    /// The order that `key` stands for, for instance the bits of a draw.
    pub fn new(len: u64, key: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Self { len, half_bits: bits.div_ceil(2), key: words(key) }
    }

    /// The number of entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry at `index`, which is taken modulo the length; 0 of an empty permutation.
    pub fn get(&self, index: u64) -> u64 {
        let Some(mut entry) = index.checked_rem(self.len) else { return 0 };
        loop {
            entry = self.network(entry);
            if entry < self.len {
                return entry;
            }
        }
    }

    fn network(&self, entry: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (entry >> self.half_bits, entry & mask);
        for round in 0..ROUNDS {
            let [mixed, ..] = philox([right as u32, round, 0, 0], self.key);
            (left, right) = (right, left ^ (u64::from(mixed) & mask));
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_entry_comes_once(len in 1u64..2000, key: u64) {
            let order = Permutation::new(len, key);
            let mut seen = vec![false; len as usize];
            for index in 0..len {
                let entry = order.get(index) as usize;
                prop_assert!(!std::mem::replace(&mut seen[entry], true));
            }
        }

        #[test]
        fn long_orders_stay_inside(len in 1u64.., key: u64, index: u64) {
            prop_assert!(Permutation::new(len, key).get(index) < len);
        }
    }

    /// All 24 orders of four things come about equally often.
    #[test]
    fn orders_are_even() {
        let mut counts = std::collections::HashMap::new();
        let n = 24_000;
        for key in 0..n {
            let order = Permutation::new(4, key);
            *counts.entry([0, 1, 2, 3].map(|index| order.get(index))).or_insert(0.0) += 1.0;
        }
        assert_eq!(counts.len(), 24);
        let chi_square: f64 = counts.values().map(|count: &f64| (count - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi_square < 60.0, "{chi_square}");
    }

    #[test]
    fn neighbours_are_uncorrelated() {
        let len = 60_000u64;
        let order = Permutation::new(len, 9);
        let centred: Vec<f64> = (0..len).map(|i| order.get(i) as f64 / len as f64 - 0.5).collect();
        let product: f64 = centred.windows(2).map(|w| w[0] * w[1]).sum::<f64>() * 12.0;
        assert!(product.abs() < 4.0 * (len as f64).sqrt(), "{product}");
    }
}

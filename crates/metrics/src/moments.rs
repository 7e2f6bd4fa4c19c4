//! Mean and covariance of a stream of feature vectors, in memory that does not grow with it.

use rayon::prelude::*;

use crate::scatter::{WIDTH, add_scatter, side, symmetric};
use crate::{Gaussian, MetricError};

/// Rows that are folded into the totals at once. With the row that the two means add they are 512: two passes of the
/// product; more would only save passes over the totals. Part of the result's last bits: changing it changes them.
const BLOCK: usize = 511;

/// Values of a panel: a block and the row that the means add.
const PANEL: usize = (BLOCK + 1) * WIDTH;

/// Values that one task checks; of no effect on the result.
const PIECE: usize = 1 << 14;

/// The running mean and covariance of feature vectors.
///
/// Rows are gathered into blocks of 511; a block is centred at its own mean and its scatter matrix is added to the
/// totals by the pairwise formula of Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm for computing
/// sample variances", 1979). So nothing cancels when the mean is large, rounding errors grow with `511 + n / 511`
/// instead of `n`, and the memory is that of one matrix `[d, d]` and two blocks.
///
/// The result is a function of the sequence of rows: neither the sizes of the batches in which they arrive nor the
/// number of threads change a bit of it. To feed several workers, cut the samples into shards that do not depend on
/// the number of workers, give every shard a `Moments` of its own, and [`merge`](Self::merge) them in the shards'
/// order: then it does not matter which worker took which shard, and when.
#[derive(Clone, Debug)]
pub struct Moments {
    dimension: usize,
    totals: Totals,
    /// Rows that wait for their block to be full, in panels of [`WIDTH`] columns, the last filled up with zeros; no memory
    /// before the first row.
    pending: Vec<f64>,
    /// How many they are, fewer than [`BLOCK`].
    waiting: usize,
}

/// Count, mean and the lower triangle of the scatter matrix `sum (x - mean) (x - mean)^T` of what has been folded; rows of
/// the triangle start [`side`] apart.
#[derive(Clone, Debug)]
struct Totals {
    count: u64,
    mean: Vec<f64>,
    scatter: Vec<f64>,
}

impl Moments {
    /// An empty stream of vectors with `dimension` values.
    pub fn new(dimension: usize) -> Self {
        let totals = Totals { count: 0, mean: vec![0.0; dimension], scatter: vec![0.0; side(dimension).pow(2)] };
        Self { dimension, totals, pending: Vec::new(), waiting: 0 }
    }

    /// The number of vectors so far.
    pub fn count(&self) -> u64 {
        self.totals.count + self.waiting as u64
    }

    /// The number of values of a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Adds rows `[n, d]`, any number of them.
    ///
    /// # Errors
    /// Values that are not whole rows, a NaN or an infinity; then nothing is added.
    pub fn push<T: Copy + Into<f64> + Sync>(&mut self, rows: &[T]) -> Result<(), MetricError> {
        if self.dimension == 0 || !rows.len().is_multiple_of(self.dimension) {
            let found = rows.len().checked_rem(self.dimension).unwrap_or(rows.len());
            return Err(MetricError::Size { what: "values of the last row", found, expected: self.dimension });
        }
        // In pieces that are looked at whole: a search that may end anywhere is several times slower.
        let finite = |piece: &[T]| piece.iter().fold(true, |finite, &value| finite & value.into().is_finite());
        if !rows.par_chunks(PIECE).all(finite)
            && let Some(at) = rows.iter().position(|&value| !value.into().is_finite())
        {
            let row = self.count() + (at / self.dimension) as u64;
            return Err(MetricError::NotFinite { what: "features", value: rows[at].into(), row });
        }
        self.pending.resize(side(self.dimension) / WIDTH * PANEL, 0.0);
        let mut rest = rows;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min((BLOCK - self.waiting) * self.dimension));
            let count = now.len() / self.dimension;
            let first = self.waiting;
            self.pending.par_chunks_exact_mut(PANEL).enumerate().for_each(|(panel, values)| {
                let columns = panel * WIDTH..self.dimension.min((panel + 1) * WIDTH);
                let targets = values.as_chunks_mut::<WIDTH>().0[first..].iter_mut();
                for (to, from) in targets.zip(now.chunks_exact(self.dimension)) {
                    to.iter_mut().zip(&from[columns.clone()]).for_each(|(to, &from)| *to = from.into());
                }
            });
            self.waiting += count;
            rest = later;
            if self.waiting == BLOCK {
                self.fold();
            }
        }
        Ok(())
    }

    /// Adds everything that `other` has seen, as if its blocks came after those of `self`.
    ///
    /// # Errors
    /// Another dimension.
    pub fn merge(&mut self, mut other: Self) -> Result<(), MetricError> {
        if other.dimension != self.dimension {
            return Err(MetricError::Size { what: "dimension", found: other.dimension, expected: self.dimension });
        }
        self.fold();
        other.fold();
        if other.totals.count == 0 {
            return Ok(());
        }
        let shift = self.totals.move_mean(other.totals.count, &other.totals.mean);
        let side = side(self.dimension);
        for (i, row) in self.totals.scatter.chunks_exact_mut(side).take(self.dimension).enumerate() {
            let from = &other.totals.scatter[i * side..];
            for j in 0..=i {
                row[j] += from[j] + shift[i] * shift[j];
            }
        }
        Ok(())
    }

    /// The Gaussian with this mean and the unbiased covariance (divided by `n - 1`).
    ///
    /// # Errors
    /// Fewer than two vectors.
    pub fn gaussian(&self) -> Result<Gaussian, MetricError> {
        if self.waiting == 0 {
            return self.totals.gaussian();
        }
        self.clone().into_gaussian()
    }

    /// As [`gaussian`](Self::gaussian), of a stream that has ended: without a copy of it.
    ///
    /// # Errors
    /// Fewer than two vectors.
    pub fn into_gaussian(mut self) -> Result<Gaussian, MetricError> {
        self.fold();
        self.totals.gaussian()
    }

    /// Takes the rows that wait into the totals.
    fn fold(&mut self) {
        let rows = std::mem::take(&mut self.waiting);
        if rows == 0 {
            return;
        }
        // Each panel less its mean.
        let means = self.pending.par_chunks_exact_mut(PANEL).map(|panel| {
            let values = &mut panel.as_chunks_mut::<WIDTH>().0[..rows];
            let mut mean = [0.0; WIDTH];
            values.iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value));
            mean.iter_mut().for_each(|sum| *sum /= rows as f64);
            values.iter_mut().for_each(|row| row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean));
            mean
        });
        let means: Vec<f64> = means.collect::<Vec<_>>().into_iter().flatten().take(self.dimension).collect();
        // The distance of the two means enters the scatter matrix like one row more.
        let shift = self.totals.move_mean(rows as u64, &means);
        let panels = self.pending.chunks_exact_mut(PANEL).zip(shift.chunks(WIDTH));
        panels.for_each(|(panel, shift)| panel[rows * WIDTH..][..shift.len()].copy_from_slice(shift));
        let panels: Vec<&[f64]> = self.pending.chunks_exact(PANEL).collect();
        add_scatter(&mut self.totals.scatter, &panels, rows + 1);
    }
}

impl Totals {
    /// The Gaussian of what has been folded.
    fn gaussian(&self) -> Result<Gaussian, MetricError> {
        if self.count < 2 {
            return Err(MetricError::TooFew { what: "covariance", count: self.count, least: 2 });
        }
        let covariance = symmetric(&self.scatter, self.mean.len(), (self.count - 1) as f64);
        Ok(Gaussian::from_moments(self.mean.clone(), covariance, self.count))
    }

    /// Counts `count` vectors with the given mean, and returns the vector whose outer product the scatter matrix
    /// gains because the two means differ.
    fn move_mean(&mut self, count: u64, mean: &[f64]) -> Vec<f64> {
        let (ours, theirs) = (self.count as f64, count as f64);
        let share = theirs / (ours + theirs);
        let weight = (ours * share).sqrt();
        self.count += count;
        let moved = self.mean.iter_mut().zip(mean).map(|(mean, &other)| {
            let delta = other - *mean;
            *mean += share * delta;
            weight * delta
        });
        moved.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream of numbers that needs no generator: fractions of multiples of an irrational, far from zero.
    fn rows(n: usize, d: usize) -> Vec<f64> {
        (0..n * d).map(|i| 1e3 + ((i + 1) as f64 * 0.618_033_988_749_894_9).fract() * (1.0 + (i % d) as f64)).collect()
    }

    /// The textbook's two passes.
    fn two_pass(rows: &[f64], d: usize) -> (Vec<f64>, Vec<f64>) {
        let n = (rows.len() / d) as f64;
        let mean: Vec<f64> = (0..d).map(|j| rows.iter().skip(j).step_by(d).sum::<f64>() / n).collect();
        let mut covariance = vec![0.0; d * d];
        for row in rows.chunks_exact(d) {
            for i in 0..d {
                for j in 0..d {
                    covariance[i * d + j] += (row[i] - mean[i]) * (row[j] - mean[j]) / (n - 1.0);
                }
            }
        }
        (mean, covariance)
    }

    #[test]
    fn equals_two_passes_over_the_data() {
        for (n, d) in [(2, 1), (510, 3), (511, 3), (512, 3), (1300, 70), (700, 130)] {
            let rows = rows(n, d);
            let mut moments = Moments::new(d);
            moments.push(&rows).unwrap();
            let gaussian = moments.gaussian().unwrap();
            let (mean, covariance) = two_pass(&rows, d);
            assert_eq!(gaussian.count(), Some(n as u64));
            assert_eq!(moments.into_gaussian().unwrap(), gaussian);
            let error = |a: &[f64], b: &[f64]| a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
            assert!(error(gaussian.mean(), &mean) < 1e-11, "mean of {n} x {d}");
            assert!(error(gaussian.covariance(), &covariance) < 1e-10 * d as f64, "covariance of {n} x {d}");
        }
    }

    #[test]
    fn a_large_offset_costs_no_digits() {
        // 1, 2, 3, 4 shifted by 2^30: variance 5/3, which n sum x^2 - (sum x)^2 would lose entirely.
        let mut moments = Moments::new(1);
        moments.push(&[1.0, 2.0, 3.0, 4.0].map(|x: f64| x + f64::from(1 << 30))).unwrap();
        assert!((moments.gaussian().unwrap().covariance()[0] - 5.0 / 3.0).abs() < 1e-14);
    }

    #[test]
    fn half_and_single_rows_are_refused_before_anything_is_added() {
        let mut moments = Moments::new(2);
        moments.push(&[1.0f32, 2.0]).unwrap();
        assert!(matches!(moments.gaussian(), Err(MetricError::TooFew { count: 1, .. })));
        assert!(matches!(moments.push(&[1.0]), Err(MetricError::Size { .. })));
        assert!(matches!(moments.push(&[1.0, 2.0, 3.0, f64::NAN]), Err(MetricError::NotFinite { row: 2, .. })));
        assert_eq!(moments.count(), 1);
        assert!(matches!(moments.merge(Moments::new(3)), Err(MetricError::Size { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Batches of any size, any number of threads: the same bits.
        #[test]
        fn batch_sizes_and_threads_change_no_bit(batches in prop::collection::vec(1usize..700, 1..6), threads in 1usize..4) {
            let d = 150;
            let rows = rows(batches.iter().sum(), d);
            let mut whole = Moments::new(d);
            whole.push(&rows).unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut parts = Moments::new(d);
            pool.install(|| {
                let mut rest = &rows[..];
                for batch in &batches {
                    let (now, later) = rest.split_at(batch * d);
                    parts.push(now).unwrap();
                    rest = later;
                }
            });
            if whole.count() > 1 {
                prop_assert_eq!(whole.gaussian().unwrap(), parts.gaussian().unwrap());
            }
        }

        /// Shards merged in order give what one stream gives, up to rounding.
        #[test]
        fn shards_give_the_whole(sizes in prop::collection::vec(0usize..600, 2..5)) {
            let d = 3;
            let total: usize = sizes.iter().sum();
            prop_assume!(total > 1);
            let rows = rows(total, d);
            let mut whole = Moments::new(d);
            whole.push(&rows).unwrap();
            let mut merged = Moments::new(d);
            let mut rest = &rows[..];
            for size in sizes {
                let (now, later) = rest.split_at(size * d);
                let mut shard = Moments::new(d);
                shard.push(now).unwrap();
                merged.merge(shard).unwrap();
                rest = later;
            }
            prop_assert_eq!(merged.count(), whole.count());
            let (merged, whole) = (merged.gaussian().unwrap(), whole.gaussian().unwrap());
            for (a, b) in merged.covariance().iter().zip(whole.covariance()) {
                prop_assert!((a - b).abs() < 1e-11, "{a} and {b}");
            }
        }
    }
}

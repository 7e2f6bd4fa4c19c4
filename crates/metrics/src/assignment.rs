//! The cheapest one-to-one assignment, and with it the exact Wasserstein distance of small point sets.

use crate::{MetricError, Points};

/// For each row of `costs` `[n, n]`, row-major, its column in an assignment of the least total cost.
///
/// Shortest augmenting paths with prices of rows and columns (the Hungarian method in the form of Jonker and Volgenant
/// 1987, without its heuristic start): exact, in at most about `n^3` steps. Costs may be negative. Of several equally
/// cheap assignments it is always the same one.
///
/// # Errors
/// Another number of costs than `n^2`, a NaN or an infinity.
pub fn assignment(costs: &[f64], n: usize) -> Result<Vec<usize>, MetricError> {
    if costs.len() != n * n {
        return Err(MetricError::Size { what: "costs", found: costs.len(), expected: n * n });
    }
    if let Some(at) = costs.iter().position(|cost| !cost.is_finite()) {
        return Err(MetricError::NotFinite { what: "costs", value: costs[at], row: (at / n) as u64 });
    }
    // A row's and a column's prices never exceed the cost of the two together, and are equal to it where assigned.
    let (mut row_prices, mut column_prices) = (vec![0.0; n], vec![0.0; n]);
    let mut owner: Vec<Option<usize>> = vec![None; n];
    let mut assigned = vec![n; n];
    let mut path = Path::new(n);
    for start in 0..n {
        let mut column = path.search(start, costs, &mut row_prices, &mut column_prices, &owner);
        // Every row on the way moves one column on.
        loop {
            let row = path.from[column];
            owner[column] = Some(row);
            let before = std::mem::replace(&mut assigned[row], column);
            if row == start {
                break;
            }
            column = before;
        }
    }
    Ok(assigned)
}

/// The search for the cheapest way to give one more row a column.
struct Path {
    /// By column: what it costs, above the prices, to reach it.
    distances: Vec<f64>,
    /// By column: the row that it is reached from.
    from: Vec<usize>,
    /// Columns whose distance is final, in the order in which it became so, ...
    done: Vec<usize>,
    /// ... and the others.
    open: Vec<usize>,
}

impl Path {
    fn new(n: usize) -> Self {
        Self { distances: vec![0.0; n], from: vec![0; n], done: Vec::with_capacity(n), open: Vec::with_capacity(n) }
    }

    /// Dijkstra's algorithm from `start` to the nearest column without an owner, which is returned; moves the prices.
    fn search(
        &mut self,
        start: usize,
        costs: &[f64],
        row_prices: &mut [f64],
        column_prices: &mut [f64],
        owner: &[Option<usize>],
    ) -> usize {
        let n = owner.len();
        self.distances.fill(f64::INFINITY);
        self.done.clear();
        self.open.clear();
        self.open.extend(0..n);
        // The row's price begins where its cheapest column's is paid: costs above the prices are never negative.
        let own = costs[start * n..][..n].iter().zip(&*column_prices).map(|(cost, price)| cost - price);
        row_prices[start] = own.fold(f64::INFINITY, f64::min);
        let (mut row, mut reached) = (start, 0.0);
        let end = loop {
            let (costs, price) = (&costs[row * n..][..n], row_prices[row]);
            let mut nearest = (0, f64::INFINITY);
            for (place, &column) in self.open.iter().enumerate() {
                // Rounding may leave less than nothing.
                let distance = reached + (costs[column] - price - column_prices[column]).max(0.0);
                if distance < self.distances[column] {
                    self.distances[column] = distance;
                    self.from[column] = row;
                }
                if self.distances[column] < nearest.1 {
                    nearest = (place, self.distances[column]);
                }
            }
            let column = self.open.swap_remove(nearest.0);
            self.done.push(column);
            reached = nearest.1;
            match owner[column] {
                Some(next) => row = next,
                None => break column,
            }
        };
        row_prices[start] += reached;
        for &column in &self.done {
            let change = reached - self.distances[column];
            column_prices[column] -= change;
            if let Some(row) = owner[column] {
                row_prices[row] += change;
            }
        }
        end
    }
}

/// The Wasserstein distance `W_p` of two equally large point sets `[n, d]` with equal weights, exactly: the `p`-th root
/// of the mean of `|x - y|^p` over the cheapest one-to-one assignment, which is a best transport (Birkhoff 1946).
///
/// For small sets: it holds `n^2` costs and takes up to about `n^3` steps, seconds at 2000 points. Where the points are
/// samples of distributions, the distance is too large on average, by about `n^(-1/d)`.
///
/// # Errors
/// Different dimensions or numbers of points, `order` 0.
pub fn exact_wasserstein(a: Points<'_>, b: Points<'_>, order: u32) -> Result<f64, MetricError> {
    a.same_dimension(&b)?;
    if a.len() != b.len() {
        return Err(MetricError::Size { what: "points of the second set", found: b.len(), expected: a.len() });
    }
    if order == 0 {
        return Err(MetricError::Range { what: "the order", value: 0.0, range: "at least 1" });
    }
    let n = a.len();
    // From differences: products of long vectors would lose the digits of short distances.
    let cost = |x: &[f64], y: &[f64]| {
        let squared: f64 = x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum();
        if order == 2 { squared } else { squared.sqrt().powi(order.cast_signed()) }
    };
    let costs: Vec<f64> = a.rows().flat_map(|x| b.rows().map(move |y| cost(x, y))).collect();
    let assigned = assignment(&costs, n)?;
    let total: f64 = assigned.iter().enumerate().map(|(row, column)| costs[row * n + column]).sum();
    Ok((total / n as f64).powf(f64::from(order).recip()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wasserstein_1d;

    fn total(costs: &[f64], assigned: &[usize]) -> f64 {
        assigned.iter().enumerate().map(|(row, column)| costs[row * assigned.len() + column]).sum()
    }

    /// The least total over all orders of the columns from `row` on.
    fn brute_force(costs: &[f64], n: usize, row: usize, used: &mut [bool]) -> f64 {
        if row == n {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for column in 0..n {
            if !used[column] {
                used[column] = true;
                best = best.min(costs[row * n + column] + brute_force(costs, n, row + 1, used));
                used[column] = false;
            }
        }
        best
    }

    #[test]
    fn three_by_hand() {
        let assigned = assignment(&[4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0], 3).unwrap();
        assert_eq!(assigned, [1, 0, 2]);
        assert_eq!(assignment(&[], 0).unwrap(), [0usize; 0]);
        assert!(assignment(&[1.0, 2.0], 2).is_err() && assignment(&[f64::NAN], 1).is_err());
    }

    #[test]
    fn a_square_turned_by_hand() {
        // The corners of a square and those of the same square shifted by (3, 4): everyone moves by 5.
        let a = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        let b = [4.0, 5.0, 3.0, 5.0, 4.0, 4.0, 3.0, 4.0];
        let (a, b) = (Points::new(&a, 2).unwrap(), Points::new(&b, 2).unwrap());
        assert!((exact_wasserstein(a, b, 2).unwrap() - 5.0).abs() < 1e-14);
        assert!((exact_wasserstein(a, b, 1).unwrap() - 5.0).abs() < 1e-14);
        assert!(exact_wasserstein(a, b, 0).is_err());
        assert!(exact_wasserstein(a, Points::new(&[0.0, 0.0], 2).unwrap(), 2).is_err());
    }

    /// Of n points on a line and many more: as the monotone transport.
    #[test]
    fn a_long_line_is_monotone() {
        let line = |step: f64| (0..300).map(|i| (f64::from(i) * step).sin() * 3.0).collect::<Vec<_>>();
        let (a, b) = (line(0.7), line(1.1));
        for order in 1..4 {
            let exact = exact_wasserstein(Points::new(&a, 1).unwrap(), Points::new(&b, 1).unwrap(), order).unwrap();
            assert!((exact - wasserstein_1d(&a, &b, order).unwrap()).abs() < 1e-12);
        }
    }

    proptest! {
        /// As cheap as the cheapest of all orders; small whole costs make many ties.
        #[test]
        fn nothing_is_cheaper(n in 1usize..7, seed in 0u64..1000, whole in any::<bool>()) {
            let draws = crate::draws::Draws::new(seed, 0);
            let cost = |i| if whole { draws.below(i, 4) as f64 } else { draws.normal(i) };
            let costs: Vec<f64> = (0..(n * n) as u64).map(cost).collect();
            let assigned = assignment(&costs, n).unwrap();
            let mut sorted = assigned.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..n).collect::<Vec<_>>());
            let least = brute_force(&costs, n, 0, &mut vec![false; n]);
            prop_assert!((total(&costs, &assigned) - least).abs() < 1e-12);
        }
    }
}

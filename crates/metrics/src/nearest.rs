//! Classes by nearest neighbours: what a representation knows without being trained on.

use serde::Serialize;

use crate::products::{by_row, squared_lengths};
use crate::{MetricError, Points, Proportion};

/// What makes two feature vectors near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Nearness {
    /// A small `|x - y|`.
    Euclidean,
    /// A large `<x, y> / (|x| |y|)`; a vector of length 0 has a cosine of 0 with every other.
    Cosine,
}

/// Classification by the majority of the `k` nearest of labelled points (Fix and Hodges 1951; as a probe of
/// representations: Wu et al. 2018, section 3.4, there with weights).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NearestNeighbors {
    /// The number of neighbours that vote, at least 1.
    pub k: usize,
    /// Which points are the nearest.
    pub nearness: Nearness,
}

impl NearestNeighbors {
    /// The class of each query `[m, d]`, from points `[n, d]` with `labels` `[n]`.
    ///
    /// Of classes with equally many votes the one wins that has the nearest voter; of equally near points the first
    /// ones vote.
    ///
    /// # Errors
    /// Different dimensions, another number of labels than points, `k` 0 or more than the points.
    pub fn classify(&self, points: Points<'_>, labels: &[u32], queries: Points<'_>) -> Result<Vec<u32>, MetricError> {
        points.same_dimension(&queries)?;
        if labels.len() != points.len() {
            return Err(MetricError::Size { what: "labels", found: labels.len(), expected: points.len() });
        }
        if self.k == 0 {
            return Err(MetricError::Range { what: "the number of neighbours", value: 0.0, range: "at least 1" });
        }
        if points.len() < self.k {
            return Err(MetricError::TooFew { what: "points", count: points.len() as u64, least: self.k as u64 });
        }
        let squares = squared_lengths(points);
        // Smaller is nearer; what is the same for all points of a query is left out.
        let distance = |product: f64, square: f64| match self.nearness {
            Nearness::Euclidean => square - 2.0 * product,
            Nearness::Cosine if square == 0.0 => 0.0,
            // From 0, so that no two zeros differ in their sign.
            Nearness::Cosine => 0.0 - product / square.sqrt(),
        };
        Ok(by_row(queries, points, |_, products| {
            let distances: Vec<f64> = products.iter().zip(&squares).map(|(&p, &square)| distance(p, square)).collect();
            let mut order: Vec<usize> = (0..distances.len()).collect();
            let nearer = |a: &usize, b: &usize| distances[*a].total_cmp(&distances[*b]).then(a.cmp(b));
            order.select_nth_unstable_by(self.k - 1, nearer);
            order.truncate(self.k);
            order.sort_unstable_by(nearer);
            majority(order.into_iter().map(|index| labels[index]))
        }))
    }

    /// How many queries `[m, d]` get the class that `expected` `[m]` says.
    ///
    /// # Errors
    /// Those of [`classify`](Self::classify), another number of expected classes than queries.
    pub fn accuracy(
        &self,
        points: Points<'_>,
        labels: &[u32],
        queries: Points<'_>,
        expected: &[u32],
    ) -> Result<Proportion, MetricError> {
        if expected.len() != queries.len() {
            return Err(MetricError::Size { what: "expected classes", found: expected.len(), expected: queries.len() });
        }
        let found = self.classify(points, labels, queries)?;
        Ok(agreement(&found, expected))
    }
}

/// How many of two equally long lists of classes are the same.
pub(crate) fn agreement(found: &[u32], expected: &[u32]) -> Proportion {
    let same = found.iter().zip(expected).filter(|(found, expected)| found == expected).count();
    Proportion { successes: same as u64, total: expected.len() as u64 }
}

/// The most frequent of at least one class; of several, the one that comes first.
fn majority(voters: impl Iterator<Item = u32>) -> u32 {
    let mut votes: Vec<(u32, usize)> = Vec::new();
    for class in voters {
        match votes.iter_mut().find(|(other, _)| *other == class) {
            Some((_, count)) => *count += 1,
            None => votes.push((class, 1)),
        }
    }
    let first_of_most = |best: (u32, usize), next: (u32, usize)| if next.1 > best.1 { next } else { best };
    votes.into_iter().fold((0, 0), first_of_most).0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: [f64; 5] = [0.0, 1.0, 2.0, 10.0, 11.0];
    const LABELS: [u32; 5] = [7, 3, 3, 5, 5];

    fn classify(k: usize, queries: &[f64]) -> Vec<u32> {
        let classifier = NearestNeighbors { k, nearness: Nearness::Euclidean };
        classifier.classify(Points::new(&LINE, 1).unwrap(), &LABELS, Points::new(queries, 1).unwrap()).unwrap()
    }

    #[test]
    fn a_line_by_hand() {
        assert_eq!(classify(1, &[-5.0, 0.9, 7.0, 10.5]), [7, 3, 5, 5]);
        // 0, 1, 2 vote; then 0 and 1, of which 0 is nearer; at 0.5 both are as near, and the first one counts.
        assert_eq!(classify(3, &[0.0]), [3]);
        assert_eq!(classify(2, &[0.2, 0.8, 0.5]), [7, 3, 7]);
        // Everyone votes: 3 and 5 twice each, the nearer one wins.
        assert_eq!(classify(5, &[0.0, 20.0]), [3, 5]);
    }

    #[test]
    fn cosine_sees_directions_only() {
        let points = [1.0, 0.0, 0.0, 100.0, 0.0, 0.0];
        let points = Points::new(&points, 2).unwrap();
        let queries = [50.0, 1.0, 0.001, 0.002, -1.0, -1.0];
        let of = |nearness| {
            let classifier = NearestNeighbors { k: 1, nearness };
            classifier.classify(points, &[0, 1, 2], Points::new(&queries, 2).unwrap()).unwrap()
        };
        assert_eq!(of(Nearness::Cosine), [0, 1, 2]);
        assert_eq!(of(Nearness::Euclidean), [0, 2, 2]);
    }

    #[test]
    fn separate_clusters_are_told_apart() {
        let draws = crate::draws::Draws::new(1, 0);
        let cluster = |i: u64, axis: u64| if i % 3 == axis { 10.0 } else { 0.0 } + draws.normal(i * 3 + axis);
        let values: Vec<f64> = (0..300).flat_map(|i| (0..3).map(move |axis| cluster(i, axis))).collect();
        let labels: Vec<u32> = (0..300).map(|i| i % 3).collect();
        let (points, queries) = (Points::new(&values[..600], 3).unwrap(), Points::new(&values[600..], 3).unwrap());
        for nearness in [Nearness::Euclidean, Nearness::Cosine] {
            let classifier = NearestNeighbors { k: 5, nearness };
            let accuracy = classifier.accuracy(points, &labels[..200], queries, &labels[200..]).unwrap();
            assert_eq!(accuracy, Proportion { successes: 100, total: 100 });
            assert!(accuracy.wilson(0.95).unwrap().lower > 0.96);
        }
    }

    #[test]
    fn voters_must_be_there() {
        let points = Points::new(&LINE, 1).unwrap();
        let of = |k, labels: &[u32]| {
            NearestNeighbors { k, nearness: Nearness::Euclidean }.classify(points, labels, points).is_err()
        };
        assert!(of(0, &LABELS) && of(6, &LABELS) && of(1, &LABELS[1..]) && !of(5, &LABELS));
        let classifier = NearestNeighbors { k: 1, nearness: Nearness::Euclidean };
        assert!(classifier.accuracy(points, &LABELS, points, &[1]).is_err());
    }
}

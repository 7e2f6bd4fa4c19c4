//! A linear probe: multinomial logistic regression on fixed features.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;
use serde::Serialize;

use crate::minimize::{Limits, minimize};
use crate::nearest::agreement;
use crate::products::{by_row, panels};
use crate::{MetricError, Points, Proportion};

/// Rows that one task classifies; part of the result's last bits.
const ROWS: usize = 256;

/// Columns of the gradient that one task makes; of no effect on the result.
const COLUMNS: usize = 64;

/// How a [`LinearProbe`] is fitted: the mean cross-entropy and `l2 / 2` times the squared length of the weights (not of
/// the biases), of features that are shifted and scaled to mean 0 and deviation 1, by L-BFGS from zeros.
///
/// The loss is convex and its minimum, with `l2` more than 0, is one point: the result depends on the data alone, on no
/// seed and no learning rate, and not on the features' units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProbeFit {
    /// The weight of the penalty, at least 0. Of 0, separable classes have no minimum, and `iterations` ends the fit.
    pub l2: f64,
    /// The most steps.
    pub iterations: usize,
    /// The fit ends where no derivative of the loss is larger.
    pub tolerance: f64,
}

impl Default for ProbeFit {
    fn default() -> Self {
        Self { l2: 1e-3, iterations: 500, tolerance: 1e-6 }
    }
}

/// A linear classifier of features (Alain and Bengio 2016, "Understanding intermediate layers using linear classifier
/// probes").
#[derive(Clone, Debug, PartialEq)]
pub struct LinearProbe {
    /// `[classes, d]`, row-major.
    weights: Vec<f64>,
    /// `[classes]`.
    biases: Vec<f64>,
    loss: f64,
    converged: bool,
}

impl ProbeFit {
    /// Fits a probe to points `[n, d]` with `labels` `[n]` in `0..classes`.
    ///
    /// Memory is a copy of the points and two numbers for each point and class.
    ///
    /// # Errors
    /// Another number of labels than points, a label that is no class, fewer than two classes, a negative `l2`.
    pub fn fit(&self, points: Points<'_>, labels: &[u32], classes: usize) -> Result<LinearProbe, MetricError> {
        if labels.len() != points.len() {
            return Err(MetricError::Size { what: "labels", found: labels.len(), expected: points.len() });
        }
        if classes < 2 {
            return Err(MetricError::TooFew { what: "classes", count: classes as u64, least: 2 });
        }
        if let Some(&label) = labels.iter().find(|&&label| label as usize >= classes) {
            let value = f64::from(label);
            return Err(MetricError::Range { what: "a class", value, range: "below the number of classes" });
        }
        if !(self.l2 >= 0.0 && self.l2.is_finite()) {
            return Err(MetricError::Range { what: "the penalty", value: self.l2, range: "at least 0" });
        }
        let d = points.dimension();
        let Standardized { features, shift, scale } = Standardized::of(points);
        let features = MatRef::from_column_major_slice(&features, points.len(), d);
        let problem = Problem { features, labels, classes, l2: self.l2 };
        let limits = Limits { iterations: self.iterations, tolerance: self.tolerance };
        let found = minimize(vec![0.0; classes * (d + 1)], limits, |parameters| problem.loss(parameters));
        // Back to the features as they came.
        let (weights, biases) = found.place.split_at(classes * d);
        let (mut weights, mut biases) = (weights.to_vec(), biases.to_vec());
        for (weights, bias) in weights.chunks_exact_mut(d).zip(&mut biases) {
            for ((weight, shift), scale) in weights.iter_mut().zip(&shift).zip(&scale) {
                *weight *= scale;
                *bias -= *weight * shift;
            }
        }
        Ok(LinearProbe { weights, biases, loss: found.value, converged: found.converged })
    }
}

impl LinearProbe {
    /// The class with the largest logit for each point `[n, d]`; of equal ones the first.
    ///
    /// # Errors
    /// Another dimension.
    pub fn classify(&self, points: Points<'_>) -> Result<Vec<u32>, MetricError> {
        let classes = Points::new(&self.weights, self.weights.len() / self.biases.len())?;
        classes.same_dimension(&points)?;
        Ok(by_row(points, classes, |_, products| {
            let mut best = (0, f64::NEG_INFINITY);
            for (class, (product, bias)) in products.iter().zip(&self.biases).enumerate() {
                if product + bias > best.1 {
                    best = (class as u32, product + bias);
                }
            }
            best.0
        }))
    }

    /// How many points `[n, d]` get the class that `labels` `[n]` says.
    ///
    /// # Errors
    /// Another dimension, another number of labels than points.
    pub fn accuracy(&self, points: Points<'_>, labels: &[u32]) -> Result<Proportion, MetricError> {
        if labels.len() != points.len() {
            return Err(MetricError::Size { what: "labels", found: labels.len(), expected: points.len() });
        }
        Ok(agreement(&self.classify(points)?, labels))
    }

    /// The weights `[classes, d]`, row-major, for features as they came.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The biases `[classes]`.
    pub fn biases(&self) -> &[f64] {
        &self.biases
    }

    /// The loss that the fit reached, penalty included.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Whether the fit ended because all derivatives were small, and not because its steps were used up.
    pub fn converged(&self) -> bool {
        self.converged
    }
}

/// Features of mean 0 and deviation 1: `(x - shift) * scale`.
struct Standardized {
    /// `[n, d]`, by columns.
    features: Vec<f64>,
    shift: Vec<f64>,
    scale: Vec<f64>,
}

impl Standardized {
    fn of(points: Points<'_>) -> Self {
        let (n, d) = (points.len(), points.dimension());
        let mut features = vec![0.0; n * d];
        MatMut::from_column_major_slice_mut(&mut features, n, d).copy_from(MatRef::from_row_major_slice(
            points.values(),
            n,
            d,
        ));
        let columns = features.par_chunks_mut(n).map(|column| {
            let mean = column.iter().sum::<f64>() / n as f64;
            let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            // What never varies says nothing, and must not divide by what rounding leaves.
            let scale = if variance.sqrt() > 1e-12 * mean.abs() { variance.sqrt().recip() } else { 0.0 };
            column.iter_mut().for_each(|x| *x = (*x - mean) * scale);
            (mean, scale)
        });
        let (shift, scale) = columns.collect::<Vec<_>>().into_iter().unzip();
        Self { features, shift, scale }
    }
}

/// The loss of a probe's weights `[classes, d]` and biases `[classes]`.
struct Problem<'a> {
    features: MatRef<'a, f64>,
    labels: &'a [u32],
    classes: usize,
    l2: f64,
}

impl Problem<'_> {
    /// The loss and its derivatives.
    fn loss(&self, parameters: &[f64]) -> (f64, Vec<f64>) {
        let (n, d) = self.features.shape();
        let (weights, biases) = parameters.split_at(self.classes * d);
        let blocks: Vec<(f64, Mat<f64>)> = (0..n)
            .step_by(ROWS)
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|first| self.block(first, weights, biases))
            .collect();

        let mut gradient = vec![0.0; parameters.len()];
        let (of_weights, of_biases) = gradient.split_at_mut(self.classes * d);
        let target = MatMut::from_row_major_slice_mut(of_weights, self.classes, d);
        panels(target, COLUMNS).into_par_iter().for_each(|(left, mut target)| {
            for (index, (_, residuals)) in blocks.iter().enumerate() {
                let features = self.features.subrows(index * ROWS, residuals.ncols()).subcols(left, target.ncols());
                matmul(target.as_mut(), Accum::Add, residuals, features, 1.0, Par::Seq);
            }
        });
        of_weights.iter_mut().zip(weights).for_each(|(gradient, weight)| *gradient += self.l2 * weight);
        for (class, gradient) in of_biases.iter_mut().enumerate() {
            *gradient = blocks.iter().map(|(_, residuals)| residuals.row(class).iter().sum::<f64>()).sum();
        }
        let penalty = 0.5 * self.l2 * weights.iter().map(|weight| weight * weight).sum::<f64>();
        (blocks.iter().map(|(loss, _)| loss).sum::<f64>() + penalty, gradient)
    }

    /// The share of the cross-entropy of rows from `first` on, and by class and row what a logit changes it by.
    fn block(&self, first: usize, weights: &[f64], biases: &[f64]) -> (f64, Mat<f64>) {
        let (n, d) = self.features.shape();
        let rows = self.features.subrows(first, ROWS.min(n - first));
        let weights = MatRef::from_row_major_slice(weights, self.classes, d);
        let mut logits = Mat::from_fn(self.classes, rows.nrows(), |class, _| biases[class]);
        matmul(logits.as_mut(), Accum::Add, weights, rows.transpose(), 1.0, Par::Seq);
        let mut loss = 0.0;
        for (i, label) in self.labels[first..].iter().take(rows.nrows()).enumerate() {
            let logits = logits.col_as_slice_mut(i);
            let label = *label as usize;
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let normalizer = logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln() + largest;
            loss += (normalizer - logits[label]) / n as f64;
            logits.iter_mut().for_each(|logit| *logit = (*logit - normalizer).exp() / n as f64);
            logits[label] -= 1.0 / n as f64;
        }
        (loss, logits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;

    /// Clusters around the axes, with labels.
    fn clusters(n: usize, d: usize, distance: f64) -> (Vec<f64>, Vec<u32>) {
        let draws = Draws::new(4, 0);
        let labels: Vec<u32> = (0..n).map(|i| (i % d) as u32).collect();
        let value = |i: usize, axis: usize| {
            100.0 + if i % d == axis { distance } else { 0.0 } + draws.normal((i * d + axis) as u64)
        };
        ((0..n).flat_map(|i| (0..d).map(move |axis| value(i, axis))).collect(), labels)
    }

    #[test]
    fn separate_clusters_are_told_apart() {
        let (values, labels) = clusters(900, 4, 12.0);
        let (points, others) = (Points::new(&values[..2400], 4).unwrap(), Points::new(&values[2400..], 4).unwrap());
        let probe = ProbeFit::default().fit(points, &labels[..600], 4).unwrap();
        assert!(probe.converged() && probe.loss() < 0.05, "{}", probe.loss());
        let accuracy = probe.accuracy(others, &labels[600..]).unwrap();
        assert_eq!(accuracy, Proportion { successes: 300, total: 300 });
        assert!(accuracy.wilson(0.95).unwrap().lower > 0.98);
    }

    /// One feature that is 1 or -1: with p of the right sign, the logits differ by `ln(p / (1 - p))` without a penalty.
    #[test]
    fn one_feature_has_its_log_odds() {
        let values: Vec<f64> = (0..10).map(|i| if i < 5 { 1.0 } else { -1.0 }).collect();
        let labels = [1, 1, 1, 1, 0, 0, 0, 0, 0, 1];
        let fit = ProbeFit { l2: 0.0, tolerance: 1e-11, ..ProbeFit::default() };
        let probe = fit.fit(Points::new(&values, 1).unwrap(), &labels, 2).unwrap();
        let odds = (probe.weights()[1] - probe.weights()[0]) + (probe.biases()[1] - probe.biases()[0]);
        assert!(probe.converged() && (odds - 4.0f64.ln()).abs() < 1e-8, "{odds}");
        let entropy = -0.8 * 0.8f64.ln() - 0.2 * 0.2f64.ln();
        assert!((probe.loss() - entropy).abs() < 1e-12);
        assert_eq!(probe.accuracy(Points::new(&values, 1).unwrap(), &labels).unwrap().successes, 8);
    }

    #[test]
    fn the_derivatives_are_those_of_the_loss() {
        let (values, labels) = clusters(40, 3, 1.0);
        let features = Standardized::of(Points::new(&values, 3).unwrap()).features;
        let features = MatRef::from_column_major_slice(&features, 40, 3);
        let problem = Problem { features, labels: &labels, classes: 3, l2: 0.3 };
        let place: Vec<f64> = (0..12).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let (_, gradient) = problem.loss(&place);
        for (index, derivative) in gradient.iter().enumerate() {
            let at = |step: f64| {
                let mut place = place.clone();
                place[index] += step;
                problem.loss(&place).0
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((difference - derivative).abs() < 1e-9, "{index}: {derivative} and {difference}");
        }
    }

    /// Neither units nor a feature that never varies nor the number of threads matter.
    #[test]
    fn the_fit_depends_on_what_the_features_say() {
        let (values, labels) = clusters(600, 3, 2.0);
        let wide: Vec<f64> = values.chunks(3).flat_map(|p| [p[0] * 1e3, 7.0, p[1] - 50.0, p[2] * 1e-3]).collect();
        let (points, wide) = (Points::new(&values, 3).unwrap(), Points::new(&wide, 4).unwrap());
        let plain = ProbeFit::default().fit(points, &labels, 3).unwrap();
        let scaled = ProbeFit::default().fit(wide, &labels, 3).unwrap();
        assert!((plain.loss() - scaled.loss()).abs() < 1e-9);
        assert_eq!(plain.classify(points).unwrap(), scaled.classify(wide).unwrap());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(|| ProbeFit::default().fit(points, &labels, 3).unwrap()), plain);
    }

    #[test]
    fn labels_must_be_classes() {
        let points = Points::new(&[0.0, 1.0, 2.0], 1).unwrap();
        let fit = ProbeFit::default();
        assert!(fit.fit(points, &[0, 1], 2).is_err() && fit.fit(points, &[0, 1, 2], 2).is_err());
        assert!(fit.fit(points, &[0, 0, 0], 1).is_err());
        assert!(ProbeFit { l2: -1.0, ..fit }.fit(points, &[0, 1, 1], 2).is_err());
        let probe = fit.fit(points, &[0, 1, 1], 2).unwrap();
        assert!(probe.classify(Points::new(&[0.0, 1.0], 2).unwrap()).is_err());
        assert!(probe.accuracy(points, &[0]).is_err());
    }
}

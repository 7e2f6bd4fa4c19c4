//! A mixture of Gaussians under noise, whose denoiser is exact.
//!
//! Where the data are a mixture, so is every noisy marginal of a path, and its score and all conditional means have
//! closed forms. Solvers are measured against it: whatever error a sample has is the solver's own.

use crate::random::Draws;
use crate::{Path, PathPoint, Prediction};

/// `x0 ~ sum_k weights_k N(means_k, diag variances_k)` in `d` dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    variances: Vec<Vec<f64>>,
}

/// What is exactly known of one noisy state.
#[derive(Clone, Debug, PartialEq)]
pub struct Denoised {
    /// Log density of the noisy state.
    pub log_density: f64,
    /// Its gradient, the score.
    pub score: Vec<f64>,
    /// `E[x0 | x]`.
    pub data: Vec<f64>,
    /// `E[eps | x]`.
    pub noise: Vec<f64>,
}

/// A mixture that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a mixture needs positive weights, and as many means and positive variances of one dimension")]
pub struct NotAMixture;

impl Mixture {
    /// A mixture of components of the given weights (made to sum to 1), means and variances.
    ///
    /// # Errors
    /// When there is no component, or lengths differ, or a weight or variance is not positive.
    pub fn new(weights: Vec<f64>, means: Vec<Vec<f64>>, variances: Vec<Vec<f64>>) -> Result<Self, NotAMixture> {
        let dimension = means.first().map_or(0, Vec::len);
        let positive = |values: &[f64]| values.iter().all(|value| *value > 0.0 && value.is_finite());
        let shaped = |rows: &[Vec<f64>]| rows.len() == weights.len() && rows.iter().all(|row| row.len() == dimension);
        let proper = dimension > 0 && positive(&weights) && variances.iter().all(|row| positive(row));
        if !(proper && shaped(&means) && shaped(&variances)) {
            return Err(NotAMixture);
        }
        let total: f64 = weights.iter().sum();
        Ok(Self { weights: weights.into_iter().map(|weight| weight / total).collect(), means, variances })
    }

    /// Three unequal bumps on the line, the density on which orders of convergence are measured.
    pub fn three_bumps() -> Self {
        Self {
            weights: vec![0.3, 0.45, 0.25],
            means: [-1.2, 0.4, 1.5].map(|mean| vec![mean]).to_vec(),
            variances: [0.25, 0.35, 0.2].map(|deviation| vec![deviation * deviation]).to_vec(),
        }
    }

    /// The number of dimensions.
    pub fn dimension(&self) -> usize {
        self.means.first().map_or(0, Vec::len)
    }

    /// Mean of the data, `[d]`.
    pub fn mean(&self) -> Vec<f64> {
        self.average(|component, i| self.means[component][i])
    }

    /// Variance of the data in each dimension, `[d]`.
    pub fn variance(&self) -> Vec<f64> {
        let mean = self.mean();
        self.average(|component, i| self.variances[component][i] + (self.means[component][i] - mean[i]).powi(2))
    }

    fn average(&self, of: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let over = |i| self.weights.iter().enumerate().map(|(k, weight)| weight * of(k, i)).sum();
        (0..self.dimension()).map(over).collect()
    }

    /// One draw from the data, `[d]`: a function of `draws`.
    pub fn sample(&self, draws: &Draws) -> Vec<f64> {
        let mut left = draws.uniform(0);
        let chosen = self.weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        let component = chosen.unwrap_or(self.weights.len() - 1);
        let mut sample = vec![0.0; self.dimension()];
        draws.fill_normal_f64(&mut sample);
        for (i, value) in sample.iter_mut().enumerate() {
            *value = self.means[component][i] + self.variances[component][i].sqrt() * *value;
        }
        sample
    }

    /// What is known of the state `x = alpha x0 + sigma eps`, `[d]`. Exact at both ends: nothing is divided by alpha or
    /// sigma.
    pub fn denoise(&self, x: &[f64], alpha: f64, sigma: f64) -> Denoised {
        let noisy_variance = |variance: f64| alpha * alpha * variance + sigma * sigma;
        // ln of weight times density, for each component.
        let logs: Vec<f64> = (0..self.weights.len())
            .map(|k| {
                let terms = x.iter().zip(&self.means[k]).zip(&self.variances[k]).map(|((x, mean), variance)| {
                    let noisy = noisy_variance(*variance);
                    (x - alpha * mean).powi(2) / noisy + (std::f64::consts::TAU * noisy).ln()
                });
                self.weights[k].ln() - 0.5 * terms.sum::<f64>()
            })
            .collect();
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_density = largest + logs.iter().map(|log| (log - largest).exp()).sum::<f64>().ln();
        let mut score = vec![0.0; x.len()];
        let mut data = vec![0.0; x.len()];
        for (k, log) in logs.iter().enumerate() {
            let responsibility = (log - log_density).exp();
            for i in 0..x.len() {
                let (mean, variance) = (self.means[k][i], self.variances[k][i]);
                let pull = (x[i] - alpha * mean) / noisy_variance(variance);
                score[i] -= responsibility * pull;
                data[i] += responsibility * (mean + alpha * variance * pull);
            }
        }
        let noise = score.iter().map(|score| -sigma * score).collect();
        Denoised { log_density, score, data, noise }
    }

    /// The ideal network: the best possible output of any prediction at a state of a path, `[d]`.
    pub fn predict(&self, x: &[f64], prediction: &Prediction, point: &PathPoint) -> Vec<f64> {
        self.denoise(x, point.alpha, point.sigma).predict(prediction, point)
    }

    /// Right-hand side of the probability-flow ODE `dx/dt` of a path, `[d]`.
    pub fn velocity(&self, x: &[f64], path: &Path, t: f64) -> Vec<f64> {
        self.predict(x, &Prediction::Velocity, &path.at(t))
    }
}

impl Denoised {
    /// The conditional mean of a prediction's target.
    pub fn predict(&self, prediction: &Prediction, point: &PathPoint) -> Vec<f64> {
        if *prediction == Prediction::Score {
            return self.score.clone();
        }
        let target = prediction.target(point);
        self.data.iter().zip(&self.noise).map(|(data, noise)| target.data * data + target.noise * noise).collect()
    }
}

//! A mixture of Gaussians under noise, whose denoiser is exact.
//!
//! Where the data are a mixture, so is every noisy marginal of a path, and its score and all conditional means have
//! closed forms. Solvers are measured against it: whatever error a sample has is the solver's own.

use crate::random::Draws;
use crate::{Path, PathPoint, Prediction, normal};

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

    /// Where the probability-flow ODE takes the state `x` of the point `from` at the point `to`, on the line; NaN in more
    /// dimensions. On the line the ODE keeps the order of states, so that each stays at its quantile: with `to` at data
    /// this is the mixture's consistency function.
    pub fn transport(&self, x: f64, from: &PathPoint, to: &PathPoint) -> f64 {
        if self.dimension() != 1 {
            return f64::NAN;
        }
        // Of the two tails the smaller one, which has all its digits.
        let (below, above) = (self.tail(x, from, 1.0), self.tail(x, from, -1.0));
        let (share, side) = if below < above { (below, 1.0) } else { (above, -1.0) };
        // The quantile lies between those of the components.
        let z = side * normal::quantile(share);
        let ends = self.components(to).map(|(mean, deviation)| mean + z * deviation);
        let (mut low, mut high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), q| (l.min(q), h.max(q)));
        loop {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                return middle;
            }
            let is_below = (self.tail(middle, to, side) < share) == (side > 0.0);
            if is_below { low = middle } else { high = middle }
        }
    }

    /// Mean and standard deviation of each component's states on the line.
    fn components(&self, point: &PathPoint) -> impl Iterator<Item = (f64, f64)> {
        let PathPoint { alpha, sigma, .. } = *point;
        let (means, variances) = (self.means.iter().flatten(), self.variances.iter().flatten());
        means.zip(variances).map(move |(mean, variance)| (alpha * mean, sigma.hypot(alpha * variance.sqrt())))
    }

    /// The share of states on the line below `x` (`side` 1) or above it (`side` -1).
    fn tail(&self, x: f64, point: &PathPoint, side: f64) -> f64 {
        let tails = self.components(point).map(|(mean, deviation)| normal::cumulative(side * (x - mean) / deviation));
        self.weights.iter().zip(tails).map(|(weight, tail)| weight * tail).sum()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::path::VpLinear;
    use crate::random::{Key, Stream};

    fn plane() -> Mixture {
        let means = vec![vec![-1.0, 0.5], vec![0.7, 0.9], vec![0.2, -1.4]];
        let variances = vec![vec![0.2, 0.1], vec![0.05, 0.3], vec![0.4, 0.15]];
        Mixture::new(vec![1.0, 2.0, 0.5], means, variances).unwrap()
    }

    proptest! {
        #[test]
        fn the_score_is_the_gradient(x in -2.0f64..2.0, y in -2.0f64..2.0, t in 0.05f64..0.95) {
            let (mixture, point, h) = (plane(), Path::LinearFlow.at(t), 1e-5);
            let log_density = |x: f64, y: f64| mixture.denoise(&[x, y], point.alpha, point.sigma).log_density;
            let gradient = [
                (log_density(x + h, y) - log_density(x - h, y)) / (2.0 * h),
                (log_density(x, y + h) - log_density(x, y - h)) / (2.0 * h),
            ];
            let score = mixture.denoise(&[x, y], point.alpha, point.sigma).score;
            for (score, gradient) in score.iter().zip(gradient) {
                prop_assert!((score - gradient).abs() < 1e-5 * (1.0 + score.abs()), "{score} {gradient}");
            }
        }

        /// Conditional means add up to the state, and every prediction reads back the same data.
        #[test]
        fn means_add_up(x in -2.0f64..2.0, y in -2.0f64..2.0, t in 0.05f64..0.95) {
            let (mixture, point, state) = (plane(), Path::VpLinear(VpLinear::default()).at(t), [x, y]);
            let known = mixture.denoise(&state, point.alpha, point.sigma);
            for prediction in [Prediction::Epsilon, Prediction::V, Prediction::Velocity, Prediction::Score] {
                let (map, output) = (prediction.data_from(&point), known.predict(&prediction, &point));
                for i in 0..2 {
                    prop_assert!((point.alpha * known.data[i] + point.sigma * known.noise[i] - state[i]).abs() < 1e-13);
                    prop_assert!((map.x * state[i] + map.prediction * output[i] - known.data[i]).abs() < 1e-9);
                }
            }
        }
    }

    /// One Gaussian has a closed form: `E[x0 | x] = m + alpha v (x - alpha m) / (alpha^2 v + sigma^2)`.
    #[test]
    fn one_gaussian_is_the_wiener_filter() {
        let mixture = Mixture::new(vec![3.0], vec![vec![0.4]], vec![vec![0.25]]).unwrap();
        let (alpha, sigma, x) = (0.8, 0.6, 1.1);
        let known = mixture.denoise(&[x], alpha, sigma);
        let variance = 0.25 * alpha * alpha + sigma * sigma;
        assert!((known.data[0] - (0.4 + alpha * 0.25 * (x - alpha * 0.4) / variance)).abs() < 1e-15);
        let log_density = -0.5 * ((x - alpha * 0.4).powi(2) / variance + (std::f64::consts::TAU * variance).ln());
        assert!((known.log_density - log_density).abs() < 1e-15);
    }

    /// The point of states `x0 + sigma eps`.
    fn exploding(sigma: f64) -> PathPoint {
        PathPoint { t: sigma, alpha: 1.0, sigma, alpha_dot: 0.0, sigma_dot: 1.0 }
    }

    /// The consistency function of the three bumps at noise 0.002: numbers of RK4 in steps of 1e-12 error.
    #[test]
    fn states_keep_their_quantiles() {
        let known = [
            (-0.5, 0.5, -0.552_530_499_3),
            (0.05, 0.5, 0.192_546_643_7),
            (2.6, 2.0, 1.461_529_933_6),
            (-80.0, 80.0, -1.183_096_459_6),
            (8.0, 80.0, 0.427_042_417_1),
            (104.0, 80.0, 1.556_858_313_7),
        ];
        for (x, sigma, expected) in known {
            let found = Mixture::three_bumps().transport(x, &exploding(sigma), &exploding(0.002));
            assert!((found - expected).abs() < 1e-10, "{found} {expected}");
        }
        assert!(plane().transport(0.0, &exploding(1.0), &exploding(0.0)).is_nan());
    }

    proptest! {
        /// Along the ODE, whichever the path: `d/dt transport = velocity`.
        #[test]
        fn transport_solves_the_ode(x in -2.0f64..2.0, t in 0.05f64..0.95, s in 0.05f64..0.95) {
            let (mixture, path, h) = (Mixture::three_bumps(), Path::Trigonometric, 1e-5);
            let at = |s: f64| mixture.transport(x, &path.at(t), &path.at(s));
            let (slope, state) = ((at(s + h) - at(s - h)) / (2.0 * h), at(s));
            let velocity = mixture.velocity(&[state], &path, s)[0];
            prop_assert!((slope - velocity).abs() < 1e-6 * (1.0 + velocity.abs()), "{slope} {velocity}");
            prop_assert!((mixture.transport(state, &path.at(s), &path.at(t)) - x).abs() < 1e-9 * (1.0 + x.abs()));
        }
    }

    #[test]
    fn both_ends_are_exact() {
        let mixture = plane();
        assert_eq!(mixture.denoise(&[0.3, -0.2], 1.0, 0.0).data.len(), 2);
        let noise = mixture.denoise(&[0.3, -0.2], 0.0, 1.0);
        for (data, mean) in noise.data.iter().zip(mixture.mean()) {
            assert!((data - mean).abs() < 1e-15);
        }
        let data = mixture.denoise(&[0.3, -0.2], 1.0, 0.0);
        assert!((data.data[0] - 0.3).abs() < 1e-15 && (data.data[1] + 0.2).abs() < 1e-15);
    }

    #[test]
    fn samples_have_the_moments() {
        let (mixture, key, n) = (plane(), Key::new(1, Stream::TEST), 40_000);
        let samples: Vec<Vec<f64>> = (0..n).map(|i| mixture.sample(&key.at(i))).collect();
        for (i, (mean, variance)) in mixture.mean().into_iter().zip(mixture.variance()).enumerate() {
            let count = n as f64;
            let sampled = samples.iter().map(|s| s[i]).sum::<f64>() / count;
            let spread = samples.iter().map(|s| (s[i] - mean).powi(2)).sum::<f64>() / count;
            assert!((sampled - mean).abs() < 4.0 * (variance / count).sqrt(), "{sampled} {mean}");
            assert!((spread / variance - 1.0).abs() < 4.0 * (2.0 / count).sqrt(), "{spread} {variance}");
        }
    }

    #[test]
    fn what_is_no_mixture_is_refused() {
        assert!(Mixture::new(vec![], vec![], vec![]).is_err());
        assert!(Mixture::new(vec![1.0], vec![vec![0.0]], vec![vec![0.0]]).is_err());
        assert!(Mixture::new(vec![1.0], vec![vec![0.0, 1.0]], vec![vec![1.0]]).is_err());
        assert!(Mixture::new(vec![-1.0], vec![vec![0.0]], vec![vec![1.0]]).is_err());
    }
}

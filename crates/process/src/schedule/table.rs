//! The table of a discrete chain: what its betas add up to, and its posterior.

/// Quantities of a discrete chain at each index, from data to noise.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    betas: Vec<f64>,
    log_alphas: Vec<f64>,
}

/// The Gaussian `q(x_{i-1} | x_i, x_0)` of a chain (Ho et al. 2020, eq. 6 and 7): its mean is
/// `data x_0 + state x_i`. One entry an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    /// Variance; zero at index 0.
    pub variance: Vec<f64>,
    /// Log variance, where index 0 has the entry of index 1 (Nichol and Dhariwal 2021).
    pub log_variance_clipped: Vec<f64>,
    /// Coefficient of clean data.
    pub data: Vec<f64>,
    /// Coefficient of the state.
    pub state: Vec<f64>,
}

impl Table {
    /// The table of the given betas, each in [0, 1]; the last may be 1.
    pub fn new(betas: Vec<f64>) -> Self {
        // The sum of logarithms and not the logarithm of the product: `1 - abar` then keeps its digits near data.
        let mut sum = 0.0;
        let log_alphas = betas
            .iter()
            .map(|beta| {
                sum += 0.5 * (-beta).ln_1p();
                sum
            })
            .collect();
        Self { betas, log_alphas }
    }

    /// Variance of each step.
    pub fn betas(&self) -> &[f64] {
        &self.betas
    }

    /// `ln alpha_i = ln(abar_i) / 2`.
    pub fn log_alphas(&self) -> &[f64] {
        &self.log_alphas
    }

    /// `abar_i = prod_{j <= i} (1 - beta_j) = alpha_i^2`.
    pub fn alphas_cumprod(&self) -> Vec<f64> {
        self.log_alphas.iter().map(|log_alpha| (2.0 * log_alpha).exp()).collect()
    }

    /// `ln(abar_i / (1 - abar_i)) = 2 lambda_i`.
    pub fn log_snr(&self) -> Vec<f64> {
        self.log_alphas.iter().map(|log_alpha| 2.0 * log_alpha - one_minus_abar(*log_alpha).ln()).collect()
    }

    /// `sigma_i / alpha_i`, the noise levels of `x / alpha`.
    pub fn rhos(&self) -> Vec<f64> {
        self.log_alphas.iter().map(|log_alpha| (-2.0 * log_alpha).exp_m1().sqrt()).collect()
    }

    /// `sigma / alpha` at a fractional index, linear between indices as in the samplers of `k-diffusion`.
    pub fn rho_at(&self, index: f64) -> f64 {
        let rho = |i: usize| (-2.0 * self.log_alphas[i]).exp_m1().sqrt();
        let last = self.log_alphas.len() - 1;
        let below = (index.floor().max(0.0) as usize).min(last);
        let part = (index - below as f64).clamp(0.0, 1.0);
        if part == 0.0 || below == last {
            return rho(below);
        }
        rho(below) + part * (rho(below + 1) - rho(below))
    }

    /// The posterior of one step back, given clean data.
    pub fn posterior(&self) -> Posterior {
        let mut posterior =
            Posterior { variance: Vec::new(), log_variance_clipped: Vec::new(), data: Vec::new(), state: Vec::new() };
        let mut before = 0.0;
        for (&beta, &log_alpha) in self.betas.iter().zip(&self.log_alphas) {
            let (noise_before, noise) = (one_minus_abar(before), one_minus_abar(log_alpha));
            posterior.variance.push(beta * noise_before / noise);
            posterior.data.push(before.exp() * beta / noise);
            posterior.state.push((1.0 - beta).sqrt() * noise_before / noise);
            before = log_alpha;
        }
        posterior.log_variance_clipped = posterior.variance.iter().map(|variance| variance.ln()).collect();
        if let [first, second, ..] = posterior.log_variance_clipped.as_mut_slice() {
            *first = *second;
        }
        posterior
    }
}

fn one_minus_abar(log_alpha: f64) -> f64 {
    -(2.0 * log_alpha).exp_m1()
}

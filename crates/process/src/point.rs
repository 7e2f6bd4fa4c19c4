//! One point of a probability path.

/// The Gaussian path `x_t = alpha x0 + sigma eps` at one time, with its time derivatives.
///
/// Everything a prediction, a weight or a solver needs to know about time is in these five numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathPoint {
    /// Time in [0, 1]: 0 is data, 1 is noise.
    pub t: f64,
    /// Signal coefficient, >= 0.
    pub alpha: f64,
    /// Noise standard deviation, >= 0.
    pub sigma: f64,
    /// d alpha / d t.
    pub alpha_dot: f64,
    /// d sigma / d t.
    pub sigma_dot: f64,
}

impl PathPoint {
    /// The point of a variance-preserving path (`alpha^2 + sigma^2 = 1`), from `ln alpha` and its time derivative.
    ///
    /// `sigma` comes from `expm1`, so that it keeps all its digits near data, where `1 - alpha^2` would lose them.
    pub fn variance_preserving(t: f64, log_alpha: f64, log_alpha_dot: f64) -> Self {
        let alpha = log_alpha.exp();
        let alpha_dot = alpha * log_alpha_dot;
        let sigma = (-(2.0 * log_alpha).exp_m1()).sqrt();
        Self { t, alpha, sigma, alpha_dot, sigma_dot: -alpha * alpha_dot / sigma }
    }

    /// Half log signal-to-noise ratio, `ln(alpha / sigma)`; `+inf` at data, `-inf` at pure noise.
    pub fn lambda(&self) -> f64 {
        (self.alpha / self.sigma).ln()
    }

    /// d lambda / d t, negative.
    pub fn lambda_dot(&self) -> f64 {
        self.alpha_dot / self.alpha - self.sigma_dot / self.sigma
    }

    /// Noise-to-signal ratio `sigma / alpha`: the noise level of `x / alpha`.
    pub fn rho(&self) -> f64 {
        self.sigma / self.alpha
    }

    /// Signal-to-noise ratio `alpha^2 / sigma^2`.
    pub fn snr(&self) -> f64 {
        (self.alpha / self.sigma).powi(2)
    }

    /// `alpha sigma' - sigma alpha' = -alpha sigma lambda'`, positive: the determinant of the map from (x0, eps) to
    /// (state, velocity).
    pub fn determinant(&self) -> f64 {
        self.alpha * self.sigma_dot - self.sigma * self.alpha_dot
    }
}

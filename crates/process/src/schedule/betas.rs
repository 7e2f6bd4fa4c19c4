//! The betas of a discrete chain.

use std::f64::consts::FRAC_PI_2;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use super::linspace;

/// How the variance `beta_i` of a discrete chain's steps grows. Names and defaults are those of the literature's code.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Even from `beta_start` to `beta_end` (Ho et al. 2020); made for 1000 steps.
    Linear {
        /// The first beta.
        #[serde(default = "ddpm_start")]
        beta_start: f64,
        /// The last beta.
        #[serde(default = "ddpm_end")]
        beta_end: f64,
    },
    /// [`Schedule::Linear`] times `1000 / steps`, so that any number of steps ends equally noisy (Nichol and Dhariwal
    /// 2021).
    LinearOpenaiScaled {
        /// The first beta of 1000.
        #[serde(default = "ddpm_start")]
        beta_start: f64,
        /// The last beta of 1000.
        #[serde(default = "ddpm_end")]
        beta_end: f64,
    },
    /// Even in `sqrt(beta)` (latent diffusion, Rombach et al. 2022).
    ScaledLinear {
        /// The first beta.
        #[serde(default = "latent_start")]
        beta_start: f64,
        /// The last beta.
        #[serde(default = "latent_end")]
        beta_end: f64,
    },
    /// `abar(u) = cos^2(pi/2 (u + s) / (1 + s))` (Nichol and Dhariwal 2021, eq. 17).
    Cosine {
        /// Offset of the angle.
        #[serde(default = "cosine_offset")]
        s: f64,
        /// No beta is larger.
        #[serde(default = "largest_beta")]
        beta_max: f64,
    },
    /// `beta_start + (beta_end - beta_start) sigmoid(x)`, x even from -6 to 6 (GeoDiff, Xu et al. 2022).
    Sigmoid {
        /// Lower end.
        #[serde(default = "ddpm_start")]
        beta_start: f64,
        /// Upper end.
        #[serde(default = "ddpm_end")]
        beta_end: f64,
    },
    /// `abar(u)` falls along a sigmoid of `(start + u (end - start)) / tau` (Jabri et al. 2023).
    SigmoidJabri {
        /// Where on the sigmoid data are.
        #[serde(default = "jabri_start")]
        start: f64,
        /// Where on the sigmoid noise is.
        #[serde(default = "jabri_end")]
        end: f64,
        /// Temperature.
        #[serde(default = "one")]
        tau: f64,
        /// No beta is larger.
        #[serde(default = "largest_beta")]
        beta_max: f64,
    },
}

fn ddpm_start() -> f64 {
    1e-4
}
fn ddpm_end() -> f64 {
    0.02
}
fn latent_start() -> f64 {
    0.00085
}
fn latent_end() -> f64 {
    0.012
}
fn cosine_offset() -> f64 {
    0.008
}
fn largest_beta() -> f64 {
    0.999
}
fn jabri_start() -> f64 {
    -3.0
}
fn jabri_end() -> f64 {
    3.0
}
fn one() -> f64 {
    1.0
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Linear { beta_start: ddpm_start(), beta_end: ddpm_end() }
    }
}

impl Schedule {
    /// The schedule of a name with its default settings; none where the name is unknown.
    pub fn named(name: &str) -> Option<Self> {
        let (beta_start, beta_end) = (ddpm_start(), ddpm_end());
        Some(match name {
            "linear" => Self::Linear { beta_start, beta_end },
            "linear_openai_scaled" => Self::LinearOpenaiScaled { beta_start, beta_end },
            "scaled_linear" => Self::ScaledLinear { beta_start: latent_start(), beta_end: latent_end() },
            "cosine" => Self::Cosine { s: cosine_offset(), beta_max: largest_beta() },
            "sigmoid" => Self::Sigmoid { beta_start, beta_end },
            "sigmoid_jabri" => {
                Self::SigmoidJabri { start: jabri_start(), end: jabri_end(), tau: one(), beta_max: largest_beta() }
            }
            _ => return None,
        })
    }

    /// The betas of a chain of `steps` steps, from data to noise.
    pub fn betas(&self, steps: usize) -> Vec<f64> {
        match *self {
            Self::Linear { beta_start, beta_end } => linspace(beta_start, beta_end, steps),
            Self::LinearOpenaiScaled { beta_start, beta_end } => {
                let scale = 1000.0 / steps as f64;
                linspace(beta_start * scale, beta_end * scale, steps)
            }
            Self::ScaledLinear { beta_start, beta_end } => {
                linspace(beta_start.sqrt(), beta_end.sqrt(), steps).into_iter().map(|root| root * root).collect()
            }
            Self::Cosine { s, beta_max } => {
                betas_of(steps, beta_max, |u| ((u + s) / (1.0 + s) * FRAC_PI_2).cos().powi(2))
            }
            Self::Sigmoid { beta_start, beta_end } => linspace(-6.0, 6.0, steps)
                .into_iter()
                .map(|x| beta_start + (beta_end - beta_start) * sigmoid(x))
                .collect(),
            Self::SigmoidJabri { start, end, tau, beta_max } => {
                let (first, last) = (sigmoid(start / tau), sigmoid(end / tau));
                let kept = |u: f64| (last - sigmoid((start + u * (end - start)) / tau)) / (last - first);
                betas_of(steps, beta_max, kept)
            }
        }
    }

    /// Every problem of the settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        match *self {
            Self::Linear { beta_start, beta_end }
            | Self::LinearOpenaiScaled { beta_start, beta_end }
            | Self::ScaledLinear { beta_start, beta_end }
            | Self::Sigmoid { beta_start, beta_end } => {
                problems.check(beta_start > 0.0 && beta_start < 1.0, "beta_start", "must be in (0, 1)");
                problems.check(beta_end >= beta_start && beta_end < 1.0, "beta_end", "must be in [beta_start, 1)");
            }
            Self::Cosine { s, beta_max } => {
                problems.check((0.0..1.0).contains(&s), "s", "must be in [0, 1)");
                problems.check(beta_max > 0.0 && beta_max < 1.0, "beta_max", "must be in (0, 1)");
            }
            Self::SigmoidJabri { start, end, tau, beta_max } => {
                problems.check(start.is_finite(), "start", "must be finite");
                problems.check(end > start && end.is_finite(), "end", "must be finite and larger than start");
                problems.check(tau > 0.0 && tau.is_finite(), "tau", "must be finite and positive");
                problems.check(beta_max > 0.0 && beta_max < 1.0, "beta_max", "must be in (0, 1)");
            }
        }
        problems
    }
}

/// The betas under which `abar` is what `kept` says of the time in [0, 1], none larger than `beta_max`.
fn betas_of(steps: usize, beta_max: f64, kept: impl Fn(f64) -> f64) -> Vec<f64> {
    let at = |i: usize| kept(i as f64 / steps as f64);
    (0..steps).map(|i| (1.0 - at(i + 1) / at(i)).min(beta_max)).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The betas of the same chain rescaled so that its last step is pure noise (Lin et al. 2024, algorithm 1):
/// `sqrt(abar)` is shifted to end at zero and stretched to keep its first value.
pub fn zero_terminal_snr(betas: &[f64]) -> Vec<f64> {
    let mut kept = 1.0;
    let roots: Vec<f64> = betas
        .iter()
        .map(|beta| {
            kept *= 1.0 - beta;
            f64::sqrt(kept)
        })
        .collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return Vec::new() };
    let rescaled = |root: &f64| ((root - last) * first / (first - last)).powi(2);
    let mut before = 1.0;
    roots
        .iter()
        .map(|root| {
            let now = rescaled(root);
            1.0 - now / std::mem::replace(&mut before, now)
        })
        .collect()
}

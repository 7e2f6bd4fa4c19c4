//! The path of a discrete chain, continued between its indices.

use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use super::ProbabilityPath;
use super::vp_linear::vp_log_alpha;
use crate::PathPoint;
use crate::schedule::{Schedule, Table, zero_terminal_snr};

/// A chain of `steps` betas with `alpha_i^2 = prod_{j <= i} (1 - beta_j)`, `sigma^2 = 1 - alpha^2` (Ho et al. 2020).
///
/// Native time is the index, 0 to steps - 1, at `t = (index + 1) / steps`; clean data, at t = 0, would have index -1.
/// Between indices `ln alpha` is linear in t, as in the discrete form of DPM-Solver (Lu et al. 2022); where the last
/// alpha is zero, alpha itself is linear on the last interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Discrete {
    schedule: Schedule,
    steps: usize,
    zero_terminal_snr: bool,
    #[serde(skip)]
    memo: Memo,
}

impl Default for Discrete {
    fn default() -> Self {
        Self::new(Schedule::default(), 1000, false)
    }
}

impl Discrete {
    /// A chain of `steps` betas of a schedule, rescaled to end in pure noise where `zero_terminal_snr` asks for it
    /// (Lin et al. 2024).
    pub fn new(schedule: Schedule, steps: usize, zero_terminal_snr: bool) -> Self {
        Self { schedule, steps, zero_terminal_snr, memo: Memo::default() }
    }

    /// The number of indices.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The chain's table, computed once.
    pub fn table(&self) -> &Table {
        self.memo.0.get_or_init(|| {
            let betas = self.schedule.betas(self.steps.max(1));
            Table::new(if self.zero_terminal_snr { zero_terminal_snr(&betas) } else { betas })
        })
    }

    /// `ln alpha` before the first index (clean data), at it, ...: at both ends of interval `k`.
    fn interval(&self, k: usize) -> (f64, f64) {
        let log_alphas = self.table().log_alphas();
        (if k == 0 { 0.0 } else { log_alphas[k - 1] }, log_alphas[k])
    }

    fn intervals(&self) -> f64 {
        self.table().log_alphas().len() as f64
    }
}

impl ProbabilityPath for Discrete {
    fn at(&self, t: f64) -> PathPoint {
        let intervals = self.intervals();
        let k = (t * intervals).floor().clamp(0.0, intervals - 1.0);
        let part = t * intervals - k;
        let (before, after) = self.interval(k as usize);
        if after > f64::NEG_INFINITY {
            let rate = after - before;
            return PathPoint::variance_preserving(t, before + part * rate, rate * intervals);
        }
        let alpha = before.exp() * (1.0 - part);
        let alpha_dot = -before.exp() * intervals;
        let sigma = ((1.0 - alpha) * (1.0 + alpha)).sqrt();
        PathPoint { t, alpha, sigma, alpha_dot, sigma_dot: -alpha * alpha_dot / sigma }
    }

    fn time_of_lambda(&self, lambda: f64) -> f64 {
        let log_alpha = vp_log_alpha(lambda);
        let log_alphas = self.table().log_alphas();
        let k = log_alphas.partition_point(|&other| other > log_alpha).min(log_alphas.len() - 1);
        let (before, after) = self.interval(k);
        let part = if after > f64::NEG_INFINITY {
            (log_alpha - before) / (after - before)
        } else {
            -(log_alpha - before).exp_m1()
        };
        (k as f64 + part) / self.intervals()
    }

    fn native_time(&self, t: f64) -> f64 {
        t * self.intervals() - 1.0
    }

    fn time_of_native(&self, native: f64) -> f64 {
        (native + 1.0) / self.intervals()
    }

    fn time_range(&self) -> (f64, f64) {
        (1.0 / self.intervals(), 1.0)
    }

    fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.nest("schedule", self.schedule.validate());
        problems.check(self.steps >= 2, "steps", "must be at least 2");
        if problems.is_empty() {
            let proper = self.schedule.betas(self.steps).iter().all(|beta| (0.0..1.0).contains(beta));
            problems.check(proper, "steps", "this many steps of this schedule have a beta outside [0, 1)");
        }
        problems
    }
}

/// A table that is a function of the settings beside it: copies share it, and it has no part in equality.
#[derive(Clone, Debug, Default)]
struct Memo(Arc<OnceLock<Table>>);

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_the_table() {
        let chain = Discrete::default();
        let abar = chain.table().alphas_cumprod();
        for index in [0, 1, 499, 998, 999] {
            let point = chain.at(chain.time_of_native(index as f64));
            assert!((point.alpha.powi(2) - abar[index]).abs() < 1e-14, "{index}");
            assert!((chain.native_time(point.t) - index as f64).abs() < 1e-12);
        }
        let data = chain.at(0.0);
        assert_eq!((data.alpha, data.sigma, chain.time_of_lambda(f64::INFINITY)), (1.0, 0.0, 0.0));
    }

    #[test]
    fn a_rescaled_chain_ends_in_pure_noise() {
        let (plain, rescaled) = (Discrete::default(), Discrete::new(Schedule::default(), 1000, true));
        let end = rescaled.at(1.0);
        assert_eq!((end.alpha, end.sigma), (0.0, 1.0));
        assert_eq!(rescaled.time_of_lambda(f64::NEG_INFINITY), 1.0);
        let first = 1.0 / 1000.0;
        assert!((rescaled.at(first).alpha - plain.at(first).alpha).abs() < 1e-15);
    }

    /// The chain of 1000 steps was made as the discrete form of the linear VP path; `ln(1 - beta)` for `-beta` puts them
    /// apart by `sum beta^2 / 4`, 0.03 at the end.
    #[test]
    fn the_linear_chain_follows_its_continuous_form() {
        let (chain, path) = (Discrete::default(), super::super::VpLinear::default());
        for t in [0.1, 0.3, 0.6, 0.9] {
            let (chain, path) = (chain.at(t), path.at(t));
            assert!((chain.lambda() - path.lambda()).abs() < 0.04, "{t}: {} {}", chain.lambda(), path.lambda());
        }
    }

    #[test]
    fn copies_share_one_table() {
        let chain = Discrete::default();
        let copy = chain.clone();
        assert!(std::ptr::eq(chain.table(), copy.table()));
        assert_eq!(chain, Discrete::default());
    }
}

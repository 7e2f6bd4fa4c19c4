//! Classifier-free guidance (Ho and Salimans 2022).

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_models::Condition;
use sinter_process::{Parameterization, PathPoint};

use crate::Denoiser;

/// How strongly a condition is followed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guidance {
    /// `unconditional + scale (conditional - unconditional)`; 1 is the conditional model alone.
    pub scale: f64,
    /// Times `[from, to]` in which guidance acts; outside, the conditional model alone (Kynkäänniemi et al. 2024).
    #[serde(default = "everywhere")]
    pub interval: [f64; 2],
}

fn everywhere() -> [f64; 2] {
    [0.0, 1.0]
}

impl Default for Guidance {
    fn default() -> Self {
        Self { scale: 1.0, interval: everywhere() }
    }
}

impl Guidance {
    /// Every problem of these settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.scale.is_finite(), "scale", "must be a finite number");
        let [from, to] = self.interval;
        problems.check(
            (0.0..=1.0).contains(&from) && from <= to && to <= 1.0,
            "interval",
            "must be [from, to] in [0, 1]",
        );
        problems
    }
}

/// A denoiser under guidance. The mix is of the models' outputs, which are all linear in the data prediction.
pub struct Guided<'a> {
    /// The model.
    pub denoiser: &'a dyn Denoiser,
    /// The strength.
    pub guidance: Guidance,
}

impl Denoiser for Guided<'_> {
    fn parameterization(&self) -> &Parameterization {
        self.denoiser.parameterization()
    }

    fn output(&self, x: Tensor<4>, point: &PathPoint, condition: &Condition) -> Tensor<4> {
        let Guidance { scale, interval: [from, to] } = self.guidance;
        let conditional = self.denoiser.output(x.clone(), point, condition);
        if scale == 1.0 || point.t < from || point.t > to {
            return conditional;
        }
        let unconditional = self.denoiser.output(x, point, &Condition::none());
        unconditional.clone() + (conditional - unconditional).mul_scalar(scale)
    }
}

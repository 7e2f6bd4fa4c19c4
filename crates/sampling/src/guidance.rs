//! Classifier-free guidance (Ho and Salimans 2022).

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_models::Condition;
use sinter_process::{Parameterization, PathPoint};
use sinter_solvers::Level;

use crate::{Denoiser, data_at_each, per_image};

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

/// The prediction of clean data under guidance, `[b, c, h, w]`, at states `x`, each at a level of its own on *any* path:
/// see [`data_at_each`].
///
/// `network` maps (scaled input `[b, c, h, w]`, time labels `[b]`, condition) to its output; it is asked twice where
/// guidance acts on some of the states.
pub fn guided_data(
    parameterization: &Parameterization,
    guidance: Guidance,
    x: Tensor<4>,
    levels: &[Level],
    condition: &Condition,
    network: impl Fn(Tensor<4>, Tensor<1>, &Condition) -> Tensor<4>,
) -> Tensor<4> {
    let ask = |x: Tensor<4>, condition: &Condition| {
        data_at_each(parameterization, x, levels, |input, labels| network(input, labels, condition))
    };
    let Guidance { scale, interval: [from, to] } = guidance;
    let scale_at = |level: &Level| {
        let t = parameterization.path.time_of_lambda((level.alpha / level.sigma).ln());
        if t < from || t > to { 1.0 } else { scale }
    };
    let scales: Vec<f64> = levels.iter().map(scale_at).collect();
    let conditional = ask(x.clone(), condition);
    if scales.iter().all(|scale| *scale == 1.0) {
        return conditional;
    }
    let unconditional = ask(x, &Condition::none());
    let scales = per_image(&scales, &conditional); // [b, 1, 1, 1]
    unconditional.clone() + (conditional - unconditional) * scales
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

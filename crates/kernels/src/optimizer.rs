//! The updates of an optimizer step: AdamW and the exponential moving average of weights.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::{extension, slices::optimizer::Coefficients};

/// One step of AdamW (Loshchilov and Hutter, 2019, algorithm 2; decay decoupled from the moments).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step, the schedule's factor included.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the square root of the (bias-corrected) second moment.
    pub epsilon: f64,
    /// Decoupled weight decay: the parameter shrinks by `1 - learning_rate * weight_decay`.
    pub weight_decay: f64,
    /// The gradient is multiplied by this first: the factor of global-norm clipping, or 1.
    pub gradient_scale: f64,
    /// Which step this is, from 1: for the correction of the moments' bias.
    pub step: u64,
}

/// The running moments of one parameter's gradient; both start at zero.
#[derive(Clone, Debug)]
pub struct Moments<const D: usize> {
    /// Mean of the gradient.
    pub first: Tensor<D>,
    /// Mean of the squared gradient.
    pub second: Tensor<D>,
}

impl AdamW {
    /// `learning_rate / (1 - beta_1^step)`: the factor of `first / (sqrt(second) * root_scale + epsilon)`.
    fn step_size(&self) -> f64 {
        self.learning_rate / bias_correction(self.beta_1, self.step)
    }

    /// `1 / sqrt(1 - beta_2^step)`: brings `sqrt(second)` to its unbiased value.
    fn root_scale(&self) -> f64 {
        bias_correction(self.beta_2, self.step).powf(-0.5)
    }

    /// What remains of a parameter after weight decay.
    fn shrink(&self) -> f64 {
        1.0 - self.learning_rate * self.weight_decay
    }

    /// All coefficients of the step, rounded.
    #[cfg(feature = "flex")]
    pub(crate) fn coefficients(&self) -> Coefficients {
        Coefficients {
            gradient_scale: self.gradient_scale as f32,
            beta_1: self.beta_1 as f32,
            rest_1: (1.0 - self.beta_1) as f32,
            beta_2: self.beta_2 as f32,
            rest_2: (1.0 - self.beta_2) as f32,
            root_scale: self.root_scale() as f32,
            epsilon: self.epsilon as f32,
            shrink: self.shrink() as f32,
            step_size: self.step_size() as f32,
        }
    }
}

/// `1 - beta^step`.
fn bias_correction(beta: f64, step: u64) -> f64 {
    assert!(step > 0, "the first step of AdamW is number 1");
    1.0 - beta.powf(step as f64)
}

/// One AdamW update of one parameter: the new parameter and moments. All tensors have one shape.
///
/// The tensors are values, not nodes of a graph: pass what `Tensor::inner` gives. Coefficients are computed in 64-bit
/// floats on the host. The fused form writes in place where a tensor is not shared.
pub fn adamw_step<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: Moments<D>,
    update: &AdamW,
) -> (Tensor<D>, Moments<D>) {
    #[cfg(feature = "flex")]
    if [&parameter, &gradient, &moments.first, &moments.second].into_iter().all(extension::is_plain) {
        return extension::adamw_step(parameter, gradient, moments, update);
    }
    adamw_step_composed(parameter, gradient, moments, update)
}

/// [`adamw_step`] in Burn's operations.
pub fn adamw_step_composed<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: Moments<D>,
    update: &AdamW,
) -> (Tensor<D>, Moments<D>) {
    let gradient = if update.gradient_scale == 1.0 { gradient } else { gradient * update.gradient_scale };
    let first = moments.first * update.beta_1 + gradient.clone() * (1.0 - update.beta_1);
    let second = moments.second * update.beta_2 + gradient.clone() * gradient * (1.0 - update.beta_2);
    let root = second.clone().sqrt() * update.root_scale() + update.epsilon;
    let parameter = parameter * update.shrink() - first.clone() / root * update.step_size();
    (parameter, Moments { first, second })
}

/// One step of an exponential moving average: `decay * average + (1 - decay) * parameter`, one shape.
///
/// Values, not nodes of a graph, as in [`adamw_step`].
pub fn ema_step<const D: usize>(average: Tensor<D>, parameter: Tensor<D>, decay: f64) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if extension::is_plain(&average) && extension::is_plain(&parameter) {
        return extension::ema_step(average, parameter, decay);
    }
    ema_step_composed(average, parameter, decay)
}

/// [`ema_step`] in Burn's operations.
pub fn ema_step_composed<const D: usize>(average: Tensor<D>, parameter: Tensor<D>, decay: f64) -> Tensor<D> {
    // As average + (1 - decay) (parameter - average): it keeps an average that equals its parameter exactly.
    average.clone() + (parameter - average) * (1.0 - decay)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::testing::{assert_defined, values};

    const UPDATE: AdamW = AdamW {
        learning_rate: 0.01,
        beta_1: 0.9,
        beta_2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
        gradient_scale: 0.5,
        step: 3,
    };

    fn tensor(seed: u64, n: usize) -> Tensor<1> {
        Tensor::from_floats(values(seed, n).as_slice(), &Device::flex())
    }

    fn to_vec(x: Tensor<1>) -> Vec<f32> {
        x.into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn composed_forms_are_the_definitions() {
        let adamw = |x: &[Tensor<1>]| {
            let second = x[3].clone() * x[3].clone();
            let moments = Moments { first: x[2].clone(), second };
            let (parameter, moments) = adamw_step_composed(x[0].clone(), x[1].clone(), moments, &UPDATE);
            Tensor::cat(vec![parameter, moments.first, moments.second], 0)
        };
        assert_defined("adamw", &[9; 4], adamw, |x| {
            // The algorithm as printed: decay, moments, correction of their bias, step.
            let step = |i: usize| {
                let gradient = 0.5 * x[1][i];
                let first = 0.9 * x[2][i] + 0.1 * gradient;
                let second = 0.99 * x[3][i] * x[3][i] + 0.01 * gradient * gradient;
                let (m, v) = (first / (1.0 - 0.9f64.powi(3)), second / (1.0 - 0.99f64.powi(3)));
                let parameter = x[0][i] - 0.01 * 0.1 * x[0][i];
                [parameter - 0.01 * m / (v.sqrt() + 1e-8), first, second]
            };
            let steps: Vec<_> = (0..9).map(step).collect();
            (0..3).flat_map(|part| steps.iter().map(move |step| step[part])).collect()
        });
        let ema = |x: &[Tensor<1>]| ema_step_composed(x[0].clone(), x[1].clone(), 0.75);
        assert_defined("ema", &[9; 2], ema, |x| (0..9).map(|i| 0.75 * x[0][i] + 0.25 * x[1][i]).collect());
    }

    #[test]
    fn fused_forms_are_the_composed_ones() {
        for n in [1, 33, 40_001] {
            let moments = || Moments { first: tensor(3, n), second: tensor(4, n).powi_scalar(2) };
            let (parameter, after) = adamw_step(tensor(1, n), tensor(2, n), moments(), &UPDATE);
            let (want, want_after) = adamw_step_composed(tensor(1, n), tensor(2, n), moments(), &UPDATE);
            let pairs = [(parameter, want), (after.first, want_after.first), (after.second, want_after.second)];
            for (got, want) in pairs {
                let want: Vec<f64> = to_vec(want).iter().map(|v| *v as f64).collect();
                crate::slices::testing::assert_close("adamw", &to_vec(got), &want, 1e-6);
            }
            let (got, want) =
                (ema_step(tensor(1, n), tensor(2, n), 0.9), ema_step_composed(tensor(1, n), tensor(2, n), 0.9));
            let want: Vec<f64> = to_vec(want).iter().map(|v| *v as f64).collect();
            crate::slices::testing::assert_close("ema", &to_vec(got), &want, 1e-6);
        }
    }

    #[test]
    fn shared_tensors_and_views_are_not_written() {
        let whole = tensor(1, 20);
        let part = whole.clone().narrow(0, 5, 10);
        let moments = Moments { first: tensor(3, 10), second: tensor(4, 10).powi_scalar(2) };
        let kept = moments.clone();
        let (got, _) = adamw_step(part.clone(), tensor(2, 10), moments, &UPDATE);
        let (want, _) = adamw_step(tensor(1, 20).narrow(0, 5, 10) + 0.0, tensor(2, 10), kept.clone(), &UPDATE);
        assert_eq!(to_vec(got), to_vec(want));
        assert_eq!(to_vec(ema_step(part, tensor(2, 10), 0.0)), to_vec(tensor(2, 10)));
        assert_eq!(to_vec(whole), values(1, 20));
        assert_eq!(to_vec(kept.first), values(3, 10));
    }

    #[test]
    fn an_average_that_equals_its_parameter_stays() {
        let x = tensor(5, 100);
        assert_eq!(to_vec(ema_step(x.clone(), x.clone(), 0.999)), to_vec(x));
    }
}

//! The updates of an optimizer step: AdamW and the exponential moving average of weights.

use burn::tensor::Tensor;

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
    ema_step_composed(average, parameter, decay)
}

/// [`ema_step`] in Burn's operations.
pub fn ema_step_composed<const D: usize>(average: Tensor<D>, parameter: Tensor<D>, decay: f64) -> Tensor<D> {
    // As average + (1 - decay) (parameter - average): it keeps an average that equals its parameter exactly.
    average.clone() + (parameter - average) * (1.0 - decay)
}

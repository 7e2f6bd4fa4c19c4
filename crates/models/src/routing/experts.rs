//! Experts that times share (Switch-DiT, Park et al., "Switch Diffusion Transformer", 2024).

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Rule, Start};
use crate::layers::{Linear, trace};

/// Linear experts in every block, of which each time takes the few that its gate gives most to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpertsConfig {
    /// Experts of a block.
    pub count: usize,
    /// Experts that a time takes, at most `count`.
    pub active: usize,
    /// Tasks: times that the prior knows.
    pub tasks: usize,
    /// Weight of the loss that leads the gates to the prior; 0 for none.
    pub prior: f64,
    /// The prior's window of experts moves with this power of time.
    pub curvature: f64,
}

impl Default for ExpertsConfig {
    fn default() -> Self {
        Self { count: 3, active: 2, tasks: 1000, prior: 1.0, curvature: 4.0 }
    }
}

impl ExpertsConfig {
    /// Every problem of these values.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.count > 0, "count", "must be at least 1");
        let active = format!("must be at least 1 and at most the {} there are", self.count);
        problems.check((1..=self.count).contains(&self.active), "active", active);
        problems.check(self.tasks > 0, "tasks", "must be at least 1");
        problems.check(self.prior >= 0.0 && self.prior.is_finite(), "prior", "must be finite and at least 0");
        let curvature = self.curvature > 0.0 && self.curvature.is_finite();
        problems.check(curvature, "curvature", "must be finite and above 0");
        problems
    }
}

/// The experts of one block. They start at zero, so that the block starts as one without.
#[derive(Module, Debug)]
pub struct Experts {
    /// `[d] -> [experts]`, from SiLU of the vector of time alone.
    pub gate: Linear,
    /// `[experts, d, d]`, each `[in, out]`.
    pub weight: Param<Tensor<3>>,
    /// `[experts, d]`.
    pub bias: Param<Tensor<2>>,
    active: usize,
}

impl Experts {
    /// For tokens of `width` features.
    pub fn new(config: &ExpertsConfig, width: usize, init: &mut Initialization) -> Self {
        Self {
            gate: Linear::new(width, config.count, Start::Xavier, init),
            weight: init.parameter([config.count, width, width], Rule::ZEROS),
            bias: init.parameter([config.count, width], Rule::ZEROS),
            active: config.active,
        }
    }

    /// How much each expert is given, `[b, experts]`, each row's sum 1, for vectors of time `[b, d]`.
    pub fn probabilities(&self, time: Dual<2>) -> Dual<2> {
        dual::softmax(self.gate.forward(dual::silu(time)), 1)
    }

    /// Ones for the active experts of each row of `probabilities`, zeros for the others; without gradients.
    pub fn chosen(&self, probabilities: &Tensor<2>) -> Tensor<2> {
        let [b, experts] = probabilities.dims();
        let (_, indices) = probabilities.clone().detach().topk_with_indices(self.active, 1); // [b, active]
        let numbers = Tensor::<1, Int>::arange(0..experts as i64, &probabilities.device()).reshape([1, 1, experts]);
        let numbers = numbers.expand([b, self.active, experts]);
        let equal = indices.reshape([b, self.active, 1]).expand([b, self.active, experts]).equal(numbers);
        equal.float().sum_dim(1).reshape([b, experts])
    }

    /// `1 + sum p_j (x W_j + b_j)` over the active experts `j`, with the probabilities `p_j` as they are: tokens
    /// `[b, n, d]` and vectors of time `[b, d]` to `[b, n, d]`.
    pub fn mask(&self, x: Dual<3>, time: Dual<2>) -> Dual<3> {
        trace::experts(&self.weight, self.active, x.dims());
        let probabilities = self.probabilities(time);
        let chosen = self.chosen(&probabilities.value);
        let given = probabilities * chosen; // [b, experts]
        mix(x, given, self.weight.val(), self.bias.val()) + 1.0
    }
}

/// `sum p_j (x W_j + b_j)` over experts `j`: tokens `[b, n, d]`, what each image gives its experts `[b, experts]`,
/// weights `[experts, d, d]` and biases `[experts, d]` to `[b, n, d]`.
///
/// All tokens of an image take the same experts, and these are linear: their weights are mixed first, so that each
/// image costs one product whatever the number of experts.
pub fn mix(x: Dual<3>, given: Dual<2>, weight: Tensor<3>, bias: Tensor<2>) -> Dual<3> {
    let [experts, width, _] = weight.dims();
    let [b, _] = given.dims();
    let weight = dual::linear(given.clone(), weight.reshape([experts, width * width]), None);
    let bias = dual::linear(given, bias, None); // [b, d]
    x.matmul(weight.each(|x| x.reshape([b, width, width]))) + bias.each(|x| x.unsqueeze_dim::<3>(1))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::parameters;
    use crate::testing::{assert_close, normal, randomized, values};

    const WIDTH: usize = 4;

    fn experts(count: usize, active: usize) -> Experts {
        let config = ExpertsConfig { count, active, ..ExpertsConfig::default() };
        randomized(Experts::new(&config, WIDTH, &mut Initialization::new(0, &Device::flex())))
    }

    /// The definition, one expert after the other.
    fn mask(experts: &Experts, x: &Tensor<3>, time: &Tensor<2>) -> Vec<f32> {
        let probabilities = values(&experts.probabilities(time.clone().into()).value);
        let (weight, bias, x) = (values(&experts.weight.val()), values(&experts.bias.val()), values(x));
        let count = bias.len() / WIDTH;
        let mut mask = vec![1.0; x.len()];
        for (token, mask) in mask.chunks_exact_mut(WIDTH).enumerate() {
            let probabilities = &probabilities[token / 3 * count..][..count];
            let larger = |j: usize| probabilities.iter().filter(|p| **p > probabilities[j]).count();
            for j in (0..count).filter(|j| larger(*j) < experts.active) {
                for (o, mask) in mask.iter_mut().enumerate() {
                    let products = (0..WIDTH).map(|i| x[token * WIDTH + i] * weight[(j * WIDTH + i) * WIDTH + o]);
                    *mask += probabilities[j] * (products.sum::<f32>() + bias[j * WIDTH + o]);
                }
            }
        }
        mask
    }

    /// A gate that gives 1/8, 2/8 and 5/8 whatever the time: what the experts taken are given stays that, as if the
    /// others were there, so that all of them together are the plain mixture.
    #[test]
    fn what_experts_are_given_does_not_depend_on_how_many_are_taken() {
        let device = Device::flex();
        let (x, time) = (normal::<3>(0, [2, 3, WIDTH], &device), normal::<2>(1, [2, WIDTH], &device));
        for (active, given) in [(1, [0.0, 0.0, 0.625]), (2, [0.0, 0.25, 0.625]), (3, [0.125, 0.25, 0.625])] {
            let mut experts = experts(3, active);
            experts.gate = parameters::map(experts.gate, |name, flat| match name {
                "bias" => Tensor::from_data([1.0f32, 2.0, 5.0], &device).log(),
                _ => flat * 0.0,
            });
            let mut expected = Tensor::<3>::ones([2, 3, WIDTH], &device);
            for (j, given) in given.into_iter().enumerate() {
                let weight: Tensor<3> = experts.weight.val().narrow(0, j, 1); // [1, d, d]
                let bias = experts.bias.val().narrow(0, j, 1).unsqueeze_dim::<3>(1); // [1, 1, d]
                expected = expected + (x.clone().matmul(weight.expand([2, WIDTH, WIDTH])) + bias) * given;
            }
            let found = experts.mask(x.clone().into(), time.clone().into()).value;
            assert_close(&values(&found), &values(&expected), 1e-5);
            // Of experts that are alike, all taken are one.
            experts.weight = experts.weight.map(|weight| weight.narrow(0, 1, 1).expand([3, WIDTH, WIDTH]));
            experts.bias = experts.bias.map(|bias| bias.narrow(0, 1, 1).expand([3, WIDTH]));
            let share = given.iter().sum::<f32>();
            let one = x.clone().matmul(experts.weight.val().narrow(0, 0, 1).expand([2, WIDTH, WIDTH]))
                + experts.bias.val().narrow(0, 0, 1).unsqueeze_dim::<3>(1);
            let found = experts.mask(x.clone().into(), time.clone().into()).value;
            assert_close(&values(&found), &values(&(one * share + 1.0)), 1e-5);
        }
    }

    #[test]
    fn masks_are_the_definition_for_any_number_of_experts() {
        let device = Device::flex();
        let (x, time) = (normal::<3>(0, [5, 3, WIDTH], &device), normal::<2>(1, [5, WIDTH], &device) * 5.0);
        for (count, active) in [(3, 2), (4, 1), (3, 3), (1, 1)] {
            let experts = experts(count, active);
            let chosen = values(&experts.chosen(&experts.probabilities(time.clone().into()).value));
            assert!(chosen.chunks_exact(count).all(|row| row.iter().sum::<f32>() == active as f32), "{chosen:?}");
            assert_close(
                &values(&experts.mask(x.clone().into(), time.clone().into()).value),
                &mask(&experts, &x, &time),
                1e-5,
            );
        }
    }
}

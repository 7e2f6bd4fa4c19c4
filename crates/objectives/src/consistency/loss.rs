//! The loss of a consistency model on two states of each image.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_process::Parameterization;
use sinter_sampling::values;

use super::Pair;
use crate::Distance;
use crate::question::{Question, expected_data};

/// The weight of a pair of levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum PairWeight {
    /// 1.
    #[default]
    Uniform,
    /// `1 / (t - r)` for levels t above r: what keeps the gradient of a norm from vanishing with their distance.
    InverseStep,
}

impl PairWeight {
    /// The weight.
    pub fn weight(self, pair: &Pair) -> f64 {
        match self {
            Self::Uniform => 1.0,
            Self::InverseStep => 1.0 / (pair.above - pair.below),
        }
    }
}

/// What is asked of one image: that the network agrees with itself at two levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// At the noisier level, where the student is trained.
    pub above: Question,
    /// At the other, where its target is.
    pub below: Question,
    /// The weight of their distance.
    pub weight: f64,
}

impl Agreement {
    /// For a network of this parameterization.
    pub fn of(parameterization: &Parameterization, pair: &Pair, weight: PairWeight) -> Self {
        let question = |rho| Question::of_noise(parameterization, rho);
        Self { above: question(pair.above), below: question(pair.below), weight: weight.weight(pair) }
    }
}

/// The loss of each image, `[b]`, in the float type of the states: `weight distance(f(x_t, t), goal)`.
///
/// `states` are those of the upper levels, `[b, c, h, w]`; `student` maps (scaled input, time labels) to its output. The
/// `goal` is what the target expects at the lower levels, `[b, c, h, w]`; nothing flows back through it.
pub fn losses(
    distance: Distance,
    agreements: &[Agreement],
    states: Tensor<4>,
    goal: Tensor<4>,
    student: impl FnOnce(Tensor<4>, Tensor<1>) -> Tensor<4>,
) -> Tensor<1> {
    let above: Vec<Question> = agreements.iter().map(|agreement| agreement.above).collect();
    let weights: Vec<f64> = agreements.iter().map(|agreement| agreement.weight).collect();
    let weights = values(&weights, &states.device(), states.dtype()); // [b]
    distance.losses(expected_data(&above, states, student), goal.detach()) * weights
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};
    use sinter_process::mixture::Mixture;
    use sinter_process::path::Edm;
    use sinter_process::{InputScale, Path, Prediction, TimeLabel, TimeLaw, Weight};

    use super::super::{Grid, IntervalLaw, Levels};
    use super::*;
    use crate::Denoising;
    use crate::question::states;

    const SIGMA_MIN: f64 = 0.002;

    fn edm(prediction: Prediction) -> Parameterization {
        let (path, time_label) = (Path::Edm(Edm::default()), TimeLabel::LogSigma);
        Parameterization { path, prediction, input_scale: InputScale::None, time_label }
    }

    fn images(values: &[f64], device: &Device, dtype: DType) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1, 1, 1]), (device, dtype))
    }

    fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    /// At the lowest level the student gives the state itself, to the last bit, whatever its network does.
    #[test]
    fn the_boundary_is_exact() {
        let prediction = Prediction::ConsistencyF { sigma_data: 0.5, sigma_min: SIGMA_MIN };
        let parameterization =
            Parameterization { input_scale: InputScale::UnitVariance { sigma_data: 0.5 }, ..edm(prediction) };
        let question = Question::of_noise(&parameterization, SIGMA_MIN);
        let x = images(&[0.1, -0.7, 2.3e-3, 1.0], &Device::flex(), DType::F32);
        let random = images(&[13.7, -4.4, 0.9, 1e3], &Device::flex(), DType::F32);
        let f = expected_data(&[question; 4], x.clone(), |_, _| random);
        f.into_data().assert_eq(&x.into_data(), true);
    }

    /// Data at two points and noise at two: they have the moments of a normal law of this mean and deviation, on which
    /// alone the loss of affine functions depends.
    fn two_points(mean: f64, deviation: f64) -> [Tensor<4>; 2] {
        let points = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]];
        let tensor = |values: [f64; 4]| images(&values, &Device::flex(), DType::F64);
        [tensor(points.map(|[data, _]| mean + deviation * data)), tensor(points.map(|[_, noise]| noise))]
    }

    /// The slope `a` of the best function `m + a (x - m)` at `above` where the target at `below` has the slope `known`.
    fn best_slope(mean: f64, deviation: f64, above: f64, below: f64, known: f64) -> f64 {
        let pair = Pair { above, below };
        let agreements = [Agreement::of(&edm(Prediction::Data), &pair, PairWeight::Uniform); 4];
        let [data, noise] = two_points(mean, deviation);
        let affine = |slope: f64| move |x: Tensor<4>, _: Tensor<1>| (x - mean) * slope + mean;
        let at = |question: Question| states(&[question; 4], data.clone(), noise.clone());
        // Where the target's level is the data, its question reads the state whatever the network gives.
        let goal = expected_data(&[agreements[0].below; 4], at(agreements[0].below), affine(known));
        let loss = |slope: f64| {
            let states = at(agreements[0].above);
            let losses = losses(Distance::L2, &agreements, states, goal.clone(), affine(slope));
            numbers(losses).into_iter().sum::<f64>()
        };
        // The least value of a parabola.
        let [left, middle, right] = [-1.0, 0.0, 1.0].map(loss);
        0.5 * (left - right) / (left + right - 2.0 * middle)
    }

    /// Consistency training of a Gaussian: with two levels its minimum is the posterior mean, no consistency function; with
    /// more, the function that a chain of minima ends in nears it.
    #[test]
    fn two_levels_make_a_denoiser_and_many_a_consistency_model() {
        let (mean, deviation) = (0.7, 0.3);
        for above in [0.1, 0.5, 4.0] {
            let denoiser = best_slope(mean, deviation, above, 0.0, 1.0);
            let posterior = deviation * deviation / (deviation * deviation + above * above);
            assert!((denoiser - posterior).abs() < 1e-12, "{denoiser} {posterior}");
            // The exact one is `m + (x - m) sqrt((s^2 + sigma_min^2) / (s^2 + t^2))`, as quantiles say it, too.
            let exact = deviation.hypot(SIGMA_MIN) / deviation.hypot(above);
            let gaussian = Mixture::new(vec![1.0], vec![vec![mean]], vec![vec![deviation * deviation]]).unwrap();
            let point = |sigma| Path::Edm(Edm::default()).at(Path::Edm(Edm::default()).time_of_native(sigma));
            let transported = gaussian.transport(mean + 0.6, &point(above), &point(SIGMA_MIN));
            assert!((transported - mean - 0.6 * exact).abs() < 1e-9);
            let error = |levels: u64| {
                let levels = Levels::Constant { levels };
                let law = IntervalLaw::Uniform;
                let (sigma_min, sigma_max) = (SIGMA_MIN, above);
                let sigmas = Grid { levels, law, stratified: false, sigma_min, sigma_max, rho: 7.0 }.sigmas(0);
                let chain =
                    sigmas.windows(2).fold(1.0, |known, ends| best_slope(mean, deviation, ends[1], ends[0], known));
                (chain / exact - 1.0).abs()
            };
            let errors = [2, 9, 33, 129].map(error);
            assert!(errors.windows(2).all(|pair| pair[1] < 0.5 * pair[0]), "{above}: {errors:?}");
            assert!(errors[3] < 0.03, "{above}: {errors:?}");
        }
    }

    /// Where every target is the data, this is denoising: the same loss and gradient as the denoising objective's in
    /// squares, and the gradient of the norm over t in ECT's.
    #[test]
    fn without_a_lower_level_it_is_denoising() {
        let device = Device::flex().autodiff();
        let parameterization = Parameterization {
            input_scale: InputScale::UnitVariance { sigma_data: 0.5 },
            ..edm(Prediction::EdmF { sigma_data: 0.5 })
        };
        let sigmas = [0.05, 0.4, 7.0];
        let agreements =
            |weight| sigmas.map(|above| Agreement::of(&parameterization, &Pair { above, below: 0.0 }, weight));
        let tensor = |seed: usize| {
            let values: Vec<f64> = (0..12).map(|i| ((i * seed) % 17) as f64 / 8.0 - 1.0).collect();
            Tensor::<4>::from_data(TensorData::new(values, [3, 1, 2, 2]), (&device, DType::F64))
        };
        let (data, noise) = (tensor(5), tensor(7));
        let network = |weight: Tensor<4>| move |x: Tensor<4>, time: Tensor<1>| x * weight + time.reshape([3, 1, 1, 1]);
        let weight = || images(&[0.3], &device, DType::F64).require_grad();
        let consistent = |distance, pairs| {
            let (agreements, weight) = (agreements(pairs), weight());
            let above: Vec<Question> = agreements.iter().map(|agreement| agreement.above).collect();
            let below: Vec<Question> = agreements.iter().map(|agreement| agreement.below).collect();
            let goal = expected_data(&below, states(&below, data.clone(), noise.clone()), |x, _| x * 123.0);
            let states = states(&above, data.clone(), noise.clone());
            let losses = losses(distance, &agreements, states, goal, network(weight.clone()));
            let gradient = weight.grad(&losses.clone().sum().backward()).unwrap();
            (numbers(losses), numbers(gradient)[0])
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()), "{a} {b}");

        let denoising = Denoising {
            path: parameterization.path.clone(),
            prediction: parameterization.prediction,
            input_scale: parameterization.input_scale,
            time_label: parameterization.time_label,
            weight: Weight::LossOf { prediction: Prediction::Data },
            time: TimeLaw::default(),
            condition_dropout: 0.0,
        };
        let points: Vec<_> = sigmas.iter().map(|s| denoising.path.at(denoising.path.time_of_native(*s))).collect();
        let parameter = weight();
        let losses = denoising.losses(data.clone(), noise.clone(), &points, network(parameter.clone()));
        let gradient = numbers(parameter.grad(&losses.clone().sum().backward()).unwrap())[0];
        let (found, found_gradient) = consistent(Distance::L2, PairWeight::Uniform);
        close(found_gradient, gradient);
        found.iter().zip(numbers(losses)).for_each(|(found, expected)| close(*found, expected));

        // |D - x0| / t, from the denoiser itself.
        let parameter = weight();
        let above = agreements(PairWeight::Uniform).map(|agreement| agreement.above);
        let read = expected_data(&above, states(&above, data.clone(), noise.clone()), network(parameter.clone()));
        let norms = (read - data.clone()).square().flatten::<2>(1, 3).sum_dim(1).sqrt().squeeze_dim::<1>(1);
        let norms = norms / values(&sigmas, &device, DType::F64);
        let gradient = numbers(parameter.grad(&norms.clone().sum().backward()).unwrap())[0];
        let (found, found_gradient) = consistent(Distance::Norm, PairWeight::InverseStep);
        close(found_gradient, gradient);
        found.iter().zip(numbers(norms)).for_each(|(found, expected)| close(*found, expected));
    }

    /// Over the distance of levels, what two states of one path disagree by tends to the change of f along it.
    #[test]
    fn near_levels_give_the_total_derivative() {
        let mixture = Mixture::three_bumps();
        let f = |x: f64, sigma: f64| (x / sigma.hypot(0.8)).tanh() * 0.9;
        let (x, sigma) = (0.6, 0.7);
        let path = Path::Edm(Edm::default());
        let point = |sigma: f64| path.at(path.time_of_native(sigma));
        let disagreement = |below: f64| {
            let there = mixture.transport(x, &point(sigma), &point(below));
            (f(x, sigma) - f(there, below)) / (sigma - below)
        };
        // df/dx dx/dsigma + df/dsigma with dx/dsigma = (x - D) / sigma.
        let slope = (x - mixture.denoise(&[x], 1.0, sigma).data[0]) / sigma;
        let h = 1e-5;
        let total = (f(x + h * slope, sigma + h) - f(x - h * slope, sigma - h)) / (2.0 * h);
        let errors = [0.004, 0.002, 0.001].map(|step| (disagreement(sigma - step) - total).abs());
        assert!(errors.windows(2).all(|pair| (pair[0] / pair[1] - 2.0).abs() < 0.1), "{errors:?}");
    }
}

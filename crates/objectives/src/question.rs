//! What a network is asked at one state of each image, and how its answer is read.

use burn::tensor::Tensor;
use sinter_process::{Linear, Parameterization, PathPoint, Reading};
use sinter_sampling::{per_image, values};

/// A state `alpha x0 + sigma eps` and how a network is fed and read there. A loss that asks its networks at several
/// levels of noise makes one for each image and level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// Signal coefficient of the state.
    pub alpha: f64,
    /// Noise coefficient of the state.
    pub sigma: f64,
    /// How the network is fed and read.
    pub reading: Reading,
}

impl Question {
    /// At a point of the network's own path.
    pub fn at(parameterization: &Parameterization, point: &PathPoint) -> Self {
        Self { alpha: point.alpha, sigma: point.sigma, reading: parameterization.reading(point) }
    }

    /// At the noise-to-signal ratio `rho` of the network's own path, finite. At 0 the state is the data, and so is what
    /// is read of it, whatever the network gives.
    pub fn of_noise(parameterization: &Parameterization, rho: f64) -> Self {
        let path = &parameterization.path;
        if rho > 0.0 {
            return Self::at(parameterization, &path.at(path.time_of_lambda(-rho.ln())));
        }
        let first = path.at(parameterization.time_range().0);
        let reading = Reading { data: Linear { x: 1.0, prediction: 0.0 }, ..parameterization.reading(&first) };
        Self { alpha: 1.0, sigma: 0.0, reading }
    }

    /// The noise-to-signal ratio.
    pub fn rho(&self) -> f64 {
        self.sigma / self.alpha
    }
}

/// The state of each image, `[b, c, h, w]`, from its data and noise.
pub fn states(questions: &[Question], data: Tensor<4>, noise: Tensor<4>) -> Tensor<4> {
    let column = |of: &dyn Fn(&Question) -> f64| column(questions, of, &data);
    let (alpha, sigma) = (column(&|question| question.alpha), column(&|question| question.sigma));
    data * alpha + noise * sigma
}

/// The clean data that a network expects of each state, `[b, c, h, w]`, in the float type of the states.
///
/// `network` maps (scaled input `[b, c, h, w]`, time labels `[b]`) to its output, of which the first `c` channels are
/// read.
pub fn expected_data(
    questions: &[Question],
    states: Tensor<4>,
    network: impl FnOnce(Tensor<4>, Tensor<1>) -> Tensor<4>,
) -> Tensor<4> {
    let column = |of: &dyn Fn(&Question) -> f64| column(questions, of, &states);
    let labels: Vec<f64> = questions.iter().map(|question| question.reading.label).collect();
    let labels = values(&labels, &states.device(), states.dtype()); // [b]
    let input = states.clone() * column(&|question| question.reading.scale);
    let output = network(input, labels).narrow(1, 0, states.dims()[1]); // [b, c, h, w]
    let (x, prediction) = (column(&|question| question.reading.data.x), column(&|q| q.reading.data.prediction));
    states * x + output * prediction
}

/// One number an image, `[b, 1, 1, 1]`.
pub(crate) fn column(questions: &[Question], of: &dyn Fn(&Question) -> f64, like: &Tensor<4>) -> Tensor<4> {
    per_image(&questions.iter().map(of).collect::<Vec<_>>(), like)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use sinter_process::path::Edm;
    use sinter_process::{InputScale, Path, Prediction, TimeLabel};

    use super::*;

    fn edm() -> Parameterization {
        Parameterization {
            path: Path::Edm(Edm::default()),
            prediction: Prediction::EdmF { sigma_data: 0.5 },
            input_scale: InputScale::UnitVariance { sigma_data: 0.5 },
            time_label: TimeLabel::LogSigma,
        }
    }

    #[test]
    fn without_noise_the_answer_is_the_state() {
        let device = Device::flex();
        let data = Tensor::<4>::from_data(TensorData::new(vec![0.3f32, -0.7], [1, 1, 1, 2]), &device);
        for parameterization in [edm(), Parameterization { prediction: Prediction::Epsilon, ..edm() }] {
            let question = Question::of_noise(&parameterization, 0.0);
            let states = states(&[question], data.clone(), data.ones_like() * 5.0);
            let read = expected_data(&[question], states, |input, label| {
                assert!(label.into_scalar::<f32>().is_finite());
                input * 100.0 - 3.0
            });
            read.into_data().assert_eq(&data.to_data(), true);
        }
    }

    #[test]
    fn a_level_is_where_it_is_said_to_be() {
        for rho in [0.002, 0.1, 3.0, 80.0] {
            for path in [Path::LinearFlow, Path::Trigonometric, Path::Edm(Edm::default())] {
                let question = Question::of_noise(&Parameterization { path, ..edm() }, rho);
                assert!((question.rho() / rho - 1.0).abs() < 1e-13);
            }
        }
    }
}

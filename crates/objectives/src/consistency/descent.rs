//! From a state to the one below it, at which the target is asked.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::question::Question;

/// How the state of the lower level is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Descent {
    /// Of the same data and the same noise, without a teacher: consistency training. It is Euler's step with the data in
    /// place of what a teacher expects of them.
    #[default]
    SameNoise,
    /// By Euler's step along the teacher's probability flow.
    Euler,
    /// By Heun's step along the teacher's probability flow; Euler's where it ends at the data.
    Heun,
}

/// The steps' combinations, on states of the network's own path. In the states `y = x / alpha` and the noise `rho = sigma /
/// alpha` the flow is `dy/drho = (y - D) / rho` for expected data D, so that from x at rho to rho' with `h = rho' - rho`
///
/// * Euler: `p = (sigma' / sigma) x + alpha' (1 - rho' / rho) D`,
/// * Heun: `x' = (alpha' / alpha) (1 + h / 2 rho) x - alpha' (h / 2 rho) D + (h / 2 rho') (p - alpha' D')`
///
/// with D' expected at p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// Of (x, D) in p.
    pub euler: [f64; 2],
    /// Of (x, D, p, D') in x'.
    pub heun: [f64; 4],
}

impl Coefficients {
    /// For the step between two states of one path, `from` with noise.
    pub fn between(from: &Question, to: &Question) -> Self {
        let (rho, next) = (from.rho(), to.rho());
        let euler = [to.sigma / from.sigma, to.alpha * (1.0 - next / rho)];
        let (half, half_next) = ((next - rho) / (2.0 * rho), (next - rho) / (2.0 * next));
        let heun = match next > 0.0 {
            true => [to.alpha / from.alpha * (1.0 + half), -to.alpha * half, half_next, -to.alpha * half_next],
            false => [0.0, 0.0, 1.0, 0.0],
        };
        Self { euler, heun }
    }
}

impl Descent {
    /// Whether a teacher is asked.
    pub fn asks_teacher(self) -> bool {
        self != Self::SameNoise
    }

    /// The states of the level below, `[b, c, h, w]`, from those above, by the teacher: `teacher(x, questions)` is the
    /// clean data that it expects of states x. Not for [`Descent::SameNoise`], which knows no teacher.
    pub fn step(
        self,
        states: Tensor<4>,
        from: &[Question],
        to: &[Question],
        teacher: impl Fn(Tensor<4>, &[Question]) -> Tensor<4>,
    ) -> Tensor<4> {
        let pairs: Vec<Coefficients> = from.iter().zip(to).map(|(a, b)| Coefficients::between(a, b)).collect();
        let column = |of: &dyn Fn(&Coefficients) -> f64| {
            let values: Vec<f64> = pairs.iter().map(of).collect();
            sinter_sampling::per_image(&values, &states) // [b, 1, 1, 1]
        };
        let data = teacher(states.clone(), from);
        let predicted = states.clone() * column(&|c| c.euler[0]) + data.clone() * column(&|c| c.euler[1]);
        if self != Self::Heun {
            return predicted;
        }
        // Where the step ends at the data, Euler's is the whole, and nothing can be asked.
        let asked: Vec<Question> = from.iter().zip(to).map(|(a, b)| if b.sigma > 0.0 { *b } else { *a }).collect();
        let next = teacher(predicted.clone(), &asked);
        states.clone() * column(&|c| c.heun[0])
            + data * column(&|c| c.heun[1])
            + predicted * column(&|c| c.heun[2])
            + next * column(&|c| c.heun[3])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};
    use sinter_process::mixture::Mixture;
    use sinter_process::path::{Edm, VpLinear};
    use sinter_process::{InputScale, Parameterization, Path, Prediction, TimeLabel};
    use sinter_solvers::{Euler, Heun, Solver, compile, exploding, host};

    use super::*;

    fn parameterization(path: Path) -> Parameterization {
        let (prediction, input_scale) = (Prediction::V, InputScale::None);
        Parameterization { path, prediction, input_scale, time_label: TimeLabel::Unit }
    }

    /// Clean data that the three bumps expect of states.
    fn expected(states: Tensor<4>, questions: &[Question]) -> Tensor<4> {
        let mixture = Mixture::three_bumps();
        let values: Vec<f64> = states.to_data().iter::<f64>().collect();
        let data = values.iter().zip(questions).map(|(x, q)| mixture.denoise(&[*x], q.alpha, q.sigma).data[0]);
        Tensor::from_data(TensorData::new(data.collect(), states.dims()), (&states.device(), DType::F64))
    }

    fn step(descent: Descent, x: f64, from: Question, to: Question) -> f64 {
        let x = Tensor::<4>::from_data(TensorData::new(vec![x], [1, 1, 1, 1]), (&Device::flex(), DType::F64));
        descent.step(x, &[from], &[to], expected).into_data().iter::<f64>().next().unwrap()
    }

    /// The same steps as the solvers of these names take on states x / alpha.
    #[test]
    fn steps_are_the_solvers() {
        for path in [Path::LinearFlow, Path::VpLinear(VpLinear::default()), Path::Edm(Edm::default())] {
            let parameterization = parameterization(path);
            for (rho, next, y) in [(3.0, 1.2, -2.0), (0.5, 0.4, 0.3), (0.02, 0.0, 1.1)] {
                let [from, to] = [rho, next].map(|rho| Question::of_noise(&parameterization, rho));
                let solvers = [Solver::Euler(Euler::default()), Solver::Heun(Heun::default())];
                for (descent, solver) in [Descent::Euler, Descent::Heun].into_iter().zip(solvers) {
                    let plan = compile(&solver, &[exploding(rho), exploding(next)]).unwrap();
                    let data = |x: &[f64], level: sinter_solvers::Level| {
                        vec![Mixture::three_bumps().denoise(x, level.alpha, level.sigma).data[0]]
                    };
                    let there = host::execute(&plan, vec![y], 1, data, |_| vec![], |_| {}).unwrap()[0];
                    let here = step(descent, from.alpha * y, from, to) / to.alpha;
                    assert!((here - there).abs() < 1e-12, "{descent:?} {rho}: {here} {there}");
                }
            }
        }
    }

    /// With the exact teacher, what an exact consistency function says before and after a step differs by the step's own
    /// error: of the third order in its length for Heun, of the second for Euler.
    #[test]
    fn errors_of_one_step_have_their_order() {
        let mixture = Mixture::three_bumps();
        let parameterization = parameterization(Path::Edm(Edm::default()));
        for (descent, order) in [(Descent::Euler, 2.0), (Descent::Heun, 3.0)] {
            for (x, rho) in [(-0.5, 0.5), (1.3, 0.8), (2.6, 2.0)] {
                let error = |length: f64| {
                    let [from, to] = [rho, rho - length].map(|rho| Question::of_noise(&parameterization, rho));
                    let below = step(descent, x, from, to);
                    let f = |x: f64, rho: f64| mixture.transport(x, &exploding(rho), &exploding(0.002));
                    (f(x, rho) - f(below, rho - length)).abs()
                };
                let slope = (error(0.02) / error(0.01)).log2();
                assert!((slope - order).abs() < 0.2, "{descent:?} at {rho}: {slope}");
            }
        }
    }
}

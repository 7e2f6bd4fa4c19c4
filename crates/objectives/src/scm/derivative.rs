//! F of a network on the circle, and how it changes along a direction.
//!
//! [`TrigFlow`] says how a network of any parameterization gives F. On tensors that is [`output`], which works on duals: as
//! the state and the time move, so do the wrapper's four numbers, and F's derivative in `ln rho` comes out exactly.
//! [`difference`] finds the same from two more passes, for what has no dual form.

use burn::tensor::Tensor;
use sinter_models::Dual;
use sinter_process::{Parameterization, PathPoint, TrigFlow, Wrapped};
use sinter_sampling::{per_image, values};

/// The largest step of a difference along the arc, in radians, for time embeddings that turn with frequencies of at
/// most 1.
const LARGEST_STEP: f64 = 1e-2;
/// The smallest: below, rounding in 32-bit floats outweighs what a smaller step gains.
const SMALLEST_STEP: f64 = 1e-3;
/// The frequency above which a difference of 32-bit floats says too little.
pub const LARGEST_FREQUENCY: f64 = 30.0;

/// F of each state `s`, `[b, c, h, w]`, and its derivative where the states move in `ln rho` with their tangent.
///
/// `wrapped` are the wrapper's numbers of each image and `rates` their derivatives in `ln rho`, looked at where s moves.
/// `network` maps (input, time labels) to its output, of which the first `c` channels are read.
pub fn output(
    s: Dual<4>,
    wrapped: &[Wrapped],
    rates: &[Wrapped],
    network: impl FnOnce(Dual<4>, Dual<1>) -> Dual<4>,
) -> Dual<4> {
    let (moves, channels) = (s.moves(), s.dims()[1]);
    let (device, dtype) = (s.value.device(), s.value.dtype());
    let numbers = |of: fn(&Wrapped) -> f64, from: &[Wrapped]| from.iter().map(of).collect::<Vec<f64>>();
    let column = |of: fn(&Wrapped) -> f64| {
        let at = |from: &[Wrapped]| per_image(&numbers(of, from), &s.value); // [b, 1, 1, 1]
        Dual { value: at(wrapped), tangent: moves.then(|| at(rates)) }
    };
    let label = |from: &[Wrapped]| values(&numbers(|wrapped| wrapped.label, from), &device, dtype); // [b]
    let label = Dual { value: label(wrapped), tangent: moves.then(|| label(rates)) };
    let [state, scale, input] =
        [column(|wrapped| wrapped.state), column(|wrapped| wrapped.output), column(|wrapped| wrapped.input)];
    let made = network(s.clone() * input, label).each(|made| made.narrow(1, 0, channels));
    s * state + made * scale
}

/// The points on a network's path of angles on the circle.
pub fn points(trigflow: &TrigFlow, parameterization: &Parameterization, angles: &[f64]) -> Vec<PathPoint> {
    let path = &parameterization.path;
    angles.iter().map(|angle| path.at(path.time_of_lambda(trigflow.lambda(*angle)))).collect()
}

/// The step of a central difference along the arc: the optimum `1e-2` for time embeddings that turn with a frequency of
/// at most 1 a radian, less in proportion above, and none from [`LARGEST_FREQUENCY`] on.
///
/// The error of a difference grows with the cube of the frequency, that of rounding with the inverse of the step.
pub fn difference_step(frequency: f64) -> Option<f64> {
    (frequency <= LARGEST_FREQUENCY).then(|| (LARGEST_STEP / frequency).clamp(SMALLEST_STEP, LARGEST_STEP))
}

/// How fast a network's time embedding turns at a point, in radians an angle: its label's rate times `highest`, the
/// highest frequency at which the embedding tells its label.
pub fn frequency(trigflow: &TrigFlow, parameterization: &Parameterization, point: &PathPoint, highest: f64) -> f64 {
    let (sine, cosine) = trigflow.angle(point).sin_cos();
    (trigflow.wrap_rate(parameterization, point).label / (sine * cosine)).abs() * highest
}

/// The derivative of F in `ln rho` by a central difference along the arc through states `s` at `angles` with velocities
/// `v`, all `[b, c, h, w]`: `sin cos (F(s+, theta + h) - F(s-, theta - h)) / 2h` with `s+- = cos(h) s +- sin(h) v`, which
/// keeps a state's size where the line does not.
///
/// An image whose step would leave half of the way to either end of the arc takes that half.
pub fn difference(
    trigflow: &TrigFlow,
    parameterization: &Parameterization,
    [s, v]: [Tensor<4>; 2],
    angles: &[f64],
    steps: &[f64],
    network: impl Fn(Tensor<4>, Tensor<1>) -> Tensor<4>,
) -> Tensor<4> {
    let rest = |angle: f64| angle.min(std::f64::consts::FRAC_PI_2 - angle);
    let steps: Vec<f64> = angles.iter().zip(steps).map(|(angle, step)| step.min(0.5 * rest(*angle))).collect();
    let side = |sign: f64| {
        let moved: Vec<f64> = angles.iter().zip(&steps).map(|(angle, step)| angle + sign * step).collect();
        let column = |of: fn(f64) -> f64| per_image(&steps.iter().map(|h| of(*h)).collect::<Vec<_>>(), &s);
        let state = s.clone() * column(f64::cos) + v.clone() * column(f64::sin) * sign;
        let points = points(trigflow, parameterization, &moved);
        let wrapped: Vec<Wrapped> = points.iter().map(|point| trigflow.wrap(parameterization, point)).collect();
        output(state.into(), &wrapped, &[], |input, label| network(input.value, label.value).into()).value
    };
    let factors: Vec<f64> = angles.iter().zip(&steps).map(|(angle, h)| angle.sin() * angle.cos() / (2.0 * h)).collect();
    (side(1.0) - side(-1.0)) * per_image(&factors, &s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_shrink_with_the_frequency() {
        assert_eq!([0.0, 0.3, 1.0].map(difference_step), [Some(1e-2); 3]);
        assert_eq!([2.0, 10.0, 30.0].map(difference_step), [Some(5e-3), Some(1e-3), Some(1e-3)]);
        assert_eq!([30.1, 1000.0].map(difference_step), [None; 2]);
    }
}

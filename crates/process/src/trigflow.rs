//! TrigFlow: a network of any parameterization seen on the circle, exactly.
//!
//! With `rho = sigma / alpha` the angle `theta = atan(rho / sigma_data)` runs from 0 at data to pi/2 at noise, and every
//! state is a multiple of `s = cos(theta) x0 / sigma_data + sin(theta) eps`, which has variance 1 (Lu and Song 2024,
//! section 3). On the circle a network is asked for `F = cos(theta) eps - sin(theta) x0 / sigma_data`, the velocity
//! `ds / dtheta`. Any prediction determines F, given the state, so that no network has to be trained anew:
//! `F = state s + output N(input s, label)` with four numbers that depend on time alone. For linear flow this is the
//! wrapper of SANA-Sprint (Chen et al. 2025, section 3.2); EDM's raw network is -F.
//!
//! Consistency training in continuous time needs `sin(theta) cos(theta) dF/dtheta`. That is the derivative in
//! `ln rho = -lambda`, the clock of the functions below: in it all four numbers are smooth up to both ends.

use serde::{Deserialize, Serialize};

use crate::{Parameterization, PathPoint, Prediction};

/// The circle for data of a standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrigFlow {
    /// Standard deviation of the data, > 0.
    pub sigma_data: f64,
}

/// How a network gives F: `F = state s + output N(input s, label)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wrapped {
    /// Coefficient of the state s.
    pub state: f64,
    /// Coefficient of the network's output.
    pub output: f64,
    /// The factor on s before it enters the network.
    pub input: f64,
    /// The number by which the network is told the time.
    pub label: f64,
}

impl TrigFlow {
    /// The angle of a point, in [0, pi/2].
    pub fn angle(&self, point: &PathPoint) -> f64 {
        point.sigma.atan2(point.alpha * self.sigma_data)
    }

    /// The `lambda` of an angle.
    pub fn lambda(&self, angle: f64) -> f64 {
        -(self.sigma_data * angle.tan()).ln()
    }

    /// The factor from s to the path's state at a point: the state's standard deviation.
    pub fn deviation(&self, point: &PathPoint) -> f64 {
        point.sigma.hypot(point.alpha * self.sigma_data)
    }

    /// F of a network at a point of its path.
    pub fn wrap(&self, parameterization: &Parameterization, point: &PathPoint) -> Wrapped {
        let deviation = self.deviation(point);
        let reading = parameterization.reading(point);
        let edm = Prediction::EdmF { sigma_data: self.sigma_data };
        let map = parameterization.prediction.convert(&edm, point);
        Wrapped {
            state: -map.x * deviation,
            output: -map.prediction,
            input: reading.scale * deviation,
            label: reading.label,
        }
    }

    /// The derivatives of [`wrap`](Self::wrap)'s numbers in `ln rho` at a point: by central differences of order six,
    /// which leave about ten digits. What a path or a label does in steps (tables of discrete chains) is smoothed over
    /// a twentieth.
    pub fn wrap_rate(&self, parameterization: &Parameterization, point: &PathPoint) -> Wrapped {
        const STEP: f64 = 0.02;
        let path = &parameterization.path;
        let at = |offset: f64| {
            let point = path.at(path.time_of_lambda(point.lambda() - offset * STEP));
            self.wrap(parameterization, &point)
        };
        let mut rate = Wrapped::default();
        for (offset, weight) in [(1.0, 0.75), (2.0, -0.15), (3.0, 1.0 / 60.0)] {
            let (after, before, weight) = (at(offset), at(-offset), weight / STEP);
            rate.state += weight * (after.state - before.state);
            rate.output += weight * (after.output - before.output);
            rate.input += weight * (after.input - before.input);
            rate.label += weight * (after.label - before.label);
        }
        rate
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use proptest::prelude::*;

    use super::*;
    use crate::path::{Edm, VpLinear};
    use crate::{InputScale, Path, TimeLabel};

    fn flow(time_label: TimeLabel) -> Parameterization {
        let (path, prediction) = (Path::LinearFlow, Prediction::Velocity);
        Parameterization { path, prediction, input_scale: InputScale::None, time_label }
    }

    fn parameterizations() -> Vec<Parameterization> {
        let of =
            |path, prediction, input_scale, time_label| Parameterization { path, prediction, input_scale, time_label };
        let scale = InputScale::UnitVariance { sigma_data: 0.5 };
        vec![
            flow(TimeLabel::Unit),
            of(Path::Edm(Edm::default()), Prediction::EdmF { sigma_data: 0.5 }, scale, TimeLabel::LogSigma),
            of(Path::VpLinear(VpLinear::default()), Prediction::Epsilon, InputScale::None, TimeLabel::Unit),
            of(Path::Trigonometric, Prediction::V, InputScale::None, TimeLabel::Native),
            of(Path::LinearFlow, Prediction::EdmF { sigma_data: 1.0 }, scale, TimeLabel::LogHalfSigma),
        ]
    }

    proptest! {
        /// The exact output of any network gives the exact F.
        #[test]
        fn every_network_gives_the_same_f(
            lambda in -4.0f64..5.0, data in -2.0f64..2.0, noise in -2.0f64..2.0, sigma_data in 0.2f64..1.5,
        ) {
            let trigflow = TrigFlow { sigma_data };
            for parameterization in parameterizations() {
                let path = &parameterization.path;
                let point = path.at(path.time_of_lambda(lambda));
                let (sine, cosine) = trigflow.angle(&point).sin_cos();
                let s = cosine * data / sigma_data + sine * noise;
                let x = point.alpha * data + point.sigma * noise;
                prop_assert!((x - s * trigflow.deviation(&point)).abs() < 1e-12 * (1.0 + x.abs()));
                let target = parameterization.prediction.target(&point);
                let wrapped = trigflow.wrap(&parameterization, &point);
                let f = wrapped.state * s + wrapped.output * (target.data * data + target.noise * noise);
                let exact = cosine * noise - sine * data / sigma_data;
                prop_assert!((f - exact).abs() < 1e-9, "{parameterization:?}: {f} {exact}");
                // What the network is fed is its own path's state, scaled as it was trained.
                let reading = parameterization.reading(&point);
                prop_assert!((wrapped.input * s - reading.scale * x).abs() < 1e-12 * (1.0 + x.abs()));
                prop_assert!((trigflow.lambda(trigflow.angle(&point)) - point.lambda()).abs() < 1e-9);
            }
        }

        /// SANA-Sprint's wrapper as published, and its derivatives.
        #[test]
        fn of_linear_flow_it_is_published(angle in 0.02f64..1.55) {
            let trigflow = TrigFlow { sigma_data: 1.0 };
            let (sine, cosine) = angle.sin_cos();
            let tau = sine / (sine + cosine);
            let lam = (tau * tau + (1.0 - tau).powi(2)).sqrt();
            let parameterization = flow(TimeLabel::Unit);
            let point = Path::LinearFlow.at(Path::LinearFlow.time_of_lambda(trigflow.lambda(angle)));
            let wrapped = trigflow.wrap(&parameterization, &point);
            let published = [1.0 - 2.0 * tau, (1.0 - 2.0 * tau + 2.0 * tau * tau) / lam, lam, tau];
            let ours = [wrapped.state, wrapped.output, wrapped.input, wrapped.label];
            for (ours, published) in ours.iter().zip(published) {
                prop_assert!((ours - published).abs() < 1e-12, "{ours} {published}");
            }
            // d tau / d ln rho = tau (1 - tau), and lam lam' = (2 tau - 1) tau'.
            let rate = trigflow.wrap_rate(&parameterization, &point);
            let fall = tau * (1.0 - tau);
            let lam_rate = (2.0 * tau - 1.0) * fall / lam;
            let published = [-2.0 * fall, lam_rate, lam_rate, fall];
            for (ours, published) in [rate.state, rate.output, rate.input, rate.label].iter().zip(published) {
                prop_assert!((ours - published).abs() < 1e-10, "{ours} {published}");
            }
        }

        /// `cos sin d/dtheta = d/d ln rho`: of EDM's label the rate is 1/4, of its other numbers 0; of an angle sin cos.
        #[test]
        fn rates_are_those_of_the_logarithm_of_noise(lambda in -4.0f64..5.0) {
            let trigflow = TrigFlow { sigma_data: 0.5 };
            let all = parameterizations();
            let at = |p: &Parameterization| p.path.at(p.path.time_of_lambda(lambda));
            let edm = trigflow.wrap_rate(&all[1], &at(&all[1]));
            prop_assert!((edm.label - 0.25).abs() < 1e-10);
            prop_assert!(edm.state.abs() + edm.output.abs() + edm.input.abs() < 1e-10, "{edm:?}");
            let circle = TrigFlow { sigma_data: 1.0 };
            let (sine, cosine) = circle.angle(&at(&all[3])).sin_cos();
            let native = circle.wrap_rate(&all[3], &at(&all[3]));
            prop_assert!((native.label - sine * cosine).abs() < 1e-10, "{native:?}");
        }
    }

    #[test]
    fn both_ends_are_on_the_circle() {
        let trigflow = TrigFlow { sigma_data: 0.5 };
        for (t, angle) in [(0.0, 0.0), (1.0, FRAC_PI_2)] {
            let point = Path::LinearFlow.at(t);
            assert!((trigflow.angle(&point) - angle).abs() < 1e-15);
            let wrapped = trigflow.wrap(&flow(TimeLabel::Unit), &point);
            assert!(wrapped.state.is_finite() && wrapped.output.is_finite() && wrapped.input.is_finite());
        }
    }
}

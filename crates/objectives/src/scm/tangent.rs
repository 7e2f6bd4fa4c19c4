//! The tangent that a continuous-time consistency model is trained along, as combinations of what its networks give.
//!
//! On the circle (see [`TrigFlow`](sinter_process::TrigFlow)) with states s and network outputs F, a student reads the data
//! `f = sigma_data (cos(theta) s - sin(theta) F)`. Along a path of the flow whose velocity is `v = ds/dtheta`, f does not
//! change if `cos(theta) df/dtheta = 0`; what training makes of it is
//!
//! `g = sigma_data [cos^2(theta) (v - F) - w (sin(theta) cos(theta) s + dF/d ln rho)]`
//!
//! with a warm-up w from 0 to 1 (Lu and Song 2024, eq. 6 and section 4.1; `dF/d ln rho = sin cos dF/dtheta`). F is pulled
//! towards F + g, so that f moves against its own change.

/// The combination `output F + velocity v + state s + rate Q`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tangent {
    /// Coefficient of the student's output F.
    pub output: f64,
    /// Coefficient of the velocity v.
    pub velocity: f64,
    /// Coefficient of the state s.
    pub state: f64,
    /// Coefficient of Q: of `dF / d ln rho`, or of F at the other time.
    pub rate: f64,
}

impl Tangent {
    /// g, with Q the derivative of F in `ln rho`.
    pub fn continuous(sigma_data: f64, angle: f64, warmup: f64) -> Self {
        let (sine, cosine) = angle.sin_cos();
        Self {
            output: -sigma_data * cosine * cosine,
            velocity: sigma_data * cosine * cosine,
            state: -sigma_data * warmup * sine * cosine,
            rate: -sigma_data * warmup,
        }
    }

    /// The discrete form: `cos(theta) (f(s, theta) - f(s', theta')) / sin(theta - theta')` with a warm-up in the same places,
    /// where `s' = cos(theta - theta') s - sin(theta - theta') v` is DDIM's step to an angle `next` below and Q is F there. It
    /// needs no derivative.
    pub fn discrete(sigma_data: f64, angle: f64, next: f64, warmup: f64) -> Self {
        let scale = sigma_data * angle.cos();
        let ((sine, cosine), (sine_step, cosine_step)) = (next.sin_cos(), (angle - next).sin_cos());
        let share = warmup * sine / sine_step;
        Self {
            output: -scale * (cosine + share * cosine_step),
            velocity: scale * cosine,
            state: -scale * warmup * sine,
            rate: scale * share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGMA_DATA: f64 = 0.5;
    const MEAN: f64 = 0.7;
    const DEVIATION: f64 = 0.3;

    /// Of `N(MEAN, DEVIATION^2)` on the circle: standard deviation of the state `x = sigma_data s`, and x without its mean.
    fn centred(x: f64, angle: f64) -> (f64, f64) {
        let (sine, cosine) = angle.sin_cos();
        ((cosine * DEVIATION).hypot(sine * SIGMA_DATA), x - cosine * MEAN)
    }

    /// The exact velocity of the flow, `E[cos z - sin x0 | x] / sigma_data`.
    fn teacher(s: f64, angle: f64) -> f64 {
        let (sine, cosine) = angle.sin_cos();
        let (spread, centred) = centred(SIGMA_DATA * s, angle);
        let part = centred / (spread * spread);
        let data = MEAN + cosine * DEVIATION * DEVIATION * part;
        let noise = sine * SIGMA_DATA * SIGMA_DATA * part;
        (cosine * noise - sine * data) / SIGMA_DATA
    }

    /// The output of the exact consistency function.
    fn student(s: f64, angle: f64) -> f64 {
        let (spread, centred) = centred(SIGMA_DATA * s, angle);
        let data = MEAN + centred * DEVIATION / spread;
        (angle.cos() * s - data / SIGMA_DATA) / angle.sin()
    }

    fn data(f: impl Fn(f64, f64) -> f64, s: f64, angle: f64) -> f64 {
        SIGMA_DATA * (angle.cos() * s - angle.sin() * f(s, angle))
    }

    /// `dF/dtheta` along the arc through s with the teacher's velocity, by a difference of order six.
    fn rate(f: impl Fn(f64, f64) -> f64, s: f64, angle: f64) -> f64 {
        let (v, h) = (teacher(s, angle), 1e-2);
        let at = |step: f64| f(step.cos() * s + step.sin() * v, angle + step);
        let pair = |n: f64| at(n * h) - at(-n * h);
        (45.0 * pair(1.0) - 9.0 * pair(2.0) + pair(3.0)) / (60.0 * h)
    }

    const S: f64 = 0.4 / SIGMA_DATA;
    const ANGLE: f64 = 0.9;

    fn combined(tangent: Tangent, f: f64, v: f64, s: f64, q: f64) -> f64 {
        tangent.output * f + tangent.velocity * v + tangent.state * s + tangent.rate * q
    }

    /// For data `N(0.7, 0.3^2)` at x = 0.4 and the angle 0.9.
    #[test]
    fn known_numbers() {
        assert!((teacher(S, ANGLE) + 1.125_743_89).abs() < 5e-9);
        assert!((student(S, ANGLE) + 1.090_382_79).abs() < 5e-9);
        let (sine, cosine) = ANGLE.sin_cos();
        let of = |f: fn(f64, f64) -> f64| {
            let q = sine * cosine * rate(f, S, ANGLE);
            combined(Tangent::continuous(SIGMA_DATA, ANGLE, 1.0), f(S, ANGLE), teacher(S, ANGLE), S, q)
        };
        assert!(of(student).abs() < 1e-12, "{}", of(student));
        assert!((of(teacher) / cosine - 0.017_483_85).abs() < 5e-9, "{}", of(teacher) / cosine);
        for (step, expected) in [(0.1f64, 0.017_483_06), (0.01, 0.017_489_38), (0.001, 0.017_484_45)] {
            let v = teacher(S, ANGLE);
            let there = teacher(step.cos() * S - step.sin() * v, ANGLE - step);
            let tangent = Tangent::discrete(SIGMA_DATA, ANGLE, ANGLE - step, 1.0);
            let found = combined(tangent, teacher(S, ANGLE), v, S, there) / cosine;
            assert!((found - expected).abs() < 5e-9, "{step}: {found}");
        }
    }

    /// The tangent of the exact student is zero everywhere, the discrete one too; that of others is the change of its data.
    #[test]
    fn the_exact_student_stays() {
        for angle in [0.05, 0.4, 0.9, 1.3, 1.5] {
            for s in [-1.5, 0.2, 2.0] {
                let (sine, cosine) = f64::sin_cos(angle);
                let (f, v) = (student(s, angle), teacher(s, angle));
                let q = sine * cosine * rate(student, s, angle);
                let g = combined(Tangent::continuous(SIGMA_DATA, angle, 1.0), f, v, s, q);
                assert!(g.abs() < 1e-8, "{angle} {s}: {g}");
                // Any other function's: here one that adds to the exact student.
                let other = |s: f64, angle: f64| student(s, angle) + 0.3 * s * angle.sin() - 0.1 * angle * angle;
                let q = sine * cosine * rate(other, s, angle);
                let g = combined(Tangent::continuous(SIGMA_DATA, angle, 1.0), other(s, angle), v, s, q);
                let h = 1e-4;
                let at = |h: f64| data(other, f64::cos(h) * s + f64::sin(h) * v, angle + h);
                let change = cosine * (at(h) - at(-h)) / (2.0 * h);
                assert!((g - change).abs() < 1e-6, "{angle} {s}: {g} {change}");
                for step in [0.03f64, 0.3 * angle] {
                    let there = step.cos() * s - step.sin() * v;
                    let tangent = Tangent::discrete(SIGMA_DATA, angle, angle - step, 1.0);
                    let g = combined(tangent, other(s, angle), v, s, other(there, angle - step));
                    let change = data(other, s, angle) - data(other, there, angle - step);
                    assert!((g - cosine * change / step.sin()).abs() < 1e-12);
                }
            }
        }
    }

    /// Data `N(0, sigma_data^2)`: no velocity, and `F = -tan(theta / 2) s`.
    #[test]
    fn of_data_like_the_noise_nothing_moves() {
        for angle in [0.1, 0.8, 1.5] {
            let (s, f) = (0.7, -f64::tan(angle / 2.0) * 0.7);
            let rate = angle.sin() * angle.cos() * -0.5 * 0.7 / f64::cos(angle / 2.0).powi(2);
            let g = combined(Tangent::continuous(SIGMA_DATA, angle, 1.0), f, 0.0, s, rate);
            assert!(g.abs() < 1e-15, "{g}");
        }
    }

    /// Errors of the central difference of the teacher's output along the line and along the arc, at 0.1, 0.03 and 0.01.
    #[test]
    fn arcs_are_nearer_than_lines() {
        let v = teacher(S, ANGLE);
        let exact = rate(teacher, S, ANGLE);
        let difference = |at: &dyn Fn(f64) -> f64, h: f64| (at(h) - at(-h)) / (2.0 * h) - exact;
        let line = |h: f64| teacher(S + h * v, ANGLE + h);
        let arc = |h: f64| teacher(h.cos() * S + h.sin() * v, ANGLE + h);
        let known = [(0.1, -1.88e-3, 1.02e-3), (0.03, -1.71e-4, 9.1e-5), (0.01, -1.91e-5, 1.02e-5)];
        for (h, on_line, on_arc) in known {
            let found = [difference(&line, h), difference(&arc, h)];
            assert!((found[0] / on_line - 1.0).abs() < 6e-3, "{found:?}");
            assert!((found[1] / on_arc - 1.0).abs() < 6e-3, "{found:?}");
        }
    }
}

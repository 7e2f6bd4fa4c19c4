//! Fits rendered shapes to a patch of an image.
//!
//! A pixel's chroma is the object's times its coverage by the object, so a shape explains a patch as well as
//! `gain * coverage` fits it in the least squares sense. Centre, radius, angle and blur are found by damped
//! Gauss-Newton steps on that error (Levenberg and Marquardt), from the moments of the patch.

use super::Shape;
use super::render::{Slopes, Window, cover};
use super::scene::Pose;

/// A window of an image around one patch.
pub(crate) struct Patch {
    /// Width and height of the image in pixels.
    pub(crate) size: [usize; 2],
    /// The part of it that is fitted.
    pub(crate) window: Window,
    /// Chroma less the ground's, row by row.
    pub(crate) chroma: Vec<[f32; 2]>,
    /// 0 where a pixel may belong to something else, else 1.
    pub(crate) weights: Vec<f32>,
    /// The unit vector of the patch's hue.
    pub(crate) direction: [f32; 2],
    /// Variance of the noise in one component of the chroma.
    pub(crate) noise: f32,
}

/// How well a shape explains a patch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    /// The best pose.
    pub(crate) pose: Pose,
    /// Distance of the centre to the nearest border of the image over the circumradius.
    pub(crate) inside: f64,
    /// The share of the patch's energy that the shape leaves unexplained. What noise alone would leave is taken from
    /// both; in 0..=1.
    pub(crate) error: f64,
    /// The energy that the shape explains: the sum of squares of what it paints.
    pub(crate) energy: f64,
    /// The chroma of a wholly covered pixel.
    pub(crate) chroma: [f32; 2],
}

/// Centre and circumradius in pixels, angle in radians, and the blur's variance in square pixels.
type Parameters = [f64; 5];

/// Largest change of a parameter in one step.
const LONGEST: Parameters = [1.0, 1.0, 1.0, 0.2, 0.3];
/// Step by which the derivative for the blur is measured.
const BLUR_STEP: f32 = 0.05;
/// The first guess of the blur, and the strongest blur.
const BLUR: (f64, f64) = (0.2, 1.0);
/// The largest angle that is looked for; scenes have less.
const MOST_TILT: f64 = 0.3;
/// Steps of refinement in one round.
const STEPS: usize = 2;
/// Round by round, shapes with more than this many times the best shape's error are not refined further.
const HOPELESS: [f64; 4] = [12.0, 6.0, 4.0, 3.0];
/// Errors below this are not told apart: rounding, and a ground that is not quite grey.
pub(crate) const LEAST_ERROR: f64 = 2e-3;
/// Steps that lower the error by less than this share are the last.
const ENOUGH: f64 = 0.005;

/// Fits each of `shapes`, in their order; nothing where the patch is more noise than signal.
///
/// The fits are refined in rounds, and whoever falls far behind the best keeps the error that it has.
pub(crate) fn fit(patch: &Patch, shapes: &[Shape]) -> Vec<Fit> {
    let Some(signal) = Signal::new(patch) else { return Vec::new() };
    let mut guesses: Vec<Guess> = shapes.iter().map(|&shape| signal.guess(shape)).collect();
    for hopeless in HOPELESS {
        let best = guesses.iter().map(|guess| signal.error(guess)).fold(f64::INFINITY, f64::min);
        for guess in &mut guesses {
            if signal.error(guess) <= hopeless * best.max(LEAST_ERROR) {
                signal.refine(guess);
            }
        }
    }
    guesses.iter().map(|guess| signal.result(guess)).collect()
}

/// The patch along its hue, with its moments.
struct Signal<'a> {
    patch: &'a Patch,
    values: Vec<f32>,
    energy: f64,
    noise_energy: f64,
    centre: [f64; 2],
    area: f64,
}

/// A shape at some parameters.
struct Guess {
    shape: Shape,
    parameters: Parameters,
    /// The blurred coverage of every pixel of the window.
    coverage: Vec<f32>,
    /// The factor to the coverage that fits best.
    gain: f64,
    /// Sum of the squared residuals.
    squares: f64,
    /// How far the next step leans from Gauss-Newton's to the steepest descent's.
    damping: f64,
    /// Whether the last step hardly helped.
    settled: bool,
}

impl<'a> Signal<'a> {
    /// Nothing where less than half of the energy is signal.
    fn new(patch: &'a Patch) -> Option<Self> {
        let along = |[u, v]: [f32; 2]| u * patch.direction[0] + v * patch.direction[1];
        let values: Vec<f32> =
            patch.chroma.iter().zip(&patch.weights).map(|(&chroma, weight)| along(chroma) * weight).collect();
        let energy: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
        let noise_energy = f64::from(patch.noise) * f64::from(patch.weights.iter().sum::<f32>());

        // Pixels at less than a fifth of the strongest are ground: they would pull the moments about.
        let strong = 0.2 * values.iter().copied().fold(0.0, f32::max);
        let width = patch.window.right - patch.window.left;
        let (mut mass, mut squares, mut moment) = (0.0, 0.0, [0.0; 2]);
        for (i, &value) in values.iter().enumerate().filter(|&(_, &value)| value > strong) {
            let value = f64::from(value);
            mass += value;
            squares += value * value;
            moment[0] += value * ((patch.window.left + i % width) as f64 + 0.5);
            moment[1] += value * ((patch.window.top + i / width) as f64 + 0.5);
        }
        // For a flat patch of n pixels and height g this is (g n)^2 / (g^2 n) = n.
        let area = mass * mass / squares;
        let signal = Self { patch, values, energy, noise_energy, centre: moment.map(|m| m / mass), area };
        (mass > 0.0 && noise_energy < 0.5 * energy).then_some(signal)
    }

    /// A shape at the patch's centre, upright, with the patch's area.
    fn guess(&self, shape: Shape) -> Guess {
        let radius = (self.area / shape.area()).sqrt();
        self.evaluate(shape, [self.centre[0], self.centre[1], radius, 0.0, BLUR.0])
    }

    /// Follows a few damped Gauss-Newton steps, while they help.
    fn refine(&self, best: &mut Guess) {
        for _ in 0..STEPS {
            let Some(step) = self.step(best).filter(|_| !best.settled) else { break };
            let mut parameters = best.parameters;
            for (k, parameter) in parameters.iter_mut().enumerate() {
                *parameter += step[k].clamp(-LONGEST[k], LONGEST[k]);
            }
            parameters[2] = parameters[2].max(0.5);
            parameters[3] = parameters[3].clamp(-MOST_TILT, MOST_TILT);
            parameters[4] = parameters[4].clamp(0.0, BLUR.1);
            let trial = self.evaluate(best.shape, parameters);
            if trial.squares < best.squares {
                let settled = best.squares - trial.squares < ENOUGH * best.squares;
                *best = Guess { damping: 0.3 * best.damping, settled, ..trial };
            } else {
                best.damping *= 10.0;
            }
        }
    }

    /// The solution of the damped normal equations for the parameters and the gain, without the gain's.
    fn step(&self, at: &Guess) -> Option<Parameters> {
        const N: usize = 6;
        let slopes = self.slopes(at);
        let gain = at.gain as f32;
        let mut sums = [[0.0f32; N + 1]; N];
        for (i, (&value, &coverage)) in self.values.iter().zip(&at.coverage).enumerate() {
            let [x, y, radius, angle, blur] = [0, 1, 2, 3, 4].map(|k| gain * slopes[k][i]);
            let row = [x, y, radius, angle, blur, coverage, value - gain * coverage];
            if row[..N] == [0.0; N] {
                continue;
            }
            for (sums, factor) in sums.iter_mut().zip(row) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += factor * value;
                }
            }
        }
        let mut equations = sums.map(|sums| sums.map(f64::from));
        for (k, equation) in equations.iter_mut().enumerate() {
            equation[k] *= 1.0 + at.damping;
            equation[k] += 1e-9;
        }
        let [x, y, radius, angle, blur, _] = solve(equations)?;
        Some([x, y, radius, angle, blur])
    }

    /// A shape at given parameters, with the gain that fits best.
    fn evaluate(&self, shape: Shape, parameters: Parameters) -> Guess {
        let coverage = self.cover(shape, &parameters);
        let product: f32 = coverage.iter().zip(&self.values).map(|(coverage, value)| coverage * value).sum();
        let norm: f32 = coverage.iter().map(|coverage| coverage * coverage).sum();
        let gain = f64::from(product.max(0.0)) / f64::from(norm).max(1e-6);
        let squares = self.energy - gain * f64::from(product);
        Guess { shape, parameters, coverage, gain, squares, damping: 1e-3, settled: false }
    }

    /// The blurred coverage of every pixel of the window.
    fn cover(&self, shape: Shape, parameters: &Parameters) -> Vec<f32> {
        let mut coverage = vec![0.0; self.values.len()];
        self.visit(shape, parameters, |i, covered, _| coverage[i] = covered);
        self.finish(&mut coverage, parameters[4] as f32);
        coverage
    }

    /// The derivatives of the blurred coverage of every pixel of the window.
    fn slopes(&self, at: &Guess) -> [Vec<f32>; 5] {
        let mut slopes: [Vec<f32>; 5] = std::array::from_fn(|_| vec![0.0; self.values.len()]);
        self.visit(at.shape, &at.parameters, |i, covered, changes| {
            for (slopes, change) in slopes.iter_mut().zip(changes) {
                slopes[i] = change;
            }
            slopes[4][i] = covered;
        });
        let variance = at.parameters[4] as f32;
        let [geometry @ .., more_blurred] = &mut slopes;
        for slopes in geometry {
            self.finish(slopes, variance);
        }
        self.finish(more_blurred, variance + BLUR_STEP);
        for (slope, coverage) in more_blurred.iter_mut().zip(&at.coverage) {
            *slope = (*slope - coverage) / BLUR_STEP;
        }
        slopes
    }

    /// Calls `visit(index in the window, coverage, slopes)` for every covered pixel.
    fn visit(&self, shape: Shape, parameters: &Parameters, mut visit: impl FnMut(usize, f32, Slopes)) {
        let Patch { size, window, .. } = self.patch;
        let width = window.right - window.left;
        cover(&self.pose(shape, parameters), *size, window, |column, row, covered, slopes| {
            visit((row - window.top) * width + column - window.left, covered, slopes);
        });
    }

    /// Blurs values of the window, and leaves out the pixels that do not count.
    fn finish(&self, values: &mut [f32], variance: f32) {
        let Window { left, top, right, bottom } = self.patch.window;
        blur(values, [right - left, bottom - top], variance);
        for (value, weight) in values.iter_mut().zip(&self.patch.weights) {
            *value *= weight;
        }
    }

    fn pose(&self, shape: Shape, &[x, y, radius, angle, _]: &Parameters) -> Pose {
        let [width, height] = self.patch.size.map(|side| side as f64);
        let extent = radius / width.min(height) / shape.reach();
        Pose { shape, centre: [x / width, y / height], extent, angle }
    }

    /// The share of the energy that is unexplained, but for the noise's.
    fn error(&self, guess: &Guess) -> f64 {
        ((guess.squares - self.noise_energy) / (self.energy - self.noise_energy)).clamp(0.0, 1.0)
    }

    fn result(&self, guess: &Guess) -> Fit {
        let mut sum = [0.0f32; 2];
        let mut norm = 1e-6;
        for (coverage, chroma) in guess.coverage.iter().zip(&self.patch.chroma) {
            sum = [sum[0] + coverage * chroma[0], sum[1] + coverage * chroma[1]];
            norm += coverage * coverage;
        }
        let [x, y, radius, ..] = guess.parameters;
        let [width, height] = self.patch.size.map(|side| side as f64);
        Fit {
            inside: x.min(y).min(width - x).min(height - y) / radius,
            pose: self.pose(guess.shape, &guess.parameters),
            error: self.error(guess),
            energy: self.energy - guess.squares,
            chroma: sum.map(|component| component / norm),
        }
    }
}

/// Blurs with a kernel of the given variance (in square pixels, at most 1): two passes both ways of the kernel
/// `(v, 4 - 2 v, v) / 4`, which has the variance v / 2. The borders are continued. Windows are at least 4 pixels wide.
fn blur(values: &mut [f32], [width, height]: [usize; 2], variance: f32) {
    if variance == 0.0 {
        return;
    }
    let mixed = |before: f32, here: f32, after: f32| here + variance / 4.0 * (before + after - 2.0 * here);
    let mut across = vec![0.0; values.len()];
    for _ in 0..2 {
        for (mixture, row) in across.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
            mixture[0] = mixed(row[0], row[0], row[1]);
            for (mixture, three) in mixture[1..].iter_mut().zip(row.windows(3)) {
                *mixture = mixed(three[0], three[1], three[2]);
            }
            mixture[width - 1] = mixed(row[width - 2], row[width - 1], row[width - 1]);
        }
        for (row, mixture) in values.chunks_exact_mut(width).enumerate() {
            let line = |row: usize| &across[row * width..(row + 1) * width];
            let (before, here, after) = (line(row.saturating_sub(1)), line(row), line((row + 1).min(height - 1)));
            for (((mixture, before), here), after) in mixture.iter_mut().zip(before).zip(here).zip(after) {
                *mixture = mixed(*before, *here, *after);
            }
        }
    }
}

/// Solves N linear equations, given with their right sides as the last column, by Gaussian elimination with pivots.
fn solve<const N: usize, const M: usize>(mut equations: [[f64; M]; N]) -> Option<[f64; N]> {
    for k in 0..N {
        let pivot = (k..N).max_by(|&a, &b| equations[a][k].abs().total_cmp(&equations[b][k].abs()))?;
        equations.swap(k, pivot);
        let pivot = equations[k];
        if pivot[k].abs() < 1e-12 {
            return None;
        }
        for (i, equation) in equations.iter_mut().enumerate() {
            if i != k {
                let factor = equation[k] / pivot[k];
                for (entry, pivot) in equation.iter_mut().zip(pivot) {
                    *entry -= factor * pivot;
                }
            }
        }
    }
    Some(std::array::from_fn(|k| equations[k][M - 1] / equations[k][k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_equations() {
        let solution = solve([[0.0, 2.0, 1.0, 7.0], [1.0, -1.0, 0.0, -1.0], [3.0, 0.0, 1.0, 6.0]]);
        let expected = [1.0, 2.0, 3.0];
        assert!(solution.is_some_and(|x| x.iter().zip(expected).all(|(x, e)| (x - e).abs() < 1e-12)));
        assert_eq!(solve([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]), None);
    }

    #[test]
    fn a_blur_has_its_variance_and_keeps_the_sum() {
        let mut values = vec![0.0; 81];
        values[40] = 1.0;
        blur(&mut values, [9, 9], 0.7);
        let moment = |f: fn(f32, f32) -> f32| -> f32 {
            values.iter().enumerate().map(|(i, v)| v * f((i % 9) as f32 - 4.0, (i / 9) as f32 - 4.0)).sum()
        };
        assert!((moment(|_, _| 1.0) - 1.0).abs() < 1e-6);
        assert!((moment(|x, _| x * x) - 0.7).abs() < 1e-6);
        assert!((moment(|_, y| y * y) - 0.7).abs() < 1e-6);
        assert!(moment(|x, y| x * y).abs() < 1e-6);
    }
}

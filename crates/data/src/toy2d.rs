//! `toy2d`: distributions in the plane, the test bench of generative models.
//!
//! A point is an "image" of shape `[2, 1, 1]`: two channels, one pixel. Every point is a function of (seed, index).
//! All distributions lie about the origin, within the square from -1 to 1 but for stray points. Where there is a closed
//! form, the density is known.

use std::f64::consts::{PI, TAU};

use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::random::{Draws, Key, Stream};

use crate::digest::sha256;
use crate::{DataError, Example, Source, Split};

/// A distribution in the plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Eight equal normal distributions on a circle; counted counter-clockwise from the right.
    #[default]
    EightGaussians,
    /// Twenty-five equal normal distributions on a square grid; counted in rows from the lower left.
    TwentyFiveGaussians,
    /// The eight dark fields of a board of four by four, each uniform; counted in rows from the lower left.
    Checkerboard,
    /// Two half circles that reach into each other, with normal noise; the upper one first.
    TwoMoons,
    /// A spiral of one and a half turns, with normal noise.
    SwissRoll,
    /// Five normal distributions, stretched outwards and twisted about the origin; counted counter-clockwise.
    Pinwheel,
    /// Three circles about the origin with normal radii; the innermost first.
    Rings,
}

// Places and deviations, in the units of the square from -1 to 1.
const CIRCLE: (f64, f64) = (0.75, 0.05);
const GRID: (f64, f64) = (0.4, 0.03);
const FIELD: f64 = 0.5;
const MOON: (f64, f64) = (0.6, 0.03);
const ROLL: (f64, f64) = (0.9, 0.02);
const ARM_RADIUS: f64 = 0.55;
const ARM: [f64; 2] = [0.13, 0.04];
const TWIST: f64 = 2.5;
const RINGS: ([f64; 3], f64) = ([0.25, 0.55, 0.85], 0.025);

impl Distribution {
    /// The name, as in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::EightGaussians => "eight_gaussians",
            Self::TwentyFiveGaussians => "twenty_five_gaussians",
            Self::Checkerboard => "checkerboard",
            Self::TwoMoons => "two_moons",
            Self::SwissRoll => "swiss_roll",
            Self::Pinwheel => "pinwheel",
            Self::Rings => "rings",
        }
    }

    /// What the parts are called and how many equally likely ones there are.
    pub fn parts(self) -> (&'static str, u32) {
        match self {
            Self::EightGaussians => ("mode", 8),
            Self::TwentyFiveGaussians => ("mode", 25),
            Self::Checkerboard => ("field", 8),
            Self::TwoMoons => ("moon", 2),
            Self::SwissRoll => ("roll", 1),
            Self::Pinwheel => ("arm", 5),
            Self::Rings => ("ring", 3),
        }
    }

    /// Centres and common standard deviation of the modes, where the distribution is a mixture of round normal ones or
    /// the fields of a board.
    pub fn modes(self) -> Option<(Vec<[f64; 2]>, f64)> {
        let deviation = match self {
            Self::EightGaussians => CIRCLE.1,
            Self::TwentyFiveGaussians => GRID.1,
            // A field counts as a mode whose third deviation is the circle inside it.
            Self::Checkerboard => FIELD / 6.0,
            _ => return None,
        };
        Some(((0..self.parts().1).map(|part| self.centre(part)).collect(), deviation))
    }

    /// Draws a point and the part that it belongs to.
    pub fn draw(self, draws: &Draws) -> ([f64; 2], u32) {
        let part = draws.below(0, u64::from(self.parts().1)) as u32;
        let along = draws.uniform(1);
        let [first, second] = [draws.normal(2), draws.normal(3)];
        let [x, y] = self.centre(part);
        let near = |[x, y]: [f64; 2], deviation: f64| [x + deviation * first, y + deviation * second];
        let point = match self {
            Self::EightGaussians => near([x, y], CIRCLE.1),
            Self::TwentyFiveGaussians => near([x, y], GRID.1),
            Self::Checkerboard => [x + FIELD * (along - 0.5), y + FIELD * (draws.uniform(4) - 0.5)],
            Self::TwoMoons => {
                let arc = polar(1.0, PI * along);
                let [x, y] = if part == 0 { arc } else { [1.0 - arc[0], 0.5 - arc[1]] };
                near([MOON.0 * (x - 0.5), MOON.0 * (y - 0.25)], MOON.1)
            }
            Self::SwissRoll => {
                // The angle goes from one and a half to four and a half half-turns; the radius grows with it.
                let share = (1.0 + 2.0 * along) / 3.0;
                near(polar(ROLL.0 * share, 4.5 * PI * share), ROLL.1)
            }
            Self::Pinwheel => {
                let [x, y] = [ARM_RADIUS + ARM[0] * first, ARM[1] * second];
                turn([x, y], TAU * f64::from(part) / 5.0 + TWIST * x.hypot(y))
            }
            Self::Rings => polar(RINGS.0[part as usize] + RINGS.1 * first, TAU * along),
        };
        (point, part)
    }

    /// Logarithm of the density at a point, where it has a closed form: not for moons and rolls.
    pub fn log_density(self, point: [f64; 2]) -> Option<f64> {
        let [x, y] = point;
        match self {
            Self::EightGaussians | Self::TwentyFiveGaussians => {
                let (centres, deviation) = self.modes()?;
                let log = |[cx, cy]: &[f64; 2]| log_normal(x - cx, deviation) + log_normal(y - cy, deviation);
                Some(log_mean(centres.iter().map(log)))
            }
            Self::Checkerboard => {
                let field = |v: f64| ((v + 1.0) / FIELD).floor() as i64;
                let dark = x.abs() < 1.0 && y.abs() < 1.0 && (field(x) + field(y)) % 2 == 0;
                Some(if dark { -(8.0 * FIELD * FIELD).ln() } else { f64::NEG_INFINITY })
            }
            Self::Pinwheel => Some(log_mean((0..5).map(|part| {
                // A twist by a function of the radius keeps areas, so the density is that of the untwisted point.
                let [x, y] = turn(point, -TAU * f64::from(part) / 5.0 - TWIST * x.hypot(y));
                log_normal(x - ARM_RADIUS, ARM[0]) + log_normal(y, ARM[1])
            }))),
            Self::Rings => {
                let radius = x.hypot(y);
                let log = log_mean(RINGS.0.iter().map(|ring| log_normal(radius - ring, RINGS.1)));
                Some(log - (TAU * radius).ln())
            }
            Self::TwoMoons | Self::SwissRoll => None,
        }
    }

    /// Centre of a mode or field; the origin for the other distributions.
    fn centre(self, part: u32) -> [f64; 2] {
        match self {
            Self::EightGaussians => polar(CIRCLE.0, TAU * f64::from(part) / 8.0),
            Self::TwentyFiveGaussians => [part % 5, part / 5].map(|place| GRID.0 * (f64::from(place) - 2.0)),
            Self::Checkerboard => {
                let row = part / 2;
                let column = 2 * (part % 2) + row % 2;
                [column, row].map(|place| FIELD * (f64::from(place) - 1.5))
            }
            _ => [0.0, 0.0],
        }
    }
}

/// The point at a radius and an angle.
fn polar(radius: f64, angle: f64) -> [f64; 2] {
    [radius * angle.cos(), radius * angle.sin()]
}

/// The point turned counter-clockwise about the origin.
fn turn([x, y]: [f64; 2], angle: f64) -> [f64; 2] {
    let (sin, cos) = angle.sin_cos();
    [cos * x - sin * y, sin * x + cos * y]
}

/// Logarithm of the normal density with mean 0.
fn log_normal(x: f64, deviation: f64) -> f64 {
    -0.5 * (x / deviation).powi(2) - deviation.ln() - 0.5 * TAU.ln()
}

/// Logarithm of the mean of numbers that are given by their logarithms.
fn log_mean(logs: impl Iterator<Item = f64>) -> f64 {
    let logs: Vec<f64> = logs.collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + (logs.iter().map(|log| (log - largest).exp()).sum::<f64>() / logs.len() as f64).ln()
}

/// Configuration of a distribution in the plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Toy2dConfig {
    /// The distribution.
    pub distribution: Distribution,
    /// Whether a point's part (mode, field, moon, arm, ring) is its class.
    pub labels: bool,
    /// Number of training points.
    pub size: u64,
    /// Number of held-out points; they are drawn apart from the training points.
    pub test_size: u64,
}

impl Default for Toy2dConfig {
    fn default() -> Self {
        Self { distribution: Distribution::default(), labels: false, size: 50_000, test_size: 10_000 }
    }
}

impl Toy2dConfig {
    /// Every problem of the configuration.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        let has_parts = self.distribution.parts().1 > 1;
        let name = self.distribution.name();
        problems.check(!self.labels || has_parts, "labels", format!("`{name}` has no parts that could be classes"));
        problems.check(self.size >= 1, "size", "must be at least 1");
        problems.check(self.test_size >= 1, "test_size", "must be at least 1");
        problems
    }
}

/// A distribution in the plane as a source of examples.
pub struct Toy2d {
    config: Toy2dConfig,
    split: Split,
    seed: u64,
    class_names: Vec<String>,
}

impl Toy2d {
    /// The source of one split at one seed.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub fn new(config: Toy2dConfig, split: Split, seed: u64) -> Result<Self, Problems> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(problems);
        }
        let (part, parts) = config.distribution.parts();
        let parts = if config.labels { parts } else { 0 };
        let class_names = (0..parts).map(|i| format!("{part} {i}")).collect();
        Ok(Self { config, split, seed, class_names })
    }

    /// The point of an index and its part; any index has one, also beyond the end of the split.
    pub fn point(&self, index: u64) -> ([f64; 2], u32) {
        let stream = match self.split {
            Split::Train => Stream::RENDER.nth(0),
            Split::Test => Stream::RENDER.nth(1),
        };
        self.config.distribution.draw(&Key::new(self.seed, stream).at(index))
    }
}

impl Source for Toy2d {
    fn name(&self) -> &str {
        self.config.distribution.name()
    }

    fn len(&self) -> u64 {
        match self.split {
            Split::Train => self.config.size,
            Split::Test => self.config.test_size,
        }
    }

    fn shape(&self) -> [usize; 3] {
        [2, 1, 1]
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn modes(&self) -> Option<(Vec<[f64; 2]>, f64)> {
        self.config.distribution.modes()
    }

    fn example(&self, index: u64) -> Result<Example, DataError> {
        if index >= self.len() {
            return Err(DataError::Index { name: self.name().to_owned(), index, len: self.len() });
        }
        let (point, part) = self.point(index);
        let class = self.config.labels.then_some(part);
        Ok(Example { pixels: point.map(|v| v as f32).to_vec(), class, caption: None })
    }

    fn fingerprint(&self) -> String {
        // The version changes with the procedure.
        sha256(format!("toy2d version 1, {:?}, {}, seed {}", self.config, self.split, self.seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Distribution; 7] = [
        Distribution::EightGaussians,
        Distribution::TwentyFiveGaussians,
        Distribution::Checkerboard,
        Distribution::TwoMoons,
        Distribution::SwissRoll,
        Distribution::Pinwheel,
        Distribution::Rings,
    ];

    fn source(distribution: Distribution, split: Split, seed: u64) -> Toy2d {
        let labels = distribution != Distribution::SwissRoll;
        Toy2d::new(Toy2dConfig { distribution, labels, ..Toy2dConfig::default() }, split, seed).unwrap()
    }

    #[test]
    fn points_lie_about_the_origin_in_the_square() {
        for distribution in ALL {
            let source = source(distribution, Split::Train, 3);
            let points: Vec<[f64; 2]> = (0..20_000).map(|index| source.point(index).0).collect();
            let outside = points.iter().filter(|[x, y]| x.abs() > 1.0 || y.abs() > 1.0).count();
            assert!(outside < 40, "{distribution:?}: {outside} outside");
            for axis in 0..2 {
                let mean = points.iter().map(|point| point[axis]).sum::<f64>() / 20_000.0;
                let spread = (points.iter().map(|point| (point[axis] - mean).powi(2)).sum::<f64>() / 20_000.0).sqrt();
                assert!(mean.abs() < 0.15, "{distribution:?}: mean {mean}");
                assert!((0.25..0.7).contains(&spread), "{distribution:?}: deviation {spread}");
            }
        }
    }

    #[test]
    fn densities_are_those_of_the_points() {
        // Chances of the cells of a coarse grid, integrated over a fine one, against counts of points.
        const CELLS: usize = 24;
        const FINE: usize = 20;
        const COUNT: u64 = 40_000;
        let side = 3.0 / CELLS as f64;
        for distribution in ALL {
            let mut chances = vec![0.0; CELLS * CELLS];
            let step = side / FINE as f64;
            let mut known = false;
            for i in 0..(CELLS * FINE).pow(2) {
                let (column, row) = (i % (CELLS * FINE), i / (CELLS * FINE));
                let place = |k: usize| (k as f64 + 0.5) * step - 1.5;
                if let Some(log) = distribution.log_density([place(column), place(row)]) {
                    chances[row / FINE * CELLS + column / FINE] += log.exp() * step * step;
                    known = true;
                }
            }
            if !known {
                continue;
            }
            assert!(
                (chances.iter().sum::<f64>() - 1.0).abs() < 2e-3,
                "{distribution:?}: {}",
                chances.iter().sum::<f64>()
            );
            let source = source(distribution, Split::Train, 5);
            let mut counts = vec![0.0; CELLS * CELLS];
            for index in 0..COUNT {
                let ([x, y], _) = source.point(index);
                let place = |v: f64| ((v + 1.5) / side) as usize;
                counts[place(y) * CELLS + place(x)] += 1.0;
            }
            for (cell, (chance, count)) in chances.iter().zip(&counts).enumerate() {
                let expected = chance * COUNT as f64;
                assert!(
                    (count - expected).abs() < 5.0 * expected.sqrt() + 5.0,
                    "{distribution:?}, cell {cell}: {count} points, {expected} expected"
                );
            }
        }
    }

    #[test]
    fn parts_are_equally_likely_and_modes_are_near() {
        for distribution in ALL {
            let parts = distribution.parts().1;
            let source = source(distribution, Split::Test, 5);
            let mut counts = vec![0.0f64; parts as usize];
            for index in 0..10_000 {
                let (point, part) = source.point(index);
                counts[part as usize] += 1.0;
                if let Some((centres, deviation)) = distribution.modes() {
                    let [x, y] = centres[part as usize];
                    assert!((point[0] - x).hypot(point[1] - y) < 6.0 * deviation);
                }
            }
            let expected = 10_000.0 / f64::from(parts);
            assert!(counts.iter().all(|count| (count - expected).abs() < 4.5 * expected.sqrt()), "{counts:?}");
        }
    }

    #[test]
    fn splits_and_seeds_differ_and_examples_are_functions_of_the_index() {
        let first = source(Distribution::Pinwheel, Split::Train, 1);
        let same = source(Distribution::Pinwheel, Split::Train, 1);
        assert_eq!(first.example(17).unwrap(), same.example(17).unwrap());
        assert_eq!(first.fingerprint(), same.fingerprint());
        for other in [source(Distribution::Pinwheel, Split::Test, 1), source(Distribution::Pinwheel, Split::Train, 2)] {
            assert_ne!(first.example(17).unwrap(), other.example(17).unwrap());
            assert_ne!(first.fingerprint(), other.fingerprint());
        }
        assert!(matches!(first.example(50_000), Err(DataError::Index { .. })));
        assert_eq!(first.class_names()[4], "arm 4");
    }

    #[test]
    fn labels_need_parts() {
        let config = Toy2dConfig { distribution: Distribution::SwissRoll, labels: true, size: 0, test_size: 1 };
        let problems = config.validate();
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["labels", "size"]);
    }
}

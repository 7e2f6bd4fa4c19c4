//! What lies behind the objects: plain or textured, always muted.

use serde::{Deserialize, Serialize};

use super::scene::Dice;

/// The kinds of ground that a scene may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroundKind {
    /// One tone all over.
    #[default]
    Plain,
    /// A gradient, stripes, checks or clouds between two tones, each a quarter of the time.
    Textured,
}

/// A ground: two tones and how they mix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ground {
    /// Red, green and blue in 0..1 where the pattern is 0.
    pub first: [f32; 3],
    /// Red, green and blue in 0..1 where the pattern is 1.
    pub second: [f32; 3],
    /// The pattern.
    pub pattern: Pattern,
}

/// A function of the place with values in 0..1. Lengths are in units of the image's side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    /// 0 everywhere.
    Plain,
    /// From 0 to 1 across the image, along `direction` (a unit vector).
    Gradient {
        /// Where the pattern grows.
        direction: [f32; 2],
    },
    /// Soft bands of 0 and 1.
    Stripes {
        /// Across the bands: a unit vector times the number of periods in one side.
        wave: [f32; 2],
        /// Offset in periods.
        phase: f32,
    },
    /// Soft checks of 0 and 1.
    Checks {
        /// Across one family of edges: a unit vector times the number of periods in one side.
        wave: [f32; 2],
        /// Offsets in periods of the two families of edges.
        phase: [f32; 2],
    },
    /// Random values on a square lattice, smoothly interpolated.
    Clouds {
        /// Values of the lattice, row by row.
        lattice: [f32; LATTICE * LATTICE],
    },
}

/// Side of the lattice under clouds.
const LATTICE: usize = 6;
/// Darkest and lightest ground.
const BRIGHTNESS: (f64, f64) = (0.10, 0.85);
/// Least and largest difference in brightness of the two tones.
const CONTRAST: (f64, f64) = (0.08, 0.18);
/// The largest deviation of a channel from grey.
const TINT: f64 = 0.03;
/// How steep the edges of stripes and checks are.
const STEEPNESS: f32 = 4.0;

impl Ground {
    /// Draws a ground of the given kind.
    pub(crate) fn draw(kind: GroundKind, dice: &mut Dice) -> Self {
        let brightness = dice.uniform(BRIGHTNESS.0, BRIGHTNESS.1);
        let contrast = dice.uniform(CONTRAST.0, CONTRAST.1);
        // The second tone lies on the side where there is more room.
        let other = if brightness < 0.5 { brightness + contrast } else { brightness - contrast };
        let mut tone = |brightness: f64| [0; 3].map(|_| (brightness + dice.uniform(-TINT, TINT)) as f32);
        let (first, second) = (tone(brightness), tone(other));
        let pattern = match kind {
            GroundKind::Plain => Pattern::Plain,
            GroundKind::Textured => Pattern::draw(dice),
        };
        Self { first, second, pattern }
    }

    /// Red, green and blue at `(x, y)`, in 0..1.
    pub(crate) fn at(&self, x: f32, y: f32) -> [f32; 3] {
        let mix = self.pattern.at(x, y);
        std::array::from_fn(|channel| self.first[channel] + mix * (self.second[channel] - self.first[channel]))
    }
}

impl Pattern {
    fn draw(dice: &mut Dice) -> Self {
        let kind = dice.below(4);
        let angle = dice.uniform(0.0, std::f64::consts::TAU);
        let direction = [angle.cos() as f32, angle.sin() as f32];
        match kind {
            0 => Self::Gradient { direction },
            1 => {
                let periods = dice.uniform(2.5, 5.0) as f32;
                Self::Stripes { wave: direction.map(|d| d * periods), phase: dice.uniform(0.0, 1.0) as f32 }
            }
            2 => {
                let periods = dice.uniform(1.5, 3.5) as f32;
                let phase = [0; 2].map(|_| dice.uniform(0.0, 1.0) as f32);
                Self::Checks { wave: direction.map(|d| d * periods), phase }
            }
            _ => Self::Clouds { lattice: [0; LATTICE * LATTICE].map(|_| dice.uniform(0.0, 1.0) as f32) },
        }
    }

    /// The value at `(x, y)`.
    fn at(&self, x: f32, y: f32) -> f32 {
        match *self {
            Self::Plain => 0.0,
            // Half the diagonal is 0.71, so the corners may be cut off at the two tones.
            Self::Gradient { direction } => {
                (0.5 + ((x - 0.5) * direction[0] + (y - 0.5) * direction[1]) / 1.2).clamp(0.0, 1.0)
            }
            Self::Stripes { wave, phase } => soft_sign(x * wave[0] + y * wave[1] + phase) * 0.5 + 0.5,
            Self::Checks { wave, phase } => {
                let along = soft_sign(x * wave[0] + y * wave[1] + phase[0]);
                let across = soft_sign(x * -wave[1] + y * wave[0] + phase[1]);
                along * across * 0.5 + 0.5
            }
            Self::Clouds { ref lattice } => {
                let cells = (LATTICE - 1) as f32;
                let (column, right) = cell(x * cells);
                let (row, down) = cell(y * cells);
                let value = |row: usize, column: usize| lattice[row * LATTICE + column];
                let top = value(row, column) + right * (value(row, column + 1) - value(row, column));
                let bottom = value(row + 1, column) + right * (value(row + 1, column + 1) - value(row + 1, column));
                top + down * (bottom - top)
            }
        }
    }
}

/// A triangle wave of period 1, steepened and cut to -1..1: a square wave with soft edges.
fn soft_sign(turns: f32) -> f32 {
    let triangle = 4.0 * (turns - turns.floor() - 0.5).abs() - 1.0;
    (STEEPNESS * triangle).clamp(-1.0, 1.0)
}

/// The lattice cell that holds a coordinate, and how far into it, smoothed at both ends.
fn cell(coordinate: f32) -> (usize, f32) {
    let index = (coordinate.max(0.0) as usize).min(LATTICE - 2);
    let share = (coordinate - index as f32).clamp(0.0, 1.0);
    (index, share * share * (3.0 - 2.0 * share))
}

//! The eight colours, and the measure that tells them from the ground.

use serde::{Deserialize, Serialize};

/// A colour of the procedural images.
///
/// The eight differ in hue by 25 degrees or more, and all of them are far more saturated than any ground, so that
/// a colour stays readable under a blended edge, a texture in brightness, a blur or noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Hue 358 degrees.
    Red,
    /// Hue 29 degrees.
    Orange,
    /// Hue 54 degrees.
    Yellow,
    /// Hue 130 degrees.
    Green,
    /// Hue 184 degrees.
    Cyan,
    /// Hue 227 degrees.
    Blue,
    /// Hue 277 degrees.
    Purple,
    /// Hue 328 degrees.
    Pink,
}

impl Colour {
    /// Every colour, in the fixed order that class numbers follow.
    pub const ALL: [Self; 8] =
        [Self::Red, Self::Orange, Self::Yellow, Self::Green, Self::Cyan, Self::Blue, Self::Purple, Self::Pink];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Cyan => "cyan",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::Pink => "pink",
        }
    }

    /// Red, green and blue in 0..1.
    pub fn rgb(self) -> [f32; 3] {
        match self {
            Self::Red => [0.86, 0.12, 0.14],
            Self::Orange => [1.00, 0.50, 0.04],
            Self::Yellow => [0.98, 0.89, 0.10],
            Self::Green => [0.12, 0.66, 0.21],
            Self::Cyan => [0.12, 0.84, 0.89],
            Self::Blue => [0.12, 0.30, 0.94],
            Self::Purple => [0.55, 0.14, 0.80],
            Self::Pink => [1.00, 0.36, 0.70],
        }
    }
}

/// What is left of a colour without its brightness: the projection of red, green and blue on the plane across the
/// grey axis, in an orthonormal basis of that plane. Its length is the saturation, its direction the hue.
///
/// The map is linear, so that a pixel half covered by an object on grey ground has half the object's chroma.
pub(crate) fn chroma([red, green, blue]: [f32; 3]) -> [f32; 2] {
    const ACROSS: f32 = std::f32::consts::FRAC_1_SQRT_2;
    const DOWN: f32 = 0.408_248_3; // 1 / sqrt 6
    [(red - green) * ACROSS, (red + green - 2.0 * blue) * DOWN]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_saturated_and_their_hues_lie_apart() {
        let angles: Vec<f32> = Colour::ALL
            .iter()
            .map(|colour| {
                let [u, v] = chroma(colour.rgb());
                assert!(u.hypot(v) > 0.4, "{colour:?}: saturation {}", u.hypot(v));
                v.atan2(u).to_degrees()
            })
            .collect();
        for (i, first) in angles.iter().enumerate() {
            for (j, second) in angles.iter().enumerate().skip(i + 1) {
                let apart = (first - second).rem_euclid(360.0);
                let apart = apart.min(360.0 - apart);
                assert!(apart > 25.0, "{:?} and {:?}: {apart} degrees", Colour::ALL[i], Colour::ALL[j]);
            }
        }
    }

    #[test]
    fn chroma_is_linear_and_blind_to_grey() {
        assert_eq!(chroma([0.4; 3]), [0.0, 0.0]);
        let blended = chroma([0.5 * 0.9 + 0.2, 0.5 * 0.1 + 0.2, 0.5 * 0.3 + 0.2]);
        let full = chroma([0.9, 0.1, 0.3]);
        assert!((blended[0] - 0.5 * full[0]).abs() < 1e-6 && (blended[1] - 0.5 * full[1]).abs() < 1e-6);
    }
}

//! The shapes and their geometry: names, outlines and signed distances.
//!
//! Every shape lives in a frame of its own: the centre of mass at the origin, the farthest point of the outline at
//! distance 1, x to the right and y down as in images.

use std::f64::consts::{PI, TAU};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// A shape that the procedural images hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A disc.
    Circle,
    /// A square standing on its side.
    Square,
    /// An equilateral triangle pointing up.
    Triangle,
    /// A rhombus standing on its acute corner.
    Diamond,
    /// A star with five points.
    Star,
    /// An upright cross with four equal arms.
    Cross,
    /// A disc with a round hole.
    Ring,
    /// A heart standing on its tip.
    Heart,
}

/// Half the width of a diamond of half height 1.
const DIAMOND_WIDTH: f64 = 0.62;
/// Distance of a star's inner corners from its centre.
const STAR_INNER: f64 = 0.42;
/// Half the thickness of a cross's arms.
const CROSS_ARM: f64 = 0.28;
/// Radius of a ring's hole.
const RING_HOLE: f64 = 0.52;
/// Corners of the polygon that stands for a heart.
const HEART_CORNERS: usize = 28;

impl Shape {
    /// Every shape, in the fixed order that class numbers follow.
    pub const ALL: [Self; 8] =
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond, Self::Star, Self::Cross, Self::Ring, Self::Heart];

    /// The name, in the singular.
    pub fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Diamond => "diamond",
            Self::Star => "star",
            Self::Cross => "cross",
            Self::Ring => "ring",
            Self::Heart => "heart",
        }
    }

    /// The name, in the plural.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Circle => "circles",
            Self::Square => "squares",
            Self::Triangle => "triangles",
            Self::Diamond => "diamonds",
            Self::Star => "stars",
            Self::Cross => "crosses",
            Self::Ring => "rings",
            Self::Heart => "hearts",
        }
    }

    /// Circumradius over extent: how far the outline reaches for the shape to look as large as a disc of diameter 1.
    ///
    /// Spiky shapes reach farther, so that "a small star" and "a small square" look alike in size.
    pub fn reach(self) -> f64 {
        match self {
            Self::Circle => 0.50,
            Self::Square => 0.59,
            Self::Triangle => 0.64,
            Self::Diamond => 0.64,
            Self::Star => 0.66,
            Self::Cross => 0.58,
            Self::Ring => 0.54,
            Self::Heart => 0.60,
        }
    }

    /// Area in the shape's own frame (circumradius 1).
    pub fn area(self) -> f64 {
        match self.outline() {
            Outline::Disc => PI,
            Outline::Ring => PI * (1.0 - RING_HOLE * RING_HOLE),
            Outline::Polygon(polygon) => polygon.area,
        }
    }

    /// Distance of the point `(x, y)` of the shape's own frame to the outline: negative inside, positive outside.
    pub fn signed_distance(self, x: f32, y: f32) -> f32 {
        self.outline().nearest(x, y).0
    }

    /// The outline, looked up once for the many points of one drawing.
    pub(crate) fn outline(self) -> Outline {
        match self {
            Self::Circle => Outline::Disc,
            Self::Ring => Outline::Ring,
            Self::Square => Outline::Polygon(&POLYGONS.square),
            Self::Triangle => Outline::Polygon(&POLYGONS.triangle),
            Self::Diamond => Outline::Polygon(&POLYGONS.diamond),
            Self::Star => Outline::Polygon(&POLYGONS.star),
            Self::Cross => Outline::Polygon(&POLYGONS.cross),
            Self::Heart => Outline::Polygon(&POLYGONS.heart),
        }
    }
}

/// The outline of a shape in its own frame.
#[derive(Clone, Copy)]
pub(crate) enum Outline {
    /// The unit disc.
    Disc,
    /// The unit disc with a hole.
    Ring,
    /// A closed polygon.
    Polygon(&'static Polygon),
}

impl Outline {
    /// Distance of `(x, y)` to the outline, negative inside and positive outside, and its gradient: the unit vector
    /// that leads away from the shape.
    #[inline]
    pub(crate) fn nearest(self, x: f32, y: f32) -> (f32, [f32; 2]) {
        match self {
            Self::Disc => {
                let radius = x.hypot(y).max(f32::MIN_POSITIVE);
                (radius - 1.0, [x / radius, y / radius])
            }
            Self::Ring => {
                let radius = x.hypot(y).max(f32::MIN_POSITIVE);
                let outwards = [x / radius, y / radius];
                let (beyond, within) = (radius - 1.0, RING_HOLE as f32 - radius);
                if beyond > within { (beyond, outwards) } else { (within, outwards.map(|component| -component)) }
            }
            Self::Polygon(polygon) => polygon.nearest(x, y),
        }
    }
}

/// A closed polygon as its edges.
pub(crate) struct Polygon {
    edges: Vec<Edge>,
    area: f64,
}

/// One edge: where it starts, where it leads, and one over its squared length.
struct Edge {
    start: [f32; 2],
    along: [f32; 2],
    per_length_squared: f32,
}

impl Polygon {
    /// The polygon through `corners`, moved so that its centre of mass is the origin and scaled to circumradius 1.
    fn new(corners: &[[f64; 2]]) -> Self {
        let following = |i: usize| corners[(i + 1) % corners.len()];
        // The shoelace formulas for area and centre of mass.
        let (mut area, mut centre) = (0.0, [0.0; 2]);
        for (i, &[x, y]) in corners.iter().enumerate() {
            let [next_x, next_y] = following(i);
            let cross = x * next_y - next_x * y;
            area += cross / 2.0;
            centre[0] += (x + next_x) * cross / 6.0;
            centre[1] += (y + next_y) * cross / 6.0;
        }
        let centre = centre.map(|moment| moment / area);
        let radius = corners.iter().map(|[x, y]| (x - centre[0]).hypot(y - centre[1])).fold(0.0, f64::max);
        let place = |[x, y]: [f64; 2]| [(x - centre[0]) / radius, (y - centre[1]) / radius];
        let edges = (0..corners.len())
            .map(|i| {
                let (start, end) = (place(corners[i]), place(following(i)));
                let along = [end[0] - start[0], end[1] - start[1]];
                let length_squared = along[0] * along[0] + along[1] * along[1];
                Edge {
                    start: start.map(|v| v as f32),
                    along: along.map(|v| v as f32),
                    per_length_squared: (1.0 / length_squared) as f32,
                }
            })
            .collect();
        Self { edges, area: area.abs() / (radius * radius) }
    }

    /// The nearest edge gives the distance; the parity of the edges crossed by a ray to the right gives the sign.
    fn nearest(&self, x: f32, y: f32) -> (f32, [f32; 2]) {
        let (mut squared, mut off) = (f32::INFINITY, [0.0; 2]);
        let mut inside = false;
        for Edge { start, along, per_length_squared } in &self.edges {
            let (from_x, from_y) = (x - start[0], y - start[1]);
            let share = ((from_x * along[0] + from_y * along[1]) * per_length_squared).clamp(0.0, 1.0);
            let (off_x, off_y) = (from_x - share * along[0], from_y - share * along[1]);
            let here = off_x * off_x + off_y * off_y;
            if here < squared {
                (squared, off) = (here, [off_x, off_y]);
            }
            let (starts_below, ends_below) = (from_y < 0.0, from_y < along[1]);
            if starts_below != ends_below {
                // The ray crosses the edge where it is to the right of the point.
                inside ^= (from_x * along[1] < from_y * along[0]) == (along[1] > 0.0);
            }
        }
        let distance = if inside { -squared.sqrt() } else { squared.sqrt() };
        // A point on the outline itself has no direction to it; a zero gradient does no harm there.
        let per_distance = if squared > 0.0 { 1.0 / distance } else { 0.0 };
        (distance, [off[0] * per_distance, off[1] * per_distance])
    }
}

/// The polygons, built once.
struct Polygons {
    square: Polygon,
    triangle: Polygon,
    diamond: Polygon,
    star: Polygon,
    cross: Polygon,
    heart: Polygon,
}

static POLYGONS: LazyLock<Polygons> = LazyLock::new(|| Polygons {
    square: Polygon::new(&[[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]),
    triangle: Polygon::new(&spikes(3, 1.0)),
    diamond: Polygon::new(&[[0.0, -1.0], [DIAMOND_WIDTH, 0.0], [0.0, 1.0], [-DIAMOND_WIDTH, 0.0]]),
    star: Polygon::new(&spikes(5, STAR_INNER)),
    cross: Polygon::new(&cross()),
    heart: Polygon::new(&heart()),
});

/// Corners of a star with `count` points, the first pointing up, and inner corners at distance `inner`; at `inner` = 1
/// there are no inner corners, which makes it the regular polygon.
fn spikes(count: usize, inner: f64) -> Vec<[f64; 2]> {
    let corners_a_point = if inner < 1.0 { 2 } else { 1 };
    let corners = corners_a_point * count;
    (0..corners)
        .map(|i| {
            let radius = if i % corners_a_point == 0 { 1.0 } else { inner };
            let angle = TAU * i as f64 / corners as f64;
            [radius * angle.sin(), -radius * angle.cos()]
        })
        .collect()
}

/// Corners of a cross, a quarter turn at a time.
fn cross() -> Vec<[f64; 2]> {
    let length = (1.0 - CROSS_ARM * CROSS_ARM).sqrt();
    let mut quarter = [[-CROSS_ARM, -length], [CROSS_ARM, -length], [CROSS_ARM, -CROSS_ARM]];
    let mut corners = Vec::with_capacity(12);
    for _ in 0..4 {
        corners.extend(quarter);
        quarter = quarter.map(|[x, y]| [-y, x]);
    }
    corners
}

/// Corners of a heart, on the curve `(16 sin^3 t, 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t)` turned to y down.
fn heart() -> Vec<[f64; 2]> {
    (0..HEART_CORNERS)
        .map(|i| {
            let t = TAU * i as f64 / HEART_CORNERS as f64;
            let up = 13.0 * t.cos() - 5.0 * (2.0 * t).cos() - 2.0 * (3.0 * t).cos() - (4.0 * t).cos();
            [16.0 * t.sin().powi(3), -up]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_known_points() {
        let side = std::f32::consts::FRAC_1_SQRT_2;
        let cases = [
            (Shape::Circle, [0.0, 0.0], -1.0),
            (Shape::Circle, [3.0, 4.0], 4.0),
            (Shape::Square, [0.0, 0.0], -side),
            (Shape::Square, [side + 0.25, 0.1], 0.25),
            (Shape::Square, [1.0, 1.0], 2f32.sqrt() * (1.0 - side)),
            (Shape::Triangle, [0.0, 0.0], -0.5),
            (Shape::Triangle, [0.0, -1.5], 0.5),
            (Shape::Triangle, [0.0, 1.0], 0.5),
            (Shape::Cross, [0.0, 0.0], -(0.28f32 * 2f32.sqrt())),
            (Shape::Cross, [0.6, 0.0], -0.28),
            (Shape::Cross, [0.6, 0.48], 0.2),
            (Shape::Ring, [0.0, 0.0], 0.52),
            (Shape::Ring, [0.76, 0.0], -0.24),
        ];
        for (shape, [x, y], expected) in cases {
            let distance = shape.signed_distance(x, y);
            assert!((distance - expected).abs() < 1e-6, "{shape:?} at ({x}, {y}): {distance}, not {expected}");
        }
    }

    #[test]
    fn areas_and_centres_of_mass_agree_with_the_sign_of_the_distance() {
        let cells = 800;
        let step = 2.0 / cells as f32;
        for shape in Shape::ALL {
            let (mut inside, mut moment, mut reach) = (0u32, [0.0f64; 2], 0.0f32);
            for i in 0..cells * cells {
                let (x, y) = (((i % cells) as f32 + 0.5) * step - 1.0, ((i / cells) as f32 + 0.5) * step - 1.0);
                if shape.signed_distance(x, y) < 0.0 {
                    inside += 1;
                    moment = [moment[0] + f64::from(x), moment[1] + f64::from(y)];
                    reach = reach.max(x.hypot(y));
                }
            }
            let area = f64::from(inside) * f64::from(step * step);
            assert!((area - shape.area()).abs() < 0.01, "{shape:?}: area {area}, stated {}", shape.area());
            let centre = moment.map(|m| m / f64::from(inside));
            assert!(centre[0].hypot(centre[1]) < 2e-3, "{shape:?}: centre of mass {centre:?}");
            assert!((0.98..=1.0).contains(&reach), "{shape:?}: reach {reach}");
        }
    }

    #[test]
    fn a_signed_distance_changes_no_faster_than_its_argument() {
        for shape in Shape::ALL {
            for i in 0..40_000 {
                let (x, y) = ((i % 200) as f32 / 80.0 - 1.25, (i / 200) as f32 / 80.0 - 1.25);
                let step = shape.signed_distance(x + 0.01, y) - shape.signed_distance(x, y);
                assert!(step.abs() <= 0.01 + 1e-5, "{shape:?} at ({x}, {y}): {step}");
            }
        }
    }

    #[test]
    fn the_gradient_leads_to_the_outline() {
        for shape in Shape::ALL {
            for i in 0..10_000 {
                let (x, y) = ((i % 100) as f32 / 40.0 - 1.2345, (i / 100) as f32 / 40.0 - 1.2345);
                let (distance, [u, v]) = shape.outline().nearest(x, y);
                assert!((u.hypot(v) - 1.0).abs() < 1e-3, "{shape:?} at ({x}, {y}): length {}", u.hypot(v));
                // The middle of the ring's hole is as far from the outline all around.
                let rest = shape.signed_distance(x - distance * u, y - distance * v);
                assert!(rest.abs() < 1e-5, "{shape:?} at ({x}, {y}): {rest}");
            }
        }
    }
}

//! From a scene to pixels.

use super::scene::{Pose, Scene};

/// Renders a scene as `[3, resolution, resolution]` in -1..1.
///
/// Edges are anti-aliased: a pixel at distance d (in pixels) inside an outline is covered by `1/2 + d`, cut to 0..1.
pub fn render(scene: &Scene, resolution: usize) -> Vec<f32> {
    let area = resolution * resolution;
    let mut pixels = vec![0.0f32; 3 * area];
    let per_pixel = 1.0 / resolution as f32;
    for row in 0..resolution {
        for column in 0..resolution {
            let tone = scene.ground.at((column as f32 + 0.5) * per_pixel, (row as f32 + 0.5) * per_pixel);
            for (channel, value) in tone.into_iter().enumerate() {
                pixels[channel * area + row * resolution + column] = value;
            }
        }
    }
    for object in &scene.objects {
        let window = Window::around(&object.pose, [resolution, resolution]);
        cover(&object.pose, [resolution, resolution], &window, |column, row, coverage, _| {
            for (channel, shade) in object.shade.into_iter().enumerate() {
                let pixel = &mut pixels[channel * area + row * resolution + column];
                *pixel += coverage * (shade - *pixel);
            }
        });
    }
    for pixel in &mut pixels {
        *pixel = 2.0 * *pixel - 1.0;
    }
    pixels
}

/// A rectangle of pixels: `left..right` by `top..bottom`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) right: usize,
    pub(crate) bottom: usize,
}

impl Window {
    /// The pixels that an outline may touch, in an image of `[width, height]`.
    fn around(pose: &Pose, [width, height]: [usize; 2]) -> Self {
        let reach = pose.radius() * width.min(height) as f64 + 1.0;
        let range = |centre: f64, side: usize| {
            let middle = centre * side as f64;
            let first = (middle - reach).floor().clamp(0.0, side as f64) as usize;
            let last = (middle + reach).ceil().clamp(0.0, side as f64) as usize;
            (first, last)
        };
        let ((left, right), (top, bottom)) = (range(pose.centre[0], width), range(pose.centre[1], height));
        Self { left, top, right, bottom }
    }
}

/// How a pixel's coverage changes with the pose: with the centre's x and y in pixels, the circumradius in pixels, and
/// the angle in radians.
pub(crate) type Slopes = [f32; 4];

/// Calls `visit(column, row, coverage, slopes)` for every pixel of `window` that the outline covers at all.
///
/// The image is `[width, height]` pixels large.
#[inline]
pub(crate) fn cover(
    pose: &Pose,
    [width, height]: [usize; 2],
    window: &Window,
    mut visit: impl FnMut(usize, usize, f32, Slopes),
) {
    let outline = pose.shape.outline();
    let radius = (pose.radius() * width.min(height) as f64) as f32;
    let (sin, cos) = (pose.angle.sin() as f32, pose.angle.cos() as f32);
    let centre = [(pose.centre[0] * width as f64) as f32, (pose.centre[1] * height as f64) as f32];
    let reach_squared = (radius + 0.5) * (radius + 0.5);
    for row in window.top..window.bottom {
        let y = row as f32 + 0.5 - centre[1];
        for column in window.left..window.right {
            let x = column as f32 + 0.5 - centre[0];
            if x * x + y * y >= reach_squared {
                continue;
            }
            // Into the shape's own frame: turn back and scale.
            let (own_x, own_y) = ((cos * x + sin * y) / radius, (cos * y - sin * x) / radius);
            let (distance, [u, v]) = outline.nearest(own_x, own_y);
            let coverage = 0.5 - distance * radius;
            if coverage >= 1.0 {
                visit(column, row, 1.0, [0.0; 4]);
            } else if coverage > 0.0 {
                // With q the point in the shape's own frame, f the distance there and n its gradient, the coverage is
                // 1/2 - radius f(q): the centre moves q by -1 / radius, the radius scales it, the angle turns it back.
                let slopes = [
                    cos * u - sin * v,
                    sin * u + cos * v,
                    own_x * u + own_y * v - distance,
                    radius * (own_x * v - own_y * u),
                ];
                visit(column, row, coverage, slopes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::Shape;

    const SIZE: [usize; 2] = [40, 40];

    fn covered(pose: &Pose) -> Vec<f32> {
        let mut values = vec![0.0; SIZE[0] * SIZE[1]];
        cover(pose, SIZE, &Window::around(pose, SIZE), |column, row, coverage, _| {
            values[row * SIZE[0] + column] = coverage;
        });
        values
    }

    fn pose(shape: Shape) -> Pose {
        Pose { shape, centre: [0.512, 0.487], extent: 0.5, angle: 0.13 }
    }

    #[test]
    fn coverage_sums_to_the_area() {
        for shape in Shape::ALL {
            let pose = pose(shape);
            let area: f32 = covered(&pose).iter().sum();
            let expected = shape.area() * (pose.radius() * 40.0).powi(2);
            assert!((f64::from(area) / expected - 1.0).abs() < 0.02, "{shape:?}: {area}, not {expected}");
        }
    }

    #[test]
    fn slopes_are_derivatives() {
        for shape in Shape::ALL {
            let pose = pose(shape);
            let moved = |k: usize, by: f64| {
                let mut moved = pose;
                match k {
                    0 | 1 => moved.centre[k] += by / 40.0,
                    2 => moved.extent += by / 40.0 / shape.reach(),
                    _ => moved.angle += by,
                }
                covered(&moved)
            };
            let step = 1e-3;
            for k in 0..4 {
                let (before, after) = (moved(k, -step), moved(k, step));
                let (mut wrong, mut edge) = (0, 0);
                cover(&pose, SIZE, &Window::around(&pose, SIZE), |column, row, coverage, slopes| {
                    let i = row * SIZE[0] + column;
                    let measured = (after[i] - before[i]) / (2.0 * step as f32);
                    edge += u32::from(coverage < 1.0);
                    wrong += u32::from((measured - slopes[k]).abs() > 0.02 * (1.0 + measured.abs()));
                });
                // The coverage has a kink where two parts of the outline are equally near, and at 0 and 1.
                assert!(wrong * 20 <= edge, "{shape:?}, parameter {k}: {wrong} of {edge} pixels");
            }
        }
    }
}

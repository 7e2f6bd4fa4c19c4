//! Reads a scene back from an image, by classical means.
//!
//! 1. The chroma of every pixel (colour without brightness) is compared with the ground's, which is the image's
//!    median: textures differ in brightness only, and so disappear.
//! 2. Patches of one hue grow from their most saturated pixel.
//! 3. Every shape is fitted to every patch by rendering it as the images are rendered: see [`super::fit`]. The best
//!    one is the reading, if it explains what is there.

use super::fit::{Fit, LEAST_ERROR, Patch, fit};
use super::palette::chroma;
use super::reading::{Found, Reading};
use super::render::Window;
use super::scene::Pose;
use super::{Colour, Shape};

/// Pixels that are not an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the detector reads images [3, h, w] of at least 16 x 16 pixels, not {pixels} numbers of shape {shape:?}")]
pub struct NotAnImage {
    /// Number of values given.
    pub pixels: usize,
    /// Shape given.
    pub shape: [usize; 3],
}

/// Least side of an image.
const LEAST_SIDE: usize = 16;
/// Larger images are averaged down to sides between this and twice this.
const WORKING_SIDE: usize = 32;
/// A pixel belongs to a patch from half of the least saturated colour's saturation.
const SATURATION: f32 = 0.21;
/// A pixel belongs to a patch where it has at least this share of the saturation of the patch's seed.
const SHARE: f32 = 0.45;
/// Cosine of the largest difference in hue within a patch: 17 degrees.
const SAME_HUE: f32 = 0.956;
/// A smaller patch is nothing: a third of the smallest object, as a fraction of the image.
const LEAST_AREA: f32 = 0.008;
/// The share of a patch's energy that a shape must explain.
const EXPLAINED: f64 = 0.93;

/// The share of the whole image's energy that the objects must explain together.
const EXPLAINED_IN_ALL: f64 = 0.7;
/// The largest share of an image that patches may cover for there to be a ground, and the most patches.
const MOST_PATCHED: f64 = 0.6;
const MOST_PATCHES: usize = 12;
/// The share of its radius that an object must lie inside the image, whichever way.
const INSIDE: f64 = 0.8;

/// Reads the objects of an image `[3, h, w]` with values in -1..1.
///
/// An image of noise, a blank image, or one with values that are not finite has no objects. Where coloured patches
/// are there but look like no shape, they count as unclear.
///
/// # Errors
/// [`NotAnImage`] where the shape is not `[3, h, w]` with sides of at least 16, or is not that of the pixels.
pub fn detect(pixels: &[f32], shape: [usize; 3]) -> Result<Reading, NotAnImage> {
    let [channels, height, width] = shape;
    if channels != 3 || height.min(width) < LEAST_SIDE || pixels.len() != 3 * height * width {
        return Err(NotAnImage { pixels: pixels.len(), shape });
    }
    if pixels.iter().any(|value| !value.is_finite()) {
        return Ok(Reading::default());
    }
    let field = Field::new(pixels, [width, height]);
    let (owners, masks) = field.patches();
    let mut reading = Reading::default();
    let mut explained = 0.0;
    for (index, mask) in masks.iter().enumerate() {
        let found = field.patch(index, mask, &owners).as_ref().and_then(read);
        match found {
            Some((mut found, energy)) => {
                explained += energy;
                found.pose = field.of_full_image(found.pose);
                reading.objects.push(found);
            }
            None => reading.unclear += 1,
        }
    }
    let patched: usize = masks.iter().map(Vec::len).sum();
    let crowded = masks.len() > MOST_PATCHES || patched as f64 > MOST_PATCHED * field.sharp.len() as f64;
    if crowded || explained < EXPLAINED_IN_ALL * field.energy() {
        // Colour all over the image: no objects on a ground, even if some of its patches have a shape.
        return Ok(Reading { objects: Vec::new(), unclear: reading.unclear + reading.objects.len() as u32 });
    }
    Ok(reading.sorted())
}

/// The best shape and colour for a patch, if the shape explains it.
fn read(patch: &Patch) -> Option<(Found, f64)> {
    let mut fits: Vec<Fit> = fit(patch, &Shape::ALL);
    fits.sort_by(|a, b| a.error.total_cmp(&b.error));
    let [best, second, ..] = fits.as_slice() else { return None };
    let explained = 1.0 - best.error;
    if explained < EXPLAINED || best.inside < INSIDE {
        return None;
    }
    let (colour, colour_margin) = nearest_colour(best.chroma);
    let shape_margin = 1.0 - best.error / second.error.max(LEAST_ERROR);
    let found = Found { pose: best.pose, colour, confidence: explained * shape_margin.min(colour_margin) };
    Some((found, best.energy))
}

/// The colour of the nearest hue, and how far the hue is from being another colour's as well: 1 at the colour itself,
/// 0 in the middle between two.
fn nearest_colour(found: [f32; 2]) -> (Colour, f64) {
    let hue = |[u, v]: [f32; 2]| f64::from(v.atan2(u));
    let mut distances = Colour::ALL.map(|colour| {
        let apart = (hue(found) - hue(chroma(colour.rgb()))).rem_euclid(std::f64::consts::TAU);
        (apart.min(std::f64::consts::TAU - apart), colour)
    });
    distances.sort_by(|a, b| a.0.total_cmp(&b.0));
    let [(nearest, colour), (second, _), ..] = distances;
    (colour, (second - nearest) / (second + nearest))
}

/// The chroma of an image, less the ground's.
struct Field {
    /// Width and height in working pixels.
    size: [usize; 2],
    /// The width and height that they have as a share of the image: less than 1 where whole blocks do not fill it.
    share: [f64; 2],
    /// As measured.
    sharp: Vec<[f32; 2]>,
    /// Smoothed by the kernel (1, 2, 1)/4 both ways.
    smooth: Vec<[f32; 2]>,
    /// Variance of the noise in one component of `sharp`.
    noise: f32,
}

/// The pixels of one patch.
type Mask = Vec<usize>;

impl Field {
    fn new(pixels: &[f32], full: [usize; 2]) -> Self {
        let factor = (full[0].min(full[1]) / WORKING_SIDE).max(1);
        let size = full.map(|side| side / factor);
        let per_block = 0.5 / (factor * factor) as f32;
        let mean = |channel: usize, column: usize, row: usize| {
            let mut sum = 0.0;
            for y in row * factor..(row + 1) * factor {
                let start = (channel * full[1] + y) * full[0] + column * factor;
                sum += pixels[start..start + factor].iter().map(|pixel| pixel.clamp(-1.0, 1.0)).sum::<f32>();
            }
            sum * per_block
        };
        let mut sharp: Vec<[f32; 2]> = (0..size[0] * size[1])
            .map(|i| chroma([0, 1, 2].map(|channel| mean(channel, i % size[0], i / size[0]))))
            .collect();
        let ground = [0, 1].map(|axis| median(sharp.iter().map(|chroma| chroma[axis]).collect()));
        for chroma in &mut sharp {
            *chroma = [chroma[0] - ground[0], chroma[1] - ground[1]];
        }
        let smooth = smooth(&smooth(&sharp, size, 0), size, 1);
        let noise = noise_variance(&sharp, size[0]);
        let share = [0, 1].map(|axis| (size[axis] * factor) as f64 / full[axis] as f64);
        Self { size, share, sharp, smooth, noise }
    }

    /// Sum of the squared chroma, without the noise's.
    fn energy(&self) -> f64 {
        let energy: f32 = self.sharp.iter().map(|[u, v]| u * u + v * v - 2.0 * self.noise).sum();
        f64::from(energy)
    }

    /// A pose in the working pixels' frame as one in the whole image's.
    fn of_full_image(&self, pose: Pose) -> Pose {
        let [width, height] = self.size;
        Pose {
            centre: [0, 1].map(|axis| pose.centre[axis] * self.share[axis]),
            extent: pose.extent * self.share[if width <= height { 0 } else { 1 }],
            ..pose
        }
    }

    /// Patches of one hue that are large enough, and for each pixel the patch that owns it.
    fn patches(&self) -> (Vec<Option<usize>>, Vec<Mask>) {
        let area = self.smooth.len();
        let saturation: Vec<f32> = self.smooth.iter().map(|[u, v]| u.hypot(*v)).collect();
        let mut seeds: Vec<usize> = (0..area).filter(|&i| saturation[i] > SATURATION).collect();
        seeds.sort_by(|&a, &b| saturation[b].total_cmp(&saturation[a]));
        let mut owners = vec![None; area];
        let mut masks = Vec::new();
        for seed in seeds {
            // Pixels beside an earlier, more saturated patch are its edge.
            if owners[seed].is_some() || self.around(seed).any(|i| owners[i].is_some()) {
                continue;
            }
            let threshold = (SHARE * saturation[seed]).max(SATURATION);
            let [u, v] = self.smooth[seed].map(|component| component / saturation[seed]);
            let belongs = |i: usize| {
                let along = self.smooth[i][0] * u + self.smooth[i][1] * v;
                saturation[i] > threshold && along > SAME_HUE * saturation[i]
            };
            let index = Some(masks.len());
            owners[seed] = index;
            let mut mask = vec![seed];
            let mut next = 0;
            while let Some(&pixel) = mask.get(next) {
                next += 1;
                for neighbour in self.beside(pixel) {
                    if owners[neighbour].is_none() && belongs(neighbour) {
                        owners[neighbour] = index;
                        mask.push(neighbour);
                    }
                }
            }
            masks.push(mask);
        }
        // What is too small is nobody's.
        let large: Vec<bool> = masks.iter().map(|mask| mask.len() as f32 >= LEAST_AREA * area as f32).collect();
        let rank = |index: usize| large[..index].iter().filter(|&&large| large).count();
        let owners = owners.into_iter().map(|owner| owner.filter(|&index| large[index]).map(rank)).collect();
        (owners, masks.into_iter().zip(large).filter_map(|(mask, large)| large.then_some(mask)).collect())
    }

    /// The up to four pixels that share a side with `pixel`.
    fn beside(&self, pixel: usize) -> impl Iterator<Item = usize> + use<> {
        let [width, height] = self.size;
        let (column, row) = (pixel % width, pixel / width);
        let left = (column > 0).then(|| pixel - 1);
        let right = (column + 1 < width).then_some(pixel + 1);
        let up = (row > 0).then(|| pixel - width);
        let down = (row + 1 < height).then_some(pixel + width);
        [left, right, up, down].into_iter().flatten()
    }

    /// The up to nine pixels of the square around `pixel`, itself among them.
    fn around(&self, pixel: usize) -> impl Iterator<Item = usize> + use<> {
        let [width, height] = self.size;
        let near = |middle: usize, side: usize| middle.saturating_sub(1)..(middle + 2).min(side);
        let columns = near(pixel % width, width);
        near(pixel / width, height).flat_map(move |row| columns.clone().map(move |column| row * width + column))
    }

    /// What is to be fitted for one patch: the window around it, without the pixels of other patches.
    fn patch(&self, index: usize, mask: &[usize], owners: &[Option<usize>]) -> Option<Patch> {
        const AROUND: usize = 3;
        let [width, height] = self.size;
        let columns = mask.iter().map(|i| i % width);
        let rows = mask.iter().map(|i| i / width);
        let window = Window {
            left: columns.clone().min()?.saturating_sub(AROUND),
            top: rows.clone().min()?.saturating_sub(AROUND),
            right: (columns.max()? + 1 + AROUND).min(width),
            bottom: (rows.max()? + 1 + AROUND).min(height),
        };
        let [u, v] = [0, 1].map(|axis| mask.iter().map(|&i| self.sharp[i][axis]).sum::<f32>());
        let direction = [u / u.hypot(v), v / u.hypot(v)];
        let foreign = |i: usize| {
            owners[i] != Some(index) && self.around(i).any(|i| owners[i].is_some_and(|owner| owner != index))
        };
        let mut chroma = Vec::new();
        let mut weights = Vec::new();
        for row in window.top..window.bottom {
            for column in window.left..window.right {
                let i = row * width + column;
                chroma.push(self.sharp[i]);
                weights.push(if foreign(i) { 0.0 } else { 1.0 });
            }
        }
        Some(Patch { size: self.size, window, chroma, weights, direction, noise: self.noise })
    }
}

/// The middle value.
fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// One pass of the kernel (1, 2, 1)/4 along an axis, the borders continued.
fn smooth(field: &[[f32; 2]], size: [usize; 2], axis: usize) -> Vec<[f32; 2]> {
    let stride = if axis == 0 { 1 } else { size[0] };
    (0..field.len())
        .map(|i| {
            let place = if axis == 0 { i % size[0] } else { i / size[0] };
            let before = if place > 0 { field[i - stride] } else { field[i] };
            let after = if place + 1 < size[axis] { field[i + stride] } else { field[i] };
            std::array::from_fn(|k| 0.25 * (before[k] + after[k]) + 0.5 * field[i][k])
        })
        .collect()
}

/// Variance of independent noise, from the median deviation of pixels from the mean of their neighbours in the row,
/// which edges hardly touch.
fn noise_variance(field: &[[f32; 2]], width: usize) -> f32 {
    let deviations = field.chunks_exact(width).flat_map(|row| {
        row.windows(3).flat_map(|three| [0, 1].map(|k| (three[1][k] - 0.5 * (three[0][k] + three[2][k])).abs()))
    });
    // The median of a normal deviation's absolute value is 0.6745 of its standard deviation; the difference has 3/2
    // of the noise's variance.
    (median(deviations.collect()) / 0.6745).powi(2) / 1.5
}

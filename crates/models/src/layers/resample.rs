//! Halving and doubling of images by a filter.

use burn::tensor::{Tensor, TensorData};

use super::pixel_shuffle;
use crate::dual::{self, Dual};

/// What a block does to height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resample {
    /// Nothing.
    Keep,
    /// Half of each.
    Halve,
    /// Twice of each.
    Double,
}

/// A separable filter with an even number of taps, applied between levels of a pyramid with its sum scaled to 1:
/// `[1, 1]` averages and repeats, `[1, 3, 3, 1]` is that of NCSN++ (Song et al., 2021, after Zhang, 2019).
#[derive(Clone, Debug, PartialEq)]
pub struct ResampleFilter {
    /// They add up to 1.
    taps: Vec<f32>,
}

impl ResampleFilter {
    /// The even number of `taps` must not add up to 0.
    pub fn new(taps: &[f64]) -> Self {
        let sum: f64 = taps.iter().sum();
        Self { taps: taps.iter().map(|tap| (tap / sum) as f32).collect() }
    }

    /// Pixels around an image that the filter needs to halve it.
    pub fn padding(&self) -> usize {
        (self.taps.len() - 1) / 2
    }

    /// The filter as a reference keeps it, `[taps, taps]`.
    pub fn table(&self) -> Vec<f32> {
        self.taps.iter().flat_map(|row| self.taps.iter().map(move |column| row * column)).collect()
    }

    /// `[b, c, h, w]` to the size that `resample` says.
    pub fn apply(&self, x: Dual<4>, resample: Resample) -> Dual<4> {
        match resample {
            Resample::Keep => x,
            Resample::Halve => self.halve(x, self.padding()),
            Resample::Double => self.double(x),
        }
    }

    /// `[b, c, h, w]` with so many zeros around it to `[b, c, h/2, w/2]` (where `padding` is the filter's).
    pub fn halve(&self, x: Dual<4>, padding: usize) -> Dual<4> {
        if self.is_box() && padding == 0 {
            return dual::average_pool_2x(x);
        }
        let size = self.taps.len();
        let weight = TensorData::new(self.table(), [1, 1, size, size]);
        each_channel(x, |x| {
            let weight = Tensor::from_data(weight, &x.value.device());
            dual::conv2d(x, weight, None, 2, padding)
        })
    }

    /// `[b, c, h, w]` to `[b, c, 2 h, 2 w]`: four times the transpose of [`halve`](Self::halve).
    ///
    /// Pixels of even and odd rows and columns take alternate taps, so they are four images of the old size.
    fn double(&self, x: Dual<4>) -> Dual<4> {
        if self.is_box() {
            return dual::upsample_nearest_2x(x);
        }
        let reach = self.reach();
        let size = 2 * reach + 1;
        let taps = |phase: usize| (0..size).map(move |at| self.tap(phase, at));
        let mut weight = Vec::with_capacity(4 * size * size);
        for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            weight.extend(taps(row).flat_map(|row| taps(column).map(move |column| 4.0 * row * column)));
        }
        let weight = TensorData::new(weight, [4, 1, size, size]);
        each_channel(x, |x| {
            let weight = Tensor::from_data(weight, &x.value.device());
            dual::conv2d(x, weight, None, 1, reach).each(|x| pixel_shuffle(x, 2))
        })
    }

    /// Neighbours on each side that a pixel of the doubled image takes from.
    fn reach(&self) -> usize {
        self.taps.len().div_ceil(4)
    }

    /// What output `2 m + phase` takes of input `m + at - reach`.
    fn tap(&self, phase: usize, at: usize) -> f32 {
        let index = (phase + self.padding() + 2 * self.reach()).checked_sub(2 * at);
        index.and_then(|index| self.taps.get(index)).copied().unwrap_or(0.0)
    }

    fn is_box(&self) -> bool {
        self.taps == [0.5, 0.5]
    }
}

/// `change` on every channel by itself.
fn each_channel(x: Dual<4>, change: impl FnOnce(Dual<4>) -> Dual<4>) -> Dual<4> {
    let [b, c, h, w] = x.dims();
    let x = change(x.each(|x| x.reshape([b * c, 1, h, w])));
    let [_, _, h, w] = x.dims();
    x.each(|x| x.reshape([b, c, h, w]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, device, normal, rounding, values};

    /// One image by loops, for any filter; zeros lie around it.
    fn halved(taps: &[f64], image: &[f32], size: usize) -> Vec<f32> {
        let (sum, padding) = (taps.iter().sum::<f64>(), (taps.len() - 1) / 2);
        let at = |row: usize, column: usize| {
            let mut total = 0.0;
            for (i, tall) in taps.iter().enumerate() {
                for (j, wide) in taps.iter().enumerate() {
                    let (y, x) = ((2 * row + i).wrapping_sub(padding), (2 * column + j).wrapping_sub(padding));
                    if y < size && x < size {
                        total += tall * wide / (sum * sum) * f64::from(image[y * size + x]);
                    }
                }
            }
            total as f32
        };
        (0..size / 2).flat_map(|row| (0..size / 2).map(move |column| at(row, column))).collect()
    }

    const FILTERS: [&[f64]; 4] =
        [&[1.0, 1.0], &[1.0, 3.0, 3.0, 1.0], &[1.0, 2.0, 5.0, 1.0], &[1.0, -2.0, 3.0, 5.0, 7.0, 2.0]];

    #[test]
    fn halving_filters_every_second_pixel() {
        for taps in FILTERS {
            let x = normal::<4>(0, [2, 3, 8, 8], &device());
            let found = values(&ResampleFilter::new(taps).apply(x.clone().into(), Resample::Halve).value);
            let expected: Vec<f32> = values(&x).chunks(64).flat_map(|image| halved(taps, image, 8)).collect();
            assert_close(&found, &expected, rounding());
        }
    }

    /// `<halve x, y> = <x, double y> / 4` for all images.
    #[test]
    fn doubling_is_the_transpose_of_halving() {
        for taps in FILTERS {
            let filter = ResampleFilter::new(taps);
            let (x, y) = (normal::<4>(0, [1, 2, 8, 8], &device()), normal::<4>(1, [1, 2, 4, 4], &device()));
            let product = |a: &Tensor<4>, b: &Tensor<4>| {
                values(a).iter().zip(values(b)).map(|(a, b)| f64::from(a * b)).sum::<f64>()
            };
            let down = product(&filter.apply(x.clone().into(), Resample::Halve).value, &y);
            let up = product(&x, &filter.apply(y.into(), Resample::Double).value) / 4.0;
            assert!((down - up).abs() < 1e-4 * down.abs().max(1.0), "{taps:?}: {down} {up}");
        }
    }
}

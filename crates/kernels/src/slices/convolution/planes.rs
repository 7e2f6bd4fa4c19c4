//! Images laid out so that every tap of a convolution reads runs of memory.
//!
//! Around an image stands a margin of zeros. With stride `s`, rows and columns are dealt out to `s x s` planes by their remainder, so
//! that neighbours in the result read neighbours in memory. In a plane of pitch `w`, count results as `j = y w + x`:
//! then a tap of all of them is the run that starts at the tap's offset. The few `j` with `x` beyond the result's width
//! are computed and dropped.

use super::Shape;

/// The widest vector, in floats: lengths are rounded up to it.
pub(super) const WIDEST: usize = 16;

/// How the channels of an image are laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    height: usize,
    width: usize,
    top: usize,
    left: usize,
    stride: usize,
    /// Rows of each of the `stride x stride` planes.
    rows: usize,
    /// Elements from one row to the next.
    pub(super) pitch: usize,
}

impl Planes {
    /// The input of a convolution, as its forward pass and its weight's gradient read it.
    pub(super) fn of_input(shape: &Shape) -> Self {
        let Shape { height, width, padding, stride, .. } = *shape;
        Self {
            height,
            width,
            top: padding,
            left: padding,
            stride,
            rows: (height + 2 * padding).div_ceil(stride),
            pitch: (width + 2 * padding).div_ceil(stride),
        }
    }

    /// The gradient of the result, as the input's gradient reads it; `y` and `x` are the ranges of rows and columns read, counted
    /// from the gradient's first.
    pub(super) fn of_gradient(shape: &Shape, y: std::ops::Range<isize>, x: std::ops::Range<isize>) -> Self {
        let (height, width) = (shape.out_height(), shape.out_width());
        let (top, left) = (margin(y.start), margin(x.start));
        let extent = |size: usize, end: isize| size.max(end.max(0).unsigned_abs());
        Self {
            height,
            width,
            top,
            left,
            stride: 1,
            rows: top + extent(height, y.end),
            pitch: left + extent(width, x.end),
        }
    }

    /// Where result 0 of a tap starts that reads row `y` and column `x`, counted from the image's first: not before the margin.
    pub(super) fn offset(&self, y: isize, x: isize) -> usize {
        let (y, x) = ((y + self.top as isize).unsigned_abs(), (x + self.left as isize).unsigned_abs());
        let plane = y % self.stride * self.stride + x % self.stride;
        (plane * self.rows + y / self.stride) * self.pitch + x / self.stride
    }

    /// Elements of one channel, those included that vectors read beyond its end.
    pub(super) fn len(&self) -> usize {
        self.stride * self.stride * self.rows * self.pitch + WIDEST
    }

    /// Results that are computed for `height` rows of `width`, the dropped ones included, in whole vectors.
    pub(super) fn results(&self, height: usize, width: usize) -> usize {
        ((height - 1) * self.pitch + width).next_multiple_of(WIDEST)
    }

    /// Copies all channels of an image into their planes; the margins are zero and stay so.
    pub(super) fn copy(&self, image: &[f32], planes: &mut [f32]) {
        for (channel, planes) in image.chunks_exact(self.height * self.width).zip(planes.chunks_exact_mut(self.len())) {
            for (y, row) in channel.chunks_exact(self.width).enumerate() {
                // Columns of one remainder follow each other in memory.
                for first in 0..self.stride.min(self.width) {
                    let into = &mut planes[self.offset(y as isize, first as isize)..];
                    if self.stride == 1 {
                        into[..self.width].copy_from_slice(row);
                    } else {
                        for (into, value) in into.iter_mut().zip(row[first..].iter().step_by(self.stride)) {
                            *into = *value;
                        }
                    }
                }
            }
        }
    }
}

/// How far a range that starts at `start` reaches before zero.
fn margin(start: isize) -> usize {
    (-start).max(0).unsigned_abs()
}

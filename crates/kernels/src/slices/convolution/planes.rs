//! Images laid out so that every tap of a convolution reads runs of memory.
//!
//! Several images stand side by side in a strip, with zeros around and between them. With stride `s`, rows and columns are
//! dealt out to `s x s` planes by their remainder, so that neighbours in the result read neighbours in memory. In a plane of
//! pitch `w`, count results as `j = y w + x`: then a tap of all of them is the run that starts at the tap's offset. The few
//! `j` that lie between images are computed and dropped. What a row reads beyond its end are the zeros before the next one.

use std::ops::Range;

use super::super::Isa;
use super::super::memory::as_unwritten;
use super::super::rows::copy_rows;
use super::Shape;

/// The widest vector, in floats: lengths are rounded up to it.
pub(super) const WIDEST: usize = 16;
/// Results of a strip that make up for those that are dropped.
const RESULTS: usize = if cfg!(miri) { 8 } else { 128 };

/// How the channels of a strip of images are laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    /// Images of a strip.
    pub(super) images: usize,
    height: usize,
    width: usize,
    top: usize,
    left: usize,
    stride: usize,
    /// Columns from one image to the next, a multiple of the stride.
    spacing: usize,
    /// Elements of each of the `stride x stride` planes, those included that the last row reads beyond its end.
    plane: usize,
    /// Elements from one row to the next.
    pub(super) pitch: usize,
}

impl Planes {
    /// The input of a convolution, as its forward pass and its weight's gradient read it.
    pub(super) fn of_input(shape: &Shape) -> Self {
        let before = -(shape.padding as isize);
        let read = |results: usize, kernel: usize| before..before + ((results - 1) * shape.stride + kernel) as isize;
        let (rows, columns) =
            (read(shape.out_height(), shape.kernel_height), read(shape.out_width(), shape.kernel_width));
        let size = [shape.height, shape.width];
        Self::new(shape.batch, size, shape.stride, shape.out_width(), rows, columns)
    }

    /// The gradient of the result, as the input's gradient reads it; `rows` and `columns` are the ranges that are read,
    /// counted from the gradient's first.
    pub(super) fn of_gradient(shape: &Shape, rows: Range<isize>, columns: Range<isize>) -> Self {
        let size = [shape.out_height(), shape.out_width()];
        Self::new(shape.batch, size, 1, shape.width.div_ceil(shape.stride), rows, columns)
    }

    fn new(
        batch: usize,
        [height, width]: [usize; 2],
        stride: usize,
        results: usize,
        rows: Range<isize>,
        columns: Range<isize>,
    ) -> Self {
        let images = (RESULTS / (height * width)).clamp(1, batch.max(1));
        let (top, left) = (margin(rows.start), margin(columns.start));
        let reach = |size: usize, end: isize| size.max(end.max(0).unsigned_abs());
        // Nothing that is read beyond an image may belong to one of its neighbours, and no results may.
        let spacing = reach(width + left, columns.end).max(results * stride).next_multiple_of(stride);
        let pitch = images * spacing / stride;
        let plane = (top + reach(height, rows.end)).div_ceil(stride) * pitch + left;
        Self { images, height, width, top, left, stride, spacing, plane, pitch }
    }

    /// Where result 0 of a tap starts that reads row `y` and column `x`, counted from the first image's first: not before the
    /// margin.
    pub(super) fn offset(&self, y: isize, x: isize) -> usize {
        let (y, x) = ((y + self.top as isize).unsigned_abs(), (x + self.left as isize).unsigned_abs());
        let plane = y % self.stride * self.stride + x % self.stride;
        plane * self.plane + y / self.stride * self.pitch + x / self.stride
    }

    /// Pixels of one channel of an image.
    pub(super) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Results from one image to the next.
    pub(super) fn step(&self) -> usize {
        self.spacing / self.stride
    }

    /// Elements of one channel, those included that vectors read beyond its end.
    pub(super) fn len(&self) -> usize {
        (self.stride * self.stride * self.plane + WIDEST).next_multiple_of(WIDEST)
    }

    /// Results that are computed for `height` rows of `width`, the dropped ones included, in whole vectors.
    pub(super) fn results(&self, height: usize, width: usize) -> usize {
        ((height - 1) * self.pitch + (self.images - 1) * self.step() + width).next_multiple_of(WIDEST)
    }

    /// Lays out the images of one strip, at most as many as it has, as `[channel, plane]`; margins are zero and stay so.
    pub(super) fn copy_strip(&self, isa: Isa, images: &[f32], channels: usize, planes: &mut [f32]) {
        let pixels = self.pixels();
        for (i, image) in images.chunks_exact(channels * pixels).enumerate() {
            for (channel, planes) in image.chunks_exact(pixels).zip(planes.chunks_exact_mut(self.len())) {
                self.copy(isa, i, channel, planes);
            }
        }
    }

    /// Copies one channel of image `i` of a strip; margins stay as they are.
    pub(super) fn copy(&self, isa: Isa, i: usize, channel: &[f32], planes: &mut [f32]) {
        let start = |y: usize, x: usize| self.offset(y as isize, (i * self.spacing + x) as isize);
        if self.stride == 1 {
            // SAFETY: rows of floats are copied there.
            let into = unsafe { as_unwritten(&mut planes[start(0, 0)..]) };
            return copy_rows(isa, channel, self.width, [self.height, self.width], 0.0, into, self.pitch);
        }
        for (y, row) in channel.chunks_exact(self.width).enumerate() {
            // Columns of one remainder follow each other in memory.
            for first in 0..self.stride.min(self.width) {
                let into = &mut planes[start(y, first)..];
                for (into, value) in into.iter_mut().zip(row[first..].iter().step_by(self.stride)) {
                    *into = *value;
                }
            }
        }
    }
}

/// How far a range that starts at `start` reaches before zero.
fn margin(start: isize) -> usize {
    (-start).max(0).unsigned_abs()
}

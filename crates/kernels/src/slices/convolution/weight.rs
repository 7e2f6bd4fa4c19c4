//! The gradient of the weight: for each tap, a product of the result's gradient with what the tap reads.
//!
//! Both are laid out with channels innermost, as a product's factors are packed ([`packed`](super::super::matrix)): the
//! gradient in groups of output channels, the image in panels of input channels. Results are counted as in
//! [`planes`](super::planes), so that a tap reads a run of a panel's rows; the gradient is zero where
//! [`direct`](super::direct) drops a result.

use rayon::prelude::*;

use super::super::Isa;
use super::super::matrix::{GROUP, add_product_of_packed, panel_width, sum_of_parts, transpose, vector_width};
use super::super::memory::as_unwritten;
use super::super::rows::copy_rows;
use super::Shape;
use super::planes::Planes;

/// Images in one part of the sum, and the most parts.
const IMAGES: usize = 16;
const MAX_PARTS: usize = 16;
/// Results that are laid out at a time, unless an image has more.
const RESULTS: usize = if cfg!(miri) { 32 } else { 1024 };
/// Results that are added up in one go: what all taps read of a panel meanwhile stays in the level-two cache.
const DEPTH: usize = if cfg!(miri) { 16 } else { 512 };

/// As [`super::backward_weight`].
pub(super) fn backward_weight(isa: Isa, shape: &Shape, x: &[f32], g: &[f32]) -> Vec<f32> {
    let parts = shape.batch.div_ceil(IMAGES).clamp(1, MAX_PARTS);
    let images = shape.batch.div_ceil(parts);
    sum_of_parts(shape.outputs * shape.patch(), parts, |part, dw| {
        let (start, end) = ((part * images).min(shape.batch), ((part + 1) * images).min(shape.batch));
        let x = &x[start * shape.image()..end * shape.image()];
        let g = &g[start * shape.out_image()..end * shape.out_image()];
        part_of_weight(&Layout::new(isa, &Shape { batch: end - start, ..*shape }), x, g, dw);
    })
}

/// How images and gradients of one part are laid out.
struct Layout<'a> {
    isa: Isa,
    shape: &'a Shape,
    planes: Planes,
    /// Results of a strip.
    results: usize,
    /// Where each tap starts in a plane.
    offsets: Vec<usize>,
    /// Whether a column of a panel is what one tap reads of a channel, instead of all of the channel: where all of them fit one
    /// panel, which few channels would leave empty.
    unfolded: bool,
}

impl<'a> Layout<'a> {
    fn new(isa: Isa, shape: &'a Shape) -> Self {
        let planes = Planes::of_input(shape);
        let results = planes.results(shape.out_height(), shape.out_width());
        let offsets = shape.tap_positions().map(|(ky, kx)| shape.input_offset(&planes, ky, kx)).collect();
        Self { isa, shape, planes, results, offsets, unfolded: shape.patch() <= panel_width(isa) }
    }

    /// Columns of all panels, without those that fill up the last.
    fn columns(&self) -> usize {
        if self.unfolded { self.shape.patch() } else { self.shape.inputs }
    }

    /// Columns of all panels.
    fn padded(&self) -> usize {
        self.columns().next_multiple_of(vector_width(self.isa))
    }

    /// Rows of a panel.
    fn rows(&self) -> usize {
        if self.unfolded { self.results } else { self.planes.len() }
    }

    /// Rows of a panel at which the products start.
    fn starts(&self) -> &[usize] {
        if self.unfolded { &[0] } else { &self.offsets }
    }

    /// Elements of the panels of one strip.
    fn image(&self) -> usize {
        self.rows() * self.padded()
    }

    /// Elements of the groups of one strip.
    fn gradient(&self) -> usize {
        self.shape.outputs.div_ceil(GROUP) * self.results * GROUP
    }

    /// Lays out a strip of images as `[panel, row, column]`; columns that fill up the last panel are left as they are.
    fn copy_images(&self, x: &[f32], panels: &mut [f32]) {
        let (shape, rows, panel) = (self.shape, self.rows(), panel_width(self.isa));
        let pixels = self.planes.pixels();
        panels.par_chunks_mut(rows * panel).enumerate().for_each_init(
            || (vec![0.0; self.planes.len()], vec![0.0; panel * rows]),
            |(plane, lines), (i, to)| {
                let (left, width) = (i * panel, to.len() / rows);
                let columns = width.min(self.columns() - left);
                // The columns of the panel, one after the other.
                let taps = if self.unfolded { shape.taps() } else { 1 };
                for (channel, lines) in lines.chunks_exact_mut(taps * rows).take(columns / taps).enumerate() {
                    let into = if self.unfolded { &mut *plane } else { &mut *lines };
                    for (image, x) in x.chunks_exact(shape.image()).enumerate() {
                        let channel = &x[(left + channel) * pixels..][..pixels];
                        self.planes.copy(self.isa, image, channel, into);
                    }
                    if self.unfolded {
                        for (line, offset) in lines.chunks_exact_mut(rows).zip(&self.offsets) {
                            line.copy_from_slice(&plane[*offset..][..rows]);
                        }
                    }
                }
                transpose(self.isa, &lines[..columns * rows], rows, to, width);
            },
        );
    }

    /// Lays out the gradients of a strip of images as `[group, result, output channel of the group]`, zero where results are
    /// dropped.
    fn copy_gradients(&self, g: &[f32], groups: &mut [f32]) {
        let (shape, results) = (self.shape, self.results);
        let (pixels, width) = (shape.out_pixels(), shape.out_width());
        groups.par_chunks_mut(results * GROUP).enumerate().for_each_init(
            || vec![0.0; GROUP * results],
            |lines, (i, to)| {
                let outputs = GROUP.min(shape.outputs - i * GROUP);
                if g.len() < self.planes.images * shape.out_image() {
                    lines.fill(0.0);
                }
                for (o, line) in lines.chunks_exact_mut(results).take(outputs).enumerate() {
                    for (image, g) in g.chunks_exact(shape.out_image()).enumerate() {
                        let g = &g[(i * GROUP + o) * pixels..][..pixels];
                        // SAFETY: rows of floats are copied there.
                        let into = unsafe { as_unwritten(&mut line[image * self.planes.step()..]) };
                        copy_rows(self.isa, g, width, [shape.out_height(), width], 0.0, into, self.planes.pitch);
                    }
                }
                transpose(self.isa, &lines[..outputs * results], results, to, GROUP);
            },
        );
    }

    /// Adds the products of one group of output channels with all panels of a strip: `sums` is
    /// `[start, output channel of the group, column]`.
    fn add_products(&self, group: &[f32], panels: &[f32], sums: &mut [f32]) {
        let (rows, padded) = (self.rows(), self.padded());
        for (i, panel) in panels.chunks(rows * panel_width(self.isa)).enumerate() {
            let (left, width) = (i * panel_width(self.isa), panel.len() / rows);
            for first in (0..self.results).step_by(DEPTH) {
                let depth = DEPTH.min(self.results - first);
                let group = &group[first * GROUP..][..depth * GROUP];
                for (start, sums) in self.starts().iter().zip(sums.chunks_exact_mut(GROUP * padded)) {
                    let panel = &panel[(start + first) * width..][..depth * width];
                    add_product_of_packed(self.isa, group, panel, width, &mut sums[left..], padded);
                }
            }
        }
    }
}

/// Sets `dw`, `[output, input, tap]`, to the gradient over the images of `x` and `g`.
fn part_of_weight(layout: &Layout, x: &[f32], g: &[f32], dw: &mut [f32]) {
    let Layout { shape, planes, results, .. } = layout;
    let strips = (RESULTS / results).clamp(1, shape.batch.div_ceil(planes.images).max(1));
    let mut images = vec![0.0; strips * layout.image()];
    let mut gradients = vec![0.0; strips * layout.gradient()];
    let starts = layout.starts().len();
    let size = starts * GROUP * layout.padded();
    let mut sums = vec![0.0; shape.outputs.div_ceil(GROUP) * size];
    let x = x.chunks(strips * planes.images * shape.image());
    for (x, g) in x.zip(g.chunks(strips * planes.images * shape.out_image())) {
        let x = x.par_chunks(planes.images * shape.image());
        let count = x.len();
        let g = g.par_chunks(planes.images * shape.out_image());
        x.zip(images.par_chunks_mut(layout.image())).for_each(|(x, panels)| layout.copy_images(x, panels));
        g.zip(gradients.par_chunks_mut(layout.gradient())).for_each(|(g, groups)| layout.copy_gradients(g, groups));
        sums.par_chunks_mut(size).enumerate().for_each(|(i, sums)| {
            for (panels, groups) in images.chunks(layout.image()).zip(gradients.chunks(layout.gradient())).take(count) {
                layout.add_products(&groups[i * results * GROUP..][..results * GROUP], panels, sums);
            }
        });
    }
    dw.par_chunks_mut(GROUP * shape.patch()).zip(sums.par_chunks(size)).for_each(|(dw, sums)| {
        for (o, dw) in dw.chunks_exact_mut(shape.patch()).enumerate() {
            for start in 0..starts {
                let sums = &sums[(start * GROUP + o) * layout.padded()..][..layout.columns()];
                dw[start..].iter_mut().step_by(starts).zip(sums).for_each(|(dw, sum)| *dw = *sum);
            }
        }
    });
}

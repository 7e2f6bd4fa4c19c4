//! Scaled dot-product attention in tiles with an online softmax, and its gradients.
//!
//! The scores of a head are never stored whole: tiles of queries meet tiles of keys, and a running maximum and sum rescale what
//! was added before (Milakov and Gimelshein, 2018; Dao et al., 2022). What the backward pass needs of the softmax is
//! one number a query, the logarithm of its sum.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Isa;
use super::arithmetic::{add_to, dot, exp, max, sum};
use super::matrix::{Matrix, Write, multiply};
use super::memory::{SharedOut, written};

/// Queries and keys in a tile: a tile of scores (32 KiB) stays in the level-one cache.
const QUERIES: usize = if cfg!(miri) { 4 } else { 64 };
const KEYS: usize = if cfg!(miri) { 4 } else { 128 };

/// The sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) heads: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Width of a head.
    pub(crate) width: usize,
}

impl Sizes {
    fn scale(self) -> f32 {
        (self.width as f64).powf(-0.5) as f32
    }
}

/// Where the rows of each head lie in memory: element `j` of row `i` of head `h` of image `b` is at
/// `offset + b batch + h head + i row + j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) offset: usize,
    pub(crate) batch: usize,
    pub(crate) head: usize,
    pub(crate) row: usize,
}

impl Layout {
    /// `[b, heads, n, d]` without gaps.
    pub(crate) fn separate(heads: usize, n: usize, d: usize) -> Self {
        Self { offset: 0, batch: heads * n * d, head: n * d, row: d }
    }

    /// Part `part` of `parts` in `[b, n, parts, heads, d]` without gaps.
    pub(crate) fn packed(heads: usize, n: usize, d: usize, part: usize, parts: usize) -> Self {
        let row = parts * heads * d;
        Self { offset: part * heads * d, batch: n * row, head: d, row }
    }

    pub(super) fn start(self, b: usize, h: usize) -> usize {
        self.offset + b * self.batch + h * self.head
    }
}

/// A tensor of heads: memory and how heads lie in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) layout: Layout,
}

impl<'a> Heads<'a> {
    /// Head `h` of image `b`, as a matrix of `rows` rows.
    fn head(self, b: usize, h: usize, rows: usize, width: usize) -> Matrix<'a> {
        Matrix::strided(&self.data[self.layout.start(b, h)..], rows, width, self.layout.row)
    }
}

/// Queries, keys, values, and a mask `[b, keys]` to be added to the scores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) q: Heads<'a>,
    pub(crate) k: Heads<'a>,
    pub(crate) v: Heads<'a>,
    pub(crate) mask: Option<&'a [f32]>,
}

vectorized!(
    fn online_softmax(
        scores: &mut [f32],
        keys: usize,
        maxima: &mut [f32],
        sums: &mut [f32],
        out: &mut [f32],
        width: usize,
    ) = online_softmax_body
);
vectorized!(fn probabilities(scores: &mut [f32], keys: usize, log_sums: &[f32]) = probabilities_body);
vectorized!(fn score_gradient(p: &mut [f32], dp: &[f32], keys: usize, inner: &[f32]) = score_gradient_body);
vectorized!(fn inner_product(x: &[f32], y: &[f32]) -> f32 = inner_product_body);

/// `softmax(q k^T / sqrt(d) + mask) v`, laid out as `layout` says, and the logarithm of each query's softmax sum, `[b, h, queries]`.
///
/// `layout` is one that covers memory without gaps: [`Layout::separate`], or the only part of [`Layout::packed`].
pub(crate) fn forward(isa: Isa, sizes: Sizes, inputs: Inputs, layout: Layout) -> (Vec<f32>, Vec<f32>) {
    let Sizes { batch, heads, queries, keys, width } = sizes;
    assert!(keys > 0, "attention over no keys");
    let whole = [Layout::separate(heads, queries, width), Layout::packed(heads, queries, width, 0, 1)];
    assert!(whole.contains(&layout), "a layout without gaps");
    let mut log_sums = Vec::new();
    // SAFETY: every head, row and element of a head is visited; `layout` maps them onto all of the output, and no two onto
    // the same place.
    let out = unsafe {
        written(batch * heads * queries * width, |out| {
            let out = SharedOut::new(out);
            log_sums = written(batch * heads * queries, |log_sums| {
                log_sums.par_chunks_mut(queries.max(1)).enumerate().for_each_init(
                    Scratch::new,
                    |scratch, (i, log_sums)| {
                        let (b, h) = (i / heads, i % heads);
                        let head = layout.start(b, h);
                        forward_head(isa, sizes, inputs, (b, h), scratch, log_sums, out.at(head), layout.row);
                    },
                );
            });
        })
    };
    (out, log_sums)
}

/// Working memory of one thread.
struct Scratch {
    scores: Vec<f32>,
    gradient: Vec<f32>,
    out: Vec<f32>,
}

impl Scratch {
    fn new() -> Self {
        Self { scores: vec![0.0; QUERIES * KEYS], gradient: vec![0.0; QUERIES * KEYS], out: Vec::new() }
    }
}

/// One head of [`forward`].
///
/// # Safety
///
/// `out` must be valid for the head's rows, `row` apart, and used by nobody else.
#[allow(clippy::too_many_arguments)]
unsafe fn forward_head(
    isa: Isa,
    sizes: Sizes,
    inputs: Inputs,
    (b, h): (usize, usize),
    scratch: &mut Scratch,
    log_sums: &mut [MaybeUninit<f32>],
    out: *mut f32,
    row: usize,
) {
    let Sizes { queries, keys, width, .. } = sizes;
    let (q, k, v) =
        (inputs.q.head(b, h, queries, width), inputs.k.head(b, h, keys, width), inputs.v.head(b, h, keys, width));
    for top in (0..queries).step_by(QUERIES) {
        let rows = QUERIES.min(queries - top);
        // A finite start: a tile of keys that are all hidden by -inf must not give inf - inf.
        let (mut maxima, mut sums) = ([f32::MIN; QUERIES], [0.0f32; QUERIES]);
        scratch.out.clear();
        scratch.out.resize(rows * width, 0.0);
        for left in (0..keys).step_by(KEYS) {
            let columns = KEYS.min(keys - left);
            let tile = &mut scratch.scores[..rows * columns];
            scores(sizes, q.rows(top, rows), k.rows(left, columns), tile, mask_of(inputs.mask, b, keys, left, columns));
            online_softmax(isa, tile, columns, &mut maxima[..rows], &mut sums[..rows], &mut scratch.out, width);
            // SAFETY: the result, `rows` by `width`, is all of `scratch.out`.
            unsafe {
                let weights = Matrix::new(tile, rows, columns);
                multiply(weights, v.rows(left, columns), 1.0, scratch.out.as_mut_ptr(), width, Write::Add);
            }
        }
        for (i, values) in scratch.out.chunks_exact(width).enumerate() {
            // SAFETY: row `top + i` of this head, which is ours.
            let out = unsafe { std::slice::from_raw_parts_mut(out.add((top + i) * row).cast(), width) };
            let inverse = 1.0 / sums[i];
            for (out, value) in out.iter_mut().zip(values) {
                *out = MaybeUninit::new(value * inverse);
            }
            log_sums[top + i].write(maxima[i] + sums[i].ln());
        }
    }
}

/// The piece of the mask for `columns` keys from `left` of image `b`.
fn mask_of(mask: Option<&[f32]>, b: usize, keys: usize, left: usize, columns: usize) -> Option<&[f32]> {
    mask.map(|mask| &mask[b * keys + left..][..columns])
}

/// A tile of scores: `q k^T / sqrt(d) + mask`.
fn scores(sizes: Sizes, q: Matrix, k: Matrix, tile: &mut [f32], mask: Option<&[f32]>) {
    let columns = k.row_count();
    assert_eq!(tile.len(), q.row_count() * columns);
    // SAFETY: the result fills the tile exactly.
    unsafe { multiply(q, k.transposed(), sizes.scale(), tile.as_mut_ptr(), columns, Write::Set) };
    if let Some(mask) = mask {
        tile.chunks_exact_mut(columns).for_each(|row| add_to(row, mask));
    }
}

/// Turns scores into `exp(score - maximum)`, where the maximum includes this tile, and rescales the sums and outputs before it.
#[inline(always)]
fn online_softmax_body<const FUSED: bool>(
    scores: &mut [f32],
    keys: usize,
    maxima: &mut [f32],
    sums: &mut [f32],
    out: &mut [f32],
    width: usize,
) {
    let rows = scores.chunks_exact_mut(keys).zip(out.chunks_exact_mut(width));
    for ((scores, out), (maximum, total)) in rows.zip(maxima.iter_mut().zip(sums)) {
        let larger = max(scores, *maximum);
        for score in scores.iter_mut() {
            *score = exp::<FUSED>(*score - larger);
        }
        let rescale = exp::<FUSED>(*maximum - larger);
        *total = *total * rescale + sum(scores);
        for out in out {
            *out *= rescale;
        }
        *maximum = larger;
    }
}

/// Scores to probabilities, given the logarithm of each row's sum.
#[inline(always)]
fn probabilities_body<const FUSED: bool>(scores: &mut [f32], keys: usize, log_sums: &[f32]) {
    for (scores, log_sum) in scores.chunks_exact_mut(keys).zip(log_sums) {
        for score in scores {
            *score = exp::<FUSED>(*score - log_sum);
        }
    }
}

/// The gradient of the scores, `p (dp - inner)`, over `p`; `inner` is each row's `sum p dp`.
#[inline(always)]
fn score_gradient_body<const FUSED: bool>(p: &mut [f32], dp: &[f32], keys: usize, inner: &[f32]) {
    for ((p, dp), inner) in p.chunks_exact_mut(keys).zip(dp.chunks_exact(keys)).zip(inner) {
        for (p, dp) in p.iter_mut().zip(dp) {
            *p *= dp - inner;
        }
    }
}

#[inline(always)]
fn inner_product_body<const FUSED: bool>(x: &[f32], y: &[f32]) -> f32 {
    dot::<FUSED>(x, y)
}

/// What [`forward`] gave, and the gradient of its result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outputs<'a> {
    pub(crate) out: Heads<'a>,
    pub(crate) log_sums: &'a [f32],
    pub(crate) gradient: Heads<'a>,
}

/// The gradients of queries, keys and values, each `[b, h, rows, d]` without gaps.
pub(crate) fn backward(isa: Isa, sizes: Sizes, inputs: Inputs, outputs: Outputs) -> [Vec<f32>; 3] {
    let Sizes { batch, heads, queries, keys, width } = sizes;
    if queries == 0 {
        // No tile of queries would write these.
        return [0, keys, keys].map(|rows| vec![0.0; batch * heads * rows * width]);
    }
    assert!(keys > 0, "attention over no keys");
    let of_queries = Layout::separate(heads, queries, width);
    let of_keys = Layout::separate(heads, keys, width);
    let (mut dk, mut dv) = (Vec::new(), Vec::new());
    let per_row = batch * heads * width;
    // SAFETY: the layouts have no gaps, and the heads' gradients are written whole.
    let dq = unsafe {
        written(per_row * queries, |dq| {
            dk = written(per_row * keys, |dk| {
                dv = written(per_row * keys, |dv| {
                    let into = [dq, dk, dv].map(SharedOut::new);
                    backward_heads(isa, sizes, inputs, outputs, into, [of_queries, of_keys, of_keys]);
                });
            });
        })
    };
    [dq, dk, dv]
}

/// The gradient of queries, keys and values packed as `[b, n, 3, h, d]`.
pub(crate) fn backward_packed(isa: Isa, sizes: Sizes, inputs: Inputs, outputs: Outputs) -> Vec<f32> {
    let Sizes { batch, heads, queries, keys, width } = sizes;
    assert!(queries == keys && keys > 0, "packed queries and keys");
    let layouts = [0, 1, 2].map(|part| Layout::packed(heads, queries, width, part, 3));
    // SAFETY: the three layouts together cover the output without overlap, and the heads' gradients are written whole.
    unsafe {
        written(batch * queries * 3 * heads * width, |gradient| {
            let into = [SharedOut::new(gradient); 3];
            backward_heads(isa, sizes, inputs, outputs, into, layouts);
        })
    }
}

/// Writes the gradients of queries, keys and values of all heads, each into its memory and layout.
///
/// # Safety
///
/// The layouts must lie within the memory and not overlap.
unsafe fn backward_heads(
    isa: Isa,
    sizes: Sizes,
    inputs: Inputs,
    outputs: Outputs,
    into: [SharedOut; 3],
    layouts: [Layout; 3],
) {
    let Sizes { batch, heads, .. } = sizes;
    (0..batch * heads).into_par_iter().for_each_init(Scratch::new, |scratch, i| {
        let (b, h) = (i / heads, i % heads);
        // SAFETY: the caller vouches for the layouts; heads do not overlap.
        unsafe {
            let [dq, dk, dv] = [0, 1, 2].map(|i| (into[i].at(layouts[i].start(b, h)), layouts[i].row));
            backward_head(isa, sizes, inputs, outputs, (b, h), scratch, dq, dk, dv);
        }
    });
}

/// One head of the backward pass. With `P` the probabilities, `S` the scores and `D = sum_j P dP` of each query:
/// `dV = P^T dO`, `dP = dO V^T`, `dS = P (dP - D)`, `dQ = dS K / sqrt(d)`, `dK = dS^T Q / sqrt(d)`; and `D = sum_j dO O`.
///
/// # Safety
///
/// The gradients' pointers must be valid for the head's rows (the second number apart), and used by nobody else.
#[allow(clippy::too_many_arguments)]
unsafe fn backward_head(
    isa: Isa,
    sizes: Sizes,
    inputs: Inputs,
    outputs: Outputs,
    (b, h): (usize, usize),
    scratch: &mut Scratch,
    dq: (*mut f32, usize),
    dk: (*mut f32, usize),
    dv: (*mut f32, usize),
) {
    let Sizes { heads, queries, keys, width, .. } = sizes;
    let scale = sizes.scale();
    let (q, k, v) =
        (inputs.q.head(b, h, queries, width), inputs.k.head(b, h, keys, width), inputs.v.head(b, h, keys, width));
    let (out, g) = (outputs.out.head(b, h, queries, width), outputs.gradient.head(b, h, queries, width));
    let log_sums = &outputs.log_sums[(b * heads + h) * queries..][..queries];
    let inner = &mut scratch.out;
    inner.clear();
    inner.extend((0..queries).map(|i| inner_product(isa, out.row(i), g.row(i))));
    for left in (0..keys).step_by(KEYS) {
        let columns = KEYS.min(keys - left);
        let (k, v) = (k.rows(left, columns), v.rows(left, columns));
        let mask = mask_of(inputs.mask, b, keys, left, columns);
        for top in (0..queries).step_by(QUERIES) {
            let rows = QUERIES.min(queries - top);
            let (q, g) = (q.rows(top, rows), g.rows(top, rows));
            let tile = &mut scratch.scores[..rows * columns];
            let dp = &mut scratch.gradient[..rows * columns];
            scores(sizes, q, k, tile, mask);
            probabilities(isa, tile, columns, &log_sums[top..top + rows]);
            // The first tile of each sum sets it, the rest add.
            let (first_rows, first_columns) = (set_if(top == 0), set_if(left == 0));
            // SAFETY: all results lie within the head's rows or fill the scratch tile.
            unsafe {
                let p = Matrix::new(tile, rows, columns).transposed();
                multiply(p, g, 1.0, dv.0.add(left * dv.1), dv.1, first_rows);
                multiply(g, v.transposed(), 1.0, dp.as_mut_ptr(), columns, Write::Set);
                score_gradient(isa, tile, dp, columns, &inner[top..top + rows]);
                let ds = Matrix::new(tile, rows, columns);
                multiply(ds, k, scale, dq.0.add(top * dq.1), dq.1, first_columns);
                multiply(ds.transposed(), q, scale, dk.0.add(left * dk.1), dk.1, first_rows);
            }
        }
    }
}

fn set_if(first: bool) -> Write {
    if first { Write::Set } else { Write::Add }
}

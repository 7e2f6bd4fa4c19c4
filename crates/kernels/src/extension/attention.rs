//! Scaled dot-product attention, packed and with separate queries, keys and values.

use burn::backend::TensorMetadata;
use burn::backend::flex::{FlexTensor, Layout as TensorLayout};
use burn::tensor::Shape;

use super::Operation;
use super::bytes::Bytes;
use super::tensor::{check, dense, sizes, slice, tensor};
use crate::attention::head_width;
use crate::slices::Isa;
use crate::slices::attention::{self, Heads, Inputs, Layout, Outputs, Sizes};

/// Self-attention of `[b, n, (q, k, v), h, d]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedAttention {
    pub(crate) heads: usize,
}

impl PackedAttention {
    fn sizes(&self, qkv: &FlexTensor) -> Sizes {
        let [batch, n, packed] = sizes(qkv);
        Sizes { batch, heads: self.heads, queries: n, keys: n, width: head_width(packed, self.heads) }
    }

    fn inputs<'a>(&self, qkv: &'a FlexTensor) -> Inputs<'a> {
        let Sizes { heads, queries, width, .. } = self.sizes(qkv);
        let part = |part| Heads { data: slice(qkv), layout: Layout::packed(heads, queries, width, part, 3) };
        Inputs { q: part(0), k: part(1), v: part(2), mask: None }
    }
}

impl Operation<1> for PackedAttention {
    /// The input, the result, and the logarithms of the softmax's sums.
    type Saved = [FlexTensor; 3];

    fn name(&self) -> &'static str {
        "packed_attention"
    }

    fn forward(&self, [qkv]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let qkv = dense(qkv);
        let sizes = self.sizes(&qkv);
        let Sizes { batch, heads, queries, width, .. } = sizes;
        let layout = Layout::packed(heads, queries, width, 0, 1);
        let (out, log_sums) = attention::forward(Isa::detect(), sizes, self.inputs(&qkv), layout);
        let out = tensor(out, [batch, queries, heads * width]);
        (out.clone(), [qkv, out, tensor(log_sums, [batch, heads, queries])])
    }

    fn backward(&self, [qkv, out, log_sums]: Self::Saved, g: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let g = dense(g);
        let sizes = self.sizes(&qkv);
        let layout = Layout::packed(sizes.heads, sizes.queries, sizes.width, 0, 1);
        let outputs = Outputs {
            out: Heads { data: slice(&out), layout },
            log_sums: slice(&log_sums),
            gradient: Heads { data: slice(&g), layout },
        };
        let gradient = attention::backward_packed(Isa::detect(), sizes, self.inputs(&qkv), outputs);
        [Some(tensor(gradient, qkv.shape()))]
    }
}

/// Attention of `q` `[b, h, n, d]` to `k` and `v` `[b, h, m, d]`, with, as a fourth tensor, a constant mask `[b, m]`.
///
/// The tensors are read where they lie, also when they are views of projections `[b, n, h, d]`; the result lies in
/// memory as `[b, n, h, d]`, ready for the projection that follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention;

/// What the backward pass needs: `q`, `k` and `v`, the mask, the result, and the logarithms of the softmax's sums.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    qkv: [FlexTensor; 3],
    mask: Option<FlexTensor>,
    out: FlexTensor,
    log_sums: FlexTensor,
}

impl Bytes for Saved {
    fn byte_count(&self) -> u64 {
        self.qkv.byte_count() + self.mask.byte_count() + self.out.byte_count() + self.log_sums.byte_count()
    }
}

impl Operation<3> for Attention {
    type Saved = Saved;

    fn name(&self) -> &'static str {
        "attention"
    }

    fn forward(&self, qkv: [FlexTensor; 3]) -> (FlexTensor, Saved) {
        forward(qkv, None)
    }

    fn backward(&self, saved: Saved, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        backward(saved, gradient).map(Some)
    }
}

impl Operation<4> for Attention {
    type Saved = Saved;

    fn name(&self) -> &'static str {
        "attention"
    }

    fn forward(&self, [q, k, v, mask]: [FlexTensor; 4]) -> (FlexTensor, Saved) {
        forward([q, k, v], Some(dense(mask)))
    }

    fn backward(&self, saved: Saved, gradient: FlexTensor, _: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let [dq, dk, dv] = backward(saved, gradient).map(Some);
        [dq, dk, dv, None]
    }
}

/// The tensor, or a copy if the elements of a row are not neighbours or a row lies before another's start.
fn with_rows(x: FlexTensor) -> FlexTensor {
    let strides = x.layout().strides();
    let readable = strides.last() == Some(&1) && strides.iter().all(|stride| *stride >= 0);
    if readable { x } else { x.to_contiguous() }
}

/// The heads of a tensor that [`with_rows`] gave.
fn heads(x: &FlexTensor) -> Heads<'_> {
    let stride = |i: usize| x.layout().strides()[i].unsigned_abs();
    let layout = Layout { offset: x.layout().start_offset(), batch: stride(0), head: stride(1), row: stride(2) };
    Heads { data: x.storage(), layout }
}

fn sizes_of([q, k, v]: &[FlexTensor; 3], mask: Option<&FlexTensor>) -> Sizes {
    let [batch, heads, queries, width] = sizes(q);
    let [_, _, keys, _] = sizes(k);
    check("attention", "k", k, [batch, heads, keys, width]);
    check("attention", "v", v, [batch, heads, keys, width]);
    if let Some(mask) = mask {
        check("attention", "mask", mask, [batch, keys]);
    }
    Sizes { batch, heads, queries, keys, width }
}

fn inputs<'a>([q, k, v]: &'a [FlexTensor; 3], mask: Option<&'a FlexTensor>) -> Inputs<'a> {
    Inputs { q: heads(q), k: heads(k), v: heads(v), mask: mask.map(slice) }
}

fn forward(qkv: [FlexTensor; 3], mask: Option<FlexTensor>) -> (FlexTensor, Saved) {
    let qkv = qkv.map(with_rows);
    let sizes = sizes_of(&qkv, mask.as_ref());
    let Sizes { batch, heads, queries, width, .. } = sizes;
    let layout = Layout::packed(heads, queries, width, 0, 1);
    let (out, log_sums) = attention::forward(Isa::detect(), sizes, inputs(&qkv, mask.as_ref()), layout);
    let strides = [layout.batch, layout.head, layout.row, 1].map(|stride| stride as isize);
    let out = tensor(out, [batch, queries, heads, width]).with_layout(TensorLayout::new(
        Shape::new([batch, heads, queries, width]),
        strides.to_vec(),
        0,
    ));
    let log_sums = tensor(log_sums, [batch, heads, queries]);
    (out.clone(), Saved { qkv, mask, out, log_sums })
}

fn backward(saved: Saved, gradient: FlexTensor) -> [FlexTensor; 3] {
    let Saved { qkv, mask, out, log_sums } = saved;
    let gradient = with_rows(gradient);
    let sizes = sizes_of(&qkv, mask.as_ref());
    let outputs = Outputs { out: heads(&out), log_sums: slice(&log_sums), gradient: heads(&gradient) };
    let [dq, dk, dv] = attention::backward(Isa::detect(), sizes, inputs(&qkv, mask.as_ref()), outputs);
    [tensor(dq, qkv[0].shape()), tensor(dk, qkv[1].shape()), tensor(dv, qkv[2].shape())]
}

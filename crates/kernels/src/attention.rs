//! Scaled dot-product attention: separate queries, keys and values, or one packed projection.

use burn::tensor::{Tensor, activation};

/// Scaled dot-product attention, `softmax(q k^T / sqrt(d) + mask) v` (Vaswani et al., 2017, eq. 1).
///
/// Shapes: `q` `[b, h, n, d]`; `k`, `v` `[b, h, m, d]`; result `[b, h, n, d]`. `mask` `[b, m]` is added to the scores of
/// each key: 0 keeps it, a large negative number hides it. It is taken as a constant. At least one key of each row
/// should stay visible.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<2>>) -> Tensor<4> {
    attention_composed(q, k, v, mask)
}

/// [`attention`] in Burn's operations.
pub fn attention_composed(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<2>>) -> Tensor<4> {
    let [_, _, _, d] = q.dims();
    let scores = (q * (d as f64).powf(-0.5)).matmul(k.swap_dims(2, 3)); // [b, h, n, m]
    let scores = match mask {
        Some(mask) => {
            let [b, m] = mask.dims();
            scores + mask.reshape([b, 1, 1, m]).detach()
        }
        None => scores,
    };
    activation::softmax(scores, 3).matmul(v) // [b, h, n, d]
}

/// Self-attention on a packed projection.
///
/// Shapes: `qkv` `[b, n, 3 h d]`, in memory order `[b, n, (query, key, value), head, d]`; result `[b, n, h d]`, heads
/// side by side. `heads` must divide a third of the last dimension.
pub fn packed_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    packed_attention_composed(qkv, heads)
}

/// [`packed_attention`] in Burn's operations.
pub fn packed_attention_composed(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [b, n, packed] = qkv.dims();
    let d = head_width(packed, heads);
    let qkv = qkv.reshape([b, n, 3, heads, d]).permute([2, 0, 3, 1, 4]); // [3, b, h, n, d]
    let part = |i: usize| qkv.clone().narrow(0, i, 1).reshape([b, heads, n, d]);
    let out = attention_composed(part(0), part(1), part(2), None); // [b, h, n, d]
    out.swap_dims(1, 2).reshape([b, n, heads * d])
}

/// The width of a head, `d`, in a packed projection of width `3 h d`.
fn head_width(packed: usize, heads: usize) -> usize {
    assert!(heads > 0 && packed % (3 * heads) == 0, "packed width {packed} is not 3 x {heads} heads x d");
    packed / (3 * heads)
}

use burn::module::Module;
use burn::tensor::Tensor;

use super::{Linear, trace};
use crate::dual::{self, Dual};
use crate::initialization::{Initialization, Start};

/// Multi-head attention of tokens among themselves, with one projection to queries, keys and values.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// `[d] -> [3 d]`: all queries, all keys, all values; heads side by side in each.
    pub qkv: Linear,
    /// `[d] -> [d]`.
    pub projection: Linear,
    heads: usize,
}

impl SelfAttention {
    /// `heads` must divide `width`.
    pub fn new(width: usize, heads: usize, start: Start, init: &mut Initialization) -> Self {
        Self {
            qkv: Linear::new(width, 3 * width, start, init),
            projection: Linear::new(width, width, start, init),
            heads,
        }
    }

    /// `[b, n, d]` to `[b, n, d]`.
    pub fn forward(&self, x: Dual<3>) -> Dual<3> {
        let qkv = self.qkv.forward(x); // [b, n, 3 d]
        trace::packed_attention(&self.qkv.weight, qkv.dims());
        self.projection.forward(dual::packed_attention(qkv, self.heads)) // [b, n, d]
    }

    /// The same, where the keys that `mask` `[b, n]` (0 or a large negative number) hides are not looked at.
    pub fn forward_masked(&self, x: Dual<3>, mask: Tensor<2>) -> Dual<3> {
        let width = x.dims()[2];
        let qkv = self.qkv.forward(x); // [b, n, 3 d]
        trace::packed_attention(&self.qkv.weight, qkv.dims());
        let part = |i: usize| qkv.clone().each(|x| split_heads(x.narrow(2, i * width, width), self.heads)); // [b, h, n, d/h]
        let (q, k, v) = (part(0), part(1), part(2));
        self.projection.forward(dual::attention(q, k, v, Some(mask)).each(merge_heads)) // [b, n, d]
    }
}

/// Multi-head attention of tokens to others.
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// `[d] -> [d]`.
    pub query: Linear,
    /// `[e] -> [d]`.
    pub key: Linear,
    /// `[e] -> [d]`.
    pub value: Linear,
    /// `[d] -> [d]`.
    pub projection: Linear,
    heads: usize,
}

impl CrossAttention {
    /// From tokens of `width` (divisible by `heads`) to others of `other_width`. With a `projection` that starts at
    /// zero, the others come in gradually.
    pub fn new(width: usize, other_width: usize, heads: usize, projection: Start, init: &mut Initialization) -> Self {
        Self {
            query: Linear::new(width, width, Start::Xavier, init),
            key: Linear::new(other_width, width, Start::Xavier, init),
            value: Linear::new(other_width, width, Start::Xavier, init),
            projection: Linear::new(width, width, projection, init),
            heads,
        }
    }

    /// Tokens `[b, n, d]` and others `[b, m, e]` to `[b, n, d]`; the others that `mask` `[b, m]` (0 or a large negative
    /// number) hides are not looked at.
    pub fn forward(&self, x: Dual<3>, others: Dual<3>, mask: Option<Tensor<2>>) -> Dual<3> {
        let split = |x: Dual<3>| x.each(|x| split_heads(x, self.heads));
        let q = split(self.query.forward(x)); // [b, h, n, d/h]
        let k = split(self.key.forward(others.clone())); // [b, h, m, d/h]
        let v = split(self.value.forward(others)); // [b, h, m, d/h]
        trace::attention(&self.query.weight, q.dims(), k.dims());
        let out = dual::attention(q, k, v, mask); // [b, h, n, d/h]
        self.projection.forward(out.each(merge_heads)) // [b, n, d]
    }
}

/// `[b, n, d]` to `[b, h, n, d/h]`.
fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [b, n, d] = x.dims();
    x.reshape([b, n, heads, d / heads]).swap_dims(1, 2)
}

/// `[b, h, n, d/h]` to `[b, n, d]`.
fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [b, heads, n, d] = x.dims();
    x.swap_dims(1, 2).reshape([b, n, heads * d])
}

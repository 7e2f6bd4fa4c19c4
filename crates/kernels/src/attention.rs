//! Scaled dot-product attention: separate queries, keys and values, or one packed projection.

use burn::tensor::{Tensor, activation};

#[cfg(feature = "flex")]
use crate::extension::{self, is_fusable};

/// Scaled dot-product attention, `softmax(q k^T / sqrt(d) + mask) v` (Vaswani et al., 2017, eq. 1).
///
/// Shapes: `q` `[b, h, n, d]`; `k`, `v` `[b, h, m, d]`; result `[b, h, n, d]`. `mask` `[b, m]` is added to the scores of
/// each key: 0 keeps it, a large negative number hides it. It is taken as a constant. At least one key of each row
/// should stay visible.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<2>>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if is_fusable(&q) && is_fusable(&k) && is_fusable(&v) && mask.as_ref().is_none_or(is_fusable) {
        return match mask {
            // Detached here: the graph behind it would wait for a gradient that never comes.
            Some(mask) => extension::run_4(extension::Attention, [q, k, v], mask.detach()),
            None => extension::run_3(extension::Attention, q, k, v),
        };
    }
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
    #[cfg(feature = "flex")]
    if is_fusable(&qkv) {
        return extension::run_1(extension::PackedAttention { heads }, qkv);
    }
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
pub(crate) fn head_width(packed: usize, heads: usize) -> usize {
    assert!(heads > 0 && packed.is_multiple_of(3 * heads), "packed width {packed} is not 3 x {heads} heads x d");
    packed / (3 * heads)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::testing::{assert_defined, assert_same, flat};

    /// Attention by its definition, all tensors `[b, h, rows, d]`.
    fn naive([b, h, n, m, d]: [usize; 5], q: &[f64], k: &[f64], v: &[f64], mask: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; b * h * n * d];
        for head in 0..b * h {
            for i in 0..n {
                let row = |x: &[f64], rows: usize, i: usize| x[(head * rows + i) * d..][..d].to_vec();
                let score = |j: usize| {
                    let dot: f64 = row(q, n, i).iter().zip(row(k, m, j)).map(|(q, k)| q * k).sum();
                    (dot / (d as f64).sqrt() + mask[head / h * m + j]).exp()
                };
                let total: f64 = (0..m).map(score).sum();
                for j in 0..m {
                    let weight = score(j) / total;
                    for (c, v) in row(v, m, j).iter().enumerate() {
                        out[(head * n + i) * d + c] += weight * v;
                    }
                }
            }
        }
        out
    }

    /// `[b, h, n, m, d]` and a form that takes `q`, `k`, `v` and a mask.
    fn with(
        [b, h, n, m, d]: [usize; 5],
        f: fn(Tensor<4>, Tensor<4>, Tensor<4>, Option<Tensor<2>>) -> Tensor<4>,
    ) -> impl Fn(&[Tensor<1>]) -> Tensor<1> {
        move |x| {
            let of = |i: usize, rows: usize| x[i].clone().reshape([b, h, rows, d]);
            let mask = x.get(3).map(|mask| mask.clone().reshape([b, m]));
            flat(f(of(0, n), of(1, m), of(2, m), mask))
        }
    }

    fn lengths([b, h, n, m, d]: [usize; 5]) -> [usize; 4] {
        [b * h * n * d, b * h * m * d, b * h * m * d, b * m]
    }

    #[test]
    fn composed_form_is_the_definition() {
        let sizes = [2, 3, 5, 7, 4];
        assert_defined("attention", &lengths(sizes), with(sizes, attention_composed), |x| {
            naive(sizes, &x[0], &x[1], &x[2], &x[3])
        });
        let [b, h, n, _, d] = [2, 3, 5, 5, 4];
        let packed = |x: &[Tensor<1>]| flat(packed_attention_composed(x[0].clone().reshape([b, n, 3 * h * d]), h));
        assert_defined("packed_attention", &[b * n * 3 * h * d], packed, |x| {
            // [b, n, part, h, d] to [b, h, n, d] and back.
            let part = |part: usize| -> Vec<f64> {
                let at = |i: usize| {
                    let (c, i) = (i % d, i / d);
                    let (row, i) = (i % n, i / n);
                    x[0][(((i / h * n + row) * 3 + part) * h + i % h) * d + c]
                };
                (0..b * h * n * d).map(at).collect()
            };
            let out = naive([b, h, n, n, d], &part(0), &part(1), &part(2), &vec![0.0; b * n]);
            let at = |i: usize| {
                let (c, i) = (i % d, i / d);
                let (head, i) = (i % h, i / h);
                out[((i / n * h + head) * n + i % n) * d + c]
            };
            (0..b * n * h * d).map(at).collect()
        });
    }

    #[test]
    fn fused_form_is_the_composed_one() {
        // One tile, several tiles of queries and keys, and one query.
        for sizes in [[2, 3, 5, 7, 4], [1, 2, 70, 300, 17], [2, 1, 200, 33, 8], [3, 2, 1, 1, 5]] {
            let lengths = lengths(sizes);
            assert_same("masked", &lengths, with(sizes, attention), with(sizes, attention_composed), 5e-6);
            assert_same("plain", &lengths[..3], with(sizes, attention), with(sizes, attention_composed), 5e-6);
        }
    }

    #[test]
    fn fused_form_is_the_composed_one_when_packed() {
        for [b, n, h, d] in [[2, 64, 3, 8], [1, 200, 2, 5], [3, 1, 1, 1]] {
            let with = |f: fn(Tensor<3>, usize) -> Tensor<3>| {
                move |x: &[Tensor<1>]| flat(f(x[0].clone().reshape([b, n, 3 * h * d]), h).swap_dims(0, 1))
            };
            assert_same("packed", &[b * n * 3 * h * d], with(packed_attention), with(packed_attention_composed), 5e-6);
        }
    }

    #[test]
    fn fused_form_reads_views() {
        // Heads split from projections, as in cross-attention; keys and values are one tensor, used twice.
        let [b, h, n, m, d] = [2, 3, 20, 9, 8];
        let with = |f: fn(Tensor<4>, Tensor<4>, Tensor<4>, Option<Tensor<2>>) -> Tensor<4>| {
            move |x: &[Tensor<1>]| {
                let q = x[0].clone().reshape([b, n, h, d]).swap_dims(1, 2);
                let kv = x[1].clone().reshape([b, m, 2 * h * d]).narrow(2, h * d / 2, h * d);
                let kv = kv.reshape([b, m, h, d]).swap_dims(1, 2);
                flat(f(q, kv.clone(), kv, None).swap_dims(1, 2).reshape([b, n, h * d]))
            }
        };
        assert_same("views", &[b * n * h * d, b * m * 2 * h * d], with(attention), with(attention_composed), 5e-6);
    }

    #[test]
    fn hidden_keys_do_not_matter() {
        // A whole tile of keys is hidden, by -inf and by a large number.
        use burn::tensor::Device;
        let device = Device::flex();
        let tensor = |seed: u64, rows: usize| {
            Tensor::<1>::from_floats(crate::testing::values(seed, rows * 4).as_slice(), &device)
                .reshape([1, 1, rows, 4])
        };
        let (q, k, v) = (tensor(1, 3), tensor(2, 300), tensor(3, 300));
        let seen = |x: &Tensor<4>| x.clone().narrow(2, 290, 10);
        let want = attention(q.clone(), seen(&k), seen(&v), None);
        for hidden in [f32::NEG_INFINITY, -1e9] {
            let mask: Vec<f32> = (0..300).map(|i| if i < 290 { hidden } else { 0.0 }).collect();
            let mask = Tensor::<1>::from_floats(mask.as_slice(), &device).reshape([1, 300]);
            let got = attention(q.clone(), k.clone(), v.clone(), Some(mask));
            let error = (got - want.clone()).abs().max().into_scalar::<f32>();
            assert!(error < 1e-6, "hidden by {hidden}: off by {error}");
        }
    }
}

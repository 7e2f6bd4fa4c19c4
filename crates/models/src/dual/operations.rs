//! The operations of networks on duals.

use burn::tensor::{Tensor, activation, module};
use sinter_kernels as kernels;

use super::Dual;

/// `x weight + bias` on the last dimension: `[.., in]` to `[.., out]`.
pub fn linear<const D: usize>(x: Dual<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Dual<D> {
    let tangent = x.tangent.map(|tangent| kernels::linear(tangent, weight.clone(), None));
    Dual { value: kernels::linear(x.value, weight, bias), tangent }
}

/// A convolution, see [`kernels::conv2d`].
pub fn conv2d(x: Dual<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: usize, padding: usize) -> Dual<4> {
    let tangent = x.tangent.map(|tangent| kernels::conv2d(tangent, weight.clone(), None, stride, padding));
    Dual { value: kernels::conv2d(x.value, weight, bias, stride, padding), tangent }
}

/// Average pooling over 2 x 2 blocks.
pub fn average_pool_2x(x: Dual<4>) -> Dual<4> {
    x.each(kernels::average_pool_2x)
}

/// Nearest-neighbour upsampling by two.
pub fn upsample_nearest_2x(x: Dual<4>) -> Dual<4> {
    x.each(kernels::upsample_nearest_2x)
}

/// `x sigmoid(x)`; its slope is `s (1 + x (1 - s))` with the sigmoid s.
pub fn silu<const D: usize>(x: Dual<D>) -> Dual<D> {
    x.through(kernels::silu, |x, tangent| {
        let sigmoid = activation::sigmoid(x.clone());
        let rest = sigmoid.clone().neg() + 1.0;
        tangent * sigmoid * (x * rest + 1.0)
    })
}

/// The tanh form of GELU, `x sigmoid(u)` with `u = k x (1 + c x^2)`; its slope is `s (1 + x (1 - s) u')`.
pub fn gelu_tanh<const D: usize>(x: Dual<D>) -> Dual<D> {
    let (slope, cubic) = (kernels::GELU_SLOPE, kernels::GELU_CUBIC);
    x.through(kernels::gelu_tanh, |x, tangent| {
        let square = x.clone() * x.clone();
        let sigmoid = activation::sigmoid(x.clone() * (square.clone() * cubic + 1.0) * slope);
        let inner = (square * (3.0 * cubic) + 1.0) * slope;
        let rest = sigmoid.clone().neg() + 1.0;
        tangent * sigmoid * (x * rest * inner + 1.0)
    })
}

/// The softmax p along a dimension; its derivative is `p (x' - sum of p x')`.
pub fn softmax<const D: usize>(x: Dual<D>, dimension: usize) -> Dual<D> {
    let value = activation::softmax(x.value, dimension);
    let tangent = x.tangent.map(|tangent| {
        let mean = (value.clone() * tangent.clone()).sum_dim(dimension);
        value.clone() * (tangent - mean)
    });
    Dual { value, tangent }
}

/// `(x - mean) / deviation` over the last dimension. With `c = x' - mean x'` its derivative is
/// `(c - y mean(y c)) / deviation` of the result y.
fn normalized<const D: usize>(x: Dual<D>, epsilon: f64) -> Dual<D> {
    let last = D - 1;
    let centred = x.value.clone() - x.value.mean_dim(last);
    let deviation = ((centred.clone() * centred.clone()).mean_dim(last) + epsilon).sqrt();
    let value = centred / deviation.clone();
    let tangent = x.tangent.map(|tangent| {
        let centred = tangent.clone() - tangent.mean_dim(last);
        let along = (value.clone() * centred.clone()).mean_dim(last);
        (centred - value.clone() * along) / deviation
    });
    Dual { value, tangent }
}

/// Layer normalization over the last dimension, with weights `[d]`.
pub fn layer_norm<const D: usize>(x: Dual<D>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Dual<D> {
    let tangent = x.moves().then(|| normalized(x.clone(), epsilon).derivative() * weight.clone().unsqueeze::<D>());
    Dual { value: module::layer_norm(x.value, weight, Some(bias), epsilon), tangent }
}

/// See [`kernels::layer_norm_modulate`]; shift and scale move with the time.
pub fn layer_norm_modulate(x: Dual<3>, shift: Dual<2>, scale: Dual<2>, epsilon: f64) -> Dual<3> {
    let value = kernels::layer_norm_modulate(x.value.clone(), shift.value.clone(), scale.value.clone(), epsilon);
    if !(x.moves() || shift.moves() || scale.moves()) {
        return value.into();
    }
    let row = |x: Dual<2>| x.each(|x| x.unsqueeze_dim::<3>(1));
    let moved = normalized(x, epsilon) * (row(scale) + 1.0) + row(shift);
    Dual { value, ..moved }
}

/// See [`kernels::gate_residual`]; the gate moves with the time.
pub fn gate_residual(x: Dual<3>, h: Dual<3>, gate: Dual<2>) -> Dual<3> {
    let value = kernels::gate_residual(x.value.clone(), h.value.clone(), gate.value.clone());
    if !(x.moves() || h.moves() || gate.moves()) {
        return value.into();
    }
    let moved = x + h * gate.each(|gate| gate.unsqueeze_dim::<3>(1));
    Dual { value, ..moved }
}

/// See [`kernels::group_norm`].
pub fn group_norm(
    x: Dual<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    epsilon: f64,
    activation: bool,
) -> Dual<4> {
    let value = kernels::group_norm(x.value.clone(), gamma.clone(), beta.clone(), groups, epsilon, activation);
    if !x.moves() {
        return value.into();
    }
    let moved = group_normalized(x, gamma, beta, groups, epsilon);
    Dual { value, ..if activation { silu(moved) } else { moved } }
}

/// See [`kernels::group_norm_modulate`]; shift and scale move with the time.
#[allow(clippy::too_many_arguments, reason = "those of the kernel")]
pub fn group_norm_modulate(
    x: Dual<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    shift: Dual<2>,
    scale: Dual<2>,
    groups: usize,
    epsilon: f64,
    activation: bool,
) -> Dual<4> {
    let value = kernels::group_norm_modulate(
        x.value.clone(),
        gamma.clone(),
        beta.clone(),
        shift.value.clone(),
        scale.value.clone(),
        groups,
        epsilon,
        activation,
    );
    if !(x.moves() || shift.moves() || scale.moves()) {
        return value.into();
    }
    let [b, c, _, _] = x.dims();
    let pixel = |x: Dual<2>| x.each(|x| x.reshape([b, c, 1, 1]));
    let moved = group_normalized(x, gamma, beta, groups, epsilon) * (pixel(scale) + 1.0) + pixel(shift);
    Dual { value, ..if activation { silu(moved) } else { moved } }
}

fn group_normalized(x: Dual<4>, gamma: Tensor<1>, beta: Tensor<1>, groups: usize, epsilon: f64) -> Dual<4> {
    let [b, c, h, w] = x.dims();
    let flat = x.each(|x| x.reshape([b, groups, c / groups * h * w]));
    let normal = normalized(flat, epsilon).each(|x| x.reshape([b, c, h, w]));
    normal * gamma.reshape([1, c, 1, 1]) + beta.reshape([1, c, 1, 1])
}

/// See [`kernels::attention`]; the mask stays.
pub fn attention(q: Dual<4>, k: Dual<4>, v: Dual<4>, mask: Option<Tensor<2>>) -> Dual<4> {
    let value = kernels::attention(q.value.clone(), k.value.clone(), v.value.clone(), mask.clone());
    if !(q.moves() || k.moves() || v.moves()) {
        return value.into();
    }
    let [_, _, _, d] = q.dims();
    let scores = (q * (d as f64).powf(-0.5)).matmul(k.each(|k| k.swap_dims(2, 3))); // [b, h, n, m]
    let scores = match mask {
        Some(mask) => {
            let [b, m] = mask.dims();
            scores + mask.reshape([b, 1, 1, m])
        }
        None => scores,
    };
    let moved = softmax(scores, 3).matmul(v);
    Dual { value, ..moved }
}

/// See [`kernels::packed_attention`].
pub fn packed_attention(qkv: Dual<3>, heads: usize) -> Dual<3> {
    let value = kernels::packed_attention(qkv.value.clone(), heads);
    if !qkv.moves() {
        return value.into();
    }
    let [b, n, packed] = qkv.dims();
    let d = packed / (3 * heads);
    let parts = qkv.each(|x| x.reshape([b, n, 3, heads, d]).permute([2, 0, 3, 1, 4])); // [3, b, h, n, d]
    let part = |i: usize| parts.clone().each(|x| x.narrow(0, i, 1).reshape([b, heads, n, d]));
    let moved = attention(part(0), part(1), part(2), None); // [b, h, n, d]
    Dual { value, ..moved.each(|x| x.swap_dims(1, 2).reshape([b, n, heads * d])) }
}

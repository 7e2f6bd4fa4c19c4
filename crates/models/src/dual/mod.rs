//! Tensors with a directional derivative: what layers compute with.
//!
//! Every layer reads and gives a [`Dual`]: a value and, where anything that it depends on moves, its tangent, the
//! derivative along the direction of that movement. So a network's forward is written once. Given tensors it is the plain
//! pass, in which no tangent is ever made; given an input and a time that move, it also tells how its output moves
//! (forward-mode differentiation), exactly and without a gradient graph, for about twice the cost.
//!
//! The operations here are those of [`sinter_kernels`] under the same names. Values come from the kernels; a tangent comes
//! from the operation's definition, carried out on duals. It is made of Burn's own operations, and so works on every
//! backend and in every float type.

mod operations;

pub use operations::{
    attention, average_pool_2x, conv2d, gate_residual, gelu_tanh, group_norm, group_norm_modulate, layer_norm,
    layer_norm_modulate, linear, packed_attention, silu, softmax, upsample_nearest_2x,
};

use std::ops::{Add, Mul, Sub};

use burn::tensor::Tensor;

/// A tensor and its derivative along a direction.
#[derive(Clone, Debug)]
pub struct Dual<const D: usize> {
    /// The tensor.
    pub value: Tensor<D>,
    /// Its derivative, of the same shape; none where it is zero.
    pub tangent: Option<Tensor<D>>,
}

impl<const D: usize> Dual<D> {
    /// A tensor that moves by `tangent`, of its shape.
    pub fn moving(value: Tensor<D>, tangent: Tensor<D>) -> Self {
        Self { value, tangent: Some(tangent) }
    }

    /// Sizes of the dimensions.
    pub fn dims(&self) -> [usize; D] {
        self.value.dims()
    }

    /// Whether it has a tangent.
    pub fn moves(&self) -> bool {
        self.tangent.is_some()
    }

    /// The derivative, zeros where there is none.
    pub fn derivative(self) -> Tensor<D> {
        self.tangent.unwrap_or_else(|| self.value.zeros_like())
    }

    /// A linear map, which the derivative goes through as the value does: a change of shape, a part, a sum.
    pub fn each<const E: usize>(self, map: impl Fn(Tensor<D>) -> Tensor<E>) -> Dual<E> {
        Dual { tangent: self.tangent.map(&map), value: map(self.value) }
    }

    /// A function of each element, or of the whole; `rate(x, x')` is its derivative.
    pub fn through<const E: usize>(
        self,
        value: impl FnOnce(Tensor<D>) -> Tensor<E>,
        rate: impl FnOnce(Tensor<D>, Tensor<D>) -> Tensor<E>,
    ) -> Dual<E> {
        let tangent = self.tangent.map(|tangent| rate(self.value.clone(), tangent));
        Dual { value: value(self.value), tangent }
    }

    /// Several side by side along a dimension, which is theirs in number and size otherwise.
    pub fn cat(parts: Vec<Self>, dimension: usize) -> Self {
        let moves = parts.iter().any(Self::moves);
        let values = Tensor::cat(parts.iter().map(|part| part.value.clone()).collect(), dimension);
        let tangent = moves.then(|| Tensor::cat(parts.into_iter().map(Self::derivative).collect(), dimension));
        Self { value: values, tangent }
    }

    /// The product of matrices, or of batches of them.
    pub fn matmul(self, other: Self) -> Self {
        self.product(other, Tensor::matmul)
    }

    /// A product, which is linear in each factor.
    fn product(self, other: Self, of: impl Fn(Tensor<D>, Tensor<D>) -> Tensor<D>) -> Self {
        let left = self.tangent.map(|tangent| of(tangent, other.value.clone()));
        let right = other.tangent.map(|tangent| of(self.value.clone(), tangent));
        Self { value: of(self.value, other.value), tangent: sum(left, right) }
    }
}

/// The sum of two derivatives of which either may be zero.
fn sum<const D: usize>(left: Option<Tensor<D>>, right: Option<Tensor<D>>) -> Option<Tensor<D>> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left + right),
        (left, right) => left.or(right),
    }
}

impl<const D: usize> From<Tensor<D>> for Dual<D> {
    /// A tensor that stays.
    fn from(value: Tensor<D>) -> Self {
        Self { value, tangent: None }
    }
}

impl<const D: usize> Add for Dual<D> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { value: self.value + other.value, tangent: sum(self.tangent, other.tangent) }
    }
}

impl<const D: usize> Sub for Dual<D> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let right = other.tangent.map(Tensor::neg);
        Self { value: self.value - other.value, tangent: sum(self.tangent, right) }
    }
}

/// Element by element.
impl<const D: usize> Mul for Dual<D> {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        self.product(other, |a, b| a * b)
    }
}

impl<const D: usize> Add<Tensor<D>> for Dual<D> {
    type Output = Self;

    fn add(self, other: Tensor<D>) -> Self {
        Self { value: self.value + other, tangent: self.tangent }
    }
}

impl<const D: usize> Mul<Tensor<D>> for Dual<D> {
    type Output = Self;

    fn mul(self, other: Tensor<D>) -> Self {
        self.each(|x| x * other.clone())
    }
}

impl<const D: usize> Add<f64> for Dual<D> {
    type Output = Self;

    fn add(self, other: f64) -> Self {
        Self { value: self.value + other, tangent: self.tangent }
    }
}

impl<const D: usize> Mul<f64> for Dual<D> {
    type Output = Self;

    fn mul(self, other: f64) -> Self {
        self.each(|x| x * other)
    }
}

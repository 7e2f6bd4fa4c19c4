//! The fused operations as Burn operations: where they may run, and how they join the graph of gradients.
//!
//! An [`Operation`] is a forward and a backward pass on Flex tensors. [`Fused`] sends one through Burn's dispatch, and
//! [`Step`] makes it a node of the autodiff graph; both are written once for all operations.

mod activation;
mod attention;
mod bytes;
mod convolution;
mod gate;
mod group_norm;
mod layer_norm;
mod linear;
mod optimizer;
mod resample;
mod tensor;

pub(crate) use activation::Activation;
pub(crate) use attention::{Attention, PackedAttention};
pub(crate) use convolution::Convolution;
pub(crate) use gate::GateResidual;
pub(crate) use group_norm::{GroupNorm, GroupNormModulate};
pub(crate) use layer_norm::LayerNormModulate;
pub(crate) use linear::Linear;
pub(crate) use optimizer::{adamw_step, ema_step, is_plain, square_norm};
pub(crate) use resample::Resample;

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensorKind, Flex, backend_extension};
use burn::tensor::{DType, Tensor};

use self::bytes::Bytes;
use crate::form::is_composed;
use crate::profile::{self, Pass};

/// A fused operation of `N` tensors; the value itself holds its other arguments.
pub(crate) trait Operation<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs of the forward pass.
    type Saved: Bytes + Clone + Debug + Send + 'static;

    /// Its name in a profile: that of the function that runs it.
    fn name(&self) -> &'static str;

    /// The result, and what to keep of it.
    fn forward(&self, inputs: [FlexTensor; N]) -> (FlexTensor, Self::Saved);

    /// The gradients of the inputs, given that of the result; those that are not `wanted` may be left out.
    fn backward(&self, saved: Self::Saved, gradient: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];
}

/// Whether a tensor is one that the fused forms work on: 32-bit floats on Flex, inside of autodiff or not. No tensor is
/// one in a process that is held to the composed forms.
pub(crate) fn is_fusable<const D: usize>(x: &Tensor<D>) -> bool {
    if is_composed() {
        return false;
    }
    let tensor = x.clone().into_dispatch();
    let kind = match &tensor.kind {
        DispatchTensorKind::Autodiff(kind) => kind.as_ref(),
        kind => kind,
    };
    // With Flex as the only backend this always matches, but other backends may be compiled in.
    #[allow(irrefutable_let_patterns)]
    let on_flex = matches!(kind, DispatchTensorKind::Flex(_));
    on_flex && x.dtype() == DType::F32
}

/// Runs `operation` on one tensor.
pub(crate) fn run_1<O: Operation<1>, const A: usize, const R: usize>(operation: O, a: Tensor<A>) -> Tensor<R> {
    Tensor::from_dispatch(Dispatch::fused_1(a.into_dispatch(), operation))
}

/// Runs `operation` on two tensors.
pub(crate) fn run_2<O: Operation<2>, const A: usize, const B: usize, const R: usize>(
    operation: O,
    a: Tensor<A>,
    b: Tensor<B>,
) -> Tensor<R> {
    Tensor::from_dispatch(Dispatch::fused_2(a.into_dispatch(), b.into_dispatch(), operation))
}

/// Runs `operation` on three tensors.
pub(crate) fn run_3<O: Operation<3>, const A: usize, const B: usize, const C: usize, const R: usize>(
    operation: O,
    a: Tensor<A>,
    b: Tensor<B>,
    c: Tensor<C>,
) -> Tensor<R> {
    Tensor::from_dispatch(Dispatch::fused_3(a.into_dispatch(), b.into_dispatch(), c.into_dispatch(), operation))
}

/// Runs `operation` on four tensors.
pub(crate) fn run_4<O: Operation<4>, const A: usize, const B: usize, const R: usize>(
    operation: O,
    [a, b, c]: [Tensor<A>; 3],
    d: Tensor<B>,
) -> Tensor<R> {
    let [a, b, c] = [a, b, c].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fused_4(a, b, c, d.into_dispatch(), operation))
}

/// Runs `operation` on five tensors.
pub(crate) fn run_5<O: Operation<5>, const A: usize, const B: usize, const C: usize, const R: usize>(
    operation: O,
    a: Tensor<A>,
    [b, c]: [Tensor<B>; 2],
    [d, e]: [Tensor<C>; 2],
) -> Tensor<R> {
    let [b, c] = [b, c].map(Tensor::into_dispatch);
    let [d, e] = [d, e].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fused_5(a.into_dispatch(), b, c, d, e, operation))
}

/// One function a number of tensors, because Burn's dispatch knows tensors only as single arguments.
#[backend_extension(Flex, Autodiff)]
trait Fused: Backend {
    fn fused_1<O: Operation<1>>(a: FloatTensor<Self>, operation: O) -> FloatTensor<Self>;

    fn fused_2<O: Operation<2>>(a: FloatTensor<Self>, b: FloatTensor<Self>, operation: O) -> FloatTensor<Self>;

    fn fused_3<O: Operation<3>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self>;

    fn fused_4<O: Operation<4>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self>;

    fn fused_5<O: Operation<5>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self>;
}

/// Both backends implement the five functions alike, by one that takes an array.
macro_rules! by_array {
    ($run:ident) => {
        fn fused_1<O: Operation<1>>(a: FloatTensor<Self>, operation: O) -> FloatTensor<Self> {
            $run!(operation, [a])
        }

        fn fused_2<O: Operation<2>>(a: FloatTensor<Self>, b: FloatTensor<Self>, operation: O) -> FloatTensor<Self> {
            $run!(operation, [a, b])
        }

        fn fused_3<O: Operation<3>>(
            a: FloatTensor<Self>,
            b: FloatTensor<Self>,
            c: FloatTensor<Self>,
            operation: O,
        ) -> FloatTensor<Self> {
            $run!(operation, [a, b, c])
        }

        fn fused_4<O: Operation<4>>(
            a: FloatTensor<Self>,
            b: FloatTensor<Self>,
            c: FloatTensor<Self>,
            d: FloatTensor<Self>,
            operation: O,
        ) -> FloatTensor<Self> {
            $run!(operation, [a, b, c, d])
        }

        fn fused_5<O: Operation<5>>(
            a: FloatTensor<Self>,
            b: FloatTensor<Self>,
            c: FloatTensor<Self>,
            d: FloatTensor<Self>,
            e: FloatTensor<Self>,
            operation: O,
        ) -> FloatTensor<Self> {
            $run!(operation, [a, b, c, d, e])
        }
    };
}

macro_rules! run_plain {
    ($operation:expr, $inputs:expr) => {
        forward(&$operation, $inputs).0
    };
}

impl Fused for Flex {
    by_array!(run_plain);
}

macro_rules! run_tracked {
    ($operation:expr, $inputs:expr) => {
        track::<C, _, _>($operation, $inputs)
    };
}

impl<C: CheckpointStrategy> Fused for Autodiff<Flex, C> {
    by_array!(run_tracked);
}

/// The forward pass, through which every call goes.
fn forward<O: Operation<N>, const N: usize>(operation: &O, inputs: [FlexTensor; N]) -> (FlexTensor, O::Saved) {
    let call = profile::begin(|| (operation.name(), Pass::Forward, inputs.byte_count()));
    let (output, saved) = operation.forward(inputs);
    call.end(|| output.byte_count());
    (output, saved)
}

/// The backward pass, likewise.
fn backward<O: Operation<N>, const N: usize>(
    operation: &O,
    saved: O::Saved,
    gradient: FlexTensor,
    wanted: [bool; N],
) -> [Option<FlexTensor>; N] {
    let call = profile::begin(|| (operation.name(), Pass::Backward, saved.byte_count() + gradient.byte_count()));
    let of_inputs = operation.backward(saved, gradient, wanted);
    call.end(|| of_inputs.byte_count());
    of_inputs
}

/// Runs the forward pass and, where an input needs its gradient, adds the operation to the graph.
fn track<C: CheckpointStrategy, O: Operation<N>, const N: usize>(
    operation: O,
    inputs: [FloatTensor<Autodiff<Flex>>; N],
) -> FloatTensor<Autodiff<Flex>> {
    // The nodes are to be taken before the tensors, which keep them alive.
    let step = Step(PhantomData).prepare::<C>(inputs.each_ref().map(|input| input.node())).compute_bound();
    let (output, saved) = forward(&operation, inputs.map(|input| input.into_primitive()));
    match step.stateful() {
        OpsKind::Tracked(step) => step.finish((operation, saved), output),
        OpsKind::UnTracked(step) => step.finish(output),
    }
}

/// An operation in the graph.
#[derive(Debug)]
struct Step<O, const N: usize>(PhantomData<O>);

impl<O: Operation<N>, const N: usize> Backward<Flex, N> for Step<O, N> {
    type State = (O, O::Saved);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        let (operation, saved) = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let of_inputs = backward(&operation, saved, gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(of_inputs) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

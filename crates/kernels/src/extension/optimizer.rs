//! The updates of an optimizer step, in place where a tensor is not shared.

use burn::backend::flex::FlexTensor;
use burn::backend::{BackendTensor, DispatchTensorKind, Flex};
use burn::tensor::Tensor;

use super::bytes::Bytes;
use super::is_fusable;
use super::tensor::{dense, slice, tensor};
use crate::optimizer::{AdamW, Moments};
use crate::profile::{self, Pass};
use crate::slices::{Isa, optimizer, square_norm as slices_square_norm};

/// Whether a tensor is one of 32-bit floats on Flex outside of autodiff.
pub(crate) fn is_plain<const D: usize>(x: &Tensor<D>) -> bool {
    is_fusable(x) && !x.device().is_autodiff()
}

/// The Flex tensor inside of one that [`is_plain`].
fn plain<const D: usize>(x: Tensor<D>) -> FlexTensor {
    match x.into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(x)) => x,
        _ => unreachable!("the caller has seen that the tensor is a plain one"),
    }
}

/// A tensor that covers its memory and may be written: itself if nobody shares it, else a copy.
fn writable(x: FlexTensor) -> FlexTensor {
    let elements = x.layout().num_elements();
    let covers = x.is_contiguous() && x.layout().start_offset() == 0 && x.bytes().len() == 4 * elements;
    if covers { x } else { x.to_contiguous() }
}

/// As [`crate::adamw_step`], for plain tensors.
pub(crate) fn adamw_step<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: Moments<D>,
    update: &AdamW,
) -> (Tensor<D>, Moments<D>) {
    let state = [parameter, moments.first, moments.second].map(plain);
    let gradient = plain(gradient);
    let call = profile::begin(|| ("adamw", Pass::Update, state.byte_count() + gradient.byte_count()));
    let [mut parameter, mut first, mut second] = state.map(writable);
    let gradient = dense(gradient);
    optimizer::adamw(
        Isa::detect(),
        parameter.storage_mut(),
        slice(&gradient),
        first.storage_mut(),
        second.storage_mut(),
        update.coefficients(),
    );
    let state = [parameter, first, second];
    call.end(|| state.byte_count());
    let [parameter, first, second] = state.map(Tensor::from_primitive::<Flex>);
    (parameter, Moments { first, second })
}

/// As [`crate::ema_step`], for plain tensors.
pub(crate) fn ema_step<const D: usize>(average: Tensor<D>, parameter: Tensor<D>, decay: f64) -> Tensor<D> {
    let [average, parameter] = [average, parameter].map(plain);
    let call = profile::begin(|| ("ema", Pass::Update, average.byte_count() + parameter.byte_count()));
    let (mut average, parameter) = (writable(average), dense(parameter));
    optimizer::ema(Isa::detect(), average.storage_mut(), slice(&parameter), (1.0 - decay) as f32);
    call.end(|| average.byte_count());
    Tensor::from_primitive::<Flex>(average)
}

/// As [`crate::square_norm`], for a plain tensor.
pub(crate) fn square_norm<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let x = plain(x);
    let call = profile::begin(|| ("square_norm", Pass::Update, x.byte_count()));
    let x = dense(x);
    let total = slices_square_norm::square_norm(Isa::detect(), slice(&x)) as f32;
    let total = tensor(vec![total], [1]);
    call.end(|| total.byte_count());
    Tensor::from_primitive::<Flex>(total)
}

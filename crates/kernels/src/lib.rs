//! The hot operations of diffusion networks, composed from Burn operations and, where it pays, fused.
//!
//! Every operation is a plain function on Burn tensors. It has two forms:
//!
//! * a *composed* one, made of Burn's own operations, which runs on any backend and in any float type
//!   ([`composed`] collects them under the operations' own names);
//! * where it pays, a *fused* one for 32-bit floats on Burn's CPU backend (Flex), with a hand-written backward pass.
//!   It is chosen at run time, when every tensor of the call lives there, also under automatic differentiation.
//!
//! Both compute the same function and the same gradients up to rounding. The fused forms partition work and order
//! sums by shapes alone, so that results are equal from run to run, bit for bit, and do not depend on how
//! threads were scheduled. They use the current rayon pool and choose AVX-512, AVX2 with FMA, or portable code when
//! they run.
//!
//! [`use_composed`] holds a process to the composed forms; [`profile`] tells what the fused ones cost. Without the
//! feature `flex` only the composed forms are built.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests"))]

mod activation;
pub mod allocations;
pub mod allocator;
mod attention;
mod convolution;
#[cfg(feature = "flex")]
mod extension;
mod form;
mod gate;
mod group_norm;
mod images;
mod layer_norm;
mod linear;
mod optimizer;
pub mod profile;
#[cfg(all(test, feature = "flex"))]
mod properties;
mod resample;
#[cfg(feature = "flex")]
mod slices;
mod square_norm;
#[cfg(all(test, feature = "flex"))]
mod testing;

pub use activation::{gelu_tanh, silu};
pub use attention::{attention, packed_attention};
pub use convolution::conv2d;
pub use form::use_composed;
pub use gate::gate_residual;
pub use group_norm::{group_norm, group_norm_modulate};
pub use images::{image_ranges, image_task, map_images};
pub use layer_norm::layer_norm_modulate;
pub use linear::linear;
pub use optimizer::{AdamW, Moments, adamw_step, ema_step};
pub use resample::{average_pool_2x, upsample_nearest_2x};
pub use square_norm::square_norm;

/// The operations made of Burn's own ones: any backend, any float type; the definition that fused forms must meet.
pub mod composed {
    pub use crate::activation::{gelu_tanh_composed as gelu_tanh, silu_composed as silu};
    pub use crate::attention::{attention_composed as attention, packed_attention_composed as packed_attention};
    pub use crate::convolution::conv2d_composed as conv2d;
    pub use crate::gate::gate_residual_composed as gate_residual;
    pub use crate::group_norm::{
        group_norm_composed as group_norm, group_norm_modulate_composed as group_norm_modulate,
    };
    pub use crate::layer_norm::layer_norm_modulate_composed as layer_norm_modulate;
    pub use crate::linear::linear_composed as linear;
    pub use crate::optimizer::{adamw_step_composed as adamw_step, ema_step_composed as ema_step};
    pub use crate::resample::{
        average_pool_2x_composed as average_pool_2x, upsample_nearest_2x_composed as upsample_nearest_2x,
    };
    pub use crate::square_norm::square_norm_composed as square_norm;
}

use burn::tensor::{DType, Tensor};

/// Runs `f` on `x` in at least 32-bit precision and brings the result back to the type of `x`: sums over many
/// half-precision values lose too much.
fn in_full_precision<const D: usize>(x: Tensor<D>, f: impl FnOnce(Tensor<D>) -> Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        half @ (DType::F16 | DType::BF16) => f(x.cast(DType::F32)).cast(half),
        _ => f(x),
    }
}

//! The fused operations on plain slices of 32-bit floats: no tensors here.
//!
//! Conventions. Matrices and images are row-major. Every function that computes takes the instruction set first
//! ([`Isa`]), so that each path can be tested on its own. Work is cut into pieces by shape alone, never by the number of threads, and
//! partial sums are added in the order of the pieces: the result does not depend on who computed what when.
//!
//! Under Miri (`tools/miri.sh`) the pieces are small, so that small tests, which it has time for, meet several of them.

#[macro_use]
mod isa;
mod arithmetic;
mod memory;
mod rows;
mod vector;

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod convolution;
pub(crate) mod gate;
pub(crate) mod group_norm;
pub(crate) mod layer_norm;
pub(crate) mod matrix;
pub(crate) mod optimizer;
pub(crate) mod resample;
pub(crate) mod square_norm;

pub(crate) use isa::Isa;

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;

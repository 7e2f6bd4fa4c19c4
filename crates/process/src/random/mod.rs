//! Randomness as a function: every draw is f(seed, stream, image index, slot).
//!
//! There is no state to save and no order to keep. Threads, micro-batches and devices only choose which draws to ask
//! for, so a resumed run, an accumulated batch and a replayed sample see the same numbers. Draws use no operation but
//! those that IEEE 754 rounds exactly, so they are the same bits on every platform.
//!
//! ```
//! use sinter_process::random::{Key, Stream};
//!
//! let noise = Key::new(17, Stream::NOISE);
//! let mut image = [0.0_f32; 3 * 8 * 8];
//! noise.at(1_000_000).fill_normal(&mut image); // the noise of the millionth image, whoever asks and whenever
//! ```

mod draws;
mod gaussian;
mod permutation;
mod philox;
mod stream;

pub use draws::{Draws, Key};
pub use permutation::Permutation;
pub use stream::Stream;

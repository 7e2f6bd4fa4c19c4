//! What the machine can do at best: arithmetic in a large matrix product, memory in a large copy.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use rayon::prelude::*;
use serde::Serialize;

use super::operations::synchronise;
use crate::TrainingError;

/// Rows, columns and terms of the matrix product.
const SIDE: usize = 2048;
/// Bytes copied, well beyond any cache.
const BYTES: usize = 256 << 20;
/// Of so many runs, after one that is not counted, the best counts.
const RUNS: usize = 5;

/// The machine's ceilings, with all threads of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ceiling {
    /// Of a product of 32-bit floats, in 10^9 operations a second.
    pub gflops: f64,
    /// Of a copy between places in the CPU's memory, in 10^9 bytes a second, read and written ones.
    pub copy_gbs: f64,
}

impl Ceiling {
    /// Measures them, on `device` and on the CPU.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn measure(device: &Device) -> Result<Self, TrainingError> {
        let random = || Tensor::<2>::random([SIDE; 2], Distribution::Default, device);
        let (x, weight) = (random(), random());
        let product = best(|| {
            black_box(sinter_kernels::linear(x.clone(), weight.clone(), None));
            synchronise(device)
        })?;

        let (from, mut to) = (vec![1u8; BYTES], vec![0u8; BYTES]);
        let piece = BYTES.div_ceil(rayon::current_num_threads());
        let copy = best(|| {
            to.par_chunks_mut(piece).zip(from.par_chunks(piece)).for_each(|(to, from)| to.copy_from_slice(from));
            black_box(&to);
            Ok(())
        })?;
        Ok(Self { gflops: 2.0 * (SIDE as f64).powi(3) / product / 1e9, copy_gbs: 2.0 * BYTES as f64 / copy / 1e9 })
    }

    /// The least seconds that `flop` operations on `bytes` bytes of memory take.
    pub(super) fn seconds(&self, flop: f64, bytes: f64) -> f64 {
        (flop / self.gflops).max(bytes / self.copy_gbs) / 1e9
    }
}

impl fmt::Display for Ceiling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "ceilings: {:.1} GFLOP/s in a matrix product, {:.1} GB/s in a copy",
            self.gflops, self.copy_gbs
        )
    }
}

/// Seconds of the fastest run.
fn best(mut run: impl FnMut() -> Result<(), TrainingError>) -> Result<f64, TrainingError> {
    run()?;
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let began = Instant::now();
        run()?;
        best = best.min(began.elapsed().as_secs_f64());
    }
    Ok(best)
}

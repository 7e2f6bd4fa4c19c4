//! Independent images, shared among the CPU's threads.
//!
//! A kernel that shares one operation among the threads leaves them waiting between operations, and where an operation
//! is too small to share. Where images do not depend on each other, each thread can take some of them through a whole
//! network instead; what it touches then also stays in its cache.

use std::cell::Cell;
use std::ops::Range;
#[cfg(feature = "flex")]
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::Device;

/// The fewest images worth a range of their own, and the most ranges: each range has its own gradients of all weights, and
/// prepares the weights for its products. More threads than ranges share the operations inside of them.
#[cfg(feature = "flex")]
const LEAST: usize = 8;
#[cfg(feature = "flex")]
const MOST_RANGES: usize = 4;

/// Maps ranges that make up `0..n`, in order, side by side on the CPU. A GPU, which shares every operation among its own
/// threads, gets one range.
///
/// The ranges depend on `n` alone, not on the number of threads.
pub fn map_images<T: Send>(device: &Device, n: usize, map: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    #[cfg(feature = "flex")]
    {
        use rayon::prelude::*;

        let ranges = image_ranges(device, n);
        if ranges > 1 {
            let task = |i: usize| as_task(|| map(i * n / ranges..(i + 1) * n / ranges));
            return (0..ranges).into_par_iter().map(task).collect();
        }
    }
    let _ = device;
    vec![map(0..n)]
}

thread_local! {
    /// The range that this thread works on.
    static TASK: Cell<u64> = const { Cell::new(0) };
}

/// Which range of [`map_images`] this thread works on: a number that no other range of the process has; 0 outside.
///
/// A thread that waits inside one range may take up another one meanwhile. Who keeps something for the thread while a
/// range is under way, keeps it for the range by this number.
pub fn image_task() -> u64 {
    TASK.get()
}

#[cfg(feature = "flex")]
fn as_task<T>(work: impl FnOnce() -> T) -> T {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let outer = TASK.replace(NEXT.fetch_add(1, Ordering::Relaxed));
    let result = work();
    TASK.set(outer);
    result
}

/// How many ranges [`map_images`] makes of `n` images.
pub fn image_ranges(device: &Device, n: usize) -> usize {
    #[cfg(feature = "flex")]
    if device.clone().inner() == Device::flex() && !crate::form::is_composed() {
        return (n / LEAST).clamp(1, MOST_RANGES);
    }
    let _ = (device, n);
    1
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_each_other() {
        for n in [0, 1, 3, 4, 7, 8, 9, 31, 32, 33, 1000] {
            let ranges = map_images(&Device::flex().autodiff(), n, |range| range);
            assert!(
                ranges.len() <= MOST_RANGES && ranges.iter().all(|range| ranges.len() == 1 || range.len() >= LEAST)
            );
            let all: Vec<usize> = ranges.into_iter().flatten().collect();
            assert!(all.into_iter().eq(0..n), "{n}");
        }
    }
}

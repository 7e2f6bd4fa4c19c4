//! A profile of the fused operations: how often each runs, how long, and what it moves.
//!
//! Off by default, at the cost of one relaxed load a call. While it records, each call adds to the totals of its
//! operation and pass. One recording covers the process, whatever thread a call is on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "flex")]
use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::allocations::Allocations;

/// A pass through an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// From inputs to the result.
    Forward,
    /// From the gradient of the result to those of the inputs.
    Backward,
    /// A step of an optimizer, an average or a norm, outside the graph of gradients.
    Update,
}

/// What calls cost, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Calls.
    pub calls: u64,
    /// Time on the calling thread, which other threads may have helped meanwhile, without that of other operations
    /// which the thread took on while it waited for help.
    pub seconds: f64,
    /// Bytes of the tensors read: the inputs; backwards, the gradient and what the forward pass kept.
    pub read: u64,
    /// Bytes of the tensors written: the result; backwards, the gradients of the inputs.
    pub written: u64,
    /// Allocations on the calling thread; 0 without [`Counting`](crate::allocations::Counting).
    pub allocations: Allocations,
}

/// The cost of each operation and pass.
pub type Costs = BTreeMap<(&'static str, Pass), Cost>;

static COSTS: Mutex<Costs> = Mutex::new(Costs::new());

#[cfg(feature = "flex")]
static RECORDING: AtomicBool = AtomicBool::new(false);

/// Records from here on, beginning with nothing.
pub fn start() {
    take();
    #[cfg(feature = "flex")]
    RECORDING.store(true, Ordering::Relaxed);
}

/// Ends recording and gives what was recorded.
pub fn stop() -> Costs {
    #[cfg(feature = "flex")]
    RECORDING.store(false, Ordering::Relaxed);
    take()
}

fn take() -> Costs {
    std::mem::take(&mut *COSTS.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(feature = "flex")]
thread_local! {
    /// Time and allocations of the calls that ended on this thread since the running one began. A thread that waits for
    /// pieces of its operation may take on a whole other one; each is to count once.
    static WITHIN: Cell<(f64, Allocations)> = const { Cell::new((0.0, Allocations { count: 0, bytes: 0 })) };
}

/// A call that runs; `None` while nothing is recorded.
#[cfg(feature = "flex")]
pub(crate) struct Call(Option<Running>);

#[cfg(feature = "flex")]
struct Running {
    operation: &'static str,
    pass: Pass,
    read: u64,
    /// [`WITHIN`] of the call around this one.
    outer: (f64, Allocations),
    allocated: Allocations,
    began: Instant,
}

/// Begins a call of an operation, pass and number of bytes read.
#[cfg(feature = "flex")]
pub(crate) fn begin(call: impl FnOnce() -> (&'static str, Pass, u64)) -> Call {
    if !RECORDING.load(Ordering::Relaxed) {
        return Call(None);
    }
    let (operation, pass, read) = call();
    let outer = WITHIN.take();
    Call(Some(Running { operation, pass, read, outer, allocated: Allocations::of_thread(), began: Instant::now() }))
}

#[cfg(feature = "flex")]
impl Call {
    /// Ends the call, which wrote a number of bytes.
    pub(crate) fn end(self, written: impl FnOnce() -> u64) {
        let Some(Running { operation, pass, read, outer, allocated: before, began }) = self.0 else { return };
        let seconds = began.elapsed().as_secs_f64();
        let allocated = Allocations::of_thread() - before;
        let (seconds_within, allocated_within) = WITHIN.replace((outer.0 + seconds, outer.1 + allocated));
        let mut costs = COSTS.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = costs.entry((operation, pass)).or_default();
        cost.calls += 1;
        cost.seconds += seconds - seconds_within;
        cost.read += read;
        cost.written += written();
        cost.allocations = cost.allocations + (allocated - allocated_within);
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_call_within_another_counts_once() {
        let pause = Duration::from_millis(20);
        let call = |name: &'static str, within: &dyn Fn()| {
            let call = begin(|| (name, Pass::Update, 3));
            std::thread::sleep(pause);
            within();
            call.end(|| 5);
        };
        call("before", &|| {});
        start();
        call("outer", &|| {
            call("inner", &|| {});
            call("inner", &|| {});
        });
        // Other tests of this process may be recorded, too.
        let costs = stop();
        assert!(!costs.contains_key(&("before", Pass::Update)));
        let (outer, inner) = (costs[&("outer", Pass::Update)], costs[&("inner", Pass::Update)]);
        assert_eq!((outer.calls, outer.read, outer.written), (1, 3, 5));
        assert_eq!((inner.calls, inner.read, inner.written), (2, 6, 10));
        assert!(inner.seconds >= 2.0 * pause.as_secs_f64());
        // Alone it took at least one pause; with the others it would have taken what they did, too.
        assert!(outer.seconds >= pause.as_secs_f64());
        assert_eq!(WITHIN.take().1, Allocations::default());
    }
}

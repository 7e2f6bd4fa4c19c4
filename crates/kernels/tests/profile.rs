//! What a profile says of fused operations. One recording covers the process, so this test has one of its own.

#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use burn::tensor::{Device, Distribution, Tensor};
use sinter_kernels::allocations::{self, Counting};
use sinter_kernels::{ema_step, linear, profile, profile::Pass, silu};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn calls_bytes_and_allocations_are_counted_while_recording() {
    let device = Device::flex().autodiff();
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Default, &device).require_grad();
    let (x, weight) = (random([5, 7]), random([7, 3]));
    let run = || silu(linear(x.clone(), weight.clone(), None)).backward();

    run();
    profile::start();
    allocations::count(true);
    run();
    run();
    let _ = ema_step(x.clone().inner(), x.clone().inner(), 0.5);
    allocations::count(false);
    let costs = profile::stop();
    run();
    assert!(profile::stop().is_empty());

    let of = |operation, pass| {
        let cost: profile::Cost = costs[&(operation, pass)];
        assert!(cost.seconds > 0.0 && cost.allocations.count >= cost.calls, "{operation}: {cost:?}");
        assert!(cost.allocations.bytes >= cost.written, "{operation}: {cost:?}");
        (cost.calls, cost.read, cost.written)
    };
    let (x, weight, y) = (4 * 5 * 7, 4 * 7 * 3, 4 * 5 * 3);
    assert_eq!(of("linear", Pass::Forward), (2, 2 * (x + weight), 2 * y));
    assert_eq!(of("linear", Pass::Backward), (2, 2 * (x + weight + y), 2 * (x + weight)));
    assert_eq!(of("silu", Pass::Forward), (2, 2 * y, 2 * y));
    assert_eq!(of("silu", Pass::Backward), (2, 2 * 2 * y, 2 * y));
    assert_eq!(of("ema", Pass::Update), (1, 2 * x, x));
    assert_eq!(costs.len(), 5);
}

//! A process held to the composed forms: plain Burn. The switch is the process's, so this test has one of its own.

#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use burn::tensor::{Device, Distribution, Tensor};
use sinter_kernels::{composed, image_ranges, map_images, profile, use_composed};

#[test]
fn nothing_is_fused_and_nothing_is_cut() {
    let device = Device::flex();
    assert!(image_ranges(&device, 64) > 1);
    use_composed();
    assert_eq!(map_images(&device, 64, |range| (range.start, range.end)), [(0, 64)]);

    profile::start();
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Default, &device);
    let (x, weight) = (random([5, 7]), random([7, 3]));
    let got = sinter_kernels::linear(x.clone(), weight.clone(), None);
    got.into_data().assert_eq(&composed::linear(x, weight, None).into_data(), true);
    // The optimizer's fused forms obey, too.
    let average = sinter_kernels::ema_step(random([4, 4]), random([4, 4]), 0.5);
    let _ = sinter_kernels::square_norm(average);
    assert!(profile::stop().is_empty());
}

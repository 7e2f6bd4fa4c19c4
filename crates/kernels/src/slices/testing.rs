//! What the tests of the slice kernels share.

/// Deterministic values in [-1, 1), different for each `seed` (a 64-bit linear congruential generator).
pub(crate) fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 23) as f32) - 1.0
        })
        .collect()
}

/// Whether there is time to test `steps` steps of work: under Miri for few, elsewhere for all.
pub(crate) fn in_time(steps: usize) -> bool {
    !cfg!(miri) || steps <= 6500
}

/// Fails unless `got` is within `tolerance` of `want`, relative to the largest |want|.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_close_above(what, got, want, tolerance, 1e-30);
}

/// [`assert_close`], relative to `floor` where the largest |want| is less.
#[track_caller]
pub(crate) fn assert_close_above(what: &str, got: &[f32], want: &[f64], tolerance: f64, floor: f64) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let scale = want.iter().fold(floor, |m: f64, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let error = (*g as f64 - w).abs() / scale;
        assert!(error <= tolerance, "{what}[{i}]: {g}, not {w} (error {error:.1e} of the largest value)");
    }
}

//! Which form of the operations this process takes.

use std::sync::atomic::{AtomicBool, Ordering};

static COMPOSED: AtomicBool = AtomicBool::new(false);

/// From here on every operation of this process takes its composed form, and [`map_images`](crate::map_images) makes
/// one range: plain Burn, beside which measurements set the fused forms. There is no way back.
pub fn use_composed() {
    COMPOSED.store(true, Ordering::Relaxed);
}

/// Whether [`use_composed`] was called.
#[cfg(feature = "flex")]
pub(crate) fn is_composed() -> bool {
    COMPOSED.load(Ordering::Relaxed)
}

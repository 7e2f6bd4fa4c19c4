//! Keeping freed memory in the process.

/// Tells the C library's allocator to keep freed memory instead of returning it to the system.
///
/// A training step frees and takes large tensors over and over. glibc gives large blocks back to the system at once, so
/// every step pays for fresh, zeroed pages. Call this once at the start of the program, before large allocations.
/// Returns whether it took effect; elsewhere than on Linux with glibc it does nothing and returns false.
pub fn keep_pages() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGEST_HEAP_BLOCK: libc::c_int = 1 << 30;
        const GROW_BY: libc::c_int = 256 << 20;
        // SAFETY: mallopt only sets integers inside the allocator, under its own lock.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_HEAP_BLOCK) == 1
                && libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX) == 1
                && libc::mallopt(libc::M_TOP_PAD, GROW_BY) == 1
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

#[cfg(test)]
mod tests {
    #[test]
    fn takes_effect_on_glibc() {
        assert_eq!(super::keep_pages(), cfg!(all(target_os = "linux", target_env = "gnu")));
    }
}

//! Output memory: made without writing zeros first, and shared between the pieces of a parallel loop.

use std::mem::MaybeUninit;

/// A vector of `len` floats written by `write`; saves the pass that a zeroed vector costs.
///
/// # Safety
///
/// `write` must initialise every element of the slice that it is given.
pub(super) unsafe fn written(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut out = Vec::with_capacity(len);
    write(&mut out.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller promises that all elements were written.
    unsafe { out.set_len(len) };
    out
}

/// Views a written slice as floats.
///
/// # Safety
///
/// Every element must have been written.
pub(super) unsafe fn assume_written(x: &[MaybeUninit<f32>]) -> &[f32] {
    // SAFETY: MaybeUninit<f32> has the layout of f32, and the caller promises initialised values.
    unsafe { &*(x as *const [MaybeUninit<f32>] as *const [f32]) }
}

/// Views floats as memory to be written.
///
/// # Safety
///
/// Nothing but initialised floats may be written.
pub(super) unsafe fn as_unwritten(x: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: MaybeUninit<f32> has the layout of f32, and the caller keeps all of it initialised.
    unsafe { &mut *(x as *mut [f32] as *mut [MaybeUninit<f32>]) }
}

/// A pointer into output memory that the pieces of a parallel loop share, each writing elements of its own.
#[derive(Clone, Copy)]
pub(super) struct SharedOut(*mut f32);

// SAFETY: it is only an address; whoever writes through it promises (at `at`) to touch elements of its own.
unsafe impl Send for SharedOut {}
// SAFETY: as above.
unsafe impl Sync for SharedOut {}

impl SharedOut {
    pub(super) fn new(out: &mut [MaybeUninit<f32>]) -> Self {
        Self(out.as_mut_ptr().cast())
    }

    /// Memory that is initialised already.
    pub(super) fn of(out: &mut [f32]) -> Self {
        Self(out.as_mut_ptr())
    }

    /// The address of element `offset`.
    ///
    /// # Safety
    ///
    /// `offset` must lie within the memory (or one past its end), and no two pieces may write the same element.
    #[inline(always)]
    pub(super) unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller keeps the offset inside the allocation.
        unsafe { self.0.add(offset) }
    }

    /// `len` elements from `offset` on.
    ///
    /// # Safety
    ///
    /// They must lie within the memory, and no two pieces may hold the same element.
    pub(super) unsafe fn slice<'a>(self, offset: usize, len: usize) -> &'a mut [MaybeUninit<f32>] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.at(offset).cast(), len) }
    }
}

//! Counting allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A number of allocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// How many.
    pub count: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl Add for Allocations {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }
}

impl Sub for Allocations {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { count: self.count - other.count, bytes: self.bytes - other.bytes }
    }
}

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OF_THREAD: Cell<Allocations> = const { Cell::new(Allocations { count: 0, bytes: 0 }) };
}

impl Allocations {
    /// Those of all threads while they were counted, since the program began.
    pub fn of_process() -> Self {
        Self { count: COUNT.load(Ordering::Relaxed), bytes: BYTES.load(Ordering::Relaxed) }
    }

    /// Those of this thread while they were counted, since it began.
    pub fn of_thread() -> Self {
        OF_THREAD.get()
    }
}

/// Begins or ends counting; it is off at first. It takes a program whose global allocator is [`Counting`].
pub fn count(on: bool) {
    COUNTING.store(on, Ordering::Relaxed);
}

/// The system's allocator, which counts while it is told to ([`count`]), and else costs one relaxed load an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Counting;

fn add(bytes: usize) {
    if COUNTING.load(Ordering::Relaxed) {
        let one = Allocations { count: 1, bytes: bytes as u64 };
        COUNT.fetch_add(one.count, Ordering::Relaxed);
        BYTES.fetch_add(one.bytes, Ordering::Relaxed);
        // The cell has a constant start and nothing to drop, so that touching it does not allocate.
        OF_THREAD.set(OF_THREAD.get() + one);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        // SAFETY: as above; the block came from the system's allocator.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

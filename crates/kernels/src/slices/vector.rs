//! Vectors of floats for the kernels that must keep their sums in registers.

/// A vector register (or what stands for one).
pub(super) trait Vector: Copy {
    /// Number of floats.
    const WIDTH: usize;

    fn zero() -> Self;
    fn splat(value: f32) -> Self;
    fn plus(self, other: Self) -> Self;
    /// `a b + self`.
    fn add_product(self, a: Self, b: Self) -> Self;

    /// # Safety
    ///
    /// `WIDTH` floats must be readable at `from`.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    ///
    /// `WIDTH` floats must be writable at `to`.
    unsafe fn store(self, to: *mut f32);

    /// Asks for the cache line at an address, which need not be valid, where there is a way to.
    #[inline(always)]
    fn prefetch(_from: *const f32) {}
}

/// Eight floats that the compiler spreads over the registers that it has.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; 8]);

impl Vector for Portable {
    const WIDTH: usize = 8;

    #[inline(always)]
    fn zero() -> Self {
        Self([0.0; 8])
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    fn plus(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] += other.0[i];
        }
        self
    }

    #[inline(always)]
    fn add_product(mut self, a: Self, b: Self) -> Self {
        for i in 0..8 {
            self.0[i] += a.0[i] * b.0[i];
        }
        self
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for eight floats; the array's alignment is that of a float.
        unsafe { from.cast::<Self>().read() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { to.cast::<Self>().write(self) }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use registers::{Avx2, Avx512};

/// The registers of x86-64.
///
/// A vector of these types exists only inside code that is compiled for their instructions: the kernels make them, and are
/// reached through an [`Isa`](crate::slices::Isa) of the level alone.
#[cfg(target_arch = "x86_64")]
mod registers {
    use std::arch::x86_64::*;

    use super::Vector;

    /// 256 bits.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256);

    /// 512 bits.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512);

    impl Vector for Avx2 {
        const WIDTH: usize = 8;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm256_setzero_ps() })
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller vouches for the memory; any alignment will do.
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as in `load`.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        fn prefetch(from: *const f32) {
            // SAFETY: a hint, which every x86-64 machine knows and which touches no memory.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
    }

    impl Vector for Avx512 {
        const WIDTH: usize = 16;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm512_setzero_ps() })
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see the module.
            Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller vouches for the memory; any alignment will do.
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as in `load`.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        fn prefetch(from: *const f32) {
            // SAFETY: a hint, which every x86-64 machine knows and which touches no memory.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
    }
}

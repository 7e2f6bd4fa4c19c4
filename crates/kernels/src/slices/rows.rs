//! Copying rows between layouts of images. Rows are short: a call of the system's copy for each would cost more than it
//! copies.

use std::mem::MaybeUninit;

vectorized!(
    /// Rows of `size`, height and width, each element plus `term`, from rows that start `from_pitch` apart to rows that
    /// start `into_pitch` apart.
    pub(super) fn copy_rows(
        from: &[f32],
        from_pitch: usize,
        size: [usize; 2],
        term: f32,
        into: &mut [MaybeUninit<f32>],
        into_pitch: usize,
    ) = copy_rows_body
);

#[inline(always)]
fn copy_rows_body<const FUSED: bool>(
    from: &[f32],
    from_pitch: usize,
    [height, width]: [usize; 2],
    term: f32,
    into: &mut [MaybeUninit<f32>],
    into_pitch: usize,
) {
    if height == 0 {
        return;
    }
    assert!((height - 1) * from_pitch + width <= from.len() && (height - 1) * into_pitch + width <= into.len());
    for y in 0..height {
        // SAFETY: checked above; `N` is not above the width.
        unsafe {
            let (from, into) = (from.as_ptr().add(y * from_pitch), into.as_mut_ptr().add(y * into_pitch).cast());
            match width {
                16.. => copy_row::<16>(from, width, term, into),
                8.. => copy_row::<8>(from, width, term, into),
                4.. => copy_row::<4>(from, width, term, into),
                _ => copy_row::<1>(from, width, term, into),
            }
        }
    }
}

/// A row in runs of `N`, the last two of which may overlap.
///
/// # Safety
///
/// `width` elements must be readable at `from` and writable at `into`; `width` must be 0 or at least `N`.
#[inline(always)]
unsafe fn copy_row<const N: usize>(from: *const f32, width: usize, term: f32, into: *mut f32) {
    for start in (0..width).step_by(N) {
        let start = start.min(width - N);
        // SAFETY: the run lies within the row.
        unsafe {
            let mut run = from.add(start).cast::<[f32; N]>().read();
            for element in &mut run {
                *element += term;
            }
            into.add(start).cast::<[f32; N]>().write(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Isa;
    use super::super::testing::values;
    use super::*;

    #[test]
    fn rows_of_every_width_arrive() {
        for width in (0..40).chain([64, 65]) {
            let (height, from_pitch, into_pitch) = (3, width + 5, width + 2);
            let from = values(1, height * from_pitch);
            for isa in Isa::available() {
                let mut into = vec![MaybeUninit::new(9.0); height * into_pitch];
                copy_rows(isa, &from, from_pitch, [height, width], 0.5, &mut into, into_pitch);
                for (i, value) in into.iter().enumerate() {
                    let (y, x) = (i / into_pitch, i % into_pitch);
                    let want = if x < width { from[y * from_pitch + x] + 0.5 } else { 9.0 };
                    // SAFETY: all was initialised above.
                    assert_eq!(unsafe { value.assume_init() }, want, "{width}: {y}, {x}");
                }
            }
        }
    }
}

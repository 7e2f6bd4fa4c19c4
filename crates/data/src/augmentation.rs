//! Random changes of an image, each a function of (seed, position on the clock).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_process::random::Draws;

use crate::transform::{Border, mirrored, window};

/// Random changes of every training image, in the order of the fields. The default changes nothing.
///
/// The draws belong to the position on the clock and not to the example: it looks different each time that it comes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Mirror every second image left to right, by chance.
    pub horizontal_flip: bool,
    /// Pad each side by so many pixels, then cut out a window of the image's own size at a place drawn evenly.
    pub crop_padding: usize,
    /// What the padding shows.
    pub crop_border: Border,
}

/// The draw that decides about mirroring.
const FLIP: u32 = 0;
/// The draws of the window's place.
const ROW: u32 = 1;
const COLUMN: u32 = 2;

impl Augmentation {
    /// The image `pixels` of `shape` `[c, h, w]`, changed by what `draws` say.
    pub fn apply(&self, mut pixels: Vec<f32>, shape: [usize; 3], draws: &Draws) -> Vec<f32> {
        if self.horizontal_flip && draws.below(FLIP, 2) == 1 {
            pixels = mirrored(&pixels, shape);
        }
        if self.crop_padding > 0 {
            let shift =
                |slot| draws.below(slot, 2 * self.crop_padding as u64 + 1) as isize - self.crop_padding as isize;
            pixels = window(&pixels, shape, [shift(ROW), shift(COLUMN)], [shape[1], shape[2]], self.crop_border);
        }
        pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinter_process::random::{Key, Stream};
    use std::collections::HashMap;

    const SHAPE: [usize; 3] = [1, 3, 3];

    /// How often each outcome comes in `count` images.
    fn outcomes(augmentation: &Augmentation, count: u64) -> HashMap<Vec<u32>, u64> {
        let key = Key::new(7, Stream::AUGMENTATION);
        let image: Vec<f32> = (0..9).map(|i| i as f32 / 8.0).collect();
        let mut seen = HashMap::new();
        for index in 0..count {
            let changed = augmentation.apply(image.clone(), SHAPE, &key.at(index));
            *seen.entry(changed.iter().map(|value| value.to_bits()).collect()).or_default() += 1;
        }
        seen
    }

    #[test]
    fn nothing_is_the_default() {
        assert_eq!(outcomes(&Augmentation::default(), 10).len(), 1);
    }

    #[test]
    fn half_the_images_are_mirrored() {
        let seen = outcomes(&Augmentation { horizontal_flip: true, ..Augmentation::default() }, 4000);
        assert_eq!(seen.len(), 2);
        // Four standard deviations.
        assert!(seen.values().all(|&count| count.abs_diff(2000) < 127), "{seen:?}");
    }

    #[test]
    fn every_window_comes_equally_often() {
        let augmentation = Augmentation { crop_padding: 1, crop_border: Border::Reflect, ..Augmentation::default() };
        let seen = outcomes(&augmentation, 9000);
        assert_eq!(seen.len(), 9);
        assert!(seen.values().all(|&count| count.abs_diff(1000) < 120), "{:?}", seen.values());
    }
}

//! Colourfulness (Hasler and Suesstrunk 2003, eq. 3 and table 2: the metric in the RGB space).

use sinter_data::Batch;

use super::{Reward, RewardError, Scores, each_image};

/// `sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2)` of an image `[3, h, w]` in -1..1, with `rg = R - G` and
/// `yb = (R + G) / 2 - B` on 0..255: 0 is grey, 15 "slightly", 45 "averagely", 82 "highly" and 109 "extremely" colourful.
/// Other shapes have none: 0.
pub fn colourfulness(pixels: &[f32]) -> f64 {
    let area = pixels.len() / 3;
    if area == 0 || !pixels.len().is_multiple_of(3) {
        return 0.0;
    }
    let channel = |channel: usize, pixel: usize| (f64::from(pixels[channel * area + pixel]) + 1.0) * 127.5;
    let moments = |of: &dyn Fn(usize) -> f64| -> (f64, f64) {
        let mean = (0..area).map(of).sum::<f64>() / area as f64;
        let variance = (0..area).map(|pixel| (of(pixel) - mean).powi(2)).sum::<f64>() / area as f64;
        (mean, variance)
    };
    let (red_green, red_green_variance) = moments(&|pixel| channel(0, pixel) - channel(1, pixel));
    let (yellow_blue, yellow_blue_variance) =
        moments(&|pixel| 0.5 * (channel(0, pixel) + channel(1, pixel)) - channel(2, pixel));
    (red_green_variance + yellow_blue_variance).sqrt() + 0.3 * red_green.hypot(yellow_blue)
}

/// The reward.
pub(super) struct Colourfulness {
    pub(super) name: String,
}

impl Reward for Colourfulness {
    fn scores(&mut self, images: &Batch) -> Result<Scores, RewardError> {
        if images.shape[1] != 3 {
            let reason = format!("needs images of three colours, these have {}", images.shape[1]);
            return Err(RewardError::Unfit { name: self.name.clone(), reason });
        }
        Ok(each_image(images, |_, pixels| Ok(colourfulness(pixels)))?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::images;
    use super::*;

    #[test]
    fn closed_forms() {
        let grey: Vec<f32> = (0..12).map(|i| (i % 4) as f32 * 0.5 - 1.0).collect();
        assert_eq!(colourfulness(&grey), 0.0);
        // Plain red: rg = 255, yb = 127.5, no variance.
        let red = [1.0, 1.0, -1.0, -1.0, -1.0, -1.0];
        assert!((colourfulness(&red) - 0.3 * 255.0f64.hypot(127.5)).abs() < 1e-9);
        // Half red, half cyan: opposite means, which cancel, and their distances as deviations.
        let halves = [1.0, -1.0, -1.0, 1.0, -1.0, 1.0];
        assert!((colourfulness(&halves) - 255.0f64.hypot(127.5)).abs() < 1e-9);
    }

    #[test]
    fn each_image_has_its_own() {
        let batch = images([2, 3, 1, 2], |i| if i < 6 { 0.0 } else { [1.0, 1.0, -1.0, -1.0, -1.0, -1.0][i - 6] });
        let scores = Colourfulness { name: "colourfulness".into() }.scores(&batch).unwrap().values;
        assert!(scores[0] == 0.0 && scores[1] > 80.0);
        let grey = images([1, 1, 2, 2], |_| 0.0);
        assert!(Colourfulness { name: "colour".into() }.scores(&grey).is_err());
    }
}

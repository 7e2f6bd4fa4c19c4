//! Size as a JPEG file: what DDPO (Black et al. 2023) calls incompressibility.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use sinter_data::Batch;
use sinter_data::transform::to_byte;

use super::{Reward, RewardError, Scores, each_image};

/// The size in kilobytes (of 1000 bytes) of an image `[1, h, w]` or `[3, h, w]` in -1..1 as a JPEG file of a quality of 1
/// to 100.
///
/// # Errors
/// Why there is none.
pub fn jpeg_kilobytes(pixels: &[f32], [channels, height, width]: [usize; 3], quality: u8) -> Result<f64, String> {
    let color = match channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        _ => return Err(format!("a JPEG file has 1 or 3 channels, not {channels}")),
    };
    let area = height * width;
    let bytes: Vec<u8> =
        (0..area).flat_map(|pixel| (0..channels).map(move |channel| to_byte(pixels[channel * area + pixel]))).collect();
    let mut file = Vec::new();
    let encoder = &mut JpegEncoder::new_with_quality(&mut file, quality);
    encoder.encode(&bytes, width as u32, height as u32, color).map_err(|error| error.to_string())?;
    Ok(file.len() as f64 / 1000.0)
}

/// The reward.
pub(super) struct JpegSize {
    pub(super) name: String,
    pub(super) quality: u8,
}

impl Reward for JpegSize {
    fn scores(&mut self, images: &Batch) -> Result<Scores, RewardError> {
        let [_, c, h, w] = images.shape;
        let scores = each_image(images, |_, pixels| {
            jpeg_kilobytes(pixels, [c, h, w], self.quality)
                .map_err(|reason| RewardError::Unfit { name: self.name.clone(), reason })
        });
        Ok(scores?.into())
    }
}

#[cfg(test)]
mod tests {
    use sinter_process::random::{Key, Stream};

    use super::super::tests::images;
    use super::*;

    #[test]
    fn noise_takes_more_room_than_nothing() {
        let mut noise = vec![0.0_f32; 3 * 32 * 32];
        Key::new(1, Stream::TEST).at(0).fill_normal(&mut noise);
        let shape = [3, 32, 32];
        let size = |pixels: &[f32], quality| jpeg_kilobytes(pixels, shape, quality).unwrap();
        let plain = vec![0.2; 3 * 32 * 32];
        assert!(size(&noise, 95) > 3.0 * size(&plain, 95), "{} {}", size(&noise, 95), size(&plain, 95));
        assert!(size(&noise, 95) > size(&noise, 20));
        // Colour costs more than grey of the same noise.
        let grey = jpeg_kilobytes(&noise[..1024], [1, 32, 32], 95).unwrap();
        assert!(grey < size(&noise, 95) && grey > 0.5);
    }

    #[test]
    fn sizes_are_those_of_files_that_open() {
        let pixels: Vec<f32> = (0..3 * 64).map(|i| (i % 64) as f32 / 32.0 - 1.0).collect();
        let kilobytes = jpeg_kilobytes(&pixels, [3, 8, 8], 90).unwrap();
        let bytes: Vec<u8> = (0..64).flat_map(|i| [to_byte(pixels[i]); 3]).collect();
        let mut file = Vec::new();
        JpegEncoder::new_with_quality(&mut file, 90).encode(&bytes, 8, 8, ExtendedColorType::Rgb8).unwrap();
        assert_eq!((kilobytes * 1000.0).round() as usize, file.len());
        assert_eq!(image::load_from_memory(&file).unwrap().width(), 8);
        let two = images([1, 2, 8, 8], |_| 0.0);
        let error = JpegSize { name: "jpeg_size".into(), quality: 90 }.scores(&two).unwrap_err().to_string();
        assert_eq!(error, "reward `jpeg_size`: a JPEG file has 1 or 3 channels, not 2");
    }
}

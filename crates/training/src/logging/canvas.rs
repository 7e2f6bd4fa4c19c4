//! Lines, discs and text on a picture.

use image::{Rgb, RgbImage};

use super::font;

/// A colour.
pub(crate) type Ink = Rgb<u8>;

pub(crate) const WHITE: Ink = Rgb([255, 255, 255]);
pub(crate) const BLACK: Ink = Rgb([30, 30, 30]);
pub(crate) const GREY: Ink = Rgb([150, 150, 150]);
pub(crate) const PALE: Ink = Rgb([226, 226, 226]);

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008), without black and yellow.
pub(crate) const SERIES: [Ink; 6] = [
    Rgb([0, 114, 178]),
    Rgb([213, 94, 0]),
    Rgb([0, 158, 115]),
    Rgb([204, 121, 167]),
    Rgb([230, 159, 0]),
    Rgb([86, 180, 233]),
];

/// Text is drawn at this many pixels a dot of the font.
const TEXT_SCALE: u32 = 2;

/// A picture to draw on. Coordinates are in pixels, (0, 0) the top left corner of the top left pixel; what lies outside
/// is not drawn.
pub(crate) struct Canvas {
    picture: RgbImage,
}

impl Canvas {
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Self { picture: RgbImage::from_pixel(width, height, WHITE) }
    }

    pub(crate) fn into_picture(self) -> RgbImage {
        self.picture
    }

    /// Lays `ink` over a pixel; `cover` from 0 (nothing) to 1 (all of it).
    fn blend(&mut self, x: i64, y: i64, ink: Ink, cover: f64) {
        if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
            && let Some(pixel) = self.picture.get_pixel_mut_checked(x, y)
        {
            for (below, above) in pixel.0.iter_mut().zip(ink.0) {
                let mixed = f64::from(*below) + (f64::from(above) - f64::from(*below)) * cover.clamp(0.0, 1.0);
                *below = mixed.round() as u8;
            }
        }
    }

    /// Inks every pixel as far as it lies within `radius` of the segment, with soft edges of a pixel.
    fn stroke(&mut self, (x0, y0): (f64, f64), (x1, y1): (f64, f64), radius: f64, ink: Ink, cover: f64) {
        let (dx, dy) = (x1 - x0, y1 - y0);
        let square = dx * dx + dy * dy;
        let reach = radius + 1.0;
        let (width, height) = self.picture.dimensions();
        let range = |a: f64, b: f64, size: u32| {
            let (low, high) = (a.min(b) - reach, a.max(b) + reach);
            low.floor().max(0.0) as i64..=high.ceil().min(f64::from(size)) as i64
        };
        for y in range(y0, y1, height) {
            for x in range(x0, x1, width) {
                let (px, py) = (x as f64 + 0.5 - x0, y as f64 + 0.5 - y0);
                let along = if square > 0.0 { ((px * dx + py * dy) / square).clamp(0.0, 1.0) } else { 0.0 };
                let distance = (px - along * dx).hypot(py - along * dy);
                self.blend(x, y, ink, (radius + 0.5 - distance).clamp(0.0, 1.0) * cover);
            }
        }
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, ink: Ink) {
        self.stroke(from, to, width / 2.0, ink, 1.0);
    }

    pub(crate) fn disc(&mut self, centre: (f64, f64), radius: f64, ink: Ink, cover: f64) {
        self.stroke(centre, centre, radius, ink, cover);
    }

    /// A filled rectangle with its top left corner at (`x`, `y`).
    pub(crate) fn fill(&mut self, x: i64, y: i64, width: u32, height: u32, ink: Ink) {
        for row in y..y + i64::from(height) {
            for column in x..x + i64::from(width) {
                self.blend(column, row, ink, 1.0);
            }
        }
    }

    /// Text with its top left corner at (`x`, `y`).
    pub(crate) fn text(&mut self, x: i64, y: i64, text: &str, ink: Ink) {
        let advance = i64::from(TEXT_SCALE) * (font::WIDTH as i64 + 1);
        for (place, sign) in (0..).zip(text.chars()) {
            for row in 0..font::HEIGHT {
                for column in (0..font::WIDTH).filter(|&column| font::inked(sign, column, row)) {
                    let left = x + place * advance + i64::from(TEXT_SCALE) * column as i64;
                    self.fill(left, y + i64::from(TEXT_SCALE) * row as i64, TEXT_SCALE, TEXT_SCALE, ink);
                }
            }
        }
    }

    /// Width and height of a text in pixels.
    pub(crate) fn text_size(text: &str) -> (i64, i64) {
        let signs = text.chars().count() as i64;
        let scale = i64::from(TEXT_SCALE);
        (scale * (signs * (font::WIDTH as i64 + 1) - 1).max(0), scale * font::HEIGHT as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much ink is on the picture, in pixels wholly covered by black.
    fn ink(canvas: &Canvas) -> f64 {
        let dark = f64::from(255 - BLACK.0[0]);
        canvas.picture.pixels().map(|pixel| f64::from(255 - pixel.0[0]) / dark).sum()
    }

    #[test]
    fn ink_is_the_area_of_what_is_drawn() {
        let mut canvas = Canvas::new(100, 100);
        canvas.disc((50.3, 49.6), 20.0, BLACK, 1.0);
        assert!((ink(&canvas) / (std::f64::consts::PI * 400.0) - 1.0).abs() < 0.01);

        let mut canvas = Canvas::new(100, 100);
        canvas.line((20.0, 20.0), (80.0, 60.0), 3.0, BLACK);
        let length = 60f64.hypot(40.0);
        // Its ends are round.
        let area = 3.0 * length + std::f64::consts::PI * 1.5 * 1.5;
        assert!((ink(&canvas) / area - 1.0).abs() < 0.02, "{} {area}", ink(&canvas));
    }

    #[test]
    fn what_lies_outside_is_not_drawn() {
        let mut canvas = Canvas::new(10, 10);
        canvas.line((-1e9, 5.0), (1e9, 5.0), 1.0, BLACK);
        canvas.disc((-30.0, 400.0), 2.0, BLACK, 1.0);
        canvas.text(5, 5, "wide text", BLACK);
        canvas.fill(-5, -5, 3, 3, BLACK);
        assert_eq!(canvas.picture.get_pixel(0, 4), canvas.picture.get_pixel(9, 4));
        assert_eq!(*canvas.picture.get_pixel(0, 0), WHITE);
    }

    #[test]
    fn text_fills_its_size() {
        let (width, height) = Canvas::text_size("Hg");
        assert_eq!((width, height), (22, 16));
        let mut canvas = Canvas::new(40, 40);
        canvas.text(3, 4, "Hg", BLACK);
        let inked: Vec<_> = canvas.picture.enumerate_pixels().filter(|(_, _, pixel)| **pixel == BLACK).collect();
        assert!(inked.iter().all(|(x, y, _)| (3..25).contains(x) && (4..20).contains(y)));
        assert!(inked.iter().any(|(x, ..)| *x == 24) && inked.iter().any(|(_, y, _)| *y == 19));
    }
}

//! Point clouds in the plane.

use image::RgbImage;

use super::LoggingError;
use super::axes::{Axis, Frame};
use super::canvas::{BLACK, Canvas, GREY, SERIES};

/// Both sides of the picture in pixels.
const SIDE: u32 = 640;
const MARGIN: i64 = 72;

/// Draws points `[n, 2]`, given as x and y in turn, over grey ones of a `reference` such as the data. Both axes have the
/// same scale and hold the reference, or without one the points; how many points lie outside is written on top.
///
/// # Errors
///
/// An odd number of values.
pub fn scatter(points: &[f32], reference: Option<&[f32]>) -> Result<RgbImage, LoggingError> {
    let pairs = pairs(points)?;
    let reference = self::pairs(reference.unwrap_or_default())?;
    let shown = if reference.is_empty() { &pairs } else { &reference };
    let finite = || shown.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
    let [(left, right), (low, high)] = [extent(finite().map(|point| point.0)), extent(finite().map(|point| point.1))];
    let half = (right - left).max(high - low) / 2.0;
    let side = |from: f64, to: f64| {
        let middle = (from + to) / 2.0;
        Axis::around([middle - half, middle + half].into_iter(), 0.05, false)
    };
    let inner = i64::from(SIDE) - MARGIN / 2;
    let frame = Frame {
        x: side(left, right),
        y: side(low, high),
        bounds: [MARGIN, MARGIN / 2, inner, i64::from(SIDE) - MARGIN],
    };

    let mut canvas = Canvas::new(SIDE, SIDE);
    frame.draw(&mut canvas);
    let mut draw = |points: &[(f64, f64)], ink| {
        // Fainter where there are many, so that density shows.
        let cover = (1000.0 / points.len().max(1) as f64).clamp(0.35, 0.8);
        let places = points.iter().filter_map(|&(x, y)| frame.place(x, y));
        places.map(|place| canvas.disc(place, 1.8, ink, cover)).count()
    };
    draw(&reference, GREY);
    let inside = draw(&pairs, SERIES[0]);
    if inside < pairs.len() {
        let text = format!("{} of {} points outside", pairs.len() - inside, pairs.len());
        canvas.text(MARGIN, MARGIN / 2 - 22, &text, BLACK);
    }
    Ok(canvas.into_picture())
}

fn pairs(values: &[f32]) -> Result<Vec<(f64, f64)>, LoggingError> {
    let (pairs, rest) = values.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(LoggingError::Picture(format!("{} values are no points of two", values.len())));
    }
    Ok(pairs.iter().map(|&[x, y]| (x.into(), y.into())).collect())
}

fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low < high { (low, high) } else { (-1.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_where_they_are() {
        // The centre of a square cloud is the centre of the frame.
        let picture = scatter(&[-2.0, -2.0, 2.0, 2.0, 0.0, 0.0], None).unwrap();
        let centre = ((72 + 604) / 2, (36 + 568) / 2);
        let blue = |x: u32, y: u32| picture.get_pixel(x, y).0[2] > picture.get_pixel(x, y).0[0];
        assert!(blue(centre.0, centre.1));
        assert!(!blue(centre.0 + 50, centre.1));
        let (x, y) = (72.0 + 532.0 * (0.5 + 0.5 / 1.1), 36.0 + 532.0 * (0.5 - 0.5 / 1.1));
        assert!(blue(x as u32, y as u32));
    }

    #[test]
    fn points_outside_are_counted() {
        let cloud = [0.0, 0.0, 1.0, 1.0];
        let with = |points: &[f32]| scatter(points, Some(&cloud)).unwrap();
        let written = |picture: &RgbImage| (0..30).any(|y| (72..600).any(|x| *picture.get_pixel(x, y) == BLACK));
        assert!(!written(&with(&[0.5, 0.5])));
        assert!(written(&with(&[0.5, 0.5, 7.0, 7.0])));
        assert!(written(&with(&[f32::NAN, 0.5])));
        assert!(scatter(&[1.0], None).is_err());
        scatter(&[], None).unwrap();
        scatter(&[3.0, 3.0], None).unwrap();
    }
}

//! Line plots of numbers over the course of a run, drawn without any font or library of the system.

use image::RgbImage;

use super::axes::{Axis, Frame};
use super::canvas::{BLACK, Canvas, SERIES, WHITE};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 540;
/// Left, top, right and bottom margin around the frame.
const MARGIN: [i64; 4] = [96, 64, 32, 64];

/// One line of a plot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Points (x, y) in the order in which they are joined; what is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// Lines over a common x axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plot {
    /// Above the plot; ASCII, as all its text.
    pub title: String,
    /// What the x axis counts.
    pub x_label: String,
    /// What the y axis measures.
    pub y_label: String,
    /// Whether y is logarithmic; values that are not positive leave gaps then.
    pub logarithmic: bool,
    /// The lines, drawn in this order; after six the colours repeat.
    pub series: Vec<Series>,
}

impl Plot {
    /// Draws the plot, 960 pixels wide and 540 high.
    pub fn draw(&self) -> RgbImage {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let [left, top, right, bottom] = MARGIN;
        let frame = Frame {
            x: Axis::around(points().map(|point| point.0), 0.0, false),
            y: Axis::around(points().map(|point| point.1), 0.04, self.logarithmic),
            bounds: [left, top, i64::from(WIDTH) - right, i64::from(HEIGHT) - bottom],
        };
        let mut canvas = Canvas::new(WIDTH, HEIGHT);
        frame.draw(&mut canvas);
        for (series, ink) in self.series.iter().zip(SERIES.iter().cycle()) {
            let mut last = None;
            for &(x, y) in &series.points {
                let place = frame.place(x, y);
                match (last, place) {
                    (Some(from), Some(to)) => canvas.line(from, to, 2.0, *ink),
                    // A point that nothing is joined to yet; its line covers it.
                    (None, Some(at)) => canvas.disc(at, 1.5, *ink, 1.0),
                    _ => {}
                }
                last = place;
            }
        }
        self.write_labels(&mut canvas, frame.bounds);
        self.write_legend(&mut canvas, frame.bounds);
        canvas.into_picture()
    }

    fn write_labels(&self, canvas: &mut Canvas, [left, top, right, bottom]: [i64; 4]) {
        let (title_width, _) = Canvas::text_size(&self.title);
        canvas.text((left + right - title_width) / 2, top - 48, &self.title, BLACK);
        canvas.text(left, top - 24, &self.y_label, BLACK);
        let (x_width, _) = Canvas::text_size(&self.x_label);
        canvas.text(right - x_width, bottom + 34, &self.x_label, BLACK);
    }

    fn write_legend(&self, canvas: &mut Canvas, [_, top, right, _]: [i64; 4]) {
        const ROW: i64 = 24;
        const PAD: i64 = 8;
        const STROKE: i64 = 28;
        let named: Vec<_> = self.series.iter().zip(SERIES.iter().cycle()).filter(|(s, _)| !s.name.is_empty()).collect();
        let Some(widest) = named.iter().map(|(series, _)| Canvas::text_size(&series.name).0).max() else { return };
        let (width, height) = (widest + STROKE + 3 * PAD, ROW * named.len() as i64 + PAD);
        let (x, y) = (right - width - PAD, top + PAD);
        canvas.fill(x, y, width as u32, height as u32, WHITE);
        for (row, (series, ink)) in (0..).zip(named) {
            let middle = (y + PAD + ROW * row) as f64 + 8.0;
            canvas.line(((x + PAD) as f64, middle), ((x + PAD + STROKE) as f64, middle), 3.0, *ink);
            canvas.text(x + 2 * PAD + STROKE, y + PAD + ROW * row, &series.name, BLACK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pixels have exactly the colour of a series.
    fn inked(picture: &RgbImage, series: usize) -> usize {
        picture.pixels().filter(|pixel| **pixel == SERIES[series]).count()
    }

    #[test]
    fn lines_lie_where_their_numbers_say() {
        let points = vec![(0.0, 0.0), (1000.0, 10.0)];
        let plot = Plot { series: vec![Series { name: String::new(), points }], ..Plot::default() };
        let picture = plot.draw();
        assert_eq!(picture.dimensions(), (WIDTH, HEIGHT));
        // The frame is 832 by 412 pixels; with the margin of 4% the line rises over 412 / 1.08 of them.
        let column = |x: u32| {
            (0..HEIGHT).filter(|&y| *picture.get_pixel(x, y) == SERIES[0]).sum::<u32>() as f64
                / (0..HEIGHT).filter(|&y| *picture.get_pixel(x, y) == SERIES[0]).count() as f64
        };
        for (part, x) in [(0.25, 96 + 208), (0.5, 96 + 416), (0.75, 96 + 624)] {
            let expected = 64.0 + 412.0 * (1.04 - part) / 1.08;
            assert!((column(x) + 0.5 - expected).abs() < 1.0, "{} {expected}", column(x));
        }
    }

    #[test]
    fn gaps_are_not_bridged() {
        let line = |gap: f64| {
            let points = vec![(0.0, 1.0), (1.0, 1.0), (2.0, gap), (3.0, 1.0), (4.0, 1.0)];
            inked(&Plot { series: vec![Series { name: String::new(), points }], ..Plot::default() }.draw(), 0)
        };
        let (whole, broken) = (line(1.0), line(f64::NAN));
        assert!((0.45..0.55).contains(&(broken as f64 / whole as f64)), "{whole} {broken}");
    }

    #[test]
    fn any_plot_can_be_drawn() {
        let name = || "a long name of a series".to_owned();
        let series = |points: Vec<(f64, f64)>| Series { name: name(), points };
        for logarithmic in [false, true] {
            for points in [vec![], vec![(f64::NAN, 1.0)], vec![(1.0, -1.0)], vec![(1e300, 1.0), (-1e300, 1e-300)]] {
                let plot = Plot { title: name(), logarithmic, series: vec![series(points); 8], ..Plot::default() };
                plot.draw();
            }
        }
    }
}

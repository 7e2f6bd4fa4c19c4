//! The frame of a plot: ranges, ticks and their labels.

use super::canvas::{BLACK, Canvas, GREY, PALE};

/// One direction of a plot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// An axis that holds all finite values (on a logarithmic one, all positive ones), with `margin` of the range
    /// left free on both sides.
    pub(crate) fn around(values: impl Iterator<Item = f64>, margin: f64, logarithmic: bool) -> Self {
        let fit = values.filter(|&value| value.is_finite() && (!logarithmic || value > 0.0));
        let fit = fit.map(|value| if logarithmic { value.log10() } else { value });
        let (low, high) = fit.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let (low, high) = match (low, high) {
            (low, high) if low > high => (0.0, 1.0),
            (low, high) if low == high && logarithmic => (low - 0.5, high + 0.5),
            (low, high) if low == high => (low - 0.5 * low.abs().max(1e-6), high + 0.5 * high.abs().max(1e-6)),
            range => range,
        };
        let free = margin * (high - low);
        Self { low: low - free, high: high + free, logarithmic }
    }

    /// Where a value stands between the ends: 0 to 1; none outside and for what has no place.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let value = if self.logarithmic { value.log10() } else { value };
        let place = (value - self.low) / (self.high - self.low);
        (-1e-9..=1.0 + 1e-9).contains(&place).then_some(place)
    }

    /// Round values along the axis, each with its label.
    pub(crate) fn ticks(&self, about: usize) -> Vec<(f64, String)> {
        if self.logarithmic { self.powers() } else { self.multiples(about) }
    }

    /// Multiples of 1, 2 or 5 times a power of ten.
    fn multiples(&self, about: usize) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / about.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= rough);
        let step = step.unwrap_or(rough);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        let largest = self.low.abs().max(self.high.abs());
        (first..=last).map(|count| (count as f64 * step, label(count as f64 * step, step, largest))).collect()
    }

    /// Powers of ten; with twice and five times them where there are few.
    fn powers(&self) -> Vec<(f64, String)> {
        let factors: &[f64] = if self.high - self.low < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = ((self.high - self.low) / 8.0).ceil().max(1.0) as usize;
        let exponents = (self.low.floor() as i32..=self.high.ceil() as i32).step_by(every);
        let values = exponents.flat_map(|exponent| factors.iter().map(move |factor| factor * 10f64.powi(exponent)));
        let inside = values.filter(|&value| self.place(value).is_some());
        inside.map(|value| (value, label(value, value, value))).collect()
    }
}

/// A number as short as the distance `step` to its neighbours allows; `largest` sets the unit of all.
fn label(value: f64, step: f64, largest: f64) -> String {
    let (unit, sign) = match largest {
        1e9.. => (1e9, "G"),
        1e6.. => (1e6, "M"),
        1e4.. => (1e3, "k"),
        _ => (1.0, ""),
    };
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e13).contains(&largest) {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    // As many decimals as the step has, give or take its rounding.
    let decimals = (-(step / unit).log10() - 1e-9).ceil().max(0.0) as usize;
    format!("{:.decimals$}{sign}", value / unit)
}

/// The frame of a plot on a canvas.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Left, top, right and bottom in pixels.
    pub(crate) bounds: [i64; 4],
}

impl Frame {
    /// The pixel at which a point is drawn; none if it lies outside.
    pub(crate) fn place(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let [left, top, right, bottom] = self.bounds.map(|edge| edge as f64);
        Some((left + self.x.place(x)? * (right - left), bottom - self.y.place(y)? * (bottom - top)))
    }

    /// Draws grid lines, border and labels.
    pub(crate) fn draw(&self, canvas: &mut Canvas) {
        let [left, top, right, bottom] = self.bounds;
        let (width, height) = ((right - left) as u32, (bottom - top) as u32);
        const PIXELS_A_TICK: u32 = 110;
        const GAP: i64 = 7;
        for (value, label) in self.x.ticks((width / PIXELS_A_TICK) as usize) {
            let Some(place) = self.x.place(value) else { continue };
            let x = left + (place * f64::from(width)).round() as i64;
            canvas.fill(x, top, 1, height, PALE);
            let (size, _) = Canvas::text_size(&label);
            canvas.text(x - size / 2, bottom + GAP, &label, BLACK);
        }
        for (value, label) in self.y.ticks((height / PIXELS_A_TICK).max(3) as usize) {
            let Some(place) = self.y.place(value) else { continue };
            let y = bottom - (place * f64::from(height)).round() as i64;
            canvas.fill(left, y, width, 1, PALE);
            let (size, tall) = Canvas::text_size(&label);
            canvas.text(left - GAP - size, y - tall / 2, &label, BLACK);
        }
        for (x, y, wide, tall) in
            [(left, top, width, 1), (left, bottom, width + 1, 1), (left, top, 1, height), (right, top, 1, height)]
        {
            canvas.fill(x, y, wide, tall, GREY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, logarithmic: bool) -> Vec<String> {
        let axis = Axis::around([low, high].into_iter(), 0.0, logarithmic);
        axis.ticks(5).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(0.0, 1.0, false), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-1.3, 1.1, false), ["-1.0", "-0.5", "0", "0.5", "1.0"]);
        assert_eq!(labels(0.0, 1_000_000.0, false), ["0", "0.2M", "0.4M", "0.6M", "0.8M", "1.0M"]);
        assert_eq!(labels(4096.0, 60_000.0, false), ["20k", "40k", "60k"]);
        assert_eq!(labels(0.0, 5e-5, false), ["0", "1e-5", "2e-5", "3e-5", "4e-5", "5e-5"]);
        assert_eq!(labels(0.003, 0.9, true), ["0.01", "0.1"]);
        assert_eq!(labels(0.4, 30.0, true), ["0.5", "1", "2", "5", "10", "20"]);
        assert_eq!(labels(1e-9, 1e6, true), ["1e-9", "1e-7", "1e-5", "0.001", "0.1", "10", "1000", "100k"]);
    }

    #[test]
    fn any_values_make_an_axis() {
        for values in [&[][..], &[f64::NAN], &[3.0, 3.0], &[0.0], &[f64::INFINITY, 2.0, -1.0], &[1e300, -1e300]] {
            for logarithmic in [false, true] {
                let axis = Axis::around(values.iter().copied(), 0.05, logarithmic);
                assert!(axis.low < axis.high && axis.low.is_finite() && axis.high.is_finite(), "{values:?} {axis:?}");
                assert!((2..40).contains(&axis.ticks(5).len()), "{values:?} {:?}", axis.ticks(5));
            }
        }
    }

    #[test]
    fn values_have_their_places() {
        let linear = Axis::around([10.0, 20.0].into_iter(), 0.0, false);
        assert_eq!(
            [10.0, 15.0, 20.0, 21.0, f64::NAN].map(|x| linear.place(x)),
            [Some(0.0), Some(0.5), Some(1.0), None, None]
        );
        let logarithmic = Axis::around([1.0, 100.0, -5.0].into_iter(), 0.0, true);
        assert_eq!(
            [1.0, 10.0, 100.0, 0.0, -1.0].map(|x| logarithmic.place(x)),
            [Some(0.0), Some(0.5), Some(1.0), None, None]
        );
    }
}

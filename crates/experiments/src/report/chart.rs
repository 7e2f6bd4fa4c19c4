//! Learning curves as inline SVG: the mean over seeds, and the range as a band.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};

use crate::text;

/// Colours that people who see few of them can tell apart, on light and on dark grounds.
pub(super) const COLORS: [&str; 8] =
    ["#4269d0", "#e08214", "#d6455d", "#2a9d5c", "#8e5bd0", "#9c6b4e", "#0e8a9c", "#8a8a8a"];
/// Points of a line: more cannot be seen.
const POINTS: usize = 120;
/// Size of the drawing and its margins.
pub(super) const WIDTH: f64 = 420.0;
pub(super) const HEIGHT: f64 = 260.0;
pub(super) const LEFT: f64 = 52.0;
pub(super) const RIGHT: f64 = 12.0;
pub(super) const TOP: f64 = 10.0;
pub(super) const BOTTOM: f64 = 34.0;
/// A range of values from which on the axis is logarithmic.
const LOGARITHMIC: f64 = 20.0;

/// A line with its band.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    /// Images, mean, least and largest value.
    points: Vec<[f64; 4]>,
}

impl Series {
    /// The curves of all seeds as one line, at the images that all of them have; none without two points.
    pub(super) fn of(name: &str, curves: &[&Vec<(f64, f64)>]) -> Option<Self> {
        let mut at: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (images, value) in curves.iter().copied().flatten() {
            at.entry(*images as u64).or_default().push(*value);
        }
        at.retain(|_, values| values.len() == curves.len());
        let point = |(images, values): (&u64, &Vec<f64>)| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let (least, most) =
                values.iter().fold((mean, mean), |(least, most), value| (least.min(*value), most.max(*value)));
            [*images as f64, mean, least, most]
        };
        let points: Vec<[f64; 4]> = at.iter().map(point).collect();
        (points.len() > 1).then(|| Self { name: name.to_owned(), points: thinned(points) })
    }
}

/// Neighbours as their means, until there are few enough.
fn thinned(points: Vec<[f64; 4]>) -> Vec<[f64; 4]> {
    let size = points.len().div_ceil(POINTS);
    let mean = |chunk: &[[f64; 4]]| {
        let mut sums = [0.0; 4];
        chunk.iter().for_each(|point| (0..4).for_each(|place| sums[place] += point[place]));
        sums.map(|sum| sum / chunk.len() as f64)
    };
    points.chunks(size.max(1)).map(mean).collect()
}

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    pub(super) title: String,
    series: Vec<Series>,
}

impl Chart {
    /// A chart of series; none without any.
    pub(super) fn new(title: &str, series: Vec<Series>) -> Option<Self> {
        (!series.is_empty()).then(|| Self { title: title.to_owned(), series })
    }

    /// The chart with its legend.
    pub(super) fn markup(&self) -> Markup {
        let all = || self.series.iter().flat_map(|series| &series.points);
        let right = all().map(|point| point[0]).fold(0.0, f64::max);
        let (low, high) = all()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| (low.min(point[2]), high.max(point[3])));
        let axis = Axis::new(low, high);
        let x = |images: f64| LEFT + (WIDTH - LEFT - RIGHT) * images / right.max(1.0);
        let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - axis.place(value));
        let path = |points: &mut dyn Iterator<Item = (f64, f64)>| -> String {
            points.map(|(images, value)| format!("{:.1},{:.1}", x(images), y(value))).collect::<Vec<_>>().join(" ")
        };
        let bottom = HEIGHT - BOTTOM;
        html! {
            figure.chart {
                figcaption { (self.title) }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(format!("{} over training images", self.title)) {
                    @for mark in axis.marks() {
                        @let height = format!("{:.1}", y(mark));
                        line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(height) y2=(height) {}
                        text x=(LEFT - 6.0) y=(format!("{:.1}", y(mark) + 4.0)) text-anchor="end" { (text::number(mark)) }
                    }
                    @for part in [0.0, 0.5, 1.0] {
                        text x=(format!("{:.1}", x(right * part))) y=(bottom + 16.0)
                            text-anchor=(if part == 1.0 { "end" } else { "middle" }) { (text::count((right * part) as u64)) }
                    }
                    text x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 3.0) text-anchor="middle" { "training images" }
                    @for (place, series) in self.series.iter().enumerate() {
                        @let color = COLORS[place % COLORS.len()];
                        @if series.points.iter().any(|point| point[2] < point[3]) {
                            polygon fill=(color) opacity="0.18" points=(format!("{} {}",
                                path(&mut series.points.iter().map(|point| (point[0], point[3]))),
                                path(&mut series.points.iter().rev().map(|point| (point[0], point[2]))))) {}
                        }
                        polyline fill="none" stroke=(color) stroke-width="1.8" stroke-linejoin="round"
                            points=(path(&mut series.points.iter().map(|point| (point[0], point[1])))) {}
                    }
                }
                @if self.series.len() > 1 {
                    ul.legend {
                        @for (place, series) in self.series.iter().enumerate() {
                            li { span.swatch style=(format!("background:{}", COLORS[place % COLORS.len()])) { (PreEscaped("")) } (series.name) }
                        }
                    }
                }
            }
        }
    }
}

/// An axis of values.
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// An axis from the least to the largest value, logarithmic where they are far apart.
    pub(super) fn new(low: f64, high: f64) -> Self {
        Self::scaled(low, high, low > 0.0 && high / low > LOGARITHMIC)
    }

    /// An axis with a scale of its own; a logarithmic one takes values above 0.
    pub(super) fn scaled(low: f64, high: f64, logarithmic: bool) -> Self {
        // A flat line lies in the middle.
        let (low, high) =
            if high > low { (low, high) } else { (low - 0.5 * low.abs().max(1e-3), high + 0.5 * high.abs().max(1e-3)) };
        if logarithmic {
            return Self { low: low / 1.05, high: high * 1.05, logarithmic };
        }
        let margin = 0.04 * (high - low);
        Self { low: low - margin, high: high + margin, logarithmic }
    }

    /// From 0 at the bottom to 1 at the top.
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Round values along it.
    pub(super) fn marks(&self) -> Vec<f64> {
        if self.logarithmic {
            let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let wide = (self.high / self.low).log10() > 2.5;
            let factors: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let marks = decades.flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
            return marks.filter(|mark| (self.low..=self.high).contains(mark)).collect();
        }
        let rough = (self.high - self.low) / 4.0;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * decade)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).map(|count| count as f64 * step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_become_a_line_and_a_band() {
        let one = vec![(0.0, 1.0), (10.0, 2.0), (20.0, 3.0)];
        let two = vec![(0.0, 3.0), (20.0, 5.0)];
        let series = Series::of("a", &[&one, &two]).unwrap();
        assert_eq!(series.points, [[0.0, 2.0, 1.0, 3.0], [20.0, 4.0, 3.0, 5.0]]);
        assert!(Series::of("a", &[&vec![(0.0, 1.0)]]).is_none());
    }

    #[test]
    fn marks_are_round_and_inside() {
        for (low, high) in [(0.0, 1.0), (0.31, 0.37), (-5.0, 900.0), (0.001, 3.0), (2.0, 2.0)] {
            let axis = Axis::new(low, high);
            let marks = axis.marks();
            assert!((2..=12).contains(&marks.len()), "{low} {high} {marks:?}");
            assert!(marks.iter().all(|mark| (0.0..=1.0).contains(&axis.place(*mark))));
            assert!(axis.place(low) >= 0.0 && axis.place(high) <= 1.0);
        }
    }
}

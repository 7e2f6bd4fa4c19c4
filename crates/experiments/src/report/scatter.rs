//! A search's objective over one parameter, as inline SVG: a dot a trial, a cross for one that failed.

use maud::{Markup, html};

use super::chart::{Axis, BOTTOM, COLORS, HEIGHT, LEFT, RIGHT, TOP, WIDTH};
use crate::sweep::Better;
use crate::text;
use crate::tune::{Ending, Parameter, Tried, Tune, shown};

/// Trials by one parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scatter {
    /// Key of the parameter.
    title: String,
    /// What a reader calls the objective.
    objective: String,
    across: Across,
    /// Place on the axis, objective and trial, best first.
    points: Vec<(f64, f64, usize)>,
    /// Places of those that failed.
    failed: Vec<f64>,
    better: Better,
}

/// The axis of the parameter.
#[derive(Clone, Debug, PartialEq)]
enum Across {
    /// Numbers.
    Numbers { low: f64, high: f64, logarithmic: bool },
    /// Values without order, side by side.
    Names(Vec<String>),
}

impl Scatter {
    /// The trials of a search, best first, by its parameter at `place`; none where none is done.
    pub(super) fn of(tune: &Tune, place: usize, tried: &[Tried]) -> Option<Self> {
        let parameter = tune.parameters.get(place)?;
        let across = match parameter {
            Parameter::Uniform { low, high, .. } | Parameter::LogUniform { low, high, .. } => {
                Across::Numbers { low: *low, high: *high, logarithmic: parameter.is_logarithmic() }
            }
            Parameter::Integer { low, high, logarithmic, .. } => {
                Across::Numbers { low: *low as f64, high: *high as f64, logarithmic: *logarithmic }
            }
            Parameter::Choice { values, .. } => Across::Names(values.iter().map(shown).collect()),
        };
        let at = |trial: &Tried| match parameter {
            Parameter::Choice { values, .. } => {
                let value = trial.values.get(place)?;
                values.iter().position(|other| other == value).map(|place| place as f64)
            }
            _ => trial.values.get(place)?.as_f64(),
        };
        let points: Vec<(f64, f64, usize)> =
            tried.iter().filter_map(|trial| Some((at(trial)?, trial.objective()?, trial.number))).collect();
        let failed = tried.iter().filter(|trial| matches!(trial.ending, Ending::Failed(_))).filter_map(at).collect();
        let (title, objective) = (parameter.key().to_owned(), tune.objective.title.clone());
        let better = tune.objective.better;
        (!points.is_empty()).then_some(Self { title, objective, across, points, failed, better })
    }

    /// The drawing.
    pub(super) fn markup(&self) -> Markup {
        let (low, high) = self
            .points
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, value, _)| (low.min(*value), high.max(*value)));
        let up = Axis::new(low, high);
        let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - up.place(value));
        let span = WIDTH - LEFT - RIGHT;
        let numbers = match &self.across {
            Across::Numbers { low, high, logarithmic } => Some(Axis::scaled(*low, *high, *logarithmic)),
            Across::Names(_) => None,
        };
        let x = |place: f64| match (&numbers, &self.across) {
            (Some(axis), _) => LEFT + span * axis.place(place),
            (None, Across::Names(names)) => LEFT + span * (place + 0.5) / names.len() as f64,
            (None, Across::Numbers { .. }) => LEFT,
        };
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        // On the side of what is worse.
        let edge = if self.better == Better::Less { TOP + 4.0 } else { bottom - 4.0 };
        let short = |value: f64| format!("{value:.1}");
        html! {
            figure.chart {
                figcaption { (self.title) }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(format!("{} over {}", self.objective, self.title)) {
                    @for mark in up.marks() {
                        line.grid x1=(LEFT) x2=(right) y1=(short(y(mark))) y2=(short(y(mark))) {}
                        text x=(LEFT - 6.0) y=(short(y(mark) + 4.0)) text-anchor="end" { (text::number(mark)) }
                    }
                    @match (&numbers, &self.across) {
                        (Some(axis), _) => @for mark in axis.marks() {
                            line.grid x1=(short(x(mark))) x2=(short(x(mark))) y1=(bottom) y2=(bottom + 4.0) {}
                            text x=(short(x(mark))) y=(bottom + 16.0) text-anchor="middle" { (text::number(mark)) }
                        },
                        (None, Across::Names(names)) => @for (place, name) in names.iter().enumerate() {
                            text x=(short(x(place as f64))) y=(bottom + 16.0) text-anchor="middle" { (cut(name, names.len())) }
                        },
                        (None, Across::Numbers { .. }) => {}
                    }
                    text x=((LEFT + right) / 2.0) y=(HEIGHT - 3.0) text-anchor="middle" { (self.title) }
                    @for place in &self.failed {
                        text.failed x=(short(x(*place))) y=(short(edge + 4.0)) text-anchor="middle" { "×" title { "failed" } }
                    }
                    // The best last, on top of all.
                    @for (rank, (place, value, trial)) in self.points.iter().enumerate().rev() {
                        circle cx=(short(x(*place))) cy=(short(y(*value))) r=(if rank == 0 { 5.0 } else { 3.2 })
                            fill=(COLORS[usize::from(rank == 0)]) opacity=(if rank == 0 { "1" } else { "0.65" }) {
                            title { "trial " (trial) ": " (text::number(*value)) }
                        }
                    }
                }
            }
        }
    }
}

/// As much of a name as fits beside the others.
fn cut(name: &str, among: usize) -> String {
    let most = (48 / among.max(1)).max(3);
    match name.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut("ab", 10), "ab");
        assert_eq!(cut("{\"type\":\"muon\",\"adamw_ratio\":0.1}", 4), "{\"type\":\"muo…");
    }
}

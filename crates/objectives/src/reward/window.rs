//! Where MixGRPO's window of stochastic steps stands.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::random::Draws;

/// A window of consecutive steps, and how it moves from update to update (Li et al. 2025, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Window {
    /// Steps in it, >= 1.
    pub width: usize,
    /// How it moves.
    pub motion: Motion,
    /// Steps that it moves by, >= 1.
    pub stride: usize,
    /// Whether it returns to the start after its last position; else it stays there.
    pub returns: bool,
    /// How far it goes.
    pub edge: Edge,
    /// The share of the steps after the window that is left of them, in (0, 1], as DPM-Solver++ of second order on a
    /// coarser grid (the Flash variants). None: the steps after it are those before it.
    pub compression: Option<f64>,
}

impl Default for Window {
    fn default() -> Self {
        Self { width: 4, motion: Motion::default(), stride: 1, returns: true, edge: Edge::default(), compression: None }
    }
}

/// How a window moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Motion {
    /// Moves after as many updates at every position.
    Progressive {
        /// Updates at a position, >= 1.
        updates: u64,
    },
    /// Moves after `max(updates - floor(rate * max(position - from, 0)), 1)` updates at a position.
    Linear {
        /// Updates at the first positions, >= 1.
        updates: u64,
        /// Updates fewer a position, >= 0.
        rate: f64,
        /// The position from which they get fewer.
        from: usize,
    },
    /// Moves after `ceil(updates exp(-rate max(position - from, 0)))` updates at a position.
    Exponential {
        /// Updates at the first positions, >= 1.
        updates: u64,
        /// The decay, >= 0.
        rate: f64,
        /// The position from which it decays.
        from: usize,
    },
    /// A new position at every update, uniform over `0..=steps - 2 - width`.
    Random {},
    /// Stays at the start.
    Frozen {},
}

impl Default for Motion {
    fn default() -> Self {
        Self::Progressive { updates: 25 }
    }
}

/// How far a window goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// As published: the last two steps are never in a window, and a window that reaches them gets narrower. Its last
    /// position has one step; the published code has one position more, which is empty.
    #[default]
    Narrowing,
    /// The window stays whole, and goes to the last step but one: the last is never trained.
    Whole,
}

impl Window {
    /// The steps in the window at an update of a rollout of `steps` steps. `draws` are this update's own.
    pub fn steps(&self, update: u64, steps: usize, draws: &Draws) -> Range<usize> {
        let start = self.position(update, steps, draws);
        start..(start + self.width).min(self.end(steps))
    }

    /// One beyond the last step that a window may hold.
    fn end(&self, steps: usize) -> usize {
        match self.edge {
            Edge::Narrowing => steps.saturating_sub(2),
            Edge::Whole => steps.saturating_sub(1),
        }
    }

    /// The largest position.
    fn last(&self, steps: usize) -> usize {
        match self.edge {
            Edge::Narrowing => self.end(steps).saturating_sub(1),
            Edge::Whole => self.end(steps).saturating_sub(self.width),
        }
    }

    fn position(&self, update: u64, steps: usize, draws: &Draws) -> usize {
        let last = self.last(steps);
        match self.motion {
            Motion::Frozen {} => 0,
            Motion::Random {} => {
                let count = (steps.saturating_sub(1 + self.width)).max(1);
                (draws.below(0, count as u64) as usize).min(last)
            }
            _ => self.walked(update, last),
        }
    }

    /// The position after a walk of so many updates from the start.
    fn walked(&self, update: u64, last: usize) -> usize {
        let positions = (0..=last).step_by(self.stride.max(1));
        let round: u64 = positions.clone().map(|position| self.updates_at(position)).sum();
        let mut left = if self.returns { update % round.max(1) } else { update };
        for position in positions.clone() {
            let here = self.updates_at(position);
            if left < here {
                return position;
            }
            left -= here;
        }
        positions.last().unwrap_or(0)
    }

    /// Updates that the window stays at a position.
    fn updates_at(&self, position: usize) -> u64 {
        let beyond = |from: usize| position.saturating_sub(from) as f64;
        let updates = match self.motion {
            Motion::Progressive { updates } => updates,
            Motion::Linear { updates, rate, from } => updates.saturating_sub((rate * beyond(from)) as u64),
            Motion::Exponential { updates, rate, from } => {
                (updates as f64 * (-rate * beyond(from)).exp()).ceil() as u64
            }
            Motion::Random {} | Motion::Frozen {} => 1,
        };
        updates.max(1)
    }

    /// Everything that is wrong with it for rollouts of `steps` steps.
    pub fn validate(&self, steps: usize) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.width >= 1, "width", "must be at least 1");
        problems.check(self.stride >= 1, "stride", "must be at least 1");
        let most = self.end(steps);
        let message = format!("a window in {steps} steps holds at most {most}");
        problems.check(self.width <= most, "width", message);
        let share = self.compression.is_none_or(|share| share > 0.0 && share <= 1.0);
        problems.check(share, "compression", "must be above 0 and at most 1");
        match self.motion {
            Motion::Progressive { updates } => problems.check(updates >= 1, "motion.updates", "must be at least 1"),
            Motion::Linear { updates, rate, .. } | Motion::Exponential { updates, rate, .. } => {
                problems.check(updates >= 1, "motion.updates", "must be at least 1");
                let proper = rate >= 0.0 && rate.is_finite();
                problems.check(proper, "motion.rate", "must be finite and not negative");
            }
            Motion::Random {} | Motion::Frozen {} => {}
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use sinter_process::random::{Key, Stream};

    use super::*;

    fn draws(image: u64) -> Draws {
        Key::new(5, Stream::TEST).at(image)
    }

    fn at(window: &Window, update: u64, steps: usize) -> Range<usize> {
        window.steps(update, steps, &draws(update))
    }

    /// 25 steps, a window of 4, 25 updates at a position: in 300 updates it comes to 11.
    #[test]
    fn the_published_schedule() {
        let window = Window::default();
        assert_eq!(at(&window, 0, 25), 0..4);
        assert_eq!(at(&window, 24, 25), 0..4);
        assert_eq!(at(&window, 25, 25), 1..5);
        assert_eq!(at(&window, 275, 25), 11..15);
        let reached = (0..300).map(|update| at(&window, update, 25).end).max();
        assert_eq!(reached, Some(15));
    }

    #[test]
    fn at_the_end_it_gets_narrower_and_returns_or_stays() {
        let window = Window { motion: Motion::Progressive { updates: 2 }, ..Window::default() };
        // 10 steps: positions 0 to 7, of which the last has one step.
        assert_eq!(at(&window, 14, 10), 7..8);
        assert_eq!(at(&window, 10, 10), 5..8);
        assert_eq!(at(&window, 16, 10), 0..4);
        let staying = Window { returns: false, ..window };
        assert_eq!(at(&staying, 1000, 10), 7..8);
        let whole = Window { edge: Edge::Whole, ..window };
        let all: Vec<_> = (0..12).step_by(2).map(|update| at(&whole, update, 10)).collect();
        assert_eq!(all, [0..4, 1..5, 2..6, 3..7, 4..8, 5..9]);
        assert_eq!(at(&whole, 12, 10), 0..4);
        let strided = Window { stride: 3, ..window };
        assert_eq!([0, 2, 4, 6].map(|update| at(&strided, update, 10).start), [0, 3, 6, 0]);
    }

    #[test]
    fn it_moves_faster_towards_data() {
        let motion = Motion::Exponential { updates: 25, rate: 0.1, from: 13 };
        let window = Window { motion, ..Window::default() };
        let stays = |position: usize| {
            (0..2000)
                .take_while(|_| true)
                .filter(|update| at(&Window { returns: false, ..window }, *update, 25).start == position)
                .count()
        };
        assert_eq!((stays(0), stays(13)), (25, 25));
        // ceil(25 e^{-0.1}) and ceil(25 e^{-0.8})
        assert_eq!((stays(14), stays(21)), (23, 12));
        let linear = Window { motion: Motion::Linear { updates: 5, rate: 2.0, from: 1 }, ..window };
        assert_eq!([0, 1, 2, 3, 9].map(|position| linear.updates_at(position)), [5, 5, 3, 1, 1]);
    }

    #[test]
    fn random_windows_go_everywhere_they_may_and_frozen_ones_nowhere() {
        let window = Window { motion: Motion::Random {}, ..Window::default() };
        let mut starts: Vec<usize> = (0..500).map(|update| at(&window, update, 16).start).collect();
        assert_eq!(at(&window, 7, 16), window.steps(7, 16, &draws(7)));
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts, (0..=10).collect::<Vec<_>>());
        let frozen = Window { motion: Motion::Frozen {}, ..window };
        assert!((0..500).all(|update| at(&frozen, update, 16) == (0..4)));
    }

    #[test]
    fn no_window_is_empty() {
        for motion in [Motion::default(), Motion::Random {}, Motion::Exponential { updates: 3, rate: 1.0, from: 0 }] {
            for edge in [Edge::Narrowing, Edge::Whole] {
                for (steps, width) in [(3, 1), (6, 4), (10, 2), (25, 6)] {
                    let window = Window { width, motion, edge, ..Window::default() };
                    assert!(window.validate(steps).is_empty());
                    for update in 0..300 {
                        let found = at(&window, update, steps);
                        assert!(!found.is_empty() && found.end < steps, "{window:?} {steps} {found:?}");
                    }
                }
            }
        }
        assert_eq!(Window { width: 5, ..Window::default() }.validate(6).len(), 1);
        assert_eq!(Window { width: 0, stride: 0, ..Window::default() }.validate(6).len(), 2);
    }
}

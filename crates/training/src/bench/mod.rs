//! Speed: of a configuration's training and sampling ([`train`]), of the operations that networks are made of
//! ([`operations`]), of the way from image files to features ([`features`]), and of a block's experts in several forms
//! ([`experts`]).

mod cases;
mod ceiling;
pub mod experts;
pub mod features;
pub mod operations;
mod profile;
pub mod train;

use std::time::Instant;

use serde::Serialize;

pub use self::ceiling::Ceiling;
pub use self::profile::{Profile, Row};

/// Milliseconds of repeated measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Median.
    pub median_ms: f64,
    /// Fastest.
    pub fastest_ms: f64,
    /// Slowest.
    pub slowest_ms: f64,
}

impl Timing {
    /// Of single measurements in any order; none of none.
    fn of(milliseconds: &[f64]) -> Option<Self> {
        let mut sorted = milliseconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (fastest_ms, slowest_ms) = (*sorted.first()?, *sorted.last()?);
        Some(Self { median_ms: sorted[sorted.len() / 2], fastest_ms, slowest_ms })
    }
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing_is_of_all_measurements() {
        let timing = Timing::of(&[3.0, 1.0, 10.0]).unwrap();
        assert_eq!((timing.median_ms, timing.fastest_ms, timing.slowest_ms), (3.0, 1.0, 10.0));
        assert_eq!(Timing::of(&[]), None);
    }
}

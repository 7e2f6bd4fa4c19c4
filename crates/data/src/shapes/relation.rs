//! Where objects lie to each other.

use serde::{Deserialize, Serialize};

/// How one group of objects lies to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The first lies left of the second.
    LeftOf,
    /// The first lies right of the second.
    RightOf,
    /// The first lies above the second.
    Above,
    /// The first lies below the second.
    Below,
}

impl Relation {
    /// Every relation.
    pub const ALL: [Self; 4] = [Self::LeftOf, Self::RightOf, Self::Above, Self::Below];

    /// The words of captions for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::LeftOf => "left of",
            Self::RightOf => "right of",
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    /// The relation of the second group to the first.
    pub fn inverse(self) -> Self {
        match self {
            Self::LeftOf => Self::RightOf,
            Self::RightOf => Self::LeftOf,
            Self::Above => Self::Below,
            Self::Below => Self::Above,
        }
    }

    /// How clearly the relation holds between objects at the centres `first` and `second` (x to the right, y down):
    /// positive where it holds, in the unit of the centres; `-inf` where a group is empty.
    ///
    /// Two conditions must hold, and the smaller of their margins counts: every object of the first group lies
    /// before every object of the second; and the groups' mean centres are farther apart along the relation's axis
    /// than across it. So at most one of the four relations holds.
    pub fn clearness(self, first: &[[f64; 2]], second: &[[f64; 2]]) -> f64 {
        if first.is_empty() || second.is_empty() {
            return f64::NEG_INFINITY;
        }
        let (axis, sign) = match self {
            Self::LeftOf => (0, 1.0),
            Self::RightOf => (0, -1.0),
            Self::Above => (1, 1.0),
            Self::Below => (1, -1.0),
        };
        let last_of_first = first.iter().map(|centre| sign * centre[axis]).fold(f64::NEG_INFINITY, f64::max);
        let first_of_second = second.iter().map(|centre| sign * centre[axis]).fold(f64::INFINITY, f64::min);
        let mean =
            |group: &[[f64; 2]], axis: usize| group.iter().map(|centre| centre[axis]).sum::<f64>() / group.len() as f64;
        let along = sign * (mean(second, axis) - mean(first, axis));
        let across = (mean(second, 1 - axis) - mean(first, 1 - axis)).abs();
        (first_of_second - last_of_first).min(along - across)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clear_cases() {
        let (left, right) = ([[0.2, 0.5]], [[0.8, 0.6]]);
        assert!((Relation::LeftOf.clearness(&left, &right) - 0.5).abs() < 1e-12);
        assert!(Relation::RightOf.clearness(&left, &right) < 0.0);
        assert!(Relation::Above.clearness(&left, &right) < 0.0);
        // One of the two circles is not left of the square.
        assert!(Relation::LeftOf.clearness(&[[0.2, 0.5], [0.9, 0.5]], &right) < 0.0);
        assert_eq!(Relation::Below.clearness(&[], &right), f64::NEG_INFINITY);
    }

    proptest! {
        #[test]
        fn at_most_one_holds_and_its_inverse_is_as_clear(
            first in prop::collection::vec([0.0..1.0f64, 0.0..1.0f64], 1..4),
            second in prop::collection::vec([0.0..1.0f64, 0.0..1.0f64], 1..4),
        ) {
            let holding = Relation::ALL.iter().filter(|relation| relation.clearness(&first, &second) > 0.0).count();
            prop_assert!(holding <= 1);
            for relation in Relation::ALL {
                prop_assert_eq!(relation.clearness(&first, &second), relation.inverse().clearness(&second, &first));
            }
        }
    }
}

//! Losses that are still to come: PFGM++.

use super::Meaning;
use crate::golden::number;

pub(super) fn meaning(fields: &[&str]) -> Option<Meaning> {
    Some(match *fields {
        ["quantile_levels"] => Meaning::Input,
        [augmented, dimension, quantity] => {
            number::<usize>(augmented, "D")?;
            number::<usize>(dimension, "N")?;
            match quantity {
                "beta" | "gauss" | "sigma" => Meaning::Input,
                _ => Meaning::Pending("PFGM++'s noise"),
            }
        }
        ["edmloss", "D" | "beta" | "sigma" | "y"] => Meaning::Input,
        ["edmloss", ..] => Meaning::Pending("PFGM++'s noise"),
        _ => return None,
    })
}

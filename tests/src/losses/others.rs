//! Losses that are still to come: consistency models, PFGM++ and the pseudo-Huber distance.

use super::Meaning;
use crate::golden::number;

pub(super) fn meaning(fields: &[&str]) -> Option<Meaning> {
    Some(match *fields {
        ["cm", "sigma" | "step"] | ["cm", "loss", "x" | "noise"] | ["cm", "loss", _, "idx"] => Meaning::Input,
        ["cm", "loss", ..] => Meaning::Pending("consistency training"),
        ["cm", _, "c_in" | "c_out" | "c_skip"] => Meaning::Pending("boundary conditions of consistency models"),
        ["cm", _, _, _, "ema" | "num_scales"] => Meaning::Pending("schedules of consistency training"),
        ["ict", _, _, _, "step"] => Meaning::Input,
        ["ict", ..] => Meaning::Pending("improved consistency training"),
        ["ph", "a" | "b"] => Meaning::Input,
        ["ph", ..] => Meaning::Pending("the pseudo-Huber distance"),
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

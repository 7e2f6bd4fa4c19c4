//! Consistency models: a network whose expected data are the same all along a path of the probability flow.
//!
//! Read at its parameterization, a network gives data `f(x, t)`; where there is no noise it gives the state itself. Trained
//! to agree at two neighbouring levels of one path, it learns where the path ends, and samples in a step or two. How the
//! lower state is found makes it distillation or training; distances, weights and schedules of levels are choices of
//! their own: consistency distillation and training (Song et al. 2023), its improvement (Song and Dhariwal 2023) and its
//! form in continuous levels (Geng et al. 2024) are presets of one method.

mod descent;
mod loss;
mod method;
mod pairs;

pub use descent::{Coefficients, Descent};
pub use loss::{Agreement, PairWeight, losses};
pub use method::{Consistency, Start, Target};
pub use pairs::{Grid, IntervalLaw, Levels, Pair, Pairs, Shrinking};

//! Consistency models: a network whose expected data are the same all along a path of the probability flow.
//!
//! Read at its parameterization, a network gives data `f(x, t)`; where there is no noise it gives the state itself. Trained
//! to agree at two neighbouring levels of one path, it learns where the path ends, and samples in a step or two. How the
//! lower state is found makes it distillation or training; distances, weights and schedules of levels are choices of
//! their own (Song et al. 2023; Song and Dhariwal 2023; Geng et al. 2024).

mod descent;
mod loss;
mod pairs;

pub use descent::{Coefficients, Descent};
pub use loss::{Agreement, PairWeight, losses};
pub use pairs::{Grid, IntervalLaw, Levels, Pair, Pairs, Shrinking};

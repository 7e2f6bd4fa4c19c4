//! Diffusion and flow processes in f64: paths, predictions, weights, time laws, schedules and random streams.
//!
//! One algebra holds for every process: `x_t = alpha(t) x0 + sigma(t) eps` with t = 0 at data and t = 1 at noise, and
//! `lambda = ln(alpha / sigma)`, the half log signal-to-noise ratio.
//!
//! * A [`Path`] gives alpha, sigma and their derivatives at any time: a [`PathPoint`].
//! * A [`Prediction`] says what a network's output stands for; a 2x2 linear map reads clean data and noise from it.
//! * A [`Parameterization`] is all that is needed to feed a network and to read it.
//! * A [`TrigFlow`] shows a network of any parameterization as one on the circle, and gives derivatives along it.
//! * A [`Weight`] and a [`TimeLaw`] say which times a loss dwells on.
//! * [`schedule`] holds the tables and grids of discrete chains, [`mixture`] a density whose denoiser is exact, and
//!   [`random`] draws that are functions of seed, stream and image.
//!
//! DDPM, score SDEs, EDM and flow matching are choices of these, and nothing here names a tensor.

pub mod mixture;
pub mod normal;
mod parameterization;
pub mod path;
mod point;
mod prediction;
pub mod random;
pub mod schedule;
mod threshold;
mod time_law;
mod trigflow;
mod weight;

pub use parameterization::{InputScale, Parameterization, Reading, TimeLabel};
pub use path::Path;
pub use point::PathPoint;
pub use prediction::{Linear, Prediction, Target};
pub use threshold::dynamic_threshold;
pub use time_law::{TimeDistribution, TimeLaw, fractions};
pub use trigflow::{TrigFlow, Wrapped};
pub use weight::Weight;

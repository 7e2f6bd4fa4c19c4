//! Consistency models in continuous time (Lu and Song 2024): two levels infinitely near.
//!
//! In that limit a student is pulled along the change of its own data as a state moves along the probability flow, its
//! *tangent*. What the paper needed to make that stable is here: the circle of TrigFlow, on which a network of any
//! parameterization is seen exactly (with linear flow this is SANA-Sprint's wrapper, Chen et al. 2025), normalized tangents,
//! a learned weight over time, a warm-up. The tangent asks for a derivative of the network along a direction: by a dual
//! pass, by a difference, or in the discrete form, which needs none.

mod derivative;
mod method;
mod tangent;
mod weight;

pub use derivative::{LARGEST_FREQUENCY, difference, difference_step, frequency, output, points};
pub use method::{Derivative, Normalization, Scm, Velocity, Weighting};
pub use tangent::Tangent;
pub use weight::TimeWeight;

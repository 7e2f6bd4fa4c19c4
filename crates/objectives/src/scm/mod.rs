//! Consistency models in continuous time (Lu and Song 2024).

mod tangent;

pub use tangent::Tangent;

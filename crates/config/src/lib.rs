//! Layered, typed configuration: TOML layers, overrides, origins, and problems with the key and the nearest known name.
//!
//! [`Layered`] reads files and overrides and remembers where each value was written; [`resolve`] turns them into a
//! typed configuration or says everything that is wrong, each [`Problem`] with its key and [`Origin`].

mod check;
mod key;
mod layers;
mod node;
mod origin;
mod overrides;
mod problem;
mod resolve;
mod schema;
mod show;
#[cfg(test)]
mod tests;

pub use layers::Layered;
pub use origin::{ConfigError, Located, Origin, Source};
pub use problem::{Problem, Problems, nearest};
pub use resolve::{Resolver, resolve, resolve_part, schema};

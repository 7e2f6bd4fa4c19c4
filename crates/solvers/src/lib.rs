//! Samplers as data: solvers compile a grid to a plan of network evaluations and linear combinations.
//!
//! * A [`Grid`] spreads points along a path, from noise to data.
//! * A [`Solver`] writes its steps between them into a [`Builder`], as [`Operation`]s over numbered registers.
//! * The [`Plan`] that results can be printed, checked, stored and hashed, and carried out by any executor;
//!   [`host::execute`] is the reference, in f64.
//!
//! A [`Sampler`] is the configuration of all of it. A new solver is one file with its settings and its steps, and one line
//! in each match of [`Solver`].
//!
//! ```
//! use sinter_process::Path;
//! use sinter_solvers::{DpmMultistep, End, Grid, Sampler, Solver, UniformTime};
//!
//! let sampler = Sampler {
//!     solver: Solver::DpmMultistep(DpmMultistep::default()),
//!     grid: Grid::UniformTime(UniformTime::default()),
//!     steps: 10,
//!     end: End::Data,
//!     clipping: None,
//!     start_deviation: 0.0,
//! };
//! let plan = sampler.plan(&Path::LinearFlow)?;
//! assert_eq!(plan.evaluations(), 10);
//! println!("{plan}");
//! # Ok::<(), sinter_config::Problems>(())
//! ```

mod beta;
mod builder;
mod churn;
mod clipping;
mod clock;
mod consistency;
mod ddim;
mod ddpm;
mod display;
mod dpm_multistep;
mod euler;
mod exponential;
mod grid;
mod heun;
pub mod host;
mod kernel;
mod level;
mod plan;
pub mod rollout;
mod sampler;
mod solver;
mod stochastic;

pub use builder::{Builder, STATE};
pub use churn::Churn;
pub use clipping::{Clamp, Clipping, Threshold};
pub use clock::{Clock, exploding};
pub use consistency::{AddedNoise, Consistency};
pub use ddim::Ddim;
pub use ddpm::{Ddpm, Variance};
pub use dpm_multistep::{DpmMultistep, Rule};
pub use euler::Euler;
pub use grid::{
    Beta, End, Explicit, FlowScheduler, Grid, Indices, Karras, ShiftedTime, UniformLambda, UniformTime, Variable,
};
pub use heun::Heun;
pub use kernel::{
    AncestralKernel, ConstantKernel, Density, Divergence, FlowKernel, Kernel, PreservingKernel, Transition,
};
pub use level::Level;
pub use plan::{Operation, Plan, Quantity, Register};
pub use rollout::Rollout;
pub use sampler::Sampler;
pub use solver::{Solver, compile};
pub use stochastic::Stochastic;

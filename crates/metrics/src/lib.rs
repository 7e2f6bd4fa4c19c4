//! Metrics in f64: how far generated samples are from data, and how sure the number is.
//!
//! Nothing here knows images or networks: features, points, logits and counts come in, numbers go out.
//!
//! | question | answer |
//! |---|---|
//! | distance of two feature distributions | [`Moments`] → [`Gaussian`] → [`frechet`()]; [`KernelDistance`] |
//! | the same without the bias of few samples | [`Extrapolation`] |
//! | distance of two point sets | [`sliced_wasserstein`], [`exact_wasserstein`], [`wasserstein_1d`] |
//! | fidelity and diversity apart | [`manifold_scores`], [`mode_coverage`], [`inception_score`] |
//! | what a representation knows | [`LinearProbe`], [`NearestNeighbors`] |
//! | how often a sample is what was asked for | [`Confusion`], [`Checks`], [`Proportion`] with Wilson's interval |
//! | how sure is any of it | [`Bootstrap`], [`Summary`] of several seeds |
//!
//! Features of any kind will do: `frechet` of spatial ones is what the literature calls sFID.
//!
//! Every result is a function of its input alone: sums are taken in an order that does not depend on the number of
//! threads or on the size of the batches in which samples arrive.

mod accuracy;
mod assignment;
mod band;
mod bootstrap;
mod draws;
mod error;
mod extrapolation;
mod frechet;
mod full_rank;
mod gaussian;
mod inception_score;
mod kernel;
mod manifold;
mod minimize;
mod modes;
mod moments;
mod nearest;
mod normal;
mod points;
mod probe;
mod products;
mod proportion;
mod scatter;
mod student;
mod summary;
mod wasserstein;

pub use accuracy::{Checks, Confusion};
pub use assignment::{assignment, exact_wasserstein};
pub use bootstrap::{Bootstrap, Replicates};
pub use error::MetricError;
pub use extrapolation::{Extrapolated, Extrapolation};
pub use frechet::{Frechet, frechet};
pub use gaussian::Gaussian;
pub use inception_score::{InceptionScore, inception_score, inception_score_replicates};
pub use kernel::{Estimator, Kernel, KernelDistance, SubsetDistance, SubsetPair, draw_subsets};
pub use manifold::{ManifoldScores, manifold_scores};
pub use modes::{ModeCoverage, grid_centers, mode_coverage, mode_coverage_of, ring_centers};
pub use moments::Moments;
pub use nearest::{NearestNeighbors, Nearness};
pub use normal::{normal_cumulative, normal_quantile};
pub use points::Points;
pub use probe::{LinearProbe, ProbeFit};
pub use proportion::{Interval, Proportion};
pub use student::student_two_sided;
pub use summary::Summary;
pub use wasserstein::{SlicedWasserstein, random_directions, sliced_wasserstein, wasserstein_1d};

//! Where examples come from: one file a format.

mod bytes;
pub mod cifar;
pub mod folder;
pub mod idx;
pub mod images;
pub(crate) mod listing;
pub mod npz;
mod stored;
mod subset;
mod transformed;

pub use bytes::ByteImages;
pub use stored::open_card;
pub use subset::{Subset, held_out};
pub use transformed::Transformed;

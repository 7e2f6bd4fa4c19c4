//! Reports: what was claimed, what was found, and what both rest on; as HTML, Markdown and CSV.

mod chart;
mod csv;
mod html;
mod markdown;
mod scatter;
mod search;
mod section;

pub use csv::csv;
pub use html::html;
pub use markdown::markdown;
pub use search::trials;
pub use section::{PlainRun, Section};

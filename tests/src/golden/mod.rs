//! Golden data: tensors that reference implementations produced, and the harness that holds our code to them.
//!
//! The folder is `SINTER_GOLDEN`, else `../shared/golden` from the workspace root. A golden test names the kind of file
//! it takes by prefix, turns every such file into [`Case`]s and hands them to [`run`]:
//!
//! * a case that compares is passed or failed, and its largest error is recorded;
//! * a case of a feature that is still to come is *pending*: ignored by the harness and counted apart;
//! * a missing folder is one *ignored* case, never a passed one.

mod closed_form;
mod file;
mod harness;
mod key;

pub use closed_form::mixture;
pub use file::{Error, File, folder};
pub use harness::{Case, Errors, Report, Tolerance, run};
pub use key::{fields, number};

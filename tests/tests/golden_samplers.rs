//! Every run of the files `samplers*`: plans carried out on the host in f64, against what published samplers did.

use std::process::ExitCode;

use sinter_tests::{golden, samplers};

fn main() -> ExitCode {
    golden::run("golden_samplers", &["samplers"], |file| {
        samplers::cases(file, |run, errors| {
            run.compare_values(errors)?;
            run.compare(&run.on_host()?, samplers::F64, errors)
        })
    })
}

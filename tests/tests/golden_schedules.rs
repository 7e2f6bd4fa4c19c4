//! Every schedule, spacing and closed form of the files `schedules*` and `gmm_*`.

use std::process::ExitCode;

use sinter_tests::golden;

fn main() -> ExitCode {
    golden::run("golden_schedules", &["schedules", "gmm_"], |file| {
        file.keys().into_iter().map(|key| golden::Case::pending(key, "reader first")).collect()
    })
}

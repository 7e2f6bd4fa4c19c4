//! `sinter devices`.

use std::process::ExitCode;

use sinter_training::DeviceConfig;

use crate::Ending;

pub(crate) fn run() -> Ending {
    for device in DeviceConfig::list() {
        println!("{:<8} {}", device.name, device.description);
    }
    Ok(ExitCode::SUCCESS)
}

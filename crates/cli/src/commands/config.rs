//! `sinter config`.

use std::process::ExitCode;

use sinter_config::schema;
use sinter_data::{DataConfig, Split};
use sinter_training::{Config, conditioner};

use crate::arguments::{Config as Arguments, ConfigCommand};
use crate::commands::settings;
use crate::{Ending, Failure};

pub(crate) fn run(arguments: &Arguments) -> Ending {
    match &arguments.command {
        ConfigCommand::Check(file) => {
            let (config, layered) = settings::read(&file.config, &file.overrides)?;
            // What depends on the data is checked where the data are at hand.
            let data = DataConfig { download: false, ..config.data.clone() };
            match data.open(Split::Train, config.seed) {
                Ok(source) => {
                    let problems = config.validate_for(conditioner(source.as_ref())?.shape());
                    if !problems.is_empty() {
                        return Err(layered.locate(problems).into());
                    }
                    println!("{}: no problems", file.config.display());
                }
                Err(error) => {
                    println!("{}: no problems, as far as can be told without its data", file.config.display());
                    println!("{error}");
                }
            }
        }
        ConfigCommand::Show(file) => {
            let (config, layered) = settings::read(&file.config, &file.overrides)?;
            let table = toml::Table::try_from(&config).map_err(|error| Failure::Other(error.to_string()))?;
            print!("{}", layered.to_toml_with_origins(&table));
        }
        ConfigCommand::Schema => {
            let text = serde_json::to_string_pretty(&schema::<Config>());
            println!("{}", text.map_err(|error| Failure::Other(error.to_string()))?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

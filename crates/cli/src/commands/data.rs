//! `sinter data`.

use std::process::ExitCode;

use sinter_data::{ContactSheet, Split, State, Store, card, cards};

use crate::arguments::{Data, DataCommand};
use crate::commands::settings;
use crate::{Ending, Failure};

/// Images in a row of a contact sheet.
const COLUMNS: usize = 8;

pub(crate) fn run(arguments: &Data) -> Ending {
    let failed = |error: sinter_data::DataError| Failure::Other(error.to_string());
    match &arguments.command {
        DataCommand::List { root } => {
            let store = Store::new(root.as_deref(), false);
            for card in cards().map_err(failed)? {
                let state = match store.state(&card) {
                    State::Present(folder) => folder.display().to_string(),
                    State::Missing { downloadable: true, .. } => "missing; can be downloaded".into(),
                    State::Missing { .. } => "missing".into(),
                };
                println!("{:<16} {state}", card.name);
            }
        }
        DataCommand::Prepare { name, root } => {
            let store = Store::new(root.as_deref(), true);
            let card = card(name).map_err(|error| Failure::Setting(error.to_string()))?;
            let bar = indicatif::ProgressBar::no_length();
            let folder = store.prepare(&card, &mut |progress| {
                bar.set_length(progress.total);
                bar.set_position(progress.bytes);
            });
            bar.finish_and_clear();
            println!("{}", folder.map_err(failed)?.display());
        }
        DataCommand::Show { file, n, out } => {
            let (config, _) = settings::read(&file.config, &file.overrides)?;
            let source = config.data.open(Split::Train, config.seed).map_err(failed)?;
            let sheet = ContactSheet::new(source.as_ref(), *n, COLUMNS).map_err(failed)?;
            sheet.save(out).map_err(failed)?;
            for labels in sheet.labels.chunks(sheet.columns) {
                println!("{}", labels.join(" | "));
            }
            println!("{}", out.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

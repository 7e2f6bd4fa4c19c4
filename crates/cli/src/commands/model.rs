//! `sinter model`.

use std::process::ExitCode;

use serde::Deserialize;
use sinter_config::{Problems, resolve_part};
use sinter_data::DataConfig;
use sinter_models::summary::Row;
use sinter_models::{DataShape, ModelConfig, Summary};
use sinter_sampling::Conditioner;
use sinter_training::{Config, DeviceConfig};

use crate::arguments::{Model, ModelCommand, ModelSummary};
use crate::commands::settings;
use crate::{Ending, Failure};

/// The sections that describe a network; files of a model alone have no others.
#[derive(Deserialize)]
struct Sections {
    model: ModelConfig,
    data: Option<DataConfig>,
    #[serde(default)]
    device: DeviceConfig,
}

pub(crate) fn run(arguments: &Model) -> Ending {
    match &arguments.command {
        ModelCommand::Summary(arguments) => summary(arguments),
    }
}

fn summary(arguments: &ModelSummary) -> Ending {
    let layered = settings::layered(&arguments.config, &arguments.overrides)?;
    let mut sections: Sections = resolve_part::<Config, _>(&layered)?;
    sections.device.resolve_threads();
    sections.device.set_threads();
    let shape = shape(arguments, sections.data.as_ref())?;
    let summary = Summary::new(&sections.model, &shape, &sections.device.open()?).map_err(|problems| {
        let mut nested = Problems::new();
        nested.nest("model", problems);
        layered.locate(nested)
    })?;
    print(&summary, arguments.batch);
    Ok(ExitCode::SUCCESS)
}

/// What the network is told about its data: by flags, or else by the configuration.
fn shape(arguments: &ModelSummary, data: Option<&DataConfig>) -> Result<DataShape, Failure> {
    if let Some([channels, height, width]) = arguments.shape {
        return Ok(DataShape::images(channels, height, width).with_classes(arguments.classes.unwrap_or(0)));
    }
    let Some(data) = data else {
        let message = format!("{} has no section `data`: give --shape C,H,W", arguments.config.display());
        return Err(Failure::Setting(message));
    };
    let outline = data.outline().map_err(|error| Failure::Other(error.to_string()))?;
    let conditioner = Conditioner::new(outline.shape, outline.classes, &outline.vocabulary, outline.longest_caption)
        .map_err(|error| Failure::Other(error.to_string()))?;
    Ok(*conditioner.shape())
}

/// Prints a table by layer, then the totals.
fn print(summary: &Summary, batch: usize) {
    let header = ["layer", "kind", "output", "parameters", "MMACs", "activations (MiB)"].map(str::to_owned);
    let lines: Vec<[String; 6]> =
        std::iter::once(header).chain(summary.rows.iter().map(|row| cells(row, batch))).collect();
    let width = |column: usize| lines.iter().map(|cells| cells[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    for [layer, kind, output, parameters, macs, activations] in &lines {
        let [a, b, c, d, e, f] = widths;
        println!("{layer:<a$}  {kind:<b$}  {output:<c$}  {parameters:>d$}  {macs:>e$}  {activations:>f$}");
    }

    let with_fixed = |parameters: usize| match summary.fixed {
        0 => String::new(),
        fixed => format!(" ({} with fixed positions)", grouped(parameters + fixed)),
    };
    let (stored, active) = (summary.parameters(), summary.active());
    println!("\n{} trained parameters{}", grouped(stored), with_fixed(stored));
    if active < stored {
        println!("{} of them active on an image{}", grouped(active), with_fixed(active));
    }
    println!("{:.3} GMACs an image ({})", summary.macs() as f64 / 1e9, grouped(summary.macs()));
    println!("{} MiB of activations for the backward pass at batch {batch}", mebi(summary.activations(batch)));
}

fn cells(row: &Row, batch: usize) -> [String; 6] {
    let sizes: Vec<String> = row.output.iter().map(usize::to_string).collect();
    [
        if row.path.is_empty() { "(network)".to_owned() } else { row.path.clone() },
        row.kind.map_or("not used", |kind| kind.name()).to_owned(),
        sizes.join(" x "),
        grouped(row.parameters),
        format!("{:.3}", row.macs as f64 / 1e6),
        mebi(batch * row.activations),
    ]
}

fn mebi(bytes: usize) -> String {
    format!("{:.2}", bytes as f64 / f64::from(1 << 20))
}

/// 32865056 as `32,865,056`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

//! A report of runs that nobody trained, to look at its pages, and the time that large ones take:
//!
//!     cargo run --release -p sinter-experiments --example specimen -- FOLDER [CONFIGURATIONS]
//!
//! Expands a sweep of two axes and three seeds (24 configurations of each seed, or as many as asked for), writes made-up
//! results, reads them, judges the claims, and writes `report.html`, `report.md` and `report.csv` into the folder.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an example")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sinter_config::{ConfigError, Layered};
use sinter_experiments::{Cell, CellLock, Gathered, Index, Store, Sweep, expand, report};

const NETWORKS: [&str; 4] = ["dit", "dtr", "switch-dit", "unet with a rather long name"];

fn sweep(levels: usize) -> String {
    let networks: Vec<String> =
        NETWORKS.iter().map(|name| format!("{{ name = {name:?}, with = {{ model.type = {name:?} }} }}")).collect();
    let rates: Vec<String> = (1..=levels).map(|rate| format!("{:.4}", 1e-4 * rate as f64)).collect();
    format!(
        r#"
name = "specimen"
title = "Specimen: networks and learning rates"
question = "What does a report look like? All numbers in it are made up."
paper = {{ title = "A paper that nobody wrote", authors = "Nobody 2024", reference = "arXiv 0000.00000" }}
seeds = [1, 2, 3]
base = {{ train = {{ images = 16000, batch = 64 }} }}
axes = [
    {{ type = "list", name = "network", levels = [{}] }},
    {{ type = "grid", name = "learning rate", key = "optimizer.learning_rate", values = [{}] }},
]
metrics = [
    {{ name = "fd", title = "Frechet distance", from = {{ type = "record", metric = "FD[" }}, better = "less" }},
    {{ name = "right", title = "asked shape and colour", from = {{ type = "record", metric = "detector" }}, better = "greater" }},
    {{ name = "validation", title = "validation loss", from = {{ type = "scalar", name = "validation/loss" }}, better = "less" }},
]
[tiers.smoke]
cost = {{ minutes = 0.1, on = "two CPU cores" }}
[tiers.cpu]
cost = {{ minutes = 3, on = "two CPU cores" }}
[[claims]]
name = "order"
statement = "Networks that route by time reach a smaller distance than the plain one at equal images."
table = "Table 2"
measured = "FID-50k, ImageNet 256 x 256, 400k updates"
numbers = [
    {{ of = "DiT-S", cell = {{ network = "dit" }}, value = 44.28 }},
    {{ of = "DTR-S", cell = {{ network = "dtr" }}, value = 37.43 }},
    {{ of = "Switch-DiT-S", cell = {{ network = "switch-dit" }}, value = 33.99 }},
]
expect = {{ type = "monotone", metric = "fd", axis = "network", direction = "falls", levels = ["dit", "dtr", "switch-dit"] }}
seeds = 3
[[claims]]
name = "rate"
statement = "The learning rate matters little."
table = "section 4.1"
expect = {{ type = "ratio", metric = "fd", cell = {{ "learning rate" = "0.0001" }}, to = {{ "learning rate" = "0.0002" }}, at_least = 0.9, at_most = 1.1 }}
seeds = 3
[[claims]]
name = "reversed"
statement = "The plain network follows conditions best."
table = "Figure 3"
expect = {{ type = "best_of", metric = "right", axis = "network", level = "dit", at = {{ "learning rate" = "0.0001" }} }}
seeds = 3
"#,
        networks.join(", "),
        rates.join(", ")
    )
}

/// An even number in [0, 1) for every cell and purpose.
fn even(cell: &Cell, purpose: u64) -> f64 {
    let bytes = cell.hash.bytes().chain(purpose.to_le_bytes());
    let mixed =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 53) as f64
}

fn pretend(cell: &Cell, store: &Store, picture: &[u8]) {
    let folder = store.cell(&cell.hash);
    let network =
        NETWORKS.iter().position(|name| Some(*name) == cell.levels.get("network").map(String::as_str)).unwrap();
    let lock = CellLock::take(&folder).unwrap().unwrap();
    let good = 40.0 - 6.0 * network as f64 + 2.0 * even(cell, 1);
    let mut lines = String::new();
    for tenth in 1..=50u64 {
        let (images, decay) = (tenth * 320, (-(tenth as f64) / 12.0).exp());
        let loss = 0.3 + 1.5 * decay + 0.03 * even(cell, tenth) - 0.02 * network as f64;
        let _ = writeln!(
            lines,
            "{{\"images\":{images},\"step\":{tenth},\"loss\":{loss},\"time/minutes\":{}}}",
            tenth as f64 / 20.0
        );
        if tenth % 5 == 0 {
            let (fd, right) =
                (good * (1.0 + 8.0 * decay), 0.2 + 0.1 * network as f64 + 0.05 * even(cell, 2) - 0.2 * decay);
            let _ = writeln!(
                lines,
                "{{\"images\":{images},\"step\":{tenth},\"validation/loss\":{loss},\"evaluation/FD[classifier:shapes]-400\":{fd},\
                 \"evaluation/detector-400\":{right}}}"
            );
            let record = |metric: &str, value: f64| {
                let how = "{\"measurement\": {\"settings\": {}, \"reference\": \"shapes test\"}}";
                let text =
                    format!("{{\"metric\": \"{metric}\", \"value\": {value}, \"n\": 400, \"protocol\": {how}}}\n");
                let name = metric.replace([':', '[', ']'], "_");
                fs::create_dir_all(folder.join("eval")).unwrap();
                fs::write(folder.join(format!("eval/{images}-{name}.json")), text).unwrap();
            };
            record("FD[classifier:shapes]-400", fd);
            record("detector-400", right);
        }
    }
    fs::write(folder.join("metrics.jsonl"), lines).unwrap();
    let provenance =
        r#"{"version": "0.1.0", "burn": "0.22.1", "platform": "linux x86_64", "device": "flex", "threads": 2}"#;
    fs::write(folder.join("provenance.json"), provenance).unwrap();
    fs::create_dir_all(folder.join("samples")).unwrap();
    fs::write(folder.join("samples/16000.png"), picture).unwrap();
    // One that fails, among many.
    if network == 3 && cell.seed == 3 && cell.levels["learning rate"] == "0.0001" {
        let step = "step 131 (image 8384): `loss` is not finite; the last good checkpoint is at image 8000";
        fs::write(folder.join("log.txt"), format!("training specimen\n{step}\n")).unwrap();
        lock.failed(step).unwrap();
    } else {
        lock.done().unwrap();
    }
}

/// A picture of 64 x 32 pixels in four greys, as PNG without compression.
fn picture() -> Vec<u8> {
    let (width, height) = (64u32, 32u32);
    let mut rows = Vec::new();
    for y in 0..height {
        rows.push(0);
        rows.extend((0..width).map(|x| (((x / 8 + y / 8) % 4) * 80) as u8));
    }
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
        })
    };
    let (a, b) = rows
        .iter()
        .fold((1u32, 0u32), |(a, b), byte| ((a + u32::from(*byte)) % 65521, (a + u32::from(*byte) + b) % 65521));
    let length = rows.len() as u16;
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(&rows);
    stream.extend(((b << 16) | a).to_be_bytes());
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        png.extend((data.len() as u32).to_be_bytes());
        let tagged = [kind, data].concat();
        png.extend(&tagged);
        png.extend(crc(&tagged).to_be_bytes());
    };
    chunk(b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat());
    chunk(b"IDAT", &stream);
    chunk(b"IEND", &[]);
    png
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let configurations: usize = arguments.next().map_or(24, |count| count.parse().expect("a number"));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("specimen.toml");
    fs::write(&file, sweep(configurations.div_ceil(NETWORKS.len()))).unwrap();
    let store = Store::new(folder.join("runs"));
    let typed = |layered: Layered| -> Result<String, ConfigError> { Ok(toml::to_string(&layered.value()).unwrap()) };

    let began = Instant::now();
    let sweep = Sweep::load(&file).unwrap();
    let expansion = expand(&sweep, &file, "cpu", &store, &typed).unwrap();
    let resolved = began.elapsed();
    let path = expansion.write(&store).unwrap();
    println!(
        "{} cells: resolved in {:.2?}, written after {:.2?}",
        expansion.index.cells.len(),
        resolved,
        began.elapsed()
    );

    let picture = picture();
    for cell in &expansion.index.cells {
        if !store.cell(&cell.hash).join("done.json").exists() {
            pretend(cell, &store, &picture);
        }
    }
    let began = Instant::now();
    let sections = sections(&path);
    let html = report::html("Specimen", &sections);
    fs::write(folder.join("report.html"), &html).unwrap();
    fs::write(folder.join("report.md"), report::markdown("Specimen", &sections)).unwrap();
    fs::write(folder.join("report.csv"), report::csv(&sections)).unwrap();
    println!("report of {} kB in {:.2?}: {}", html.len() / 1000, began.elapsed(), folder.join("report.html").display());
}

fn sections(path: &Path) -> Vec<report::Section> {
    let (index, store) = Index::read(path).unwrap();
    let gathered = Gathered::read(&index, &store).unwrap();
    vec![report::Section::of_sweep(&index, &gathered)]
}

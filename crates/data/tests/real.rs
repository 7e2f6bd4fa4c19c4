//! Every card whose files are here, opened and compared with what its authors publish.
//!
//! The files are looked for where `SINTER_DATA` says, else in `../shared/datasets` beside the workspace. A data set
//! that is not there counts as ignored. Nothing is downloaded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::PathBuf;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use sinter_data::{Card, DataConfig, DataError, Loader, Manifest, Source, Split, State, Store, card, cards};

fn main() {
    let arguments = Arguments::from_args();
    let root = std::env::var_os("SINTER_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/datasets")), PathBuf::from);
    // Checksums are remembered within one run only, so that each run verifies the files.
    let cache = std::env::temp_dir().join(format!("sinter-data-real-{}", std::process::id()));
    let store = Store::at(vec![root], Some(cache.clone()), false);

    let mut trials = Vec::new();
    let mut add = |name: &str, test: fn(&Store, &Card) -> Result<(), Failed>, of: &str| {
        let (store, card) = (store.clone(), card(of));
        let here = card.as_ref().is_ok_and(|card| matches!(store.state(card), State::Present(_)));
        let trial = Trial::test(format!("{of}: {name}"), move || test(&store, &card?));
        trials.push(trial.with_ignored_flag(!here));
    };
    for card in cards().unwrap_or_default() {
        add("has the counts, shape and classes of its card", counts, &card.name);
    }
    add("has the published mean and deviation", mnist_moments, "mnist");
    add("has the published mean and deviation", fashion_moments, "fashion-mnist");
    add("has 6,000 and 1,000 of each class, and starts with a boot", fashion_classes, "fashion-mnist");
    add("stands upright", emnist_upright, "emnist-letters");
    add("reaches both ends of the range", digits_range, "digits8x8");
    add("starts as the official order does, 2,000 of each class", cifar_order, "cifar10-20k");
    add("is split within each class", emoji_split, "emoji64");
    add("is read by a configuration with transforms, by threads", through_the_loader, "fashion-mnist");
    let conclusion = libtest_mimic::run(&arguments, trials);
    let _ = std::fs::remove_dir_all(cache);
    conclusion.exit();
}

fn open(store: &Store, card: &Card, split: Split) -> Result<Arc<dyn Source>, DataError> {
    sinter_data::sources::open_card(card, split, store, &mut |_| {})
}

/// All classes of a source, in its order.
fn classes(source: &dyn Source) -> Result<Vec<u32>, Failed> {
    (0..source.len()).map(|index| source.example(index)?.class.ok_or("no class".into())).collect()
}

/// How often each class comes.
fn histogram(source: &dyn Source) -> Result<Vec<u64>, Failed> {
    let mut counts = vec![0; source.class_names().len()];
    classes(source)?.into_iter().for_each(|class| counts[class as usize] += 1);
    Ok(counts)
}

/// Mean and standard deviation of all pixels in 0..1, by channel.
fn moments(source: &dyn Source) -> Result<Vec<(f64, f64)>, Failed> {
    let [channels, height, width] = source.shape();
    let mut sums = vec![(0.0, 0.0); channels];
    for index in 0..source.len() {
        let pixels = source.example(index)?.pixels;
        for (sums, plane) in sums.iter_mut().zip(pixels.chunks_exact(height * width)) {
            for value in plane.iter().map(|&value| (f64::from(value) + 1.0) / 2.0) {
                *sums = (sums.0 + value, sums.1 + value * value);
            }
        }
    }
    let count = source.len() as f64 * (height * width) as f64;
    Ok(sums.into_iter().map(|(sum, square)| (sum / count, (square / count - (sum / count).powi(2)).sqrt())).collect())
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("found {found:?}, expected {expected:?}").into()) }
}

fn expect_moments(source: &dyn Source, expected: &[(f64, f64)]) -> Result<(), Failed> {
    for (found, expected) in moments(source)?.iter().zip(expected) {
        // As many digits as are published.
        if (found.0 - expected.0).abs() > 5e-5 || (found.1 - expected.1).abs() > 5e-5 {
            return Err(format!("found mean and deviation {found:?}, expected {expected:?}").into());
        }
    }
    Ok(())
}

fn counts(store: &Store, card: &Card) -> Result<(), Failed> {
    let mut total = 0;
    for split in [Split::Train, Split::Test] {
        if card.part(split).is_err() {
            continue;
        }
        let source = open(store, card, split)?;
        let manifest = Manifest::of(&*source, split);
        expect(manifest.shape, card.shape)?;
        expect(manifest.name, card.name.clone())?;
        expect(source.class_names(), card.classes.as_slice())?;
        for index in [0, source.len() - 1] {
            let example = source.example(index)?;
            expect(example.pixels.len(), card.shape.iter().product())?;
            expect(example.pixels.iter().all(|value| (-1.0..=1.0).contains(value)), true)?;
        }
        expect(source.example(source.len()).is_err(), true)?;
        expect(histogram(&*source)?.iter().all(|&count| count > 0), true)?;
        total += source.len();
    }
    expect(total, card.parts().map(|part| part.count).sum())
}

fn mnist_moments(store: &Store, card: &Card) -> Result<(), Failed> {
    let train = open(store, card, Split::Train)?;
    expect(histogram(&*train)?, vec![5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])?;
    expect_moments(&*train, &[(0.1307, 0.3081)])
}

fn fashion_moments(store: &Store, card: &Card) -> Result<(), Failed> {
    expect_moments(&*open(store, card, Split::Train)?, &[(0.2860, 0.3530)])
}

fn fashion_classes(store: &Store, card: &Card) -> Result<(), Failed> {
    let (train, test) = (open(store, card, Split::Train)?, open(store, card, Split::Test)?);
    expect(histogram(&*train)?, vec![6000; 10])?;
    expect(histogram(&*test)?, vec![1000; 10])?;
    expect(train.example(0)?.class.map(|class| train.class_names()[class as usize].as_str()), Some("ankle boot"))
}

/// The letter I is taller than wide, on average over its 800 images, only if rows are rows.
fn emnist_upright(store: &Store, card: &Card) -> Result<(), Failed> {
    let source = open(store, card, Split::Test)?;
    expect(histogram(&*source)?, vec![800; 26])?;
    let (mut rows, mut columns) = (0.0, 0.0);
    for index in 0..source.len() {
        let example = source.example(index)?;
        if example.class.is_some_and(|class| source.class_names()[class as usize] == "I") {
            let pixel = |y: usize, x: usize| (example.pixels[28 * y + x] + 1.0) / 2.0;
            for y in 0..28 {
                for x in 0..28 {
                    rows += pixel(y, x) * (y as f32 - 13.5).powi(2);
                    columns += pixel(y, x) * (x as f32 - 13.5).powi(2);
                }
            }
        }
    }
    if rows > 2.0 * columns { Ok(()) } else { Err(format!("spread {rows} over rows, {columns} over columns").into()) }
}

fn digits_range(store: &Store, card: &Card) -> Result<(), Failed> {
    let (train, test) = (open(store, card, Split::Train)?, open(store, card, Split::Test)?);
    let mut values: Vec<i32> = Vec::new();
    for index in 0..train.len() {
        // Seventeen levels, so eight times a value is whole.
        values.extend(train.example(index)?.pixels.iter().map(|value| (value * 8.0) as i32));
    }
    values.sort_unstable();
    values.dedup();
    expect(values, (-8..=8).collect())?;
    expect(histogram(&*test)?.iter().all(|&count| (34..=37).contains(&count)), true)
}

fn cifar_order(store: &Store, card: &Card) -> Result<(), Failed> {
    let train = open(store, card, Split::Train)?;
    expect(classes(&*train)?[..10].to_vec(), vec![6, 9, 9, 4, 1, 1, 2, 7, 8, 3])?;
    expect(histogram(&*train)?, vec![2000; 10])?;
    expect(histogram(&*open(store, card, Split::Test)?)?, vec![200; 10])?;
    expect_moments(&*train, &[(0.4928, 0.2475), (0.4828, 0.2442), (0.4471, 0.2620)])
}

fn emoji_split(store: &Store, card: &Card) -> Result<(), Failed> {
    let (train, test) = (open(store, card, Split::Train)?, open(store, card, Split::Test)?);
    let (train, test) = (histogram(&*train)?, histogram(&*test)?);
    expect(train.iter().zip(&test).map(|(train, test)| train + test).collect(), vec![110, 104, 112, 110, 68])?;
    expect(test, vec![11, 10, 11, 11, 6])
}

fn through_the_loader(store: &Store, _: &Card) -> Result<(), Failed> {
    let config = r#"
        source = { type = "card", name = "fashion-mnist" }
        limit = 1000
        transform = [{ type = "pad", pixels = 2 }, { type = "grayscale_to_rgb" }]
        augmentation = { horizontal_flip = true, crop_padding = 2 }
        workers = 2
    "#;
    let config: DataConfig = toml::from_str(config)?;
    let source = config.open_in(store, Split::Train, 0, &mut |_| {})?;
    expect((source.len(), source.shape()), (1000, [3, 32, 32]))?;
    let loader = Loader::new(source, config.loader(), 1);
    let mut images = 0;
    for (number, batch) in loader.stream(0, 64, 2000).enumerate() {
        let batch = batch?;
        expect(&batch, &loader.batch(64 * number as u64, batch.shape[0])?)?;
        images += batch.shape[0];
    }
    expect(images, 2000)
}

use super::*;

fn written(folder: &Path) -> PathBuf {
    let mut writer = EventWriter::create(folder, 0).unwrap();
    for images in [0, 100, 200, 300] {
        writer.scalars(images, &[("loss", images as f64)]).unwrap();
    }
    writer.path
}

/// An event without its first field, the time of day.
fn timeless(data: &[u8]) -> &[u8] {
    &data[9..]
}

/// The steps of the events in a file, after its version.
fn steps(path: &Path) -> Vec<u64> {
    let file = fs::read(path).unwrap();
    let mut records = Records::new(&file);
    let steps: Vec<_> = records.by_ref().map(|data| read_integer(data, event::STEP).unwrap()).collect();
    assert_eq!(records.left(), 0);
    steps[1..].to_vec()
}

#[test]
fn later_events_are_cut() {
    for (images, left) in
        [(300, vec![0, 100, 200, 300]), (250, vec![0, 100, 200]), (200, vec![0, 100, 200]), (0, vec![0])]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        truncate(folder.path(), images).unwrap();
        assert_eq!(steps(&path), left);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_torn_record_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    truncate(folder.path(), 1000).unwrap();
    assert_eq!(steps(&path), [0, 100, 200]);
    truncate(folder.path(), 1000).unwrap();
    assert_eq!(steps(&path), [0, 100, 200]);
}

#[test]
fn a_continued_run_has_the_events_of_a_straight_one() {
    let straight = tempfile::tempdir().unwrap();
    let straight_path = written(straight.path());

    let stopped = tempfile::tempdir().unwrap();
    let first = written(stopped.path());
    truncate(stopped.path(), 100).unwrap();
    let mut writer = EventWriter::create(stopped.path(), 100).unwrap();
    writer.scalars(200, &[("loss", 200.0)]).unwrap();
    writer.scalars(300, &[("loss", 300.0)]).unwrap();
    assert!(first < writer.path, "readers take files in the order of their names");

    let events = |paths: &[&PathBuf]| -> Vec<Vec<u8>> {
        let files: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        files.iter().flat_map(|file| Records::new(file).skip(1).map(|data| timeless(data).to_vec())).collect()
    };
    assert_eq!(events(&[&first, &writer.path]), events(&[&straight_path]));
}

#[test]
fn files_that_end_up_empty_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let first = written(folder.path());
    let mut second = EventWriter::create(folder.path(), 300).unwrap();
    second.scalars(400, &[("loss", 1.0)]).unwrap();
    let third = EventWriter::create(folder.path(), 300).unwrap();
    assert_ne!(second.path, third.path);
    fs::write(folder.path().join("metrics.jsonl"), "kept").unwrap();
    truncate(folder.path(), 350).unwrap();
    assert_eq!(event_files(folder.path()).unwrap(), [first]);
    clear(folder.path()).unwrap();
    assert!(event_files(folder.path()).unwrap().is_empty());
    assert!(folder.path().join("metrics.jsonl").exists());
    truncate(&folder.path().join("none"), 0).unwrap();
}

#[test]
fn a_histogram_counts_each_finite_value_once() {
    let count = |values: &[f32]| {
        // Counts are the last field: 64 or 1 packed doubles.
        let bytes = histogram(values).into_bytes();
        let buckets = if bytes.len() > 1000 { BUCKETS } else { 1 };
        let counts = bytes[bytes.len() - 8 * buckets..].chunks(8);
        counts.map(|count| f64::from_le_bytes(count.try_into().unwrap())).collect::<Vec<_>>()
    };
    let even: Vec<f32> = (0..=640).map(|i| i as f32).collect();
    let counts = count(&even);
    assert_eq!(counts[..63], [10.0; 63]);
    assert_eq!(counts[63], 11.0);
    assert_eq!(count(&[2.0, f32::NAN, 2.0, f32::INFINITY]), [2.0]);
    assert_eq!(count(&[f32::NAN]), [0.0]);
    assert_eq!(count(&[f32::MIN, f32::MAX]).iter().sum::<f64>(), 2.0);
}

#[test]
fn a_configuration_becomes_hyperparameters() {
    let config =
        toml::from_str("seed = 1\n[model]\ntype = 'dit'\nlist = [1, 2]\n[model.inner]\nrate = 0.5\non = true").unwrap();
    let word = |word: &str| Hyperparameter::Word(word.into());
    let expected = [
        ("seed", Hyperparameter::Number(1.0)),
        ("model.type", word("dit")),
        ("model.list", word("[1, 2]")),
        ("model.inner.rate", Hyperparameter::Number(0.5)),
        ("model.inner.on", Hyperparameter::Flag(true)),
    ];
    assert_eq!(hyperparameters(&config), expected.map(|(key, value)| (key.to_owned(), value)));
}

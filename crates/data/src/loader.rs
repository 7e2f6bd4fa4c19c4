//! The loader: from positions on the clock to batches.

use std::sync::Arc;

use sinter_process::random::{Key, Permutation, Stream};

use crate::augmentation::Augmentation;
use crate::stream::BatchStream;
use crate::{Batch, DataError, Source};

/// How a source is read.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Whether each epoch has an order of its own; otherwise examples come in the source's order.
    pub shuffle: bool,
    /// Random changes of every image.
    pub augmentation: Augmentation,
    /// Threads that read ahead; with 0 a batch is read when it is asked for. The batches are the same.
    pub workers: usize,
    /// Batches that each thread has ready ahead of time, at least 1.
    pub prefetch: usize,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self { shuffle: true, augmentation: Augmentation::default(), workers: 1, prefetch: 2 }
    }
}

impl LoaderConfig {
    /// One pass in the source's order, unchanged: for evaluation.
    pub fn in_order() -> Self {
        Self { shuffle: false, ..Self::default() }
    }
}

/// Reads a source by the clock.
///
/// The clock counts training images. Image `n` belongs to epoch `n / len` and stands in it at place `n % len`; the
/// epoch's order is a permutation drawn from (seed, epoch). So a batch is a pure function of (seed, first image,
/// count): there is no position to save beyond the clock, and an epoch's end may fall into the middle of a batch.
///
/// Clones share the source.
#[derive(Clone)]
pub struct Loader {
    source: Arc<dyn Source>,
    config: LoaderConfig,
    order: Key,
    augmentation: Key,
}

impl Loader {
    /// A loader of `source`.
    pub fn new(source: Arc<dyn Source>, config: LoaderConfig, seed: u64) -> Self {
        Self {
            source,
            config,
            order: Key::new(seed, Stream::DATA_ORDER),
            augmentation: Key::new(seed, Stream::AUGMENTATION),
        }
    }

    /// The source that is read.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// How it is read.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// The images `first_image..first_image + count` of the clock.
    ///
    /// # Errors
    /// [`DataError::Unsuitable`] if the source is empty, and whatever its examples give.
    pub fn batch(&self, first_image: u64, count: usize) -> Result<Batch, DataError> {
        let len = self.source.len();
        if len == 0 {
            let reason = format!("`{}` has no examples", self.source.name());
            return Err(DataError::Unsuitable { key: "data.source".to_owned(), reason });
        }
        let shape = self.source.shape();
        let [channels, height, width] = shape;
        let mut pixels = Vec::with_capacity(count * channels * height * width);
        let (mut classes, mut captions) = (Vec::new(), Vec::new());
        let mut order = self.order_of(first_image / len);
        for image in first_image..first_image + count as u64 {
            if image.is_multiple_of(len) {
                order = self.order_of(image / len);
            }
            let place = image % len;
            let example = self.source.example(order.as_ref().map_or(place, |order| order.get(place)))?;
            pixels.extend(self.config.augmentation.apply(example.pixels, shape, &self.augmentation.at(image)));
            classes.extend(example.class);
            captions.extend(example.caption);
        }
        Ok(Batch {
            shape: [count, channels, height, width],
            pixels,
            // Either all examples of a source have one or none has.
            classes: (classes.len() == count).then_some(classes),
            captions: (captions.len() == count).then_some(captions),
            first_image,
        })
    }

    /// The images `first_image..end` of the clock in batches of `batch`, of which the last may be smaller, read ahead by
    /// the configured threads. The threads end when the stream is dropped.
    pub fn stream(&self, first_image: u64, batch: usize, end: u64) -> BatchStream {
        BatchStream::new(self.clone(), first_image, batch, end)
    }

    /// The order of an epoch, if it has one of its own.
    fn order_of(&self, epoch: u64) -> Option<Permutation> {
        self.config.shuffle.then(|| Permutation::new(self.source.len(), self.order.at(epoch).bits(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Example;
    use proptest::prelude::*;

    /// Examples whose pixels and class are their index; the one at `fails` cannot be read.
    struct Counter {
        len: u64,
        fails: Option<u64>,
    }

    impl Source for Counter {
        fn name(&self) -> &str {
            "counter"
        }

        fn len(&self) -> u64 {
            self.len
        }

        fn shape(&self) -> [usize; 3] {
            [1, 1, 2]
        }

        fn class_names(&self) -> &[String] {
            &[]
        }

        fn example(&self, index: u64) -> Result<Example, DataError> {
            assert!(index < self.len);
            match self.fails {
                Some(fails) if fails == index => Err(DataError::corrupt("some/file", "it is damaged")),
                Some(u64::MAX) => panic!("as a test asked for"),
                _ => Ok(Example { pixels: vec![index as f32, -1.0], class: Some(index as u32), caption: None }),
            }
        }

        fn fingerprint(&self) -> String {
            String::new()
        }
    }

    fn loader(len: u64, workers: usize) -> Loader {
        let augmentation = Augmentation { horizontal_flip: true, ..Augmentation::default() };
        let config = LoaderConfig { workers, augmentation, ..LoaderConfig::default() };
        Loader::new(Arc::new(Counter { len, fails: None }), config, 3)
    }

    fn read(loader: &Loader, first_image: u64, batch: usize, end: u64) -> Vec<Batch> {
        loader.stream(first_image, batch, end).collect::<Result<_, _>>().unwrap()
    }

    fn classes(batches: &[Batch]) -> Vec<u32> {
        batches.iter().flat_map(|batch| batch.classes.clone().unwrap()).collect()
    }

    #[test]
    fn threads_do_not_change_what_is_read() {
        let expected = read(&loader(10, 0), 0, 4, 99);
        assert_eq!(expected.len(), 25);
        assert_eq!(expected[24].shape, [3, 1, 1, 2]);
        assert_eq!(expected[24].first_image, 96);
        for workers in [1, 2, 4, 40] {
            assert_eq!(read(&loader(10, workers), 0, 4, 99), expected, "{workers} workers");
        }
    }

    #[test]
    fn starting_later_gives_the_rest() {
        let whole = read(&loader(10, 2), 0, 4, 64);
        assert_eq!(read(&loader(10, 2), 24, 4, 64), whole[6..]);
        let loader = loader(10, 0);
        let one_by_one: Vec<f32> = (0..64).flat_map(|image| loader.batch(image, 1).unwrap().pixels).collect();
        assert_eq!(one_by_one, whole.iter().flat_map(|batch| batch.pixels.clone()).collect::<Vec<_>>());
    }

    #[test]
    fn every_epoch_shows_every_example_once_in_an_order_of_its_own() {
        let seen = classes(&read(&loader(10, 2), 0, 4, 100));
        let epochs: Vec<&[u32]> = seen.chunks(10).collect();
        for epoch in &epochs {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        for (index, epoch) in epochs.iter().enumerate() {
            assert!(!epochs[..index].contains(epoch), "two of ten epochs have one order");
        }
        let config = loader(10, 0).config().clone();
        let other = Loader::new(Arc::new(Counter { len: 10, fails: None }), config, 4);
        assert_ne!(other.batch(0, 10).unwrap().classes.unwrap(), epochs[0]);
    }

    #[test]
    fn in_order_is_the_order_of_the_source() {
        let source = Arc::new(Counter { len: 5, fails: None });
        let loader = Loader::new(source, LoaderConfig::in_order(), 3);
        assert_eq!(classes(&read(&loader, 0, 2, 7)), [0, 1, 2, 3, 4, 0, 1]);
    }

    #[test]
    fn an_image_looks_different_when_it_comes_again() {
        // Of one example, over many epochs, half are mirrored.
        let mirrored = |image| loader(1, 0).batch(image, 1).unwrap().pixels[0] == -1.0;
        let count = (0..1000).filter(|&image| mirrored(image)).count();
        assert!((437..=563).contains(&count), "{count}");
    }

    #[test]
    fn an_error_comes_in_its_place_and_ends_the_stream() {
        for workers in [0, 1, 3] {
            let config = LoaderConfig { workers, ..LoaderConfig::in_order() };
            let loader = Loader::new(Arc::new(Counter { len: 100, fails: Some(9) }), config, 0);
            let mut stream = loader.stream(0, 2, 100);
            for _ in 0..4 {
                stream.next().unwrap().unwrap();
            }
            assert!(stream.next().unwrap().unwrap_err().to_string().contains("some/file"));
            assert!(stream.next().is_none());
        }
    }

    #[test]
    fn a_thread_that_panics_is_an_error() {
        let config = LoaderConfig { workers: 2, ..LoaderConfig::in_order() };
        let loader = Loader::new(Arc::new(Counter { len: 10, fails: Some(u64::MAX) }), config, 0);
        let error = loader.stream(0, 2, 100).next().unwrap().unwrap_err();
        assert!(matches!(error, DataError::Worker { first_image: 0, .. }), "{error}");
    }

    #[test]
    fn dropping_a_stream_ends_its_threads() {
        let source = Arc::new(Counter { len: 10, fails: None });
        let loader = Loader::new(source.clone(), LoaderConfig { workers: 4, ..LoaderConfig::default() }, 0);
        let mut stream = loader.stream(0, 1, u64::MAX);
        assert_eq!(stream.next().unwrap().unwrap().first_image, 0);
        drop(stream);
        drop(loader);
        // Every thread had its own handle on the source.
        assert_eq!(Arc::strong_count(&source), 1);
    }

    #[test]
    fn nothing_to_read_is_an_error_or_the_end() {
        assert!(loader(0, 0).batch(0, 1).unwrap_err().to_string().contains("no examples"));
        assert!(loader(5, 1).stream(0, 0, 10).next().unwrap().unwrap_err().to_string().contains("at least one image"));
        assert!(loader(5, 1).stream(7, 2, 7).next().is_none());
        assert!(loader(5, 1).stream(8, 2, 7).next().is_none());
        assert_eq!(loader(5, 1).batch(3, 0).unwrap().shape, [0, 1, 1, 2]);
    }

    proptest! {
        #[test]
        fn a_batch_is_its_images(first in 0u64..1 << 40, count in 0usize..40, len in 1u64..20) {
            let loader = loader(len, 0);
            let batch = loader.batch(first, count).unwrap();
            prop_assert_eq!(batch.first_image, first);
            for (place, image) in (first..).take(count).enumerate() {
                let one = loader.batch(image, 1).unwrap();
                prop_assert_eq!(&one.pixels[..], &batch.pixels[2 * place..2 * place + 2]);
            }
        }
    }
}

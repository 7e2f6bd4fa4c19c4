//! Speed of the way from image files to features: decoding, resizing and the feature network, each alone, and all of it
//! as an evaluation does it.

use std::fmt;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use image::{Rgb, RgbImage};
use rayon::prelude::*;
use serde::Serialize;
use sinter_data::Source;
use sinter_data::digest::Stamps;
use sinter_data::sources::images::FolderImages;
use sinter_evaluation::inception::{InceptionFeatures, Layer, Resize, SIZE, Weights, quantize};
use sinter_evaluation::{
    ClassifierFeatures, ClassifierTrainer, ClassifierTraining, Evaluator, FeatureNetwork, FeaturesConfig, MetricConfig,
    Networks, ReferenceImages, Samples,
};
use sinter_kernels::map_images;
use sinter_process::random::{Key, Stream};

use super::milliseconds;
use super::train::Speed;
use crate::{DeviceConfig, TrainingError};

/// Images that Inception-v3 is measured on at a time, as in evaluations.
const PORTION: usize = 32;

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// CPU threads.
    pub threads: usize,
    /// Images of one measurement.
    pub images: usize,
    /// How often each stage was measured.
    pub rounds: usize,
    /// The stages, size by size.
    pub stages: Vec<Measured>,
}

/// One stage at one size of images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Pixels of a side of the files' images.
    pub pixels: usize,
    /// Which stage.
    pub stage: Stage,
    /// How fast it is.
    #[serde(flatten)]
    pub speed: Speed,
}

/// A part of the way from files to features, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// PNG files to pixels.
    Decode,
    /// Pixels to 299 x 299 as TensorFlow does.
    ResizeTensorflow,
    /// Pixels to 299 x 299 as PyTorch does.
    ResizePytorch,
    /// FID's Inception-v3 on images of 299 x 299.
    Inception,
    /// Files to mean and covariance of Inception-v3's features.
    InceptionPass,
    /// The classifier of evaluations, on images as they are.
    Classifier,
    /// Files to mean and covariance of the classifier's features.
    ClassifierPass,
}

impl Stage {
    /// In the order of the table.
    const ALL: [Self; 7] = [
        Self::Decode,
        Self::ResizeTensorflow,
        Self::ResizePytorch,
        Self::Inception,
        Self::InceptionPass,
        Self::Classifier,
        Self::ClassifierPass,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Decode => "decode PNG files",
            Self::ResizeTensorflow => "resize to 299 x 299, tensorflow",
            Self::ResizePytorch => "resize to 299 x 299, pytorch",
            Self::Inception => "Inception-v3 alone",
            Self::InceptionPass => "files to statistics, Inception-v3",
            Self::Classifier => "classifier alone",
            Self::ClassifierPass => "files to statistics, classifier",
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pixels, stage, speed } = self;
        let side = format!("{pixels} x {pixels}");
        write!(
            formatter,
            "{side:<12} {:<36} {:>10.1} images/s  {:>10.1} ms ({:.1} to {:.1})",
            stage.label(),
            speed.images_per_second,
            speed.timing.median_ms,
            speed.timing.fastest_ms,
            speed.timing.slowest_ms
        )
    }
}

/// Measures every stage on `images` colour images of each of `sizes`, `rounds` times after a round that is not counted;
/// the stages take turns within a round. Both networks have random weights, which changes nothing for speed. `say` is told
/// the table's lines as they come.
///
/// # Errors
/// When there are no images, rounds or pixels, when the files cannot be written, and when the device fails.
pub fn measure(
    sizes: &[usize],
    images: usize,
    rounds: usize,
    device: &DeviceConfig,
    mut say: impl FnMut(&dyn fmt::Display),
) -> Result<Report, TrainingError> {
    if images < 2 || rounds == 0 || sizes.contains(&0) {
        return Err(TrainingError::Config("give at least 2 images, 1 round and 1 pixel".into()));
    }
    let threads = rayon::current_num_threads();
    let device = device.open()?;
    let refused = |error: sinter_evaluation::inception::InceptionError| TrainingError::Config(error.to_string());
    let inception =
        InceptionFeatures::new(Weights::random(0).map_err(refused)?, String::new(), Resize::default(), &device);
    let mut stages = Vec::new();
    for &pixels in sizes {
        let bench = Bench::new(pixels, images, inception.clone(), &device)?;
        for measured in bench.measure(rounds)? {
            say(&measured);
            stages.push(measured);
        }
    }
    Ok(Report { threads, images, rounds, stages })
}

/// Everything that the stages need at one size.
struct Bench {
    pixels: usize,
    source: Arc<dyn Source>,
    /// The images, `[n, 3, pixels, pixels]`.
    samples: Samples,
    bytes: Vec<u8>,
    /// As many as evaluations take at a time, `[PORTION, 3, 299, 299]`.
    resized: Tensor<4>,
    inception: InceptionFeatures,
    classifier: ClassifierFeatures,
    device: Device,
    /// Lives as long as its files are read.
    _pictures: Pictures,
}

impl Bench {
    fn new(pixels: usize, images: usize, inception: InceptionFeatures, device: &Device) -> Result<Self, TrainingError> {
        let pictures = Pictures::draw(pixels, images)?;
        let source = FolderImages::open(&pictures.0, false, &Stamps::default())?;
        let samples = Samples::read(source.as_ref(), 0..images as u64)?;
        let bytes = quantize(&samples.pixels);
        let resized = Tensor::from_data(TensorData::zeros::<f32, _>([PORTION, 3, SIZE, SIZE]), device);
        let classifier = ClassifierFeatures::random(samples.image(), 0, device).map_err(TrainingError::Problems)?;
        let device = device.clone();
        Ok(Self { pixels, source, samples, bytes, resized, inception, classifier, device, _pictures: pictures })
    }

    fn measure(&self, rounds: usize) -> Result<Vec<Measured>, TrainingError> {
        let mut times = [const { Vec::new() }; Stage::ALL.len()];
        for round in 0..=rounds {
            for (stage, times) in Stage::ALL.into_iter().zip(&mut times) {
                let began = Instant::now();
                self.run(stage)?;
                if round > 0 {
                    times.push(milliseconds(began));
                }
            }
        }
        let images = self.samples.shape[0];
        let measured = Stage::ALL.into_iter().zip(&times).filter_map(|(stage, times)| {
            Speed::of(times, images).map(|speed| Measured { pixels: self.pixels, stage, speed })
        });
        Ok(measured.collect())
    }

    fn run(&self, stage: Stage) -> Result<(), TrainingError> {
        match stage {
            Stage::Decode => drop(black_box(Samples::read(self.source.as_ref(), 0..self.source.len())?)),
            Stage::ResizeTensorflow => self.resize(Resize::Tensorflow)?,
            Stage::ResizePytorch => self.resize(Resize::Pytorch)?,
            Stage::Inception => self.inception(),
            Stage::InceptionPass => self.pass(&self.inception)?,
            Stage::Classifier => drop(black_box(self.classifier.features(&self.samples.pixels, self.samples.shape))),
            Stage::ClassifierPass => self.pass(&self.classifier)?,
        }
        Ok(())
    }

    fn resize(&self, resize: Resize) -> Result<(), TrainingError> {
        let [_, c, h, w] = self.samples.shape;
        for portion in self.bytes.chunks(PORTION * c * h * w) {
            let resized = resize.images(portion, [portion.len() / (c * h * w), c, h, w], |value| value as f32);
            black_box(resized.map_err(|error| TrainingError::Config(error.to_string()))?);
        }
        Ok(())
    }

    fn inception(&self) {
        let layers = [Layer::Pool3, Layer::Spatial, Layer::LogitsUnbiased];
        let images = self.samples.shape[0];
        for first in (0..images).step_by(PORTION) {
            let count = PORTION.min(images - first);
            let read = map_images(&self.device, count, |range| {
                let x = self.resized.clone().narrow(0, range.start, range.len());
                let read = self.inception.network().forward(x, &layers);
                read.into_iter().map(Tensor::into_data).collect::<Vec<_>>()
            });
            black_box(read);
        }
    }

    /// The statistics of a reference, which is where an evaluation takes images of a set through a network.
    fn pass<N: FeatureNetwork + Clone + 'static>(&self, network: &N) -> Result<(), TrainingError> {
        let source = Arc::clone(&self.source);
        let reference = ReferenceImages { source, part: String::new(), limit: None, statistics: None, held_out: None };
        let features = FeaturesConfig::default();
        let metric = MetricConfig::Frechet { features, spatial: false, extrapolated: false };
        black_box(Evaluator::new(&[metric], reference, None, &Given(network.clone()))?);
        Ok(())
    }
}

/// A network that is there, whatever is asked for.
struct Given<N>(N);

impl<N: FeatureNetwork + Clone + 'static> Networks for Given<N> {
    type Error = TrainingError;

    fn features(&self, _config: &FeaturesConfig, _image: [usize; 3]) -> Result<Box<dyn FeatureNetwork>, TrainingError> {
        Ok(Box::new(self.0.clone()))
    }

    fn trainer(
        &self,
        _config: &ClassifierTraining,
        _image: [usize; 3],
        _classes: usize,
    ) -> Result<Box<dyn ClassifierTrainer>, TrainingError> {
        Err(TrainingError::Config("nothing is trained in a measurement of features".into()))
    }
}

/// A folder of PNG files, which goes with this value.
struct Pictures(PathBuf);

impl Pictures {
    /// Square images in colour: slopes with some grain, which compress about as photographs do.
    fn draw(side: usize, count: usize) -> Result<Self, TrainingError> {
        let folder = std::env::temp_dir().join(format!("sinter-bench-features-{}-{side}", std::process::id()));
        let pictures = Self(folder.clone());
        std::fs::create_dir_all(&folder).map_err(TrainingError::file(&folder))?;
        let key = Key::new(0, Stream::RENDER);
        (0..count).into_par_iter().try_for_each(|index| {
            let draws = key.at(index as u64);
            let mut grain = vec![0.0f32; 3 * side * side];
            draws.fill_normal(&mut grain);
            let slope: [f64; 6] = std::array::from_fn(|slot| draws.uniform(slot as u32));
            let picture = RgbImage::from_fn(side as u32, side as u32, |column, row| {
                let [x, y] = [column, row].map(|place| f64::from(place) / side as f64);
                let grain = &grain[3 * (row as usize * side + column as usize)..];
                Rgb(std::array::from_fn(|channel| {
                    let level = 127.5 * (slope[2 * channel] * x + slope[2 * channel + 1] * y);
                    (level + 4.0 * f64::from(grain[channel])) as u8
                }))
            });
            let path = folder.join(format!("{index:06}.png"));
            picture.save(&path).map_err(|error| TrainingError::Config(format!("{}: {error}", path.display())))
        })?;
        Ok(pictures)
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        // What cannot be removed now is the system's to clear, as all of the folder that it is in.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

//! What a denoiser's representations know of classes: probes of every block at several times.

use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sinter_data::{Source, Split};
use sinter_evaluation::{Samples, WeightsUsed};
use sinter_metrics::{MetricError, NearestNeighbors, Nearness, Points, ProbeFit, Proportion};
use sinter_models::Condition;
use sinter_process::random::{Key, Stream};
use sinter_sampling::Denoiser;

use crate::logging::heat_map::heat_map;
use crate::{Run, TrainingError, weights_hash, write_atomically};

/// Images taken through the network at a time.
const PORTION: u64 = 128;

/// What is probed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probing {
    /// Times of the process, from 0 (data) to 1 (noise).
    pub times: Vec<f64>,
    /// Training images that the probes learn from, at the most.
    pub train: u64,
    /// Held-out images that they are judged by, at the most.
    pub test: u64,
    /// Neighbours that vote.
    pub neighbours: usize,
    /// Seed of the noise.
    pub seed: u64,
}

impl Default for Probing {
    fn default() -> Self {
        Self { times: vec![0.02, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9], train: 2000, test: 1000, neighbours: 20, seed: 1 }
    }
}

/// One block at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeCell {
    /// Name of the block.
    pub block: String,
    /// Length of its features.
    pub features: usize,
    /// Time.
    pub time: f64,
    /// Share of held-out images that the linear probe gets right.
    pub linear: f64,
    /// Its 95% interval.
    pub linear_interval: [f64; 2],
    /// Whether the probe's fit came to its end.
    pub converged: bool,
    /// Share that the nearest neighbours get right.
    pub neighbours: f64,
    /// Its 95% interval.
    pub neighbours_interval: [f64; 2],
}

/// Every block at every time, with what the numbers depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Version of this program.
    pub version: String,
    /// What was probed.
    pub probing: Probing,
    /// Training images of the network.
    pub images: u64,
    /// Which of its weights.
    pub weights: WeightsUsed,
    /// sha256 of them.
    pub weights_hash: String,
    /// Fingerprint of the images that the probes learn from.
    pub train_hash: String,
    /// Fingerprint of those that they are judged by.
    pub test_hash: String,
    /// Images of both.
    pub counts: [u64; 2],
    /// Classes.
    pub classes: usize,
    /// Block after block, time after time.
    pub cells: Vec<ProbeCell>,
}

/// Probes the denoiser of an open run: linear probes (Alain and Bengio 2016) and nearest neighbours by cosine on the mean
/// over places of what every block gives, for images noised to every time and asked for nothing (as in Mukhopadhyay et
/// al. 2023, "Diffusion models beat GANs on image classification"). `progress` is told how many times are done.
///
/// # Errors
/// When the run does not denoise, its data have no classes, or the split held out cannot be read.
pub fn probe(run: &Run, probing: &Probing, mut progress: impl FnMut(usize)) -> Result<ProbeReport, TrainingError> {
    let refused = |message: &str| TrainingError::Config(format!("probe: {message}"));
    let inference = run.method.inference(None);
    let denoiser = inference.denoiser().ok_or_else(|| refused("the run does not generate images"))?;
    let classes = run.source.class_names().len();
    if classes < 2 {
        return Err(refused("the run's data have no classes"));
    }
    if probing.times.is_empty() || probing.times.iter().any(|time| !(0.0..=1.0).contains(time)) {
        return Err(refused("give times from 0 to 1"));
    }
    let test = run.config.data.open(Split::Test, run.config.seed)?;
    let train = Examples::read(run.source.as_ref(), probing.train)?;
    let held_out = Examples::read(test.as_ref(), probing.test)?;
    let (from, to) = denoiser.parameterization().path.time_range();
    let mut cells = Vec::new();
    for (done, &time) in probing.times.iter().enumerate() {
        let at = time.clamp(from, to);
        let of = |examples: &Examples, set: u32| examples.representations(run, denoiser, at, probing.seed, set);
        let (learned, judged) = (of(&train, 0)?, of(&held_out, 1)?);
        let both: Vec<_> = learned.into_iter().zip(judged).collect();
        let found = both.into_par_iter().map(|(learned, judged)| {
            cell(time, classes, probing.neighbours, (&learned, &train.classes), (&judged, &held_out.classes))
        });
        cells.extend(found.collect::<Result<Vec<_>, MetricError>>().map_err(|error| refused(&error.to_string()))?);
        progress(done + 1);
    }
    // Block after block: the sort is stable, and the first time told the blocks' order.
    let order: Vec<String> = cells.iter().take(cells.len() / probing.times.len()).map(|c| c.block.clone()).collect();
    cells.sort_by_key(|cell| order.iter().position(|block| *block == cell.block));
    Ok(ProbeReport {
        version: env!("CARGO_PKG_VERSION").into(),
        probing: probing.clone(),
        images: run.checkpoint.summary.images,
        weights: run.weights,
        weights_hash: weights_hash(run.method.as_ref(), None)?,
        train_hash: run.source.fingerprint(),
        test_hash: test.fingerprint(),
        counts: [train.classes.len() as u64, held_out.classes.len() as u64],
        classes,
        cells,
    })
}

/// Images with their classes.
struct Examples {
    images: Samples,
    classes: Vec<u32>,
}

/// The features of one block, one row an image.
struct Features {
    block: String,
    dimension: usize,
    values: Vec<f64>,
}

impl Examples {
    fn read(source: &dyn Source, most: u64) -> Result<Self, TrainingError> {
        let images = Samples::read(source, 0..most.min(source.len()))?;
        let classes = images.classes.clone().unwrap_or_default();
        Ok(Self { images, classes })
    }

    /// What every block makes of the images at a time. Noise is a function of the seed, the set and the image.
    fn representations(
        &self,
        run: &Run,
        denoiser: &dyn Denoiser,
        time: f64,
        seed: u64,
        set: u32,
    ) -> Result<Vec<Features>, TrainingError> {
        let [n, c, h, w] = self.images.shape;
        let image = c * h * w;
        let point = denoiser.parameterization().path.at(time);
        let key = Key::new(seed, Stream::EVALUATION.nth(set));
        let mut blocks: Vec<Features> = Vec::new();
        for first in (0..n).step_by(PORTION as usize) {
            let last = (first + PORTION as usize).min(n);
            let mut noised = self.images.pixels[first * image..last * image].to_vec();
            noised.par_chunks_mut(image).enumerate().for_each(|(i, pixels)| {
                let mut noise = vec![0.0; image];
                key.at((first + i) as u64).fill_normal(&mut noise);
                for (pixel, noise) in pixels.iter_mut().zip(noise) {
                    *pixel = (point.alpha * f64::from(*pixel) + point.sigma * f64::from(noise)) as f32;
                }
            });
            let x = Tensor::<4>::from_data(TensorData::new(noised, [last - first, c, h, w]), &run.device);
            let seen = denoiser.representations(x, &point, &Condition::none());
            if seen.is_empty() {
                return Err(TrainingError::Config("probe: the model has no blocks to look into".into()));
            }
            if blocks.is_empty() {
                let empty = |seen: &sinter_models::layers::tap::Representation| Features {
                    block: seen.block.clone(),
                    dimension: seen.features.dims()[1],
                    values: Vec::new(),
                };
                blocks = seen.iter().map(empty).collect();
            }
            for (block, seen) in blocks.iter_mut().zip(seen) {
                block.values.extend(seen.features.into_data().iter::<f32>().map(f64::from));
            }
        }
        Ok(blocks)
    }
}

/// Both probes on one block's features.
fn cell(
    time: f64,
    classes: usize,
    k: usize,
    (learned, labels): (&Features, &[u32]),
    (judged, expected): (&Features, &[u32]),
) -> Result<ProbeCell, MetricError> {
    let points = Points::new(&learned.values, learned.dimension)?;
    let queries = Points::new(&judged.values, judged.dimension)?;
    let fitted = ProbeFit::default().fit(points, labels, classes)?;
    let linear = fitted.accuracy(queries, expected)?;
    let nearest = NearestNeighbors { k, nearness: Nearness::Cosine }.accuracy(points, labels, queries, expected)?;
    let interval = |share: &Proportion| share.wilson(0.95).map(|interval| [interval.lower, interval.upper]);
    Ok(ProbeCell {
        block: learned.block.clone(),
        features: learned.dimension,
        time,
        linear: linear.value(),
        linear_interval: interval(&linear)?,
        converged: fitted.converged(),
        neighbours: nearest.value(),
        neighbours_interval: interval(&nearest)?,
    })
}

impl ProbeReport {
    /// Writes `<images>-probe.json` and two heat maps, `<images>-probe-linear.png` and `<images>-probe-neighbours.png`,
    /// into a folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TrainingError> {
        std::fs::create_dir_all(folder).map_err(TrainingError::file(folder))?;
        let path = |ending: &str| folder.join(format!("{}-probe{ending}", self.images));
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        write_atomically(&path(".json"), text.as_bytes())?;
        let columns: Vec<String> = self.probing.times.iter().map(|time| format!("t={time}")).collect();
        let rows: Vec<String> = self.cells.chunks(columns.len()).map(|cells| cells[0].block.clone()).collect();
        let draw = |kind: &str, value: fn(&ProbeCell) -> f64| {
            let values: Vec<Vec<f64>> =
                self.cells.chunks(columns.len()).map(|cells| cells.iter().map(value).collect()).collect();
            let picture = heat_map(&format!("accuracy, {kind}"), &rows, &columns, &values);
            let path = path(&format!("-{kind}.png"));
            picture.save(&path).map_err(|error| TrainingError::Config(format!("{}: {error}", path.display())))
        };
        draw("linear", |cell| cell.linear)?;
        draw("neighbours", |cell| cell.neighbours)
    }

    /// The cell with the best linear probe.
    pub fn best(&self) -> Option<&ProbeCell> {
        self.cells.iter().max_by(|a, b| a.linear.total_cmp(&b.linear))
    }
}

//! Pairs of noise and the image that a teacher's ODE makes of it, kept on disk.
//!
//! Pair `j` is a function of the teacher's weights, the sampler, the seed and `j`: its noise is a keyed draw, its
//! condition that of the data's `j`-th example, its image the end of the teacher's way from that noise. So a cache can
//! be lost, cut off or damaged without harm: what is missing is made again, bit for bit.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_data::digest::sha256;
use sinter_data::{Batch, Source};
use sinter_models::parameters::{Array, Arrays};
use sinter_models::weights;
use sinter_process::random::{Key, Stream};
use sinter_sampling::{Conditioner, Guidance, execute};
use sinter_solvers::{Plan, Sampler};

use crate::{MethodError, Setup, Teacher};

/// Numbers in the images of one file.
const SHARD: usize = 1 << 18;

/// Files held in memory: a batch may begin in one and end in the next.
const HELD: usize = 2;

/// The `pairs` table of an objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairsConfig {
    /// How many there are; training begins again with the first one after the last.
    pub images: u64,
    /// How the teacher makes them. It must not draw noise on its way.
    #[serde(default)]
    pub sampler: Sampler,
    /// How strongly the teacher follows conditions meanwhile.
    #[serde(default)]
    pub guidance: Guidance,
}

impl PairsConfig {
    /// Every problem of these settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(self.images > 0, "images", "must be at least 1");
        problems.nest("sampler", self.sampler.validate());
        problems.nest("guidance", self.guidance.validate());
        problems
    }
}

/// What one file of pairs is made from, as `manifest.json` beside it says.
#[derive(Debug, Serialize)]
struct Manifest<'a> {
    teacher: (String, String),
    plan: &'a Plan,
    guidance: Guidance,
    seed: u64,
    /// Fingerprint of the data whose examples give the conditions.
    data: String,
    shape: [usize; 3],
    pairs_per_file: u64,
}

/// Pairs of a teacher, made when they are first asked for.
pub struct Pairs {
    teacher: Teacher,
    plan: Plan,
    source: Arc<dyn Source>,
    conditioner: Conditioner,
    device: Device,
    seed: u64,
    image: [usize; 3],
    /// Pairs of one file.
    size: u64,
    folder: Option<PathBuf>,
    /// Images of the files used last, by file.
    held: BTreeMap<u64, Vec<f32>>,
}

/// Consecutive pairs: the images with their conditions, and the noise that each came from, as long as their pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct PairBatch {
    /// The teacher's images.
    pub images: Batch,
    /// Standard normal noise, `[b, c, h, w]`.
    pub noise: Vec<f32>,
}

impl PairBatch {
    /// The noise of a range of the images as a tensor, `[b, c, h, w]`.
    pub fn noise(&self, range: std::ops::Range<usize>, device: &Device) -> Tensor<4> {
        let [_, c, h, w] = self.images.shape;
        let size = c * h * w;
        let values = self.noise[range.start * size..range.end * size].to_vec();
        Tensor::from_data(TensorData::new(values, [range.len(), c, h, w]), device)
    }
}

impl Pairs {
    /// The pairs of the run that `objective.teacher` names; none where a model is opened only for use.
    ///
    /// # Errors
    /// When the teacher cannot be opened, or the sampler does not fit it or draws noise.
    pub fn open(setup: &Setup, teacher: &Path, config: &PairsConfig) -> Result<Option<Self>, MethodError> {
        let (Some(training), Some(teacher)) =
            (&setup.training, Teacher::open(setup, "teacher", teacher, config.guidance)?)
        else {
            return Ok(None);
        };
        let refused = |problems: Problems| MethodError::Setup(format!("objective.pairs.sampler: {problems}"));
        let plan = config.sampler.plan(&teacher.parameterization().path).map_err(refused)?;
        if !plan.draws().is_empty() {
            return Err(MethodError::Setup(format!(
                "objective.pairs.sampler: {} draws noise on its way, so its images do not belong to their noise; take a \
                 solver without noise",
                plan.name
            )));
        }
        let shape = setup.conditioner.shape();
        let image = [shape.channels, shape.height, shape.width];
        let mut pairs = Self {
            teacher,
            plan,
            source: Arc::clone(training.source),
            conditioner: setup.conditioner.clone(),
            device: setup.device.clone(),
            seed: setup.seed,
            image,
            size: (SHARD / image.iter().product::<usize>().max(1)).max(1) as u64,
            folder: None,
            held: BTreeMap::new(),
        };
        pairs.folder = training.cache.map(|cache| pairs.prepare(cache, config.guidance)).transpose()?;
        Ok(Some(pairs))
    }

    /// The teacher.
    pub fn teacher(&self) -> &Teacher {
        &self.teacher
    }

    /// The folder of these pairs, named by the hash of its manifest.
    fn prepare(&self, cache: &Path, guidance: Guidance) -> Result<PathBuf, MethodError> {
        let manifest = Manifest {
            teacher: self.teacher.identity(),
            plan: &self.plan,
            guidance,
            seed: self.seed,
            data: self.source.fingerprint(),
            shape: self.image,
            pairs_per_file: self.size,
        };
        let text = serde_json::to_string_pretty(&manifest).map_err(|error| MethodError::Setup(error.to_string()))?;
        let hash = sha256(&text);
        let folder = cache.join("pairs").join(&hash[..16]);
        let write = || fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("manifest.json"), &text));
        write()
            .map_err(|error| MethodError::Setup(format!("pairs cannot be kept in {}: {error}", folder.display())))?;
        Ok(folder)
    }

    /// Pairs number `first` to `first + count - 1`; the images stand at the same positions of the clock.
    ///
    /// # Errors
    /// When an example of the data cannot be read, or the teacher's images are not finite.
    pub fn batch(&mut self, first: u64, count: usize, total: u64) -> Result<PairBatch, MethodError> {
        let size: usize = self.image.iter().product();
        let numbers: Vec<u64> = (0..count as u64).map(|i| (first + i) % total).collect();
        let mut pixels = Vec::with_capacity(count * size);
        for &number in &numbers {
            let start = (number % self.size) as usize * size;
            pixels.extend_from_slice(&self.file(number / self.size)?[start..start + size]);
        }
        let noise = self.noise(&numbers);
        let (classes, captions) = self.conditions(&numbers)?;
        let [c, h, w] = self.image;
        Ok(PairBatch {
            images: Batch { shape: [count, c, h, w], pixels, classes, captions, first_image: first },
            noise,
        })
    }

    /// The images of one file, `[size, c, h, w]`: from memory, from disk, or made.
    fn file(&mut self, number: u64) -> Result<&[f32], MethodError> {
        if !self.held.contains_key(&number) {
            let images = match self.read(number) {
                Some(images) => images,
                None => {
                    let images = self.make(number)?;
                    self.write(number, &images)?;
                    images
                }
            };
            while self.held.len() >= HELD {
                self.held.pop_first();
            }
            self.held.insert(number, images);
        }
        Ok(&self.held[&number])
    }

    fn make(&self, number: u64) -> Result<Vec<f32>, MethodError> {
        let numbers: Vec<u64> = (number * self.size..(number + 1) * self.size).collect();
        log::info!("making pairs {} to {} of {}", numbers[0], numbers[numbers.len() - 1], self.teacher.identity().0);
        let (classes, captions) = self.conditions(&numbers)?;
        let condition = self.conditioner.condition(classes.as_deref(), captions.as_deref(), |_| false, &self.device)?;
        let [c, h, w] = self.image;
        let noise = TensorData::new(self.noise(&numbers), [numbers.len(), c, h, w]);
        let start = Tensor::<4>::from_data(noise, &self.device).mul_scalar(self.plan.scale);
        let zeros = start.zeros_like();
        let images = execute(&self.plan, start, &self.teacher.denoiser(), &condition, |_| zeros.clone(), |_, _| {})
            .map_err(|error| MethodError::Setup(error.to_string()))?;
        let images: Vec<f32> = images.into_data().iter::<f32>().collect();
        if images.iter().any(|value| !value.is_finite()) {
            return Err(MethodError::NonFinite { tensor: format!("images of {}", self.teacher.identity().0) });
        }
        Ok(images)
    }

    /// The noise of pairs by number.
    fn noise(&self, numbers: &[u64]) -> Vec<f32> {
        use rayon::prelude::*;
        let size: usize = self.image.iter().product();
        let key = Key::new(self.seed, Stream::PAIR_NOISE);
        let mut values = vec![0.0_f32; numbers.len() * size];
        values.par_chunks_mut(size.max(1)).zip(numbers).for_each(|(chunk, &number)| key.at(number).fill_normal(chunk));
        values
    }

    /// Classes and captions of pairs by number: those of the data's examples.
    #[allow(clippy::type_complexity, reason = "what a batch holds")]
    fn conditions(&self, numbers: &[u64]) -> Result<(Option<Vec<u32>>, Option<Vec<String>>), MethodError> {
        if !self.conditioner.shape().has_classes() && !self.conditioner.shape().has_captions() {
            return Ok((None, None));
        }
        let (mut classes, mut captions) = (Vec::new(), Vec::new());
        for number in numbers {
            let example = self.source.example(number % self.source.len().max(1));
            let example = example.map_err(|error| MethodError::Setup(format!("conditions of pairs: {error}")))?;
            classes.extend(example.class);
            captions.extend(example.caption);
        }
        Ok(((!classes.is_empty()).then_some(classes), (!captions.is_empty()).then_some(captions)))
    }

    fn path(&self, number: u64) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{number:06}.safetensors")))
    }

    /// The images of a file on disk, if it is there and whole.
    fn read(&self, number: u64) -> Option<Vec<f32>> {
        let path = self.path(number).filter(|path| path.is_file())?;
        let whole = |(mut arrays, metadata): (Arrays, BTreeMap<String, String>)| {
            let values = arrays.remove("images")?.values;
            (values.len() == self.size as usize * self.image.iter().product::<usize>()
                && metadata.get("sha256") == Some(&digest(&values)))
            .then_some(values)
        };
        let images = weights::read(&path).ok().and_then(whole);
        if images.is_none() {
            log::warn!("{} is damaged; its pairs are made again", path.display());
        }
        images
    }

    fn write(&self, number: u64, images: &[f32]) -> Result<(), MethodError> {
        let Some(path) = self.path(number) else { return Ok(()) };
        let [c, h, w] = self.image;
        let array = Array { shape: vec![self.size as usize, c, h, w], values: images.to_vec() };
        let metadata = [("sha256".to_owned(), digest(images))].into();
        weights::write(&path, &[("images".to_owned(), array)].into(), &metadata)
            .map_err(|error| MethodError::Setup(format!("pairs cannot be kept: {error}")))
    }
}

fn digest(values: &[f32]) -> String {
    sha256(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

//! Everything a run writes down, in one place: lines of metrics, TensorBoard's events, pictures, progress.

use std::path::Path;
use std::time::Duration;

use sinter_evaluation::Samples;
use sinter_models::parameters::Arrays;
use sinter_objectives::Map;

use crate::logging::tensorboard::{EventWriter, hyperparameters};
use crate::logging::{grid, jsonl, progress::Progress, save, tensorboard};
use crate::run_directory::RunDirectory;
use crate::{Config, TrainingError};

/// Least time between two plain lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The records of one run, cut back to the clock that it continues from.
pub(crate) struct Journal {
    metrics: jsonl::MetricsWriter,
    events: Option<EventWriter>,
    progress: Option<Progress>,
    every: u64,
}

impl Journal {
    /// Opens the records at `images`; what was written beyond belongs to a future that was cut off.
    pub(crate) fn open(run: &RunDirectory, config: &Config, images: u64) -> Result<Self, TrainingError> {
        let path = run.metrics_path();
        match images {
            // Lines at 0 images would be kept by a cut.
            0 if path.exists() => std::fs::remove_file(&path).map_err(TrainingError::file(&path))?,
            _ => jsonl::truncate(&path, images)?,
        }
        let mut events = None;
        if config.log.tensorboard {
            match images {
                0 => tensorboard::clear(run.root())?,
                _ => tensorboard::truncate(run.root(), images)?,
            }
            let mut writer = EventWriter::create(run.root(), images)?;
            if images == 0 {
                let table = toml::Table::try_from(config).unwrap_or_default();
                writer.text(0, "config", &format!("```toml\n{}```", toml::to_string(config).unwrap_or_default()))?;
                writer.hyperparameters(&hyperparameters(&table), &["loss", "validation/loss"])?;
            }
            events = Some(writer);
        }
        Ok(Self { metrics: jsonl::MetricsWriter::open(&path)?, events, progress: None, every: config.log.every })
    }

    /// Shows progress from `images` towards `total`.
    pub(crate) fn begin(&mut self, images: u64, total: u64) {
        self.progress = Some(Progress::new(images, total, self.every, LINE_EVERY));
    }

    /// Shows that `images` were seen.
    pub(crate) fn tick(&mut self, images: u64, loss: Option<f64>) {
        if let Some(progress) = &mut self.progress {
            progress.update(images, loss);
        }
    }

    /// Stops showing progress.
    pub(crate) fn end(&mut self) {
        if let Some(mut progress) = self.progress.take() {
            progress.finish();
        }
    }

    /// One line of scalars.
    pub(crate) fn scalars(&mut self, images: u64, step: u64, scalars: &[(String, f64)]) -> Result<(), TrainingError> {
        if scalars.is_empty() {
            return Ok(());
        }
        self.metrics.append(images, step, scalars)?;
        if let Some(events) = &mut self.events {
            events.scalars(images, scalars)?;
        }
        Ok(())
    }

    /// A sample grid.
    pub(crate) fn grid(&mut self, path: &Path, images: u64, samples: &Samples) -> Result<(), TrainingError> {
        let picture = grid::picture(&samples.pixels, samples.shape)?;
        save(&picture, path)?;
        if let Some(events) = &mut self.events {
            events.image(images, "samples", &picture)?;
        }
        Ok(())
    }

    /// A picture of something that the model learned.
    pub(crate) fn map(&mut self, path: &Path, images: u64, map: &Map) -> Result<(), TrainingError> {
        let [height, width] = map.size;
        let layout = grid::Layout { scale: Some(1), ..grid::Layout::default() };
        let picture = grid::grid(&map.values, [1, 1, height, width], layout)?;
        save(&picture, path)?;
        if let Some(events) = &mut self.events {
            events.image(images, map.name, &picture)?;
        }
        Ok(())
    }

    /// The distribution of every parameter of a part.
    pub(crate) fn histograms(&mut self, images: u64, part: &str, arrays: &Arrays) -> Result<(), TrainingError> {
        if let Some(events) = &mut self.events {
            for (name, array) in arrays {
                events.histogram(images, &format!("{part}/{name}"), &array.values)?;
            }
        }
        Ok(())
    }
}

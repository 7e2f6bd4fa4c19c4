//! What is kept of a set of images in the features of one network.

use std::sync::mpsc;
use std::thread;

use sinter_data::Source;
use sinter_metrics::{Moments, Points};

use crate::features::{FeatureNetwork, Features};
use crate::{EvaluationError, Samples};

/// Images taken through a feature network at a time. Part of the last bits of what comes out: a network may sum in
/// another order where it sees fewer.
const CHUNK: usize = 256;

/// What the metrics of one feature network need to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Mean and covariance of the pooled features.
    pub(crate) moments: bool,
    /// Mean and covariance of the spatial features.
    pub(crate) spatial: bool,
    /// The first so many rows of pooled features.
    pub(crate) rows: usize,
    /// Every image's logits.
    pub(crate) logits: bool,
}

impl Needs {
    /// What both need.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            moments: self.moments || other.moments,
            spatial: self.spatial || other.spatial,
            rows: self.rows.max(other.rows),
            logits: self.logits || other.logits,
        }
    }
}

/// Rows of equal length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    values: Vec<f32>,
    dimension: usize,
}

impl Rows {
    fn push(&mut self, values: &[f32], count: usize, limit: usize) {
        self.dimension = values.len() / count;
        let room = limit.saturating_sub(self.len());
        self.values.extend_from_slice(&values[..count.min(room) * self.dimension]);
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.values.len().checked_div(self.dimension).unwrap_or(0)
    }

    /// The first `limit` rows in 64 bits.
    pub(crate) fn first(&self, limit: usize) -> Matrix {
        let kept = limit.min(self.len()) * self.dimension;
        let values = self.values[..kept].iter().map(|&value| f64::from(value)).collect();
        Matrix { values, dimension: self.dimension }
    }

    /// Row by row.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimension.max(1))
    }
}

/// Rows in 64 bits, as metrics take them.
pub(crate) struct Matrix {
    values: Vec<f64>,
    dimension: usize,
}

impl Matrix {
    pub(crate) fn points(&self) -> Result<Points<'_>, EvaluationError> {
        Ok(Points::new(&self.values, self.dimension)?)
    }
}

/// A set of images in the features of one network, as far as somebody needs it. Its memory does not grow with the set,
/// but for logits.
#[derive(Clone, Debug)]
pub(crate) struct Gathered {
    needs: Needs,
    count: usize,
    /// None before the first image, or where nobody needs them; likewise `spatial`.
    pub(crate) moments: Option<Moments>,
    pub(crate) spatial: Option<Moments>,
    pub(crate) rows: Rows,
    pub(crate) logits: Rows,
}

impl Gathered {
    pub(crate) fn new(needs: Needs) -> Self {
        Self { needs, count: 0, moments: None, spatial: None, rows: Rows::default(), logits: Rows::default() }
    }

    fn push(&mut self, features: &Features, count: usize) -> Result<(), EvaluationError> {
        let all = [Some(&features.pooled), features.spatial.as_ref(), features.logits.as_ref()];
        for values in all.into_iter().flatten() {
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let image = self.count + at * count / values.len();
                return Err(EvaluationError::NotFinite { image, value: values[at] });
            }
        }
        let add = |moments: &mut Option<Moments>, values: &[f32]| {
            moments.get_or_insert_with(|| Moments::new(values.len() / count)).push(values)
        };
        if self.needs.moments {
            add(&mut self.moments, &features.pooled)?;
        }
        if let (true, Some(spatial)) = (self.needs.spatial, &features.spatial) {
            add(&mut self.spatial, spatial)?;
        }
        if self.needs.rows > 0 {
            self.rows.push(&features.pooled, count, self.needs.rows);
        }
        if let (true, Some(logits)) = (self.needs.logits, &features.logits) {
            self.logits.push(logits, count, usize::MAX);
        }
        self.count += count;
        Ok(())
    }
}

/// Takes images in portions of any size through feature networks in chunks of one size: what is gathered depends on the
/// images and their order alone.
#[derive(Debug)]
pub(crate) struct Gathering<'a> {
    networks: Vec<(&'a dyn FeatureNetwork, Gathered)>,
    image: [usize; 3],
    /// Pixels of fewer than [`CHUNK`] images that wait for more.
    pending: Vec<f32>,
}

impl<'a> Gathering<'a> {
    /// Of images `[c, h, w]`.
    pub(crate) fn new(
        networks: impl IntoIterator<Item = (&'a dyn FeatureNetwork, Needs)>,
        image: [usize; 3],
    ) -> Result<Self, EvaluationError> {
        let networks = networks.into_iter().map(|(network, needs)| {
            network.check(image).map_err(EvaluationError::Images)?;
            Ok((network, Gathered::new(needs)))
        });
        Ok(Self { networks: networks.collect::<Result<_, EvaluationError>>()?, image, pending: Vec::new() })
    }

    /// Adds images, `[c, h, w]` each.
    pub(crate) fn push(&mut self, pixels: &[f32]) -> Result<(), EvaluationError> {
        if self.networks.is_empty() {
            return Ok(());
        }
        let full = CHUNK * self.image.iter().product::<usize>();
        let mut rest = pixels;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(full - self.pending.len()));
            self.pending.extend_from_slice(now);
            rest = later;
            if self.pending.len() == full {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), EvaluationError> {
        let [c, h, w] = self.image;
        let count = self.pending.len() / (c * h * w);
        if count > 0 {
            for (network, gathered) in &mut self.networks {
                gathered.push(&network.features(&self.pending, [count, c, h, w]), count)?;
            }
            self.pending.clear();
        }
        Ok(())
    }

    /// What was gathered, in the networks' order.
    pub(crate) fn finish(mut self) -> Result<Vec<Gathered>, EvaluationError> {
        self.flush()?;
        Ok(self.networks.into_iter().map(|(_, gathered)| gathered).collect())
    }
}

/// Images of a source read at a time.
const PORTION: u64 = 256;

/// Calls `each` with the first `count` images of a source, some at a time, in the pixels that metrics are taken from. The
/// next ones are read meanwhile, so that a feature network does not wait for them.
pub(crate) fn visit(
    source: &dyn Source,
    count: u64,
    mut each: impl FnMut(Samples) -> Result<(), EvaluationError>,
) -> Result<(), EvaluationError> {
    thread::scope(|scope| {
        let (sender, portions) = mpsc::sync_channel(1);
        scope.spawn(move || {
            for first in (0..count).step_by(PORTION as usize) {
                let read = Samples::read(source, first..(first + PORTION).min(count)).map(Samples::quantized);
                let failed = read.is_err();
                // Nobody receives any more once `each` has failed.
                if sender.send(read).is_err() || failed {
                    return;
                }
            }
        });
        portions.into_iter().try_for_each(|samples| each(samples?))
    })
}

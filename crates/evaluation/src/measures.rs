//! From what was gathered to numbers: one function a metric.

use sinter_metrics::{
    Confusion, Frechet, Gaussian, KernelDistance, Moments, Points, Proportion, frechet, inception_score,
    manifold_scores, mode_coverage, sliced_wasserstein,
};
use sinter_process::random::{Key, Stream};

use crate::EvaluationError;
use crate::features::FeatureNetwork;
use crate::gathered::{Gathered, Needs, Rows};
use crate::{MetricConfig, record::short_count};

/// One number of a metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    /// Name, without the number of samples.
    pub(crate) name: String,
    pub(crate) value: f64,
    /// Standard deviation over splits or subsets.
    pub(crate) deviation: Option<f64>,
    /// 95% interval.
    pub(crate) interval: Option<[f64; 2]>,
    pub(crate) warnings: Vec<String>,
}

impl Finding {
    pub(crate) fn new(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, deviation: None, interval: None, warnings: Vec::new() }
    }

    /// A share with Wilson's interval.
    pub(crate) fn share(name: impl Into<String>, successes: usize, total: usize) -> Result<Self, EvaluationError> {
        let proportion = Proportion { successes: successes as u64, total: total as u64 };
        let interval = proportion.wilson(0.95)?;
        Ok(Self { interval: Some([interval.lower, interval.upper]), ..Self::new(name, proportion.value()) })
    }

    /// The name with the number of samples, as records have it.
    pub(crate) fn full_name(&self, n: usize) -> String {
        format!("{}-{}", self.name, short_count(n))
    }
}

/// The images that samples are compared with, in the features of one network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) pooled: Option<Gaussian>,
    pub(crate) spatial: Option<Gaussian>,
    pub(crate) rows: Rows,
}

impl Reference {
    pub(crate) fn of(gathered: Gathered) -> Result<Self, EvaluationError> {
        let gaussian = |moments: Option<Moments>| moments.map(|moments| moments.gaussian()).transpose();
        Ok(Self { pooled: gaussian(gathered.moments)?, spatial: gaussian(gathered.spatial)?, rows: gathered.rows })
    }
}

impl MetricConfig {
    /// Name in messages, as in the configuration.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Frechet { .. } => "frechet",
            Self::Kernel { .. } => "kernel",
            Self::GaussianKernel { .. } => "gaussian_kernel",
            Self::Manifold { .. } => "manifold",
            Self::InceptionScore { .. } => "inception_score",
            Self::ClassifierAccuracy { .. } => "classifier_accuracy",
            Self::Detector {} => "detector",
            Self::SlicedWasserstein { .. } => "sliced_wasserstein",
            Self::Wasserstein { .. } => "wasserstein",
            Self::Modes {} => "modes",
        }
    }

    /// What must be kept of the samples.
    pub(crate) fn needs(&self) -> Needs {
        match *self {
            Self::Frechet { spatial: true, .. } => Needs { spatial: true, ..Needs::default() },
            Self::Frechet { extrapolated: true, .. } => Needs { rows: EXTRAPOLATED_ROWS, ..Needs::default() },
            Self::Frechet { .. } => Needs { moments: true, ..Needs::default() },
            Self::Kernel { rows, .. }
            | Self::GaussianKernel { rows, .. }
            | Self::Manifold { rows, .. }
            | Self::SlicedWasserstein { rows, .. }
            | Self::Wasserstein { rows, .. } => Needs { rows, ..Needs::default() },
            Self::InceptionScore { .. } | Self::ClassifierAccuracy { .. } => Needs { logits: true, ..Needs::default() },
            Self::Detector {} | Self::Modes {} => Needs::default(),
        }
    }

    /// What must be kept of the reference.
    pub(crate) fn reference_needs(&self) -> Needs {
        match self {
            Self::Frechet { extrapolated: true, .. } => Needs { moments: true, ..Needs::default() },
            Self::InceptionScore { .. } | Self::ClassifierAccuracy { .. } => Needs::default(),
            _ => self.needs(),
        }
    }
}

/// Samples at the most that an extrapolation is made from.
const EXTRAPOLATED_ROWS: usize = 50_000;

/// The numbers of a metric that is measured in the features of a network.
pub(crate) fn measure(
    metric: &MetricConfig,
    network: &dyn FeatureNetwork,
    reference: &Reference,
    samples: &Gathered,
    classes: &[u32],
    class_count: usize,
) -> Result<Vec<Finding>, EvaluationError> {
    let unfit = |message: &str| EvaluationError::Unfit { metric: metric.name(), message: message.into() };
    let label = |inception: &str, other: &str| match network.inception() {
        Some("tensorflow") => inception.to_owned(),
        Some(resize) => format!("{inception}[{resize}]"),
        None => format!("{other}[{}]", network.name()),
    };
    // Of both sets, and in 64 bits.
    let rows = |limit: usize| (samples.rows.first(limit), reference.rows.first(limit));
    match *metric {
        MetricConfig::Frechet { spatial, extrapolated: false, .. } => {
            let (ours, theirs, name) = if spatial {
                (&samples.spatial, &reference.spatial, label("sFID", "sFD"))
            } else {
                (&samples.moments, &reference.pooled, label("FID", "FD"))
            };
            let theirs = theirs.as_ref().ok_or_else(|| unfit("the reference has no such statistics"))?;
            let ours = ours.as_ref().ok_or_else(|| unfit("there are no images"))?.gaussian()?;
            Ok(vec![frechet_finding(name, &frechet(&ours, theirs)?)])
        }
        MetricConfig::Frechet { .. } => Err(unfit("is not there yet")),
        MetricConfig::Kernel { subsets, subset_size, rows: limit, .. } => {
            let (ours, theirs) = rows(limit);
            let (ours, theirs) = (ours.points()?, theirs.points()?);
            let size = subset_size.min(ours.len()).min(theirs.len());
            let subsets: Vec<_> = (0..subsets as u64)
                .map(|subset| (subset_of(ours, size, 2 * subset), subset_of(theirs, size, 2 * subset + 1)))
                .collect();
            let distance = KernelDistance::default().over_subsets(ours, theirs, &subsets)?;
            let mut finding = Finding::new(label("KID", "KD"), distance.mean);
            finding.deviation = Some(distance.deviation);
            if size < subset_size {
                finding.warnings.push(format!("subsets have {size} rows, not {subset_size}: there are no more"));
            }
            Ok(vec![finding])
        }
        MetricConfig::GaussianKernel { .. } => Err(unfit("is not there yet")),
        MetricConfig::Manifold { neighbours, rows: limit, .. } => {
            let (ours, theirs) = rows(limit);
            let scores = manifold_scores(theirs.points()?, ours.points()?, neighbours)?;
            let named = [
                ("precision", scores.precision),
                ("recall", scores.recall),
                ("density", scores.density),
                ("coverage", scores.coverage),
            ];
            Ok(named
                .map(|(name, value)| Finding::new(format!("{name}[{}]", network.name()), value))
                .into())
        }
        MetricConfig::InceptionScore { splits, .. } => {
            let logits = samples.logits.first(usize::MAX);
            let score = inception_score(logits.points()?, splits)?;
            let mut finding = Finding::new(label("IS", "IS"), score.mean);
            finding.deviation = Some(score.deviation);
            Ok(vec![finding])
        }
        MetricConfig::ClassifierAccuracy { .. } => {
            if classes.is_empty() {
                return Err(unfit("the samples were not asked for a class"));
            }
            let mut confusion = Confusion::new(class_count);
            for (&asked, logits) in classes.iter().zip(samples.logits.iter()) {
                confusion.record(asked, largest(logits))?;
            }
            let accuracy = confusion.accuracy();
            let name = format!("accuracy[{}]", network.name());
            Ok(vec![Finding::share(name, accuracy.successes as usize, accuracy.total as usize)?])
        }
        MetricConfig::SlicedWasserstein { projections, rows: limit, .. } => {
            let (ours, theirs) = rows(limit);
            let (ours, theirs) = (ours.points()?, theirs.points()?);
            let directions = directions(projections, ours.dimension());
            let directions = Points::new(&directions, ours.dimension())?;
            let distance = sliced_wasserstein(ours, theirs, directions, 2)?;
            Ok(vec![Finding::new(format!("SW2[{}]", network.name()), distance.value)])
        }
        MetricConfig::Wasserstein { .. } => Err(unfit("is not there yet")),
        MetricConfig::Detector {} | MetricConfig::Modes {} => Ok(Vec::new()),
    }
}

/// Modes found, the share of points near one, and how uneven their numbers are; `modes` are centres and deviation.
pub(crate) fn modes(rows: &Rows, modes: &(Vec<[f64; 2]>, f64)) -> Result<Vec<Finding>, EvaluationError> {
    let (points, centers) = (rows.first(usize::MAX), modes.0.concat());
    let coverage = mode_coverage(points.points()?, Points::new(&centers, 2)?, 3.0 * modes.1)?;
    let high_quality = &coverage.high_quality;
    Ok(vec![
        Finding::share("modes", coverage.covered, coverage.modes)?,
        Finding::share("high-quality", high_quality.successes as usize, high_quality.total as usize)?,
        Finding::new("mode-divergence", coverage.divergence),
    ])
}

fn frechet_finding(name: String, distance: &Frechet) -> Finding {
    let mut finding = Finding::new(name, distance.value);
    if distance.rank_deficient {
        finding.warnings.push("fewer samples than feature dimensions: biased upwards".into());
    }
    finding
}

/// The class of the largest logit.
fn largest(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (class, &logit)| {
        if logit > best.1 { (class, logit) } else { best }
    });
    best.0 as u32
}

/// `size` different rows of a set; which ones is a function of `draw` and of the two sizes alone.
fn subset_of(points: Points<'_>, size: usize, draw: u64) -> Vec<usize> {
    let draws = Key::new(1, Stream::EVALUATION).at(draw);
    let mut indices: Vec<usize> = (0..points.len()).collect();
    for i in 0..size {
        let other = i + draws.below(i as u32, (points.len() - i) as u64) as usize;
        indices.swap(i, other);
    }
    indices.truncate(size);
    indices
}

/// Random directions, row by row: always the same ones, so that distances compare.
fn directions(count: usize, dimension: usize) -> Vec<f64> {
    let key = Key::new(0, Stream::EVALUATION);
    let mut values = vec![0.0; count * dimension];
    for (i, row) in values.chunks_mut(dimension).enumerate() {
        key.at(i as u64).fill_normal_f64(row);
    }
    values
}

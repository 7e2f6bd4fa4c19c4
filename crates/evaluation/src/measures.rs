//! From what was gathered to numbers: one function a metric.

use sinter_metrics::{
    Bootstrap, Confusion, Estimator, Extrapolation, Frechet, Gaussian, Kernel, KernelDistance, Moments, Points,
    Proportion, Replicates, draw_subsets, exact_wasserstein, frechet, inception_score, inception_score_replicates,
    manifold_scores, mode_coverage, random_directions, sliced_wasserstein,
};

use crate::EvaluationError;
use crate::features::FeatureNetwork;
use crate::gathered::{Gathered, Needs, Rows};
use crate::{MetricConfig, classification, record::short_count};

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
        let interval = proportion.wilson(CONFIDENCE)?;
        Ok(Self { interval: Some([interval.lower, interval.upper]), ..Self::new(name, proportion.value()) })
    }

    /// A mean with its bootstrap interval.
    pub(crate) fn mean(name: impl Into<String>, values: &[f64]) -> Result<Self, EvaluationError> {
        let interval = BOOTSTRAP.mean(values)?.interval(CONFIDENCE)?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Ok(Self { interval: Some([interval.lower, interval.upper]), ..Self::new(name, mean) })
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
        let gaussian = |moments: Option<Moments>| moments.map(Moments::into_gaussian).transpose();
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
            Self::ClassificationAccuracyScore(_) => classification::NAME,
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
            Self::ClassificationAccuracyScore(_) | Self::Detector {} | Self::Modes {} => Needs::default(),
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
/// Of subsets and directions: always the same, so that numbers compare.
const SEED: u64 = 0;
/// Of intervals.
const CONFIDENCE: f64 = 0.95;
const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 200, seed: SEED };

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
        MetricConfig::Frechet { .. } => {
            let points = samples.rows.first(EXTRAPOLATED_ROWS);
            let points = points.points()?;
            let theirs = reference.pooled.as_ref().ok_or_else(|| unfit("the reference has no statistics"))?;
            // The line is one only where covariances have full rank; the authors begin at 5000 of 50,000.
            let smallest = (points.len() / 10).max(points.dimension() + 1);
            let extrapolation = Extrapolation { smallest, ..Extrapolation::default() };
            let found = extrapolation.frechet(points, theirs)?;
            let interval = found.interval(CONFIDENCE)?;
            let mut finding = Finding::new(label("FID-infinity", "FD-infinity"), found.value);
            finding.interval = Some([interval.lower, interval.upper]);
            Ok(vec![finding])
        }
        MetricConfig::Kernel { subsets, subset_size, rows: limit, .. } => {
            let (ours, theirs) = rows(limit);
            let (ours, theirs) = (ours.points()?, theirs.points()?);
            let size = subset_size.min(ours.len()).min(theirs.len());
            let subsets = draw_subsets(ours.len(), theirs.len(), size, subsets, SEED)?;
            let distance = KernelDistance::default().over_subsets(ours, theirs, &subsets)?;
            let mut finding = Finding::new(label("KID", "KD"), distance.mean);
            finding.deviation = Some(distance.deviation);
            finding.interval = Some(interval(&distance.replicates(&BOOTSTRAP)?)?);
            if size < subset_size {
                finding.warnings.push(format!("subsets have {size} rows, not {subset_size}: there are no more"));
            }
            Ok(vec![finding])
        }
        MetricConfig::GaussianKernel { width, rows: limit, .. } => {
            let (ours, theirs) = rows(limit);
            let kernel = Kernel::Gaussian { bandwidth: width };
            let distance = KernelDistance { kernel, ..KernelDistance::gaussian() };
            let value = distance.distance(ours.points()?, theirs.points()?, Estimator::Biased)?;
            Ok(vec![Finding::new(format!("MMD[{}]", network.name()), value)])
        }
        MetricConfig::Manifold { neighbours, rows: limit, .. } => {
            let (ours, theirs) = rows(limit);
            let scores = manifold_scores(theirs.points()?, ours.points()?, neighbours)?;
            let named = [
                ("precision", scores.precision),
                ("recall", scores.recall),
                ("density", scores.density),
                ("coverage", scores.coverage),
            ];
            Ok(named.map(|(name, value)| Finding::new(format!("{name}[{}]", network.name()), value)).into())
        }
        MetricConfig::InceptionScore { splits, .. } => {
            let logits = samples.logits.first(usize::MAX);
            let score = inception_score(logits.points()?, splits)?;
            let mut finding = Finding::new(label("IS", "IS"), score.mean);
            finding.deviation = Some(score.deviation);
            finding.interval = Some(interval(&inception_score_replicates(logits.points()?, &BOOTSTRAP)?)?);
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
            let directions = random_directions(projections, ours.dimension(), SEED);
            let directions = Points::new(&directions, ours.dimension())?;
            let distance = sliced_wasserstein(ours, theirs, directions, 2)?;
            Ok(vec![Finding::new(format!("SW2[{}]", network.name()), distance.value)])
        }
        MetricConfig::Wasserstein { rows: limit, .. } => {
            let count = limit.min(samples.rows.len()).min(reference.rows.len());
            let (ours, theirs) = rows(count);
            let distance = exact_wasserstein(ours.points()?, theirs.points()?, 2)?;
            Ok(vec![Finding::new(format!("W2[{}]", network.name()), distance)])
        }
        MetricConfig::ClassificationAccuracyScore(_) | MetricConfig::Detector {} | MetricConfig::Modes {} => {
            Ok(Vec::new())
        }
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

fn interval(replicates: &Replicates) -> Result<[f64; 2], EvaluationError> {
    let interval = replicates.interval(CONFIDENCE)?;
    Ok([interval.lower, interval.upper])
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
    let best = logits
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (class, &logit)| if logit > best.1 { (class, logit) } else { best });
    best.0 as u32
}

//! The Inception Score of a classifier's answers.

use serde::Serialize;

use crate::{Bootstrap, MetricError, Points, Replicates};

/// The score of each split, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct InceptionScore {
    /// The mean over splits, between 1 and the number of classes.
    pub mean: f64,
    /// The standard deviation over splits (divided by their number), 0 for one split.
    pub deviation: f64,
}

/// `exp(mean of KL(p(y | x) || p(y)))` over samples `x` with logits `[n, classes]` (Salimans et al. 2016, section 4).
///
/// The samples are cut in order into `splits` parts, from `i n / splits` to `(i + 1) n / splits`, with a marginal
/// `p(y)` each. The literature's score takes its logits from Inception-v3 and 10 splits; from another classifier it
/// is that classifier's score.
///
/// # Errors
/// No splits, or more splits than samples.
pub fn inception_score(logits: Points<'_>, splits: usize) -> Result<InceptionScore, MetricError> {
    let n = logits.len();
    if splits == 0 {
        return Err(MetricError::Range { what: "the number of splits", value: 0.0, range: "at least 1" });
    }
    if n < splits {
        return Err(MetricError::TooFew { what: "samples", count: n as u64, least: splits as u64 });
    }
    let scores: Vec<f64> = (0..splits).map(|i| split_score(logits, i * n / splits, (i + 1) * n / splits)).collect();
    let mean = scores.iter().sum::<f64>() / splits as f64;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / splits as f64;
    Ok(InceptionScore { mean, deviation: variance.sqrt() })
}

/// The score over all samples (in one split) of resamples of them, for an interval.
///
/// The score of few samples is too small on average (Chong and Forsyth 2020), and a resample knows fewer
/// different samples than the sample: the interval lies a little lower than the score. It tells the width.
///
/// # Errors
/// Fewer than two resamples.
pub fn inception_score_replicates(logits: Points<'_>, bootstrap: &Bootstrap) -> Result<Replicates, MetricError> {
    let answers: Vec<Answer> = logits.rows().map(Answer::new).collect();
    bootstrap
        .replicates(logits.len(), |indices| score(indices.iter().map(|&index| &answers[index]), logits.dimension()))
}

/// The score of samples `start..end`.
fn split_score(logits: Points<'_>, start: usize, end: usize) -> f64 {
    let answers: Vec<Answer> = (start..end).map(|index| Answer::new(logits.row(index))).collect();
    score(answers.iter(), logits.dimension())
}

/// A classifier's answer to one sample.
struct Answer {
    probabilities: Vec<f64>,
    /// The sum of `p ln p`.
    negative_entropy: f64,
}

impl Answer {
    fn new(logits: &[f64]) -> Self {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let normaliser = logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln() + largest;
        let probabilities: Vec<f64> = logits.iter().map(|logit| (logit - normaliser).exp()).collect();
        let negative_entropy = probabilities.iter().zip(logits).map(|(p, logit)| p * (logit - normaliser)).sum();
        Self { probabilities, negative_entropy }
    }
}

/// The exponential of the entropy of the mean minus the mean of the entropies.
fn score<'a>(answers: impl ExactSizeIterator<Item = &'a Answer>, classes: usize) -> f64 {
    let count = answers.len() as f64;
    let mut marginal = vec![0.0; classes];
    let mut negative_entropy = 0.0;
    for answer in answers {
        marginal.iter_mut().zip(&answer.probabilities).for_each(|(sum, probability)| *sum += probability);
        negative_entropy += answer.negative_entropy;
    }
    let shares = marginal.iter().map(|sum| sum / count);
    let entropy_of_mean: f64 = shares.filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum();
    (negative_entropy / count + entropy_of_mean).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sure_and_even_answers_score_the_number_of_classes() {
        // 4 classes, one sure answer each, twice: logits of 1000 leave no doubt in f64.
        let logits: Vec<f64> = (0..8).flat_map(|i| (0..4).map(move |c| if i % 4 == c { 1e3 } else { 0.0 })).collect();
        let score = inception_score(Points::new(&logits, 4).unwrap(), 2).unwrap();
        assert!((score.mean - 4.0).abs() < 1e-12 && score.deviation < 1e-12, "{score:?}");
    }

    #[test]
    fn equal_answers_score_one() {
        let logits: Vec<f64> = [0.3, -1.0, 2.0].repeat(6);
        let score = inception_score(Points::new(&logits, 3).unwrap(), 3).unwrap();
        assert!((score.mean - 1.0).abs() < 1e-14, "{score:?}");
    }

    #[test]
    fn two_classes_by_hand() {
        // p = (3/4, 1/4) and (1/4, 3/4); marginal (1/2, 1/2): KL = ln 2 - H(1/4).
        let logits = [3.0f64.ln(), 0.0, 0.0, 3.0f64.ln()];
        let divergence = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        let score = inception_score(Points::new(&logits, 2).unwrap(), 1).unwrap();
        assert!((score.mean - divergence.exp()).abs() < 1e-14, "{score:?}");
    }

    #[test]
    fn resamples_tell_the_width() {
        // Even answers vary only in how often each class is drawn; equal answers not at all.
        let sure: Vec<f64> = (0..200).flat_map(|i| (0..4).map(move |c| if i % 4 == c { 1e3 } else { 0.0 })).collect();
        let bootstrap = Bootstrap { resamples: 500, seed: 3 };
        let of = |logits: &[f64], classes| {
            let points = Points::new(logits, classes).unwrap();
            inception_score_replicates(points, &bootstrap).unwrap().interval(0.95).unwrap()
        };
        let interval = of(&sure, 4);
        // ln 4 less the entropy of the shares is about a chi-square of 3 degrees over 2 n: at most 9.35 / 400 of 97.5%.
        assert!(interval.upper <= 4.0 + 1e-12 && interval.upper > 3.99, "{interval:?}");
        assert!((interval.lower - 4.0 * (-9.35f64 / 400.0).exp()).abs() < 0.02, "{interval:?}");
        let same = of(&[0.3, -1.0, 2.0].repeat(6), 3);
        assert!((same.lower - 1.0).abs() < 1e-14 && (same.upper - 1.0).abs() < 1e-14);
    }

    #[test]
    fn splits_need_samples() {
        let logits = Points::new(&[0.0, 1.0], 2).unwrap();
        assert!(inception_score(logits, 0).is_err() && inception_score(logits, 2).is_err());
    }
}

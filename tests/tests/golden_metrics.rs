//! Every metric of the files `metrics*`: moments, Frechet distance, kernel distance, neighbour manifolds and Inception
//! Score, on features and logits that the files hold; and of the files `metrics_inception*`, the features themselves.
//!
//! A case is one output, named by its key: `fid.<library>.<sets>`, `kid.<estimator>`, `prdc.k<k>.<score>`,
//! `is.<order>.splits<n>.<statistic>`, `mu<set>`, `sigma<set>`; those of features are in [`inception`].

use std::process::ExitCode;
use std::sync::Arc;

use sinter_metrics::{
    Estimator, Gaussian, KernelDistance, MetricError, Moments, Points, frechet, inception_score, manifold_scores,
};
use sinter_tests::golden::{self, Case, File, Tolerance};
use sinter_tests::inception;

/// Generated features.
const GENERATED: &str = "features_1";
/// Real features.
const REAL: &str = "features_2";

fn main() -> ExitCode {
    golden::run("golden_metrics", &["metrics"], |file| {
        if file.name().starts_with("metrics_inception") {
            return inception::cases(file);
        }
        let outputs = file.keys().into_iter().filter(|key| !is_input(key));
        outputs.map(|key| case(Arc::clone(file), key)).collect()
    })
}

fn is_input(key: &str) -> bool {
    key.starts_with("features_")
        || key.starts_with("kid.subset_idx_")
        || key == "is.logits"
        || (key.starts_with("is.") && key.ends_with(".perm"))
}

fn case(file: Arc<File>, key: String) -> Case {
    Case::new(key.clone(), move |errors| {
        let (ours, tolerance) = compute(&file, &key)?;
        let reference = file.values(&key).map_err(text)?;
        errors.compare(&key, &ours, &reference, tolerance)
    })
}

/// Our value for the output `key`, and how near it must be.
fn compute(file: &File, key: &str) -> Result<(Vec<f64>, Tolerance), String> {
    let unknown = || format!("no metric of this package has the key `{key}`");
    let fields: Vec<&str> = key.split('.').collect();
    match *fields.as_slice() {
        ["fid", _library, sets] => frechet_of(file, sets),
        ["kid", estimator] => Ok((vec![kernel_of(file, estimator)?], Tolerance::Relative(1e-10))),
        ["prc", "torch_fidelity", k, score] | ["prdc", k, score] => {
            let k = number(k, "k").ok_or_else(unknown)?;
            Ok((vec![manifold_of(file, k, score)?], Tolerance::Absolute(1e-7)))
        }
        ["is", order, splits, statistic] => {
            let splits = number(splits, "splits").ok_or_else(unknown)?;
            Ok((vec![inception_of(file, order, splits, statistic)?], Tolerance::Relative(1e-10)))
        }
        [tensor] => {
            let (moment, set) = ["mu", "sigma"]
                .into_iter()
                .find_map(|moment| Some((moment, tensor.strip_prefix(moment)?)))
                .ok_or_else(unknown)?;
            let gaussian = gaussian_of(file, set)?.0;
            let ours = if moment == "mu" { gaussian.mean() } else { gaussian.covariance() };
            Ok((ours.to_vec(), Tolerance::Relative(1e-12)))
        }
        _ => Err(unknown()),
    }
}

/// `sets` names two sets of features, such as `1_1half`; an extra leading word describes them.
fn frechet_of(file: &File, sets: &str) -> Result<(Vec<f64>, Tolerance), String> {
    let names: Vec<&str> = sets.split('_').collect();
    let &[.., a, b] = names.as_slice() else { return Err(format!("`{sets}` does not name two sets")) };
    let ((a, a_deficient), (b, b_deficient)) = (gaussian_of(file, a)?, gaussian_of(file, b)?);
    let distance = frechet(&a, &b).map_err(text)?;
    let deficient = a_deficient || b_deficient;
    if distance.rank_deficient != deficient {
        return Err(format!("{sets}: rank deficient is {deficient}, but the ranks are {:?}", distance.ranks));
    }
    // Where a covariance is singular, the references' own ways to its root differ by more.
    Ok((vec![distance.value], Tolerance::Relative(if deficient { 1e-6 } else { 1e-8 })))
}

/// The Gaussian of a set, and whether its samples are too few for a covariance of full rank. A set is the number of a
/// features tensor, followed by `half` for the first half of its rows or `head` for half as many as dimensions.
fn gaussian_of(file: &File, set: &str) -> Result<(Gaussian, bool), String> {
    let number = set.trim_end_matches(char::is_alphabetic);
    let (shape, values) = file.tensor(&format!("features_{number}")).map_err(text)?;
    let &[n, d] = shape.as_slice() else { return Err(format!("features {number} have the shape {shape:?}")) };
    let rows = match &set[number.len()..] {
        "" => n,
        "half" => n / 2,
        "head" => d / 2,
        part => return Err(format!("`{part}` is no part of a set")),
    };
    let mut moments = Moments::new(d);
    moments.push(&values[..rows * d]).map_err(text)?;
    Ok((moments.gaussian().map_err(text)?, rows <= d))
}

fn kernel_of(file: &File, estimator: &str) -> Result<f64, String> {
    let (a, b) = (Matrix::read(file, GENERATED)?, Matrix::read(file, REAL)?);
    let (a, b) = (a.points()?, b.points()?);
    let kernel = KernelDistance::default();
    let whole = |estimator| kernel.distance(a, b, estimator).map_err(text);
    match estimator {
        "full_biased" => whole(Estimator::Biased),
        "full_unbiased" => whole(Estimator::Unbiased),
        "full_ustat" => whole(Estimator::UStatistic),
        "subsets_mean" | "subsets_std" => {
            let rows = |set| -> Result<Vec<Vec<usize>>, String> {
                let indices = Matrix::read(file, &format!("kid.subset_idx_{set}"))?;
                Ok(indices.points()?.rows().map(|row| row.iter().map(|&index| index as usize).collect()).collect())
            };
            let subsets: Vec<_> = rows(1)?.into_iter().zip(rows(2)?).collect();
            let found = kernel.over_subsets(a, b, &subsets).map_err(text)?;
            Ok(if estimator == "subsets_mean" { found.mean } else { found.deviation })
        }
        _ => Err(format!("no kernel distance has the estimator `{estimator}`")),
    }
}

fn manifold_of(file: &File, k: usize, score: &str) -> Result<f64, String> {
    let (real, generated) = (Matrix::read(file, REAL)?, Matrix::read(file, GENERATED)?);
    let scores = manifold_scores(real.points()?, generated.points()?, k).map_err(text)?;
    match score {
        "precision" => Ok(scores.precision),
        "recall" => Ok(scores.recall),
        "density" => Ok(scores.density),
        "coverage" => Ok(scores.coverage),
        "f_score" => Ok(scores.f_score()),
        _ => Err(format!("no manifold score is called `{score}`")),
    }
}

fn inception_of(file: &File, order: &str, splits: usize, statistic: &str) -> Result<f64, String> {
    let mut logits = Matrix::read(file, "is.logits")?;
    if order != "noshuffle" {
        let order = file.values(&format!("is.{order}.perm")).map_err(text)?;
        let points = logits.points()?;
        logits.values = order.iter().flat_map(|&index| points.row(index as usize).to_vec()).collect();
    }
    let score = inception_score(logits.points()?, splits).map_err(text)?;
    match statistic {
        "mean" => Ok(score.mean),
        "std" => Ok(score.deviation),
        _ => Err(format!("no statistic of the score is called `{statistic}`")),
    }
}

/// A tensor of the file with two axes.
struct Matrix {
    values: Vec<f64>,
    columns: usize,
}

impl Matrix {
    fn read(file: &File, key: &str) -> Result<Self, String> {
        let (shape, values) = file.tensor(key).map_err(text)?;
        match *shape.as_slice() {
            [_, columns] => Ok(Self { values, columns }),
            _ => Err(format!("{key} has the shape {shape:?}")),
        }
    }

    fn points(&self) -> Result<Points<'_>, String> {
        Points::new(&self.values, self.columns).map_err(|error: MetricError| error.to_string())
    }
}

/// The number in a field such as `splits10`.
fn number(field: &str, name: &str) -> Option<usize> {
    field.strip_prefix(name)?.parse().ok()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

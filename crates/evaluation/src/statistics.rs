//! Statistics of a set of images as a file: what a Frechet distance needs of its reference.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek};
use std::path::Path;

use npyz::npz::{NpzArchive, NpzWriter};
use npyz::{NpyFile, WriterBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sinter_metrics::Gaussian;

use crate::EvaluationError;

/// Mean and covariance of the features of a set of images.
///
/// As a file they are an `.npz` archive with `mu` `[d]` and `sigma` `[d, d]`, as pytorch-fid writes and reads it; `mu_s` and
/// `sigma_s` are those of spatial features, as in ADM's suite. Files of this program have `about` besides: the bytes of
/// a JSON object with what the statistics are of.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Of pooled features.
    pub pooled: Gaussian,
    /// Of spatial features.
    pub spatial: Option<Gaussian>,
    /// What they are of, if the file says so.
    pub about: Option<About>,
}

/// What statistics are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Name of the data and the part of it.
    pub reference: String,
    /// Fingerprint of the data.
    pub reference_hash: String,
    /// Its images.
    pub reference_images: u64,
    /// Name of the feature network.
    pub features: String,
    /// Hash of its weights.
    pub features_hash: String,
    /// What else its features depend on.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub features_settings: Map<String, Value>,
    /// How pixels were rounded before.
    pub quantization: String,
}

impl Statistics {
    /// Reads a file of this program, of pytorch-fid, or of ADM's suite.
    ///
    /// # Errors
    /// When the file cannot be read, or does not hold a mean and a covariance.
    pub fn read(path: &Path) -> Result<Self, EvaluationError> {
        let damaged = |message: String| EvaluationError::Statistics { path: path.into(), message };
        let file = File::open(path).map_err(|source| EvaluationError::File { path: path.into(), source })?;
        let mut archive = NpzArchive::new(BufReader::new(file))
            .map_err(|error| damaged(format!("not an .npz archive of statistics ({error})")))?;
        let about = match bytes(&mut archive, "about").map_err(damaged)? {
            Some(text) => Some(
                serde_json::from_slice::<About>(&text).map_err(|error| damaged(format!("array `about`: {error}")))?,
            ),
            None => None,
        };
        let count = about.as_ref().map(|about| about.reference_images);
        let mut gaussian = |mean: &str, covariance: &str| -> Result<Option<Gaussian>, EvaluationError> {
            let (mean_values, covariance_values) =
                (floats(&mut archive, mean).map_err(damaged)?, floats(&mut archive, covariance).map_err(damaged)?);
            match (mean_values, covariance_values) {
                (Some(mean), Some(covariance)) => {
                    Gaussian::new(mean, covariance, count).map(Some).map_err(|error| damaged(error.to_string()))
                }
                (None, None) => Ok(None),
                _ => Err(damaged(format!("arrays `{mean}` and `{covariance}` belong together, one is missing"))),
            }
        };
        let pooled = gaussian("mu", "sigma")?;
        let spatial = gaussian("mu_s", "sigma_s")?;
        let pooled = pooled.ok_or_else(|| damaged("there are no arrays `mu` and `sigma` in it".into()))?;
        Ok(Self { pooled, spatial, about })
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), EvaluationError> {
        let failed = |source| EvaluationError::File { path: path.into(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let temporary = path.with_extension(format!("{}.partial", std::process::id()));
        self.write_to(&temporary).and_then(|()| fs::rename(&temporary, path)).map_err(failed)
    }

    fn write_to(&self, path: &Path) -> std::io::Result<()> {
        let mut archive = NpzWriter::new(BufWriter::new(File::create(path)?));
        let options = npyz::zip::write::FileOptions::default;
        let mut array = |name: &str, shape: &[u64], values: &[f64]| -> std::io::Result<()> {
            let mut array = archive.array(name, options())?.default_dtype().shape(shape).begin_nd()?;
            array.extend(values.iter().copied())?;
            array.finish()
        };
        for (mean, covariance, gaussian) in
            [("mu", "sigma", Some(&self.pooled)), ("mu_s", "sigma_s", self.spatial.as_ref())]
        {
            if let Some(gaussian) = gaussian {
                let d = gaussian.dimension() as u64;
                array(mean, &[d], gaussian.mean())?;
                array(covariance, &[d, d], gaussian.covariance())?;
            }
        }
        if let Some(about) = &self.about {
            let text = serde_json::to_vec(about)?;
            let mut array =
                archive.array("about", options())?.default_dtype().shape(&[text.len() as u64]).begin_nd()?;
            array.extend(text)?;
            array.finish()?;
        }
        Ok(())
    }
}

/// The 64-bit or 32-bit floats of an array, if it is there.
fn floats(archive: &mut NpzArchive<impl Read + Seek>, name: &str) -> Result<Option<Vec<f64>>, String> {
    let told = |error: std::io::Error| format!("array `{name}`: {error}");
    let Some(array) = archive.by_name(name).map_err(told)? else { return Ok(None) };
    let array = in_rows(array, name)?;
    match array.try_data::<f64>() {
        Ok(values) => Ok(Some(values.collect::<Result<_, _>>().map_err(told)?)),
        Err(array) => {
            let values = array.data::<f32>().map_err(|error| format!("array `{name}`: {error}"))?;
            Ok(Some(values.map(|value| value.map(f64::from)).collect::<Result<_, _>>().map_err(told)?))
        }
    }
}

fn bytes(archive: &mut NpzArchive<impl Read + Seek>, name: &str) -> Result<Option<Vec<u8>>, String> {
    let told = |error: std::io::Error| format!("array `{name}`: {error}");
    let Some(array) = archive.by_name(name).map_err(told)? else { return Ok(None) };
    let values = array.data::<u8>().map_err(|error| format!("array `{name}`: {error}"))?;
    Ok(Some(values.collect::<Result<_, _>>().map_err(told)?))
}

/// A covariance is symmetric, so that its order does not matter; a mean has one axis.
fn in_rows<R: Read>(array: NpyFile<R>, name: &str) -> Result<NpyFile<R>, String> {
    match array.shape() {
        [_] => Ok(array),
        [rows, columns] if rows == columns => Ok(array),
        shape => Err(format!("array `{name}` has the shape {shape:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(about: Option<About>) -> Statistics {
        let gaussian = |d: usize, scale: f64| {
            let covariance = (0..d * d).map(|i| if i % (d + 1) == 0 { scale } else { 0.25 }).collect();
            let count = about.as_ref().map(|about| about.reference_images);
            Gaussian::new((0..d).map(|i| i as f64 / 3.0).collect(), covariance, count).unwrap()
        };
        Statistics { pooled: gaussian(3, 1.5), spatial: Some(gaussian(2, 2.5)), about: about.clone() }
    }

    #[test]
    fn files_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/reference.npz");
        let about = About {
            reference: "shapes test".into(),
            reference_hash: "12".into(),
            reference_images: 100,
            features: "pixels".into(),
            features_hash: String::new(),
            features_settings: Map::new(),
            quantization: "8 bits".into(),
        };
        for about in [Some(about), None] {
            let written = statistics(about);
            written.write(&path).unwrap();
            assert_eq!(Statistics::read(&path).unwrap(), written);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn damage_is_told_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reference.npz");
        let message = || Statistics::read(&path).unwrap_err().to_string();
        assert!(message().contains("reference.npz"), "{}", message());
        statistics(None).write(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in [0, 10, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(message().contains("reference.npz"), "{}", message());
        }
        let mut archive = NpzWriter::new(File::create(&path).unwrap());
        let options = npyz::zip::write::FileOptions::default();
        let mut array = archive.array("mu", options).unwrap().default_dtype().shape(&[2]).begin_nd().unwrap();
        array.extend([1.0f64, 2.0]).unwrap();
        array.finish().unwrap();
        drop(archive);
        assert!(message().contains("`sigma` belong together"), "{}", message());
    }
}

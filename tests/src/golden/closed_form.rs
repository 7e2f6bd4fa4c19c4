//! The exact denoiser that golden samplers were run on.

use sinter_process::mixture::Mixture;

use super::File;

/// The mixture of a file's tensors `gmm.w` `[k]`, `gmm.mu` `[k, d]` and `gmm.var` `[k, d]`.
pub fn mixture(file: &File) -> Result<Mixture, String> {
    let rows = |key: &str| -> Result<Vec<Vec<f64>>, String> {
        let (shape, values) = file.tensor(key).map_err(|error| error.to_string())?;
        let dimension = shape.last().copied().unwrap_or(0).max(1);
        Ok(values.chunks(dimension).map(<[f64]>::to_vec).collect())
    };
    let weights = file.values("gmm.w").map_err(|error| error.to_string())?;
    Mixture::new(weights, rows("gmm.mu")?, rows("gmm.var")?).map_err(|error| error.to_string())
}

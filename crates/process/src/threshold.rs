//! Dynamic thresholding of predicted data.

/// Clips one image to the `ratio` quantile of its absolute values, kept within [1, `largest`], and divides by it
/// (Imagen, Saharia et al. 2022, section 2.3). Returns that bound.
///
/// `ratio` in [0, 1]; `largest` = 1 is plain clipping to [-1, 1].
pub fn dynamic_threshold(image: &mut [f64], ratio: f64, largest: f64) -> f64 {
    let mut sizes: Vec<f64> = image.iter().map(|value| value.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let bound = quantile(&sizes, ratio).max(1.0).min(largest);
    image.iter_mut().for_each(|value| *value = value.min(bound).max(-bound) / bound);
    bound
}

/// The quantile of sorted numbers, linear between neighbours; NaN of none.
fn quantile(sorted: &[f64], ratio: f64) -> f64 {
    let rank = ratio * (sorted.len() as f64 - 1.0);
    let at = |rank: f64| sorted.get(rank as usize).copied().unwrap_or(f64::NAN);
    at(rank.floor()) + (rank - rank.floor()) * (at(rank.ceil()) - at(rank.floor()))
}

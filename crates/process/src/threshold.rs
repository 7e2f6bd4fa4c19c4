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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_quantile_between_one_and_the_largest() {
        let image: Vec<f64> = (0..=10).map(|i| f64::from(i) * if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let bound = |ratio, largest| dynamic_threshold(&mut image.clone(), ratio, largest);
        assert_eq!(bound(0.25, 100.0), 2.5);
        assert_eq!(bound(1.0, 100.0), 10.0);
        assert_eq!(bound(0.25, 2.0), 2.0);
        assert_eq!(bound(0.05, 2.0), 1.0);
        let mut clipped = [-3.0, 0.5, 1.5];
        dynamic_threshold(&mut clipped, 0.995, 1.0);
        assert_eq!(clipped, [-1.0, 0.5, 1.0]);
    }
}

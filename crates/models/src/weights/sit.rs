//! SiT (willisma/SiT: `SiT` in models.py), for [`Dit`](crate::Dit).
//!
//! SiT's time is 1 at data and its velocity points there; here both are the other way round. That is a linear change of
//! the first layer that reads time and of the last layer, so its weights are changed, and the network is an ordinary DiT
//! told `t` itself (`objective.time_label = { type = "unit" }`). Its second half of channels, which no loss trains, is
//! left out.

use crate::layers::time_frequencies;
use crate::parameters::{Array, Arrays};

/// Reads cosines and sines of the time label.
const TIME: &str = "conditioning.time.mlp.input.weight";
/// Gives the patches.
const LAST: [&str; 2] = ["final_layer.projection.weight", "final_layer.projection.bias"];

/// SiT's tensors under our names, for velocity from data to noise; `channels` are the image's. What has another shape than
/// SiT's is left to be refused.
pub(super) fn turned(mut arrays: Arrays, channels: usize, patch: usize) -> Arrays {
    turn_time(&mut arrays);
    let kept = channels * patch * patch;
    for name in LAST {
        change(&mut arrays, name, |array| {
            let has_variance = match array.shape.last() {
                Some(columns) if *columns == kept => false,
                Some(columns) if *columns == 2 * kept => true,
                _ => return array,
            };
            let pixels = array.values.chunks_exact(if has_variance { 2 * channels } else { channels });
            let values = pixels.flat_map(|pixel| &pixel[..channels]).map(|value| -value).collect();
            with_last(&array.shape, kept, values)
        });
    }
    arrays
}

/// The inverse of [`turned`], with zeros for the channels that were left out.
pub(super) fn turned_back(mut arrays: Arrays, channels: usize, patch: usize) -> Arrays {
    turn_time(&mut arrays);
    for name in LAST {
        change(&mut arrays, name, |array| {
            let pixels = array.values.chunks_exact(channels);
            let with_rest = |pixel: &[f32]| {
                let given = pixel.iter().map(|value| -value).collect::<Vec<f32>>();
                given.into_iter().chain(std::iter::repeat_n(0.0, channels))
            };
            let values = pixels.flat_map(with_rest).collect();
            with_last(&array.shape, 2 * channels * patch * patch, values)
        });
    }
    arrays
}

/// Cosines and sines of `w (1 - t)` are those of `w t`, reflected: twice is not at all.
fn turn_time(arrays: &mut Arrays) {
    change(arrays, TIME, |array| {
        let &[features, width] = array.shape.as_slice() else { return array };
        let mut values = array.values.clone();
        for (i, frequency) in time_frequencies(features, false).enumerate() {
            let (sine, cosine) = frequency.sin_cos();
            for j in 0..width {
                let (of_cosine, of_sine) = (i * width + j, (features / 2 + i) * width + j);
                let (a, b) = (f64::from(array.values[of_cosine]), f64::from(array.values[of_sine]));
                values[of_cosine] = (a * cosine + b * sine) as f32;
                values[of_sine] = (a * sine - b * cosine) as f32;
            }
        }
        Array { shape: array.shape, values }
    });
}

fn change(arrays: &mut Arrays, name: &str, change: impl FnOnce(Array) -> Array) {
    if let Some((name, array)) = arrays.remove_entry(name) {
        arrays.insert(name, change(array));
    }
}

fn with_last(shape: &[usize], last: usize, values: Vec<f32>) -> Array {
    let mut shape = shape.to_vec();
    if let Some(size) = shape.last_mut() {
        *size = last;
    }
    Array { shape, values }
}

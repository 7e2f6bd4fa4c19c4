//! A file's images, put through the objective that trains.

use burn::tensor::{DType, Device, Tensor, TensorData};
use sinter_objectives::Denoising;
use sinter_process::{Path, PathPoint, Prediction, TimeLabel, Weight};

use crate::golden::File;

/// What the objective made of a batch.
pub(super) struct Outcome {
    /// What the network was shown, `[b, c, h, w]`.
    pub(super) input: Vec<f64>,
    /// The times that it was told, `[b]`.
    pub(super) labels: Vec<f64>,
    /// The loss of each image, `[b]`.
    pub(super) losses: Vec<f64>,
}

/// An objective that shows its network the state itself and the path's native time.
pub(super) fn objective(path: Path, prediction: Prediction, weight: Weight) -> Denoising {
    Denoising {
        path,
        prediction,
        input_scale: Default::default(),
        time_label: TimeLabel::Native,
        weight,
        time: Default::default(),
        condition_dropout: 0.0,
    }
}

/// Takes the losses of a batch, with `network` in place of a network.
pub(super) fn run(
    objective: &Denoising,
    data: Tensor<4>,
    noise: Tensor<4>,
    points: &[PathPoint],
    network: impl FnOnce(Tensor<4>) -> Tensor<4>,
) -> Result<Outcome, String> {
    let mut shown = None;
    let losses = objective.losses(data, noise, points, |input, labels| {
        shown = Some((input.clone(), labels));
        network(input)
    });
    let (input, labels) = shown.ok_or("the network was not asked")?;
    Ok(Outcome { input: numbers(input), labels: numbers(labels), losses: numbers(losses) })
}

/// A tensor of the file as a batch of images, in 64-bit floats.
pub(super) fn images(file: &File, key: &str) -> Result<Tensor<4>, String> {
    let (shape, values) = file.tensor(key).map_err(|error| error.to_string())?;
    let shape: [usize; 4] = shape.try_into().map_err(|shape| format!("{key}: {shape:?} is no batch of images"))?;
    Ok(batch(values, shape))
}

/// A batch of images in 64-bit floats.
pub(super) fn batch(values: Vec<f64>, shape: [usize; 4]) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F64))
}

/// The numbers of a tensor, in row-major order.
pub(super) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The numbers of a tensor of the file.
pub(super) fn read(file: &File, key: &str) -> Result<Vec<f64>, String> {
    file.values(key).map_err(|error| error.to_string())
}

/// `a first + b second` of each image, whose coefficients (a, b) follow from its point.
pub(super) fn combine(
    points: &[PathPoint],
    first: &[f64],
    second: &[f64],
    coefficients: impl Fn(&PathPoint) -> (f64, f64),
) -> Vec<f64> {
    let size = (first.len() / points.len().max(1)).max(1);
    let images = points.iter().zip(first.chunks(size).zip(second.chunks(size)));
    let combined = images.flat_map(|(point, (first, second))| {
        let (a, b) = coefficients(point);
        first.iter().zip(second).map(move |(first, second)| a * first + b * second)
    });
    combined.collect()
}

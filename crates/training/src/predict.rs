//! A run's network as a function of tensors: what it is compared by with other implementations.

use burn::tensor::{Int, Tensor, TensorData};
use sinter_models::parameters::{Array, Arrays};
use sinter_models::{Condition, DataShape};

use crate::{Run, TrainingError};

/// The output `[b, c', h, w]` of an open run's network, with nothing before or after it, as the tensor `output`.
///
/// `inputs` are the images `x` `[b, c, h, w]`, the time labels `t` `[b]` and, if they are to be asked for, the classes
/// `y` `[b]`, where the number of classes is the null class. Captions are not asked for.
///
/// # Errors
/// When the method's network does not map images to images; when a tensor is missing, not
/// known, or not of the run's shape, or a class is none.
pub fn predict(run: &Run, mut inputs: Arrays) -> Result<Arrays, TrainingError> {
    let refused = |reason: String| TrainingError::Config(format!("predict: {reason}"));
    let (model, shape) = (&run.config.model, run.conditioner.shape());
    let network = run.network()?;

    let mut take = |name: &str| inputs.remove(name).ok_or_else(|| refused(format!("tensor {name} is missing")));
    let (x, t, y) = (take("x")?, take("t")?, take("y").ok());
    if let Some(name) = inputs.keys().next() {
        return Err(refused(format!("tensor {name} is not one of x, t and y")));
    }
    let images = checked_images(&x, shape).map_err(refused)?;
    for (name, labels) in [("t", Some(&t)), ("y", y.as_ref())] {
        if let Some(labels) = labels.filter(|labels| labels.shape != [images]) {
            return Err(refused(format!(
                "tensor {name} {:?} is not [{images}], one for each image of x",
                labels.shape
            )));
        }
    }
    let classes = shape.classes + usize::from(model.has_null_class() && shape.has_classes());
    let class = match y {
        Some(y) => {
            let labels = labels(&y, classes).map_err(refused)?;
            Some(Tensor::<1, Int>::from_data(TensorData::new(labels, [images]), &run.device))
        }
        None => None,
    };

    let x = Tensor::<4>::from_data(TensorData::new(x.values, x.shape), &run.device);
    let t = Tensor::<1>::from_data(TensorData::new(t.values, t.shape), &run.device);
    let output = network.predict(x, t, &Condition { class, ..Condition::none() });
    let shape = output.dims().to_vec();
    let values = output.try_into_vec_as::<f32>().map_err(|error| TrainingError::Device(error.to_string()))?;
    Ok([("output".to_owned(), Array { shape, values })].into())
}

/// How many images `x` holds.
fn checked_images(x: &Array, shape: &DataShape) -> Result<usize, String> {
    let [c, h, w] = [shape.channels, shape.height, shape.width];
    match x.shape[..] {
        [images, ..] if images > 0 && x.shape[1..] == [c, h, w] => Ok(images),
        _ => Err(format!("tensor x {:?} is not [b, {c}, {h}, {w}], images of this run", x.shape)),
    }
}

/// Classes as whole numbers below `classes`.
fn labels(y: &Array, classes: usize) -> Result<Vec<i64>, String> {
    let label = |value: &f32| {
        let known = value.fract() == 0.0 && (0.0..classes as f32).contains(value);
        known.then_some(*value as i64).ok_or_else(|| format!("tensor y: {value} is not a class: there are {classes}"))
    };
    y.values.iter().map(label).collect()
}

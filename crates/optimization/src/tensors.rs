//! Flat tensors by parameter name: gradients, moments, averages.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use sinter_models::parameters::Arrays;

/// Flat tensors by name, outside any gradient graph.
pub type Tensors = BTreeMap<String, Tensor<1>>;

/// The tensors of `arrays` where those of `current` are: same names, same lengths, same device and float type.
///
/// The error lists every name that is missing, unknown or of another length.
pub(crate) fn load(current: &Tensors, arrays: &Arrays) -> Result<Tensors, String> {
    let mut problems: Vec<String> =
        arrays.keys().filter(|name| !current.contains_key(*name)).map(|name| format!("unknown: `{name}`")).collect();
    let mut loaded = Tensors::new();
    for (name, tensor) in current {
        match arrays.get(name) {
            None => problems.push(format!("missing: `{name}`")),
            Some(array) if array.values.len() != tensor.dims()[0] => problems.push(format!(
                "length: `{name}` has {} values, expected {}",
                array.values.len(),
                tensor.dims()[0]
            )),
            Some(array) => {
                let data = TensorData::from(array.values.as_slice());
                loaded.insert(name.clone(), Tensor::from_data(data, (&tensor.device(), tensor.dtype())));
            }
        }
    }
    if problems.is_empty() { Ok(loaded) } else { Err(problems.join(", ")) }
}

//! The parameters of a network by name.
//!
//! A name is the dotted path of fields and indices that leads to the parameter, such as
//! `blocks.0.attention.qkv.weight`. Variants of enums leave no trace in it: a [`Network`](crate::Network) and the
//! backbone inside it have the same names. Everything that outlives a process (checkpoints, weights on disk, optimizer
//! state, moving averages) is keyed by these names.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Gradients, Tensor, TensorCreationOptions, TensorData};

/// A tensor on the host: a shape and its elements in row-major order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Array {
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// As many elements as the product of `shape`.
    pub values: Vec<f32>,
}

/// Named tensors on the host.
pub type Arrays = BTreeMap<String, Array>;

/// Why named tensors do not fit a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The names or shapes differ; every difference is listed, one a line.
    #[error("the tensors do not fit the network:\n{}", .0.join("\n"))]
    Mismatch(Vec<String>),
    /// A parameter could not be read from its device.
    #[error("cannot read parameter {name} from its device: {reason}")]
    Unreadable {
        /// The parameter.
        name: String,
        /// What the device said.
        reason: String,
    },
}

/// A parameter as a network declares it.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its identity, by which layers know it.
    pub id: ParamId,
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
    /// Whether it is one of a [`Frozen`](crate::layers::Frozen), which nothing trains.
    pub is_frozen: bool,
}

/// How many numbers are trained, or would be if nothing were held fixed on purpose.
pub fn count<M: Module>(module: &M) -> usize {
    let trained = in_order(module).into_iter().filter(|parameter| !parameter.is_frozen);
    trained.map(|parameter| parameter.shape.iter().product::<usize>()).sum()
}

/// The shape of every parameter. Nothing is initialized or read.
pub fn names_and_shapes<M: Module>(module: &M) -> BTreeMap<String, Vec<usize>> {
    in_order(module).into_iter().map(|parameter| (parameter.name, parameter.shape)).collect()
}

/// Every parameter, in the order of the network's fields. Nothing is initialized or read.
pub fn in_order<M: Module>(module: &M) -> Vec<Declared> {
    struct InOrder(Path, Vec<Declared>);
    impl ModuleVisitor for InOrder {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.0.exit(container);
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let shape = parameter.lazy_shape().as_slice().to_vec();
            let (name, is_frozen) = (self.0.name(), self.0.in_frozen);
            self.1.push(Declared { name, id: parameter.id, shape, is_frozen });
        }
    }
    let mut visitor = InOrder(Path::default(), Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

/// Every parameter as a flat tensor on its device, outside any gradient graph.
pub fn tensors<M: Module>(module: &M) -> BTreeMap<String, Tensor<1>> {
    flat_tensors(module, false)
}

/// The parameters that require gradients, those that training changes, as flat tensors on their device, outside any
/// gradient graph.
pub fn trained<M: Module>(module: &M) -> BTreeMap<String, Tensor<1>> {
    flat_tensors(module, true)
}

fn flat_tensors<M: Module>(module: &M, trained_alone: bool) -> BTreeMap<String, Tensor<1>> {
    struct Tensors {
        path: Path,
        trained_alone: bool,
        found: BTreeMap<String, Tensor<1>>,
    }
    impl ModuleVisitor for Tensors {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let value = parameter.base();
            if value.is_require_grad() || !self.trained_alone {
                self.found.insert(self.path.name(), flat(value.without_autodiff()));
            }
        }
    }
    let mut visitor = Tensors { path: Path::default(), trained_alone, found: BTreeMap::new() };
    module.visit(&mut visitor);
    visitor.found
}

/// The module with gradients of the parameters that `is_trained` names, and of no others. Nothing is initialized.
pub fn train_only<M: Module>(module: M, is_trained: impl Fn(&str) -> bool) -> M {
    struct Freeze<F>(Path, F);
    impl<F: Fn(&str) -> bool> ModuleMapper for Freeze<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.0.exit(container);
        }
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let is_trained = (self.1)(&self.0.name());
            parameter.set_require_grad(is_trained)
        }
    }
    module.map(&mut Freeze(Path::default(), is_trained))
}

/// Every parameter, copied to the host in 32-bit floats.
///
/// # Errors
/// [`ParameterError::Unreadable`] if a device fails.
pub fn read<M: Module>(module: &M) -> Result<Arrays, ParameterError> {
    let shapes = names_and_shapes(module);
    let on_host = |(name, tensor): (String, Tensor<1>)| {
        let values = tensor
            .cast(DType::F32)
            .try_into_vec_as::<f32>()
            .map_err(|error| ParameterError::Unreadable { name: name.clone(), reason: error.to_string() })?;
        let shape = shapes.get(&name).cloned().unwrap_or_default();
        Ok((name, Array { shape, values }))
    };
    tensors(module).into_iter().map(on_host).collect()
}

/// The module with every parameter taken from `arrays`; what requires gradients still does.
///
/// # Errors
/// [`ParameterError::Mismatch`], naming each one, if a parameter is missing from `arrays`, if `arrays` holds a name that
/// the module does not have, or if a shape differs. Nothing is written then.
pub fn write<M: Module>(module: M, arrays: Arrays) -> Result<M, ParameterError> {
    struct Write(Path, Arrays);
    impl ModuleMapper for Write {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.0.exit(container);
        }
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(array) = self.1.remove(&self.0.name()) else { return parameter };
            let device = parameter.lazy_device();
            let options = match parameter.is_initialized() {
                true => TensorCreationOptions::from((&device, parameter.dtype())),
                false => TensorCreationOptions::from(&device),
            };
            let tensor = Tensor::from_data(TensorData::new(array.values, array.shape), options);
            let id = parameter.id;
            parameter.transform_for_load(tensor, id)
        }
    }
    compare(&names_and_shapes(&module), &arrays)?;
    Ok(module.map(&mut Write(Path::default(), arrays)))
}

/// Every difference between the names and shapes of a network and those of `arrays`.
fn compare(expected: &BTreeMap<String, Vec<usize>>, arrays: &Arrays) -> Result<(), ParameterError> {
    let names: BTreeSet<&String> = expected.keys().chain(arrays.keys()).collect();
    let difference = |name: &String| match (expected.get(name), arrays.get(name)) {
        (Some(shape), None) => Some(format!("missing: {name} {shape:?}")),
        (None, Some(array)) => Some(format!("unknown: {name} {:?}", array.shape)),
        (Some(shape), Some(array)) if *shape != array.shape => {
            Some(format!("shape: {name} is {:?}, the network's is {shape:?}", array.shape))
        }
        (Some(shape), Some(array)) if shape.iter().product::<usize>() != array.values.len() => {
            Some(format!("length: {name} {shape:?} has {} values", array.values.len()))
        }
        _ => None,
    };
    let differences: Vec<String> = names.into_iter().filter_map(difference).collect();
    if differences.is_empty() { Ok(()) } else { Err(ParameterError::Mismatch(differences)) }
}

/// The gradient of every parameter that requires one, flat, on its device, outside any gradient graph.
///
/// A parameter that took no part in the loss (a label table in an unconditional batch, say) has gradient zero. Frozen
/// parameters have no entry.
pub fn gradients<M: Module>(module: &M, gradients: &Gradients) -> BTreeMap<String, Tensor<1>> {
    struct Collect<'a>(Path, &'a Gradients, BTreeMap<String, Tensor<1>>);
    impl ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.0.exit(container);
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let value = parameter.base();
            if value.is_require_grad() {
                let gradient = value.grad(self.1).unwrap_or_else(|| value.without_autodiff().zeros_like());
                self.2.insert(self.0.name(), flat(gradient));
            }
        }
    }
    let mut visitor = Collect(Path::default(), gradients, BTreeMap::new());
    module.visit(&mut visitor);
    visitor.2
}

/// The module with every parameter replaced by `change(name, flat)`, which must keep the length.
///
/// `flat` lies outside any gradient graph, and so must the result. Afterwards a parameter is a leaf of the gradient
/// graph again exactly where it was one before.
pub fn map<M: Module>(module: M, change: impl FnMut(&str, Tensor<1>) -> Tensor<1>) -> M {
    struct Change<F>(Path, F);
    impl<F: FnMut(&str, Tensor<1>) -> Tensor<1>> ModuleMapper for Change<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.0.exit(container);
        }
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.0.name();
            parameter.map(|tensor| {
                let (shape, requires_gradient) = (tensor.shape(), tensor.is_require_grad());
                let strategy = tensor.gradient_checkpointing_strategy();
                let changed = (self.1)(&name, flat(tensor.without_autodiff())).reshape(shape);
                match strategy {
                    Some(strategy) => changed
                        .autodiff()
                        .with_gradient_checkpointing_strategy(strategy)
                        .set_require_grad(requires_gradient),
                    None => changed,
                }
            })
        }
    }
    module.map(&mut Change(Path::default(), change))
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let length = tensor.shape().num_elements();
    tensor.reshape([length])
}

/// Where in a module a traversal stands.
#[derive(Default)]
struct Path {
    parts: Vec<String>,
    in_frozen: bool,
}

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        if Self::is_frozen(container) {
            self.in_frozen = true;
        } else if !Self::is_variant(container) {
            self.parts.push(name.to_owned());
        }
    }

    fn exit(&mut self, container: &str) {
        if Self::is_frozen(container) {
            self.in_frozen = false;
        } else if !Self::is_variant(container) {
            self.parts.pop();
        }
    }

    fn name(&self) -> String {
        self.parts.join(".")
    }

    /// A [`Frozen`](crate::layers::Frozen), whose one field is its numbers: names end with what holds it.
    fn is_frozen(container: &str) -> bool {
        container == "Struct:Frozen"
    }

    fn is_variant(container: &str) -> bool {
        container.starts_with("Enum:")
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::initialization::{Initialization, Start};
    use crate::layers::{Linear, Mlp};
    use crate::testing::{assert_close, normal, values};

    #[derive(Module, Debug)]
    enum Either {
        Stack(Stack),
    }

    #[derive(Module, Debug)]
    struct Stack {
        first: Linear,
        rest: Vec<Mlp>,
        unused: Option<Linear>,
    }

    fn stack(device: &Device, seed: u64) -> Either {
        let init = &mut Initialization::new(seed, device);
        let first = Linear::new(2, 3, Start::FanIn, init);
        let rest = vec![Mlp::new(3, 4, 3, Start::FanIn, init)];
        Either::Stack(Stack { first, rest, unused: Some(Linear::new(1, 1, Start::Xavier, init)) })
    }

    fn forward(module: &Either, x: Tensor<2>) -> Tensor<2> {
        let Either::Stack(stack) = module;
        stack.rest.iter().fold(stack.first.forward(x.into()), |x, mlp| mlp.forward_silu(x)).value
    }

    #[test]
    fn names_are_paths_without_variants() {
        let module = stack(&Device::flex(), 0);
        let names: Vec<String> = names_and_shapes(&module).into_keys().collect();
        assert_eq!(
            names,
            [
                "first.bias",
                "first.weight",
                "rest.0.input.bias",
                "rest.0.input.weight",
                "rest.0.output.bias",
                "rest.0.output.weight",
                "unused.bias",
                "unused.weight",
            ]
        );
        assert_eq!(names_and_shapes(&module)["rest.0.input.weight"], [3, 4]);
        assert_eq!(count(&module), 2 * 3 + 3 + 3 * 4 + 4 + 4 * 3 + 3 + 2);
    }

    #[test]
    fn what_is_read_can_be_written_to_another() {
        let device = Device::flex().autodiff();
        let (one, two) = (stack(&device, 1), stack(&device, 2));
        assert_ne!(read(&one).unwrap(), read(&two).unwrap());
        let two = write(two, read(&one).unwrap()).unwrap();
        assert_eq!(read(&one).unwrap(), read(&two).unwrap());
        // Written before its first use, too, and still trainable.
        let three = write(stack(&device, 3), read(&one).unwrap()).unwrap();
        assert_eq!(read(&one).unwrap(), read(&three).unwrap());
        let Either::Stack(stack) = &three;
        assert!(stack.first.weight.val().is_require_grad());
    }

    #[test]
    fn every_difference_is_named_and_nothing_is_written() {
        let module = stack(&Device::flex(), 0);
        let mut arrays = read(&module).unwrap();
        arrays.remove("first.bias");
        arrays.insert("extra".into(), Array { shape: vec![1], values: vec![0.0] });
        arrays.insert("first.weight".into(), Array { shape: vec![3, 2], values: vec![0.0; 6] });
        arrays.insert("unused.bias".into(), Array { shape: vec![1], values: vec![] });
        let Err(ParameterError::Mismatch(differences)) = write(module, arrays) else { panic!("was written") };
        assert_eq!(
            differences,
            [
                "unknown: extra [1]",
                "missing: first.bias [3]",
                "shape: first.weight is [3, 2], the network's is [2, 3]",
                "length: unused.bias [1] has 0 values",
            ]
        );
    }

    #[test]
    fn gradients_come_by_name_and_are_zero_where_nothing_flowed() {
        let device = Device::flex().autodiff();
        let module = stack(&device, 0);
        let x = normal::<2>(0, [5, 2], &device);
        let backward = forward(&module, x.clone()).sum().backward();
        let gradients = gradients(&module, &backward);
        assert_eq!(gradients.len(), 8);
        assert_eq!(values(&gradients["rest.0.output.bias"]), [5.0; 3]);
        assert_eq!(values(&gradients["unused.weight"]), [0.0]);
        assert_eq!(gradients["first.weight"].dims(), [6]);
        // Against a difference quotient, for one weight.
        let moved = |step: f32| {
            let changed = map(module.clone(), |name, flat| {
                let length = flat.dims()[0];
                if name != "first.weight" {
                    return flat;
                }
                let one = Tensor::<1>::from_data(TensorData::new(vec![step; length], [length]), &flat.device());
                flat + one
            });
            forward(&changed, x.clone()).sum().into_scalar::<f32>()
        };
        let quotient = (moved(0.01) - moved(-0.01)) / 0.02;
        assert_close(&[values(&gradients["first.weight"]).iter().sum()], &[quotient], 1e-3);
    }

    #[test]
    fn mapping_keeps_leaves_trainable_and_frozen_ones_frozen() {
        let device = Device::flex().autodiff();
        let Either::Stack(mut inner) = stack(&device, 0);
        inner.first = inner.first.no_grad();
        let module = map(Either::Stack(inner), |_, flat| {
            assert!(!flat.is_autodiff());
            flat * 2.0
        });
        let backward = forward(&module, normal(0, [5, 2], &device)).sum().backward();
        let gradients = gradients(&module, &backward);
        assert!(!gradients.contains_key("first.weight"));
        assert!(values(&gradients["rest.0.input.weight"]).iter().any(|value| *value != 0.0));
        // Evaluation copies map too, and stay outside the graph.
        let evaluated = map(module.valid(), |_, flat| flat * 0.0);
        assert_eq!(values(&forward(&evaluated, normal(0, [5, 2], &Device::flex()))), [0.0; 15]);
    }
}

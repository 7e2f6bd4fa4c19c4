//! A network with its optimizer: the unit that methods own and checkpoints name.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Tensor;
use sinter_kernels::Moments;
use sinter_models::parameters::{self, Array, Arrays};

use crate::{Algorithm, Muon, OptimizationError, OptimizerConfig, Tensors, global_norm, tensors};

/// What one update did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Learning rate that was used.
    pub learning_rate: f64,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
}

/// A named part of a method, seen by the trainer: parameters and optimizer state in and out.
pub trait Part {
    /// Name of the part, unique within its method.
    fn name(&self) -> &str;
    /// The parameters that are trained, all but frozen ones, on their device, flat, by name, outside any gradient
    /// graph.
    fn tensors(&self) -> Tensors;
    /// Parameters on the host.
    ///
    /// # Errors
    /// When a device fails.
    fn parameters(&self) -> Result<Arrays, OptimizationError>;
    /// Replaces all parameters.
    ///
    /// # Errors
    /// When a name is unknown or missing, or a shape differs.
    fn load_parameters(&mut self, arrays: Arrays) -> Result<(), OptimizationError>;
    /// Optimizer state on the host, as `<slot>/<parameter>`.
    fn state(&self) -> Arrays;
    /// Updates made so far.
    fn updates(&self) -> u64;
    /// Replaces the optimizer state.
    ///
    /// # Errors
    /// When it does not match the parameters by name and shape.
    fn load_state(&mut self, arrays: &Arrays, updates: u64) -> Result<(), OptimizationError>;
}

/// A network of type `M`, how it is updated, and its optimizer's state. A copy shares its tensors until either is
/// updated.
#[derive(Clone, Debug)]
pub struct Trainable<M: Module> {
    name: String,
    network: Option<M>,
    config: OptimizerConfig,
    shapes: BTreeMap<String, Vec<usize>>,
    state: Tensors,
    updates: u64,
}

impl<M: Module> Trainable<M> {
    /// Wraps a network whose parameters live on an autodiff device; moments begin at zero. Frozen parameters have none.
    pub fn new(name: &str, network: M, config: OptimizerConfig) -> Self {
        let shapes = parameters::names_and_shapes(&network);
        let mut state = Tensors::new();
        for (parameter, tensor) in parameters::trained(&network) {
            for slot in slots(&config.algorithm, &parameter, &shapes[&parameter]) {
                state.insert(format!("{slot}/{parameter}"), tensor.zeros_like());
            }
        }
        Self { name: name.to_string(), network: Some(network), config, shapes, state, updates: 0 }
    }

    /// The network.
    #[allow(clippy::expect_used, reason = "the network is absent only inside `update`, which puts it back")]
    pub fn network(&self) -> &M {
        self.network.as_ref().expect("present outside `update`")
    }

    /// The network without gradients: its own weights, replaced by those of `averages` where they are named there.
    pub fn trained(&self, averages: Option<&Tensors>) -> M {
        let network = self.network().valid();
        match averages {
            Some(averages) => parameters::map(network, |name, own| averages.get(name).cloned().unwrap_or(own)),
            None => network,
        }
    }

    /// A moment may have the right length and the wrong shape; lengths are left to [`tensors::load`].
    fn check_shapes(&self, arrays: &Arrays) -> Result<(), String> {
        for (key, array) in arrays {
            match self.shapes.get(parameter_of(key)) {
                Some(shape) if *shape != array.shape => {
                    return Err(format!("`{key}` has shape {:?} where the parameter has {shape:?}", array.shape));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// One update from the gradient of every parameter. `images` is the clock before this batch.
    ///
    /// # Errors
    /// When a gradient is not finite: nothing is changed then.
    pub fn update(&mut self, mut gradients: Tensors, images: u64) -> Result<Update, OptimizationError> {
        let gradient_norm = global_norm(&gradients).map_err(|error| error.within(&self.name))?;
        let gradient_scale = match self.config.clip_norm {
            Some(limit) if gradient_norm > limit => limit / gradient_norm,
            _ => 1.0,
        };
        let learning_rate = self.config.learning_rate * self.config.schedule.factor(images);
        self.updates += 1;
        let step = Step { learning_rate, gradient_scale, updates: self.updates };
        let (algorithm, shapes, state) = (&self.config.algorithm, &self.shapes, &mut self.state);
        self.network = self.network.take().map(|network| {
            parameters::map(network, |name, parameter| match gradients.remove(name) {
                Some(gradient) => step.apply(algorithm, name, &shapes[name], parameter, gradient, state),
                None => parameter,
            })
        });
        Ok(Update { learning_rate, gradient_norm })
    }
}

/// The parameter that a state tensor `<slot>/<parameter>` belongs to.
fn parameter_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(_, parameter)| parameter)
}

/// The state tensors that a rule keeps for one parameter.
fn slots(algorithm: &Algorithm, name: &str, shape: &[usize]) -> &'static [&'static str] {
    match algorithm {
        Algorithm::Muon(_) if Muon::matrix(name, shape).is_some() => &["momentum"],
        _ => &["first_moment", "second_moment"],
    }
}

/// What all parameters of one update share.
struct Step {
    learning_rate: f64,
    gradient_scale: f64,
    updates: u64,
}

impl Step {
    #[allow(clippy::expect_used, reason = "`new` makes every slot and `load_state` keeps the names")]
    fn apply(
        &self,
        algorithm: &Algorithm,
        name: &str,
        shape: &[usize],
        parameter: Tensor<1>,
        gradient: Tensor<1>,
        state: &mut Tensors,
    ) -> Tensor<1> {
        let mut take = |slot: &str| state.remove(&format!("{slot}/{name}")).expect("every slot is made by `new`");
        let (rule, learning_rate) = match algorithm {
            Algorithm::Muon(muon) => match Muon::matrix(name, shape) {
                Some(matrix) => {
                    let gradient = gradient.mul_scalar(self.gradient_scale);
                    let (parameter, momentum) =
                        muon.step(parameter, gradient, take("momentum"), matrix, self.learning_rate);
                    state.insert(format!("momentum/{name}"), momentum);
                    return parameter;
                }
                None => (&muon.adamw, self.learning_rate * muon.adamw_ratio),
            },
            Algorithm::Adamw(adamw) => (adamw, self.learning_rate),
        };
        let moments = Moments { first: take("first_moment"), second: take("second_moment") };
        let (parameter, moments) =
            rule.step(parameter, gradient, moments, learning_rate, self.gradient_scale, self.updates);
        state.insert(format!("first_moment/{name}"), moments.first);
        state.insert(format!("second_moment/{name}"), moments.second);
        parameter
    }
}

impl<M: Module> Part for Trainable<M> {
    fn name(&self) -> &str {
        &self.name
    }

    fn tensors(&self) -> Tensors {
        parameters::trained(self.network())
    }

    fn parameters(&self) -> Result<Arrays, OptimizationError> {
        Ok(parameters::read(self.network())?)
    }

    fn load_parameters(&mut self, arrays: Arrays) -> Result<(), OptimizationError> {
        self.network = Some(parameters::write(self.network().clone(), arrays)?);
        Ok(())
    }

    fn state(&self) -> Arrays {
        let shaped = |(key, tensor): (&String, &Tensor<1>)| {
            let values = tensor.clone().into_data().iter::<f32>().collect();
            (key.clone(), Array { shape: self.shapes[parameter_of(key)].clone(), values })
        };
        self.state.iter().map(shaped).collect()
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn load_state(&mut self, arrays: &Arrays, updates: u64) -> Result<(), OptimizationError> {
        self.check_shapes(arrays)
            .and_then(|()| tensors::load(&self.state, arrays))
            .map(|state| {
                self.state = state;
                self.updates = updates;
            })
            .map_err(|message| OptimizationError::State { owner: format!("optimizer of `{}`", self.name), message })
    }
}

//! The policy as rollouts ask it.

use std::cell::{Cell, RefCell};

use burn::tensor::Tensor;
use sinter_models::{Condition, Network};
use sinter_process::{Parameterization, PathPoint};
use sinter_sampling::{Denoiser, Guidance, guided_data};
use sinter_solvers::Level;

/// A network under guidance, which counts the images it is asked about and may keep its answers.
pub(super) struct Policy<'a> {
    network: &'a Network,
    process: &'a Parameterization,
    guidance: Guidance,
    evaluations: Cell<u64>,
    answers: RefCell<Option<Vec<Tensor<4>>>>,
}

impl<'a> Policy<'a> {
    /// A network without gradients.
    pub(super) fn new(network: &'a Network, process: &'a Parameterization, guidance: Guidance) -> Self {
        Self { network, process, guidance, evaluations: Cell::new(0), answers: RefCell::new(None) }
    }

    /// Images taken through the network so far, once for each branch of guidance.
    pub(super) fn evaluations(&self) -> u64 {
        self.evaluations.get()
    }

    /// What `run` gives, and the expected data of each evaluation in it.
    pub(super) fn recorded<T>(&self, run: impl FnOnce() -> T) -> (T, Vec<Tensor<4>>) {
        *self.answers.borrow_mut() = Some(Vec::new());
        let result = run();
        (result, self.answers.borrow_mut().take().unwrap_or_default())
    }

    fn predict(&self, input: Tensor<4>, labels: Tensor<1>, condition: &Condition) -> Tensor<4> {
        self.evaluations.set(self.evaluations.get() + input.dims()[0] as u64);
        self.network.predict(input, labels, condition)
    }
}

impl Denoiser for Policy<'_> {
    fn parameterization(&self) -> &Parameterization {
        self.process
    }

    fn output(&self, x: Tensor<4>, point: &PathPoint, condition: &Condition) -> Tensor<4> {
        let c = x.dims()[1];
        let label = self.process.time_label.label(&self.process.path, point);
        let labels = sinter_sampling::values(&vec![label; x.dims()[0]], &x.device(), x.dtype());
        let input = x.mul_scalar(self.process.input_scale.scale(point));
        self.predict(input, labels, condition).narrow(1, 0, c)
    }

    /// The same function of the network as updates take, guidance included: before an update, ratios are 1.
    fn data(&self, x: Tensor<4>, alpha: f64, sigma: f64, condition: &Condition) -> Tensor<4> {
        let levels = vec![Level { alpha, sigma }; x.dims()[0]];
        let data = guided_data(self.process, self.guidance, x, &levels, condition, |input, labels, condition| {
            self.predict(input, labels, condition)
        });
        if let Some(answers) = self.answers.borrow_mut().as_mut() {
            answers.push(data.clone());
        }
        data
    }
}

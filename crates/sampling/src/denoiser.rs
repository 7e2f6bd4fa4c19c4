//! What a sampler needs of a model.

use burn::tensor::{DType, Device, Tensor, TensorData};
use sinter_models::layers::tap::Representation;
use sinter_models::{Condition, Network};
use sinter_process::{Parameterization, PathPoint};
use sinter_solvers::Level;

/// A model whose output can be read: (x, t, condition) -> a prediction of known parameterization.
pub trait Denoiser {
    /// The path it was trained on and what its output means.
    fn parameterization(&self) -> &Parameterization;

    /// The model's output at `x`, `[b, c, h, w]`, which lies on the model's own path at `point`.
    fn output(&self, x: Tensor<4>, point: &PathPoint, condition: &Condition) -> Tensor<4>;

    /// What each block makes of `x`, as [`output`](Self::output) takes it; nothing where there are no blocks.
    fn representations(&self, _x: Tensor<4>, _point: &PathPoint, _condition: &Condition) -> Vec<Representation> {
        Vec::new()
    }

    /// The prediction of clean data at a state `x = alpha x0 + sigma eps` of *any* path, `[b, c, h, w]`.
    ///
    /// Paths with one lambda are rescalings of each other, so the state is brought to the model's own path at the
    /// time of the same lambda.
    fn data(&self, x: Tensor<4>, alpha: f64, sigma: f64, condition: &Condition) -> Tensor<4> {
        let parameterization = self.parameterization();
        let point = parameterization.path.at(parameterization.path.time_of_lambda((alpha / sigma).ln()));
        let x = x.mul_scalar(scale_between(alpha, sigma, &point));
        let map = parameterization.prediction.data_from(&point);
        let output = self.output(x.clone(), &point, condition);
        x.mul_scalar(map.x) + output.mul_scalar(map.prediction)
    }
}

/// The prediction of clean data, `[b, c, h, w]`, at states `x`, each at a level of its own on *any* path: see
/// [`Denoiser::data`].
///
/// `network` maps (scaled input `[b, c, h, w]`, time labels `[b]`) to its output; gradients flow through it.
pub fn data_at_each(
    parameterization: &Parameterization,
    x: Tensor<4>,
    levels: &[Level],
    network: impl FnOnce(Tensor<4>, Tensor<1>) -> Tensor<4>,
) -> Tensor<4> {
    let Parameterization { path, input_scale, time_label, prediction } = parameterization;
    let points: Vec<PathPoint> =
        levels.iter().map(|level| path.at(path.time_of_lambda((level.alpha / level.sigma).ln()))).collect();
    let column = |of: &dyn Fn(usize) -> f64| per_image(&(0..levels.len()).map(of).collect::<Vec<_>>(), &x);
    let to_path = |i: usize| scale_between(levels[i].alpha, levels[i].sigma, &points[i]);
    let labels: Vec<f64> = points.iter().map(|point| time_label.label(path, point)).collect();
    let maps: Vec<_> = points.iter().map(|point| prediction.data_from(point)).collect();

    let c = x.dims()[1];
    let input = x.clone() * column(&|i| to_path(i) * input_scale.scale(&points[i]));
    let output = network(input, values(&labels, &x.device(), x.dtype())).narrow(1, 0, c); // [b, c, h, w]
    x.clone() * column(&|i| to_path(i) * maps[i].x) + output * column(&|i| maps[i].prediction)
}

/// The factor from a state with (alpha, sigma) to the state of equal lambda at `point`. Taken from the larger of the
/// two coefficients, so that it holds at pure noise (alpha = 0) and at pure data (sigma = 0).
fn scale_between(alpha: f64, sigma: f64, point: &PathPoint) -> f64 {
    if alpha > sigma { point.alpha / alpha } else { point.sigma / sigma }
}

/// A network with the parameterization it was trained under.
#[derive(Clone, Debug)]
pub struct NetworkDenoiser {
    /// The network, outside any gradient graph.
    pub network: Network,
    /// What its output means.
    pub parameterization: Parameterization,
}

impl Denoiser for NetworkDenoiser {
    fn parameterization(&self) -> &Parameterization {
        &self.parameterization
    }

    fn output(&self, x: Tensor<4>, point: &PathPoint, condition: &Condition) -> Tensor<4> {
        let c = x.dims()[1];
        let (input, labels) = self.asked(x, point);
        let output = self.network.predict(input, labels, condition); // [b, c or 2c, h, w]
        output.narrow(1, 0, c)
    }

    fn representations(&self, x: Tensor<4>, point: &PathPoint, condition: &Condition) -> Vec<Representation> {
        let (input, labels) = self.asked(x, point);
        self.network.representations(input, labels, condition)
    }
}

impl NetworkDenoiser {
    /// What the network reads: the scaled images `[b, c, h, w]` and their time labels `[b]`.
    fn asked(&self, x: Tensor<4>, point: &PathPoint) -> (Tensor<4>, Tensor<1>) {
        let parameterization = &self.parameterization;
        let label = parameterization.time_label.label(&parameterization.path, point);
        let labels = values(&vec![label; x.dims()[0]], &x.device(), x.dtype());
        (x.mul_scalar(parameterization.input_scale.scale(point)), labels)
    }
}

/// A vector of host values on a device, in a given float type, `[n]`.
pub fn values(values: &[f64], device: &Device, dtype: DType) -> Tensor<1> {
    Tensor::from_data(TensorData::from(values), (device, dtype))
}

/// One coefficient an image, shaped to multiply images: `[b, 1, 1, 1]`.
pub fn per_image(coefficients: &[f64], like: &Tensor<4>) -> Tensor<4> {
    values(coefficients, &like.device(), like.dtype()).reshape([coefficients.len(), 1, 1, 1])
}

//! What a network is made of and what it costs: a table by layer, and its totals.
//!
//! One pass of a single image through the network, its weights zero, gives shapes, multiply-adds and activations
//! ([`trace`](crate::layers::trace)); the parameters come from the network itself, so that all are counted, whether or
//! not a layer reports.

use std::collections::HashMap;

use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor};
use sinter_config::Problems;

use crate::classifier::Classifier;
use crate::condition::Condition;
use crate::initialization::Initialization;
use crate::layers::trace::{self, Kind, Operation};
use crate::network::ModelConfig;
use crate::parameters::{self, Declared};
use crate::shape::DataShape;

/// Bytes of a kept number.
const BYTES: usize = size_of::<f32>();

/// A layer, or what is done between layers without weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where in the network: what the names of its parameters begin with. What has no weights has the path of the part
    /// of the network that it is in.
    pub path: String,
    /// What it does; `None` if it took no part in the pass.
    pub kind: Option<Kind>,
    /// Sizes of its result, of one image; empty if it took no part.
    pub output: Vec<usize>,
    /// Trained parameters.
    pub parameters: usize,
    /// Those of them that an image leaves idle: the experts that it does not take.
    pub idle: usize,
    /// Multiply-adds of products and convolutions, of one image; those of norms, nonlinearities, biases and sums are
    /// not counted.
    pub macs: usize,
    /// Bytes of activations that the backward pass needs, of one image; see [`Summary::activations`].
    pub activations: usize,
}

/// A network by layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// In the order of the pass; last the layers that took no part.
    pub rows: Vec<Row>,
    /// Numbers that belong to the network and are not trained: the positions of a DiT.
    pub fixed: usize,
}

impl Summary {
    /// Of the network that `config` describes, for data of the given shape. The pass runs on `device`.
    ///
    /// # Errors
    /// Every problem of `config` with this shape.
    pub fn new(config: &ModelConfig, shape: &DataShape, device: &Device) -> Result<Self, Problems> {
        let mut init = Initialization::zeros(device);
        let x = Tensor::zeros([1, shape.channels, shape.height, shape.width], device);
        if let ModelConfig::Classifier(config) = config {
            let problems = config.validate(shape);
            if !problems.is_empty() {
                return Err(problems);
            }
            let network = Classifier::new(config, shape, &mut init);
            return Ok(Self::of(&network, 0, || drop(network.forward(x, None))));
        }
        let network = config.build_from(shape, init)?;
        let class = shape.has_classes().then(|| Tensor::zeros([1], device));
        let condition = Condition { class, ..Condition::none() };
        let pass = || drop(network.forward(x, Tensor::zeros([1], device), &condition, None));
        Ok(Self::of(&network, network.fixed(), pass))
    }

    /// Of a network and a `pass` of one image through it.
    fn of<M: Module>(network: &M, fixed: usize, pass: impl FnOnce()) -> Self {
        let mut parameters = parameters::in_order(network);
        parameters.retain(|parameter| !parameter.is_frozen);
        let layers: HashMap<ParamId, &str> =
            parameters.iter().map(|parameter| (parameter.id, parent(&parameter.name))).collect();
        let mut rows: Vec<Row> = Vec::new();
        for Operation { weight, kind, output, macs, kept, idle } in trace::record(pass) {
            let layer = layers.get(&weight).copied().unwrap_or_default();
            let path = if kind.has_weights() { layer } else { parent(layer) };
            let row = match rows.iter().position(|row| row.path == path && row.kind == Some(kind)) {
                Some(index) => &mut rows[index],
                None => rows.push_mut(Row { output: output[1..].to_vec(), ..Row::new(path, Some(kind)) }),
            };
            row.macs += macs;
            row.activations += kept * BYTES;
            row.idle = idle;
        }
        for Declared { name, shape, .. } in &parameters {
            let layer = parent(name);
            let row = match rows.iter().position(|row| row.path == layer && row.kind.is_none_or(Kind::has_weights)) {
                Some(index) => &mut rows[index],
                None => rows.push_mut(Row::new(layer, None)),
            };
            row.parameters += shape.iter().product::<usize>();
        }
        Self { rows, fixed }
    }

    /// Trained parameters, all that are stored.
    pub fn parameters(&self) -> usize {
        self.rows.iter().map(|row| row.parameters).sum()
    }

    /// Trained parameters that one image has to do with: all but those of the experts that it does not take.
    pub fn active(&self) -> usize {
        self.rows.iter().map(|row| row.parameters - row.idle).sum()
    }

    /// Multiply-adds of one image.
    pub fn macs(&self) -> usize {
        self.rows.iter().map(|row| row.macs).sum()
    }

    /// Bytes of activations that the backward pass of `batch` images needs, in 32-bit floats.
    ///
    /// An estimate: what linear layers, convolutions, attention, norms, nonlinearities, gates and experts read. What
    /// two of them read counts twice; the statistics of norms, dropout's masks and vectors of the condition on their way
    /// through a nonlinearity do not count, nor does what an operation needs while it runs.
    pub fn activations(&self, batch: usize) -> usize {
        batch * self.rows.iter().map(|row| row.activations).sum::<usize>()
    }
}

impl Row {
    fn new(path: &str, kind: Option<Kind>) -> Self {
        Self { path: path.to_owned(), kind, output: Vec::new(), parameters: 0, idle: 0, macs: 0, activations: 0 }
    }
}

/// What comes before the last dot of a name.
fn parent(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::ClassifierConfig;
    use crate::dit::DitConfig;
    use crate::network::tests::networks;
    use crate::routing::{ExpertsConfig, RoutingConfig};

    fn summary(config: &ModelConfig, shape: &DataShape) -> Summary {
        Summary::new(config, shape, &Device::flex()).unwrap()
    }

    /// A DiT as the reference trains it on ImageNet at 256 x 256.
    fn dit(width: usize, depth: usize, heads: usize, routing: Option<RoutingConfig>) -> Summary {
        let config = DitConfig { width, depth, heads, learned_variance: true, routing, ..DitConfig::default() };
        summary(&ModelConfig::Dit(config), &DataShape::images(4, 32, 32).with_classes(1000))
    }

    #[test]
    fn rows_hold_every_parameter_and_every_layer_reports() {
        let check = |summary: Summary, count: usize| {
            assert_eq!((summary.parameters(), summary.active()), (count, count));
            let silent: Vec<&Row> = summary.rows.iter().filter(|row| row.kind.is_none()).collect();
            assert!(silent.is_empty(), "{silent:?}");
            for (index, row) in summary.rows.iter().enumerate() {
                assert_eq!(row.parameters > 0, row.kind.unwrap().has_weights(), "{row:?}");
                assert!(
                    summary.rows[..index].iter().all(|before| (&before.path, before.kind) != (&row.path, row.kind))
                );
            }
        };
        for (config, shape) in networks(0.1) {
            let network = config.build(&shape, &Device::flex(), 0).unwrap();
            check(summary(&config, &shape), parameters::count(&network));
        }
        let (config, shape) = (ClassifierConfig::default(), DataShape::images(1, 28, 28).with_classes(10));
        let network = config.build(&shape, &Device::flex(), 0).unwrap();
        check(summary(&ModelConfig::Classifier(config), &shape), parameters::count(&network));
    }

    #[test]
    fn rows_follow_the_pass_and_know_their_places() {
        let rows = dit(16, 1, 2, None).rows;
        let found: Vec<_> =
            rows.iter().map(|row| (row.path.as_str(), row.kind.unwrap(), row.output.as_slice())).collect();
        assert_eq!(
            found,
            [
                ("conditioning.time.mlp.input", Kind::Linear, &[16][..]),
                ("conditioning.time.mlp", Kind::Activation, &[16]),
                ("conditioning.time.mlp.output", Kind::Linear, &[16]),
                ("conditioning.class", Kind::Embedding, &[16]),
                ("patch_embedding", Kind::PatchEmbedding, &[256, 16]),
                ("blocks.0.modulation", Kind::Linear, &[96]),
                ("blocks.0", Kind::ModulatedNorm, &[256, 16]),
                ("blocks.0.attention.qkv", Kind::Linear, &[256, 48]),
                ("blocks.0.attention", Kind::Attention, &[256, 16]),
                ("blocks.0.attention.projection", Kind::Linear, &[256, 16]),
                ("blocks.0", Kind::Gate, &[256, 16]),
                ("blocks.0.mlp.input", Kind::Linear, &[256, 64]),
                ("blocks.0.mlp", Kind::Activation, &[256, 64]),
                ("blocks.0.mlp.output", Kind::Linear, &[256, 16]),
                ("final_layer.modulation", Kind::Linear, &[32]),
                ("final_layer", Kind::ModulatedNorm, &[256, 16]),
                ("final_layer.projection", Kind::Linear, &[256, 32]),
            ]
        );
    }

    /// The GFLOPs of Peebles and Xie (2023), table 4, are multiply-adds, and one for each number that is normalized.
    #[test]
    fn multiply_adds_are_the_published_ones() {
        let (tokens, patch) = (256, 4 * 2 * 2);
        let count = |width: usize, depth: usize| {
            let square = width * width;
            let block = 12 * tokens * square + 2 * tokens * tokens * width + 6 * square;
            depth * block + 3 * tokens * width * patch + 3 * square + 256 * width
        };
        let sizes = [(384, 12, 6, 6.06), (768, 12, 12, 23.01), (1024, 24, 16, 80.71), (1152, 28, 16, 118.64)];
        for (width, depth, heads, published) in sizes {
            for depth in [1, 2] {
                assert_eq!(dit(width, depth, heads, None).macs(), count(width, depth), "width {width}");
            }
            let normalized = (2 * depth + 1) * tokens * width;
            let giga = (count(width, depth) + normalized) as f64 / 1e9;
            assert_eq!((giga * 100.0).round() / 100.0, published, "width {width}");
        }
    }

    /// Of a block, in tokens of its width: the inputs of two norms, of qkv (1) and the projection (1), of the two-layer
    /// network (1 and 4) and its nonlinearity (4), of two gates, and queries, keys and values (3). And the condition.
    #[test]
    fn activations_are_what_operations_read() {
        let (one, two) = (dit(16, 1, 2, None), dit(16, 2, 2, None));
        assert_eq!(two.activations(3) - one.activations(3), 3 * 4 * (18 * 256 * 16 + 16));
    }

    /// Park et al. (2024) count the parameters at work, 36M.
    #[test]
    fn idle_experts_are_not_active() {
        let summary = dit(384, 12, 6, Some(RoutingConfig::Experts(ExpertsConfig::default())));
        assert_eq!(summary.parameters(), 38_201_156);
        assert_eq!(summary.active(), 38_201_156 - 12 * (384 * 384 + 384));
        assert_eq!(summary.fixed, 256 * 384);
        // Beside DiT-S/2: a gate, three experts mixed for the image, and one product.
        let more = 12 * (3 * 384 + 3 * (384 * 384 + 384) + 256 * 384 * 384);
        assert_eq!(summary.macs() - dit(384, 12, 6, None).macs(), more);
    }
}

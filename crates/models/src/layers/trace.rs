//! What the layers of a network do in one pass: shapes, multiply-adds, and what a backward pass would keep.
//!
//! Every layer reports its pass to the thread that it runs on. Reports are kept only while [`record`] runs a pass;
//! otherwise a report is one look at a variable of the thread.

use std::cell::RefCell;

use burn::module::{Param, ParamId};
use burn::tensor::Tensor;

thread_local! {
    static OPERATIONS: RefCell<Option<Vec<Operation>>> = const { RefCell::new(None) };
}

/// What is done to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `x W + b`.
    Linear,
    /// A convolution.
    Convolution,
    /// Image to tokens.
    PatchEmbedding,
    /// A row of a table for each label or token.
    Embedding,
    /// Normalization over groups of channels.
    GroupNorm,
    /// Normalization over features, with a scale and a shift of its own.
    LayerNorm,
    /// Normalization over features, whose scale and shift come from the condition.
    ModulatedNorm,
    /// A nonlinearity between two layers.
    Activation,
    /// The two products of attention.
    Attention,
    /// A branch times the gate through which it is added to its input.
    Gate,
    /// Linear experts, mixed for each image.
    Experts,
}

impl Kind {
    /// The name, as tables print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Convolution => "convolution",
            Self::PatchEmbedding => "patch embedding",
            Self::Embedding => "embedding",
            Self::GroupNorm => "group norm",
            Self::LayerNorm => "layer norm",
            Self::ModulatedNorm => "modulated norm",
            Self::Activation => "activation",
            Self::Attention => "attention",
            Self::Gate => "gate",
            Self::Experts => "experts",
        }
    }

    /// Whether this is a layer with weights. What has none is known by a layer beside it.
    pub fn has_weights(self) -> bool {
        !matches!(self, Self::ModulatedNorm | Self::Activation | Self::Attention | Self::Gate)
    }
}

/// One operation on one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// A weight of the layer; where there are no weights, of the layer beside, which makes what this one reads.
    pub weight: ParamId,
    /// What is done.
    pub kind: Kind,
    /// Sizes of the result, the batch first.
    pub output: Vec<usize>,
    /// Multiply-adds of products and convolutions; those of norms, nonlinearities, biases and sums are not counted.
    pub macs: usize,
    /// Numbers that the backward pass needs: what the operation reads.
    pub kept: usize,
    /// Parameters that an image leaves idle.
    pub idle: usize,
}

impl Operation {
    fn new(weight: ParamId, kind: Kind, input: &[usize], output: &[usize]) -> Self {
        Self { weight, kind, output: output.to_vec(), macs: 0, kept: elements(input), idle: 0 }
    }
}

/// The operations of one pass on this thread, in their order.
pub fn record(pass: impl FnOnce()) -> Vec<Operation> {
    OPERATIONS.replace(Some(Vec::new()));
    pass();
    OPERATIONS.take().unwrap_or_default()
}

fn report(operation: impl FnOnce() -> Operation) {
    OPERATIONS.with_borrow_mut(|operations| operations.as_mut().map(|operations| operations.push(operation())));
}

fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// A linear layer, `[in, out]`, on `[..., in]`.
pub(crate) fn linear<const D: usize>(weight: &Param<Tensor<2>>, input: [usize; D]) {
    report(|| {
        let [_, outputs] = weight.dims();
        let mut output = input;
        output[D - 1] = outputs;
        Operation { macs: elements(&input) * outputs, ..Operation::new(weight.id, Kind::Linear, &input, &output) }
    });
}

/// A convolution, `[out, in, size, size]`, on `[b, in, h, w]`, padded so that stride 1 keeps the image's size.
pub(crate) fn convolution(weight: &Param<Tensor<4>>, input: [usize; 4], stride: usize) {
    report(|| {
        let ([outputs, inputs, rows, columns], [b, _, h, w]) = (weight.dims(), input);
        let output = [b, outputs, h.div_ceil(stride), w.div_ceil(stride)];
        let macs = elements(&output) * inputs * rows * columns;
        Operation { macs, ..Operation::new(weight.id, Kind::Convolution, &input, &output) }
    });
}

/// A patch embedding, `[d, c, p, p]`, on `[b, c, h, w]`.
pub(crate) fn patch_embedding(weight: &Param<Tensor<4>>, input: [usize; 4]) {
    report(|| {
        let ([width, _, patch, _], [b, _, h, w]) = (weight.dims(), input);
        let output = [b, (h / patch) * (w / patch), width];
        let macs = elements(&input) * width;
        Operation { macs, ..Operation::new(weight.id, Kind::PatchEmbedding, &input, &output) }
    });
}

/// Rows of a table; only their numbers are kept, which are few.
pub(crate) fn embedding<const D: usize>(weight: &Param<Tensor<2>>, output: [usize; D]) {
    report(|| Operation::new(weight.id, Kind::Embedding, &[0], &output));
}

/// A norm, a nonlinearity or a gate, whose result has the shape of what it reads.
pub(crate) fn pointwise<const W: usize, const D: usize>(kind: Kind, weight: &Param<Tensor<W>>, input: [usize; D]) {
    report(|| Operation::new(weight.id, kind, &input, &input));
}

/// Attention of queries `[b, h, n, d]` to keys `[b, h, m, d]` and as many values, beside the layer that made the
/// queries.
pub(crate) fn attention(beside: &Param<Tensor<2>>, queries: [usize; 4], keys: [usize; 4]) {
    report(|| {
        let ([b, heads, n, d], [_, _, m, _]) = (queries, keys);
        let (read, output) = ([b, n + 2 * m, heads * d], [b, n, heads * d]);
        let macs = 2 * b * heads * n * m * d;
        Operation { macs, ..Operation::new(beside.id, Kind::Attention, &read, &output) }
    });
}

/// Self-attention on a packed projection `[b, n, 3 d]`, beside the layer that made it.
pub(crate) fn packed_attention(beside: &Param<Tensor<2>>, qkv: [usize; 3]) {
    let [b, n, packed] = qkv;
    attention(beside, [b, 1, n, packed / 3], [b, 1, n, packed / 3]);
}

/// Linear experts, `[experts, d, d]` with biases, of which an image takes `active`, on tokens `[b, n, d]`. Their
/// weights are mixed, then multiplied with the tokens, and the result with the tokens again.
pub(crate) fn experts(weight: &Param<Tensor<3>>, active: usize, input: [usize; 3]) {
    report(|| {
        let ([experts, width, _], [b, _, _]) = (weight.dims(), input);
        let (one, tokens) = (width * width + width, elements(&input));
        Operation {
            macs: b * experts * one + tokens * width,
            kept: 2 * tokens + b * width * width,
            idle: (experts - active) * one,
            ..Operation::new(weight.id, Kind::Experts, &input, &input)
        }
    });
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::dual::Dual;
    use crate::initialization::{Initialization, Rule, Start};
    use crate::layers::{ClassEmbedding, Conv2d, CrossAttention, GroupNorm, LayerNorm, Linear};
    use crate::layers::{Mlp, PatchEmbedding, SelfAttention};
    use crate::routing::{Experts, ExpertsConfig};

    fn zeros<const D: usize>(shape: [usize; D]) -> Dual<D> {
        Tensor::zeros(shape, &Device::flex()).into()
    }

    /// Kind, sizes of the result, multiply-adds and numbers kept, of each operation. The last result is the pass's own.
    fn recorded<const D: usize>(pass: impl FnOnce() -> Dual<D>) -> Vec<(Kind, Vec<usize>, usize, usize)> {
        let mut output = Vec::new();
        let operations = record(|| output = pass().dims().to_vec());
        assert_eq!(operations.last().unwrap().output, output);
        operations
            .into_iter()
            .map(|operation| (operation.kind, operation.output, operation.macs, operation.kept))
            .collect()
    }

    #[test]
    fn every_layer_says_what_it_costs() {
        let init = &mut Initialization::zeros(&Device::flex());
        let linear = Linear::new(3, 5, Start::FanIn, init);
        // 2 x 7 rows of 3 x 5.
        assert_eq!(recorded(|| linear.forward(zeros([2, 7, 3]))), [(Kind::Linear, vec![2, 7, 5], 210, 42)]);

        let keeping = Conv2d::new(3, 5, 3, Start::FanIn, init);
        // 2 x 5 x 7 x 6 results of 3 x 3 x 3 each; then 2 x 5 x 4 x 3.
        let found = recorded(|| keeping.forward(zeros([2, 3, 7, 6])));
        assert_eq!(found, [(Kind::Convolution, vec![2, 5, 7, 6], 11_340, 252)]);
        let found = recorded(|| keeping.halving().forward(zeros([2, 3, 7, 6])));
        assert_eq!(found, [(Kind::Convolution, vec![2, 5, 4, 3], 3_240, 252)]);

        let patches = PatchEmbedding::new(3, 2, 8, init);
        // 2 x 6 tokens of 3 x 2 x 2 numbers, to 8 features.
        let found = recorded(|| patches.forward(zeros([2, 3, 4, 6])));
        assert_eq!(found, [(Kind::PatchEmbedding, vec![2, 6, 8], 1_152, 144)]);

        let classes = ClassEmbedding::new(3, true, 4, Rule::ZEROS, init);
        assert_eq!(recorded(|| classes.forward(None, 2).unwrap().into()), [(Kind::Embedding, vec![2, 4], 0, 0)]);

        let norm = GroupNorm::new(8, 2, init);
        for pass in [GroupNorm::forward, GroupNorm::forward_silu] {
            let found = recorded(|| pass(&norm, zeros([2, 8, 3, 3])));
            assert_eq!(found, [(Kind::GroupNorm, vec![2, 8, 3, 3], 0, 144)]);
        }
        let found = recorded(|| norm.forward_modulated_silu(zeros([2, 8, 3, 3]), zeros([2, 8]), zeros([2, 8])));
        assert_eq!(found, [(Kind::GroupNorm, vec![2, 8, 3, 3], 0, 144)]);
        let norm = LayerNorm::new(8, init);
        assert_eq!(recorded(|| norm.forward(zeros([2, 3, 8]))), [(Kind::LayerNorm, vec![2, 3, 8], 0, 48)]);

        let mlp = Mlp::new(3, 4, 5, Start::FanIn, init);
        for pass in [Mlp::forward_gelu::<2>, Mlp::forward_silu::<2>] {
            let expected = [
                (Kind::Linear, vec![2, 4], 24, 6),
                (Kind::Activation, vec![2, 4], 0, 8),
                (Kind::Linear, vec![2, 5], 40, 8),
            ];
            assert_eq!(recorded(|| pass(&mlp, zeros([2, 3]))), expected);
        }
    }

    #[test]
    fn attention_is_two_products_over_all_pairs() {
        let init = &mut Initialization::zeros(&Device::flex());
        let own = SelfAttention::new(8, 2, Start::Xavier, init);
        let expected = [
            (Kind::Linear, vec![2, 5, 24], 1_920, 80),
            // 2 images, 2 products, 5 x 5 pairs, 8 features; queries, keys and values of 2 x 5 x 8 each.
            (Kind::Attention, vec![2, 5, 8], 800, 240),
            (Kind::Linear, vec![2, 5, 8], 640, 80),
        ];
        assert_eq!(recorded(|| own.forward(zeros([2, 5, 8]))), expected);
        assert_eq!(recorded(|| own.forward_masked(zeros([2, 5, 8]), zeros([2, 5]).value)), expected);

        let cross = CrossAttention::new(8, 4, 2, Start::Zero, init);
        let expected = [
            (Kind::Linear, vec![2, 5, 8], 640, 80),
            (Kind::Linear, vec![2, 3, 8], 192, 24),
            (Kind::Linear, vec![2, 3, 8], 192, 24),
            // 5 x 3 pairs; 5 queries, 3 keys, 3 values.
            (Kind::Attention, vec![2, 5, 8], 480, 176),
            (Kind::Linear, vec![2, 5, 8], 640, 80),
        ];
        assert_eq!(recorded(|| cross.forward(zeros([2, 5, 8]), zeros([2, 3, 4]), None)), expected);
    }

    #[test]
    fn experts_are_mixed_for_each_image() {
        let config = ExpertsConfig { count: 4, active: 2, ..ExpertsConfig::default() };
        let experts = Experts::new(&config, 4, &mut Initialization::zeros(&Device::flex()));
        let mut operations = record(|| drop(experts.mask(zeros([5, 3, 4]), zeros([5, 4]))));
        operations.sort_by_key(|operation| operation.macs);
        let [gate, experts] = operations.as_slice() else { panic!("{operations:?}") };
        assert_eq!((gate.kind, gate.macs, gate.kept), (Kind::Linear, 80, 20));
        // 5 images mix 4 experts of 4 x 4 + 4; 15 tokens then take a product of 4 x 4. What is kept: the tokens twice
        // (as read, and as multiplied with the mask), and the mixed weights.
        assert_eq!((experts.kind, experts.macs, experts.kept), (Kind::Experts, 400 + 240, 120 + 80));
        assert_eq!(experts.idle, 2 * 20);
    }

    #[test]
    fn nothing_is_kept_of_what_nobody_records() {
        let linear = Linear::new(3, 5, Start::FanIn, &mut Initialization::zeros(&Device::flex()));
        linear.forward(zeros([1, 3]));
        assert!(record(|| ()).is_empty());
        assert_eq!(record(|| drop(linear.forward(zeros([1, 3])))).len(), 1);
        linear.forward(zeros([1, 3]));
        assert!(record(|| ()).is_empty());
    }
}

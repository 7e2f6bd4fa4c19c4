//! The network as a table: which convolutions there are, what they are called, and how they are joined.
//!
//! It is Inception-v3 (Szegedy et al. 2016, arXiv:1512.00567) as in TensorFlow's graph of 2015-12-05, which FID (Heusel et
//! al. 2017, arXiv:1706.08500) was defined with; torchvision's differs in its pools. Names are torchvision's, which
//! pytorch-fid and torch-fidelity keep.

use std::collections::BTreeMap;

/// Channels of the images.
pub(super) const CHANNELS: usize = 3;
/// Channels of the last block: the length of FID's features.
pub(super) const FEATURES: usize = 2048;
/// Logits, of which 1000 are classes of ImageNet.
pub(super) const LOGITS: usize = 1008;

/// A convolution without bias, a normalization by fixed statistics, and a ReLU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Convolution {
    /// `<block>.<name>`; its tensors are `<this>.conv.weight` and `<this>.bn.*`.
    pub(super) name: String,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Height and width.
    pub(super) kernel: [usize; 2],
    pub(super) stride: usize,
    /// Zeros above and below, left and right.
    pub(super) padding: [usize; 2],
}

/// What follows what in a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Convolution(Convolution),
    /// Two convolutions of the same image, whose channels follow each other.
    Fork([Convolution; 2]),
    /// The mean over 3 x 3 pixels, of those that lie in the image (TensorFlow does not count its padding), then a
    /// convolution over single pixels.
    AveragePooled(Convolution),
    /// The largest of 3 x 3 pixels. Stride 1 keeps the size, stride 2 has no padding.
    MaxPool {
        stride: usize,
    },
}

/// Branches that read the same image, and whose channels follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) branches: Vec<Vec<Step>>,
    pub(super) outputs: usize,
}

/// Where the network's outputs are read, as numbers of blocks that are done.
pub(super) mod after {
    /// The first pool: 64 channels.
    pub(crate) const POOL_1: usize = 1;
    /// The second: 192.
    pub(crate) const POOL_2: usize = 2;
    /// `Mixed_6d`, `mixed_6` in TensorFlow's graph: 768 channels, of which the first are the branch `mixed_6/conv`.
    pub(crate) const MIXED_6D: usize = 9;
    /// `Mixed_6e`: 768.
    pub(crate) const MIXED_6E: usize = 10;
    /// `Mixed_7c`: 2048.
    pub(crate) const MIXED_7C: usize = 13;
}

/// The blocks in their order.
pub(super) fn blocks() -> Vec<Block> {
    let mut table = Table { channels: CHANNELS, blocks: Vec::new() };
    table.stem(vec![
        valid("Conv2d_1a_3x3", 32, 3, 2),
        valid("Conv2d_2a_3x3", 32, 3, 1),
        same("Conv2d_2b_3x3", 64, [3, 3]),
        Part::MaxPool(2),
    ]);
    table.stem(vec![valid("Conv2d_3b_1x1", 80, 1, 1), valid("Conv2d_4a_3x3", 192, 3, 1), Part::MaxPool(2)]);
    table.block_a("Mixed_5b", 32);
    table.block_a("Mixed_5c", 64);
    table.block_a("Mixed_5d", 64);
    table.block_b("Mixed_6a");
    table.block_c("Mixed_6b", 128);
    table.block_c("Mixed_6c", 160);
    table.block_c("Mixed_6d", 160);
    table.block_c("Mixed_6e", 192);
    table.block_d("Mixed_7a");
    table.block_e("Mixed_7b", vec![average_pooled("branch_pool", 192)]);
    // The last block's pool is another one, which is as in TensorFlow's graph.
    table.block_e("Mixed_7c", vec![Part::MaxPool(1), pointwise("branch_pool", 192)]);
    table.blocks
}

/// Every convolution, in the order in which the blocks name them.
pub(super) fn convolutions(blocks: &[Block]) -> impl Iterator<Item = &Convolution> {
    blocks.iter().flat_map(|block| &block.branches).flatten().flat_map(|step| match step {
        Step::Convolution(convolution) | Step::AveragePooled(convolution) => std::slice::from_ref(convolution),
        Step::Fork(both) => both.as_slice(),
        Step::MaxPool { .. } => &[],
    })
}

/// Names and shapes of every tensor that a file of weights must hold.
pub(super) fn tensors() -> BTreeMap<String, Vec<usize>> {
    let blocks = blocks();
    let mut tensors: BTreeMap<String, Vec<usize>> =
        [("fc.weight".to_owned(), vec![LOGITS, FEATURES]), ("fc.bias".to_owned(), vec![LOGITS])].into();
    for Convolution { name, inputs, outputs, kernel: [height, width], .. } in convolutions(&blocks) {
        tensors.insert(format!("{name}.conv.weight"), vec![*outputs, *inputs, *height, *width]);
        for part in ["weight", "bias", "running_mean", "running_var"] {
            tensors.insert(format!("{name}.bn.{part}"), vec![*outputs]);
        }
    }
    tensors
}

/// A step before its inputs are known.
enum Part {
    Convolution { name: &'static str, outputs: usize, kernel: [usize; 2], stride: usize, is_padded: bool },
    Fork { names: [&'static str; 2], outputs: usize },
    AveragePooled { name: &'static str, outputs: usize },
    MaxPool(usize),
}

/// Padded so that the size stays.
fn same(name: &'static str, outputs: usize, kernel: [usize; 2]) -> Part {
    Part::Convolution { name, outputs, kernel, stride: 1, is_padded: true }
}

/// A square kernel without padding.
fn valid(name: &'static str, outputs: usize, size: usize, stride: usize) -> Part {
    Part::Convolution { name, outputs, kernel: [size; 2], stride, is_padded: false }
}

/// Over single pixels.
fn pointwise(name: &'static str, outputs: usize) -> Part {
    same(name, outputs, [1, 1])
}

/// Over single pixels, after the mean over their neighbours.
fn average_pooled(name: &'static str, outputs: usize) -> Part {
    Part::AveragePooled { name, outputs }
}

struct Table {
    /// Channels of what the next block reads.
    channels: usize,
    blocks: Vec<Block>,
}

impl Table {
    fn stem(&mut self, parts: Vec<Part>) {
        self.push("", vec![parts]);
    }

    fn block_a(&mut self, name: &str, pooled: usize) {
        self.push(
            name,
            vec![
                vec![pointwise("branch1x1", 64)],
                vec![pointwise("branch5x5_1", 48), same("branch5x5_2", 64, [5, 5])],
                vec![
                    pointwise("branch3x3dbl_1", 64),
                    same("branch3x3dbl_2", 96, [3, 3]),
                    same("branch3x3dbl_3", 96, [3, 3]),
                ],
                vec![average_pooled("branch_pool", pooled)],
            ],
        );
    }

    fn block_b(&mut self, name: &str) {
        self.push(
            name,
            vec![
                vec![valid("branch3x3", 384, 3, 2)],
                vec![
                    pointwise("branch3x3dbl_1", 64),
                    same("branch3x3dbl_2", 96, [3, 3]),
                    valid("branch3x3dbl_3", 96, 3, 2),
                ],
                vec![Part::MaxPool(2)],
            ],
        );
    }

    fn block_c(&mut self, name: &str, inner: usize) {
        self.push(
            name,
            vec![
                vec![pointwise("branch1x1", 192)],
                vec![
                    pointwise("branch7x7_1", inner),
                    same("branch7x7_2", inner, [1, 7]),
                    same("branch7x7_3", 192, [7, 1]),
                ],
                vec![
                    pointwise("branch7x7dbl_1", inner),
                    same("branch7x7dbl_2", inner, [7, 1]),
                    same("branch7x7dbl_3", inner, [1, 7]),
                    same("branch7x7dbl_4", inner, [7, 1]),
                    same("branch7x7dbl_5", 192, [1, 7]),
                ],
                vec![average_pooled("branch_pool", 192)],
            ],
        );
    }

    fn block_d(&mut self, name: &str) {
        self.push(
            name,
            vec![
                vec![pointwise("branch3x3_1", 192), valid("branch3x3_2", 320, 3, 2)],
                vec![
                    pointwise("branch7x7x3_1", 192),
                    same("branch7x7x3_2", 192, [1, 7]),
                    same("branch7x7x3_3", 192, [7, 1]),
                    valid("branch7x7x3_4", 192, 3, 2),
                ],
                vec![Part::MaxPool(2)],
            ],
        );
    }

    fn block_e(&mut self, name: &str, pool: Vec<Part>) {
        self.push(
            name,
            vec![
                vec![pointwise("branch1x1", 320)],
                vec![
                    pointwise("branch3x3_1", 384),
                    Part::Fork { names: ["branch3x3_2a", "branch3x3_2b"], outputs: 384 },
                ],
                vec![
                    pointwise("branch3x3dbl_1", 448),
                    same("branch3x3dbl_2", 384, [3, 3]),
                    Part::Fork { names: ["branch3x3dbl_3a", "branch3x3dbl_3b"], outputs: 384 },
                ],
                pool,
            ],
        );
    }

    fn push(&mut self, block: &str, branches: Vec<Vec<Part>>) {
        let full = |name: &str| if block.is_empty() { name.to_owned() } else { format!("{block}.{name}") };
        let mut all = 0;
        let branches = branches.into_iter().map(|parts| {
            let mut channels = self.channels;
            let steps = parts.into_iter().map(|part| {
                let convolution = |name, outputs, kernel: [usize; 2], stride, is_padded: bool| Convolution {
                    name: full(name),
                    inputs: channels,
                    outputs,
                    kernel,
                    stride,
                    padding: kernel.map(|size| if is_padded { size / 2 } else { 0 }),
                };
                let (step, outputs) = match part {
                    Part::Convolution { name, outputs, kernel, stride, is_padded } => {
                        (Step::Convolution(convolution(name, outputs, kernel, stride, is_padded)), outputs)
                    }
                    Part::Fork { names: [wide, high], outputs } => {
                        let both = [(wide, [1, 3]), (high, [3, 1])];
                        let both = both.map(|(name, kernel)| convolution(name, outputs, kernel, 1, true));
                        (Step::Fork(both), 2 * outputs)
                    }
                    Part::AveragePooled { name, outputs } => {
                        (Step::AveragePooled(convolution(name, outputs, [1, 1], 1, true)), outputs)
                    }
                    Part::MaxPool(stride) => (Step::MaxPool { stride }, channels),
                };
                channels = outputs;
                step
            });
            let steps: Vec<Step> = steps.collect();
            all += channels;
            steps
        });
        let branches = branches.collect();
        self.blocks.push(Block { branches, outputs: all });
        self.channels = all;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_the_published_channels() {
        let channels: Vec<usize> = blocks().iter().map(|block| block.outputs).collect();
        assert_eq!(channels, [64, 192, 256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048]);
        let at = |done: usize| channels[done - 1];
        let taps = [after::POOL_1, after::POOL_2, after::MIXED_6D, after::MIXED_6E, after::MIXED_7C];
        assert_eq!(taps.map(at), [64, 192, 768, 768, FEATURES]);
        assert_eq!(after::MIXED_7C, channels.len());
    }

    #[test]
    fn parameters_are_as_many_as_published() {
        // torchvision's 23834568 without its second classifier, of which 2049000 make its 1000 logits.
        let blocks = blocks();
        assert_eq!(convolutions(&blocks).count(), 94);
        let trained = tensors().into_iter().filter(|(name, _)| !name.contains("running_"));
        let trained: usize = trained.map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(trained, 23_834_568 - 2_049_000 + 1008 * 2049);
    }
}

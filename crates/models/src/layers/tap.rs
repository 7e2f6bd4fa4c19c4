//! What the blocks of a network make of images: representations, for probes and for discriminators.
//!
//! Every block shows what it gives to the thread that it runs on. It is kept only while [`record`] or [`record_places`] runs
//! a pass; otherwise a look at a variable of the thread is all that it costs.

use std::cell::RefCell;

use burn::tensor::Tensor;
use sinter_kernels::image_task;

thread_local! {
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// What is kept of a pass.
struct Seen {
    /// The range of images that it is of. A thread that waits within a pass may take up another range meanwhile, whose
    /// blocks are not to be kept here.
    task: u64,
    kept: Kept,
}

enum Kept {
    Means(Vec<Representation>),
    Places(Vec<Places>),
}

/// What a block gives, averaged over places.
#[derive(Clone, Debug)]
pub struct Representation {
    /// Name of the block, such as `blocks.3`.
    pub block: String,
    /// One row an image, `[b, d]`.
    pub features: Tensor<2>,
}

/// What a block gives at every place: tokens or pixels.
#[derive(Clone, Debug)]
pub struct Places {
    /// Name of the block, such as `blocks.3`.
    pub block: String,
    /// `[b, n, d]`.
    pub features: Tensor<3>,
}

/// A pass on this thread and what the blocks gave in it, averaged over places, in their order.
pub fn record<T>(pass: impl FnOnce() -> T) -> (T, Vec<Representation>) {
    match keep(Kept::Means(Vec::new()), pass) {
        (result, Kept::Means(seen)) => (result, seen),
        (result, Kept::Places(_)) => (result, Vec::new()),
    }
}

/// A pass on this thread and what the blocks gave in it at every place, in their order. Gradients flow through.
pub fn record_places<T>(pass: impl FnOnce() -> T) -> (T, Vec<Places>) {
    match keep(Kept::Places(Vec::new()), pass) {
        (result, Kept::Places(seen)) => (result, seen),
        (result, Kept::Means(_)) => (result, Vec::new()),
    }
}

fn keep<T>(kept: Kept, pass: impl FnOnce() -> T) -> (T, Kept) {
    let outer = SEEN.replace(Some(Seen { task: image_task(), kept }));
    let result = pass();
    let seen = SEEN.replace(outer);
    (result, seen.map_or(Kept::Means(Vec::new()), |seen| seen.kept))
}

/// The representations of images that went through in parts: those of each block one after the other.
pub fn joined(parts: impl IntoIterator<Item = Vec<Representation>>) -> Vec<Representation> {
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_default();
    for part in parts {
        for (all, part) in all.iter_mut().zip(part) {
            all.features = Tensor::cat(vec![all.features.clone(), part.features], 0);
        }
    }
    all
}

/// A block gives tokens `[b, n, d]`.
pub(crate) fn tokens(part: &str, index: usize, tokens: &Tensor<3>) {
    see(|kept| match kept {
        Kept::Means(seen) => {
            let [b, _, d] = tokens.dims();
            seen.push(Representation {
                block: format!("{part}.{index}"),
                features: tokens.clone().mean_dim(1).reshape([b, d]),
            });
        }
        Kept::Places(seen) => {
            seen.push(Places { block: format!("{part}.{index}"), features: tokens.clone() });
        }
    });
}

/// A block gives feature maps `[b, d, h, w]`.
pub(crate) fn maps(part: &str, index: usize, maps: &Tensor<4>) {
    see(|kept| {
        let [b, d, h, w] = maps.dims();
        let pixels = maps.clone().reshape([b, d, h * w]);
        let block = format!("{part}.{index}");
        match kept {
            Kept::Means(seen) => {
                seen.push(Representation { block, features: pixels.mean_dim(2).reshape([b, d]) });
            }
            Kept::Places(seen) => seen.push(Places { block, features: pixels.swap_dims(1, 2) }),
        }
    });
}

fn see(keep: impl FnOnce(&mut Kept)) {
    SEEN.with_borrow_mut(|seen| {
        if let Some(seen) = seen.as_mut().filter(|seen| seen.task == image_task()) {
            keep(&mut seen.kept);
        }
    });
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use sinter_kernels::map_images;

    use super::*;

    /// A pass that waits within a range for ranges of its own, in which blocks are seen too.
    #[test]
    fn a_pass_keeps_its_own_blocks_only() {
        let device = Device::flex();
        let block = |value: usize| tokens("blocks", value, &Tensor::ones([1, 2, 3], &device));
        let seen = map_images(&device, 32, |outer| {
            let (_, seen) = record_places(|| {
                block(outer.start);
                map_images(&device, 64, |inner| {
                    block(1000 + inner.start);
                    record(|| block(2000)).1.len()
                });
                block(outer.start + 100);
            });
            (outer.start, seen.into_iter().map(|places| places.block).collect::<Vec<_>>())
        });
        assert!(seen.len() > 1);
        for (start, blocks) in seen {
            assert_eq!(blocks, [format!("blocks.{start}"), format!("blocks.{}", start + 100)]);
        }
        assert_eq!(record(|| block(1)).1.len(), 1);
    }
}

//! What the blocks of a network make of images: representations, for probes.
//!
//! Every block shows what it gives to the thread that it runs on. It is kept only while [`record`] runs a pass; otherwise
//! a look at a variable of the thread is all that it costs.

use std::cell::RefCell;

use burn::tensor::Tensor;

thread_local! {
    static SEEN: RefCell<Option<Vec<Representation>>> = const { RefCell::new(None) };
}

/// What a block gives, averaged over places.
#[derive(Clone, Debug)]
pub struct Representation {
    /// Name of the block, such as `blocks.3`.
    pub block: String,
    /// One row an image, `[b, d]`.
    pub features: Tensor<2>,
}

/// A pass on this thread and what the blocks gave in it, in their order.
pub fn record<T>(pass: impl FnOnce() -> T) -> (T, Vec<Representation>) {
    SEEN.replace(Some(Vec::new()));
    let result = pass();
    (result, SEEN.take().unwrap_or_default())
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
    see(part, index, || {
        let [b, _, d] = tokens.dims();
        tokens.clone().mean_dim(1).reshape([b, d])
    });
}

/// A block gives feature maps `[b, d, h, w]`.
pub(crate) fn maps(part: &str, index: usize, maps: &Tensor<4>) {
    see(part, index, || {
        let [b, d, h, w] = maps.dims();
        maps.clone().reshape([b, d, h * w]).mean_dim(2).reshape([b, d])
    });
}

fn see(part: &str, index: usize, features: impl FnOnce() -> Tensor<2>) {
    SEEN.with_borrow_mut(|seen| {
        if let Some(seen) = seen {
            seen.push(Representation { block: format!("{part}.{index}"), features: features() });
        }
    });
}

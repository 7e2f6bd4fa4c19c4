//! A part of another source.

use std::collections::HashMap;
use std::sync::Arc;

use crate::digest::sha256;
use crate::{DataError, Example, Source};

/// Chosen examples of another source, in a given order.
pub struct Subset {
    source: Arc<dyn Source>,
    indices: Vec<u64>,
}

impl Subset {
    /// The examples of `source` at `indices`, each of which must be below its length.
    pub fn new(source: Arc<dyn Source>, indices: Vec<u64>) -> Self {
        Self { source, indices }
    }

    /// The first `count` examples of `source`, or all of them if there are fewer.
    pub fn first(source: Arc<dyn Source>, count: u64) -> Self {
        let count = count.min(source.len());
        Self::new(source, (0..count).collect())
    }
}

impl Source for Subset {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len(&self) -> u64 {
        self.indices.len() as u64
    }

    fn shape(&self) -> [usize; 3] {
        self.source.shape()
    }

    fn class_names(&self) -> &[String] {
        self.source.class_names()
    }

    fn vocabulary(&self) -> &[String] {
        self.source.vocabulary()
    }

    fn longest_caption(&self) -> usize {
        self.source.longest_caption()
    }

    fn modes(&self) -> Option<(Vec<[f64; 2]>, f64)> {
        self.source.modes()
    }

    fn example(&self, index: u64) -> Result<Example, DataError> {
        match self.indices.get(index as usize) {
            Some(&index) => self.source.example(index),
            None => Err(DataError::Index { name: self.name().to_owned(), index, len: self.len() }),
        }
    }

    fn fingerprint(&self) -> String {
        let indices: Vec<u8> = self.indices.iter().flat_map(|index| index.to_le_bytes()).collect();
        sha256(format!("subset of {} at {}", self.source.fingerprint(), sha256(indices)))
    }
}

/// Which examples are held out when a data set has no split of its own: evenly spaced ones of every class, `fraction`
/// of each. It depends on nothing but the classes' order in the data, so every seed holds out the same examples.
pub fn held_out(classes: impl IntoIterator<Item = Option<u32>>, fraction: f64) -> Vec<bool> {
    let mut seen: HashMap<Option<u32>, u64> = HashMap::new();
    classes
        .into_iter()
        .map(|class| {
            let rank = seen.entry(class).or_default();
            *rank += 1;
            (*rank as f64 * fraction).floor() > ((*rank - 1) as f64 * fraction).floor()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_every_class_is_held_out() {
        let classes: Vec<_> = (0..1000u32).map(|index| Some(index * index % 3)).collect();
        let held = held_out(classes.clone(), 0.2);
        for class in 0..3 {
            let of_class: Vec<_> = held.iter().zip(&classes).filter(|(_, c)| **c == Some(class)).collect();
            let out = of_class.iter().filter(|(held, _)| **held).count();
            assert_eq!(out, (of_class.len() as f64 * 0.2).floor() as usize);
        }
        assert!(held_out(classes.clone(), 0.0).iter().all(|held| !held));
        assert!(held_out(classes, 1.0).iter().all(|held| *held));
    }
}

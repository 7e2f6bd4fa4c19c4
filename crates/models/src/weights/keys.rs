//! Tables that translate the names and layouts of another implementation's parameters.

use std::borrow::Cow;

use super::WeightsError;
use super::regroup::{Packed, copy, pack, single, unpack};
use crate::parameters::{Array, Arrays};

/// How one implementation's parameters map to ours: one to one, after `packed` and `copied`.
#[derive(Clone, Debug)]
pub struct KeyMap {
    /// The layers; of those that match a name, the first counts.
    pub layers: Cow<'static, [Rename]>,
    /// Single tensors, by their whole names; looked at before the layers.
    pub tensors: &'static [Rename],
    /// Their tensors that are fixed by the configuration, so that ours has none; `*` as in [`Rename`].
    pub fixed: &'static [&'static str],
    /// Their layers that are parts of one layer here.
    pub packed: &'static [Packed],
    /// Their layers of which every block has the same copy, where ours has one. The first `*` is the block's number;
    /// the rules name block 0's.
    pub copied: &'static [&'static str],
}

/// A layer (a weight and perhaps a bias) under two names.
///
/// Names are dotted; `*` stands for one part, the same on both sides, and `**` for one or more.
#[derive(Clone, Debug)]
pub struct Rename {
    /// Its name there.
    pub theirs: Cow<'static, str>,
    /// Its name here.
    pub ours: Cow<'static, str>,
    /// What its weight looks like there.
    pub layout: Layout,
}

/// What a weight looks like in the other implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As here.
    Same,
    /// `[out, in]`; here `[in, out]`.
    Linear,
    /// `[out, in, 1]`, a convolution over single points; here a linear layer's `[in, out]`.
    Pointwise,
    /// `[out, in, 1, 1]`, one over single pixels; here a linear layer's `[in, out]`.
    Pixelwise,
}

impl KeyMap {
    /// Their tensors under our names and in our layout.
    ///
    /// # Errors
    /// [`WeightsError::Unmapped`] with every name that no rule knows, every shape that does not fit its rule, and every
    /// part that is missing or copy that differs.
    pub fn import(&self, mut theirs: Arrays) -> Result<Arrays, WeightsError> {
        theirs.retain(|name, _| !self.is_fixed(name));
        let theirs = pack(self.packed, single(self.copied, theirs)?)?;
        translate(theirs.into_iter(), |name| self.rename(name, |rule| (&rule.theirs, &rule.ours)), Layout::import)
    }

    /// Our tensors under their names and in their layout, but for those that are fixed.
    ///
    /// # Errors
    /// [`WeightsError::Unmapped`] with every name that no rule knows and every shape that does not fit its rule.
    pub fn export(&self, ours: Arrays) -> Result<Arrays, WeightsError> {
        let rename = |name: &str| self.rename(name, |rule| (&rule.ours, &rule.theirs));
        let theirs = translate(ours.into_iter(), rename, Layout::export)?;
        Ok(copy(self.copied, unpack(self.packed, theirs)?))
    }

    fn is_fixed(&self, name: &str) -> bool {
        self.fixed.iter().any(|fixed| captures(fixed, name).is_some())
    }

    /// The new name of a parameter, and its layout if it is a weight.
    fn rename(&self, name: &str, direction: impl Fn(&Rename) -> (&str, &str)) -> Option<(String, Layout)> {
        let single = |rule: &Rename| {
            let (from, to) = direction(rule);
            Some((fill(to, &captures(from, name)?), rule.layout))
        };
        if let Some(found) = self.tensors.iter().find_map(single) {
            return Some(found);
        }
        let (layer, part) = name.rsplit_once('.')?;
        self.layers.iter().find_map(|rule| {
            let (from, to) = direction(rule);
            let captured = captures(from, layer)?;
            let layout = if part == "weight" { rule.layout } else { Layout::Same };
            Some((format!("{}.{part}", fill(to, &captured)), layout))
        })
    }
}

fn translate(
    arrays: impl Iterator<Item = (String, Array)>,
    rename: impl Fn(&str) -> Option<(String, Layout)>,
    convert: impl Fn(Layout, Array) -> Result<Array, Array>,
) -> Result<Arrays, WeightsError> {
    let (mut translated, mut problems) = (Arrays::new(), Vec::new());
    for (name, array) in arrays {
        let Some((new_name, layout)) = rename(&name) else {
            problems.push(format!("{name} {:?}", array.shape));
            continue;
        };
        match convert(layout, array) {
            Ok(array) => drop(translated.insert(new_name, array)),
            Err(array) => problems.push(format!("{name} {:?} is not of the layout {layout:?}", array.shape)),
        }
    }
    if problems.is_empty() { Ok(translated) } else { Err(WeightsError::Unmapped(problems)) }
}

impl Layout {
    /// From theirs to ours; a tensor that is not of this layout comes back as an error.
    fn import(self, array: Array) -> Result<Array, Array> {
        match (self, array.shape.as_slice()) {
            (Self::Same, _) => Ok(array),
            (Self::Linear, &[outputs, inputs])
            | (Self::Pointwise, &[outputs, inputs, 1])
            | (Self::Pixelwise, &[outputs, inputs, 1, 1]) => {
                Ok(Array { shape: vec![inputs, outputs], values: transpose(&array.values, outputs, inputs) })
            }
            _ => Err(array),
        }
    }

    /// From ours to theirs; a tensor that is not a matrix where it should be comes back as an error.
    fn export(self, array: Array) -> Result<Array, Array> {
        match (self, array.shape.as_slice()) {
            (Self::Same, _) => Ok(array),
            (_, &[inputs, outputs]) => {
                let mut shape = vec![outputs, inputs];
                shape.extend(match self {
                    Self::Pointwise => &[1][..],
                    Self::Pixelwise => &[1, 1],
                    Self::Same | Self::Linear => &[],
                });
                Ok(Array { shape, values: transpose(&array.values, inputs, outputs) })
            }
            _ => Err(array),
        }
    }
}

/// The transpose of a matrix of `rows` and `columns`, row-major.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// What the stars of `pattern` stand for in `name`, or `None` if it does not match.
pub(crate) fn captures<'a>(pattern: &str, name: &'a str) -> Option<Vec<&'a str>> {
    let (part, patterns) = match pattern.split_once('.') {
        Some((part, patterns)) => (part, Some(patterns)),
        None => (pattern, None),
    };
    let ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
    ends.take(if part == "**" { usize::MAX } else { 1 }).find_map(|end| {
        let first = &name[..end];
        let is_star = matches!(part, "*" | "**");
        if !is_star && part != first {
            return None;
        }
        let mut captured: Vec<&str> = is_star.then_some(first).into_iter().collect();
        match (patterns, name.get(end + 1..)) {
            (None, None) => {}
            (Some(patterns), Some(rest)) => captured.extend(captures(patterns, rest)?),
            _ => return None,
        }
        Some(captured)
    })
}

/// `pattern` with its stars replaced, in order.
pub(super) fn fill(pattern: &str, captured: &[&str]) -> String {
    let mut captured = captured.iter();
    let parts = pattern.split('.').map(|part| match part {
        "*" | "**" => captured.next().copied().unwrap_or(part),
        _ => part,
    });
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_parts() {
        assert_eq!(captures("blocks.*.mlp", "blocks.11.mlp"), Some(vec!["11"]));
        assert_eq!(captures("blocks.*.mlp", "blocks.mlp"), None);
        assert_eq!(captures("**.norm", "input.0.norm"), Some(vec!["input.0"]));
        assert_eq!(captures("**.norm", "norm"), None);
        assert_eq!(captures("**.norm", "a.prenorm"), None);
        assert_eq!(captures("blocks.**", "blocks.0.mlp"), Some(vec!["0.mlp"]));
        assert_eq!(captures("**.*.qkv", "input.3.1.qkv"), Some(vec!["input.3", "1"]));
        assert_eq!(captures("**.1.**.qkv", "a.1.1.qkv"), Some(vec!["a", "1"]));
        assert_eq!(fill("blocks.*.a", &["3"]), "blocks.3.a");
    }

    #[test]
    fn layouts_turn_back() {
        let theirs = Array { shape: vec![2, 3, 1], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        let ours = Layout::Pointwise.import(theirs.clone()).unwrap();
        assert_eq!(ours, Array { shape: vec![3, 2], values: vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0] });
        assert_eq!(Layout::Pointwise.export(ours).unwrap(), theirs);
        assert!(Layout::Linear.import(theirs).is_err());
    }
}

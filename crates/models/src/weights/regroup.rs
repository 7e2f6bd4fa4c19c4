//! Layers that another implementation keeps in parts, or once in every block, and ours once and whole.

use std::collections::BTreeSet;

use super::WeightsError;
use super::keys::{captures, fill};
use crate::parameters::{Array, Arrays};

/// Layers there that are one layer here. Their weights `[out, in]` and biases `[out]`, all of one shape, follow each
/// other in its outputs.
#[derive(Clone, Copy, Debug)]
pub struct Packed {
    /// Their names there, in the order of the outputs.
    pub parts: &'static [&'static str],
    /// The name that the rules have for the whole; its `*` are those of the parts.
    pub whole: &'static str,
}

/// `theirs` with the parts of packed layers put together.
pub(super) fn pack(rules: &[Packed], mut theirs: Arrays) -> Result<Arrays, WeightsError> {
    let mut problems = Vec::new();
    for rule in rules {
        for (captured, kind) in tensors(rule.parts, &theirs) {
            let names: Vec<String> = rule.parts.iter().map(|part| tensor(part, &captured, &kind)).collect();
            let missing: Vec<&String> = names.iter().filter(|name| !theirs.contains_key(*name)).collect();
            if !missing.is_empty() {
                problems.extend(missing.into_iter().map(|name| format!("{name} is missing")));
                continue;
            }
            let parts: Vec<Array> = names.iter().filter_map(|name| theirs.remove(name)).collect();
            let mut shape = parts[0].shape.clone();
            if shape.is_empty() || parts.iter().any(|part| part.shape != shape) {
                problems.push(format!("{} and its likes are not of one shape", names[0]));
                continue;
            }
            shape[0] *= parts.len();
            let values = parts.into_iter().flat_map(|part| part.values).collect();
            theirs.insert(tensor(rule.whole, &captured, &kind), Array { shape, values });
        }
    }
    finished(theirs, problems)
}

/// [`pack`] back.
pub(super) fn unpack(rules: &[Packed], mut theirs: Arrays) -> Result<Arrays, WeightsError> {
    let mut problems = Vec::new();
    for rule in rules {
        for (captured, kind) in tensors(&[rule.whole], &theirs) {
            let name = tensor(rule.whole, &captured, &kind);
            let Some(Array { mut shape, values }) = theirs.remove(&name) else { continue };
            let count = rule.parts.len();
            if shape.first().is_none_or(|outputs| !outputs.is_multiple_of(count)) {
                problems.push(format!("{name} {shape:?} is not {count} layers in one"));
                continue;
            }
            shape[0] /= count;
            let length = values.len() / count;
            for (i, part) in rule.parts.iter().enumerate() {
                let values = values[i * length..][..length].to_vec();
                theirs.insert(tensor(part, &captured, &kind), Array { shape: shape.clone(), values });
            }
        }
    }
    finished(theirs, problems)
}

/// `theirs` with block 0's copy of each layer that every block has.
pub(super) fn single(layers: &[&str], mut theirs: Arrays) -> Result<Arrays, WeightsError> {
    let mut problems = Vec::new();
    for (first, copies) in copies(layers, &theirs) {
        let differing = copies.iter().filter(|copy| theirs.get(*copy) != theirs.get(&first)).count();
        if differing > 0 {
            problems.push(format!(
                "{first}: {differing} of {} other blocks have another or none; here all blocks share one",
                copies.len()
            ));
        }
        theirs.retain(|name, _| !copies.contains(name));
    }
    finished(theirs, problems)
}

/// [`single`] back.
pub(super) fn copy(layers: &[&str], mut theirs: Arrays) -> Arrays {
    for (first, copies) in copies(layers, &theirs) {
        let array = theirs[&first].clone();
        theirs.extend(copies.into_iter().map(|name| (name, array.clone())));
    }
    theirs
}

/// Of each tensor in block 0 that every block has: its name and its names in the other blocks.
fn copies(layers: &[&str], theirs: &Arrays) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for layer in layers {
        let numbers = layer.split_once(".*.").map(|(list, _)| blocks(list, theirs)).unwrap_or_default();
        for (captured, kind) in tensors(&[layer], theirs).into_iter().filter(|(captured, _)| captured[..] == ["0"]) {
            let others = numbers.iter().filter(|number| **number != 0);
            let names = others.map(|number| tensor(layer, &[number.to_string()], &kind)).collect();
            all.push((tensor(layer, &captured, &kind), names));
        }
    }
    all
}

/// The numbers of the blocks in `list`.
fn blocks(list: &str, theirs: &Arrays) -> BTreeSet<usize> {
    let number = |name: &String| name.strip_prefix(list)?.strip_prefix('.')?.split('.').next()?.parse().ok();
    theirs.keys().filter_map(number).collect()
}

/// What the stars stand for and the last part of the name (`weight`), of every tensor of layers of these patterns.
fn tensors(patterns: &[&str], theirs: &Arrays) -> BTreeSet<(Vec<String>, String)> {
    let of = |name: &String| {
        let (layer, kind) = name.rsplit_once('.')?;
        let captured = patterns.iter().find_map(|pattern| captures(pattern, layer))?;
        Some((captured.into_iter().map(str::to_owned).collect(), kind.to_owned()))
    };
    theirs.keys().filter_map(of).collect()
}

fn tensor(pattern: &str, captured: &[String], kind: &str) -> String {
    let captured: Vec<&str> = captured.iter().map(String::as_str).collect();
    format!("{}.{kind}", fill(pattern, &captured))
}

fn finished(theirs: Arrays, problems: Vec<String>) -> Result<Arrays, WeightsError> {
    if problems.is_empty() { Ok(theirs) } else { Err(WeightsError::Unmapped(problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QKV: &[Packed] = &[Packed { parts: &["b.*.q", "b.*.k"], whole: "b.*.qk" }];
    const TIME: &[&str] = &["b.*.time"];

    fn arrays<const N: usize>(tensors: [(&str, &[usize], &[f32]); N]) -> Arrays {
        let array = |shape: &[usize], values: &[f32]| Array { shape: shape.to_vec(), values: values.to_vec() };
        tensors.into_iter().map(|(name, shape, values)| (name.to_owned(), array(shape, values))).collect()
    }

    #[test]
    fn parts_follow_each_other() {
        let apart = arrays([
            ("b.7.k.bias", &[1], &[4.0]),
            ("b.7.k.weight", &[1, 2], &[3.0, 5.0]),
            ("b.7.q.bias", &[1], &[2.0]),
            ("b.7.q.weight", &[1, 2], &[0.0, 1.0]),
            ("other", &[1], &[9.0]),
        ]);
        let whole = arrays([
            ("b.7.qk.bias", &[2], &[2.0, 4.0]),
            ("b.7.qk.weight", &[2, 2], &[0.0, 1.0, 3.0, 5.0]),
            ("other", &[1], &[9.0]),
        ]);
        assert_eq!(pack(QKV, apart.clone()).unwrap(), whole);
        assert_eq!(unpack(QKV, whole).unwrap(), apart);

        let alone = pack(QKV, arrays([("b.7.q.weight", &[1], &[0.0])])).unwrap_err().to_string();
        assert!(alone.contains("b.7.k.weight is missing"), "{alone}");
        let odd = unpack(QKV, arrays([("b.7.qk.weight", &[3], &[0.0; 3])])).unwrap_err().to_string();
        assert!(odd.contains("b.7.qk.weight [3]"), "{odd}");
        let unlike = arrays([("b.7.q.bias", &[1], &[0.0]), ("b.7.k.bias", &[2], &[0.0; 2])]);
        assert!(pack(QKV, unlike).unwrap_err().to_string().contains("b.7.q.bias"));
    }

    #[test]
    fn copies_have_to_agree() {
        let mut copied = arrays([
            ("b.0.time.bias", &[1], &[1.0]),
            ("b.1.time.bias", &[1], &[1.0]),
            ("b.10.time.bias", &[1], &[1.0]),
        ]);
        copied.extend(arrays([("b.0.w", &[1], &[0.0]), ("b.1.w", &[1], &[1.0]), ("b.10.w", &[1], &[2.0])]));
        let one = single(TIME, copied.clone()).unwrap();
        assert_eq!(one.keys().collect::<Vec<_>>(), ["b.0.time.bias", "b.0.w", "b.1.w", "b.10.w"]);
        assert_eq!(copy(TIME, one), copied);

        copied.extend(arrays([("b.10.time.bias", &[1], &[1.5])]));
        copied.remove("b.1.time.bias");
        let message = single(TIME, copied).unwrap_err().to_string();
        assert!(message.contains("b.0.time.bias: 2 of 2 other blocks have another or none"), "{message}");
    }
}

//! Files without metadata: runs are told by the dotted fields of their tensors' keys.

use std::collections::BTreeMap;

use super::{Built, edm, kdiffusion, official};
use crate::golden::File;

/// The key of a run, without the last field: `head.field.field.sN`.
pub(super) struct Key {
    /// The key without the tensor's own field.
    pub(super) name: String,
    /// The fields but for the number of steps. Numbers after a point belong to the field before (`eta0.5`).
    pub(super) fields: Vec<String>,
    /// The number of steps, where the key has one.
    pub(super) steps: Option<usize>,
}

impl Key {
    fn new(name: &str) -> Self {
        let mut fields: Vec<String> = Vec::new();
        for part in name.split('.') {
            let fraction = part.bytes().all(|byte| byte.is_ascii_digit());
            match fields.last_mut() {
                Some(field) if fraction && field.ends_with(|last: char| last.is_ascii_digit()) => {
                    *field = format!("{field}.{part}");
                }
                _ => fields.push(part.into()),
            }
        }
        let steps = fields.last().and_then(|field| field.strip_prefix('s')?.parse().ok());
        if steps.is_some() {
            fields.pop();
        }
        Self { name: name.into(), fields, steps }
    }

    pub(super) fn field(&self, index: usize) -> &str {
        self.fields.get(index).map_or("", String::as_str)
    }

    /// The number that follows `prefix` in one of the fields, as in `churn40` or `eta0.5`.
    pub(super) fn number(&self, prefix: &str) -> Option<f64> {
        self.fields.iter().find_map(|field| field.strip_prefix(prefix)?.parse().ok())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field == name)
    }

    pub(super) fn steps(&self) -> Result<usize, String> {
        self.steps.filter(|steps| *steps > 0).ok_or_else(|| "the key has no number of steps".into())
    }
}

/// Every run of a file: every key that ends in `final`.
pub(super) fn runs(file: &File) -> Vec<(String, Result<Built, String>)> {
    let finals = file.keys().into_iter().filter_map(|key| Some(Key::new(key.strip_suffix(".final")?)));
    let mut runs: BTreeMap<String, Result<Built, String>> = BTreeMap::new();
    for key in finals {
        let built = match key.field(0) {
            "edm_sampler" | "ablation" => edm::build(file, &key),
            "dpm" | "unipc" => official::build(file, &key),
            name if name.starts_with("sample_") => kdiffusion::build(file, &key),
            other => Err(format!("unknown sampler {other}")),
        };
        runs.insert(key.name, built);
    }
    runs.extend(official::tables(file));
    runs.into_iter().collect()
}

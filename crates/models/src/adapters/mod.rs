//! The `[adapters]` section: small trained additions to chosen layers of a network that itself may stay as it is.
//!
//! Low-rank adapters (LoRA: Hu et al., 2022) add a product of two thin matrices to a weight and can be merged into it;
//! bottleneck adapters (Houlsby et al., 2019) follow a layer. Both start at zero: a network starts as without them.
//! Their parameters stand beside those of their layer, as `<layer>.adapter.down` and so on.

mod merge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::module::{Module, ParamId};
use burn::tensor::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;

use crate::initialization::Initialization;
use crate::network::ModelConfig;
use crate::parameters;
use crate::shape::DataShape;
use crate::weights::captures;

pub use merge::MergeError;

/// Between the name of a layer and those of its adapter's parameters.
const FIELD: &str = ".adapter.";

/// The `[adapters]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdaptersConfig {
    /// Which layers get which adapter; of the rules that match a layer, the first counts.
    pub rules: Vec<AdapterRule>,
    /// Whether the adapters alone are trained.
    #[serde(default = "default_freeze")]
    pub freeze: bool,
}

fn default_freeze() -> bool {
    true
}

/// An adapter and the layers that get it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AdapterRule {
    /// Linear layers and convolutions by their whole names, as in `blocks.*.attention.qkv`: `*` stands for one part of
    /// a name, `**` for one or more.
    pub layers: String,
    /// What they get, under its `type`.
    #[serde(flatten)]
    pub adapter: AdapterConfig,
}

/// An adapter's kind and size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AdapterConfig {
    /// `alpha / rank * up down` beside the layer's weight (Hu et al., 2022).
    LowRank {
        /// Features between `down` and `up`, >= 1.
        rank: usize,
        /// Numerator of the scale, not 0. None: the rank, so that the scale is 1.
        #[serde(default)]
        alpha: Option<f64>,
    },
    /// Two layers with a GELU between them on the layer's output, added to it (Houlsby et al., 2019).
    Bottleneck {
        /// Features between the two layers, >= 1.
        width: usize,
    },
}

impl AdapterConfig {
    /// The factor on what the adapter adds.
    pub fn scale(&self) -> f64 {
        match *self {
            Self::LowRank { rank, alpha: Some(alpha) } => alpha / rank as f64,
            _ => 1.0,
        }
    }

    fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        match *self {
            Self::LowRank { rank, alpha } => {
                problems.check(rank > 0, "rank", "must be at least 1");
                let usable = alpha.is_none_or(|alpha| alpha.is_finite() && alpha != 0.0);
                problems.check(usable, "alpha", "must be a finite number other than 0");
            }
            Self::Bottleneck { width } => problems.check(width > 0, "width", "must be at least 1"),
        }
        problems
    }
}

impl AdaptersConfig {
    /// Every problem of these values that can be told without the network.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(!self.rules.is_empty(), "rules", "must name at least one kind of adapter");
        for (i, rule) in self.rules.iter().enumerate() {
            problems.nest(&format!("rules[{i}]"), rule.adapter.validate());
        }
        problems
    }

    /// Every problem of these values with the network of `model`, which must be valid for data of `shape`. The network
    /// is laid out on `device`; its weights are not drawn.
    pub fn validate_for(&self, model: &ModelConfig, shape: &DataShape, device: &Device) -> Problems {
        let built = match model {
            ModelConfig::Classifier(config) => config.build_adapted(Some(self), shape, device, 0).err(),
            _ => model.build_adapted(Some(self), shape, device, 0).err(),
        };
        built.unwrap_or_default()
    }

    /// The adapter of each layer that gets one, by the layer's place in the order of construction.
    fn plan(&self, layers: &BTreeMap<usize, String>) -> Result<BTreeMap<usize, AdapterConfig>, Problems> {
        let mut problems = self.validate();
        let mut plan = BTreeMap::new();
        for (i, rule) in self.rules.iter().enumerate() {
            let key = format!("rules[{i}].layers");
            let matched: Vec<usize> =
                layers.iter().filter(|(_, name)| rule.matches(name)).map(|(place, _)| *place).collect();
            if matched.is_empty() {
                let message = format!("`{}` matches no linear layer or convolution of the network", rule.layers);
                problems.push_help(key, message, format!("there are {}", outline(layers.values())));
            } else if matched.iter().all(|place| plan.contains_key(place)) {
                problems.push(key, format!("earlier rules take every layer that `{}` matches", rule.layers));
            }
            for place in matched {
                plan.entry(place).or_insert(rule.adapter);
            }
        }
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
    }

    /// The adapter of the layer of this name.
    fn of_layer(&self, layer: &str) -> Option<&AdapterConfig> {
        self.rules.iter().find(|rule| rule.matches(layer)).map(|rule| &rule.adapter)
    }
}

impl AdapterRule {
    fn matches(&self, layer: &str) -> bool {
        captures(&self.layers, layer).is_some()
    }
}

/// Names with `*` for every number, each once.
fn outline<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let part = |part: &'a str| if part.bytes().all(|byte| byte.is_ascii_digit()) { "*" } else { part };
    let outlines: BTreeSet<String> =
        names.map(|name| name.split('.').map(part).collect::<Vec<_>>().join(".")).collect();
    outlines.into_iter().collect::<Vec<_>>().join(", ")
}

/// Whether a parameter of this name belongs to an adapter.
pub fn is_adapter(name: &str) -> bool {
    name.contains(FIELD)
}

/// The network that `build` makes, with adapters where they are asked for and its other parameters frozen where that
/// is.
///
/// # Errors
/// Those of `build`, and every rule that matches no layer.
pub(crate) fn construct<M: Module>(
    adapters: Option<&AdaptersConfig>,
    seed: u64,
    device: &Device,
    build: impl Fn(&mut Initialization) -> Result<M, Problems>,
) -> Result<M, Problems> {
    let mut init = Initialization::new(seed, device);
    let plain = build(&mut init)?;
    let Some(adapters) = adapters else { return Ok(plain) };
    // A layer does not know its name while it is made. This first network tells; none of its weights is ever drawn.
    let plan = adapters.plan(&layers(&plain, init.adaptable()))?;
    let adapted = build(&mut Initialization::new(seed, device).with_adapters(plan))?;
    Ok(if adapters.freeze { parameters::train_only(adapted, is_adapter) } else { adapted })
}

/// The names of the layers with these weights, by their places in the list.
fn layers<M: Module>(module: &M, weights: &[ParamId]) -> BTreeMap<usize, String> {
    let names: HashMap<ParamId, String> =
        parameters::in_order(module).into_iter().map(|parameter| (parameter.id, parameter.name)).collect();
    let layer = |(place, weight)| {
        let (layer, _) = names.get(weight)?.rsplit_once('.')?;
        Some((place, layer.to_owned()))
    };
    weights.iter().enumerate().filter_map(layer).collect()
}

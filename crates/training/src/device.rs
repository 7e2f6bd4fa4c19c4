//! The `[device]` section: where a run computes.

use burn::tensor::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::{Problems, nearest};

use crate::TrainingError;

/// Names that `[device] name` and `--device` take; those with an index may be followed by `:i`.
const NAMES: [&str; 5] = ["auto", "flex", "wgpu", "vulkan", "cuda"];

/// Where and with what a run computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceConfig {
    /// `auto`, `flex` (CPU), `wgpu`, `vulkan` or `cuda`, the last three with an index as in `cuda:1`.
    pub name: String,
    /// CPU threads; 0 takes every core. Results are bit-equal at a fixed number, so the number is written to the
    /// resolved configuration.
    pub threads: usize,
    /// Float type of the network.
    pub precision: Precision,
}

/// Float type of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit.
    #[default]
    F32,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { name: "auto".into(), threads: 0, precision: Precision::F32 }
    }
}

/// One device that this binary can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What to write in a configuration.
    pub name: String,
    /// What it is, or why it cannot be used.
    pub description: String,
    /// Whether this binary was built with it.
    pub built: bool,
}

impl DeviceConfig {
    /// Every problem of these settings.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        if let Err((message, help)) = parse(&self.name) {
            problems.push_help("name", message, help);
        }
        problems
    }

    /// Replaces 0 threads by the number of cores.
    pub fn resolve_threads(&mut self) {
        if self.threads == 0 {
            self.threads = std::thread::available_parallelism().map_or(1, usize::from);
        }
    }

    /// The device, without gradients.
    ///
    /// # Errors
    /// When the binary was not built with it.
    pub fn open(&self) -> Result<Device, TrainingError> {
        let (name, index) =
            parse(&self.name).map_err(|(message, help)| TrainingError::Device(format!("{message}; {help}")))?;
        let missing = |feature: &str| {
            TrainingError::Device(format!(
                "this binary was built without `{feature}`: build it with `cargo build --release --features {feature}`, \
                 or choose one of `sinter devices`"
            ))
        };
        let _ = index;
        match name {
            "flex" => flex().ok_or_else(|| missing("flex")),
            "cuda" => cuda(index).ok_or_else(|| missing("cuda")),
            "wgpu" => wgpu(index).ok_or_else(|| missing("wgpu")),
            "vulkan" => vulkan(index).ok_or_else(|| missing("vulkan")),
            // The CPU is what every binary has and what every number in the documentation was made with; a GPU is
            // taken by name.
            _ => flex().or_else(|| cuda(0)).or_else(|| vulkan(0)).or_else(|| wgpu(0)).ok_or_else(|| missing("flex")),
        }
    }

    /// Gives the process-wide thread pool its size. Only the first call in a process counts.
    pub fn set_threads(&self) {
        let built = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global();
        if built.is_err() {
            log::debug!("the thread pool was built before; `device.threads` keeps its first value");
        }
    }

    /// Every device that a configuration can name.
    pub fn list() -> Vec<Listed> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let entry = |name: &str, built: bool, what: String| Listed {
            name: name.into(),
            description: if built { what } else { format!("not in this binary (feature `{name}`)") },
            built,
        };
        vec![
            entry("flex", cfg!(feature = "flex"), format!("CPU, {cores} cores, {}", std::env::consts::ARCH)),
            entry("wgpu", cfg!(feature = "wgpu"), "any GPU through WebGPU".into()),
            entry("vulkan", cfg!(feature = "vulkan"), "any GPU through Vulkan".into()),
            entry("cuda", cfg!(feature = "cuda"), "NVIDIA GPUs".into()),
        ]
    }
}

/// Splits `cuda:1` into its name and index; the error is a message and a hint.
fn parse(text: &str) -> Result<(&str, usize), (String, String)> {
    let (name, index) = text.split_once(':').map_or((text, None), |(name, index)| (name, Some(index)));
    if !NAMES.contains(&name) {
        let hint = nearest(name, NAMES)
            .map_or_else(|| format!("known: {}", NAMES.join(", ")), |near| format!("did you mean `{near}`?"));
        return Err((format!("unknown device `{text}`"), hint));
    }
    match index.map(str::parse::<usize>) {
        None => Ok((name, 0)),
        Some(Ok(index)) if !matches!(name, "auto" | "flex") => Ok((name, index)),
        Some(_) => Err((format!("`{text}` is not a device"), "an index is a number, as in `cuda:1`".into())),
    }
}

#[cfg(feature = "flex")]
fn flex() -> Option<Device> {
    Some(Device::flex())
}
#[cfg(not(feature = "flex"))]
fn flex() -> Option<Device> {
    None
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Option<Device> {
    Some(Device::cuda(index))
}
#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Option<Device> {
    None
}

#[cfg(feature = "wgpu")]
fn wgpu(index: usize) -> Option<Device> {
    Some(Device::wgpu(kind(index)))
}
#[cfg(not(feature = "wgpu"))]
fn wgpu(_index: usize) -> Option<Device> {
    None
}

#[cfg(feature = "vulkan")]
fn vulkan(index: usize) -> Option<Device> {
    Some(Device::vulkan(kind(index)))
}
#[cfg(not(feature = "vulkan"))]
fn vulkan(_index: usize) -> Option<Device> {
    None
}

#[cfg(any(feature = "wgpu", feature = "vulkan"))]
fn kind(index: usize) -> burn::tensor::DeviceKind {
    if index == 0 { burn::tensor::DeviceKind::DefaultDevice } else { burn::tensor::DeviceKind::DiscreteGpu(index - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_indices_are_told_apart() {
        assert_eq!(parse("cuda:3").unwrap(), ("cuda", 3));
        assert_eq!(parse("flex").unwrap(), ("flex", 0));
        assert!(parse("flex:1").is_err());
        assert!(parse("cuda:x").is_err());
        assert!(parse("cdua").unwrap_err().1.contains("cuda"));
    }
}

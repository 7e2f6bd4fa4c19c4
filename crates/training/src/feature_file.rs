//! Feature networks from files of weights, described by a configuration.

use std::collections::BTreeSet;
use std::fs::File;

use burn::tensor::Device;
use serde::Deserialize;
use serde_json::{Map, Value};
use sinter_config::{Layered, resolve_part};
use sinter_data::DataConfig;
use sinter_data::digest::sha256_of_reader;
use sinter_evaluation::{NetworkFeatures, NetworkFile, WeightsFile};
use sinter_models::parameters::{self, Arrays};
use sinter_models::weights::{Reference, read_any};
use sinter_models::{AdaptersConfig, DataShape, ModelConfig};
use sinter_objectives::{Objective, ObjectiveConfig};
use sinter_sampling::{Conditioner, NetworkDenoiser};

use crate::{Config, TrainingError};

/// What is read of a configuration: a network may be described by less than a run.
#[derive(Deserialize)]
struct Sections {
    name: Option<String>,
    model: ModelConfig,
    adapters: Option<AdaptersConfig>,
    data: Option<DataConfig>,
    objective: Option<ObjectiveConfig>,
}

/// The network of a file, for images `[c, h, w]` where its configuration does not say what its data look like.
///
/// # Errors
/// When the configuration does not describe a network, when the weights are not its, and when it has no such layer.
pub(crate) fn open(file: &NetworkFile, image: [usize; 3], device: &Device) -> Result<NetworkFeatures, TrainingError> {
    let refused = |what: &str, message: String| TrainingError::Config(format!("features `{what}`: {message}"));
    let of_file = |message: String| refused("file", format!("{}: {message}", file.file.display()));
    if !(0.0..=1.0).contains(&file.time) {
        return Err(refused("time", format!("{} is not from 0 (data) to 1 (noise)", file.time)));
    }
    let layered = Layered::load(&file.config).map_err(|error| refused("config", error.to_string()))?;
    let sections: Sections =
        resolve_part::<Config, _>(&layered).map_err(|error| refused("config", error.to_string()))?;
    let shape = shape(&sections, file, image).map_err(|message| refused("config", message))?;
    let from = file.from.as_deref().map(reference).transpose().map_err(|message| refused("from", message))?;

    let hash = File::open(&file.file).and_then(sha256_of_reader).map_err(|error| of_file(error.to_string()))?;
    let theirs = read_any(&file.file, file.part.as_deref()).map_err(|error| refused("file", error.to_string()))?;
    let ours = match from {
        Some(reference) => {
            reference.import(&sections.model, &shape, theirs).map_err(|error| of_file(error.to_string()))?
        }
        None => of_one_part(theirs).map_err(of_file)?,
    };
    let (path, stem) = (file.file.display(), file.file.file_stem().unwrap_or_default().to_string_lossy());
    let name = sections.name.clone().unwrap_or_else(|| stem.into_owned());
    let weights = WeightsFile { name, hash, settings: settings(&sections, file), shape };
    let unlike = |error: parameters::ParameterError| {
        of_file(format!("these are not the weights of the network of {}: {error}", file.config.display()))
    };
    let (adapters, layer) = (sections.adapters.as_ref(), file.layer.as_deref());
    let without_layer = |message| refused("layer", message);
    if let ModelConfig::Classifier(model) = &sections.model {
        let network = model.build_adapted(adapters, &shape, device, 0).map_err(|p| refused("config", p.to_string()))?;
        let network = parameters::write(network, ours).map_err(unlike)?;
        return NetworkFeatures::classifier(weights, network, layer, device).map_err(without_layer);
    }
    let layer = layer
        .ok_or_else(|| refused("layer", format!("say which block of {path} is taken, as in `layer = \"blocks.3\"`")))?;
    let parameterization =
        sections.objective.as_ref().and_then(ObjectiveConfig::parameterization).ok_or_else(|| {
            let config = file.config.display();
            refused(
                "config",
                format!("{config} has no section `objective`, which says how a backbone is told the time"),
            )
        })?;
    let network =
        sections.model.build_adapted(adapters, &shape, device, 0).map_err(|p| refused("config", p.to_string()))?;
    let network = parameters::write(network, ours).map_err(unlike)?;
    let (first, last) = parameterization.path.time_range();
    let point = parameterization.path.at(file.time.clamp(first, last));
    let denoiser = NetworkDenoiser { network, parameterization };
    NetworkFeatures::backbone(weights, denoiser, point, layer, device).map_err(without_layer)
}

/// What the network is told about its data.
fn shape(sections: &Sections, file: &NetworkFile, image: [usize; 3]) -> Result<DataShape, String> {
    let shape = match &sections.data {
        Some(data) => {
            let outline = data.outline().map_err(|error| error.to_string())?;
            let words = &outline.vocabulary;
            let conditioner = Conditioner::new(outline.shape, outline.classes, words, outline.longest_caption);
            *conditioner.map_err(|error| error.to_string())?.shape()
        }
        None => DataShape::images(image[0], image[1], image[2]),
    };
    Ok(file.classes.map_or(shape, |classes| shape.with_classes(classes)))
}

fn reference(name: &str) -> Result<Reference, String> {
    Reference::ALL.into_iter().find(|reference| reference.name() == name).ok_or_else(|| {
        format!("no implementation is named `{name}`; known: {}", Reference::ALL.map(Reference::name).join(", "))
    })
}

/// Parameters without the name of the part that they belong to in checkpoints.
fn of_one_part(arrays: Arrays) -> Result<Arrays, String> {
    let parts: BTreeSet<&str> = arrays.keys().map(|name| name.split_once('/').map_or("", |(part, _)| part)).collect();
    if parts.len() > 1 {
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        return Err(format!("there is more than one network in it: {}", parts.join(", ")));
    }
    let bare = |name: String| name.split_once('/').map(|(_, rest)| rest.to_owned()).unwrap_or(name);
    Ok(arrays.into_iter().map(|(name, array)| (bare(name), array)).collect())
}

/// What features depend on beside the bytes of the file.
fn settings(sections: &Sections, file: &NetworkFile) -> Map<String, Value> {
    let mut settings = Map::new();
    let mut say = |name: &str, value: serde_json::Result<Value>| match value {
        Ok(Value::Null) | Err(_) => {}
        Ok(value) => {
            settings.insert(name.to_owned(), value);
        }
    };
    say("model", serde_json::to_value(&sections.model));
    say("adapters", serde_json::to_value(&sections.adapters));
    say("from", serde_json::to_value(&file.from));
    say("part", serde_json::to_value(&file.part));
    say("layer", serde_json::to_value(&file.layer));
    if let Some(parameterization) = sections.objective.as_ref().and_then(ObjectiveConfig::parameterization) {
        say("parameterization", serde_json::to_value(parameterization));
        say("time", serde_json::to_value(file.time));
    }
    settings
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use sinter_evaluation::FeatureNetwork;
    use sinter_models::parameters::Array;
    use sinter_models::{Classifier, ClassifierConfig, DitConfig, weights};

    use super::*;

    const CLASSIFIER: &str = "
        name = \"mine\"
        [data]
        source = { type = \"noise\", shape = [3, 8, 8], classes = 4 }
        [model]
        type = \"classifier\"
        channels = 8
        depth = 2
        features = 6
        groups = 4
    ";

    const DIT: &str = "
        [model]
        type = \"dit\"
        patch = 4
        width = 32
        depth = 2
        heads = 2
        [objective]
        type = \"denoising\"
        path = { type = \"linear_flow\" }
        prediction = { type = \"velocity\" }
    ";

    fn classifier() -> Classifier {
        let config = ClassifierConfig { channels: 8, depth: 2, features: 6, groups: 4, ..ClassifierConfig::default() };
        config.build(&DataShape::images(3, 8, 8).with_classes(4), &Device::flex(), 5).unwrap()
    }

    /// The files of a network in a folder, the weights under names with `prefix`.
    fn files(folder: &Path, text: &str, arrays: Arrays, prefix: &str) -> NetworkFile {
        let (config, file) = (folder.join("network.toml"), folder.join("weights.safetensors"));
        std::fs::write(&config, text).unwrap();
        let named = arrays.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)).collect();
        weights::write(&file, &named, &Default::default()).unwrap();
        NetworkFile { file, config, from: None, part: None, layer: None, time: 0.0, classes: None }
    }

    fn pixels() -> Vec<f32> {
        (0..2 * 3 * 64).map(|i| (i as f32 * 0.7).sin()).collect()
    }

    fn told(file: &NetworkFile) -> String {
        open(file, [3, 8, 8], &Device::flex()).unwrap_err().to_string()
    }

    #[test]
    fn a_classifiers_layers_are_those_of_its_weights() {
        let folder = tempfile::tempdir().unwrap();
        let network = classifier();
        let shape = [2, 3, 8, 8];
        let x = burn::tensor::Tensor::<4>::from_data(
            burn::tensor::TensorData::new(pixels(), shape.to_vec()),
            &Device::flex(),
        );
        let values = |tensor: burn::tensor::Tensor<2>| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
        // As a checkpoint has the names, and bare.
        for prefix in ["model/", ""] {
            let file = files(folder.path(), CLASSIFIER, parameters::read(&network).unwrap(), prefix);
            let features = open(&file, [3, 8, 8], &Device::flex()).unwrap();
            assert_eq!((features.name().as_str(), features.gives().logits), ("network:mine:features", true));
            let bytes = std::fs::read(&file.file).unwrap();
            assert_eq!(features.hash(), sinter_data::digest::sha256(bytes));
            assert_eq!(features.settings()["model"]["groups"], 4);
            let found = features.features(&pixels(), shape);
            assert_eq!(found.pooled, values(network.features(x.clone())));
            assert_eq!(found.logits.unwrap(), values(network.forward(x.clone(), None)));
            assert!(features.check([3, 8, 8]).is_ok());
            assert!(features.check([1, 8, 8]).unwrap_err().contains("is for images of [3, 8, 8]"));
        }
        let file = files(folder.path(), CLASSIFIER, parameters::read(&network).unwrap(), "");
        let level = NetworkFile { layer: Some("levels.1".into()), ..file.clone() };
        let features = open(&level, [3, 8, 8], &Device::flex()).unwrap();
        let found = features.features(&pixels(), shape);
        assert_eq!((found.pooled.len(), found.logits, features.gives().logits), (2 * 16, None, false));
        let other = NetworkFile { layer: Some("blocks.0".into()), ..file };
        let message = told(&other);
        assert!(message.contains("no layer `blocks.0`") && message.contains("levels.0, levels.1"), "{message}");
    }

    #[test]
    fn a_backbone_is_read_at_a_block_and_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let config = DitConfig { patch: 4, width: 32, depth: 2, heads: 2, ..DitConfig::default() };
        let shape = DataShape::images(3, 8, 8).with_classes(3);
        let network = ModelConfig::Dit(config).build(&shape, &Device::flex(), 0).unwrap();
        // Fresh blocks of a DiT change nothing: give every number some size.
        let network = parameters::map(network, |_, flat| flat + 0.05);
        let arrays = parameters::read(&network).unwrap();
        let file = NetworkFile { classes: Some(3), ..files(folder.path(), DIT, arrays, "model/") };
        let message = told(&file);
        assert!(message.contains("blocks.3") && message.contains("say which block"), "{message}");
        let at = |layer: &str, time: f64| {
            let file = NetworkFile { layer: Some(layer.into()), time, ..file.clone() };
            let features = open(&file, [3, 8, 8], &Device::flex()).unwrap();
            assert_eq!(features.name(), format!("network:weights:{layer}"));
            assert_eq!(features.settings()["time"], time);
            features.features(&pixels(), [2, 3, 8, 8]).pooled
        };
        let (first, second, later) = (at("blocks.0", 0.1), at("blocks.1", 0.1), at("blocks.0", 0.6));
        assert_eq!(first.len(), 2 * 32);
        assert!(first != second && first != later && first.iter().all(|value| value.is_finite()));
        // The mean over places of what the block gives for images at that time, without noise.
        let x = burn::tensor::Tensor::<4>::from_data(
            burn::tensor::TensorData::new(pixels(), [2, 3, 8, 8]),
            &Device::flex(),
        );
        let labels = burn::tensor::Tensor::<1>::full([2], 100.0, &Device::flex());
        let seen = network.representations(x.mul_scalar(0.9), labels, &sinter_models::Condition::none());
        let expected: Vec<f32> = seen[0].features.clone().into_data().iter::<f32>().collect();
        let error = first.iter().zip(&expected).fold(0.0f32, |error, (a, b)| error.max((a - b).abs()));
        assert!(error < 1e-5, "{error}");
        let message = told(&NetworkFile { layer: Some("levels.0".into()), ..file.clone() });
        assert!(message.contains("blocks.0, blocks.1"), "{message}");
        let message = told(&NetworkFile { time: 1.5, ..file });
        assert!(message.contains("features `time`: 1.5"), "{message}");
    }

    #[test]
    fn wrong_files_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let arrays = parameters::read(&classifier()).unwrap();
        let file = files(folder.path(), CLASSIFIER, arrays.clone(), "");
        let missing = NetworkFile { file: PathBuf::from("no/such.safetensors"), ..file.clone() };
        assert!(told(&missing).contains("no/such.safetensors"), "{}", told(&missing));
        let missing = NetworkFile { config: PathBuf::from("no/such.toml"), ..file.clone() };
        assert!(told(&missing).contains("no/such.toml"), "{}", told(&missing));
        let other = NetworkFile { from: Some("torchvision".into()), ..file.clone() };
        assert!(told(&other).contains("`torchvision`") && told(&other).contains("edm"), "{}", told(&other));

        let mut others = arrays.clone();
        others.remove("logits.bias");
        others.insert("head.bias".into(), Array { shape: vec![4], values: vec![0.0; 4] });
        let wrong = files(folder.path(), CLASSIFIER, others, "");
        let message = told(&wrong);
        for part in ["weights.safetensors", "network.toml", "missing: logits.bias [4]", "unknown: head.bias [4]"] {
            assert!(message.contains(part), "{message}");
        }
        let mut two = Arrays::new();
        for part in ["generator", "discriminator"] {
            two.extend(arrays.iter().map(|(name, array)| (format!("{part}/{name}"), array.clone())));
        }
        let message = told(&files(folder.path(), CLASSIFIER, two, ""));
        assert!(message.contains("more than one network") && message.contains("generator"), "{message}");
        std::fs::write(&file.file, "no weights at all").unwrap();
        assert!(told(&file).contains("weights.safetensors"), "{}", told(&file));
        let file = files(folder.path(), &CLASSIFIER.replace("groups = 4", "widht = 4"), arrays, "");
        assert!(told(&file).contains("widht"), "{}", told(&file));
    }
}

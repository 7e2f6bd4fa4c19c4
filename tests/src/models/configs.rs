//! Networks of ours from the configurations of the references.

use std::collections::BTreeMap;

use serde_json::Value;
use sinter_models::routing::{DtrConfig, ExpertsConfig};
use sinter_models::song_unet::TimeFeatures;
use sinter_models::unet::AttentionOrder;
use sinter_models::{DataShape, DitConfig, ModelConfig, RoutingConfig, SongUnetConfig, UnetConfig, weights};

use super::Reference;
use crate::golden::File;

/// DiT with experts.
pub(super) fn switch_dit(file: &File) -> Result<Reference, String> {
    let routing = file.metadata("routing").ok_or("the file has no routing")?;
    let size = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_u64).map(|size| size as usize).ok_or(format!("routing.{key} is missing"))
    };
    let experts = routing.get("param").ok_or("routing.param is missing")?;
    let (count, active) = (size(experts, "num_experts")?, size(experts, "k")?);
    let tasks = size(&routing, "taskcount")?;
    let weight = routing.get("w_JSD").and_then(Value::as_f64).ok_or("routing.w_JSD is missing")?;
    let mut reference = dit(file, false)?;
    if let ModelConfig::Dit(config) = &mut reference.config {
        reference.implementation = weights::Reference::SwitchDit;
        let experts = ExpertsConfig { count, active, tasks, prior: weight, ..ExpertsConfig::default() };
        config.routing = Some(RoutingConfig::Experts(experts));
    }
    Ok(reference)
}

/// DiT whose blocks work on some channels at each time.
pub(super) fn dtr(file: &File) -> Result<Reference, String> {
    let number =
        |key: &str| file.metadata(key).and_then(|value| value.as_f64()).ok_or(format!("the file has no {key}"));
    let (tasks, ratio, curvature) = (number("taskcount")? as usize, number("sharing_ratio")?, number("alpha")?);
    let mut reference = dit(file, false)?;
    if let ModelConfig::Dit(config) = &mut reference.config {
        reference.implementation = weights::Reference::Dtr;
        config.routing = Some(RoutingConfig::Dtr(DtrConfig { tasks, ratio, curvature }));
    }
    Ok(reference)
}

pub(super) fn dit(file: &File, is_sit: bool) -> Result<Reference, String> {
    let mut config = Config::of(file, "config")?;
    let image = config.size("input_size")?;
    let patch = config.size("patch_size")?;
    let channels = config.size("in_channels")?;
    let classes = config.size("num_classes")?;
    // SiT leaves what it has of a variance out.
    let learned_variance = config.flag("learn_sigma", true) && !is_sit;
    let dit = DitConfig {
        patch,
        width: config.size("hidden_size")?,
        depth: config.size("depth")?,
        heads: config.size("num_heads")?,
        mlp_ratio: config.take("mlp_ratio").and_then(|value| value.as_f64()).unwrap_or(4.0),
        null_class: config.take("class_dropout_prob").and_then(|value| value.as_f64()).unwrap_or(0.1) > 0.0,
        learned_variance,
        ..DitConfig::default()
    };
    config.done()?;
    Ok(Reference {
        config: ModelConfig::Dit(dit),
        shape: DataShape::images(channels, image, image).with_classes(classes),
        implementation: if is_sit { weights::Reference::Sit } else { weights::Reference::Dit },
    })
}

pub(super) fn adm(file: &File) -> Result<Reference, String> {
    let mut config = Config::of(file, "config")?;
    config.take("image_size"); // the reference does not use it
    let (shape, _) = file.tensor("in.x").map_err(|error| error.to_string())?;
    let [_, channels, height, width] = shape[..] else { return Err("in.x is not a batch of images".into()) };
    if config.size("in_channels")? != channels {
        return Err("in_channels is not what in.x has".into());
    }
    let learned_variance = config.size("out_channels")? == 2 * channels;
    let classes = config.take("num_classes").and_then(|value| value.as_u64()).unwrap_or(0) as usize;
    let attention = config.sizes("attention_resolutions")?.into_iter().map(|factor| height / factor).collect();
    let order = match config.flag("use_new_attention_order", false) {
        true => AttentionOrder::PartsFirst,
        false => AttentionOrder::HeadsFirst,
    };
    let unet = UnetConfig {
        channels: config.size("model_channels")?,
        multipliers: config.sizes("channel_mult")?,
        blocks: config.size("num_res_blocks")?,
        attention,
        heads: config.take("num_heads").and_then(|value| value.as_u64()).unwrap_or(1) as usize,
        head_channels: config.take("num_head_channels").and_then(|value| value.as_u64()).map(|size| size as usize),
        attention_order: order,
        scale_shift_norm: config.flag("use_scale_shift_norm", false),
        residual_resample: config.flag("resblock_updown", false),
        null_class: false,
        learned_variance,
        ..UnetConfig::default()
    };
    config.take("dropout"); // the references were run in evaluation mode
    config.done()?;
    Ok(Reference {
        config: ModelConfig::Unet(unet),
        shape: DataShape::images(channels, height, width).with_classes(classes),
        implementation: weights::Reference::Adm,
    })
}

/// EDM's DDPM++ and NCSN++.
pub(super) fn song(file: &File) -> Result<Reference, String> {
    let mut config = Config::of(file, "config")?;
    let shape = config.edm_shape()?;
    let learned_variance = config.size("out_channels")? == 2 * shape.channels;
    let song = config.song(learned_variance)?;
    config.done()?;
    Ok(Reference { config: ModelConfig::SongUnet(song), shape, implementation: weights::Reference::Edm })
}

/// The network inside EDM's wrappers; that for DDPM's chain also gives a variance.
pub(super) fn wrapped(file: &File, learned_variance: bool) -> Result<SongUnetConfig, String> {
    let mut config = Config::of(file, "model")?;
    if config.text("model_type").is_some_and(|name| name != "SongUNet") {
        return Err("only a SongUNet is understood in a wrapper".into());
    }
    let song = config.song(learned_variance)?;
    config.done()?;
    Ok(song)
}

/// EDM's form of ADM.
pub(super) fn dhariwal(file: &File) -> Result<Reference, String> {
    let mut config = Config::of(file, "config")?;
    let shape = config.edm_shape()?;
    let channels = config.size_or("model_channels", 192)?;
    let unet = UnetConfig {
        channels,
        multipliers: config.sizes_or("channel_mult", &[1, 2, 3, 4])?,
        embedding: Some(channels * config.size_or("channel_mult_emb", 4)?),
        blocks: config.size_or("num_blocks", 3)?,
        attention: config.sizes_or("attn_resolutions", &[32, 16, 8])?,
        head_channels: Some(64),
        attention_order: AttentionOrder::PartsLast,
        group_channels: 4,
        augmentation: config.size_or("augment_dim", 0)?,
        null_class: false,
        learned_variance: config.size("out_channels")? == 2 * shape.channels,
        ..UnetConfig::default()
    };
    config.done()?;
    Ok(Reference { config: ModelConfig::Unet(unet), shape, implementation: weights::Reference::Edm })
}

/// The reference's own configuration; every key must be taken.
pub(super) struct Config(BTreeMap<String, Value>);

impl Config {
    fn of(file: &File, field: &str) -> Result<Self, String> {
        let config = file.metadata(field).ok_or(format!("the file has no {field}"))?;
        serde_json::from_value(config).map(Self).map_err(|error| error.to_string())
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    fn size(&mut self, key: &str) -> Result<usize, String> {
        let value = self.take(key).and_then(|value| value.as_u64()).ok_or(format!("config.{key} is missing"))?;
        Ok(value as usize)
    }

    fn sizes(&mut self, key: &str) -> Result<Vec<usize>, String> {
        let value = self.take(key).ok_or(format!("config.{key} is missing"))?;
        serde_json::from_value(value).map_err(|error| format!("config.{key}: {error}"))
    }

    fn size_or(&mut self, key: &str, default: usize) -> Result<usize, String> {
        if self.0.contains_key(key) { self.size(key) } else { Ok(default) }
    }

    fn sizes_or(&mut self, key: &str, default: &[usize]) -> Result<Vec<usize>, String> {
        if self.0.contains_key(key) { self.sizes(key) } else { Ok(default.to_vec()) }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.take(key)?.as_str().map(str::to_owned)
    }

    /// Of EDM's DDPM++ and NCSN++, with the reference's defaults.
    fn song(&mut self, learned_variance: bool) -> Result<SongUnetConfig, String> {
        let channels = self.size_or("model_channels", 128)?;
        Ok(SongUnetConfig {
            channels,
            multipliers: self.sizes_or("channel_mult", &[1, 2, 2, 2])?,
            embedding: Some(channels * self.size_or("channel_mult_emb", 4)?),
            blocks: self.size_or("num_blocks", 4)?,
            attention: self.sizes_or("attn_resolutions", &[16])?,
            time_features: match self.text("embedding_type").as_deref() {
                Some("fourier") => TimeFeatures::Fourier { scale: 16.0 },
                Some("positional") | None => TimeFeatures::Sinusoidal,
                Some(other) => return Err(format!("config.embedding_type {other} is not understood")),
            },
            time_width: Some(channels * self.size_or("channel_mult_noise", 1)?),
            encoder: self.value_or("encoder_type")?,
            decoder: self.value_or("decoder_type")?,
            filter: if self.0.contains_key("resample_filter") {
                self.value_or("resample_filter")?
            } else {
                vec![1.0; 2]
            },
            augmentation: self.size_or("augment_dim", 0)?,
            dropout: 0.0,
            learned_variance,
        })
    }

    fn value_or<T: serde::de::DeserializeOwned + Default>(&mut self, key: &str) -> Result<T, String> {
        let value = self.take(key).map(serde_json::from_value).transpose();
        value.map(Option::unwrap_or_default).map_err(|error| format!("config.{key}: {error}"))
    }

    /// What EDM's networks are for; the references were run in evaluation mode.
    fn edm_shape(&mut self) -> Result<DataShape, String> {
        self.take("dropout");
        self.take("label_dropout");
        let (channels, side) = (self.size("in_channels")?, self.size("img_resolution")?);
        Ok(DataShape::images(channels, side, side).with_classes(self.size_or("label_dim", 0)?))
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        self.take(key).and_then(|value| value.as_bool()).unwrap_or(default)
    }

    fn done(self) -> Result<(), String> {
        let rest: Vec<String> = self.0.into_keys().collect();
        if rest.is_empty() { Ok(()) } else { Err(format!("config.{} is not understood", rest.join(", config."))) }
    }
}

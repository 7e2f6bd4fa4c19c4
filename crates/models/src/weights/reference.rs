//! The implementations whose weights are read and written.

use super::tables::{ADM_UNET, DIFFUSERS_DIT, DIT};
use super::{KeyMap, WeightsError, edm, sit};
use crate::dit::BlockDesign;
use crate::layers::sine_cosine_positions;
use crate::network::ModelConfig;
use crate::parameters::{Array, Arrays};
use crate::routing::RoutingConfig;
use crate::routing::prior::prior;
use crate::shape::DataShape;
use crate::unet::{AttentionOrder, UnetConfig};

/// How far a tensor that the configuration fixes may be from what it fixes it to: others computed it in 32 bits.
const ROUNDING: f32 = 1e-5;

/// An implementation that weights come from or go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// facebookresearch/DiT.
    Dit,
    /// willisma/SiT.
    Sit,
    /// byeongjun-park/DTR: DiT with routed tasks.
    Dtr,
    /// byeongjun-park/Switch-DiT: DiT with experts.
    SwitchDit,
    /// openai/guided-diffusion, the UNet.
    Adm,
    /// NVlabs/edm: SongUNet and DhariwalUNet, with or without a wrapper around them.
    Edm,
    /// huggingface/diffusers: DiT.
    DiffusersDit,
}

impl Reference {
    /// All.
    pub const ALL: [Self; 7] =
        [Self::Dit, Self::Sit, Self::Dtr, Self::SwitchDit, Self::Adm, Self::Edm, Self::DiffusersDit];

    /// Its name in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dit => "dit",
            Self::Sit => "sit",
            Self::Dtr => "dtr",
            Self::SwitchDit => "switch-dit",
            Self::Adm => "adm",
            Self::Edm => "edm",
            Self::DiffusersDit => "diffusers-dit",
        }
    }

    /// Fails for a network that is another reference's where names and shapes alone would not tell.
    fn check(self, model: &ModelConfig) -> Result<(), WeightsError> {
        let made_by = match model {
            ModelConfig::Dit(config) if config.block != BlockDesign::AdalnZero => {
                let what = format!("blocks of the design `{}`", config.block.name());
                return Err(WeightsError::Lacks { named: self.name(), what });
            }
            ModelConfig::Dit(config) => match &config.routing {
                // SiT's has the same names and means another thing by them, so there it counts which one is named.
                None if self == Self::Sit && !config.learned_variance => Self::Sit,
                None => Self::Dit,
                Some(RoutingConfig::Dtr(_) | RoutingConfig::Random(_)) => Self::Dtr,
                Some(RoutingConfig::Experts(_)) => Self::SwitchDit,
            },
            ModelConfig::Unet(UnetConfig { routing: Some(_), .. }) => {
                return Err(WeightsError::Lacks { named: self.name(), what: "UNet with routed tasks".into() });
            }
            ModelConfig::Unet(config) => {
                let (made_by, group_channels) = match config.attention_order {
                    AttentionOrder::PartsLast => (Self::Edm, edm::GROUP_CHANNELS),
                    AttentionOrder::PartsFirst | AttentionOrder::HeadsFirst => (Self::Adm, 1),
                };
                if config.group_channels != group_channels {
                    let what = format!("UNet of `group_channels = {}`", config.group_channels);
                    return Err(WeightsError::Lacks { named: self.name(), what });
                }
                made_by
            }
            ModelConfig::SongUnet(_) => Self::Edm,
            ModelConfig::Mlp(_) | ModelConfig::Classifier(_) => return Ok(()),
        };
        if self == made_by || (self, made_by) == (Self::DiffusersDit, Self::Dit) {
            return Ok(());
        }
        Err(WeightsError::OtherReference { named: self.name(), made_by: made_by.name() })
    }

    /// What makes its outputs differ from those of `model` although the weights are the same; nothing does mostly.
    pub fn caveat(self, model: &ModelConfig) -> Option<String> {
        let ModelConfig::Dit(config) = model else { return None };
        let (name, endpoint) = (self.name(), self == Self::DiffusersDit);
        (config.time_endpoint != endpoint).then(|| {
            format!(
                "`{name}` embeds time with other frequencies than this configuration, and gives other outputs for the \
                 same weights; `model.time_endpoint = {endpoint}` is as there"
            )
        })
    }

    fn keys(self, model: &ModelConfig, shape: &DataShape) -> KeyMap {
        match self {
            Self::Dit | Self::Sit | Self::Dtr | Self::SwitchDit => DIT,
            Self::Adm => ADM_UNET,
            Self::Edm => edm::keys(model, shape),
            Self::DiffusersDit => DIFFUSERS_DIT,
        }
    }

    /// The tensors that it keeps although the configuration fixes them, under its names.
    fn fixed(self, model: &ModelConfig, shape: &DataShape) -> Arrays {
        if self == Self::Edm {
            return edm::fixed(model, shape);
        }
        let mut fixed = Arrays::new();
        let ModelConfig::Dit(config) = model else { return fixed };
        if self == Self::DiffusersDit {
            return fixed;
        }
        let (rows, columns) = (shape.height / config.patch, shape.width / config.patch);
        let positions = sine_cosine_positions(rows, columns, config.width);
        fixed.insert("pos_embed".into(), Array { shape: vec![1, rows * columns, config.width], values: positions });
        let table = |mask: Vec<bool>, units: usize| Array {
            shape: vec![mask.len() / units, units],
            values: mask.into_iter().map(|on| u8::from(on).into()).collect(),
        };
        match &config.routing {
            Some(RoutingConfig::Dtr(routing)) => {
                let mask = table(routing.mask(config.width), config.width);
                let name = |block| format!("blocks.{block}.routing._unit_mapping");
                fixed.extend((0..config.depth).map(|block| (name(block), mask.clone())));
            }
            Some(RoutingConfig::Random(routing)) => {
                let mask = |block| table(routing.mask(config.width, block), config.width);
                let name = |block| format!("blocks.{block}.routing._unit_mapping");
                fixed.extend((0..config.depth).map(|block| (name(block), mask(block))));
            }
            Some(RoutingConfig::Experts(routing)) => {
                let times = (0..routing.tasks).map(|task| task as f32).collect();
                fixed.insert("full_time".into(), Array { shape: vec![routing.tasks], values: times });
                let mask = table(prior(routing, config.depth), config.depth * routing.count);
                fixed.insert("prior._unit_mapping".into(), mask);
            }
            None => {}
        }
        fixed
    }

    /// Its tensors under our names and in our layout, for the network of `model` on data of `shape`.
    ///
    /// # Errors
    /// [`WeightsError::Unmapped`] with every name that is not known, every shape that does not fit and every fixed tensor
    /// that is not what the configuration fixes it to; [`WeightsError::OtherReference`] for a network of another one
    /// and [`WeightsError::Lacks`] for one of none.
    pub fn import(self, model: &ModelConfig, shape: &DataShape, theirs: Arrays) -> Result<Arrays, WeightsError> {
        self.check(model)?;
        let theirs = if self == Self::Edm { edm::unwrapped(theirs) } else { theirs };
        let agree = |ours: &Array, theirs: &Array| {
            ours.shape == theirs.shape
                && ours.values.iter().zip(&theirs.values).all(|(ours, theirs)| (ours - theirs).abs() <= ROUNDING)
        };
        let fixed = self.fixed(model, shape);
        let differs = |name: &String| theirs.get(name).is_some_and(|theirs| !agree(&fixed[name], theirs));
        let differing: Vec<String> = fixed
            .keys()
            .filter(|name| differs(name))
            .map(|name| format!("{name} {:?} is not what this configuration fixes it to", theirs[name].shape))
            .collect();
        if !differing.is_empty() {
            return Err(WeightsError::Unmapped(differing));
        }
        let ours = self.keys(model, shape).import(theirs)?;
        Ok(match model {
            ModelConfig::Dit(config) if self == Self::Sit => sit::turned(ours, shape.channels, config.patch),
            _ => ours,
        })
    }

    /// Our tensors under its names and in its layout, with all that its program looks for.
    ///
    /// # Errors
    /// [`WeightsError::Unmapped`] with every name that is not known, of a network that it does not have;
    /// [`WeightsError::OtherReference`] for a network of another one and [`WeightsError::Lacks`] for one of none.
    pub fn export(self, model: &ModelConfig, shape: &DataShape, ours: Arrays) -> Result<Arrays, WeightsError> {
        self.check(model)?;
        let ours = match model {
            ModelConfig::Dit(config) if self == Self::Sit => sit::turned_back(ours, shape.channels, config.patch),
            _ => ours,
        };
        let mut theirs = self.keys(model, shape).export(ours)?;
        theirs.extend(self.fixed(model, shape));
        Ok(theirs)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::dit::DitConfig;
    use crate::parameters;
    use crate::routing::{DtrConfig, ExpertsConfig};
    use crate::song_unet::{Decoder, Encoder, SongUnetConfig, TimeFeatures};
    use crate::testing::randomized;

    fn networks() -> Vec<(Reference, ModelConfig)> {
        let dit = DitConfig { width: 16, depth: 2, heads: 2, ..DitConfig::default() };
        let routing = Some(RoutingConfig::Dtr(DtrConfig { tasks: 10, ..DtrConfig::default() }));
        let experts = Some(RoutingConfig::Experts(ExpertsConfig { tasks: 10, ..ExpertsConfig::default() }));
        let unet = UnetConfig { channels: 8, multipliers: vec![1, 2], groups: 4, ..UnetConfig::default() };
        let edm = UnetConfig {
            attention_order: AttentionOrder::PartsLast,
            attention: vec![4],
            group_channels: 4,
            null_class: false,
            augmentation: 9,
            ..unet.clone()
        };
        let song = SongUnetConfig { channels: 8, multipliers: vec![1, 2], blocks: 1, ..SongUnetConfig::default() };
        let song = SongUnetConfig { attention: vec![4], filter: vec![1.0, 3.0, 3.0, 1.0], ..song };
        let fourier = TimeFeatures::Fourier { scale: 16.0 };
        vec![
            (Reference::Dit, ModelConfig::Dit(dit.clone())),
            (Reference::Sit, ModelConfig::Dit(dit.clone())),
            (Reference::DiffusersDit, ModelConfig::Dit(DitConfig { time_endpoint: true, ..dit.clone() })),
            (Reference::Dtr, ModelConfig::Dit(DitConfig { routing, ..dit.clone() })),
            (Reference::SwitchDit, ModelConfig::Dit(DitConfig { routing: experts, ..dit })),
            (Reference::Adm, ModelConfig::Unet(UnetConfig { null_class: false, ..unet.clone() })),
            (Reference::Edm, ModelConfig::Unet(edm)),
            (Reference::Edm, ModelConfig::SongUnet(song.clone())),
            (Reference::Edm, ModelConfig::SongUnet(SongUnetConfig { encoder: Encoder::Residual, ..song.clone() })),
            (
                Reference::Edm,
                ModelConfig::SongUnet(SongUnetConfig { decoder: Decoder::Skip, time_features: fourier, ..song }),
            ),
        ]
    }

    #[test]
    fn weights_come_back_as_they_went() {
        let shape = DataShape::images(3, 8, 8).with_classes(4);
        for (reference, model) in networks() {
            let network = randomized(model.build(&shape, &Device::flex(), 0).unwrap());
            let ours = parameters::read(&network).unwrap();
            let theirs = reference.export(&model, &shape, ours.clone()).unwrap();
            let back = reference.import(&model, &shape, theirs).unwrap();
            assert_eq!(back.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>(), "{reference:?}");
            for (name, ours) in &ours {
                assert_eq!(back[name].shape, ours.shape, "{reference:?} {name}");
                // SiT's time is turned by sines and cosines; all else is moved.
                let tolerance = if reference == Reference::Sit && name.contains("time") { 1e-6 } else { 0.0 };
                let differs = |(a, b): (&f32, &f32)| (a - b).abs() > tolerance;
                assert!(!back[name].values.iter().zip(&ours.values).any(differs), "{reference:?} {name}");
            }
            assert_eq!(reference.caveat(&model), None);
        }
    }

    #[test]
    fn a_network_of_another_reference_is_refused() {
        let shape = DataShape::images(3, 8, 8).with_classes(4);
        // The same network, told another time.
        let same = [Reference::Dit, Reference::Sit, Reference::DiffusersDit];
        for (made_by, model) in networks() {
            let ours = parameters::read(&model.build(&shape, &Device::flex(), 0).unwrap()).unwrap();
            for other in Reference::ALL.into_iter().filter(|other| *other != made_by) {
                if same.contains(&made_by) && same.contains(&other) {
                    let differs = (made_by == Reference::DiffusersDit) != (other == Reference::DiffusersDit);
                    assert_eq!(other.caveat(&model).is_some_and(|why| why.contains("model.time_endpoint")), differs);
                    continue;
                }
                let message = other.export(&model, &shape, ours.clone()).unwrap_err().to_string();
                let made_by = if same.contains(&made_by) { Reference::Dit } else { made_by };
                assert!(message.contains(made_by.name()) && message.contains(other.name()), "{message}");
                assert!(other.import(&model, &shape, Arrays::new()).is_err());
            }
        }
    }

    #[test]
    fn blocks_of_another_design_are_refused() {
        let shape = DataShape::images(3, 8, 8).with_classes(4);
        for (reference, model) in networks() {
            let ModelConfig::Dit(config) = model else { continue };
            for block in [BlockDesign::Adaln, BlockDesign::InContext, BlockDesign::CrossAttention] {
                let model = ModelConfig::Dit(DitConfig { block, ..config.clone() });
                let message = reference.export(&model, &shape, Arrays::new()).unwrap_err().to_string();
                assert!(message.contains(reference.name()) && message.contains(block.name()), "{message}");
                assert!(reference.import(&model, &shape, Arrays::new()).is_err());
            }
        }
    }

    #[test]
    fn a_unet_with_routed_tasks_is_refused() {
        let shape = DataShape::images(3, 8, 8).with_classes(4);
        for (reference, model) in networks() {
            let ModelConfig::Unet(config) = model else { continue };
            let routing = Some(RoutingConfig::Dtr(DtrConfig::default()));
            let model = ModelConfig::Unet(UnetConfig { routing, ..config });
            let message = reference.export(&model, &shape, Arrays::new()).unwrap_err().to_string();
            assert!(message.contains(&format!("`{}` has no UNet with routed tasks", reference.name())), "{message}");
        }
    }

    #[test]
    fn groups_of_another_size_are_refused() {
        let shape = DataShape::images(3, 8, 8).with_classes(4);
        for (reference, model) in networks() {
            let ModelConfig::Unet(config) = model else { continue };
            let model = ModelConfig::Unet(UnetConfig { group_channels: 2, ..config });
            let message = reference.import(&model, &shape, Arrays::new()).unwrap_err().to_string();
            assert!(message.contains("group_channels = 2"), "{message}");
        }
    }

    #[test]
    fn what_a_wrapper_does_not_have_is_listed_and_odd_shapes_are_refused() {
        let shape = DataShape::images(3, 8, 8).with_classes(4);
        for (reference, model) in networks() {
            let ours = parameters::read(&model.build(&shape, &Device::flex(), 0).unwrap()).unwrap();
            let theirs = reference.export(&model, &shape, ours.clone()).unwrap();
            match reference {
                Reference::Edm => {
                    let wrapped = |(name, array)| (format!("model.{name}"), array);
                    let mut inside: Arrays = theirs.into_iter().map(wrapped).collect();
                    inside.insert("u".into(), Array { shape: vec![1], values: vec![0.0] });
                    assert_eq!(reference.import(&model, &shape, inside.clone()).unwrap(), ours);
                    inside.insert("stray".into(), Array { shape: vec![1], values: vec![0.0] });
                    let message = reference.import(&model, &shape, inside).unwrap_err().to_string();
                    assert!(message.contains("stray [1]"), "{message}");
                }
                Reference::Sit => {
                    let mut odd = theirs;
                    let last = odd.get_mut("final_layer.linear.bias").unwrap();
                    *last = Array { shape: vec![3], values: last.values[..3].to_vec() };
                    let ours = reference.import(&model, &shape, odd).unwrap();
                    let network = model.build(&shape, &Device::flex(), 0).unwrap();
                    let message = parameters::write(network, ours).unwrap_err().to_string();
                    assert!(message.contains("final_layer.projection.bias is [3]"), "{message}");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn what_is_not_of_this_network_is_listed() {
        let shape = DataShape::images(3, 8, 8).with_classes(4);
        let (reference, model) = networks().remove(0);
        let network = model.build(&shape, &Device::flex(), 0).unwrap();
        let theirs = reference.export(&model, &shape, parameters::read(&network).unwrap()).unwrap();
        let larger = DataShape::images(3, 16, 16).with_classes(4);
        let message = reference.import(&model, &larger, theirs.clone()).unwrap_err().to_string();
        assert!(message.contains("pos_embed [1, 16, 16]"), "{message}");
        let mut more = theirs;
        more.insert("blocks.0.router.weight".into(), Array { shape: vec![1], values: vec![0.0] });
        let message = reference.import(&model, &shape, more).unwrap_err().to_string();
        assert!(message.contains("blocks.0.router.weight [1]"), "{message}");
    }

    /// diffusers' layers in our layout, by hand: ours are `[in, out]`, theirs `[out, in]`, apart and once a block.
    #[test]
    fn diffusers_has_queries_apart_and_a_time_embedding_in_every_block() {
        let shape = DataShape::images(3, 8, 8).with_classes(4);
        let mut networks = networks().into_iter();
        let (reference, model) = networks.find(|(reference, _)| *reference == Reference::DiffusersDit).unwrap();
        let network = randomized(model.build(&shape, &Device::flex(), 0).unwrap());
        let ours = parameters::read(&network).unwrap();
        let theirs = reference.export(&model, &shape, ours.clone()).unwrap();

        let qkv = &ours["blocks.1.attention.qkv.weight"]; // [16, 48]
        for (i, name) in ["to_q", "to_k", "to_v"].into_iter().enumerate() {
            let part = &theirs[&format!("transformer_blocks.1.attn1.{name}.weight")];
            assert_eq!(part.shape, [16, 16]);
            let (output, input) = (5, 9);
            assert_eq!(part.values[output * 16 + input], qkv.values[input * 48 + i * 16 + output]);
        }
        let classes = "norm1.emb.class_embedder.embedding_table.weight";
        for block in ["transformer_blocks.0", "transformer_blocks.1"] {
            assert_eq!(theirs[&format!("{block}.{classes}")], ours["conditioning.class.weight"]);
        }
        assert!(!theirs.contains_key("pos_embed") && !theirs.keys().any(|name| name.contains("to_qkv")));

        let mut apart = theirs;
        apart.get_mut(&format!("transformer_blocks.1.{classes}")).unwrap().values[3] += 1.0;
        let message = reference.import(&model, &shape, apart).unwrap_err().to_string();
        assert!(message.contains(&format!("transformer_blocks.0.{classes}: 1 of 1 other blocks")), "{message}");
    }
}

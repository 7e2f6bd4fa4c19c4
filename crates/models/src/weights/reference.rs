//! The implementations whose weights are read and written.

use super::tables::{ADM_UNET, DIT};
use super::{KeyMap, WeightsError};
use crate::layers::sine_cosine_positions;
use crate::network::ModelConfig;
use crate::parameters::{Array, Arrays};
use crate::routing::RoutingConfig;
use crate::routing::prior::prior;
use crate::shape::DataShape;

/// How far a tensor that the configuration fixes may be from what it fixes it to: others computed it in 32 bits.
const ROUNDING: f32 = 1e-5;

/// An implementation that weights come from or go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// facebookresearch/DiT.
    Dit,
    /// byeongjun-park/DTR: DiT with routed tasks.
    Dtr,
    /// byeongjun-park/Switch-DiT: DiT with experts.
    SwitchDit,
    /// openai/guided-diffusion, the UNet.
    Adm,
}

impl Reference {
    /// All.
    pub const ALL: [Self; 4] = [Self::Dit, Self::Dtr, Self::SwitchDit, Self::Adm];

    /// Its name in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dit => "dit",
            Self::Dtr => "dtr",
            Self::SwitchDit => "switch-dit",
            Self::Adm => "adm",
        }
    }

    /// Fails for a DiT whose blocks do with time what those of the reference do not: names alone would not tell. (Those of
    /// other networks do.)
    fn check(self, model: &ModelConfig) -> Result<(), WeightsError> {
        let ModelConfig::Dit(config) = model else { return Ok(()) };
        let made_by = match &config.routing {
            None => Self::Dit,
            Some(RoutingConfig::Dtr(_) | RoutingConfig::Random(_)) => Self::Dtr,
            Some(RoutingConfig::Experts(_)) => Self::SwitchDit,
        };
        if self == made_by {
            return Ok(());
        }
        Err(WeightsError::OtherReference { named: self.name(), made_by: made_by.name() })
    }

    fn keys(self) -> &'static KeyMap {
        match self {
            Self::Dit | Self::Dtr | Self::SwitchDit => &DIT,
            Self::Adm => &ADM_UNET,
        }
    }

    /// The tensors that it keeps although the configuration fixes them, under its names.
    fn fixed(self, model: &ModelConfig, shape: &DataShape) -> Arrays {
        let mut fixed = Arrays::new();
        let ModelConfig::Dit(config) = model else { return fixed };
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
    /// that is not what the configuration fixes it to; [`WeightsError::OtherReference`] for a DiT of another one.
    pub fn import(self, model: &ModelConfig, shape: &DataShape, theirs: Arrays) -> Result<Arrays, WeightsError> {
        self.check(model)?;
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
        self.keys().import(theirs)
    }

    /// Our tensors under its names and in its layout, with all that its program looks for.
    ///
    /// # Errors
    /// [`WeightsError::Unmapped`] with every name that is not known, of a network that it does not have;
    /// [`WeightsError::OtherReference`] for a DiT of another one.
    pub fn export(self, model: &ModelConfig, shape: &DataShape, ours: Arrays) -> Result<Arrays, WeightsError> {
        self.check(model)?;
        let mut theirs = self.keys().export(ours)?;
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
    use crate::testing::randomized;
    use crate::unet::UnetConfig;

    fn networks() -> Vec<(Reference, ModelConfig)> {
        let dit = DitConfig { width: 16, depth: 2, heads: 2, ..DitConfig::default() };
        let routing = Some(RoutingConfig::Dtr(DtrConfig { tasks: 10, ..DtrConfig::default() }));
        let experts = Some(RoutingConfig::Experts(ExpertsConfig { tasks: 10, ..ExpertsConfig::default() }));
        let unet = UnetConfig { channels: 8, multipliers: vec![1, 2], groups: 4, ..UnetConfig::default() };
        vec![
            (Reference::Dit, ModelConfig::Dit(dit.clone())),
            (Reference::Dtr, ModelConfig::Dit(DitConfig { routing, ..dit.clone() })),
            (Reference::SwitchDit, ModelConfig::Dit(DitConfig { routing: experts, ..dit })),
            (Reference::Adm, ModelConfig::Unet(UnetConfig { null_class: false, ..unet })),
        ]
    }

    #[test]
    fn weights_come_back_as_they_went() {
        let shape = DataShape::images(3, 8, 8).with_classes(4);
        for (reference, model) in networks() {
            let network = randomized(model.build(&shape, &Device::flex(), 0).unwrap());
            let ours = parameters::read(&network).unwrap();
            let theirs = reference.export(&model, &shape, ours.clone()).unwrap();
            assert_eq!(reference.import(&model, &shape, theirs).unwrap(), ours, "{reference:?}");
        }
    }

    #[test]
    fn a_dit_of_another_reference_is_refused() {
        let shape = DataShape::images(3, 8, 8).with_classes(4);
        for (made_by, model) in networks().into_iter().filter(|(_, model)| matches!(model, ModelConfig::Dit(_))) {
            let ours = parameters::read(&model.build(&shape, &Device::flex(), 0).unwrap()).unwrap();
            for other in Reference::ALL.into_iter().filter(|other| *other != made_by) {
                let message = other.export(&model, &shape, ours.clone()).unwrap_err().to_string();
                assert!(message.contains(made_by.name()) && message.contains(other.name()), "{message}");
                assert!(other.import(&model, &shape, Arrays::new()).is_err());
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
}

//! EDM (NVlabs/edm: `SongUNet` and `DhariwalUNet` in training/networks.py), for [`SongUnet`](crate::SongUnet) and
//! [`Unet`](crate::Unet).
//!
//! Its blocks are called by the side of the image that they leave and by their place in the level, so the names depend
//! on the configuration.

use std::borrow::Cow;

use super::keys::Layout::{self, Linear, Pixelwise, Same};
use super::{KeyMap, Rename};
use crate::layers::ResampleFilter;
use crate::network::ModelConfig;
use crate::parameters::{Array, Arrays};
use crate::shape::DataShape;
use crate::song_unet::{Decoder, Encoder, SongUnetConfig};
use crate::unet::UnetConfig;

/// What EDM's wrappers put before the names of the network inside.
const WRAPPER: &str = "model.";
/// The noise levels that the wrapper of improved DDPM's networks keeps.
const LEVELS: &str = "u";
/// Channels of a group in every normalization, at the least.
pub(super) const GROUP_CHANNELS: usize = 4;

/// One of its blocks: a residual one, and attention where it has any.
struct Block {
    theirs: String,
    residual: String,
    attention: Option<String>,
    /// Whether it halves or doubles.
    resamples: bool,
}

/// The tensors of the network alone, where they are those of a preconditioning wrapper with the network inside.
pub(super) fn unwrapped(theirs: Arrays) -> Arrays {
    if !theirs.keys().any(|name| name.starts_with(WRAPPER)) {
        return theirs;
    }
    let inside = |(name, array): (String, Array)| (name.strip_prefix(WRAPPER).unwrap_or(&name).to_owned(), array);
    theirs.into_iter().filter(|(name, _)| name != LEVELS).map(inside).collect()
}

/// Its names for the network of `model` on data of `shape`; nothing for networks that it does not have.
pub(super) fn keys(model: &ModelConfig, shape: &DataShape) -> KeyMap {
    let mut layers = match model {
        ModelConfig::SongUnet(config) => song_layers(config, shape),
        ModelConfig::Unet(_) => unet_layers(shape),
        _ => Vec::new(),
    };
    for Block { theirs, residual, attention, .. } in blocks(model, shape) {
        let parts = [
            ("norm0", "input_norm", Same),
            ("conv0", "input_convolution", Same),
            ("affine", "embedding", Linear),
            ("norm1", "output_norm", Same),
            ("conv1", "output_convolution", Same),
            ("skip", "skip", Same),
        ];
        layers.extend(
            parts.map(|(part, ours, layout)| layer(format!("{theirs}.{part}"), format!("{residual}.{ours}"), layout)),
        );
        if let Some(attention) = attention {
            let parts = [("norm2", "norm", Same), ("qkv", "qkv", Pixelwise), ("proj", "projection", Pixelwise)];
            layers.extend(
                parts.map(|(part, ours, layout)| {
                    layer(format!("{theirs}.{part}"), format!("{attention}.{ours}"), layout)
                }),
            );
        }
    }
    KeyMap { layers: Cow::Owned(layers), tensors: TENSORS, fixed: &["**.resample_filter"], packed: &[], copied: &[] }
}

const TENSORS: &[Rename] = &[
    Rename {
        theirs: Cow::Borrowed("map_augment.weight"),
        ours: Cow::Borrowed("conditioning.augmentation"),
        layout: Linear,
    },
    Rename {
        theirs: Cow::Borrowed("map_noise.freqs"),
        ours: Cow::Borrowed("conditioning.table.frequencies"),
        layout: Same,
    },
];

/// The filters that it keeps with every layer that halves or doubles.
pub(super) fn fixed(model: &ModelConfig, shape: &DataShape) -> Arrays {
    let taps: &[f64] = match model {
        ModelConfig::SongUnet(config) => &config.filter,
        _ => &[1.0, 1.0],
    };
    let filter = Array { shape: vec![1, 1, taps.len(), taps.len()], values: ResampleFilter::new(taps).table() };
    let resampling = blocks(model, shape).into_iter().filter(|block| block.resamples);
    let mut names: Vec<String> =
        resampling.flat_map(|block| ["conv0", "skip"].map(|part| format!("{}.{part}", block.theirs))).collect();
    if let ModelConfig::SongUnet(config) = model {
        for level in 1..config.multipliers.len() {
            let (below, above) = (side(shape, level), side(shape, level - 1));
            match config.encoder {
                Encoder::Standard => {}
                Encoder::Skip => names.push(format!("enc.{below}_aux_down")),
                Encoder::Residual => names.push(format!("enc.{below}_aux_residual")),
            }
            if config.decoder == Decoder::Skip {
                names.push(format!("dec.{above}_aux_up"));
            }
        }
    }
    names.into_iter().map(|name| (format!("{name}.resample_filter"), filter.clone())).collect()
}

fn blocks(model: &ModelConfig, shape: &DataShape) -> Vec<Block> {
    match model {
        ModelConfig::SongUnet(config) => song_blocks(config, shape),
        ModelConfig::Unet(config) => unet_blocks(config, shape),
        _ => Vec::new(),
    }
}

fn song_blocks(config: &SongUnetConfig, shape: &DataShape) -> Vec<Block> {
    let block = |theirs: String, ours: String, resamples: bool| Block {
        theirs,
        residual: format!("{ours}.residual"),
        attention: Some(format!("{ours}.attention")),
        resamples,
    };
    let levels = config.multipliers.len();
    let mut blocks = Vec::new();
    for level in 0..levels {
        let side = side(shape, level);
        let (encoder, decoder) = (format!("encoder.{level}"), format!("decoder.{}", levels - 1 - level));
        let kept = |index: usize, theirs: &str, ours: &str| {
            block(format!("{theirs}.{side}_block{index}"), format!("{ours}.blocks.{index}"), false)
        };
        blocks.extend((0..config.blocks).map(|index| kept(index, "enc", &encoder)));
        blocks.extend((0..=config.blocks).map(|index| kept(index, "dec", &decoder)));
        if level > 0 {
            blocks.push(block(format!("enc.{side}_down"), format!("{encoder}.down"), true));
        }
        if level + 1 < levels {
            blocks.push(block(format!("dec.{side}_up"), format!("{decoder}.up"), true));
        } else {
            blocks.extend((0..2).map(|index| block(format!("dec.{side}_in{index}"), format!("middle.{index}"), false)));
        }
    }
    blocks
}

fn song_layers(config: &SongUnetConfig, shape: &DataShape) -> Vec<Rename> {
    let mut layers = vec![
        layer("map_label", "conditioning.class", Linear),
        layer("map_layer0", "conditioning.mlp.input", Linear),
        layer("map_layer1", "conditioning.mlp.output", Linear),
        layer(format!("enc.{}_conv", side(shape, 0)), "input_convolution", Same),
    ];
    let levels = config.multipliers.len();
    for level in 0..levels {
        let (side, decoder) = (side(shape, level), levels - 1 - level);
        let auxiliary = match config.encoder {
            Encoder::Residual => "aux_residual",
            Encoder::Standard | Encoder::Skip => "aux_skip",
        };
        layers.push(layer(format!("enc.{side}_{auxiliary}"), format!("encoder.{level}.auxiliary"), Same));
        layers.push(layer(format!("dec.{side}_aux_norm"), format!("decoder.{decoder}.output.norm"), Same));
        layers.push(layer(format!("dec.{side}_aux_conv"), format!("decoder.{decoder}.output.convolution"), Same));
    }
    layers
}

fn unet_blocks(config: &UnetConfig, shape: &DataShape) -> Vec<Block> {
    let block = |theirs: String, ours: String, attends: bool, resamples: bool| Block {
        theirs,
        residual: format!("{ours}.0"),
        attention: attends.then(|| format!("{ours}.1")),
        resamples,
    };
    let levels = config.multipliers.len();
    let attends = |level: usize| config.attention.contains(&(shape.height >> level));
    let mut blocks = Vec::new();
    // The first input block is a convolution.
    let mut input = 1;
    for level in 0..levels {
        for index in 0..config.blocks {
            let theirs = format!("enc.{}_block{index}", side(shape, level));
            blocks.push(block(theirs, format!("input_blocks.{input}"), attends(level), false));
            input += 1;
        }
        if level + 1 < levels {
            let theirs = format!("enc.{}_down", side(shape, level + 1));
            blocks.push(block(theirs, format!("input_blocks.{input}"), false, true));
            input += 1;
        }
    }
    let smallest = side(shape, levels.saturating_sub(1));
    blocks.push(block(format!("dec.{smallest}_in0"), "middle_block".into(), true, false));
    let last = Block {
        residual: "middle_block.2".into(),
        ..block(format!("dec.{smallest}_in1"), String::new(), false, false)
    };
    blocks.push(last);
    let mut output = 0;
    for level in (0..levels).rev() {
        for index in 0..=config.blocks {
            let ours = format!("output_blocks.{output}");
            blocks.push(block(format!("dec.{}_block{index}", side(shape, level)), ours.clone(), attends(level), false));
            if level > 0 && index == config.blocks {
                let place = if attends(level) { 2 } else { 1 };
                let theirs = format!("dec.{}_up", side(shape, level - 1));
                blocks.push(Block { residual: format!("{ours}.{place}"), ..block(theirs, String::new(), false, true) });
            }
            output += 1;
        }
    }
    blocks
}

fn unet_layers(shape: &DataShape) -> Vec<Rename> {
    vec![
        layer("map_label", "conditioning.class", Linear),
        layer("map_layer0", "conditioning.time.mlp.input", Linear),
        layer("map_layer1", "conditioning.time.mlp.output", Linear),
        layer(format!("enc.{}_conv", side(shape, 0)), "input_blocks.0.0", Same),
        layer("out_norm", "output_norm", Same),
        layer("out_conv", "output_convolution", Same),
    ]
}

/// `HxH`, of a level's features.
fn side(shape: &DataShape, level: usize) -> String {
    let side = shape.height >> level;
    format!("{side}x{side}")
}

fn layer(theirs: impl Into<Cow<'static, str>>, ours: impl Into<Cow<'static, str>>, layout: Layout) -> Rename {
    Rename { theirs: theirs.into(), ours: ours.into(), layout }
}

use burn::tensor::{Device, Int, Tensor};

use super::*;
use crate::condition::Condition;
use crate::conditioning::Context;
use crate::initialization::Initialization;
use crate::parameters;
use crate::routing::{DtrConfig, ExpertsConfig, RandomConfig, RoutingConfig};
use crate::testing::{assert_close, normal, randomized, values};
use crate::weights::ADM_UNET;

fn small() -> UnetConfig {
    UnetConfig {
        channels: 8,
        multipliers: vec![1, 2],
        blocks: 1,
        attention: vec![4],
        heads: 2,
        groups: 4,
        ..UnetConfig::default()
    }
}

fn build(config: &UnetConfig, shape: &DataShape) -> Unet {
    assert!(config.validate(shape).is_empty(), "{}", config.validate(shape));
    Unet::new(config, shape, &mut Initialization::new(0, &Device::flex()))
}

/// ADM's ImageNet 64 model (Dhariwal and Nichol, 2021, table 11), with and without a learned variance: three more
/// output channels cost 3 x 3 x 192 weights and a bias each.
#[test]
fn imagenet_64_has_its_parameters() {
    for (learned_variance, expected) in [(false, 295_899_267), (true, 295_899_267 + 3 * (9 * 192 + 1))] {
        let config = UnetConfig {
            channels: 192,
            multipliers: vec![1, 2, 3, 4],
            blocks: 3,
            attention: vec![32, 16, 8],
            head_channels: Some(64),
            dropout: 0.1,
            null_class: false,
            learned_variance,
            ..UnetConfig::default()
        };
        let network = build(&config, &DataShape::images(3, 64, 64).with_classes(1000));
        assert_eq!(parameters::count(&network), expected);
    }
}

/// ADM's ImageNet 128 and 256 models with a learned variance: 422M and 554M in table 11.
#[test]
fn imagenet_128_and_256_have_their_parameters() {
    let released = UnetConfig {
        channels: 256,
        attention: vec![32, 16, 8],
        attention_order: AttentionOrder::HeadsFirst,
        null_class: false,
        learned_variance: true,
        ..UnetConfig::default()
    };
    let small = UnetConfig { multipliers: vec![1, 1, 2, 3, 4], heads: 4, ..released.clone() };
    let large = UnetConfig { multipliers: vec![1, 1, 2, 2, 4, 4], head_channels: Some(64), ..released };
    for (config, size, expected) in [(small, 128, 421_529_606), (large, 256, 553_838_086)] {
        let network = build(&config, &DataShape::images(3, size, size).with_classes(1000));
        assert_eq!(parameters::count(&network), expected, "{size}");
    }
}

#[test]
fn it_starts_at_zero() {
    let device = Device::flex();
    let network = build(&small(), &DataShape::images(3, 8, 8).with_classes(4));
    let x = normal::<4>(0, [2, 3, 8, 8], &device);
    let y = network.forward(x, normal::<1>(1, [2], &device), &Condition::none(), None);
    assert_eq!(values(&y.value), vec![0.0; 2 * 3 * 8 * 8]);
}

#[test]
fn every_variant_keeps_the_image() {
    let device = Device::flex();
    let shape = DataShape::images(1, 12, 8).with_classes(3);
    for (residual_resample, scale_shift_norm, attention_order) in
        [(true, true, AttentionOrder::PartsFirst), (false, false, AttentionOrder::HeadsFirst)]
    {
        for learned_variance in [false, true] {
            let attention = vec![6];
            let config = UnetConfig {
                residual_resample,
                scale_shift_norm,
                attention_order,
                learned_variance,
                attention,
                ..small()
            };
            let network = randomized(build(&config, &shape));
            let x = normal::<4>(0, [2, 1, 12, 8], &device);
            let y = network.forward(x, normal::<1>(1, [2], &device), &Condition::none(), None).value;
            assert_eq!(y.dims(), [2, if learned_variance { 2 } else { 1 }, 12, 8]);
            assert!(values(&y).iter().all(|value| value.is_finite()));
        }
    }
}

/// The two orders hold the same projection, its columns permuted.
#[test]
fn attention_orders_are_permutations_of_each_other() {
    let device = Device::flex();
    let init = &mut Initialization::new(0, &device);
    let parts = randomized(AttentionBlock::new(8, &small().block(), init));
    let config = UnetConfig { attention_order: AttentionOrder::HeadsFirst, ..small() };
    let heads = AttentionBlock::new(8, &config.block(), init);

    // Column (part, head, feature) of one is column (head, part, feature) of the other.
    let (heads_count, size) = (2, 4);
    let moved = |column: usize| {
        let (part, head, feature) = (column / 8, column / size % heads_count, column % size);
        (head * 3 + part) * size + feature
    };
    let mut arrays = parameters::read(&parts).unwrap();
    for name in ["qkv.weight", "qkv.bias"] {
        let array = arrays.get_mut(name).unwrap();
        let old = array.values.clone();
        for (index, value) in old.iter().enumerate() {
            array.values[index / 24 * 24 + moved(index % 24)] = *value;
        }
    }
    let heads = parameters::write(heads, arrays).unwrap();
    let x = normal::<4>(0, [2, 8, 3, 3], &device);
    let (there, here) = (heads.forward(x.clone().into()), parts.forward(x.into()));
    assert_close(&values(&there.value), &values(&here.value), 1e-6);
}

fn dtr(tasks: usize, ratio: f64) -> DtrConfig {
    DtrConfig { tasks, ratio, ..DtrConfig::default() }
}

/// A routed network, every parameter drawn anew; drawn alike for every routing.
fn routed(routing: Option<RoutingConfig>) -> Unet {
    randomized(build(&UnetConfig { routing, ..small() }, &DataShape::images(3, 8, 8).with_classes(4)))
}

fn residual_blocks(network: &Unet) -> impl Iterator<Item = &ResidualBlock> {
    let blocks = network.input_blocks.iter().chain([&network.middle_block]).chain(&network.output_blocks);
    blocks.flatten().filter_map(|layer| match layer {
        Layer::Residual(block) => Some(block),
        _ => None,
    })
}

/// With all channels for all tasks nothing is left over: the same bits, the same names.
#[test]
fn routing_of_all_channels_is_none() {
    let device = Device::flex();
    let (x, time) = (normal::<4>(0, [2, 3, 8, 8], &device), Tensor::<1>::from_data([3.0f32, 8.0], &device));
    let run = |network: &Unet| values(&network.forward(x.clone(), time.clone(), &Condition::none(), None).value);
    let (plain, whole) = (routed(None), routed(Some(RoutingConfig::Dtr(dtr(10, 1.0)))));
    assert_eq!(run(&whole), run(&plain));
    assert_eq!(parameters::names_and_shapes(&whole), parameters::names_and_shapes(&plain));
    let half = routed(Some(RoutingConfig::Dtr(dtr(10, 0.5))));
    assert_eq!(parameters::count(&half), parameters::count(&plain));
    assert_ne!(run(&half), run(&plain));
}

/// Of every residual block, those that change width and size among them: a channel outside the mask of a task changes
/// the way around and nothing else, one inside more. Image and condition have no say in which these are.
#[test]
fn what_a_task_leaves_over_passes_by() {
    let device = Device::flex();
    let (tasks, routing) = (10, dtr(10, 0.75));
    let network = routed(Some(RoutingConfig::Dtr(routing.clone())));
    let mut widths = Vec::new();
    for (which, block) in (10..).step_by(3).zip(residual_blocks(&network)) {
        let channels = block.inputs();
        let mask = routing.mask(channels);
        let x = normal::<4>(which, [tasks, channels, 4, 4], &device);
        let condition = normal::<2>(which + 1, [tasks, 32], &device);
        let time_label = Tensor::<1, Int>::arange(0..tasks as i64, &device).float();
        let (time, others) = (condition.clone().into(), Vec::new());
        let context = Context { embedding: condition.into(), time, others, time_label, caption: None, dropout: None };
        // Without the last convolution a block is its way around.
        let mut around = block.clone();
        around.output_convolution = parameters::map(around.output_convolution, |_, flat| flat * 0.0);
        let added =
            |x: Tensor<4>| block.forward(x.clone().into(), &context).value - around.forward(x.into(), &context).value;
        let before = values(&added(x.clone()));
        let of_task = before.len() / tasks;
        for channel in 0..channels {
            let step = Tensor::<4>::ones([tasks, 1, 4, 4], &device) + normal(which + 2, [tasks, 1, 4, 4], &device);
            let moved = x.clone().slice_assign([0..tasks, channel..channel + 1, 0..4, 0..4], step);
            let after = values(&added(moved));
            for task in 0..tasks {
                let range = task * of_task..(task + 1) * of_task;
                let difference =
                    before[range.clone()].iter().zip(&after[range]).fold(0.0f32, |d, (a, b)| d.max((a - b).abs()));
                assert_eq!(difference > 1e-4, mask[task * channels + channel], "{difference:e}");
            }
        }
        widths.push((channels, block.output_convolution.bias.lazy_shape()[0]));
    }
    assert_eq!(widths, [(8, 8), (8, 8), (8, 16), (16, 16), (16, 16), (32, 16), (24, 16), (16, 16), (24, 8), (16, 8)]);
}

#[test]
fn random_channels_differ_by_block() {
    let network = routed(Some(RoutingConfig::Random(RandomConfig { tasks: 4, ..RandomConfig::default() })));
    let labels = Tensor::<1>::from_data([0.0f32, 1.0, 2.0, 3.0], &Device::flex());
    let masks: Vec<Vec<f32>> =
        residual_blocks(&network).map(|block| values(&block.masks.as_ref().unwrap().of(labels.clone()))).collect();
    for (i, mask) in masks.iter().enumerate() {
        assert!(masks[..i].iter().all(|other| other != mask), "block {i}");
    }
}

#[test]
fn experts_are_refused() {
    let config = UnetConfig { routing: Some(RoutingConfig::Experts(ExpertsConfig::default())), ..small() };
    let problems = config.validate(&DataShape::images(3, 8, 8));
    assert_eq!(problems.to_string(), "routing: `experts` are for a DiT: a UNet takes `dtr` or `random`");
    let config = UnetConfig { routing: Some(RoutingConfig::Dtr(dtr(0, 1.0))), ..small() };
    assert_eq!(config.validate(&DataShape::images(3, 8, 8)).to_string(), "routing.tasks: must be at least 1");
}

#[test]
fn every_problem_is_told_at_once() {
    let config = UnetConfig {
        channels: 12,
        multipliers: vec![1, 2, 3],
        blocks: 0,
        heads: 5,
        groups: 8,
        dropout: -0.1,
        ..UnetConfig::default()
    };
    let problems = config.validate(&DataShape::images(1, 28, 30));
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["blocks", "dropout", "multipliers", "groups", "heads"]);
    let default = UnetConfig::default();
    for size in [28, 32] {
        assert!(default.validate(&DataShape::images(1, size, size)).is_empty());
    }
}

#[test]
fn its_names_map_one_to_one() {
    for residual_resample in [true, false] {
        let config = UnetConfig { residual_resample, ..small() };
        let network = build(&config, &DataShape::images(3, 8, 8).with_classes(4));
        let ours = parameters::read(&network).unwrap();
        let theirs = ADM_UNET.export(ours.clone()).unwrap();
        assert_eq!(theirs.len(), ours.len());
        let (sampler, shape) = match residual_resample {
            true => ("input_blocks.2.0.in_layers.2.weight", [8, 8, 3, 3]),
            false => ("input_blocks.2.0.op.weight", [8, 8, 3, 3]),
        };
        assert_eq!(theirs[sampler].shape, shape);
        assert_eq!(theirs["middle_block.1.qkv.weight"].shape, [48, 16, 1]);
        assert_eq!(ADM_UNET.import(theirs).unwrap(), ours);
    }
}

use burn::tensor::Device;

use super::*;
use crate::condition::Condition;
use crate::initialization::Initialization;
use crate::parameters;
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

#[test]
fn it_starts_at_zero() {
    let device = Device::flex();
    let network = build(&small(), &DataShape::images(3, 8, 8).with_classes(4));
    let y = network.forward(normal(0, [2, 3, 8, 8], &device), normal(1, [2], &device), &Condition::none(), None);
    assert_eq!(values(&y), vec![0.0; 2 * 3 * 8 * 8]);
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
            let x = normal(0, [2, 1, 12, 8], &device);
            let y = network.forward(x, normal(1, [2], &device), &Condition::none(), None);
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
    assert_close(&values(&heads.forward(x.clone())), &values(&parts.forward(x)), 1e-6);
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

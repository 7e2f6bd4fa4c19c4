use burn::tensor::{Device, Tensor};

use super::*;
use crate::classifier::ClassifierConfig;
use crate::condition::Condition;
use crate::dit::DitConfig;
use crate::initialization::Start;
use crate::layers::{Adapter, Linear};
use crate::network::Network;
use crate::parameters::Arrays;
use crate::testing::{assert_close, noise, normal, randomized, values};
use crate::unet::{AttentionOrder, UnetConfig};

const SHAPE: DataShape = DataShape { channels: 2, height: 8, width: 8, classes: 3, vocabulary: 0, caption_length: 0 };

fn dit() -> ModelConfig {
    ModelConfig::Dit(DitConfig { width: 16, depth: 2, heads: 2, ..DitConfig::default() })
}

/// With strided convolutions between its levels and packed attention of either order.
fn unet(attention_order: AttentionOrder) -> ModelConfig {
    ModelConfig::Unet(UnetConfig {
        channels: 8,
        multipliers: vec![1, 2],
        blocks: 1,
        attention: vec![4],
        heads: 2,
        groups: 4,
        residual_resample: false,
        attention_order,
        ..UnetConfig::default()
    })
}

fn models() -> [ModelConfig; 3] {
    [dit(), unet(AttentionOrder::PartsFirst), unet(AttentionOrder::HeadsFirst)]
}

fn adapters(rules: &str) -> AdaptersConfig {
    serde_json::from_str(&format!(r#"{{"rules": [{rules}]}}"#)).unwrap()
}

fn low_rank() -> AdaptersConfig {
    adapters(r#"{"layers": "**", "type": "low_rank", "rank": 3, "alpha": 6.0}"#)
}

fn output(network: &Network) -> Vec<f32> {
    let device = Device::flex();
    let class = Tensor::from_data([0, 2], &device);
    let condition = Condition { class: Some(class), ..Condition::none() };
    values(&network.forward(normal(0, [2, 2, 8, 8], &device), normal::<1>(1, [2], &device), &condition, None))
}

fn base_of(network: &Network) -> Arrays {
    parameters::read(network).unwrap().into_iter().filter(|(name, _)| !is_adapter(name)).collect()
}

/// A network without zeros, and the same with adapters that are not trained yet.
fn pair(model: &ModelConfig, adapters: &AdaptersConfig) -> (Network, Network) {
    let device = Device::flex();
    let base = randomized(model.build(&SHAPE, &device, 0).unwrap());
    let adapted = model.build_adapted(Some(adapters), &SHAPE, &device, 0).unwrap();
    let mut arrays = parameters::read(&adapted).unwrap();
    arrays.extend(parameters::read(&base).unwrap());
    (base, parameters::write(adapted, arrays).unwrap())
}

/// The network with every parameter of its adapters drawn anew.
fn trained(network: Network) -> Network {
    let mut which = 5_000;
    parameters::map(network, |name, flat| {
        which += 1;
        let values: Vec<f32> = noise(which, flat.dims()[0]).into_iter().map(|value| 0.1 * value).collect();
        if is_adapter(name) { Tensor::from_floats(values.as_slice(), &flat.device()) } else { flat }
    })
}

#[test]
fn an_adapted_network_starts_as_the_one_without() {
    let device = Device::flex();
    let both = adapters(
        r#"{"layers": "**.projection", "type": "bottleneck", "width": 5},
           {"layers": "**", "type": "low_rank", "rank": 2}"#,
    );
    for model in models() {
        let base = model.build(&SHAPE, &device, 3).unwrap();
        let adapted = model.build_adapted(Some(&both), &SHAPE, &device, 3).unwrap();
        assert_eq!(base_of(&adapted), parameters::read(&base).unwrap(), "the same draws under the same names");
        let (base, adapted) = pair(&model, &both);
        assert_eq!(output(&adapted), output(&base));
        assert_ne!(output(&trained(adapted)), output(&base));
    }
}

#[test]
fn the_first_rule_that_matches_counts_and_others_are_left_alone() {
    let some = adapters(
        r#"{"layers": "blocks.0.attention.*", "type": "bottleneck", "width": 5},
           {"layers": "blocks.*.attention.qkv", "type": "low_rank", "rank": 2}"#,
    );
    let network = dit().build_adapted(Some(&some), &SHAPE, &Device::flex(), 0).unwrap();
    let shapes: Vec<_> =
        parameters::names_and_shapes(&network).into_iter().filter(|(name, _)| is_adapter(name)).collect();
    let expected: [(&str, &[usize]); 10] = [
        ("blocks.0.attention.projection.adapter.down", &[16, 5]),
        ("blocks.0.attention.projection.adapter.down_bias", &[5]),
        ("blocks.0.attention.projection.adapter.up", &[5, 16]),
        ("blocks.0.attention.projection.adapter.up_bias", &[16]),
        ("blocks.0.attention.qkv.adapter.down", &[48, 5]),
        ("blocks.0.attention.qkv.adapter.down_bias", &[5]),
        ("blocks.0.attention.qkv.adapter.up", &[5, 48]),
        ("blocks.0.attention.qkv.adapter.up_bias", &[48]),
        ("blocks.1.attention.qkv.adapter.down", &[16, 2]),
        ("blocks.1.attention.qkv.adapter.up", &[2, 48]),
    ];
    assert_eq!(shapes, expected.map(|(name, shape)| (name.to_owned(), shape.to_vec())));
}

/// An adapter's draws depend on its layer, not on which others have one, and differ from layer to layer.
#[test]
fn adapters_are_drawn_by_layer() {
    let device = Device::flex();
    let arrays = |adapters: &AdaptersConfig| {
        parameters::read(&dit().build_adapted(Some(adapters), &SHAPE, &device, 0).unwrap()).unwrap()
    };
    let one = adapters(r#"{"layers": "blocks.1.attention.qkv", "type": "low_rank", "rank": 3}"#);
    let (all, one) = (arrays(&low_rank()), arrays(&one));
    let down = |block: usize| format!("blocks.{block}.attention.qkv.adapter.down");
    assert_eq!(all[&down(1)], one[&down(1)]);
    assert_ne!(all[&down(0)], all[&down(1)]);
    // Uniform on +-1/sqrt(16).
    assert!(one[&down(1)].values.iter().all(|value| value.abs() <= 0.25 && *value != 0.0));
}

/// `y + scale x down up`, and `y + up(gelu(down(y)))`, by hand.
#[test]
fn outputs_are_those_of_the_equations() {
    let device = Device::flex();
    let x = normal::<2>(7, [4, 6], &device);
    let of = |config: AdapterConfig| {
        let plan = BTreeMap::from([(0, config)]);
        let mut init = Initialization::new(0, &device).with_adapters(plan);
        randomized(Linear::new(6, 3, Start::FanIn, &mut init))
    };
    let layer = of(AdapterConfig::LowRank { rank: 2, alpha: Some(5.0) });
    let Some(Adapter::LowRank(adapter)) = &layer.adapter else { panic!("no adapter") };
    let y = x.clone().matmul(layer.weight.val()) + layer.bias.val().unsqueeze();
    let expected = y + x.clone().matmul(adapter.down.val()).matmul(adapter.up.val()) * 2.5;
    assert_close(&values(&layer.forward(x.clone().into()).value), &values(&expected), 1e-6);

    let layer = of(AdapterConfig::Bottleneck { width: 2 });
    let Some(Adapter::Bottleneck(adapter)) = &layer.adapter else { panic!("no adapter") };
    let y = x.clone().matmul(layer.weight.val()) + layer.bias.val().unsqueeze();
    let h = y.clone().matmul(adapter.down.val()) + adapter.down_bias.val().unsqueeze();
    // The tanh form of GELU as a sigmoid.
    let gelu = h.clone() / ((h.clone() + h.powi_scalar(3) * 0.044715) * -1.595_769_1).exp().add_scalar(1.0);
    let expected = y + gelu.matmul(adapter.up.val()) + adapter.up_bias.val().unsqueeze();
    assert_close(&values(&layer.forward(x.into()).value), &values(&expected), 1e-5);
}

/// A bottleneck on a convolution is the one of a linear layer on each pixel.
#[test]
fn a_bottleneck_takes_images_pixel_by_pixel() {
    let device = Device::flex();
    let config = AdapterConfig::Bottleneck { width: 3 };
    let init = &mut Initialization::new(0, &device);
    let Adapter::Bottleneck(bottleneck) = randomized(Adapter::convolution(&config, 5, 4, 3, init)) else {
        panic!("another kind")
    };
    let y = normal::<4>(2, [2, 4, 3, 3], &device);
    let x = normal::<4>(3, [2, 5, 3, 3], &device);
    let image = Adapter::<4>::Bottleneck(bottleneck.clone()).forward(x.into(), y.clone().into(), 1).value;
    let pixels = y.permute([0, 2, 3, 1]); // [b, h, w, c]
    let linear = Adapter::<2>::Bottleneck(bottleneck).forward(pixels.clone().into(), pixels.into()).value;
    assert_close(&values(&image), &values(&linear.permute([0, 3, 1, 2])), 1e-6);
}

#[test]
fn a_merged_network_is_the_adapted_one() {
    for model in models() {
        let (base, adapted) = pair(&model, &low_rank());
        let adapted = trained(adapted);
        let arrays = parameters::read(&adapted).unwrap();
        let of_adapters: Arrays = arrays.clone().into_iter().filter(|(name, _)| is_adapter(name)).collect();

        let merged = low_rank().merge(arrays).unwrap();
        let network = parameters::write(base.clone(), merged.clone()).unwrap();
        assert_close(&output(&network), &output(&adapted), 1e-5);
        assert_ne!(output(&network), output(&base));

        let again = low_rank().unmerge(merged, of_adapters.clone()).unwrap();
        let before = parameters::read(&base).unwrap();
        assert_eq!(again.len(), before.len() + of_adapters.len());
        for (name, array) in before {
            assert_close(&again[&name].values, &array.values, 1e-6);
        }
        assert!(of_adapters.iter().all(|(name, array)| again[name] == *array));
    }
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let bottleneck = adapters(r#"{"layers": "**.qkv", "type": "bottleneck", "width": 5}"#);
    let network = dit().build_adapted(Some(&bottleneck), &SHAPE, &Device::flex(), 0).unwrap();
    let arrays = parameters::read(&network).unwrap();
    let message = bottleneck.merge(arrays.clone()).unwrap_err().to_string();
    assert!(message.contains("blocks.0.attention.qkv") && message.contains("not linear"), "{message}");
    let others = adapters(r#"{"layers": "**.projection", "type": "low_rank", "rank": 5}"#);
    let message = others.merge(arrays).unwrap_err().to_string();
    assert!(message.contains("blocks.0.attention.qkv") && message.contains("no rule"), "{message}");

    let (_, adapted) = pair(&dit(), &low_rank());
    let mut arrays = parameters::read(&adapted).unwrap();
    arrays.remove("blocks.0.attention.qkv.weight");
    let message = low_rank().merge(arrays).unwrap_err().to_string();
    assert!(message.contains("[] and the adapter [16, 3], [3, 48] of blocks.0.attention.qkv"), "{message}");
}

#[test]
fn rules_without_a_layer_are_refused_by_name() {
    let device = Device::flex();
    let misspelled = adapters(
        r#"{"layers": "**.qkv", "type": "low_rank", "rank": 2},
           {"layers": "blocks.*.attn.qkv", "type": "low_rank", "rank": 2},
           {"layers": "blocks.0.attention.qkv", "type": "bottleneck", "width": 2}"#,
    );
    let problems: Vec<String> =
        misspelled.validate_for(&dit(), &SHAPE, &device).iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("rules[1].layers: `blocks.*.attn.qkv` matches no linear layer"), "{problems:?}");
    assert!(problems[0].contains("there are blocks.*.attention.projection, blocks.*.attention.qkv,"), "{problems:?}");
    assert!(problems[1].starts_with("rules[2].layers: earlier rules take every layer"), "{problems:?}");
    for model in [dit(), ModelConfig::Classifier(ClassifierConfig::default())] {
        assert_eq!(low_rank().validate_for(&model, &SHAPE, &device), Problems::new());
    }
    let nothing = adapters(r#"{"layers": "**", "type": "low_rank", "rank": 0, "alpha": 0.0}"#);
    let problems = nothing.validate().to_string();
    assert_eq!(problems, "rules[0].rank: must be at least 1\nrules[0].alpha: must be a finite number other than 0");
    assert!(serde_json::from_str::<AdapterRule>(r#"{"layers": "**", "type": "low_rank", "width": 2}"#).is_err());
}

#[test]
fn only_adapters_have_gradients_if_the_rest_is_frozen() {
    let device = Device::flex().autodiff();
    for freeze in [true, false] {
        let adapters = AdaptersConfig { freeze, ..low_rank() };
        let network = dit().build_adapted(Some(&adapters), &SHAPE, &device, 0).unwrap();
        let time = normal::<1>(1, [2], &device);
        let y = network.forward(normal(0, [2, 2, 8, 8], &device), time, &Condition::none(), None);
        let gradients = parameters::gradients(&network, &y.sum().backward());
        let names = parameters::names_and_shapes(&network);
        let expected: Vec<_> = names.keys().filter(|name| !freeze || is_adapter(name)).collect();
        assert_eq!(gradients.keys().collect::<Vec<_>>(), expected);
        assert_eq!(parameters::trained(&network).keys().collect::<Vec<_>>(), expected);
    }
}

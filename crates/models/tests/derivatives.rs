//! Derivatives along a direction against differences, of every operation and of whole networks.
//!
//! Differences of 32-bit floats say little, so this binary runs in 64-bit ones: a device's precision is set once a process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::sync::Once;

use burn::tensor::{DType, Device, DeviceConfig, FloatDType, Tensor, TensorData};
use sinter_models::caption::{CaptionConfig, Vocabulary};
use sinter_models::dit::BlockDesign;
use sinter_models::dual::{self, Dual};
use sinter_models::routing::{DtrConfig, ExpertsConfig, RoutingConfig};
use sinter_models::song_unet::{Decoder, Encoder, TimeFeatures};
use sinter_models::unet::AttentionOrder;
use sinter_models::{
    AdapterConfig, AdapterRule, AdaptersConfig, Condition, DataShape, DitConfig, DropoutKey, MlpConfig, ModelConfig,
    Network, SongUnetConfig, UnetConfig, parameters,
};
use sinter_process::random::{Key, Stream};

fn device() -> Device {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| Device::flex().configure(DeviceConfig::default().float_dtype(FloatDType::F64)).unwrap());
    Device::flex()
}

/// Standard normal numbers; a different `which` gives different ones.
fn normal<const D: usize>(which: u64, shape: [usize; D]) -> Tensor<D> {
    let mut values = vec![0.0f64; shape.iter().product()];
    Key::new(0, Stream::TEST).at(which).fill_normal_f64(&mut values);
    let tensor = Tensor::from_data(TensorData::new(values, shape), &device());
    assert_eq!(tensor.dtype(), DType::F64);
    tensor
}

fn norm<const D: usize>(x: Tensor<D>) -> f64 {
    x.square().sum().into_data().iter::<f64>().sum::<f64>().sqrt()
}

/// The derivative of `at` at 0, from central differences at steps that halve, extrapolated to step 0 (Richardson).
fn extrapolated<const D: usize>(at: impl Fn(f64) -> Tensor<D>, step: f64, halvings: usize) -> Tensor<D> {
    let difference = |h: f64| (at(h) - at(-h)) / (2.0 * h);
    let mut row: Vec<Tensor<D>> = (0..=halvings).map(|i| difference(step / 2f64.powi(i as i32))).collect();
    for order in 1..=halvings as i32 {
        let factor = 4f64.powi(order);
        row = row.windows(2).map(|pair| (pair[1].clone() * factor - pair[0].clone()) / (factor - 1.0)).collect();
    }
    row.swap_remove(0)
}

/// Fails unless `f` of duals that move moves as its differences say, to 1e-10 of the norm.
fn check<const D: usize, const E: usize>(what: &str, shape: [usize; D], f: impl Fn(Dual<D>) -> Dual<E>) {
    let (x, tangent) = (normal(0, shape), normal(1, shape));
    let found = f(Dual::moving(x.clone(), tangent.clone()));
    let still = f(x.clone().into());
    assert!(!still.moves(), "{what}: what stays has a tangent");
    assert_eq!(norm(found.value.clone() - still.value), 0.0, "{what}: a tangent changes the value");
    let expected = extrapolated(|h| f((x.clone() + tangent.clone() * h).into()).value, 1e-2, 3);
    let error = norm(found.derivative() - expected.clone()) / norm(expected);
    println!("{what}: {error:.1e}");
    assert!(error < 1e-10, "{what}: {error:e}");
}

#[test]
fn every_operation_moves_as_its_differences_say() {
    check("silu", [3, 40], dual::silu);
    check("gelu", [3, 40], dual::gelu_tanh);
    check("softmax", [3, 7], |x| dual::softmax(x, 1));
    check("linear", [2, 3, 5], |x| dual::linear(x, normal(2, [5, 4]), Some(normal(3, [4]))));
    check("conv2d", [2, 3, 6, 5], |x| dual::conv2d(x, normal(2, [4, 3, 3, 3]), Some(normal(3, [4])), 2, 1));
    check("pool", [2, 3, 6, 4], dual::average_pool_2x);
    check("upsample", [2, 3, 6, 4], dual::upsample_nearest_2x);
    check("layer norm", [2, 3, 8], |x| dual::layer_norm(x, normal(2, [8]), normal(3, [8]), 1e-5));
    for activation in [false, true] {
        check("group norm", [2, 6, 3, 3], |x| dual::group_norm(x, normal(2, [6]), normal(3, [6]), 3, 1e-5, activation));
    }
    check("packed attention", [2, 5, 24], |x| dual::packed_attention(x, 2));
}

/// Operations of three things, of which some move and the others are held.
#[test]
fn what_is_held_adds_nothing() {
    for moving in 1..8 {
        // The part `i` of three; of what is held, as it is where all stays.
        let part = move |x: &Dual<2>, i: usize| {
            let of = |x: Tensor<2>| x.narrow(0, i, 1).squeeze_dim::<1>(0);
            if moving >> i & 1 == 1 { x.clone().each(of) } else { of(normal(0, x.dims())).into() }
        };
        let row = move |x: &Dual<2>, i: usize, width: usize| {
            part(x, i).each(|x| x.narrow(0, 0, 2 * width).reshape([2, width]))
        };
        let tokens = move |x: &Dual<2>, i: usize| part(x, i).each(|x| x.reshape([2, 3, 8]));
        let shape = [3, 48];
        check("layer norm, modulated", shape, |x| {
            dual::layer_norm_modulate(tokens(&x, 0), row(&x, 1, 8), row(&x, 2, 8), 1e-5)
        });
        check("gate", shape, |x| dual::gate_residual(tokens(&x, 0), tokens(&x, 1), row(&x, 2, 8)));
        check("group norm, modulated", shape, |x| {
            let image = part(&x, 0).each(|x| x.reshape([2, 4, 3, 2]));
            let (weight, bias) = (normal(2, [4]), normal(3, [4]));
            dual::group_norm_modulate(image, weight, bias, row(&x, 1, 4), row(&x, 2, 4), 2, 1e-5, true)
        });
        check("attention", shape, |x| {
            let of = |i: usize| part(&x, i).each(|x| x.reshape([2, 3, 4, 2]));
            let mask = Tensor::from_data([[0.0f64, -1e4, 0.0, 0.0], [0.0, 0.0, 0.0, -1e4]], &device());
            dual::attention(of(0), of(1), of(2), Some(mask))
        });
        check("products and sums", shape, |x| {
            let of = |i: usize| part(&x, i).each(|x| x.reshape([3, 4, 4]));
            of(0).matmul(of(1)) * of(2) - of(2) * 0.5 + of(1) + 3.0
        });
        check("side by side", shape, |x| Dual::cat((0..3).map(|i| row(&x, i, 8)).collect(), 1));
    }
}

const SHAPE: DataShape = DataShape { channels: 2, height: 8, width: 8, classes: 3, vocabulary: 5, caption_length: 4 };

/// One small network of each kind, with every layer that networks have in one of them.
fn networks() -> Vec<(&'static str, ModelConfig, DataShape)> {
    let caption = CaptionConfig { width: 8, depth: 1, heads: 2 };
    let unet = UnetConfig {
        channels: 8,
        multipliers: vec![1, 2],
        blocks: 1,
        attention: vec![4],
        heads: 2,
        groups: 4,
        dropout: 0.2,
        caption: caption.clone(),
        ..UnetConfig::default()
    };
    let patches = UnetConfig {
        patch: 2,
        attention: vec![4],
        attention_order: AttentionOrder::HeadsFirst,
        learned_variance: true,
        ..unet.clone()
    };
    let plain = UnetConfig { residual_resample: false, scale_shift_norm: false, attention: vec![8], ..unet.clone() };
    let dtr = RoutingConfig::Dtr(DtrConfig { ratio: 0.5, curvature: 1.0, ..DtrConfig::default() });
    let experts = RoutingConfig::Experts(ExpertsConfig { count: 4, active: 2, ..ExpertsConfig::default() });
    let routed = UnetConfig { routing: Some(dtr.clone()), ..unet.clone() };
    let dit = DitConfig { width: 16, depth: 2, heads: 2, dropout: 0.2, caption, ..DitConfig::default() };
    let design = |block, routing| ModelConfig::Dit(DitConfig { block, routing, ..dit.clone() });
    let song = SongUnetConfig {
        channels: 8,
        multipliers: vec![1, 2],
        blocks: 1,
        attention: vec![4],
        dropout: 0.2,
        ..SongUnetConfig::default()
    };
    let ncsnpp = SongUnetConfig {
        time_features: TimeFeatures::Fourier { scale: 0.02 },
        encoder: Encoder::Residual,
        filter: vec![1.0, 3.0, 3.0, 1.0],
        ..song.clone()
    };
    let skip = SongUnetConfig { encoder: Encoder::Skip, decoder: Decoder::Skip, ..ncsnpp.clone() };
    let labelled = DataShape::images(2, 8, 8).with_classes(3);
    let mlp = MlpConfig { width: 16, depth: 2, dropout: 0.2, ..MlpConfig::default() };
    vec![
        ("unet", ModelConfig::Unet(unet), SHAPE),
        ("unet on patches", ModelConfig::Unet(patches), SHAPE),
        ("unet, plain", ModelConfig::Unet(plain), SHAPE),
        ("unet with tasks", ModelConfig::Unet(routed), SHAPE),
        ("ddpm++", ModelConfig::SongUnet(song), labelled),
        ("ncsn++", ModelConfig::SongUnet(ncsnpp), labelled),
        ("ncsn++, skip", ModelConfig::SongUnet(skip), labelled),
        ("dit", design(BlockDesign::AdalnZero, None), SHAPE),
        ("dit, adaln", design(BlockDesign::Adaln, None), SHAPE),
        ("dit with tasks", design(BlockDesign::AdalnZero, Some(dtr)), SHAPE),
        ("dit with experts", design(BlockDesign::AdalnZero, Some(experts)), SHAPE),
        ("dit, in context", design(BlockDesign::InContext, None), SHAPE),
        ("dit, cross attention", design(BlockDesign::CrossAttention, None), SHAPE),
        ("mlp", ModelConfig::Mlp(mlp), DataShape::images(2, 1, 1).with_classes(3)),
    ]
}

/// With every parameter drawn anew, so that nothing starts at zero.
fn randomized(network: Network) -> Network {
    let mut which = 1_000;
    parameters::map(network, |name, flat| {
        which += 1;
        let values: Tensor<1> = normal(which, flat.dims());
        if name.ends_with("norm.weight") { values * 0.2 + 1.0 } else { values * 0.1 }
    })
}

/// The network's derivative along random directions of image and time, as the time label moves at `rate`, against that by
/// differences from steps of `step` on, relative to its norm; with labels, captions and dropout, which stay.
fn error(network: &Network, shape: &DataShape, rate: f64, step: f64, halvings: usize) -> f64 {
    const BATCH: usize = 3;
    let image = [BATCH, shape.channels, shape.height, shape.width];
    let (x, tangent) = (normal::<4>(0, image), normal::<4>(1, image));
    // Away from the bounds of tasks, where masks change.
    let label: Tensor<1> = Tensor::from_data([300.4f64, 20.3, 0.6], &device());
    let pace = (normal::<1>(2, [BATCH]) * 0.3 + 1.0) * rate;
    let vocabulary = Vocabulary::new(["red", "green", "blue"]).unwrap();
    let caption = vocabulary.caption(&["red", "blue red", ""], shape.caption_length.max(4), &device()).unwrap();
    let class = Tensor::from_data([0i64, 2, 3], &device());
    let asked = Condition { class: Some(class), caption: Some(caption), augmentation: None };
    let key = Some(DropoutKey { seed: 7, first_image: 100 });

    let moving = (Dual::moving(x.clone(), tangent.clone()), Dual::moving(label.clone(), pace.clone()));
    let found = network.forward_dual(moving.0, moving.1, &asked, key);
    let at = |h: f64| network.forward(x.clone() + tangent.clone() * h, label.clone() + pace.clone() * h, &asked, key);
    assert_eq!(norm(found.value.clone() - at(0.0)), 0.0, "a tangent changes the value");
    let expected = extrapolated(at, step, halvings);
    norm(found.derivative() - expected.clone()) / norm(expected)
}

/// Where the label moves at a rate of 1, so that the embedding turns with frequencies of at most 1, plain central
/// differences are enough; at 30 and 1000 they are extrapolated.
#[test]
fn whole_networks_move_as_their_differences_say() {
    let device = device();
    for (name, config, shape) in networks() {
        let network = randomized(config.build(&shape, &device, 0).unwrap());
        let errors = [(1.0, 3e-5, 0), (30.0, 4e-3, 4), (1000.0, 1e-4, 4)].map(|(rate, step, halvings)| {
            // A task's mask holds for a part of the label's range only.
            let (step, halvings) = if name.contains("tasks") { (3e-5 / rate, 0) } else { (step, halvings) };
            error(&network, &shape, rate, step, halvings)
        });
        let [slow, faster, fastest] = errors;
        println!("{name}: {slow:.1e} at frequency 1, {faster:.1e} at 30, {fastest:.1e} at 1000");
        assert!(slow < 1e-7 && faster < 1e-7 && fastest < 1e-7, "{name}");
    }
}

/// Adapters are layers, too.
#[test]
fn adapted_networks_move_as_their_differences_say() {
    let device = device();
    for (name, config, shape) in networks().into_iter().filter(|(name, ..)| ["unet", "dit"].contains(name)) {
        for adapter in [AdapterConfig::LowRank { rank: 2, alpha: None }, AdapterConfig::Bottleneck { width: 3 }] {
            let rules = vec![AdapterRule { layers: "**".into(), adapter }];
            let adapters = AdaptersConfig { rules, freeze: true };
            let network = randomized(config.build_adapted(Some(&adapters), &shape, &device, 0).unwrap());
            let error = error(&network, &shape, 1.0, 3e-5, 0);
            assert!(error < 1e-7, "{name} with {adapter:?}: {error:e}");
        }
    }
}

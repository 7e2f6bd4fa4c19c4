//! The derivative of F along the circle, through whole networks: a pass of duals against differences along the arc, in
//! 64-bit floats, which a device has once a process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::sync::Once;

use burn::tensor::{Device, DeviceConfig, FloatDType, Tensor, TensorData};
use sinter_models::{
    Condition, DataShape, DitConfig, DropoutKey, Dual, MlpConfig, ModelConfig, Network, UnetConfig, parameters,
};
use sinter_objectives::scm::{difference, difference_step, frequency, output, points};
use sinter_process::path::{Edm, VpLinear};
use sinter_process::random::{Key, Stream};
use sinter_process::{InputScale, Parameterization, Path, Prediction, TimeLabel, TrigFlow, Wrapped};
use sinter_sampling::per_image;

const TRIGFLOW: TrigFlow = TrigFlow { sigma_data: 0.5 };

fn device() -> Device {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| Device::flex().configure(DeviceConfig::default().float_dtype(FloatDType::F64)).unwrap());
    Device::flex()
}

fn normal<const D: usize>(which: u64, shape: [usize; D]) -> Tensor<D> {
    let mut values = vec![0.0f64; shape.iter().product()];
    Key::new(0, Stream::TEST).at(which).fill_normal_f64(&mut values);
    Tensor::from_data(TensorData::new(values, shape), &device())
}

fn norm<const D: usize>(x: Tensor<D>) -> f64 {
    x.square().sum().into_data().iter::<f64>().sum::<f64>().sqrt()
}

fn networks() -> Vec<(&'static str, DataShape, Network)> {
    let shape = DataShape::images(2, 8, 8).with_classes(3);
    let unet = UnetConfig {
        channels: 8,
        multipliers: vec![1, 2],
        blocks: 1,
        attention: vec![4],
        groups: 4,
        dropout: 0.2,
        learned_variance: true,
        ..UnetConfig::default()
    };
    let dit = DitConfig { width: 16, depth: 2, heads: 2, dropout: 0.2, ..DitConfig::default() };
    let mlp = MlpConfig { width: 16, depth: 2, ..MlpConfig::default() };
    let points = DataShape::images(2, 1, 1).with_classes(3);
    let configs = [
        ("unet", shape, ModelConfig::Unet(unet)),
        ("dit", shape, ModelConfig::Dit(dit)),
        ("mlp", points, ModelConfig::Mlp(mlp)),
    ];
    let build = |(name, shape, config): (&'static str, DataShape, ModelConfig)| {
        let mut which = 1_000;
        let network = parameters::map(config.build(&shape, &device(), 0).unwrap(), |name, flat| {
            which += 1;
            let values: Tensor<1> = normal(which, flat.dims());
            if name.ends_with("norm.weight") { values * 0.2 + 1.0 } else { values * 0.1 }
        });
        (name, shape, network)
    };
    configs.into_iter().map(build).collect()
}

fn parameterizations() -> Vec<Parameterization> {
    let of = |path, prediction, input_scale, time_label| Parameterization { path, prediction, input_scale, time_label };
    let unit = InputScale::UnitVariance { sigma_data: 0.5 };
    vec![
        of(Path::LinearFlow, Prediction::Velocity, InputScale::None, TimeLabel::Unit),
        of(Path::Edm(Edm::default()), Prediction::EdmF { sigma_data: 0.5 }, unit, TimeLabel::LogSigma),
        of(Path::Trigonometric, Prediction::V, InputScale::None, TimeLabel::Native),
        of(Path::VpLinear(VpLinear::default()), Prediction::Epsilon, InputScale::None, TimeLabel::Unit),
        of(Path::LinearFlow, Prediction::Velocity, InputScale::None, TimeLabel::Thousand),
    ]
}

/// With dropout, and with labels that turn the embedding slowly and fast.
#[test]
fn duals_and_differences_agree_on_the_circle() {
    for (name, shape, network) in networks() {
        for parameterization in parameterizations() {
            let angles = [0.2, 0.7, 1.1, 1.4];
            let image = [angles.len(), shape.channels, shape.height, shape.width];
            let (s, v) = (normal::<4>(0, image), normal::<4>(1, image));
            let class = Tensor::from_data([0i64, 2, 3, 1], &device());
            let (asked, masks) = (Condition::of_class(class), Some(DropoutKey { seed: 3, first_image: 50 }));
            let network = |x: Dual<4>, label: Dual<1>| network.forward_dual(x, label, &asked, masks);

            let points = points(&TRIGFLOW, &parameterization, &angles);
            let wrapped: Vec<Wrapped> = points.iter().map(|p| TRIGFLOW.wrap(&parameterization, p)).collect();
            let rates: Vec<Wrapped> = points.iter().map(|p| TRIGFLOW.wrap_rate(&parameterization, p)).collect();
            let pace: Vec<f64> = angles.iter().map(|angle| angle.sin() * angle.cos()).collect();
            let moving = Dual::moving(s.clone(), v.clone() * per_image(&pace, &s));
            let found = output(moving, &wrapped, &rates, network);
            let still = output(s.clone().into(), &wrapped, &[], network);
            assert_eq!(norm(found.value.clone() - still.value), 0.0);

            // Steps that halve, extrapolated: errors of the order 8 in steps that the embedding hardly notices.
            let fastest = points.iter().map(|p| frequency(&TRIGFLOW, &parameterization, p, 1.0)).fold(1.0, f64::max);
            let plain = |x: Tensor<4>, label: Tensor<1>| network(x.into(), label.into()).value;
            let at = |step: f64| {
                let steps = [step; 4];
                difference(&TRIGFLOW, &parameterization, [s.clone(), v.clone()], &angles, &steps, plain)
            };
            let mut row: Vec<Tensor<4>> = (0..4).map(|i| at(0.04 / fastest / 2f64.powi(i))).collect();
            for order in 1..4 {
                let factor = 4f64.powi(order);
                row = row.windows(2).map(|p| (p[1].clone() * factor - p[0].clone()) / (factor - 1.0)).collect();
            }
            let expected = row.swap_remove(0);
            let error = norm(found.derivative() - expected.clone()) / norm(expected.clone());
            println!("{name}, {:?}: {error:.1e}", parameterization.time_label);
            assert!(error < 1e-7, "{name} {parameterization:?}: {error:e}");

            // One difference of the step that training takes is of second order: half the step, a quarter of the error.
            if let Some(step) = difference_step(fastest) {
                let [whole, half] =
                    [step, step / 2.0].map(|step| norm(at(step) - expected.clone()) / norm(expected.clone()));
                println!("  one difference of {step:.1e}: {whole:.1e}");
                assert!((3.5..4.5).contains(&(whole / half)), "{name} {parameterization:?}: {whole:e} {half:e}");
            }
        }
    }
}

/// Near the ends of the arc a step is held to half of what is left.
#[test]
fn differences_stay_on_the_arc() {
    let parameterization = parameterizations().remove(0);
    let angles = [1e-3, std::f64::consts::FRAC_PI_2 - 1e-3];
    let (s, v) = (normal::<4>(0, [2, 2, 1, 1]), normal::<4>(1, [2, 2, 1, 1]));
    let seen = std::cell::RefCell::new(Vec::new());
    difference(&TRIGFLOW, &parameterization, [s, v], &angles, &[1e-2; 2], |x, label| {
        seen.borrow_mut().extend(label.into_data().iter::<f64>());
        x
    });
    assert!(seen.into_inner().iter().all(|t| (0.0..=1.0).contains(t)));
}

use burn::tensor::{Device, Tensor};

use super::*;
use crate::condition::Condition;
use crate::initialization::Initialization;
use crate::parameters;
use crate::testing::{normal, randomized, values};

fn build(config: &SongUnetConfig, shape: &DataShape) -> SongUnet {
    assert!(config.validate(shape).is_empty(), "{}", config.validate(shape));
    SongUnet::new(config, shape, &mut Initialization::new(0, &Device::flex()))
}

fn ncsnpp() -> SongUnetConfig {
    SongUnetConfig {
        time_features: TimeFeatures::Fourier { scale: 16.0 },
        time_width: Some(256),
        encoder: Encoder::Residual,
        filter: vec![1.0, 3.0, 3.0, 1.0],
        ..SongUnetConfig::default()
    }
}

fn small(config: SongUnetConfig) -> SongUnetConfig {
    SongUnetConfig { channels: 8, multipliers: vec![1, 2], blocks: 1, attention: vec![4], time_width: None, ..config }
}

/// EDM's networks for CIFAR-10, which are told nine numbers of augmentation (Karras et al., 2022, table 7).
#[test]
fn cifar_10_has_its_parameters() {
    let images = DataShape::images(3, 32, 32);
    let ddpmpp = SongUnetConfig { augmentation: 9, ..SongUnetConfig::default() };
    let count = |config: &SongUnetConfig, shape: &DataShape| parameters::count(&build(config, shape));
    assert_eq!(count(&ddpmpp, &images), 55_733_891);
    assert_eq!(count(&ddpmpp, &images.with_classes(10)), 55_735_299);
    assert_eq!(count(&SongUnetConfig { augmentation: 9, ..ncsnpp() }, &images), 56_397_827);
}

#[test]
fn without_a_label_the_null_class_is_meant() {
    let device = Device::flex();
    let network = randomized(build(&small(SongUnetConfig::default()), &DataShape::images(1, 8, 8).with_classes(3)));
    let (x, time) = (normal::<4>(0, [2, 1, 8, 8], &device), normal::<1>(1, [2], &device));
    let null = Condition::of_class(Tensor::from_data([3i64, 3], &device));
    let one = Condition::of_class(Tensor::from_data([1i64, 3], &device));
    let [none, null, one] = [Condition::none(), null, one]
        .map(|condition| values(&network.forward(x.clone(), time.clone(), &condition, None).value));
    assert_eq!(none, null);
    assert_ne!(none[..64], one[..64]);
    assert_eq!(none[64..], one[64..]);
}

#[test]
fn augmentation_is_told_in_numbers() {
    let device = Device::flex();
    let config = SongUnetConfig { augmentation: 2, ..small(SongUnetConfig::default()) };
    let network = randomized(build(&config, &DataShape::images(1, 8, 8)));
    let (x, time) = (normal::<4>(0, [2, 1, 8, 8], &device), normal::<1>(1, [2], &device));
    let told = |labels: [[f32; 2]; 2]| Condition {
        augmentation: Some(Tensor::from_data(labels, &device)),
        ..Condition::none()
    };
    let [none, zeros, some] = [Condition::none(), told([[0.0; 2]; 2]), told([[0.0; 2], [1.0, -1.0]])]
        .map(|condition| values(&network.forward(x.clone(), time.clone(), &condition, None).value));
    assert_eq!(none, zeros);
    assert_eq!(none[..64], some[..64]);
    assert_ne!(none[64..], some[64..]);
}

/// Random frequencies are kept with the parameters, but are none.
#[test]
fn frequencies_are_kept_and_not_trained() {
    let device = Device::flex().autodiff();
    let config = small(ncsnpp());
    let network = SongUnet::new(&config, &DataShape::images(1, 8, 8), &mut Initialization::new(0, &device));
    let (x, time) = (normal::<4>(0, [2, 1, 8, 8], &device), normal::<1>(1, [2], &device));
    let loss = network.forward(x, time, &Condition::none(), None).value.square().mean();
    let gradients = parameters::gradients(&network, &loss.backward());
    let shapes = parameters::names_and_shapes(&network);
    let frequencies = "conditioning.table.frequencies";
    assert_eq!(shapes[frequencies], [4]);
    assert!(!gradients.contains_key(frequencies));
    assert_eq!(gradients.len() + 1, shapes.len());
    let numbers: usize = shapes.values().map(|shape| shape.iter().product::<usize>()).sum();
    assert_eq!(parameters::count(&network), numbers - 4);
}

#[test]
fn every_problem_is_told_at_once() {
    let config = SongUnetConfig {
        channels: 9,
        blocks: 0,
        multipliers: vec![1, 2, 2],
        filter: vec![1.0, -1.0],
        dropout: 1.0,
        ..SongUnetConfig::default()
    };
    let problems = config.validate(&DataShape::images(1, 30, 28));
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["channels", "blocks", "dropout", "filter", "multipliers", "channels"]);
}

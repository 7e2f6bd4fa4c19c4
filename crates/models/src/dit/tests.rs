use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::*;
use crate::condition::Condition;
use crate::initialization::Initialization;
use crate::parameters;
use crate::routing::{ExpertsConfig, RoutingConfig};
use crate::testing::{assert_close, normal, randomized, values};
use crate::weights::DIT;

fn small() -> DitConfig {
    DitConfig { width: 16, depth: 2, heads: 2, ..DitConfig::default() }
}

fn latents(classes: usize) -> DataShape {
    DataShape::images(4, 32, 32).with_classes(classes)
}

/// The published sizes, with the reference's learned variance and 1000 classes; the table of positions is not trained.
/// 18 d^2 + 15 d a block: 4 d^2 + 4 d of attention, 8 d^2 + 5 d of the two-layer network, 6 d^2 + 6 d of modulation.
#[test]
fn the_published_sizes_have_their_parameters() {
    let sizes = [
        (384, 12, 6, [32_865_056, 32_920_448]),
        (768, 12, 12, [130_315_808, 130_426_496]),
        (1024, 24, 16, [457_840_672, 457_988_224]),
        (1152, 28, 16, [674_834_720, 675_000_704]),
    ];
    let sizes = sizes
        .into_iter()
        .flat_map(|(width, depth, heads, [two, four])| [(width, depth, heads, 2, two), (width, depth, heads, 4, four)]);
    for (width, depth, heads, patch, expected) in sizes {
        let config = DitConfig { patch, width, depth, heads, learned_variance: true, ..DitConfig::default() };
        assert!(config.validate(&latents(1000)).is_empty());
        let network = Dit::new(&config, &latents(1000), &mut Initialization::new(0, &Device::flex()));
        assert_eq!(parameters::count(&network), expected, "width {width}, patch {patch}");
    }
}

/// With three experts a block, `3 (d^2 + d) + 3 d + 3` more in each: what is stored. A time takes two of them.
#[test]
fn the_published_sizes_with_experts_have_their_parameters() {
    let sizes = [
        (384, 12, 6, 38_201_156),
        (768, 12, 12, 151_604_804),
        (1024, 24, 16, 533_485_672),
        (1152, 28, 16, 786_505_076),
    ];
    for (width, depth, heads, expected) in sizes {
        let routing = Some(RoutingConfig::Experts(ExpertsConfig::default()));
        let config = DitConfig { width, depth, heads, learned_variance: true, routing, ..DitConfig::default() };
        let network = Dit::new(&config, &latents(1000), &mut Initialization::new(0, &Device::flex()));
        assert_eq!(parameters::count(&network), expected, "width {width}");
    }
}

/// Experts start at zero: the block is then the one without, bit for bit.
#[test]
fn experts_of_zero_change_nothing() {
    let device = Device::flex();
    let shape = DataShape::images(3, 8, 8).with_classes(4);
    let plain = randomized(Dit::new(&small(), &shape, &mut Initialization::new(0, &device)));
    for (count, active) in [(3, 2), (3, 3), (2, 1)] {
        let routing = Some(RoutingConfig::Experts(ExpertsConfig { count, active, ..ExpertsConfig::default() }));
        let config = DitConfig { routing, ..small() };
        let network = Dit::new(&config, &shape, &mut Initialization::new(1, &device));
        let mut weights = parameters::read(&network).unwrap();
        weights.extend(parameters::read(&plain).unwrap());
        let network = parameters::write(network, weights).unwrap();
        let run = |network: &Dit| {
            let (x, time) = (normal(0, [2, 3, 8, 8], &device), normal::<1>(1, [2], &device) * 100.0);
            values(&network.forward(x, time, &Condition::none(), None))
        };
        assert_eq!(run(&network), run(&plain));
    }
}

/// The choice of experts is one of time: neither image nor class matter.
#[test]
fn the_prior_moves_the_gates_and_nothing_else() {
    let device = Device::flex().autodiff();
    let shape = DataShape::images(3, 8, 8).with_classes(4);
    let routing = Some(RoutingConfig::Experts(ExpertsConfig { tasks: 20, ..ExpertsConfig::default() }));
    let config = DitConfig { routing, ..small() };
    let network = randomized(Dit::new(&config, &shape, &mut Initialization::new(0, &device)));
    let targets = network.prior_targets(0, 0).unwrap();
    let losses = network.prior_losses(Tensor::from_data([0.0f32, 7.0, 19.0], &device), &targets);
    assert!(values(&losses).iter().all(|loss| (0.0..0.7).contains(loss)));
    for (name, gradient) in parameters::gradients(&network, &losses.sum().backward()) {
        let moved = values(&gradient).iter().any(|value| *value != 0.0);
        assert_eq!(moved, name.contains(".gate.") || name.starts_with("conditioning.time"), "{name}");
    }
    let none = ExpertsConfig { prior: 0.0, ..ExpertsConfig::default() };
    let config = DitConfig { routing: Some(RoutingConfig::Experts(none)), ..small() };
    assert!(Dit::new(&config, &shape, &mut Initialization::new(0, &device)).prior_targets(0, 0).is_none());
}

#[test]
fn it_starts_at_zero() {
    let device = Device::flex();
    let shape = DataShape::images(3, 8, 8).with_classes(4);
    let network = Dit::new(&small(), &shape, &mut Initialization::new(0, &device));
    let y = network.forward(normal(0, [2, 3, 8, 8], &device), normal(1, [2], &device), &Condition::none(), None);
    assert_eq!(values(&y), vec![0.0; 2 * 3 * 8 * 8]);
}

/// Attention and everything else knows tokens apart by their positions only: without them (a patch embedding that
/// repeats), permuted tokens give permuted tokens.
#[test]
fn every_token_is_treated_alike() {
    let device = Device::flex();
    let shape = DataShape::images(1, 4, 8);
    let network = randomized(Dit::new(&small(), &shape, &mut Initialization::new(0, &device)));
    let x = normal::<3>(0, [1, 8, 16], &device);
    let context = crate::conditioning::Context {
        embedding: normal(1, [1, 16], &device),
        time: Tensor::zeros([1, 16], &device),
        time_label: Tensor::zeros([1], &device),
        caption: None,
        dropout: None,
    };
    let through = |x: Tensor<3>| network.blocks.iter().fold(x, |x, block| block.forward(x, &context));
    let (there, back) = (values(&through(x.clone()).flip([1])), values(&through(x.flip([1]))));
    assert_close(&there, &back, 1e-5);
}

#[test]
fn images_need_not_be_square() {
    let device = Device::flex();
    let config = DitConfig { patch: 4, learned_variance: true, ..small() };
    let shape = DataShape::images(2, 8, 16);
    let network = randomized(Dit::new(&config, &shape, &mut Initialization::new(0, &device)));
    let x = normal(0, [3, 2, 8, 16], &device);
    assert_eq!(network.forward(x, normal(1, [3], &device), &Condition::none(), None).dims(), [3, 4, 8, 16]);
}

#[test]
fn every_problem_is_told_at_once() {
    let config = DitConfig { patch: 3, width: 30, heads: 4, depth: 0, mlp_ratio: 0.0, dropout: 1.0, ..small() };
    let problems = config.validate(&latents(0));
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["patch", "width", "heads", "depth", "mlp_ratio", "dropout"]);
    assert_eq!(problems.iter().next().unwrap().message, "images of 32 x 32 cannot be cut into patches of 3 x 3");
    let shape = latents(0).with_captions(10, 4);
    let config = DitConfig { caption: CaptionConfig { heads: 3, ..CaptionConfig::default() }, ..small() };
    assert_eq!(config.validate(&shape).to_string(), "caption.heads: 3 heads do not divide width 128");
}

#[test]
fn its_names_map_one_to_one() {
    let network = Dit::new(&small(), &latents(4), &mut Initialization::new(0, &Device::flex())).no_grad();
    let ours = parameters::read(&network).unwrap();
    let theirs = DIT.export(ours.clone()).unwrap();
    assert_eq!(theirs.len(), ours.len());
    assert_eq!(theirs["blocks.1.attn.qkv.weight"].shape, [48, 16]);
    assert_eq!(DIT.import(theirs).unwrap(), ours);
}

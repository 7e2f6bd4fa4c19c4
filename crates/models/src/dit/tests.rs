use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::*;
use crate::condition::Condition;
use crate::conditioning::Context;
use crate::dual::Dual;
use crate::initialization::{Initialization, Start};
use crate::layers::Linear;
use crate::parameters;
use crate::routing::{ExpertsConfig, RoutingConfig};
use crate::testing::{assert_close, normal, randomized, values};
use crate::weights::DIT;

const DESIGNS: [BlockDesign; 4] =
    [BlockDesign::AdalnZero, BlockDesign::Adaln, BlockDesign::InContext, BlockDesign::CrossAttention];

fn small() -> DitConfig {
    DitConfig { width: 16, depth: 2, heads: 2, ..DitConfig::default() }
}

fn latents(classes: usize) -> DataShape {
    DataShape::images(4, 32, 32).with_classes(classes)
}

/// The published sizes, with the reference's learned variance and 1000 classes: trained, and with the fixed positions.
/// 18 d^2 + 15 d a block: 4 d^2 + 4 d of attention, 8 d^2 + 5 d of the two-layer network, 6 d^2 + 6 d of modulation.
#[test]
fn the_published_sizes_have_their_parameters() {
    let sizes = [
        (384, 12, 6, [(32_865_056, 32_963_360), (32_920_448, 32_945_024)]),
        (768, 12, 12, [(130_315_808, 130_512_416), (130_426_496, 130_475_648)]),
        (1024, 24, 16, [(457_840_672, 458_102_816), (457_988_224, 458_053_760)]),
        (1152, 28, 16, [(674_834_720, 675_129_632), (675_000_704, 675_074_432)]),
    ];
    let sizes = sizes
        .into_iter()
        .flat_map(|(width, depth, heads, [two, four])| [(width, depth, heads, 2, two), (width, depth, heads, 4, four)]);
    for (width, depth, heads, patch, expected) in sizes {
        let config = DitConfig { patch, width, depth, heads, learned_variance: true, ..DitConfig::default() };
        assert!(config.validate(&latents(1000)).is_empty());
        let network = Dit::new(&config, &latents(1000), &mut Initialization::new(0, &Device::flex()));
        let trained = parameters::count(&network);
        assert_eq!((trained, trained + network.fixed()), expected, "width {width}, patch {patch}");
    }
}

/// DiT-XL/2 of each design, as published: 10^9 multiplications with an addition of one image, and 10^6 parameters
/// (figure 5 and table 4). Those of the matrices and of attention leave 0.02 at most to everything else.
#[test]
fn the_published_designs_have_their_cost() {
    let published = [
        (BlockDesign::InContext, 119.37, 449.0),
        (BlockDesign::CrossAttention, 137.62, 598.0),
        (BlockDesign::Adaln, 118.56, 600.0),
        (BlockDesign::AdalnZero, 118.64, 675.0),
    ];
    let (width, depth, tokens) = (1152, 28, 256);
    for (block, cost, size) in published {
        let config = DitConfig { width, depth, heads: 16, block, learned_variance: true, ..DitConfig::default() };
        let network = Dit::new(&config, &latents(1000), &mut Initialization::new(0, &Device::flex()));
        let in_block = if block == BlockDesign::InContext { tokens + 2 } else { tokens };
        let products = |(name, shape): (String, Vec<usize>)| {
            let of_condition = ["conditioning.time", "modulation"].iter().any(|part| name.contains(part));
            let rows = match name.as_str() {
                name if !name.ends_with(".weight") || name.starts_with("conditioning.class") || shape.len() < 2 => 0,
                name if name.ends_with("attention.key.weight") || name.ends_with("attention.value.weight") => 2,
                _ if of_condition => 1,
                name if name.starts_with("blocks.") => in_block,
                _ => tokens,
            };
            rows * shape.iter().product::<usize>()
        };
        let linear: usize = parameters::names_and_shapes(&network).into_iter().map(products).sum();
        let attended = in_block + if block == BlockDesign::CrossAttention { 2 } else { 0 };
        let found = (linear + depth * 2 * in_block * attended * width) as f64 / 1e9;
        assert!((0.0..0.02).contains(&(cost - found)), "{block:?}: {found}");
        let found = parameters::count(&network) as f64 / 1e6;
        assert!((found - size).abs() < 0.6, "{block:?}: {found}");
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
            let (x, time) = (normal::<4>(0, [2, 3, 8, 8], &device), normal::<1>(1, [2], &device) * 100.0);
            values(&network.forward(x, time, &Condition::none(), None).value)
        };
        assert_eq!(run(&network), run(&plain));
    }
}

/// Gradients go to the experts that an image takes, and these are those of its time: neither image nor class matter.
#[test]
fn experts_are_chosen_by_time_alone() {
    let device = Device::flex().autodiff();
    let shape = DataShape::images(3, 8, 8).with_classes(4);
    for (count, active) in [(4, 1), (4, 2), (4, 4)] {
        let experts = ExpertsConfig { count, active, tasks: 20, ..ExpertsConfig::default() };
        let config = DitConfig { routing: Some(RoutingConfig::Experts(experts)), ..small() };
        let network = randomized(Dit::new(&config, &shape, &mut Initialization::new(0, &device)));
        let usage: Vec<Vec<f32>> = network.usage().iter().map(values).collect();
        for (task, image, class) in [(0, 0, 0), (0, 1, 3), (13, 0, 0), (13, 2, 4)] {
            let x = normal::<4>(image, [1, 3, 8, 8], &device);
            let class = Condition::of_class(Tensor::from_data([class], &device));
            let y = network.forward(x, Tensor::<1>::from_data([task as f32], &device), &class, None).value;
            let gradients = parameters::gradients(&network, &y.square().sum().backward());
            for (block, usage) in usage.iter().enumerate() {
                let gradient = values(&gradients[&format!("routing.{block}.weight")]);
                let taken = gradient.chunks_exact(16 * 16).map(|expert| expert.iter().any(|value| *value != 0.0));
                let expected = usage[task * count..][..count].iter().map(|used| *used == 1.0);
                assert!(taken.clone().eq(expected), "task {task}, block {block}");
                assert_eq!(taken.filter(|taken| *taken).count(), active);
            }
        }
    }
}

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

/// Whatever the design; but only the blocks of adaLN-Zero start as the identity.
#[test]
fn it_starts_at_zero() {
    let device = Device::flex();
    let shape = DataShape::images(3, 8, 8).with_classes(4);
    for block in DESIGNS {
        let network = Dit::new(&DitConfig { block, ..small() }, &shape, &mut Initialization::new(0, &device));
        let (x, time) = (normal::<4>(0, [2, 3, 8, 8], &device), normal::<1>(1, [2], &device));
        let y = network.forward(x.clone(), time.clone(), &Condition::none(), None).value;
        assert_eq!(values(&y), vec![0.0; 2 * 3 * 8 * 8], "{block:?}");
        let after = |blocks| values(&network.tokens(x.clone(), time.clone(), &Condition::none(), blocks));
        assert_eq!(after(0) == after(2), block == BlockDesign::AdalnZero, "{block:?}");
    }
}

/// With gates of one, adaLN-Zero is adaLN.
#[test]
fn adaln_is_adaln_zero_with_open_gates() {
    let device = Device::flex();
    let shape = DataShape::images(3, 8, 8).with_classes(4);
    let build = |block| Dit::new(&DitConfig { block, ..small() }, &shape, &mut Initialization::new(0, &device));
    let adaln = randomized(build(BlockDesign::Adaln));
    let mut arrays = parameters::read(&adaln).unwrap();
    for (name, array) in &mut arrays {
        let gate = if name.ends_with("bias") { 1.0 } else { 0.0 };
        if name.starts_with("blocks.") && name.contains("modulation") {
            // Each row is (shift, scale) of attention and of the two-layer network; a gate follows each pair.
            let pairs = array.values.chunks_exact(2 * 16);
            array.values = pairs.flat_map(|pair| [pair, &[gate; 16]].concat()).collect();
            *array.shape.last_mut().unwrap() = 6 * 16;
        }
    }
    let gated = parameters::write(build(BlockDesign::AdalnZero), arrays).unwrap();
    let run = |network: &Dit| {
        let (x, time) = (normal::<4>(0, [2, 3, 8, 8], &device), normal::<1>(1, [2], &device) * 100.0);
        values(&network.forward(x, time, &Condition::none(), None).value)
    };
    assert_close(&run(&adaln), &run(&gated), 1e-6);
}

/// Tokens of a condition `[b, d]` that has a time and nothing else.
fn told(time: Tensor<2>) -> Context {
    let time_label = Tensor::zeros([time.dims()[0]], &time.device());
    let (embedding, time) = (time.clone().into(), time.into());
    Context { embedding, time, others: Vec::new(), time_label, caption: None, dropout: None }
}

/// Without modulation, adaLN's block is a plain one whose norms have weights of one.
#[test]
fn blocks_of_all_designs_share_their_form() {
    let device = Device::flex();
    let build = |block| {
        let config = DitConfig { block, ..small() };
        DitBlock::new(&config, false, &mut Initialization::new(0, &device))
    };
    let (DitBlock::Adaln(mut adaln), DitBlock::PreNorm(mut plain)) =
        (build(BlockDesign::Adaln), build(BlockDesign::InContext))
    else {
        panic!("each design has its block");
    };
    adaln.attention = randomized(adaln.attention);
    adaln.modulation = Linear::new(16, 4 * 16, Start::Zero, &mut Initialization::new(0, &device));
    (plain.attention, plain.mlp) = (adaln.attention.clone(), adaln.mlp.clone());
    let (x, context) = (normal::<3>(0, [2, 5, 16], &device), told(normal(1, [2, 16], &device)));
    let (found, expected) = (plain.forward(x.clone().into(), &context), adaln.forward(x.into(), &context));
    assert_close(&values(&found.value), &values(&expected.value), 1e-5);
}

/// The condition's tokens are among the image's: attention takes them in, and they are gone at the end.
#[test]
fn in_context_the_condition_is_a_token() {
    let device = Device::flex();
    let config = DitConfig { block: BlockDesign::InContext, depth: 1, ..small() };
    let network = randomized(Dit::new(&config, &latents(4), &mut Initialization::new(0, &device)));
    let (x, time) = (normal::<4>(0, [2, 4, 32, 32], &device), normal::<1>(1, [2], &device));
    let class = Condition::of_class(Tensor::from_data([1i64, 3], &device));
    let context = network.conditioning.forward(2, time.clone().into(), &class, None);
    assert_eq!(context.tokens().dims(), [2, 2, 16]);
    // Where they stand does not matter.
    let image = network.tokens(x.clone(), time.clone(), &class, 0);
    let tokens = Dual::cat(vec![context.tokens(), image.into()], 1);
    let first = network.blocks[0].forward(tokens, &context).value;
    let found = network.tokens(x, time, &class, 1);
    assert_eq!(found.dims(), [2, 256, 16]);
    assert_close(&values(&found), &values(&first.narrow(1, 2, 256)), 1e-5);
}

/// To a sequence of one, all attention goes to that one: what is added is a linear map of it, the same for all tokens.
#[test]
fn cross_attention_to_one_vector_adds_a_map_of_it() {
    let device = Device::flex();
    let layer = randomized(NormedCrossAttention::to_condition(&small(), &mut Initialization::new(0, &device)));
    let (x, vector) = (normal::<3>(0, [2, 5, 16], &device), normal::<2>(1, [2, 16], &device));
    let added = layer.attention.projection.forward(layer.attention.value.forward(vector.clone().into())); // [b, d]
    let expected = x.clone() + added.value.unsqueeze_dim::<3>(1);
    let found = layer.forward(x.into(), told(vector).tokens(), None);
    assert_close(&values(&found.value), &values(&expected), 1e-5);
}

/// Attention and everything else knows tokens apart by their positions only: without them (a patch embedding that
/// repeats), permuted tokens give permuted tokens.
#[test]
fn every_token_is_treated_alike() {
    let device = Device::flex();
    let shape = DataShape::images(1, 4, 8);
    let network = randomized(Dit::new(&small(), &shape, &mut Initialization::new(0, &device)));
    let x = normal::<3>(0, [1, 8, 16], &device);
    let context = told(normal(1, [1, 16], &device));
    let through = |x: Tensor<3>| {
        let through = network.blocks.iter().fold(Dual::from(x), |x, block| block.forward(x, &context));
        through.value
    };
    let (there, back) = (values(&through(x.clone()).flip([1])), values(&through(x.flip([1]))));
    assert_close(&there, &back, 1e-5);
}

#[test]
fn images_need_not_be_square() {
    let device = Device::flex();
    let config = DitConfig { patch: 4, learned_variance: true, ..small() };
    let shape = DataShape::images(2, 8, 16);
    let network = randomized(Dit::new(&config, &shape, &mut Initialization::new(0, &device)));
    let (x, time) = (normal::<4>(0, [3, 2, 8, 16], &device), normal::<1>(1, [3], &device));
    assert_eq!(network.forward(x, time, &Condition::none(), None).dims(), [3, 4, 8, 16]);
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

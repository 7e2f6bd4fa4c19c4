//! Tuning to rewards, as the trainer drives it, on a small policy of points in the plane.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use common::Fixture;
use sinter_models::{Condition, parameters};
use sinter_objectives::reward::RewardTuning;
use sinter_objectives::{Clock, Method, MethodError, Objective, Runs, Setup, Tally};
use sinter_process::random::{Key, Stream};
use sinter_sampling::{Denoiser, Guidance, Guided, NetworkDenoiser, execute};
use sinter_solvers::Level;

const FLOW: &str = "path = { type = \"linear_flow\" }\nprediction = { type = \"velocity\" }";

const CHAIN: &str = "path = { type = \"discrete\", steps = 200 }\nprediction = { type = \"v\" }\n\
                     time_label = { type = \"index\" }";

const GROUP: usize = 4;
const SAMPLES: usize = 24;

/// A configuration for points whose reward is nearness to (0.5, -0.25).
fn tuning(process: &str, rest: &str) -> RewardTuning {
    let process = process.replace('\n', ", ");
    let rewards =
        if rest.contains("rewards =") { "" } else { "rewards = [{ type = \"target\", center = [0.5, -0.25] }]" };
    let group = if rest.contains("group =") { "" } else { "group = 4" };
    toml::from_str(&format!("policy = \"runs/policy\"\nprocess = {{ {process} }}\n{group}\n{rewards}\n{rest}")).unwrap()
}

fn fixture() -> Fixture {
    let mut fixture = Fixture::points(FLOW);
    // Without memory the first moment is the gradient itself.
    fixture.optimizer = toml::from_str("learning_rate = 1e-3\nalgorithm = { type = \"adamw\", beta_1 = 0.0 }").unwrap();
    fixture
}

fn method(config: &RewardTuning, fixture: &Fixture) -> Box<dyn Method> {
    let problems = config.validate(&fixture.model, fixture.conditioner.shape());
    assert!(problems.is_empty(), "{problems}");
    config.build(&fixture.setup()).unwrap()
}

fn clock(step: u64) -> Clock {
    Clock { images: step * SAMPLES as u64, step, micro_batch: SAMPLES }
}

fn step(method: &mut dyn Method, fixture: &Fixture, at: Clock) -> Tally {
    method.step(&fixture.batch(at.images, SAMPLES), at).unwrap()
}

/// The gradient of the last update, by parameter.
fn gradient(method: &dyn Method) -> BTreeMap<String, Vec<f32>> {
    let state = method.parts()[0].state();
    let moments = state
        .into_iter()
        .filter_map(|(name, array)| Some((name.strip_prefix("first_moment/")?.to_owned(), array.values)));
    moments.collect()
}

fn norm(gradient: &BTreeMap<String, Vec<f32>>) -> f64 {
    gradient.values().flatten().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// How far two gradients lie apart, relative to the norm of the first.
fn apart(one: &BTreeMap<String, Vec<f32>>, other: &BTreeMap<String, Vec<f32>>) -> f64 {
    assert!(one.keys().eq(other.keys()));
    let pairs = one.iter().flat_map(|(name, values)| values.iter().zip(&other[name]));
    let squares: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    squares.sqrt() / norm(one)
}

fn first_gradient(rest: &str) -> BTreeMap<String, Vec<f32>> {
    let fixture = fixture();
    let mut method = method(&tuning(FLOW, rest), &fixture);
    step(method.as_mut(), &fixture, clock(0));
    gradient(method.as_ref())
}

const EXPLORATIONS: [(&str, &str, &str); 6] = [
    ("flow", FLOW, "steps = 5"),
    ("final noise", FLOW, "steps = 5\nexploration = { type = \"trajectory\", final_noise = true, fraction = 0.5 }"),
    ("constant", FLOW, "steps = 5\nkernel = { type = \"constant\" }\nshared_noise = true"),
    ("preserving", FLOW, "steps = 5\nkernel = { type = \"coefficients_preserving\" }\ndensity = \"squared_error\""),
    ("window", FLOW, "steps = 8\nexploration = { type = \"window\", width = 2, compression = 0.5 }"),
    ("branches", FLOW, "steps = 6\nexploration = { type = \"branches\", strides = [1, 2] }"),
];

/// Whatever explores: before any update the policy's densities are those of the draw, and a step is a function of the
/// seed and the clock.
#[test]
fn before_an_update_every_ratio_is_one() {
    for guidance in ["", "guidance = { scale = 2.5, interval = [0.2, 0.9] }"] {
        for (name, process, rest) in EXPLORATIONS {
            let fixture = fixture();
            let run = || {
                let mut method = method(&tuning(process, &format!("{rest}\n{guidance}")), &fixture);
                let tally = step(method.as_mut(), &fixture, clock(0));
                (tally, method.parts()[0].parameters().unwrap())
            };
            let (tally, weights) = run();
            assert!(tally.mean("ratio/farthest").unwrap() < 1e-6, "{name}: {tally:?}");
            assert_eq!(tally.mean("ratio/outside"), Some(0.0), "{name}");
            assert!(tally.mean("gradient_norm").unwrap() > 1e-4, "{name}");
            assert!(tally.mean("reward/target").unwrap() < 0.0, "{name}");
            // The mean of -A over groups is zero at the ratio 1.
            assert!(tally.mean("loss").unwrap().abs() < 1e-6, "{name}: {tally:?}");
            assert_eq!(run(), (tally, weights), "{name}");
        }
    }
}

/// DDPO's chain: the ancestral kernel on a discrete path.
#[test]
fn the_ancestral_kernel_tunes_a_chain() {
    let mut fixture = fixture();
    fixture.runs.process = toml::from_str(CHAIN).unwrap();
    let rest = "steps = 6\ngrid = { type = \"indices\" }\nkernel = { type = \"ancestral\" }\ngroup = 1\nhistory = { samples = 4, minimum = 4 }";
    let mut method = method(&tuning(CHAIN, rest), &fixture);
    let first = step(method.as_mut(), &fixture, clock(0));
    assert!(first.mean("ratio/farthest").unwrap() < 1e-6, "{first:?}");
    assert!(first.mean("advantage/spread").unwrap() > 0.5);
    // What it remembers is part of its checkpoint: by reward and class.
    let arrays = method.parts()[1].parameters().unwrap();
    let remembered: usize =
        arrays.iter().filter(|(name, _)| name.starts_with("memory/target/")).map(|(_, a)| a.values.len()).sum();
    assert!((8..=SAMPLES).contains(&remembered), "{remembered}");
}

/// The first update against the score function, derived apart from the method: rollouts by the sampler that draws
/// pictures, densities as they are written, one graph.
#[test]
fn the_first_gradient_is_that_of_the_score_function() {
    let rest = "steps = 4\nguidance = { scale = 1.5 }\nloss = { advantage_limit = 1.2 }";
    let config = tuning(FLOW, rest);
    let fixture = fixture();
    let setup = fixture.setup();
    let batch = fixture.batch(0, SAMPLES);
    let device = Device::flex();

    let policy = fixture.runs.model(std::path::Path::new("")).unwrap().denoiser;
    let guidance = Guidance { scale: 1.5, ..Guidance::default() };
    let rollout = config.rollout(0, &Key::new(7, Stream::TEST).at(0)).unwrap();
    let plan = rollout.plan("rollout").unwrap();
    let classes: Vec<u32> = (0..SAMPLES).map(|i| batch.classes.as_ref().unwrap()[i / GROUP * GROUP]).collect();
    let condition = |device: &Device| fixture.conditioner.condition(Some(&classes), None, |_| false, device).unwrap();
    let noise = |draw: u32| {
        let mut values = vec![0.0_f32; SAMPLES * 2];
        let key = Key::new(setup.seed, Stream::ROLLOUT_NOISE.nth(draw));
        values.chunks_mut(2).enumerate().for_each(|(i, values)| key.at(i as u64).fill_normal(values));
        Tensor::<4>::from_data(TensorData::new(values, [SAMPLES, 2, 1, 1]), &device)
    };
    let mut states = vec![noise(0)];
    let guided = Guided { denoiser: &policy, guidance };
    let end = execute(
        &plan,
        noise(0),
        &guided,
        &condition(&device),
        |draw| noise(draw as u32 + 1),
        |state, _| {
            states.push(state.clone());
        },
    );
    let end: Vec<f32> = end.unwrap().into_data().iter::<f32>().collect();
    let rewards: Vec<f64> =
        end.chunks(2).map(|x| -(f64::from(x[0]) - 0.5).powi(2) - (f64::from(x[1]) + 0.25).powi(2)).collect();
    let advantage = |i: usize| {
        let group = &rewards[i / GROUP * GROUP..i / GROUP * GROUP + GROUP];
        let mean = group.iter().sum::<f64>() / GROUP as f64;
        let deviation = (group.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (GROUP as f64 - 1.0)).sqrt();
        ((rewards[i] - mean) / (deviation + 1e-8)).clamp(-1.2, 1.2)
    };
    let advantages: Vec<f32> = (0..SAMPLES).map(|i| advantage(i) as f32).collect();

    let tracked = device.clone().autodiff();
    let network = setup.student(&tracked, None, &config.process).unwrap();
    let network = parameters::write(network, parameters::read(&policy.network).unwrap()).unwrap();
    let lift = |tensor: &Tensor<4>| Tensor::<4>::from_inner(tensor.clone());
    let mut loss = Tensor::<1>::zeros([1], &tracked);
    for k in 0..3 {
        let point = &rollout.points[k];
        let label =
            Tensor::<1>::full([SAMPLES], config.process.time_label.label(&config.process.path, point), &tracked);
        let x = lift(&states[k]);
        let one = network.forward(x.clone(), label.clone(), &condition(&tracked), None);
        let none = network.forward(x.clone(), label, &Condition::none(), None);
        let velocity = none.clone() + (one - none) * 1.5;
        let step = rollout.transition(k);
        let map = step.of_prediction(&config.process.prediction, point);
        let mean = x * map.x + velocity * map.prediction;
        let squares = (lift(&states[k + 1]) - mean).square().flatten::<2>(1, 3).mean_dim(1).squeeze_dim::<1>(1);
        let density = squares.mul_scalar(-0.5 / step.deviation.powi(2)); // and constants
        let advantage = Tensor::<1>::from_data(TensorData::from(advantages.as_slice()), &tracked);
        loss = loss - (density * advantage).sum().div_scalar((3 * SAMPLES) as f64);
    }
    let theirs = parameters::gradients(&network, &loss.sum().backward());
    let theirs = theirs.into_iter().map(|(name, g)| (name, g.into_data().iter::<f32>().collect())).collect();

    let mut method = method(&config, &fixture);
    step(method.as_mut(), &fixture, clock(0));
    let ours = gradient(method.as_ref());
    assert!(norm(&ours) > 1e-3);
    let difference = apart(&ours, &theirs);
    assert!(difference < 2e-5, "{difference:e} of the norm");
}

#[test]
fn the_published_methods_meet_where_they_are_the_same() {
    // A window over all steps but the last is the whole trajectory.
    let window = |width: usize| {
        format!(
            "exploration = {{ type = \"window\", width = {width}, edge = \"whole\", motion = {{ type = \"frozen\" }} }}"
        )
    };
    let whole = first_gradient("steps = 6");
    assert_eq!(apart(&whole, &first_gradient(&format!("steps = 6\n{}", window(5)))), 0.0);
    // A window of one step is one branch of stride 1.
    let branch = "steps = 6\nexploration = { type = \"branches\", steps = [0] }";
    let single = first_gradient(&format!("steps = 6\nshared_noise = true\n{}", window(1)));
    let difference = apart(&single, &first_gradient(branch));
    assert!(difference < 1e-5, "{difference:e}");
    assert!(apart(&whole, &single) > 0.1);
    // Flow-GRPO's kernel at the noise 0.3 / sqrt(t / (1 - t)) would be DanceGRPO's: they differ where t does.
    assert!(apart(&whole, &first_gradient("steps = 6\nkernel = { type = \"constant\", noise = 0.3 }")) > 0.1);
}

#[test]
fn portions_add_up_to_the_batch() {
    for (name, process, rest) in EXPLORATIONS {
        let run = |micro_batch: usize| {
            let fixture = fixture();
            let mut method = method(&tuning(process, rest), &fixture);
            step(method.as_mut(), &fixture, Clock { micro_batch, ..clock(0) });
            gradient(method.as_ref())
        };
        let whole = run(SAMPLES);
        for micro_batch in [1, 5] {
            let difference = apart(&whole, &run(micro_batch));
            assert!(difference < 1e-5, "{name}, {micro_batch} at a time: {difference:e}");
        }
    }
}

/// Only steps in the window have a gradient: so many images are taken through the network for the update.
#[test]
fn costs_are_counted() {
    let cost = |rest: &str, images: usize| {
        let fixture = fixture();
        let mut method = method(&tuning(FLOW, rest), &fixture);
        let tally = method.step(&fixture.batch(0, images), Clock { images: 0, step: 0, micro_batch: 7 }).unwrap();
        assert_eq!(tally.mean("advantage/ties"), Some(0.0));
        [tally.mean("cost/evaluations").unwrap(), tally.mean("cost/rewards").unwrap()].map(|value| value as usize)
    };
    assert_eq!(cost("steps = 10", 8), [8 * 10 + 8 * 9, 8]);
    let window = "exploration = { type = \"window\", width = 3 }";
    assert_eq!(cost(&format!("steps = 10\n{window}"), 8), [8 * 10 + 8 * 3, 8]);
    // 25 steps, of which the 21 after the window become 7.
    let flash = "steps = 25\nexploration = { type = \"window\", compression = 0.4 }";
    assert_eq!(cost(flash, 8), [8 * 11 + 8 * 4, 8]);
    let fraction = "steps = 16\nexploration = { type = \"trajectory\", fraction = 0.6 }";
    assert_eq!(cost(fraction, 8), [8 * 16 + 8 * 9, 8]);
    // Guidance doubles both; inside of its interval alone.
    assert_eq!(cost("steps = 10\nguidance = { scale = 2.0 }", 8), [2 * (8 * 10 + 8 * 9), 8]);
    // The published count: 16 for the anchor, and 92, 140 or 173 a group member.
    for (strides, each) in [("[1]", 92), ("[1, 2]", 140), ("[1, 2, 3]", 173)] {
        let branches = format!("steps = 16\nexploration = {{ type = \"branches\", strides = {strides} }}");
        let count = strides.split(',').count();
        assert_eq!(cost(&branches, 8), [2 * 16 + 8 * each + 8 * 8, 2 + 8 * 8 * count], "{strides}");
    }
    let two = "steps = 10\nrewards = [{ type = \"target\", center = [0.5, 0.0] }, { type = \"target\", name = \"other\", center = [0.0, 0.5], weight = 0.0 }]";
    assert_eq!(cost(two, 8)[1], 16);
    // The reference is asked where the policy is.
    let penalty = "steps = 10\npenalty = { type = \"reference\", weight = 0.1 }";
    assert_eq!(cost(penalty, 8), [8 * 10 + 2 * 8 * 9, 8]);
}

#[test]
fn later_updates_see_other_ratios() {
    let fixture = fixture();
    let more = "steps = 5\nupdates = { parts = 2, epochs = 2 }";
    let mut twice = method(&tuning(FLOW, more), &fixture);
    let tally = step(twice.as_mut(), &fixture, clock(0));
    assert_eq!(tally.mean("updates"), Some(4.0));
    assert!(tally.mean("ratio/farthest").unwrap() > 1e-6);
    assert_eq!(twice.parts()[0].updates(), 4);
    // The first part's first update is all that a limit of nothing leaves.
    let mut limited =
        method(&tuning(FLOW, &more.replace("epochs = 2", "epochs = 2, divergence_limit = 1e-30")), &fixture);
    assert_eq!(step(limited.as_mut(), &fixture, clock(0)).mean("updates"), Some(1.0));
    // One update a branch.
    let branches = "steps = 8\nexploration = { type = \"branches\", update = \"each_step\" }";
    let mut each = method(&tuning(FLOW, branches), &fixture);
    let tally = step(each.as_mut(), &fixture, clock(0));
    assert_eq!((tally.mean("updates"), each.parts()[0].updates()), (Some(4.0), 4));
    assert!(tally.mean("ratio/farthest").unwrap() > 1e-7);
}

#[test]
fn ties_teach_nothing() {
    let fixture = fixture();
    // Every image has one JPEG size of nothing: points have no colours, so take a scorer that does not tell them apart.
    let scorer = "read l; while [ -n \\\"$l\\\" ]; do echo '{\\\"scores\\\": [1, 1, 1, 1, 1, 1, 1, 1]}'; read l; done";
    let rest = format!(
        "steps = 4\nrewards = [{{ type = \"external\", command = [\"sh\", \"-c\", \"{scorer}\"], portion = 8 }}]"
    );
    let mut method = method(&tuning(FLOW, &rest), &fixture);
    let before = method.parts()[0].parameters().unwrap();
    let tally = step(method.as_mut(), &fixture, clock(0));
    assert_eq!((tally.mean("updates"), tally.mean("advantage/ties")), (Some(0.0), Some(1.0)));
    assert_eq!(method.parts()[0].parameters().unwrap(), before);
    assert_eq!(tally.mean("loss"), None);
}

#[test]
fn a_reward_that_fails_changes_nothing() {
    let fixture = fixture();
    let scorer = "read l; echo '{\\\"scores\\\": [1, NaN, 2, 3]}'; cat > /dev/null";
    let rest = format!(
        "steps = 4\nrewards = [{{ type = \"external\", command = [\"sh\", \"-c\", \"{scorer}\"], portion = 4 }}]"
    );
    let mut method = method(&tuning(FLOW, &rest), &fixture);
    let before: Vec<_> = method.parts().iter().map(|part| part.parameters().unwrap()).collect();
    let error = method.step(&fixture.batch(0, SAMPLES), clock(0)).unwrap_err();
    assert_eq!(error.to_string(), "reward `external`: the score of image 1 is NaN, not a finite number");
    assert!(matches!(error, MethodError::Reward(_)));
    let after: Vec<_> = method.parts().iter().map(|part| part.parameters().unwrap()).collect();
    assert_eq!(before, after);
}

/// An update that is not finite takes back those of its batch that came before it.
#[test]
fn updates_of_a_batch_are_all_made_or_none() {
    let mut fixture = fixture();
    // A first update that throws the weights away: the second one's loss is not finite.
    fixture.optimizer = toml::from_str("learning_rate = 1e30").unwrap();
    let mut method = method(&tuning(FLOW, "steps = 4\nupdates = { parts = 3 }"), &fixture);
    let before = (method.parts()[0].parameters().unwrap(), method.parts()[0].state(), method.parts()[0].updates());
    let error = method.step(&fixture.batch(0, SAMPLES), clock(0)).unwrap_err();
    assert!(matches!(error, MethodError::NonFinite { .. }), "{error}");
    let after = (method.parts()[0].parameters().unwrap(), method.parts()[0].state(), method.parts()[0].updates());
    assert_eq!(before, after);
}

#[test]
fn the_penalty_pulls_back_to_the_policy_it_was() {
    let fixture = fixture();
    let distance = |form: &str, rest: &str| {
        let rest = format!("steps = 3\n{rest}\npenalty = {{ type = \"reference\", weight = 0.5, form = \"{form}\" }}");
        let mut method = method(&tuning(FLOW, &rest), &fixture);
        let first = step(method.as_mut(), &fixture, clock(0)).mean("divergence/reference").unwrap();
        assert!(first < 1e-10, "{form}: {first:e}");
        step(method.as_mut(), &fixture, clock(1)).mean("divergence/reference").unwrap()
    };
    // Of one step, and of two elements, the published scales differ by constants.
    let single = "exploration = { type = \"branches\", steps = [0] }\nloss = { clip = 0.2 }";
    let [sum, mean, without] = ["sum", "mean", "without_step"].map(|form| distance(form, single));
    assert!(mean > 1e-9, "{mean:e}");
    // Penalties of other sizes lead elsewhere from the second update on, but the first is of the rewards alone.
    assert!((sum / mean - 2.0).abs() < 1e-4, "{}", sum / mean);
    let duration = {
        let config = tuning(FLOW, "steps = 3");
        let points = config.points(3).unwrap();
        points[0].t - points[1].t
    };
    assert!((without / mean / duration - 1.0).abs() < 1e-4, "{}", without / mean);

    // Held harder, it stays nearer.
    let after = |weight: f64| {
        let rest =
            format!("steps = 3\nloss = {{ clip = 0.2 }}\npenalty = {{ type = \"reference\", weight = {weight:.1} }}");
        let mut method = method(&tuning(FLOW, &rest), &fixture);
        let tallies: Vec<Tally> = (0..12).map(|at| step(method.as_mut(), &fixture, clock(at))).collect();
        assert!(tallies[5].mean("loss/penalty").unwrap() > 0.0);
        tallies[11].mean("divergence/reference").unwrap()
    };
    let (free, held) = (after(0.1), after(1000.0));
    assert!(held < 0.7 * free, "{held:e} {free:e}");
}

#[test]
fn rewards_rise() {
    for (name, process, rest) in EXPLORATIONS {
        let mut fixture = fixture();
        fixture.optimizer = toml::from_str("learning_rate = 3e-3").unwrap();
        let mut method = method(&tuning(process, rest), &fixture);
        let held_out = |method: &dyn Method| {
            let tally = method.inference(None).validate(&fixture.batch(5000, 128)).unwrap();
            tally.mean("validation/reward/target").unwrap()
        };
        let before = held_out(method.as_ref());
        for at in 0..60 {
            step(method.as_mut(), &fixture, clock(at));
        }
        let after = held_out(method.as_ref());
        assert!(after > 0.6 * before, "{name}: {before} to {after}");
    }
}

#[test]
fn adapters_alone_are_tuned() {
    let fixture = fixture();
    let adapters = toml::from_str("rules = [{ layers = \"**\", type = \"low_rank\", rank = 2 }]").unwrap();
    let setup = Setup { adapters: Some(&adapters), ..fixture.setup() };
    let config = tuning(FLOW, "steps = 4\npenalty = { type = \"reference\", weight = 0.1 }");
    let mut method = config.build(&setup).unwrap();
    let before = method.parts()[0].parameters().unwrap();
    for at in 0..2 {
        let tally = step(method.as_mut(), &fixture, clock(at));
        assert!(tally.mean("ratio/farthest").unwrap() < 1e-5);
        // Adapters start at nothing: the policy is the one that it was.
        let distance = tally.mean("divergence/reference").unwrap();
        assert_eq!(distance < 1e-12, at == 0, "{at}: {distance:e}");
    }
    for (name, array) in method.parts()[0].parameters().unwrap() {
        let changed = before[&name] != array;
        assert!(name.contains(".adapter.") || !changed, "{name}");
        assert!(!name.ends_with(".adapter.up") || changed, "{name}");
    }
}

#[test]
fn states_can_be_found_again_from_their_keys() {
    // A step of a run that was resumed: another method with the same weights, at the same clock.
    let fixture = fixture();
    let config =
        tuning(FLOW, "steps = 5\nexploration = { type = \"window\", width = 2, motion = { type = \"random\" } }");
    let mut straight = method(&config, &fixture);
    for at in 0..3 {
        step(straight.as_mut(), &fixture, clock(at));
    }
    let mut resumed = method(&config, &fixture);
    for (part, from) in resumed.parts_mut().into_iter().zip(straight.parts()) {
        part.load_parameters(from.parameters().unwrap()).unwrap();
        part.load_state(&from.state(), from.updates()).unwrap();
    }
    let tallies = [straight.as_mut(), resumed.as_mut()].map(|method| step(method, &fixture, clock(3)));
    assert_eq!(tallies[0], tallies[1]);
    let [one, other] = [&straight, &resumed].map(|method| method.parts()[0].parameters().unwrap());
    assert_eq!(one, other);
    assert!(tallies[0].mean("cost/evaluations").unwrap() > 3.0 * (SAMPLES * 5) as f64);
}

#[test]
fn what_does_not_fit_is_told() {
    let fixture = fixture();
    let said = |rest: &str| tuning(FLOW, rest).validate(&fixture.model, fixture.conditioner.shape()).to_string();
    assert_eq!(said("group = 1"), "group: one sample is compared with no other: take 2 or more, or a `history`");
    assert!(said("steps = 1").starts_with("steps: must be at least 2"));
    assert!(
        said("steps = 4\nexploration = { type = \"window\", width = 4 }")
            .contains("exploration.width: a window in 4 steps")
    );
    assert!(said("updates = { parts = 2 }\nexploration = { type = \"branches\" }").contains("updates.parts"));
    assert!(said("kernel = { type = \"ancestral\" }\npenalty = { type = \"reference\", weight = 1.0, form = \"without_step\" }").contains("penalty.form"));
    assert!(said("grid = { type = \"indices\" }").contains("grid: no rollout of 16 steps"));
    assert!(said("rewards = [{ type = \"compositional\" }]").contains("rewards[0].type: scores captions"));
    let window = "grid = { type = \"karras\" }\nexploration = { type = \"window\", compression = 0.5 }";
    assert!(said(window).contains("exploration.compression: needs the grid `shifted_time`"));

    let mut method = method(&tuning(FLOW, "steps = 4"), &fixture);
    let error = method.step(&fixture.batch(0, 10), clock(0)).unwrap_err().to_string();
    assert!(error.contains("set train.batch to a multiple of objective.group"), "{error}");

    let mut smaller = Fixture::points(FLOW);
    smaller.model = toml::from_str("type = \"mlp\"\nwidth = 8\ndepth = 2").unwrap();
    let error = tuning(FLOW, "steps = 4").build(&smaller.setup()).err().unwrap().to_string();
    assert!(error.contains("another network"), "{error}");
    let classifier = "rewards = [{ type = \"classifier\", run = \"runs/c\" }]";
    let error = tuning(FLOW, classifier).build(&fixture.setup()).err().unwrap().to_string();
    assert!(error.contains("runs/c is no classifier"), "{error}");

    // Opened for use: no policy and no scorer is needed, and training says so.
    let setup = Setup { training: None, ..fixture.setup() };
    let mut used = tuning(FLOW, "steps = 4").build(&setup).unwrap();
    assert!(matches!(used.step(&fixture.batch(0, SAMPLES), clock(0)), Err(MethodError::Setup(_))));
    assert!(used.inference(None).validate(&fixture.batch(0, 4)).unwrap().is_empty());
    assert!(used.inference(None).denoiser().is_some());
}

/// The credit of a branch on a linear flow: with the reward `<w, x0>` the gradient by the branch's mean is the reward's own,
/// taken back through the rest of the flow.
#[test]
fn a_branch_is_credited_with_what_it_leads_to() {
    let config = tuning(FLOW, "steps = 12\nexploration = { type = \"branches\", strides = [1, 2, 3] }");
    let sinter_objectives::reward::Exploration::Branches(branches) = &config.exploration else { panic!() };
    // Independent normal data of unequal deviations: the flow is linear, with another slope in each of three dimensions.
    let (means, deviations, w) = ([0.3, -0.5, 0.1], [0.2, 0.6, 1.4], [1.0, -2.0, 0.5]);
    let expected = |states: &[f64], level: Level| -> Vec<f64> {
        let one = |(i, x): (usize, &f64)| {
            let gain = level.alpha * deviations[i % 3] * deviations[i % 3] / level.deviation(deviations[i % 3]).powi(2);
            means[i % 3] + gain * (x - level.alpha * means[i % 3])
        };
        states.iter().enumerate().map(one).collect()
    };
    let finish = |plan: &sinter_solvers::Plan, state: &[f64]| {
        sinter_solvers::host::execute(plan, state.to_vec(), 3, expected, |_| Vec::new(), |_| {}).unwrap()
    };
    for branch in [0, 3, 7] {
        let points = config.points(12).unwrap();
        let transition = config.kernel.transition(&points[branch], &points[branch + 1]);
        let mean = [0.4, -0.2, 0.9];
        // Noise along each axis, both ways: its second moment is the same in all directions.
        let noises: Vec<[f64; 3]> = (0..6)
            .map(|i| {
                std::array::from_fn(|axis| match axis == i / 2 {
                    true => {
                        if i % 2 == 0 {
                            1.0
                        } else {
                            -1.0
                        }
                    }
                    false => 0.0,
                })
            })
            .collect();
        let groups = [0; 6];
        let mut scores = Vec::new();
        let mut exact = [0.0; 3];
        for stride in &branches.strides {
            let plan = config.continuation(branches, branch, *stride).unwrap();
            let rewards: Vec<f64> = noises
                .iter()
                .map(|noise| {
                    let state: Vec<f64> = (0..3).map(|i| mean[i] + transition.deviation * noise[i]).collect();
                    finish(&plan, &state).iter().zip(w).map(|(x, w)| x * w).sum()
                })
                .collect();
            // The Jacobian of a linear flow by one difference each.
            let rest: Vec<f64> = (0..3)
                .map(|i| {
                    let mut moved = mean;
                    moved[i] += 1.0;
                    finish(&plan, &moved)[i] - finish(&plan, &mean)[i]
                })
                .collect();
            let pulled: Vec<f64> = (0..3).map(|i| w[i] * rest[i]).collect();
            let size = pulled.iter().map(|value| value * value).sum::<f64>();
            // Of six samples the rewards have the variance 2 s^2 |J w|^2 / 5.
            exact.iter_mut().zip(&pulled).for_each(|(sum, value)| *sum += value / (2.0 * size / 5.0).sqrt());
            scores.push((1.0, rewards));
        }
        let advantages = config.advantage.of_rewards(&scores, &groups);
        assert!(advantages.iter().sum::<f64>().abs() < 1e-9);
        // The loss's gradient by the mean at the ratio 1: -mean(A dlogp/dmean), dlogp/dmean = z / (s d).
        let gradient: [f64; 3] = std::array::from_fn(|axis| {
            let sum: f64 = advantages.iter().zip(&noises).map(|(advantage, noise)| advantage * noise[axis]).sum();
            -sum / (6.0 * transition.deviation * 3.0)
        });
        let expected: [f64; 3] = std::array::from_fn(|axis| -exact[axis] * 2.0 / (6.0 * transition.deviation * 3.0));
        for (ours, theirs) in gradient.iter().zip(&expected) {
            assert!((ours - theirs).abs() < 1e-7 * theirs.abs().max(1e-3), "{branch}: {gradient:?} {expected:?}");
        }
        // All strides agree in sign, so that their sum keeps the order.
        for (_, rewards) in &scores {
            let order = |values: &[f64]| {
                let mut order: Vec<usize> = (0..6).collect();
                order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
                order
            };
            assert_eq!(order(rewards)[5], order(&scores[0].1)[5]);
        }
    }
}

/// Drawn outside of the method, a tuned policy is the network that its inference gives.
#[test]
fn inference_is_the_tuned_network() {
    let fixture = fixture();
    let mut method = method(&tuning(FLOW, "steps = 4"), &fixture);
    step(method.as_mut(), &fixture, clock(0));
    let inference = method.inference(None);
    let network =
        parameters::write(fixture.setup().network(&Device::flex()).unwrap(), method.parts()[0].parameters().unwrap())
            .unwrap();
    let own = NetworkDenoiser { network, parameterization: tuning(FLOW, "").process };
    let x = Tensor::<4>::from_data(TensorData::new(vec![0.3_f32, -0.4], [1, 2, 1, 1]), &Device::flex());
    let data = |denoiser: &dyn Denoiser| denoiser.data(x.clone(), 0.4, 0.6, &Condition::none()).into_data();
    assert_eq!(data(inference.denoiser().unwrap()), data(&own));
}

//! Plans against what is known without solving anything.

#![allow(clippy::unwrap_used)]

use sinter_process::mixture::Mixture;
use sinter_process::path::{Discrete, Edm, VpLinear};
use sinter_process::random::{Key, Stream};
use sinter_process::{Path, PathPoint};
use sinter_solvers::host::{Event, ExecuteError, execute};
use sinter_solvers::{
    AddedNoise, Clamp, Clipping, Clock, Consistency, Ddim, Ddpm, DpmMultistep, End, Euler, Explicit, Grid, Heun,
    Indices, Karras, Level, Operation, Plan, Quantity, Register, Sampler, ShiftedTime, Solver, UniformLambda,
    UniformTime, Variable, compile, exploding,
};

fn sampler(solver: Solver, grid: Grid, steps: usize) -> Sampler {
    Sampler { solver, grid, steps, end: End::Data, clipping: None, start_deviation: 0.0 }
}

fn run(plan: &Plan, start: f64, data: impl Fn(f64, Level) -> f64) -> f64 {
    let evaluate = |states: &[f64], level: Level| states.iter().map(|x| data(*x, level)).collect();
    execute(plan, vec![start], 1, evaluate, |draw| vec![(draw as f64).cos()], |_| {}).unwrap()[0]
}

fn even() -> Grid {
    Grid::UniformTime(UniformTime::default())
}

#[test]
fn data_of_one_point_are_reached_in_any_number_of_steps() {
    let solvers = [
        Solver::Euler(Euler::default()),
        Solver::Heun(Heun::default()),
        Solver::Ddim(Ddim { eta: 0.5, ..Ddim::default() }),
        Solver::Ddpm(Ddpm::default()),
        Solver::DpmMultistep(DpmMultistep::default()),
        Solver::DpmMultistep(DpmMultistep { order: 3, eta: 1.0, ..DpmMultistep::default() }),
        Solver::Consistency(Consistency::default()),
    ];
    for solver in solvers {
        for steps in [1, 2, 7, 20] {
            let plan = sampler(solver, even(), steps).plan(&Path::VpLinear(VpLinear::default())).unwrap();
            let end = run(&plan, plan.scale * 0.8, |_, _| 0.3);
            assert!((end - 0.3).abs() < 1e-12, "{} in {steps}: {end}", solver.name());
        }
    }
}

#[test]
fn on_one_point_of_data_the_steps_between_are_exact() {
    // x = alpha m + sigma eps with eps kept: every solver that is exact in its linear part stays on this line.
    let path = Path::VpLinear(VpLinear::default());
    let (mean, noise) = (0.3, -1.1);
    for solver in [Solver::Ddim(Ddim::default()), Solver::DpmMultistep(DpmMultistep::default())] {
        let plan = sampler(solver, even(), 9).plan(&path).unwrap();
        let on_line = |level: Level| level.alpha * mean + level.sigma * noise;
        let check = |event: Event<'_>| {
            if let Event::Reached { state, level } = event {
                assert!((state[0] - on_line(level)).abs() < 1e-13, "{}", solver.name());
            }
        };
        let start = vec![on_line(plan.start)];
        execute(&plan, start, 1, |states, _| vec![mean; states.len()], |_| Vec::new(), check).unwrap();
    }
}

#[test]
fn normal_data_follow_their_deviation() {
    // The flow of N(0, s^2) scales states as their standard deviation sqrt(alpha^2 s^2 + sigma^2).
    let deviation: f64 = 0.5;
    let expected = |x: f64, level: Level| x * level.alpha * deviation.powi(2) / level.deviation(deviation).powi(2);
    let rule = Solver::Heun(Heun { clock: Clock::Time, ..Heun::default() });
    let plan = sampler(rule, even(), 400).plan(&Path::LinearFlow).unwrap();
    let end = run(&plan, 1.0, expected);
    assert!((end - deviation).abs() < 1e-3, "{end}");
}

/// The coefficients of the only step's combination, by register.
fn weights(plan: &Plan) -> Vec<f64> {
    let mut combinations = plan.operations.iter().filter_map(|operation| match operation {
        Operation::Combine { terms, .. } => Some(terms.clone()),
        _ => None,
    });
    let mut terms = combinations.next_back().unwrap();
    terms.sort_by(|left, right| left.0.total_cmp(&right.0));
    terms.into_iter().map(|term| term.0).collect()
}

#[test]
fn ancestral_sampling_has_three_names() {
    let path = Path::VpLinear(VpLinear::default());
    for (from, to) in [(1.0, 0.8), (0.5, 0.49), (0.2, 0.001)] {
        let points = [path.at(from), path.at(to)];
        let ddim = compile(&Solver::Ddim(Ddim { eta: 1.0, ..Ddim::default() }), &points).unwrap();
        let ddpm = compile(&Solver::Ddpm(Ddpm { final_noise: true, ..Ddpm::default() }), &points).unwrap();
        let sde =
            compile(&Solver::DpmMultistep(DpmMultistep { eta: 1.0, ..DpmMultistep::default() }), &points).unwrap();
        for other in [&ddpm, &sde] {
            for (left, right) in weights(&ddim).iter().zip(weights(other)) {
                assert!((left - right).abs() < 1e-12, "{} and {}: {left} {right}", ddim.name, other.name);
            }
        }
    }
}

#[test]
fn euler_in_rho_is_ddim_is_both_first_order_solvers() {
    let path = Path::VpLinear(VpLinear::default());
    let data = |x: f64, level: Level| (x / level.deviation(1.0)).tanh();
    let first = |quantity| Solver::DpmMultistep(DpmMultistep { order: 1, quantity, ..DpmMultistep::default() });
    let reference = run(&sampler(Solver::Ddim(Ddim::default()), even(), 12).plan(&path).unwrap(), 1.0, data);
    for solver in [first(Quantity::Data), first(Quantity::Noise)] {
        let end = run(&sampler(solver, even(), 12).plan(&path).unwrap(), 1.0, data);
        assert!((end - reference).abs() < 1e-12);
    }
    // Euler in rho runs on x / alpha.
    let plan = sampler(Solver::Euler(Euler::default()), even(), 12).plan(&path).unwrap();
    let end = run(&plan, 1.0 / path.at(1.0).alpha, data);
    assert!((end - reference).abs() < 1e-12, "{end} {reference}");
}

#[test]
fn grids_have_their_ends() {
    let vp = Path::VpLinear(VpLinear::default());
    let rhos = |grid: Grid, path: &Path, steps: usize, end: End| -> Vec<f64> {
        grid.points(path, steps, end).unwrap().iter().map(PathPoint::rho).collect()
    };
    for grid in [even(), Grid::UniformLambda(UniformLambda::default()), Grid::Karras(Karras::default())] {
        let with_data = rhos(grid.clone(), &vp, 5, End::Data);
        assert_eq!((with_data.len(), with_data[5]), (6, 0.0));
        let lowest = rhos(grid, &vp, 5, End::Lowest);
        assert!(lowest.windows(2).all(|pair| pair[0] > pair[1]));
        assert!((lowest[5] / vp.at(1e-3).rho() - 1.0).abs() < 1e-9);
        assert!((with_data[4] / lowest[5] - 1.0).abs() < 1e-9);
    }
    // A flow's own end is data: nothing is appended.
    let flow = Grid::ShiftedTime(ShiftedTime { shift: 3.0 }).points(&Path::LinearFlow, 4, End::Data).unwrap();
    let times: Vec<f64> = flow.iter().map(|point| point.t).collect();
    assert_eq!(times, [1.0, 0.9, 0.75, 0.5, 0.0]);
    let chain = Path::Discrete(Discrete::default());
    let trailing = Grid::Indices(Indices::default()).points(&chain, 10, End::Data).unwrap();
    assert!((chain.native_time(trailing[0].t) - 999.0).abs() < 1e-9);
    let edm = rhos(Grid::Karras(Karras::default()), &Path::Edm(Edm::default()), 18, End::Data);
    assert!((edm[0] - 80.0).abs() < 1e-12 && (edm[17] - 0.002).abs() < 1e-12);
}

/// The levels of a consistency model's sampler, as a configuration names them.
fn named(noise: AddedNoise, sigma_min: f64, rhos: &[f64]) -> Sampler {
    let grid = Grid::Explicit(Explicit { variable: Variable::Rho, values: rhos.to_vec() });
    sampler(Solver::Consistency(Consistency { noise, sigma_min }), grid, rhos.len())
}

/// With the exact consistency function of a mixture every state has the law of its level, and every sample that of the
/// data: their quantiles are uniform.
#[test]
fn exact_consistency_functions_sample_exactly() {
    let (mixture, n) = (Mixture::three_bumps(), 2_000);
    let noise = |draw: u64| {
        let mut noise = vec![0.0; n];
        Key::new(1, Stream::TEST).at(draw).fill_normal_f64(&mut noise);
        noise
    };
    let edm = Path::Edm(Edm::default());
    for (path, rhos) in [(&edm, &[80.0][..]), (&edm, &[80.0, 0.821]), (&Path::LinearFlow, &[80.0, 5.0, 0.7, 0.2])] {
        let plan = named(AddedNoise::Fresh, 0.002, rhos).plan(path).unwrap();
        assert_eq!((plan.evaluations(), plan.draws().len()), (rhos.len(), rhos.len() - 1));
        let to_data = |x: &[f64], level: Level| -> Vec<f64> {
            let from = exploding(level.rho());
            x.iter().map(|x| mixture.transport(x / level.alpha, &from, &exploding(0.002))).collect()
        };
        // The start is noise alone: its law differs from that of the level by the data's part, a ten-thousandth.
        let start = noise(0).iter().map(|z| plan.scale * z).collect();
        let samples = execute(&plan, start, 1, to_data, |draw| noise(1 + draw as u64), |_| {}).unwrap();
        let mut uniform: Vec<f64> = samples
            .iter()
            .map(|x| {
                sinter_process::normal::cumulative(mixture.transport(*x, &exploding(0.002), &exploding(1e6)) / 1e6)
            })
            .collect();
        uniform.sort_by(f64::total_cmp);
        let far = uniform.iter().enumerate().map(|(i, u)| (u - (i as f64 + 0.5) / n as f64).abs());
        let largest = far.fold(0.0, f64::max);
        // Kolmogorov's statistic: above 1.95 / sqrt(n) once in a thousand.
        assert!(largest < 1.95 / (n as f64).sqrt(), "{rhos:?}: {largest}");
    }
}

#[test]
fn noise_comes_back_fresh_or_as_it_was() {
    let path = Path::LinearFlow;
    let grid = Grid::Explicit(Explicit { variable: Variable::Time, values: vec![1.0, 0.5, 0.25] });
    let solver = |noise| Solver::Consistency(Consistency { noise, sigma_min: 0.0 });
    let plan = sampler(solver(AddedNoise::Initial), grid.clone(), 3).plan(&path).unwrap();
    assert!(plan.draws().is_empty());
    // Data that stay at 0.3: each state is alpha 0.3 + sigma z of the start's z.
    let mut reached = Vec::new();
    execute(
        &plan,
        vec![-1.4],
        1,
        |_, _| vec![0.3],
        |_| vec![],
        |event| {
            if let Event::Reached { state, level } = event {
                reached.push((state[0], level.alpha * 0.3 + level.sigma * -1.4));
            }
        },
    )
    .unwrap();
    assert!(reached.len() == 3 && reached.iter().all(|(found, expected)| (found - expected).abs() < 1e-15));
    let expected = "\
consistency: 2 steps, 2 evaluations, 3 registers
x = 80.000000 z at (alpha 1.000000, sigma 80.000000)
  r1 = data(x) at (alpha 1.000000, sigma 80.000000)
  r2 = noise 0
  x = 1.000000 r1 + 0.820998 r2
x reaches (alpha 1.000000, sigma 0.821000)
  r1 = data(x) at (alpha 1.000000, sigma 0.821000)
  x = 1.000000 r1
x reaches (alpha 1.000000, sigma 0.000000)
";
    let plan = named(AddedNoise::Fresh, 0.002, &[80.0, 0.821]).plan(&Path::Edm(Edm::default())).unwrap();
    assert_eq!(plan.to_string(), expected);
    assert!(Solver::Consistency(Consistency { sigma_min: -1.0, ..Default::default() }).validate().len() == 1);
}

#[test]
fn a_sampler_reads_back_from_its_text() {
    let text = r#"{"solver": {"type": "dpm_multistep", "order": 3}, "grid": {"type": "karras", "power": 5.0}, "steps": 12,
        "clipping": {"type": "clamp"}}"#;
    let sampler: Sampler = serde_json::from_str(text).unwrap();
    assert_eq!(sampler.clipping, Some(Clipping::Clamp(Clamp { limit: 1.0 })));
    assert_eq!(serde_json::from_str::<Sampler>(&serde_json::to_string(&sampler).unwrap()).unwrap(), sampler);
    let listed = Grid::Explicit(Explicit { variable: Variable::Rho, values: vec![2.0, 1.0] });
    assert_eq!(serde_json::from_str::<Grid>(&serde_json::to_string(&listed).unwrap()).unwrap(), listed);
    let unknown = r#"{"type": "ddim", "etta": 1.0}"#;
    assert!(serde_json::from_str::<Solver>(unknown).is_err());
}

#[test]
fn a_plan_prints_and_reads_back() {
    let grid = Grid::Explicit(Explicit { variable: Variable::Time, values: vec![1.0, 0.5, 0.0] });
    let mut sampler = sampler(Solver::Ddim(Ddim::default()), grid, 2);
    sampler.clipping = Some(Clipping::Clamp(Clamp::default()));
    let plan = sampler.plan(&Path::LinearFlow).unwrap();
    let expected = "\
ddim: 2 steps, 2 evaluations, 4 registers
x = 1.000000 z at (alpha 0.000000, sigma 1.000000)
  r1 = data(x) at (alpha 0.000000, sigma 1.000000)
  r3 = clamp(r1, 1)
  x = 0.500000 r3 + 0.500000 x
x reaches (alpha 0.500000, sigma 0.500000)
  r1 = data(x) at (alpha 0.500000, sigma 0.500000)
  r3 = clamp(r1, 1)
  x = 1.000000 r3
x reaches (alpha 1.000000, sigma 0.000000)
";
    assert_eq!(plan.to_string(), expected);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn what_is_wrong_is_said() {
    let path = Path::VpLinear(VpLinear::default());
    let mut wrong = sampler(Solver::Ddim(Ddim { eta: 2.0, ..Ddim::default() }), even(), 0);
    wrong.start_deviation = -1.0;
    let problems = wrong.plan(&path).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.clone()).collect();
    assert_eq!(keys, ["solver.eta", "steps", "start_deviation"]);
    // rho is infinite where there is no signal.
    assert!(sampler(Solver::Euler(Euler::default()), even(), 4).plan(&Path::LinearFlow).is_err());
    // EDM's path has no time at which states are data.
    let timed = Solver::Euler(Euler { clock: Clock::Time, ..Euler::default() });
    assert!(sampler(timed, even(), 4).plan(&Path::Edm(Edm::default())).is_err());
    assert!(sampler(timed, Grid::Indices(Indices::default()), 4).plan(&path).is_err());
    let mut plan = sampler(Solver::Ddim(Ddim::default()), even(), 2).plan(&path).unwrap();
    plan.operations.insert(0, Operation::Combine { output: Register(1), terms: vec![(1.0, Register(2))] });
    assert_eq!(plan.validate().len(), 1);
    let evaluate = |states: &[f64], _: Level| states.to_vec();
    assert!(matches!(execute(&plan, vec![0.0], 1, evaluate, |_| vec![], |_| {}), Err(ExecuteError::Plan(_))));
}

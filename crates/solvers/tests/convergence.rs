//! Orders of convergence, measured on a density whose denoiser is exact.
//!
//! A mixture of three Gaussians on the line, the VP path with linear beta from t = 1 to t = 0.05, starts from standard
//! normal numbers, grids even in lambda. The reference is a Runge-Kutta solution of many small steps.

#![allow(clippy::unwrap_used)]

use sinter_process::mixture::Mixture;
use sinter_process::path::VpLinear;
use sinter_process::random::{Key, Stream};
use sinter_process::{Path, PathPoint};
use sinter_solvers::host::execute;
use sinter_solvers::{
    Churn, Clock, Ddim, DpmMultistep, End, Euler, Grid, Heun, Level, Plan, Quantity, Rule, Solver, UniformLambda,
    compile,
};

/// Measured and stated orders agree to this.
const TOLERANCE: f64 = 0.15;

const LAST_TIME: f64 = 0.05;

/// A path, 64 starts, and where the exact equation takes them.
struct Rig {
    path: Path,
    mixture: Mixture,
    starts: Vec<f64>,
    ends: Vec<f64>,
}

impl Rig {
    fn new() -> Self {
        let (path, mixture) = (Path::VpLinear(VpLinear::default()), Mixture::three_bumps());
        let mut starts = vec![0.0; 64];
        Key::new(1, Stream::SAMPLE_NOISE).at(0).fill_normal_f64(&mut starts);
        let mut rig = Self { path, mixture, starts, ends: Vec::new() };
        rig.ends = rig.starts.iter().map(|start| rig.exact(*start)).collect();
        rig
    }

    /// Expected data of one number at a level.
    fn data(&self, x: f64, level: Level) -> f64 {
        self.mixture.denoise(&[x], level.alpha, level.sigma).data[0]
    }

    /// The classical Runge-Kutta rule in lambda for `dz/dlambda = e^lambda x0` with `z = x / sigma`.
    fn exact(&self, start: f64) -> f64 {
        let steps = 4000;
        let level = |lambda: f64| -> Level { (&self.path.at(self.path.time_of_lambda(lambda))).into() };
        let (from, to) = (self.path.at(1.0).lambda(), self.path.at(LAST_TIME).lambda());
        let h = (to - from) / f64::from(steps);
        let slope = |lambda: f64, level: Level, z: f64| lambda.exp() * self.data(z * level.sigma, level);
        let mut z = start / level(from).sigma;
        for step in 0..steps {
            let [start, middle, end] = [0.0, 0.5, 1.0].map(|part| from + (f64::from(step) + part) * h);
            let between = level(middle);
            let first = slope(start, level(start), z);
            let second = slope(middle, between, z + h / 2.0 * first);
            let third = slope(middle, between, z + h / 2.0 * second);
            let fourth = slope(end, level(end), z + h * third);
            z += h / 6.0 * (first + 2.0 * second + 2.0 * third + fourth);
        }
        z * level(to).sigma
    }

    fn points(&self, steps: usize) -> Vec<PathPoint> {
        let (minimum, maximum) = (Some(self.path.at(LAST_TIME).rho()), Some(self.path.at(1.0).rho()));
        let grid = Grid::UniformLambda(UniformLambda { power: 1.0, minimum, maximum });
        grid.points(&self.path, steps, End::Lowest).unwrap()
    }

    /// Root mean square error after so many steps.
    fn error(&self, solver: &Solver, steps: usize) -> f64 {
        let points = self.points(steps);
        let plan: Plan = compile(solver, &points).unwrap();
        // Solvers in rho run on x / alpha.
        let (first, last) = (points[0].alpha / plan.start.alpha, points[steps].alpha / plan.levels()[steps].alpha);
        let starts = self.starts.iter().map(|start| start / first).collect();
        let evaluate = |states: &[f64], level: Level| states.iter().map(|x| self.data(*x, level)).collect();
        let ends = execute(&plan, starts, 1, evaluate, |_| Vec::new(), |_| {}).unwrap();
        let squares = ends.iter().zip(&self.ends).map(|(end, exact)| (end * last - exact).powi(2));
        (squares.sum::<f64>() / self.ends.len() as f64).sqrt()
    }
}

#[test]
fn every_deterministic_solver_has_its_order() {
    let rig = Rig::new();
    let euler = |clock| Solver::Euler(Euler { clock, churn: Churn::default() });
    let heun = |clock| Solver::Heun(Heun { clock, churn: Churn::default() });
    let dpm = |order, quantity, rule| DpmMultistep { order, quantity, rule, ..DpmMultistep::default() };
    let multistep = |order, quantity, rule| Solver::DpmMultistep(dpm(order, quantity, rule));
    let exact_third = |quantity| {
        Solver::DpmMultistep(DpmMultistep { exact_second_difference: true, ..dpm(3, quantity, Rule::Midpoint) })
    };
    let solvers = [
        ("Euler in rho", euler(Clock::Rho), 1.0),
        ("Euler in time", euler(Clock::Time), 1.0),
        ("Heun in rho", heun(Clock::Rho), 2.0),
        ("Heun in time", heun(Clock::Time), 2.0),
        ("DDIM", Solver::Ddim(Ddim::default()), 1.0),
        ("DPM-Solver-1", multistep(1, Quantity::Noise, Rule::Midpoint), 1.0),
        ("DPM-Solver-2M, midpoint", multistep(2, Quantity::Noise, Rule::Midpoint), 2.0),
        ("DPM-Solver-2M, Taylor", multistep(2, Quantity::Noise, Rule::Taylor), 2.0),
        ("DPM-Solver++ 1", multistep(1, Quantity::Data, Rule::Midpoint), 1.0),
        ("DPM-Solver++ 2M, midpoint", multistep(2, Quantity::Data, Rule::Midpoint), 2.0),
        ("DPM-Solver++ 2M, Taylor", multistep(2, Quantity::Data, Rule::Taylor), 2.0),
        ("DPM-Solver++ 3M as published", multistep(3, Quantity::Data, Rule::Midpoint), 2.0),
        ("DPM-Solver++ 3M, exact", exact_third(Quantity::Data), 3.0),
    ];
    let mut wrong = Vec::new();
    for (name, solver, order) in solvers {
        let (coarse, fine) = (rig.error(&solver, 160), rig.error(&solver, 640));
        let measured = (coarse / fine).log2() / 2.0;
        println!("{name}: {:.1e} in 40 steps, {fine:.1e} in 640, order {measured:.2}", rig.error(&solver, 40));
        if (measured - order).abs() > TOLERANCE {
            wrong.push(format!("{name}: order {measured:.2}, not {order}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

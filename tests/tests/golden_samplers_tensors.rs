//! Every run of the files `samplers*` once more, on 32-bit tensors: the executor that samples from networks carries out
//! the same plans from the same start and noise.

use std::cell::RefCell;
use std::process::ExitCode;
use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use sinter_models::Condition;
use sinter_process::{Parameterization, Path, PathPoint, Prediction};
use sinter_sampling::{Denoiser, execute};
use sinter_solvers::Level;
use sinter_tests::golden::{self, Case, Errors, File, Tolerance};
use sinter_tests::samplers::{self, Built, Record, Run};

/// How far a state may lie from the reference's, relative to the state's largest number. Each of a run's up to some
/// hundred operations rounds to 6e-8 of its result. Combinations of past evaluations multiply that by up to ten, and so
/// does the exact denoiser where a state lies between two components of the mixture: 8e-6 was measured.
const F32: Tolerance = Tolerance::Relative(2e-5);

/// What the reference may move, relative to its largest number, when its schedule is rounded to 32 bits. Beyond, the
/// run itself diverges, and says nothing of an executor.
const STABLE: f64 = 1e-4;

fn main() -> ExitCode {
    golden::run("golden_samplers_tensors", &["samplers"], cases)
}

fn cases(file: &Arc<File>) -> Vec<Case> {
    let case = |(name, built): (String, Result<Built, String>)| match built {
        Err(reason) => Some(Case::failed(name, reason)),
        Ok(Built::Pending(reason)) => Some(Case::pending(name, reason)),
        // Tables need no executor.
        Ok(Built::Values(_)) => None,
        Ok(Built::Run(run)) if diverges(&run) => {
            Some(Case::pending(name, "diverges: not to be compared in 32-bit floats"))
        }
        Ok(Built::Run(run)) => Some(Case::new(name, move |errors| compare(&run, errors))),
    };
    samplers::runs(file).into_iter().filter_map(case).collect()
}

/// Whether the reference says so: rounding its schedule moves it too far.
fn diverges(run: &Run) -> bool {
    let largest = run.states.iter().flat_map(|states| &states.values).fold(0.0f64, |m, value| m.max(value.abs()));
    run.float32_difference.is_some_and(|difference| difference > STABLE * largest)
}

/// Holds the executor to every state of the file.
fn compare(run: &Run, errors: &mut Errors) -> Result<(), String> {
    let record = on_tensors(run)?;
    let size = run.start.len();
    for states in &run.states {
        let ours = run.recorded(&record, states.which);
        if ours.len() != states.values.len() {
            return Err(format!("{:?}: {} numbers and not {}", states.which, ours.len(), states.values.len()));
        }
        for (number, (ours, reference)) in ours.chunks(size).zip(states.values.chunks(size)).enumerate() {
            errors.compare(&format!("{:?} {number}", states.which), ours, reference, F32)?;
        }
    }
    Ok(())
}

/// Carries the run out on tensors.
fn on_tensors(run: &Run) -> Result<Record, String> {
    let parameterization = Parameterization {
        path: Path::LinearFlow,
        prediction: Prediction::Data,
        input_scale: Default::default(),
        time_label: Default::default(),
    };
    let exact = Exact { run, parameterization, record: RefCell::default() };
    let mut missing = None;
    let noise = |draw: usize| match run.noise.get(&draw) {
        Some(noise) => images(noise, run),
        None => {
            missing = Some(draw);
            images(&run.start, run)
        }
    };
    let observe = |state: &Tensor<4>, _: Level| exact.record.borrow_mut().reached.push(numbers(state));
    let last = execute(&run.plan, images(&run.start, run), &exact, &Condition::none(), noise, observe);
    let last = last.map_err(|error| error.to_string())?;
    if let Some(draw) = missing {
        return Err(format!("the file has no noise number {draw}"));
    }
    Ok(Record { last: numbers(&last), ..exact.record.into_inner() })
}

/// The exact denoiser of a run's density, which keeps the states that it is asked at.
struct Exact<'a> {
    run: &'a Run,
    parameterization: Parameterization,
    record: RefCell<Record>,
}

impl Denoiser for Exact<'_> {
    fn parameterization(&self) -> &Parameterization {
        &self.parameterization
    }

    fn output(&self, x: Tensor<4>, point: &PathPoint, condition: &Condition) -> Tensor<4> {
        self.data(x, point.alpha, point.sigma, condition)
    }

    fn data(&self, x: Tensor<4>, alpha: f64, sigma: f64, _: &Condition) -> Tensor<4> {
        let states = numbers(&x);
        let data = self.run.denoise(&states, Level { alpha, sigma });
        let mut record = self.record.borrow_mut();
        let step = record.reached.len();
        record.asked.push((step, states));
        images(&data, self.run)
    }
}

/// States `[b, d]` as images of one pixel in 32-bit floats, `[b, d, 1, 1]`.
fn images(states: &[f64], run: &Run) -> Tensor<4> {
    let d = run.mixture.dimension();
    let data = TensorData::new(states.to_vec(), [states.len() / d, d, 1, 1]);
    Tensor::from_data(data, (&Device::flex(), DType::F32))
}

fn numbers(images: &Tensor<4>) -> Vec<f64> {
    images.to_data().iter::<f64>().collect()
}

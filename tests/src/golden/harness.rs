//! Cases, their tolerances, and the report at the end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::file::{File, folder};

/// How far a result may lie from its reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Absolute difference.
    Absolute(f64),
    /// Difference relative to the reference tensor's largest absolute (finite) value.
    Relative(f64),
}

/// The largest error that a case met, kept even when the case fails.
#[derive(Debug, Default)]
pub struct Errors {
    largest: f64,
}

impl Errors {
    /// Compares one tensor with its reference. Infinities must agree in place and sign; a NaN on either side fails.
    /// The error says where the largest difference is.
    pub fn compare(&mut self, what: &str, ours: &[f64], reference: &[f64], tolerance: Tolerance) -> Result<(), String> {
        if ours.len() != reference.len() {
            return Err(format!("{what}: {} values, the reference has {}", ours.len(), reference.len()));
        }
        let (scale, bound) = match tolerance {
            Tolerance::Absolute(bound) => (1.0, bound),
            Tolerance::Relative(bound) => {
                let largest = reference.iter().filter(|r| r.is_finite()).fold(0.0f64, |m, r| m.max(r.abs()));
                (if largest > 0.0 { largest } else { 1.0 }, bound)
            }
        };
        let mut worst = (0, 0.0f64);
        for (index, (o, r)) in ours.iter().zip(reference).enumerate() {
            let difference = if o == r { 0.0 } else { (o - r).abs() / scale };
            if difference.is_nan() || difference > worst.1 {
                worst = (index, if difference.is_nan() { f64::INFINITY } else { difference });
            }
        }
        let (index, error) = worst;
        self.largest = self.largest.max(error);
        if error <= bound {
            return Ok(());
        }
        Err(format!("{what}[{index}]: {} and not {}, error {error:.3e} > {bound:.0e}", ours[index], reference[index]))
    }
}

type Check = Box<dyn FnOnce(&mut Errors) -> Result<(), String> + Send>;

/// One thing to hold to its reference.
pub struct Case {
    name: String,
    check: Result<Check, String>,
}

impl Case {
    /// A case that runs `check`.
    pub fn new(
        name: impl Into<String>,
        check: impl FnOnce(&mut Errors) -> Result<(), String> + Send + 'static,
    ) -> Self {
        Self { name: name.into(), check: Ok(Box::new(check)) }
    }

    /// A case whose class or feature is still to come; `reason` names it.
    pub fn pending(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), check: Err(reason.into()) }
    }

    /// A case that cannot be built, and therefore fails.
    pub fn failed(name: impl Into<String>, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::new(name, move |_| Err(reason))
    }
}

/// What a golden test counted: all cases, those of them that are pending, and the largest error of the others.
#[derive(Debug, Default)]
pub struct Report {
    cases: usize,
    pending: usize,
    largest_error: f64,
}

impl Report {
    /// Counts a case that was compared, with its largest error.
    pub fn case(&mut self, error: f64) {
        self.cases += 1;
        self.largest_error = self.largest_error.max(error);
    }

    /// Counts a case that is still to come.
    pub fn pending(&mut self) {
        self.cases += 1;
        self.pending += 1;
    }

    /// The last line of a golden test.
    pub fn line(&self, name: &str) -> String {
        format!("{name}: {} cases, {} pending, largest error {:.1e}", self.cases, self.pending, self.largest_error)
    }
}

/// Runs one golden test: every file of the folder whose name starts with one of `prefixes` becomes cases through
/// `cases`; the command line is that of Rust's own test harness. Prints [`Report::line`] last.
pub fn run(name: &str, prefixes: &[&str], cases: impl Fn(&Arc<File>) -> Vec<Case>) -> ExitCode {
    let arguments = Arguments::from_args();
    let Some(folder) = folder() else {
        return libtest_mimic::run(&arguments, vec![ignored(format!("{name}::folder"), "the folder is missing")])
            .exit_code();
    };
    let report = Arc::new(Mutex::new(Report::default()));
    let mut trials = Vec::new();
    match files(&folder, prefixes) {
        Err(error) => trials.push(trial(name, "folder", Case::failed("read", error.to_string()), &report)),
        Ok(paths) if paths.is_empty() => trials.push(ignored(format!("{name}::folder"), "no file of this kind")),
        Ok(paths) => {
            for path in paths {
                match File::open(&path) {
                    Err(error) => trials.push(trial(name, "file", Case::failed("open", error.to_string()), &report)),
                    Ok(file) => {
                        let file = Arc::new(file);
                        trials.extend(cases(&file).into_iter().map(|case| trial(name, &file.name(), case, &report)));
                    }
                }
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Another test's name on the command line filters all of ours out: then the last line is the other test's.
    if conclusion.num_passed + conclusion.num_failed + conclusion.num_ignored > 0 {
        println!("{}", report.lock().unwrap_or_else(PoisonError::into_inner).line(name));
    }
    conclusion.exit_code()
}

fn files(folder: &Path, prefixes: &[&str]) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") && prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn trial(test: &str, file: &str, case: Case, report: &Arc<Mutex<Report>>) -> Trial {
    let name = format!("{test}::{file}::{}", case.name);
    let report = Arc::clone(report);
    let lock = move |change: &dyn Fn(&mut Report)| change(&mut report.lock().unwrap_or_else(PoisonError::into_inner));
    match case.check {
        Err(reason) => {
            lock(&Report::pending);
            ignored(name, reason).with_kind("pending")
        }
        Ok(check) => Trial::test(name, move || {
            let mut errors = Errors::default();
            let outcome = check(&mut errors);
            lock(&|report| report.case(errors.largest));
            outcome.map_err(Failed::from)
        }),
    }
}

fn ignored(name: String, reason: impl Into<String>) -> Trial {
    let reason = reason.into();
    Trial::ignorable_test(name, || Ok(Completion::ignored_with(reason)))
}

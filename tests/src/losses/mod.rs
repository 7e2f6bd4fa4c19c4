//! Golden losses: every tensor of a file is told by the fields of its key, and held to what the objective that trains
//! makes of the file's images when its network is replaced by the file's outputs.

mod batch;
mod consistency;
mod ddpm;
mod edm;
mod flow;
mod others;

use std::sync::Arc;

use crate::golden::{self, Case, Errors, File, Tolerance};

/// What a tensor of a file is to us.
enum Meaning {
    /// Something that other tensors follow from.
    Input,
    /// A class or feature that is still to come.
    Pending(&'static str),
    /// Something that we compute, too.
    Ours(Ours),
}

/// Works out our numbers from a file.
type Numbers = Box<dyn FnOnce(&File) -> Result<Vec<f64>, String> + Send>;

/// Our numbers for a tensor of a file, and how far they may lie from it.
struct Ours {
    numbers: Numbers,
    scale: Scale,
    tolerance: f64,
}

/// What differences are relative to.
enum Scale {
    /// Each number itself: for numbers that nothing is subtracted in, whose sizes may be far apart.
    Each,
    /// The tensor's largest number.
    Largest,
}

impl Meaning {
    /// Numbers compared one by one.
    fn each(tolerance: f64, numbers: impl FnOnce(&File) -> Result<Vec<f64>, String> + Send + 'static) -> Self {
        Self::Ours(Ours { numbers: Box::new(numbers), scale: Scale::Each, tolerance })
    }

    /// Numbers compared as one tensor.
    fn tensor(tolerance: f64, numbers: impl FnOnce(&File) -> Result<Vec<f64>, String> + Send + 'static) -> Self {
        Self::Ours(Ours { numbers: Box::new(numbers), scale: Scale::Largest, tolerance })
    }
}

/// Every tensor of a file, but those that others follow from, as a case.
pub fn cases(file: &Arc<File>) -> Vec<Case> {
    file.keys().into_iter().filter_map(|key| case(file, key)).collect()
}

fn case(file: &Arc<File>, key: String) -> Option<Case> {
    let fields = golden::fields(&key);
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let families = [ddpm::meaning, edm::meaning, flow::meaning, consistency::meaning, others::meaning];
    Some(match families.iter().find_map(|meaning| meaning(&fields)) {
        None => Case::failed(key, "the key's fields are not understood"),
        Some(Meaning::Input) => return None,
        Some(Meaning::Pending(reason)) => Case::pending(key, reason),
        Some(Meaning::Ours(ours)) => {
            let file = Arc::clone(file);
            Case::new(key.clone(), move |errors| compare(&file, &key, ours, errors))
        }
    })
}

fn compare(file: &File, key: &str, ours: Ours, errors: &mut Errors) -> Result<(), String> {
    let reference = file.values(key).map_err(|error| error.to_string())?;
    let numbers = (ours.numbers)(file)?;
    match ours.scale {
        Scale::Each if numbers.len() == reference.len() => {
            let ratios = numbers.iter().zip(&reference).map(|(ours, reference)| ours / reference);
            let ones = vec![1.0; reference.len()];
            errors.compare(key, &ratios.collect::<Vec<_>>(), &ones, Tolerance::Absolute(ours.tolerance))
        }
        _ => errors.compare(key, &numbers, &reference, Tolerance::Relative(ours.tolerance)),
    }
}

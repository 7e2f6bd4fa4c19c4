//! Golden reinforcement learning: every tensor of a file is told by the fields of its key, and held to what the code that
//! tunes to rewards makes of the file's other tensors.

mod advantages;
mod divergences;
mod losses;
mod steps;

use std::sync::Arc;

use crate::golden::{self, Case, Errors, File, Tolerance};

/// The golden README's bound.
const TOLERANCE: Tolerance = Tolerance::Relative(1e-10);

/// What a tensor of a file is to us.
enum Meaning {
    /// Something that other tensors follow from.
    Input,
    /// Something that we compute, too.
    Ours(Numbers),
}

/// Works out our numbers from a file.
type Numbers = Box<dyn FnOnce(&File) -> Result<Vec<f64>, String> + Send>;

impl Meaning {
    fn ours(numbers: impl FnOnce(&File) -> Result<Vec<f64>, String> + Send + 'static) -> Option<Self> {
        Some(Self::Ours(Box::new(numbers)))
    }
}

/// Every tensor of a file, but those that others follow from, as a case.
pub fn cases(file: &Arc<File>) -> Vec<Case> {
    file.keys().into_iter().filter_map(|key| case(file, key)).collect()
}

fn case(file: &Arc<File>, key: String) -> Option<Case> {
    let fields = golden::fields(&key);
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let families = [steps::meaning, advantages::meaning, losses::meaning, divergences::meaning];
    Some(match families.iter().find_map(|meaning| meaning(&fields)) {
        None => Case::failed(key, "the key's fields are not understood"),
        Some(Meaning::Input) => return None,
        Some(Meaning::Ours(numbers)) => {
            let file = Arc::clone(file);
            Case::new(key.clone(), move |errors: &mut Errors| {
                let reference = read(&file, &key)?;
                errors.compare(&key, &numbers(&file)?, &reference, TOLERANCE)
            })
        }
    })
}

/// The numbers of a tensor of the file.
fn read(file: &File, key: &str) -> Result<Vec<f64>, String> {
    file.values(key).map_err(|error| error.to_string())
}

/// The only number of a tensor of the file.
fn scalar(file: &File, key: &str) -> Result<f64, String> {
    match read(file, key)?[..] {
        [value] => Ok(value),
        ref values => Err(format!("{key}: {} numbers, not one", values.len())),
    }
}

/// A tensor of the file cut into its samples, and how many there are.
fn samples(file: &File, key: &str) -> Result<Vec<Vec<f64>>, String> {
    let (shape, values) = file.tensor(key).map_err(|error| error.to_string())?;
    let size = shape.iter().skip(1).product::<usize>().max(1);
    Ok(values.chunks(size).map(<[f64]>::to_vec).collect())
}

/// A number that the reference may have put into 32 bits before it wrote it in 64: then ours is rounded likewise.
fn as_stored(ours: f64, reference: f64) -> f64 {
    if f64::from(reference as f32) == reference { f64::from(ours as f32) } else { ours }
}

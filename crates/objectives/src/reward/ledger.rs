//! What a run has spent, and what it remembers of its prompts: a part without weights, so that a resumed run goes on
//! counting and remembering.

use sinter_models::parameters::{Array, Arrays};
use sinter_optimization::{OptimizationError, Part, Tensors};

use super::memory::PromptMemory;

/// Name of the part.
const NAME: &str = "ledger";
const EVALUATIONS: &str = "evaluations";
const REWARDS: &str = "rewards";
const MEMORY: &str = "memory/";

/// Counts and remembered rewards.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ledger {
    /// Images taken through a network so far, once for each time and each branch of guidance.
    pub(super) evaluations: u64,
    /// Images scored so far, once for each reward.
    pub(super) rewards: u64,
    /// Rewards by prompt.
    pub(super) memory: PromptMemory,
}

/// A count as four numbers below 2^16: a checkpoint keeps 32-bit floats, which hold them exactly.
fn digits(count: u64) -> Array {
    Array { shape: vec![4], values: (0..4).map(|place| ((count >> (16 * place)) & 0xFFFF) as f32).collect() }
}

fn count(array: &Array) -> Option<u64> {
    let fits = |value: &f32| value.fract() == 0.0 && (0.0..65536.0).contains(value);
    (array.values.len() == 4 && array.values.iter().all(fits))
        .then(|| array.values.iter().enumerate().map(|(place, value)| (*value as u64) << (16 * place)).sum())
}

fn refused(message: String) -> OptimizationError {
    OptimizationError::State { owner: format!("part `{NAME}`"), message }
}

impl Part for Ledger {
    fn name(&self) -> &str {
        NAME
    }

    fn tensors(&self) -> Tensors {
        Tensors::new()
    }

    fn parameters(&self) -> Result<Arrays, OptimizationError> {
        let mut arrays = Arrays::from([
            (EVALUATIONS.to_owned(), digits(self.evaluations)),
            (REWARDS.to_owned(), digits(self.rewards)),
        ]);
        for (reward, prompt, values) in self.memory.entries() {
            arrays.insert(format!("{MEMORY}{reward}/{prompt}"), Array { shape: vec![values.len()], values });
        }
        Ok(arrays)
    }

    /// Nothing at all is an empty ledger: what a run that starts from another's weights has.
    fn load_parameters(&mut self, arrays: Arrays) -> Result<(), OptimizationError> {
        let mut loaded = Self::default();
        for (name, array) in arrays {
            let number = || count(&array).ok_or_else(|| refused(format!("`{name}` is no count")));
            match name.strip_prefix(MEMORY).and_then(|rest| rest.split_once('/')) {
                Some((reward, prompt)) => loaded.memory.insert(reward, prompt, array.values),
                None if name == EVALUATIONS => loaded.evaluations = number()?,
                None if name == REWARDS => loaded.rewards = number()?,
                None => return Err(refused(format!("unknown: `{name}`"))),
            }
        }
        *self = loaded;
        Ok(())
    }

    fn state(&self) -> Arrays {
        Arrays::new()
    }

    fn updates(&self) -> u64 {
        0
    }

    fn load_state(&mut self, arrays: &Arrays, _: u64) -> Result<(), OptimizationError> {
        match arrays.keys().next() {
            Some(name) => Err(refused(format!("unknown: `{name}`"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_from_what_it_writes() {
        let mut ledger = Ledger { evaluations: (1 << 40) + 12_345, rewards: u64::MAX, ..Ledger::default() };
        ledger.memory.insert("mine", "a red circle / a star", vec![0.1, -3.0]);
        let mut other = Ledger { rewards: 3, ..Ledger::default() };
        other.load_parameters(ledger.parameters().unwrap()).unwrap();
        assert_eq!(other, ledger);
        other.load_parameters(Arrays::new()).unwrap();
        assert_eq!(other, Ledger::default());
        let wrong = Arrays::from([(EVALUATIONS.to_owned(), Array { shape: vec![1], values: vec![0.5] })]);
        assert!(other.load_parameters(wrong).is_err());
        assert!(other.load_parameters(Arrays::from([("weight".to_owned(), Array::default())])).is_err());
        assert!(other.load_state(&Arrays::new(), 0).is_ok());
    }
}

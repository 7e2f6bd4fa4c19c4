//! How often a sample is what was asked for: a classifier's answers by class, a detector's answers by property.

use serde::Serialize;

use crate::{MetricError, Proportion};

/// Counts of answers by the class that was asked for and the class that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Confusion {
    classes: usize,
    /// `[asked, found]`, row-major.
    counts: Vec<u64>,
}

impl Confusion {
    /// No answers yet, over classes `0..classes`.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Counts one answer.
    ///
    /// # Errors
    /// A class that is not there.
    pub fn record(&mut self, asked: u32, found: u32) -> Result<(), MetricError> {
        for class in [asked, found] {
            if class as usize >= self.classes {
                let value = f64::from(class);
                return Err(MetricError::Range { what: "a class", value, range: "below the number of classes" });
            }
        }
        self.counts[asked as usize * self.classes + found as usize] += 1;
        Ok(())
    }

    /// How often `found` was answered where `asked` was asked for; 0 for classes that are not there.
    pub fn count(&self, asked: u32, found: u32) -> u64 {
        let (asked, found) = (asked as usize, found as usize);
        if asked.max(found) >= self.classes {
            return 0;
        }
        self.counts[asked * self.classes + found]
    }

    /// The share of right answers.
    pub fn accuracy(&self) -> Proportion {
        let right = self.counts.iter().step_by(self.classes + 1).sum();
        Proportion { successes: right, total: self.counts.iter().sum() }
    }

    /// The share of right answers by the class that was asked for.
    pub fn by_class(&self) -> Vec<Proportion> {
        let rows = self.counts.chunks_exact(self.classes.max(1)).enumerate();
        rows.map(|(class, row)| Proportion { successes: row[class], total: row.iter().sum() }).collect()
    }
}

/// Properties of samples that were checked, each on its own and all together: "the shape is right", "the colour is".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checks {
    each: Vec<(String, Proportion)>,
    all: Proportion,
}

impl Checks {
    /// No samples yet, with the names of the properties.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let each = names.into_iter().map(|name| (name.into(), Proportion::default())).collect();
        Self { each, all: Proportion::default() }
    }

    /// Counts one sample, with an answer a property in the order of the names.
    ///
    /// # Errors
    /// Another number of answers than properties.
    pub fn record(&mut self, answers: &[bool]) -> Result<(), MetricError> {
        if answers.len() != self.each.len() {
            return Err(MetricError::Size { what: "answers", found: answers.len(), expected: self.each.len() });
        }
        for ((_, proportion), &answer) in self.each.iter_mut().zip(answers) {
            proportion.record(answer);
        }
        self.all.record(answers.iter().all(|&answer| answer));
        Ok(())
    }

    /// The share of samples that have each property, by name.
    pub fn each(&self) -> impl Iterator<Item = (&str, Proportion)> {
        self.each.iter().map(|(name, proportion)| (name.as_str(), *proportion))
    }

    /// The share of samples that have all properties.
    pub fn all(&self) -> Proportion {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_class() {
        let mut confusion = Confusion::new(3);
        for (asked, found) in [(0, 0), (0, 0), (0, 2), (1, 1), (1, 0)] {
            confusion.record(asked, found).unwrap();
        }
        assert_eq!(confusion.accuracy(), Proportion { successes: 3, total: 5 });
        let by_class: Vec<_> = confusion.by_class().iter().map(|p| (p.successes, p.total)).collect();
        assert_eq!(by_class, [(2, 3), (1, 2), (0, 0)]);
        assert_eq!((confusion.count(0, 2), confusion.count(2, 0), confusion.count(7, 0)), (1, 0, 0));
        assert!(matches!(confusion.record(0, 3), Err(MetricError::Range { .. })));
    }

    #[test]
    fn all_means_all_of_one_sample() {
        let mut checks = Checks::new(["shape", "colour"]);
        for answers in [[true, true], [true, false], [false, true], [false, false]] {
            checks.record(&answers).unwrap();
        }
        let half = Proportion { successes: 2, total: 4 };
        assert_eq!(checks.each().collect::<Vec<_>>(), [("shape", half), ("colour", half)]);
        assert_eq!(checks.all(), Proportion { successes: 1, total: 4 });
        assert!(matches!(checks.record(&[true]), Err(MetricError::Size { .. })));
    }
}

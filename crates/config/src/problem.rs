use std::fmt;

/// One thing that is wrong in a configuration: where, what, and if known how to put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key, such as `model.patch_size` or `data.sources[2].path`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What would put it right, such as the nearest known name.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(formatter, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Every problem found in one pass, so that the user mends them all at once.
///
/// A component's `validate` reports keys relative to itself; whoever holds the component prefixes them with [`nest`].
///
/// ```
/// use sinter_config::Problems;
///
/// let mut model = Problems::new();
/// model.check(false, "patch_size", "must divide the image size");
/// let mut all = Problems::new();
/// all.nest("model", model);
/// assert_eq!(all.to_string(), "model.patch_size: must divide the image size");
/// ```
///
/// [`nest`]: Problems::nest
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// No problem yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a problem at `key`.
    pub fn push(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { key: key.into(), message: message.into(), help: None });
    }

    /// Adds a problem at `key` with a way to put it right.
    pub fn push_help(&mut self, key: impl Into<String>, message: impl Into<String>, help: impl Into<String>) {
        self.0.push(Problem { key: key.into(), message: message.into(), help: Some(help.into()) });
    }

    /// Adds a problem at `key` unless `holds`.
    pub fn check(&mut self, holds: bool, key: impl Into<String>, message: impl Into<String>) {
        if !holds {
            self.push(key, message);
        }
    }

    /// Takes over the problems of a part that stands at `prefix`: `key` becomes `prefix.key`, and `[0].key` becomes
    /// `prefix[0].key`.
    pub fn nest(&mut self, prefix: &str, problems: Problems) {
        self.0.extend(problems.0.into_iter().map(|problem| Problem { key: join(prefix, &problem.key), ..problem }));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many things are wrong.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// The problems, in the order in which they were found.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

impl fmt::Display for Problems {
    /// One problem a line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        self.0.extend(problems);
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// `prefix.key`, without a dot beside an empty part or before an index.
fn join(prefix: &str, key: &str) -> String {
    match (prefix.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => prefix.to_owned(),
        _ if key.starts_with('[') => format!("{prefix}{key}"),
        _ => format!("{prefix}.{key}"),
    }
}

/// The candidate that `name` was most likely meant to be, if any is near: by edit distance with transpositions, or a
/// candidate that `name` begins or that begins `name`. Ties go to the earlier candidate.
///
/// ```
/// use sinter_config::nearest;
///
/// assert_eq!(nearest("lerning_rate", ["batch", "learning_rate"]), Some("learning_rate"));
/// assert_eq!(nearest("warmup", ["batch", "learning_rate"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Three letters in five in place: below that a suggestion misleads more often than it helps.
    const ENOUGH: f64 = 0.6;
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let name = plain(name);
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let other = plain(candidate);
        let mut near = strsim::normalized_damerau_levenshtein(&name, &other);
        let shorter = name.len().min(other.len());
        if shorter >= 3 && (other.starts_with(&name) || name.starts_with(&other)) {
            near = near.max(ENOUGH);
        }
        if near >= ENOUGH && best.is_none_or(|(most, _)| near > most) {
            best = Some((near, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nests_keys() {
        let mut inner = Problems::new();
        inner.push("sigma_min", "must be positive");
        inner.push("[1].path", "is empty");
        inner.push_help("", "is odd", "try another");
        let mut outer = Problems::new();
        outer.check(true, "fine", "is not said");
        outer.nest("objective.path", inner);
        let keys: Vec<&str> = outer.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["objective.path.sigma_min", "objective.path[1].path", "objective.path"]);
        assert_eq!(outer.to_string().lines().last(), Some("objective.path: is odd (try another)"));
        assert_eq!((outer.len(), outer.is_empty()), (3, false));
    }

    #[test]
    fn finds_the_nearest_name() {
        let names = ["batch", "images", "half_life", "sigma_min", "sigma_max"];
        assert_eq!(nearest("bacth", names), Some("batch"));
        assert_eq!(nearest("half-life", names), Some("half_life"));
        assert_eq!(nearest("half", names), Some("half_life"));
        assert_eq!(nearest("sigma_mx", names), Some("sigma_max"));
        assert_eq!(nearest("epochs", names), None);
        assert_eq!(nearest("", names), None);
    }
}

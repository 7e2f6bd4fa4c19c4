use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::{Problem, Problems};

/// A text that configuration was read from: a file, or one override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's path as the user would write it, or `--set`.
    pub name: String,
    /// The whole text; spans of [`Origin`] count its bytes.
    pub text: String,
}

/// The place where a value was written.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file or override.
    pub source: Arc<Source>,
    /// Line in the source, from 1.
    pub line: usize,
    /// Bytes of the source's text.
    pub span: Range<usize>,
}

impl Origin {
    pub(crate) fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let length = source.text.len();
        let span = span.start.min(length)..span.end.min(length);
        let line = 1 + source.text.as_bytes()[..span.start].iter().filter(|&&byte| byte == b'\n').count();
        Self { source: Arc::clone(source), line, span }
    }
}

impl fmt::Display for Origin {
    /// `configs/run.toml:12`, or `--set model.depth=12`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.name == OVERRIDE {
            write!(formatter, "{OVERRIDE} {}", self.source.text)
        } else {
            write!(formatter, "{}:{}", self.source.name, self.line)
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self} {:?}", self.span)
    }
}

/// Name of the source of an override.
pub(crate) const OVERRIDE: &str = "--set";

/// A problem with the place in a file or override that it concerns, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// What is wrong.
    pub problem: Problem,
    /// Where it was written; none for what no source says.
    pub origin: Option<Origin>,
}

impl fmt::Display for Located {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(formatter, "{origin}: {}", self.problem),
            None => self.problem.fmt(formatter),
        }
    }
}

/// A configuration that cannot be used: everything that is wrong with it, each with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one problem, in the order of the merged configuration.
    pub problems: Vec<Located>,
}

impl ConfigError {
    pub(crate) fn one(key: impl Into<String>, message: impl Into<String>, origin: Option<Origin>) -> Self {
        let problem = Problem { key: key.into(), message: message.into(), help: None };
        Self { problems: vec![Located { problem, origin }] }
    }
}

impl fmt::Display for ConfigError {
    /// One problem a line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl From<Problems> for ConfigError {
    /// Problems of a configuration that was not read from a text.
    fn from(problems: Problems) -> Self {
        let problems = problems.into_vec().into_iter().map(|problem| Located { problem, origin: None });
        Self { problems: problems.collect() }
    }
}

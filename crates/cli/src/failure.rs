//! How failures are reported, and the exit codes: 0 done, 1 failed, 2 usage, 75 interrupted but resumable, 78 config.

use std::process::ExitCode;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use sinter_config::{ConfigError, Located};
use sinter_experiments::ExperimentError;
use sinter_models::weights::WeightsError;
use sinter_training::TrainingError;

/// Interrupted, and the same command continues (EX_TEMPFAIL).
pub(crate) const INTERRUPTED: u8 = 75;
/// The configuration is wrong (EX_CONFIG).
const CONFIG: u8 = 78;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    Config(ConfigError),
    /// The configuration is wrong in a way that has no place in a file.
    Setting(String),
    /// Anything else.
    Other(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<TrainingError> for Failure {
    fn from(error: TrainingError) -> Self {
        match error {
            TrainingError::Config(message) => Self::Setting(message),
            TrainingError::Problems(problems) => Self::Config(problems.into()),
            TrainingError::OtherRun { .. } => Self::Setting(error.to_string()),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<WeightsError> for Failure {
    fn from(error: WeightsError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<ExperimentError> for Failure {
    fn from(error: ExperimentError) -> Self {
        match error {
            ExperimentError::Config(error) => Self::Config(error),
            ExperimentError::Cells(_) | ExperimentError::Asked(_) => Self::Setting(error.to_string()),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(error) => error.fmt(formatter),
            Self::Setting(message) | Self::Other(message) => formatter.write_str(message),
        }
    }
}

/// One problem of a configuration file, as miette prints it.
#[derive(Debug)]
struct Shown<'a> {
    located: &'a Located,
    source: Option<NamedSource<String>>,
}

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let problem = &self.located.problem;
        if problem.key.is_empty() {
            formatter.write_str(&problem.message)
        } else {
            write!(formatter, "{}: {}", problem.key, problem.message)
        }
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help<'b>(&'b self) -> Option<Box<dyn std::fmt::Display + 'b>> {
        self.located.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.located.origin.as_ref()?.span.clone();
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".into()), span))))
    }
}

impl Failure {
    /// Prints the failure to standard error and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Config(error) => {
                for located in &error.problems {
                    eprintln!("{}", show(located));
                }
                ExitCode::from(CONFIG)
            }
            Self::Setting(message) => {
                eprintln!("error: {message}");
                ExitCode::from(CONFIG)
            }
            Self::Other(message) => {
                eprintln!("error: {message}");
                ExitCode::FAILURE
            }
        }
    }
}

fn show(located: &Located) -> String {
    let source =
        located.origin.as_ref().map(|origin| NamedSource::new(&origin.source.name, origin.source.text.clone()));
    let shown = Shown { located, source };
    let theme = if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let mut text = String::new();
    match GraphicalReportHandler::new_themed(theme).render_report(&mut text, &shown) {
        Ok(()) => text,
        Err(_) => format!("error: {shown}"),
    }
}

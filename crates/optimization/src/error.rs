//! What can go wrong in an update or when its state is loaded.

/// An error of this room.
#[derive(Debug, thiserror::Error)]
pub enum OptimizationError {
    /// A gradient holds NaN or infinity; the weights were not touched.
    #[error("the gradient of `{tensor}` is not finite")]
    NonFinite {
        /// Name of the first such parameter, as `part.parameter`.
        tensor: String,
    },
    /// Optimizer or average state that does not match the network.
    #[error("{owner}: {message}")]
    State {
        /// Whose state it is.
        owner: String,
        /// What does not match, with the names.
        message: String,
    },
    /// Parameters that cannot be read or written.
    #[error(transparent)]
    Parameters(#[from] sinter_models::parameters::ParameterError),
}

impl OptimizationError {
    /// Puts the name of the part before the tensor's.
    pub(crate) fn within(self, part: &str) -> Self {
        match self {
            Self::NonFinite { tensor } => Self::NonFinite { tensor: format!("{part}.{tensor}") },
            other => other,
        }
    }
}

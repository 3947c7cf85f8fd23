//! What can go wrong on loading and on running; each case has a stable code and says what was expected.

use alloc::string::String;
use odc_format::{DType, FormatError};

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[cfg(feature = "std")]
    #[error("{}: {error}", path.display())]
    Io { path: std::path::PathBuf, error: std::io::Error },
    #[error("no program in the artifact runs on this machine: {reasons}; compile the model for it")]
    NoTarget { reasons: String },
    #[error("the artifact's kernels are linked into a program: open it there as a static model")]
    KernelsNotLinked,
    #[error("the program links {have} kernels, the model has {need}: object and artifact do not belong together")]
    KernelTable { have: usize, need: usize },
    #[error("the system refuses memory for code: {reason}; link the model statically instead")]
    CodeMemory { reason: String },
    #[error("out of memory: {bytes} bytes for {what}")]
    OutOfMemory { what: &'static str, bytes: usize },
    #[error("{threads} threads: {reason}")]
    Threads { threads: usize, reason: String },
}

impl LoadError {
    /// Stable code for scripts and documentation.
    pub fn code(&self) -> &'static str {
        match self {
            LoadError::Format(e) => e.code(),
            #[cfg(feature = "std")]
            LoadError::Io { .. } => "ODC0640",
            LoadError::NoTarget { .. } => "ODC0641",
            LoadError::KernelsNotLinked => "ODC0642",
            LoadError::KernelTable { .. } => "ODC0643",
            LoadError::CodeMemory { .. } => "ODC0644",
            LoadError::OutOfMemory { .. } => "ODC0645",
            LoadError::Threads { .. } => "ODC0646",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error("missing input {missing}; the model wants {expected}")]
    MissingInputs { missing: String, expected: String },
    #[error("the model has no input \"{name}\"; it wants {expected}")]
    UnknownInput { name: String, expected: String },
    #[error("input \"{name}\" is given twice")]
    DuplicateInput { name: String },
    #[error("input \"{name}\" is {found}, the model wants {expected}")]
    WrongType { name: String, found: DType, expected: String },
    #[error("input \"{name}\" has shape {found} of rank {rank}, the model wants {expected}")]
    WrongRank { name: String, found: String, rank: usize, expected: String },
    #[error("input \"{name}\" has shape {found}: axis {axis} is {dim}, not {want}; the model wants {expected}")]
    WrongShape { name: String, found: String, axis: usize, dim: usize, want: i64, expected: String },
    #[error("dim \"{symbol}\" is {value}, the model wants {expected}")]
    DimOutOfBounds { symbol: String, value: i64, expected: String },
    #[error("these input shapes do not fit the model: {what}")]
    CheckFailed { what: String },
    #[error("input \"{name}\" of shape {shape} needs {need} bytes of data, {found} were given")]
    DataLength { name: String, shape: String, need: String, found: usize },
    #[error("data of input \"{name}\" is not aligned to {align} bytes, the size of its elements: copy it to a place that is")]
    Misaligned { name: String, align: usize },
    #[error("these input shapes are too large: {what}")]
    TooLarge { what: String },
    #[error("out of memory: {bytes} bytes for the session's arena ({formula})")]
    OutOfMemory { bytes: usize, formula: String },
    #[error("element {at} of input \"{name}\" is {value}, which {what} cannot use; possible are {expected}")]
    OutOfRange { name: String, at: usize, value: i64, what: String, expected: String },
    #[error(
        "the loops of this run came to {limit} iterations without an end; if it is to be that long, raise `iterations` in the session's options"
    )]
    Endless { limit: u64 },
    #[error("the run was cancelled")]
    Cancelled,
    #[error("the artifact is wrong for these input shapes: {what}; compile the model again, and report it if it stays")]
    BadPlan { what: String },
}

impl RunError {
    /// Stable code for scripts and documentation.
    pub fn code(&self) -> &'static str {
        match self {
            RunError::MissingInputs { .. } => "ODC0601",
            RunError::UnknownInput { .. } => "ODC0602",
            RunError::DuplicateInput { .. } => "ODC0603",
            RunError::WrongType { .. } => "ODC0604",
            RunError::WrongRank { .. } => "ODC0605",
            RunError::WrongShape { .. } => "ODC0606",
            RunError::DimOutOfBounds { .. } => "ODC0607",
            RunError::CheckFailed { .. } => "ODC0608",
            RunError::DataLength { .. } => "ODC0609",
            RunError::Misaligned { .. } => "ODC0610",
            RunError::TooLarge { .. } => "ODC0611",
            RunError::OutOfMemory { .. } => "ODC0612",
            RunError::BadPlan { .. } => "ODC0613",
            RunError::OutOfRange { .. } => "ODC0614",
            RunError::Endless { .. } => "ODC0615",
            RunError::Cancelled => "ODC0616",
        }
    }
}

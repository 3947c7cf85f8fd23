//! What can be wrong with an artifact, each with a stable code.

use alloc::string::String;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("not an odc artifact: it does not start with \"ODCA\"; `odc compile MODEL.onnx -o OUT.odc` makes one")]
    NotAnArtifact,
    #[error("artifact format {found}, but this runtime reads format {supported}: compile the model again")]
    Version { found: u32, supported: u32 },
    #[error("artifact is cut short: {what} needs {need} bytes, {have} are there; copy or compile it again")]
    Truncated { what: &'static str, need: u64, have: u64 },
    #[error("artifact is damaged: checksum of {section} is {computed:016x}, the file says {stored:016x}")]
    Checksum { section: &'static str, stored: u64, computed: u64 },
    #[error("artifact is damaged: section table: {why}")]
    Sections { why: &'static str },
    #[error("artifact is damaged: the manifest does not decode: {why}")]
    Manifest { why: String },
    #[error("artifact is not valid: {at}: {why}")]
    Invalid { at: String, why: String },
}

impl FormatError {
    /// Stable code for scripts and documentation.
    pub fn code(&self) -> &'static str {
        match self {
            FormatError::NotAnArtifact => "ODC0650",
            FormatError::Version { .. } => "ODC0651",
            FormatError::Truncated { .. } => "ODC0652",
            FormatError::Checksum { .. } => "ODC0653",
            FormatError::Sections { .. } => "ODC0654",
            FormatError::Manifest { .. } => "ODC0655",
            FormatError::Invalid { .. } => "ODC0656",
        }
    }
}

/// Writing fails when the parts do not fit each other, or when the sink does.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E: core::fmt::Display> {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("artifact could not be written: {0}")]
    Sink(E),
}

//! What can go wrong with a model on a GPU. Wrong inputs and damaged artifacts are the CPU's errors, with their codes.

use crate::{LoadError, RunError};

#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("no GPU can be used: {reason}; install a Vulkan, Metal or Direct3D 12 driver, or run the model on the CPU")]
    NoAdapter { reason: String },
    #[error("no program of the artifact runs on {device}: {reasons}; compile the model for it")]
    NoProgram { device: String, reasons: String },
    #[error(
        "\"{target}\" needs the feature \"{feature}\", which {device} does not have or was not created with; compile the model without it"
    )]
    MissingFeature { target: String, feature: String, device: String },
    #[error(
        "\"{target}\" needs {limit} of {needed}, {device} was created with {found}; create it with more, or compile the model for smaller limits"
    )]
    LimitTooLow { target: String, limit: &'static str, needed: u64, found: u64, device: String },
    #[error("the device refuses kernel \"{kernel}\": {reason}")]
    Kernel { kernel: String, reason: String },
    #[error("out of GPU memory: {bytes} bytes for {what}")]
    OutOfMemory { what: String, bytes: u64 },
    #[error(
        "{what} needs {needed} bytes at these input shapes, the device's {limit} is {found}; use smaller inputs, or a device with more"
    )]
    TooLarge { what: String, needed: u64, limit: &'static str, found: u64 },
    #[error("the device is lost ({reason}): make a new one, and call `resume` with it")]
    DeviceLost { reason: String },
    #[error("the buffer for \"{name}\" cannot be used: {why}")]
    Buffer { name: String, why: String },
    #[error("the model has no output \"{name}\"; it has {expected}")]
    UnknownOutput { name: String, expected: String },
    #[error("there is no output yet: run the model first")]
    NotRun,
    #[error("the device refuses {what}: {reason}")]
    Device { what: String, reason: String },
}

impl GpuError {
    /// Stable code for scripts and documentation.
    pub fn code(&self) -> &'static str {
        match self {
            GpuError::Load(e) => e.code(),
            GpuError::Run(e) => e.code(),
            GpuError::NoAdapter { .. } => "ODC0720",
            GpuError::NoProgram { .. } => "ODC0721",
            GpuError::MissingFeature { .. } => "ODC0722",
            GpuError::LimitTooLow { .. } => "ODC0723",
            GpuError::Kernel { .. } => "ODC0724",
            GpuError::OutOfMemory { .. } => "ODC0725",
            GpuError::TooLarge { .. } => "ODC0726",
            GpuError::DeviceLost { .. } => "ODC0727",
            GpuError::Buffer { .. } => "ODC0728",
            GpuError::UnknownOutput { .. } => "ODC0729",
            GpuError::NotRun => "ODC0730",
            GpuError::Device { .. } => "ODC0731",
        }
    }
}

/// The artifact's program cannot be what a compiler wrote.
pub(super) fn bad_plan(what: impl Into<String>) -> GpuError {
    GpuError::Run(RunError::BadPlan { what: what.into() })
}

//! What every backend shares: descriptions of targets with their limits and costs, and the one trait that turns a loop-IR kernel
//! into code. A backend knows loop IR and nothing above it.

mod backend;
mod gpu;
mod target;

pub use backend::{Backend, BackendError, GpuBackend, GpuCode, GpuKernel, KernelCode, TextKind};
pub use gpu::{CoopShapes, GpuCosts, GpuFeature, GpuLimits, GpuTarget, Language};
pub use target::{Arch, Codegen, Costs, Feature, Target, TargetError};

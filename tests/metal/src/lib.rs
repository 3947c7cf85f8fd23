//! Metal kernels executed on the host: their MSL, unmodified, is compiled by g++ or clang++ against `include/metal_stdlib`
//! and called with one fiber a thread. This shows that a kernel computes the right thing, not that Apple hardware does.

mod build;
mod model;
mod run;
mod signature;
pub mod verify;

pub use model::{ShimModel, ShimTensor, threadgroup_memory};
pub use run::{Binding, Dispatch, Order, ShimKernel, ShimKernels};

/// Why a kernel cannot be compiled or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShimError {
    #[error("the MSL has no kernel `{entry}`")]
    NoEntry { entry: String },
    #[error("kernel `{entry}`: the shim does not know where the argument `{argument}` comes from")]
    Argument { entry: String, argument: String },
    #[error("{path}: {text}")]
    Io { path: String, text: String },
    #[error("no C++ compiler: set ODC_CXX, or install g++ or clang++")]
    NoCompiler,
    #[error("the C++ compiler refuses the MSL:\n{text}")]
    Compile { text: String },
    #[error("the compiled kernels cannot be loaded: {text}")]
    Load { text: String },
    #[error("{what}")]
    Binding { what: String },
    #[error("{what}")]
    Model { what: String },
    #[error("kernel `{entry}`: {text}")]
    Run { entry: String, text: String },
}

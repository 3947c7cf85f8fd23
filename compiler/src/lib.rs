//! The compiler as a library: an ONNX model in, [`Compiled`] out, which gives the artifact and every stage on the way as text.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let compiled = odc::compile("model.onnx", &odc::Options::default())?;
//! std::fs::write("model.odc", compiled.artifact_bytes()?)?;
//! println!("{}", compiled.stage_text(odc::Stage::Dispatches));
//! # Ok(()) }
//! ```

mod any_module;
mod artifact;
mod build;
mod candidates;
pub mod cli;
pub mod compare;
mod dims;
mod estimate;
mod explode;
mod fix;
mod flops;
pub mod host_tensor;
mod kernels;
mod lists;
mod macs;
pub mod npy;
mod output;
pub mod passes;
pub mod pb;
mod peak;
mod pipeline;
mod problem;
mod progress;
mod rates;
mod report;
mod show;
mod size;
mod spill;
mod target;
mod typescript;

pub use any_module::AnyModule;
pub use build::Build;
pub use candidates::Candidate;
pub use explode::explode;
pub use kernels::KernelText;
pub use odc_backend::{Codegen, GpuLimits, GpuTarget, Target};
pub use pipeline::{
    CompileError, Compiled, OptLevel, Options, Stage, Summary, Weights, compile, compile_bytes, compile_graph, compile_with,
};
pub use problem::{Exit, Failure, Problem};
pub use progress::{Report, silent};
pub use target::AnyTarget;

//! Loads an artifact and runs it: no compiler, no shape inference, no operator registry.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use odc_runtime::{Artifact, SessionOptions, TensorView};
//! let artifact = Artifact::open("model.odc")?;
//! let mut session = artifact.session(SessionOptions::threads(2))?;
//! let outputs = session.run(&[("x", TensorView::of(&[1, 3], &[1.0f32, 2.0, 3.0]))])?;
//! println!("{:?}", outputs.get("y").and_then(|y| y.as_slice::<f32>()));
//! # Ok(()) }
//! ```
//!
//! With the feature `wgpu`, `odc_runtime::gpu` runs the GPU targets of the same artifacts.
//!
//! An artifact holds machine code, like a program or a shared library: its form is checked completely on load, but
//! what its kernels compute is as trustworthy as its origin. Open only what you would also execute.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(target_endian = "big")]
compile_error!("artifacts hold little-endian data; big-endian machines are not supported");

mod artifact;
mod bind;
mod code;
mod control;
mod cpu;
mod error;
#[cfg(feature = "wgpu")]
pub mod gpu;
mod in_range;
mod memory;
#[cfg_attr(not(feature = "std"), path = "no_pool.rs")]
mod pool;
mod session;
mod strings;
mod tensor;

pub use artifact::{Artifact, KernelFn, StaticModel};
pub use error::{LoadError, RunError};
pub use memory::ArtifactBytes;
pub use odc_format as format;
pub use odc_format::DType;
pub use session::{Canceller, MemoryUse, Outputs, Session, SessionOptions};
pub use strings::Strings;
pub use tensor::{Element, TensorView};

//! Metal: one WGSL kernel in, one MSL kernel out, translated by naga. Nothing is lowered a second time here: what a
//! kernel does was decided in the loop IR, how its buffers are numbered is decided by the WGSL bindings.

mod error;
mod translate;

pub use error::MetalError;
pub use translate::{LANGUAGE, MAX_BUFFERS, Msl, translate};

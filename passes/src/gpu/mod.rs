//! What turns kernels into kernels that GPUs can run: barriers where invocations depend on each other, and nothing but the types
//! that every GPU has.

mod barriers;
mod facts;
mod footprint;

pub use barriers::{BarrierError, barriers};

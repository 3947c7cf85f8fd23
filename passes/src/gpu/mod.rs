//! What turns kernels into kernels that GPUs can run: barriers where invocations depend on each other (first), then nothing but the
//! types that every GPU has.

mod barriers;
mod facts;
mod footprint;
mod legalise;

pub use barriers::{BarrierError, barriers};
pub use legalise::{Features, LegaliseError, legalise};

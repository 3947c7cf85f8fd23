//! What turns kernels into kernels that GPUs can run: barriers where invocations depend on each other (first), then nothing but the
//! types that every GPU has.

mod barriers;
mod facts;
mod footprint;
mod legalise;
mod split;

pub use barriers::{BarrierError, barriers};
pub use legalise::{Features, LegaliseError, legalise};
pub use split::{piece_bytes, split_bindings};

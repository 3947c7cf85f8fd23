//! What turns kernels into kernels that GPUs can run: barriers where invocations depend on each other (first), then nothing but the
//! types that every GPU has.

mod align;
mod barriers;
mod facts;
mod footprint;
mod legalise;
mod split;

pub(crate) use align::align;
pub use barriers::{BarrierError, barriers};
pub use legalise::{Features, LegaliseError, legalise};
pub use split::{piece_bytes, split_bindings};

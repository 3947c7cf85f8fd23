//! The C API: `include/odc.h` says what each function does. No panic crosses the border: with `std` it is caught and
//! reported, without it the process ends.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod artifact;
mod error;
#[cfg(not(feature = "std"))]
mod freestanding;
mod session;
mod strings;

pub use artifact::OdcArtifact;
pub use error::OdcError;
pub use session::{OdcSession, OdcTensor};
pub use strings::OdcStrings;

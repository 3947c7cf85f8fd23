//! The artifact `model.odc`: what the compiler writes and the runtime loads.
//!
//! One file: a header with a section table, a manifest, one code section a target, and the weights, which are
//! used straight from the mapped file. [`ArtifactView::parse`] checks every index, offset and checksum, so that
//! a runtime may trust a [`Manifest`] that it got from there. The crate needs `alloc` only.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod container;
mod control;
mod dtype;
mod error;
mod manifest;
mod read;
mod shape;
mod validate;
mod write;

pub use container::{FORMAT_VERSION, KERNEL_ALIGN, MAGIC, MAX_RANK, SECTION_ALIGN, WEIGHT_ALIGN, is_artifact};
pub use control::{Structure, structure};
pub use dtype::DType;
pub use error::{FormatError, WriteError};
pub use manifest::{
    Access, Arch, ArenaBuffer, BufferRef, Carried, Code, Command, Device, Digests, Dispatch, GpuKernel, GpuLimits, InRange, Kernel,
    Language, Loop, LoopCondition, Manifest, Moving, SymbolInfo, TargetProgram, TensorInfo, WeightInfo,
};
pub use read::{ArtifactView, Layout};
pub use shape::{Check, Condition, Instr, ShapeBuilder, ShapeError, ShapeFault, ShapeProgram, Slot};
pub use validate::validate;
pub use write::{place_weights, to_vec, write};

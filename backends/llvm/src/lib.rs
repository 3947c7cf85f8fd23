//! Loop IR to machine code through LLVM, for every CPU level: vectors as wide as the machine's.
//!
//! Kernels become LLVM IR as text, for which no LLVM is needed and which tests can read; with the feature `llvm` that text becomes
//! code without relocations, constants behind the instructions (see [`KernelCode`](odc_backend::KernelCode)).

mod lower;
#[cfg(feature = "llvm")]
mod object;
mod writer;

use odc_backend::{BackendError, Target};
use odc_ir::loops::{Func, verify_func};

#[derive(Clone, Copy, Debug, Default)]
pub struct Llvm;

/// The kernel as an LLVM module: one function that other code calls, the first of the module.
pub fn module_text(kernel: &Func, target: &Target) -> Result<String, BackendError> {
    if let Some(e) = verify_func(kernel).first() {
        return Err(BackendError::Malformed { kernel: kernel.name.clone(), what: format!("{} ({}): {}", e.op, e.loc, e.message) });
    }
    lower::module(kernel, target)
}

//! The trait of backends, the code they make and the errors they give. An error names the kernel, so that the compiler can add
//! the ONNX nodes it came from.

use crate::{GpuTarget, Target};
use odc_ir::loops::Func;

/// Machine code of one kernel: position-independent, without relocations, ready to be copied to executable memory.
///
/// Its entry is its first byte, called with the platform's C convention for 64-bit Unix (System V on every x86-64 system, AAPCS64
/// on AArch64) as `fn(buffers: *const *mut u8, dims: *const i64, scratch: *mut u8, begin: i64, end: i64)`. It runs the iterations
/// `begin..end` of the kernel's grid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelCode {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Bytes to which the first byte must be aligned: a power of two.
    pub alignment: u32,
}

/// What a backend can show of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextKind {
    /// The backend's own IR, before its optimiser.
    Ir,
    /// The final instructions.
    Asm,
}

/// A kernel with what a reader of its text wants to know. The entry point gets the function's name.
#[derive(Clone, Debug)]
pub struct GpuKernel<'a> {
    pub func: &'a Func,
    /// One a buffer: must the binding be writable? Also true where nothing is stored: buffers of the arena are always bound so.
    pub writable: Vec<bool>,
    /// Comment lines: the ONNX nodes, the schedule, bytes and flops.
    pub about: Vec<String>,
}

/// A module with one kernel, in the target's language.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GpuCode {
    /// The entry point: the kernel's name.
    pub name: String,
    /// Text, or words of SPIR-V in little-endian order.
    pub bytes: Vec<u8>,
    pub workgroup: [u32; 3],
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// WebGPU names of what it uses beyond the default; shapes of cooperative matrices as [`crate::CoopShapes`] writes them.
    pub features: Vec<String>,
}

impl TextKind {
    pub fn from_name(name: &str) -> Option<TextKind> {
        match name {
            "clif" | "ll" => Some(TextKind::Ir),
            "asm" => Some(TextKind::Asm),
            _ => None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BackendError {
    /// Valid loop IR that this target cannot run; a pass should have lowered it.
    #[error("kernel @{kernel}: {what} is not supported on {target}: {hint}")]
    Unsupported { kernel: String, what: String, target: String, hint: String },
    /// The kernel breaks a rule of loop IR.
    #[error("kernel @{kernel} is malformed: {what}")]
    Malformed { kernel: String, what: String },
    /// The kernel needs more than the target has.
    #[error("kernel @{kernel} exceeds {limit} of {target}: needs {needs}, has {has}")]
    Limit { kernel: String, target: String, limit: &'static str, needs: u64, has: u64 },
    /// The code generator failed or left work for a linker; a bug of odc.
    #[error("kernel @{kernel}: code generation failed: {what}; please report this")]
    Codegen { kernel: String, what: String },
}

/// Turns legalised kernels into modules of a GPU language.
pub trait GpuBackend {
    fn compile(&self, kernel: &GpuKernel<'_>, target: &GpuTarget) -> Result<GpuCode, BackendError>;
}

/// Turns kernels into code for a family of targets.
pub trait Backend {
    fn compile(&self, kernel: &Func, target: &Target) -> Result<KernelCode, BackendError>;
    fn text(&self, kernel: &Func, target: &Target, kind: TextKind) -> Result<String, BackendError>;
}

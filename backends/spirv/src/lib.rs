//! Loop IR to SPIR-V 1.3 for Vulkan 1.1: one module a kernel, written with rspirv.
//!
//! The kernel's buffers are storage buffers in descriptor set 0, binding k for the k-th pointer parameter; its sizes lie in one uniform
//! buffer behind them, four to a vector. Legalised kernels only: what a device lacks was written out before.

mod binary;
mod cast;
mod control;
mod coop;
mod expr;
mod known;
mod memory;
mod module;
mod quotient;
mod types;

use module::Emit;
use odc_backend::{BackendError, GpuBackend, GpuCode, GpuKernel, GpuTarget};
use odc_ir::loops::verify_func;
use rspirv::binary::{Assemble, Disassemble};

type Result<T> = std::result::Result<T, BackendError>;

#[derive(Clone, Copy, Debug, Default)]
pub struct Spirv;

impl GpuBackend for Spirv {
    fn compile(&self, kernel: &GpuKernel<'_>, target: &GpuTarget) -> Result<GpuCode> {
        let built = build(kernel, target)?;
        let bytes = built.module.assemble().into_iter().flat_map(u32::to_le_bytes).collect();
        Ok(GpuCode {
            name: kernel.func.name.clone(),
            bytes,
            workgroup: [built.invocations, 1, 1],
            workgroup_bytes: built.workgroup_bytes,
            features: built.features,
        })
    }
}

impl Spirv {
    /// The kernel's module as a person reads it.
    pub fn text(&self, kernel: &GpuKernel<'_>, target: &GpuTarget) -> Result<String> {
        Ok(build(kernel, target)?.module.disassemble())
    }
}

fn build(kernel: &GpuKernel<'_>, target: &GpuTarget) -> Result<module::Built> {
    if let Some(e) = verify_func(kernel.func).first() {
        return Err(BackendError::Malformed { kernel: kernel.func.name.clone(), what: format!("{} ({}): {}", e.op, e.loc, e.message) });
    }
    let mut emit = Emit::new(kernel, target)?;
    emit.function()?;
    Ok(emit.finish())
}

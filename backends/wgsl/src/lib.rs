//! The WGSL backend: one legalised loop-IR kernel becomes one readable module, the same bytes for the same kernel, and naga has
//! accepted it. Names come from the model, expressions are put together as a person would, and nothing is left to a later pass.

mod access;
mod binary;
mod check;
mod control;
mod emit;
mod expr;
mod facts;
mod helpers;
mod kernel;
mod literal;
mod memory;
mod module;
mod names;
mod value;
mod vectors;

use kernel::{Context, Kernel};
use odc_backend::{BackendError, GpuBackend, GpuCode, GpuKernel, GpuTarget};
use std::collections::BTreeMap;

/// Prints kernels as WGSL text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wgsl;

impl GpuBackend for Wgsl {
    fn compile(&self, kernel: &GpuKernel<'_>, target: &GpuTarget) -> Result<GpuCode, BackendError> {
        let cx = Context { kernel: &kernel.func.name, target };
        let whole = Kernel::new(&cx, kernel.func)?;
        cx.limit("invocations a workgroup", whole.width.into(), target.limits.invocations.into())?;
        let arrays = memory::arrays(&cx, kernel.func)?;
        let lanes: BTreeMap<_, _> = arrays.iter().filter(|(_, a)| a.lanes > 1).map(|(v, a)| (*v, a.lanes)).collect();
        let func = vectors::divide_offsets(kernel.func, &lanes);
        let code = module::print(cx, kernel, &Kernel::new(&cx, &func)?, &arrays)?;
        check::check(&cx, &String::from_utf8_lossy(&code.bytes))?;
        Ok(code)
    }
}

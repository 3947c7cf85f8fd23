//! Loop IR to machine code for x86-64 and AArch64 through Cranelift: the CPU backend that every build of odc has.
//!
//! A kernel becomes one function without relocations (see [`KernelCode`]); constants lie behind its instructions. Vectors are 128
//! bits wide. The minimum is baseline x86-64 (SSE2): no operation calls a library.

mod isa;
mod lower;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::OwnedTargetIsa;
use odc_backend::{Backend, BackendError, KernelCode, Target, TextKind};
use odc_ir::loops::{Func, verify_func};

#[derive(Clone, Copy, Debug, Default)]
pub struct Cranelift;

impl Backend for Cranelift {
    fn compile(&self, kernel: &Func, target: &Target) -> Result<KernelCode, BackendError> {
        let isa = isa::isa(&kernel.name, target)?;
        let mut context = build(kernel, target, &isa)?;
        let failed = |what: String| BackendError::Codegen { kernel: kernel.name.clone(), what };
        let code = context.compile(&*isa, &mut ControlPlane::default()).map_err(|e| failed(format!("{:?}", e.inner)))?;
        if let Some(r) = code.buffer.relocs().first() {
            return Err(failed(format!("a relocation is left: {:?}", r.target)));
        }
        let alignment = code.buffer.alignment.max(isa.function_alignment().preferred);
        Ok(KernelCode { name: kernel.name.clone(), bytes: code.buffer.data().to_vec(), alignment })
    }

    fn text(&self, kernel: &Func, target: &Target, kind: TextKind) -> Result<String, BackendError> {
        let isa = isa::isa(&kernel.name, target)?;
        let mut context = build(kernel, target, &isa)?;
        match kind {
            TextKind::Ir => Ok(context.func.display().to_string()),
            TextKind::Asm => {
                context.set_disasm(true);
                let failed = |what: String| BackendError::Codegen { kernel: kernel.name.clone(), what };
                let code = context.compile(&*isa, &mut ControlPlane::default()).map_err(|e| failed(format!("{:?}", e.inner)))?;
                code.vcode.clone().ok_or_else(|| failed("no disassembly".into()))
            }
        }
    }
}

fn build(kernel: &Func, target: &Target, isa: &OwnedTargetIsa) -> Result<Context, BackendError> {
    if let Some(e) = verify_func(kernel).first() {
        return Err(BackendError::Malformed { kernel: kernel.name.clone(), what: format!("{} ({}): {}", e.op, e.loc, e.message) });
    }
    let mut context = Context::new();
    lower::function(kernel, target, isa, &mut context.func)?;
    Ok(context)
}

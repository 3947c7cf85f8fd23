//! LLVM IR as text to machine code: optimised, assembled, and its sections put behind each other so that nothing is left to a linker.

use crate::{Llvm, module_text};
use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{CodeModel, FileType, InitializationConfig, RelocMode, Target as LlvmTarget, TargetMachine, TargetTriple};
use object::elf;
use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionKind, SymbolSection};
use odc_backend::{Arch, Backend, BackendError, KernelCode, Target, TextKind};
use odc_ir::loops::Func;
use std::collections::BTreeMap;
use std::sync::Once;

impl Backend for Llvm {
    fn compile(&self, kernel: &Func, target: &Target) -> Result<KernelCode, BackendError> {
        let failed = |what: String| BackendError::Codegen { kernel: kernel.name.clone(), what };
        let file = assemble(&module_text(kernel, target)?, target, FileType::Object).map_err(failed)?;
        let (bytes, alignment) = flatten(&file).map_err(failed)?;
        Ok(KernelCode { name: kernel.name.clone(), bytes, alignment })
    }

    fn text(&self, kernel: &Func, target: &Target, kind: TextKind) -> Result<String, BackendError> {
        let text = module_text(kernel, target)?;
        match kind {
            TextKind::Ir => Ok(text),
            TextKind::Asm => {
                let failed = |what: String| BackendError::Codegen { kernel: kernel.name.clone(), what };
                let asm = assemble(&text, target, FileType::Assembly).map_err(failed)?;
                String::from_utf8(asm).map_err(|e| failed(e.to_string()))
            }
        }
    }
}

fn machine(target: &Target) -> Result<TargetMachine, String> {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        LlvmTarget::initialize_x86(&InitializationConfig::default());
        LlvmTarget::initialize_aarch64(&InitializationConfig::default());
    });
    let (triple, cpu) = match target.arch {
        // What it has beyond the baseline stands in the kernel's attributes.
        Arch::X86_64 => ("x86_64-unknown-linux-gnu", "x86-64"),
        Arch::Aarch64 => ("aarch64-unknown-linux-gnu", "generic"),
    };
    let triple = TargetTriple::create(triple);
    let llvm = LlvmTarget::from_triple(&triple).map_err(|e| e.to_string())?;
    let made = llvm.create_target_machine(&triple, cpu, "", OptimizationLevel::Aggressive, RelocMode::PIC, CodeModel::Small);
    made.ok_or_else(|| format!("LLVM has no machine for {}", target.name))
}

fn assemble(text: &str, target: &Target, kind: FileType) -> Result<Vec<u8>, String> {
    let context = Context::create();
    let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "kernel");
    let module = context.create_module_from_ir(buffer).map_err(|e| e.to_string())?;
    let machine = machine(target)?;
    let options = PassBuilderOptions::create();
    // Loops are tiled, unrolled and vectorised already.
    options.set_loop_vectorization(false);
    options.set_loop_slp_vectorization(false);
    options.set_loop_unrolling(false);
    module.run_passes("default<O2>", &machine, options).map_err(|e| e.to_string())?;
    let out = machine.write_to_memory_buffer(&module, kind).map_err(|e| e.to_string())?;
    Ok(out.as_slice().to_vec())
}

/// The code and its constants as one range that runs wherever it lies at its alignment.
fn flatten(file: &[u8]) -> Result<(Vec<u8>, u32), String> {
    let file = object::File::parse(file).map_err(|e| e.to_string())?;
    let wanted = |kind: SectionKind| matches!(kind, SectionKind::Text | SectionKind::ReadOnlyData | SectionKind::ReadOnlyString);
    let mut sections: Vec<_> = file.sections().filter(|s| s.size() > 0 && wanted(s.kind())).filter(|s| !is_unwind(s.name())).collect();
    // Its entry is the first byte.
    sections.sort_by_key(|s| (s.kind() != SectionKind::Text, s.index().0));
    let (mut bytes, mut places, mut alignment) = (vec![], BTreeMap::<usize, u64>::new(), 16);
    for s in &sections {
        let align = s.align().max(1);
        alignment = alignment.max(align);
        bytes.resize(bytes.len().next_multiple_of(align as usize), 0);
        places.insert(s.index().0, bytes.len() as u64);
        bytes.extend_from_slice(s.data().map_err(|e| e.to_string())?);
    }
    for s in &sections {
        let base = places.get(&s.index().0).copied().unwrap_or(0);
        for (at, r) in s.relocations() {
            alignment = alignment.max(if by_page(&r) { 4096 } else { 1 });
            let RelocationTarget::Symbol(symbol) = r.target() else { return Err(format!("a relocation without a symbol: {r:?}")) };
            let symbol = file.symbol_by_index(symbol).map_err(|e| e.to_string())?;
            let to = match symbol.section() {
                SymbolSection::Section(k) => places.get(&k.0).map(|p| p + symbol.address()),
                _ => None,
            };
            let name = || symbol.name().unwrap_or("?").to_string();
            let to = to.ok_or_else(|| format!("the code calls `{}`, which is in no section of it", name()))?;
            apply(&mut bytes, base + at, to, &r).ok_or_else(|| format!("a relocation to `{}` is not known: {:?}", name(), r.flags()))?;
        }
    }
    Ok((bytes, u32::try_from(alignment).map_err(|e| e.to_string())?))
}

fn is_unwind(name: object::Result<&str>) -> bool {
    name.is_ok_and(|n| n.starts_with(".eh_frame") || n.starts_with(".note"))
}

/// Relative to the place itself, or on AArch64 to its page of 4096 bytes: right wherever the whole lies at its alignment.
fn apply(bytes: &mut [u8], at: u64, to: u64, r: &object::Relocation) -> Option<()> {
    let RelocationFlags::Elf { r_type } = r.flags() else { return None };
    let to = (to as i64).checked_add(r.addend())?;
    let place = at as i64;
    let at = usize::try_from(at).ok()?;
    let word = bytes.get_mut(at..at + 4)?;
    let old = u32::from_le_bytes(word.try_into().ok()?);
    let low = |shift: u32| (((to & 0xfff) >> shift) as u32) << 10;
    let new = match r_type {
        elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 => i32::try_from(to - place).ok()? as u32,
        elf::R_AARCH64_ADR_PREL_PG_HI21 => {
            let pages = ((to >> 12) - (place >> 12)) as u32;
            old | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5
        }
        elf::R_AARCH64_ADD_ABS_LO12_NC | elf::R_AARCH64_LDST8_ABS_LO12_NC => old | low(0),
        elf::R_AARCH64_LDST16_ABS_LO12_NC => old | low(1),
        elf::R_AARCH64_LDST32_ABS_LO12_NC => old | low(2),
        elf::R_AARCH64_LDST64_ABS_LO12_NC => old | low(3),
        elf::R_AARCH64_LDST128_ABS_LO12_NC => old | low(4),
        elf::R_AARCH64_CALL26 | elf::R_AARCH64_JUMP26 => old | (((to - place) >> 2) as u32 & 0x3ff_ffff),
        _ => return None,
    };
    word.copy_from_slice(&new.to_le_bytes());
    Some(())
}

/// Are addresses in pages part of the code?
fn by_page(r: &object::Relocation) -> bool {
    matches!(r.flags(), RelocationFlags::Elf { r_type: elf::R_AARCH64_ADR_PREL_PG_HI21 })
}

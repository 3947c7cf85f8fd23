//! One object file a model: kernels in `.text`, the artifact without code in `.rodata`, and the global
//! `odc_model_<name>` that the runtime opens: artifact pointer and length, kernel table pointer and length.

use crate::{StaticError, c_name, model_symbol};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationEncoding, RelocationFlags, RelocationKind, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
    write::{Object, Relocation, SectionId, StandardSection, Symbol, SymbolId, SymbolSection},
};
use odc_format::{Arch, ArtifactView, Code, Device, KERNEL_ALIGN, SECTION_ALIGN, to_vec};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFormat {
    Elf,
    MachO,
    Coff,
}

impl ObjectFormat {
    /// That of the system on which this runs.
    pub const fn host() -> ObjectFormat {
        if cfg!(target_vendor = "apple") {
            ObjectFormat::MachO
        } else if cfg!(windows) {
            ObjectFormat::Coff
        } else {
            ObjectFormat::Elf
        }
    }
}

/// Makes an object file of one target of an artifact. `name` becomes a part of the symbol, see [`model_symbol`].
pub fn write_object(artifact: &[u8], name: &str, target: usize, format: ObjectFormat) -> Result<Vec<u8>, StaticError> {
    let view = ArtifactView::parse(artifact)?;
    view.verify_weights()?;
    let count = view.manifest.targets.len();
    let mut program = view.manifest.targets.get(target).cloned().ok_or(StaticError::NoTarget { index: target, count })?;
    let Code::Section(section) = program.code else { return Err(StaticError::NoCode { index: target }) };
    let code = view.code(section);
    let arch = match &program.device {
        Device::Cpu { arch: Arch::X86_64, .. } => Architecture::X86_64,
        Device::Cpu { arch: Arch::Aarch64, .. } => Architecture::Aarch64,
        Device::Gpu { .. } => return Err(StaticError::NoCode { index: target }),
    };
    let binary = match format {
        ObjectFormat::Elf => BinaryFormat::Elf,
        ObjectFormat::MachO => BinaryFormat::MachO,
        ObjectFormat::Coff => BinaryFormat::Coff,
    };
    let mut object = Object::new(binary, arch, Endianness::Little);
    let text = object.section_id(StandardSection::Text);
    let mut kernels = Vec::new();
    for (i, kernel) in program.kernels.iter_mut().enumerate() {
        // parse() has checked the range
        let body = code.get(kernel.offset as usize..(kernel.offset + kernel.len) as usize).unwrap_or_default();
        let symbol = format!("odc_{}_{i}_{}", c_name(name), c_name(&kernel.name));
        let symbol = define(&mut object, symbol, SymbolKind::Text, SymbolScope::Compilation, text, body, KERNEL_ALIGN);
        kernels.push(symbol);
        kernel.offset = 0;
    }
    program.code = Code::Linked;
    let mut manifest = view.manifest.clone();
    manifest.targets = vec![program];
    let weights: Vec<&[u8]> = (0..manifest.weights.len()).map(|i| view.weight(i as u32)).collect();
    let linked = to_vec(&manifest, &[], &weights)?;

    let rodata = object.section_id(StandardSection::ReadOnlyData);
    let local = |what: &str| format!("odc_{}_{what}", c_name(name));
    let (data, compilation) = (SymbolKind::Data, SymbolScope::Compilation);
    let artifact = define(&mut object, local("artifact"), data, compilation, rodata, &linked, SECTION_ALIGN);
    let relocated = object.section_id(StandardSection::ReadOnlyDataWithRel);
    let blank = vec![0; kernels.len().max(1) * 8];
    let table = define(&mut object, local("kernels"), data, compilation, relocated, &blank, 8);
    for (i, &kernel) in kernels.iter().enumerate() {
        point(&mut object, relocated, table, i as u64 * 8, kernel)?;
    }
    // struct OdcStaticModel { const void *artifact; size_t artifact_len; OdcKernel const *kernels; size_t kernel_count; }
    let mut model = [0u8; 32];
    for (at, value) in [(8, linked.len() as u64), (24, kernels.len() as u64)] {
        model.iter_mut().skip(at).zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
    }
    let model = define(&mut object, model_symbol(name), data, SymbolScope::Dynamic, relocated, &model, 8);
    point(&mut object, relocated, model, 0, artifact)?;
    point(&mut object, relocated, model, 16, table)?;
    if format == ObjectFormat::Elf {
        // Says that the stack need not be executable.
        object.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Other);
    }
    Ok(object.write()?)
}

fn define(
    object: &mut Object,
    name: String,
    kind: SymbolKind,
    scope: SymbolScope,
    section: SectionId,
    data: &[u8],
    align: u64,
) -> SymbolId {
    let symbol = object.add_symbol(Symbol {
        name: name.into_bytes(),
        value: 0,
        size: data.len() as u64,
        kind,
        scope,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    object.add_symbol_data(symbol, section, data, align);
    symbol
}

/// Lets the pointer at `offset` behind a symbol point to another symbol.
fn point(object: &mut Object, section: SectionId, at: SymbolId, offset: u64, to: SymbolId) -> Result<(), StaticError> {
    let offset = object.symbol(at).value + offset;
    let flags = RelocationFlags::Generic { kind: RelocationKind::Absolute, encoding: RelocationEncoding::Generic, size: 64 };
    Ok(object.add_relocation(section, Relocation { offset, symbol: to, addend: 0, flags })?)
}

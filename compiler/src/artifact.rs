//! A program and its kernels' code as the parts of an artifact: sizes as shape code, weights once each, every name and bound
//! that the runtime checks.

use crate::problem::Problem;
use bytes::Bytes;
use odc_backend::{KernelCode, Target};
use odc_format::{
    Arch, BufferRef, Check, Code, Command, Condition, DType, Device, Digests, Dispatch, Instr, KERNEL_ALIGN, Kernel, Manifest,
    ShapeProgram, Slot, SymbolInfo, TargetProgram, TensorInfo, WeightInfo, place_weights,
};
use odc_ir::core::Dim;
use odc_ir::program::{self, Port, Program, Reg, ShapeCode, ShapeInstr};
use std::collections::BTreeMap;

/// What the artifact is written from.
#[derive(Debug)]
pub struct Parts {
    pub manifest: Manifest,
    /// One section a target.
    pub code: Vec<Vec<u8>>,
    /// In the order of the manifest.
    pub weights: Vec<Bytes>,
}

/// Puts the parts together; `codes` holds the kernels' code for each target, in the order of the program's kernels.
pub fn assemble(program: &Program, targets: &[Target], codes: &[Vec<KernelCode>]) -> Result<Parts, Problem> {
    let mut sizes = Sizes(ShapeCode::new(program));
    let (mut weights, index) = weights(program);
    let mut infos: Vec<WeightInfo> =
        weights.iter().map(|(hash, bytes)| WeightInfo { hash: *hash, offset: 0, len: bytes.len() as u64 }).collect();
    place_weights(&mut infos).map_err(|e| Problem::new(e.code(), e))?;
    let buffers = Buffers { program, weights: &index };

    let mut symbols = vec![];
    for (s, facts) in program.symbols.iter().filter(|(_, f)| f.origin.is_some()) {
        let (lo, hi) = (facts.lo, facts.hi.unwrap_or(i64::MAX));
        symbols.push(SymbolInfo { name: s.to_string(), lo, hi, multiple_of: facts.multiple_of, slot: sizes.slot(&Dim::sym(s.name()))? });
    }
    let inputs = program.inputs.iter().map(|p| sizes.port(p)).collect::<Result<Vec<_>, _>>()?;
    let outputs = program.outputs.iter().map(|(p, _)| sizes.port(p)).collect::<Result<Vec<_>, _>>()?;
    let mut checks = vec![];
    for c in &program.checks {
        checks.push(Check { condition: Condition::AtLeast(sizes.slot(&c.size)?, 0), what: c.what.clone() });
    }
    let commands = program.commands.iter().map(|c| command(c, &mut sizes, &buffers)).collect::<Result<Vec<_>, _>>()?;
    let places = program.outputs.iter().map(|(_, b)| buffers.place(b, &mut sizes)).collect::<Result<Vec<_>, _>>()?;
    let arena_bytes = sizes.slot(&program.arena_bytes)?;

    let mut programs = vec![];
    let mut sections = vec![];
    for (target, code) in targets.iter().zip(codes) {
        let (section, kernels) = code_section(program, code, &mut sizes)?;
        programs.push(TargetProgram {
            target: "cpu".into(),
            device: Device::Cpu { arch: arch(target), features: target.features.iter().map(|f| f.name().into()).collect() },
            code: Code::Section(sections.len() as u32),
            kernels,
            commands: commands.clone(),
            outputs: places.clone(),
            arena_bytes,
            peak_text: program.arena_bytes.to_string(),
        });
        sections.push(section);
    }
    let manifest = Manifest {
        name: program.name.clone(),
        producer: concat!("odc ", env!("CARGO_PKG_VERSION")).into(),
        symbols,
        inputs,
        outputs,
        shape_program: ShapeProgram { instrs: sizes.0.instrs().iter().map(instr).collect(), checks },
        weights: infos,
        digests: Digests::default(),
        targets: programs,
    };
    Ok(Parts { manifest, code: sections, weights: weights.drain(..).map(|(_, bytes)| bytes).collect() })
}

fn arch(target: &Target) -> Arch {
    match target.arch {
        odc_backend::Arch::X86_64 => Arch::X86_64,
        odc_backend::Arch::Aarch64 => Arch::Aarch64,
    }
}

/// Distinct constants in order of first use, and each constant's place among them.
fn weights(program: &Program) -> (Vec<([u8; 32], Bytes)>, Vec<u32>) {
    let mut known: BTreeMap<[u8; 32], u32> = BTreeMap::new();
    let mut list = vec![];
    let mut index = vec![];
    for c in &program.consts {
        let hash = c.hash();
        let k = *known.entry(hash).or_insert_with(|| {
            list.push((hash, c.bytes.clone()));
            list.len() as u32 - 1
        });
        index.push(k);
    }
    (list, index)
}

/// Kernels one after the other, each aligned as it asks.
fn code_section(program: &Program, codes: &[KernelCode], sizes: &mut Sizes) -> Result<(Vec<u8>, Vec<Kernel>), Problem> {
    let mut section: Vec<u8> = vec![];
    let mut kernels = vec![];
    for (k, code) in codes.iter().enumerate() {
        let align = usize::try_from(KERNEL_ALIGN).unwrap_or(16).max(code.alignment as usize);
        section.resize(section.len().next_multiple_of(align), 0);
        kernels.push(Kernel {
            name: code.name.clone(),
            offset: section.len() as u64,
            len: code.bytes.len() as u64,
            scratch_bytes: sizes.slot(&program.kernel_scratch(k as u32))?,
            source: program.kernel_loc(k as u32).0.iter().map(|n| n.to_string()).collect(),
            gpu: None,
        });
        section.extend_from_slice(&code.bytes);
    }
    Ok((section, kernels))
}

fn command(c: &program::Command, sizes: &mut Sizes, buffers: &Buffers<'_>) -> Result<Command, Problem> {
    Ok(match c {
        program::Command::Dispatch { kernel, buffers: list, dims, grid, grain, .. } => Command::Dispatch(Dispatch {
            kernel: *kernel,
            buffers: list.iter().map(|b| buffers.place(b, sizes)).collect::<Result<_, _>>()?,
            dims: dims.iter().map(|d| sizes.slot(d)).collect::<Result<_, _>>()?,
            bytes: vec![],
            grid: sizes.slot(grid)?,
            grain: sizes.slot(grain)?,
        }),
        program::Command::Copy { src, dst, bytes } => {
            Command::Copy { src: buffers.place(src, sizes)?, dst: buffers.place(dst, sizes)?, bytes: sizes.slot(bytes)? }
        }
    })
}

struct Buffers<'a> {
    program: &'a Program,
    /// By constant.
    weights: &'a [u32],
}

impl Buffers<'_> {
    fn place(&self, b: &program::BufferRef, sizes: &mut Sizes) -> Result<BufferRef, Problem> {
        let missing = || Problem::new("ODC0391", format!("the plan refers to {b}, which does not exist"));
        Ok(match b {
            program::BufferRef::Input(k) => BufferRef::Input(*k),
            program::BufferRef::Const { id, offset } => {
                let index = *self.weights.get(id.0 as usize).ok_or_else(missing)?;
                BufferRef::Weight { index, offset: *offset }
            }
            program::BufferRef::Arena(k) => BufferRef::Arena { offset: sizes.slot(&self.program.slot(*k).ok_or_else(missing)?.offset)? },
        })
    }
}

/// Dims to slots: instruction k of the shape code defines slot k of the artifact's shape program.
struct Sizes(ShapeCode);

impl Sizes {
    fn slot(&mut self, d: &Dim) -> Result<Slot, Problem> {
        let help = "fix or bound the dim with --dim";
        self.0.dim(d).map(slot).map_err(|e| Problem::new("ODC0330", e).help(help))
    }
    fn port(&mut self, p: &Port) -> Result<TensorInfo, Problem> {
        Ok(TensorInfo {
            name: p.name.clone(),
            dtype: dtype(p.ty.dtype),
            shape: p.ty.shape.iter().map(|d| self.slot(d)).collect::<Result<_, _>>()?,
            shape_text: p.ty.shape.iter().map(Dim::to_string).collect(),
        })
    }
}

fn slot(r: Reg) -> Slot {
    Slot(r.0)
}

fn instr(i: &ShapeInstr) -> Instr {
    match *i {
        ShapeInstr::Const(c) => Instr::Const(c),
        ShapeInstr::InputDim { input, axis } => Instr::InputDim { input, axis },
        ShapeInstr::Add(a, b) => Instr::Add(slot(a), slot(b)),
        ShapeInstr::Sub(a, b) => Instr::Sub(slot(a), slot(b)),
        ShapeInstr::Mul(a, b) => Instr::Mul(slot(a), slot(b)),
        ShapeInstr::FloorDiv(a, b) => Instr::FloorDiv(slot(a), slot(b)),
        ShapeInstr::Min(a, b) => Instr::Min(slot(a), slot(b)),
        ShapeInstr::Max(a, b) => Instr::Max(slot(a), slot(b)),
    }
}

fn dtype(d: odc_ir::core::DType) -> DType {
    use odc_ir::core::DType as D;
    match d {
        D::F32 => DType::F32,
        D::F64 => DType::F64,
        D::F16 => DType::F16,
        D::BF16 => DType::BF16,
        D::I8 => DType::I8,
        D::I16 => DType::I16,
        D::I32 => DType::I32,
        D::I64 => DType::I64,
        D::U8 => DType::U8,
        D::U16 => DType::U16,
        D::U32 => DType::U32,
        D::U64 => DType::U64,
        D::Bool => DType::Bool,
    }
}

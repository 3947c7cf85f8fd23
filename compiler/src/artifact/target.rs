//! One target's program in the artifact's terms: kernels with their code, commands, buffers, and what they ask of the device.

use super::sizes::Sizes;
use super::weights::Weights;
use crate::kernels::Codes;
use crate::problem::Problem;
use crate::target::AnyTarget;
use odc_backend::{GpuCode, GpuTarget, KernelCode};
use odc_format::{
    Access, Arch, ArenaBuffer, BufferRef, Carried, Code, Command, Device, Dispatch, GpuKernel, GpuLimits, KERNEL_ALIGN, Kernel, Language,
    Loop, LoopCondition, Moving, TargetProgram,
};
use odc_ir::program::{self, Program, lives};
use std::collections::BTreeSet;

pub struct Assembly<'a> {
    /// Which of the artifact's programs it is.
    pub at: usize,
    pub program: &'a Program,
    pub weights: &'a Weights,
    pub sizes: &'a mut Sizes,
}

impl Assembly<'_> {
    /// The program and its code section, which will be number `section`.
    pub fn program(&mut self, target: &AnyTarget, code: &Codes, section: u32) -> Result<(TargetProgram, Vec<u8>), Problem> {
        let p = self.program;
        let commands = p.commands.iter().map(|c| self.command(c)).collect::<Result<Vec<_>, _>>()?;
        let outputs = p.outputs.iter().map(|(_, b)| self.place(b)).collect::<Result<Vec<_>, _>>()?;
        let arena_bytes = self.sizes.slot(&p.arena_bytes)?;
        let (kernels, bytes, name, device) = match (code, target) {
            (Codes::Cpu(codes), AnyTarget::Cpu(t)) => {
                let (kernels, bytes) = self.cpu_kernels(codes)?;
                let features = t.features.iter().map(|f| f.name().into()).collect();
                (kernels, bytes, "cpu", Device::Cpu { arch: arch(t.arch), features })
            }
            (Codes::Gpu(codes), AnyTarget::Gpu(t)) => {
                let (kernels, bytes) = self.gpu_kernels(codes)?;
                (kernels, bytes, t.name.as_str(), self.gpu_device(codes, t))
            }
            (Codes::Cpu(_), AnyTarget::Gpu(_)) | (Codes::Gpu(_), AnyTarget::Cpu(_)) => {
                return Err(Problem::new("ODC0391", format!("the code for {} is of another device", target.name())));
            }
        };
        let peak_text = p.arena_bytes.to_string();
        let buffers = self.buffers()?;
        let code = Code::Section(section);
        Ok((TargetProgram { target: name.into(), device, code, kernels, commands, outputs, arena_bytes, peak_text, buffers }, bytes))
    }

    /// What lives in the arena, and when.
    fn buffers(&mut self) -> Result<Vec<ArenaBuffer>, Problem> {
        let mut out = vec![];
        for (slot, life) in self.program.slots.iter().zip(lives(self.program)) {
            let Some(life) = life else { continue };
            let (offset, bytes) = (self.sizes.slot(&slot.offset)?, self.sizes.slot(&slot.bytes)?);
            let (start, end) = (life.start as u32, life.end as u32);
            out.push(ArenaBuffer { name: slot.note.clone(), offset, bytes, bytes_text: slot.bytes.to_string(), start, end });
        }
        Ok(out)
    }

    /// Kernels one after the other, each aligned as it asks.
    fn cpu_kernels(&mut self, codes: &[KernelCode]) -> Result<(Vec<Kernel>, Vec<u8>), Problem> {
        let (mut section, mut kernels) = (vec![], vec![]);
        for (k, code) in codes.iter().enumerate() {
            kernels.push(self.kernel(k as u32, &code.name, &code.bytes, code.alignment, &mut section)?);
        }
        Ok((kernels, section))
    }

    fn gpu_kernels(&mut self, codes: &[GpuCode]) -> Result<(Vec<Kernel>, Vec<u8>), Problem> {
        let (mut section, mut kernels) = (vec![], vec![]);
        for (k, code) in codes.iter().enumerate() {
            let mut kernel = self.kernel(k as u32, &code.name, &code.bytes, 1, &mut section)?;
            let access = self.program.kernel_access(k as u32);
            let access = access.into_iter().map(|w| if w { Access::ReadWrite } else { Access::Read }).collect();
            kernel.gpu = Some(GpuKernel { workgroup: code.workgroup, access });
            kernels.push(kernel);
        }
        Ok((kernels, section))
    }

    fn kernel(&mut self, k: u32, name: &str, bytes: &[u8], align: u32, section: &mut Vec<u8>) -> Result<Kernel, Problem> {
        let align = usize::try_from(KERNEL_ALIGN).unwrap_or(16).max(align as usize);
        section.resize(section.len().next_multiple_of(align), 0);
        let kernel = Kernel {
            name: name.into(),
            offset: section.len() as u64,
            len: bytes.len() as u64,
            scratch_bytes: self.sizes.slot(&self.program.kernel_scratch(k))?,
            source: self.program.kernel_loc(k).0.iter().map(|n| n.to_string()).collect(),
            gpu: None,
        };
        section.extend_from_slice(bytes);
        Ok(kernel)
    }

    /// No more than the kernels use.
    fn gpu_device(&self, codes: &[GpuCode], target: &GpuTarget) -> Device {
        let mut limits = GpuLimits::default();
        let mut features = BTreeSet::new();
        for code in codes {
            features.extend(code.features.iter().map(|f| f.to_string()));
            limits.invocations = limits.invocations.max(code.workgroup.iter().fold(1, |n, w| n.saturating_mul(*w)));
            limits.workgroup_bytes = limits.workgroup_bytes.max(code.workgroup_bytes);
        }
        for c in &self.program.commands {
            if let program::Command::Dispatch { buffers, bytes, .. } = c {
                limits.storage_buffers = limits.storage_buffers.max(buffers.len() as u32);
                let known = bytes.iter().filter_map(|d| u64::try_from(d.as_const()?).ok());
                limits.binding_bytes = known.fold(limits.binding_bytes, u64::max);
            }
        }
        let language = match target.language {
            odc_backend::Language::Wgsl => Language::Wgsl,
            odc_backend::Language::Spirv => Language::Spirv,
            odc_backend::Language::Metal => Language::Msl,
        };
        Device::Gpu { language, features: features.into_iter().collect(), limits }
    }

    fn command(&mut self, c: &program::Command) -> Result<Command, Problem> {
        Ok(match c {
            program::Command::Dispatch { kernel, buffers, dims, grid, grain, bytes, .. } => Command::Dispatch(Dispatch {
                kernel: *kernel,
                buffers: buffers.iter().map(|b| self.place(b)).collect::<Result<_, _>>()?,
                dims: dims.iter().map(|d| self.sizes.slot(d)).collect::<Result<_, _>>()?,
                bytes: bytes.iter().map(|d| self.sizes.slot(d)).collect::<Result<_, _>>()?,
                grid: self.sizes.slot(grid)?,
                grain: self.sizes.slot(grain)?,
            }),
            program::Command::Size { from, .. } => Command::Size { from: self.place(from)? },
            program::Command::Copy { src, dst, bytes } => {
                Command::Copy { src: self.place(src)?, dst: self.place(dst)?, bytes: self.sizes.slot(bytes)? }
            }
            program::Command::If { condition, .. } => Command::If { condition: self.place(condition)? },
            program::Command::Else => Command::Else,
            program::Command::Loop(l) => Command::Loop(self.loops(l)?),
            program::Command::End => Command::End,
        })
    }

    fn loops(&mut self, l: &program::Loop) -> Result<Loop, Problem> {
        let condition = match &l.condition {
            Some(c) => Some(LoopCondition { initial: self.place(&c.initial)?, place: self.place(&c.place)? }),
            None => None,
        };
        let mut carried = vec![];
        for c in &l.carried {
            let (initial, result, spare) = (self.place(&c.initial)?, self.place(&c.result)?, self.place(&c.spare)?);
            carried.push(Carried { initial, result, spare, bytes: self.sizes.slot(&c.bytes)? });
        }
        let mut moving = vec![];
        for m in &l.moving {
            moving.push(Moving { base: self.place(&m.base)?, step: self.sizes.slot(&m.step)?, written: m.written });
        }
        Ok(Loop {
            trips: self.sizes.slot(&l.trips)?,
            limit: l.limit.as_ref().map(|b| self.place(b)).transpose()?,
            condition,
            iteration: l.iteration.as_ref().map(|b| self.place(b)).transpose()?,
            carried,
            moving,
        })
    }

    fn place(&mut self, b: &program::BufferRef) -> Result<BufferRef, Problem> {
        let missing = || Problem::new("ODC0391", format!("the plan refers to {b}, which does not exist"));
        Ok(match b {
            program::BufferRef::Input(k) => BufferRef::Input(*k),
            program::BufferRef::Output(k) => BufferRef::Output(*k),
            program::BufferRef::Local(k) => BufferRef::Local(*k),
            program::BufferRef::Const { id, offset } => {
                BufferRef::Weight { index: self.weights.index(self.at, *id).ok_or_else(missing)?, offset: *offset }
            }
            program::BufferRef::Arena(k) => {
                BufferRef::Arena { offset: self.sizes.slot(&self.program.slot(*k).ok_or_else(missing)?.offset)? }
            }
        })
    }
}

fn arch(a: odc_backend::Arch) -> Arch {
    match a {
        odc_backend::Arch::X86_64 => Arch::X86_64,
        odc_backend::Arch::Aarch64 => Arch::Aarch64,
    }
}

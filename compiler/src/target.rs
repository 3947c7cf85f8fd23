//! What odc compiles for: CPUs by instruction set, GPUs by language, features and limits.

use odc_backend::{Arch, Codegen, Feature, GpuFeature, GpuLimits, GpuTarget, Language, Target, TargetError};
use odc_passes::{Coop, Cpu, Gpu, Machine};
use serde::Serialize;

/// What makes code for CPUs where nothing else is asked for: LLVM, where odc was built with it.
pub const CODEGEN: Codegen = if cfg!(feature = "llvm") { Codegen::Llvm } else { Codegen::Cranelift };

#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum AnyTarget {
    Cpu(Target),
    Gpu(GpuTarget),
}

impl AnyTarget {
    /// `cpu`, `cpu:x86-64-v3`, `wgsl`, `spirv:f16+subgroups`, …
    pub fn parse(name: &str) -> Result<AnyTarget, TargetError> {
        Self::parse_for(name, CODEGEN)
    }

    /// The same, with `codegen` to make code for CPUs.
    pub fn parse_for(name: &str, codegen: Codegen) -> Result<AnyTarget, TargetError> {
        match GpuTarget::parse(name) {
            Some(gpu) => gpu.map(AnyTarget::Gpu),
            None if codegen == Codegen::Llvm && CODEGEN != Codegen::Llvm => Err(TargetError::NeedsLlvm { name: name.into() }),
            None => Target::parse_for(name, codegen).map(AnyTarget::Cpu),
        }
    }

    /// Names that `parse` takes, the features of GPUs one at a time.
    pub fn names() -> Vec<String> {
        let llvm = if CODEGEN == Codegen::Llvm { Target::LLVM_NAMES } else { &[] };
        let mut names: Vec<String> = Target::NAMES.iter().chain(llvm).map(|n| n.to_string()).collect();
        for l in Language::ALL {
            names.push(l.name().into());
            names.extend(l.features().iter().map(|f| format!("{}:{}", l.name(), f.name())));
        }
        names
    }

    pub fn name(&self) -> &str {
        match self {
            AnyTarget::Cpu(t) => &t.name,
            AnyTarget::Gpu(t) => &t.name,
        }
    }

    pub fn gpu(&self) -> Option<&GpuTarget> {
        match self {
            AnyTarget::Gpu(t) => Some(t),
            AnyTarget::Cpu(_) => None,
        }
    }

    /// How many features it asks of a device.
    fn features(&self) -> usize {
        match self {
            AnyTarget::Cpu(t) => t.features.len(),
            AnyTarget::Gpu(t) => t.features.len(),
        }
    }

    /// What passes must know of it; targets with the same machine share one program.
    pub fn machine(&self) -> Machine {
        match self {
            AnyTarget::Cpu(t) => Machine::Cpu(Cpu { lanes: t.vector_bits / 32, registers: t.vector_registers }),
            AnyTarget::Gpu(t) => {
                let GpuLimits { storage_buffers, binding_bytes, invocations, workgroup_bytes, coop } = t.limits;
                let (f16, subgroups, dot) = (t.has(GpuFeature::F16), t.has(GpuFeature::Subgroups), t.has(GpuFeature::Dot));
                let coop = t.has(GpuFeature::Coop).then_some(Coop { f16: coop.f16, i8: coop.i8, subgroup: coop.subgroup });
                let busy = t.costs.busy;
                Machine::Gpu(Gpu { f16, subgroups, dot, coop, invocations, workgroup_bytes, storage_buffers, binding_bytes, busy })
            }
        }
    }

    /// What it is, in a few words.
    pub fn about(&self) -> String {
        let or = |words: Vec<&str>, none: &str| if words.is_empty() { none.to_string() } else { words.join(" ") };
        match self {
            AnyTarget::Cpu(t) => {
                let features = or(t.features.iter().map(|f: &Feature| f.name()).collect(), "baseline");
                let arch: Arch = t.arch;
                format!("{} {}-bit vectors, {features}", arch.name(), t.vector_bits)
            }
            AnyTarget::Gpu(t) => {
                let language = match t.language {
                    Language::Wgsl => "WebGPU: browsers, and any GPU through wgpu",
                    Language::Spirv => "Vulkan",
                    Language::Metal => "Apple GPUs",
                };
                let features = or(t.features.iter().map(|f| f.webgpu()).collect(), "what every device has");
                format!("{language}; {features}")
            }
        }
    }
}

/// Each target once, in the order of preference. Of a language, more features come first: runtimes take the first that the device can
/// run, and no program would be found behind one that needs less.
pub(crate) fn ordered(targets: &[AnyTarget]) -> Vec<AnyTarget> {
    let mut once: Vec<AnyTarget> = vec![];
    for t in targets {
        if !once.contains(t) {
            once.push(t.clone());
        }
    }
    let language = |t: &AnyTarget| t.gpu().map(|g| g.language);
    let rank = |t: &AnyTarget| once.iter().position(|o| language(o) == language(t));
    let mut all = once.clone();
    all.sort_by_key(|t| (rank(t), std::cmp::Reverse(t.features())));
    all
}

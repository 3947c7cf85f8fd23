//! The manifest: everything that the runtime knows about a model, as plain serde types.

use crate::{
    DType,
    shape::{ShapeProgram, Slot},
};
use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub name: String,
    /// The compiler and its version.
    pub producer: String,
    pub symbols: Vec<SymbolInfo>,
    pub inputs: Vec<TensorInfo>,
    pub outputs: Vec<TensorInfo>,
    /// What elements of type [`DType::Str`] stand for, by number. Strings that are not here have numbers past its end, which whoever
    /// runs the model gives out.
    pub strings: Vec<String>,
    pub shape_program: ShapeProgram,
    /// What the runtime checks of the inputs' values before a run, where it can see them.
    pub in_range: Vec<InRange>,
    /// Ascending by offset; shared by all targets.
    pub weights: Vec<WeightInfo>,
    /// SHA-256 of the parts that a page downloads, so that a damaged one is refused before it is used.
    pub digests: Digests,
    /// The runtime takes the first one that the machine can run, so the best comes first.
    pub targets: Vec<TargetProgram>,
}

/// A browser has SHA-256 and no other fast hash; artifacts without GPU targets leave these empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digests {
    /// Of each code section, in order.
    pub code: Vec<[u8; 32]>,
    /// Bytes of a chunk of the weights section; the last one may be shorter.
    pub chunk_bytes: u64,
    /// Of each chunk, in order.
    pub chunks: Vec<[u8; 32]>,
}

/// A dim that inputs decide. The runtime checks the bounds before anything runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolInfo {
    pub name: String,
    pub lo: i64,
    /// `i64::MAX`: no upper bound.
    pub hi: i64,
    pub multiple_of: i64,
    pub slot: Slot,
}

/// An input or output. The runtime checks that an input's dims equal its slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<Slot>,
    /// The same for people: "batch", "2*h", "384".
    pub shape_text: Vec<String>,
}

/// Element k of an integer input, which addresses something, lies in the range `k % ranges.len()`, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InRange {
    pub input: u32,
    pub ranges: Vec<(Slot, Slot)>,
    /// The operator and its node, for people: "Gather /embed".
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightInfo {
    /// Hash of the content, which names it.
    pub hash: [u8; 32],
    /// In the weights section, 64-byte aligned.
    pub offset: u64,
    pub len: u64,
}

/// One compiled form of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetProgram {
    /// "cpu", "wgsl", "spirv:f16", "metal": a language and the features that its kernels may use.
    pub target: String,
    pub device: Device,
    pub code: Code,
    pub kernels: Vec<Kernel>,
    pub commands: Vec<Command>,
    /// Where each output of the manifest lies when the commands have run.
    pub outputs: Vec<BufferRef>,
    pub arena_bytes: Slot,
    /// `arena_bytes` as a formula for people.
    pub peak_text: String,
    /// What lives in the arena, for people: no runtime looks at it.
    pub buffers: Vec<ArenaBuffer>,
}

/// A tensor in the arena, or several that take over its memory from each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArenaBuffer {
    /// Types and the ONNX nodes that they come from.
    pub name: String,
    pub offset: Slot,
    pub bytes: Slot,
    /// `bytes` as a formula for people.
    pub bytes_text: String,
    /// Commands: first written at `start`, last needed at `end`, which for outputs is the number of commands.
    pub start: u32,
    pub end: u32,
}

/// What runs the kernels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Device {
    Cpu {
        arch: Arch,
        /// CPU features without which the kernels would fault: "avx", "fma".
        features: Vec<String>,
    },
    Gpu {
        language: Language,
        /// WebGPU names of what the kernels use beyond the default: "shader-f16", "subgroups".
        features: Vec<String>,
        limits: GpuLimits,
    },
}

/// What a GPU's kernels are written in. A code section holds one module a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// UTF-8 text.
    Wgsl,
    /// 32-bit words, little-endian.
    Spirv,
    /// UTF-8 text.
    Msl,
}

/// What the program needs of the device, in WebGPU's terms: no more than it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GpuLimits {
    /// maxStorageBuffersPerShaderStage
    pub storage_buffers: u32,
    /// maxStorageBufferBindingSize: of constants and of buffers whose size does not depend on the inputs.
    pub binding_bytes: u64,
    /// maxComputeInvocationsPerWorkgroup
    pub invocations: u32,
    /// maxComputeWorkgroupStorageSize
    pub workgroup_bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    pub const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86-64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// The architecture of this build, if odc knows it.
    pub const fn host() -> Option<Arch> {
        if cfg!(target_arch = "x86_64") {
            Some(Arch::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Arch::Aarch64)
        } else {
            None
        }
    }
}

/// Where a target's kernels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Code {
    /// In the artifact's n-th code section.
    Section(u32),
    /// Linked into the program; the runtime gets a table of function pointers in the order of the kernels.
    Linked,
}

/// On a CPU `fn(buffers: *const *mut u8, dims: *const i64, scratch: *mut u8, begin: i64, end: i64)`: System V on x86-64,
/// AAPCS64 on AArch64, position-independent, no relocations. Computes grid items `begin..end`, on any thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    pub name: String,
    /// In the code section, 16-byte aligned; 0 for linked kernels. A GPU kernel is a module whose entry point has the kernel's name.
    pub offset: u64,
    pub len: u64,
    /// Bytes of private, 64-byte aligned memory that each thread needs.
    pub scratch_bytes: Slot,
    /// Names of the ONNX nodes that it computes.
    pub source: Vec<String>,
    /// For GPU kernels.
    pub gpu: Option<GpuKernel>,
}

/// How a GPU kernel is bound: group 0 has the buffers as bindings 0.., then, if there are dims, one uniform buffer of 32-bit
/// signed sizes, padded to 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuKernel {
    /// Invocations of a workgroup.
    pub workgroup: [u32; 3],
    /// One a buffer.
    pub access: Vec<Access>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    Read,
    ReadWrite,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    Dispatch(Dispatch),
    Copy {
        src: BufferRef,
        dst: BufferRef,
        bytes: Slot,
    },
    /// The number there (`i64`) is what [`Instr::Said`](crate::Instr::Said) gives from here on. Only in CPU programs.
    Size {
        from: BufferRef,
    },
    /// The commands up to its `Else` if the bool there holds, otherwise those from there to its `End`. Only for CPU targets.
    If {
        condition: BufferRef,
    },
    Else,
    /// The commands up to its `End`, again and again. Only for CPU targets.
    Loop(Loop),
    /// Of the innermost `Else` or `Loop` that has none yet.
    End,
}

/// Locals are numbered through a program in order of definition: two for each carried value, then one for each moving buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    /// The most iterations.
    pub trips: Slot,
    /// An i64 that also bounds them.
    pub limit: Option<BufferRef>,
    pub condition: Option<LoopCondition>,
    /// Where each iteration finds its number, an i64.
    pub iteration: Option<BufferRef>,
    pub carried: Vec<Carried>,
    pub moving: Vec<Moving>,
}

/// A bool before each iteration: `initial` first, later what the body left in `place`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopCondition {
    pub initial: BufferRef,
    pub place: BufferRef,
}

/// Iterations read local 2k and write local 2k + 1; the last one written ends in `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    pub initial: BufferRef,
    pub result: BufferRef,
    /// As large as the result: iterations write the two in turn.
    pub spare: BufferRef,
    pub bytes: Slot,
}

/// Iteration i sees what begins `i * step` bytes behind `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    pub base: BufferRef,
    pub step: Slot,
    pub written: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    pub kernel: u32,
    /// `buffers[k]` of the kernel, in this order.
    pub buffers: Vec<BufferRef>,
    /// `dims[k]` of the kernel, in this order.
    pub dims: Vec<Slot>,
    /// Bytes of each buffer, for GPU targets: a binding is that large, rounded up to 16.
    pub bytes: Vec<Slot>,
    /// How many grid items there are; none is legal. On a GPU they are workgroups: of n, x = min(n, 65535) and y = ceil(n / x).
    pub grid: Slot,
    /// The least number of grid items that is worth a thread.
    pub grain: Slot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BufferRef {
    /// The caller's memory, read in place: aligned to its element only, never written.
    Input(u32),
    Weight {
        index: u32,
        offset: u64,
    },
    Arena {
        offset: Slot,
    },
    /// The memory of an output, outside the arena: the caller's, or the session's. Only for GPU targets.
    Output(u32),
    /// What a loop around the command says at each iteration.
    Local(u32),
}

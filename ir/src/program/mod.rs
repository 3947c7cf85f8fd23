//! The program: what a runtime does, in order. Kernels in loop IR, commands that run them on buffers, and one arena in which
//! every buffer has its place; all sizes are expressions of the dims. It becomes the artifact's command list.

mod control;
mod interp;
mod live;
mod shape;
mod text;
mod verify;

pub use control::{Carried, Condition, Loop, Moving, Structure, structure};
pub use interp::{CallKernel, run, run_with};
pub use live::{Life, lives};
pub use shape::{Reg, ShapeCode, ShapeCodeError, ShapeInstr};
pub use text::parse_program;
pub use verify::{ProgramError, sample_bindings, verify_program};

use crate::core::{Binding, Const, ConstId, Dim, InRange, Loc, Ranges, Sym, Symbol, TensorType, symbol_ranges};
use crate::loops;
use std::collections::BTreeMap;

/// Every place in the arena starts at a multiple of this many bytes.
pub const ALIGN: i64 = 64;

/// What lowering gives for one dispatch: the kernel, and what this call of it needs. The function's pointer parameters are the
/// dispatch's operands, then its results.
#[derive(Clone, PartialEq, Debug)]
pub struct Kernel {
    pub func: loops::Func,
    /// Values of the function's index parameters, in order.
    pub dims: Vec<Dim>,
    /// Iterations of the function's grid loop.
    pub grid: Dim,
    /// Least grid items worth a thread of their own.
    pub grain: Dim,
    /// Private memory of one thread.
    pub scratch_bytes: Dim,
    /// How it works, in a line for people: the schedule and its sizes.
    pub note: String,
}

/// An input or output of the model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    pub name: String,
    pub ty: TensorType,
}

/// Where a buffer begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BufferRef {
    /// The caller's memory: never written.
    Input(u32),
    /// `offset` bytes into a constant: never written.
    Const { id: ConstId, offset: u64 },
    /// The place that `slots[k]` describes.
    Arena(u32),
    /// The memory of output k, outside of the arena: the caller's, or the session's.
    Output(u32),
    /// What a loop around the command says at each iteration: see [`Loop`].
    Local(u32),
}

impl BufferRef {
    /// Is it memory that commands write?
    pub fn is_written(&self) -> bool {
        match self {
            BufferRef::Arena(_) | BufferRef::Output(_) | BufferRef::Local(_) => true,
            BufferRef::Input(_) | BufferRef::Const { .. } => false,
        }
    }
}

/// A place in the arena. Slots whose bytes overlap are never alive together, but for a part and the slot that it lies within.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    /// A multiple of [`ALIGN`]; of a part, of its elements' size.
    pub offset: Dim,
    pub bytes: Dim,
    /// The slot that this is a part of: what is written here is written there.
    pub within: Option<u32>,
    /// What lives there, for people: type and ONNX nodes.
    pub note: String,
}

/// A size that must not be negative, or the run is refused: `h - 6` where a convolution has no padding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    pub size: Dim,
    /// Whose size it is, for the message.
    pub what: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    Dispatch {
        /// Position in [`Program::kernels`].
        kernel: u32,
        /// One for each pointer parameter: the first [`Command::Dispatch::reads`] are read, the others written.
        buffers: Vec<BufferRef>,
        /// How many of `buffers` are operands.
        reads: u32,
        /// One for each index parameter.
        dims: Vec<Dim>,
        grid: Dim,
        grain: Dim,
        /// Private memory of one thread, in bytes.
        scratch: Dim,
        /// Bytes of each of `buffers`, where a machine binds them by range; empty elsewhere.
        bytes: Vec<Dim>,
        loc: Loc,
    },
    Copy {
        src: BufferRef,
        dst: BufferRef,
        bytes: Dim,
    },
    /// The number there (`i64`) is this size: the value of a symbol that data decides, or what a known size must be.
    Size {
        size: Dim,
        from: BufferRef,
    },
    /// The commands up to its `Else` if the bool there holds, otherwise those from there to its `End`.
    If {
        condition: BufferRef,
        loc: Loc,
    },
    Else,
    Loop(Loop),
    /// Of the innermost `Else` or `Loop` that has none yet.
    End,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    pub name: String,
    pub symbols: BTreeMap<Sym, Symbol>,
    /// What the symbols' bounds do not already promise. All else holds only where these do.
    pub checks: Vec<Check>,
    /// What the values of the inputs must be.
    pub in_range: Vec<InRange>,
    pub inputs: Vec<Port>,
    /// Where each output lies when the commands have run.
    pub outputs: Vec<(Port, BufferRef)>,
    /// Only those that a command or an output refers to.
    pub consts: Vec<Const>,
    /// Distinct kernels with distinct names.
    pub kernels: Vec<loops::Func>,
    /// One a kernel: how it works, for people. May be empty.
    pub notes: Vec<String>,
    pub commands: Vec<Command>,
    pub slots: Vec<Slot>,
    pub arena_bytes: Dim,
}

impl Command {
    /// Every size that it speaks of.
    pub fn sizes(&self) -> Vec<&Dim> {
        match self {
            Command::Dispatch { dims, grid, grain, scratch, bytes, .. } => dims.iter().chain(bytes).chain([grid, grain, scratch]).collect(),
            Command::Copy { bytes, .. } => vec![bytes],
            Command::Size { size, .. } => vec![size],
            Command::Loop(l) => l.sizes().collect(),
            Command::If { .. } | Command::Else | Command::End => vec![],
        }
    }
    /// The buffers that it reads, then those that it writes.
    pub fn accesses(&self) -> (Vec<BufferRef>, Vec<BufferRef>) {
        match self {
            Command::Dispatch { buffers, reads, .. } => {
                let (reads, writes) = buffers.split_at((*reads as usize).min(buffers.len()));
                (reads.to_vec(), writes.to_vec())
            }
            Command::Copy { src, dst, .. } => (vec![*src], vec![*dst]),
            Command::Size { from, .. } => (vec![*from], vec![]),
            Command::If { condition, .. } => (vec![*condition], vec![]),
            Command::Loop(l) => l.accesses(),
            Command::Else | Command::End => (vec![], vec![]),
        }
    }
}

impl Program {
    pub fn new(name: &str) -> Self {
        Program {
            name: name.into(),
            symbols: BTreeMap::new(),
            checks: vec![],
            in_range: vec![],
            inputs: vec![],
            outputs: vec![],
            consts: vec![],
            kernels: vec![],
            notes: vec![],
            commands: vec![],
            slots: vec![],
            arena_bytes: Dim::ZERO,
        }
    }
    pub fn ranges(&self) -> Ranges {
        symbol_ranges(&self.symbols)
    }
    /// Sizes of the symbols at which plans are judged: see [`sample_bindings`].
    pub fn samples(&self) -> Vec<Binding> {
        sample_bindings(&self.symbols, &self.checks)
    }
    pub fn slot(&self, k: u32) -> Option<&Slot> {
        self.slots.get(k as usize)
    }
    pub fn constant(&self, id: ConstId) -> Option<&Const> {
        self.consts.get(id.0 as usize)
    }
    pub fn dispatch_count(&self) -> usize {
        self.commands.iter().filter(|c| matches!(c, Command::Dispatch { .. })).count()
    }
    /// Private memory that one thread needs for any call of kernel `k`: the most of its dispatches.
    pub fn kernel_scratch(&self, k: u32) -> Dim {
        let ranges = self.ranges();
        self.commands.iter().fold(Dim::ZERO, |most, c| match c {
            Command::Dispatch { kernel, scratch, .. } if *kernel == k => larger(&ranges, &most, scratch),
            _ => most,
        })
    }
    /// Which buffers of kernel `k` lie where kernels write, in any of its dispatches. A machine that binds buffers with a mode must
    /// bind these writable, even those that the kernel only reads: they may share memory with those that it writes.
    pub fn kernel_access(&self, k: u32) -> Vec<bool> {
        let mut writable: Vec<bool> = vec![];
        for c in &self.commands {
            let Command::Dispatch { kernel, buffers, reads, .. } = c else { continue };
            if *kernel == k {
                writable.resize(writable.len().max(buffers.len()), false);
                for (at, (w, b)) in writable.iter_mut().zip(buffers).enumerate() {
                    *w |= at >= *reads as usize || b.is_written();
                }
            }
        }
        writable
    }
    /// What is known of kernel `k` for people.
    pub fn note(&self, k: u32) -> &str {
        self.notes.get(k as usize).map_or("", String::as_str)
    }
    /// The ONNX nodes that kernel `k` computes, in order of its dispatches.
    pub fn kernel_loc(&self, k: u32) -> Loc {
        self.commands.iter().fold(Loc::none(), |all, c| match c {
            Command::Dispatch { kernel, loc, .. } if *kernel == k => all.fuse(loc),
            _ => all,
        })
    }
}

/// `max(a, b)`, decided where the ranges decide it.
pub fn larger(ranges: &Ranges, a: &Dim, b: &Dim) -> Dim {
    if ranges.le(a, b) {
        b.clone()
    } else if ranges.le(b, a) {
        a.clone()
    } else {
        a.max_with(b)
    }
}

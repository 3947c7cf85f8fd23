//! The machine that a module is prepared for, as far as fusing, scheduling and lowering must know it. Targets are the compiler's and
//! the backends'; those with the same machine share one program.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Machine {
    /// Threads over a grid, one thread an item, private scratch.
    Cpu(Cpu),
    /// Workgroups over a grid, invocations in a workgroup, memory that a workgroup shares.
    Gpu(Gpu),
}

/// The vectors of a core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cpu {
    /// Elements of 32 bits in one: 4, 8 or 16.
    pub lanes: u32,
    pub registers: u32,
}

impl Cpu {
    /// What every 64-bit CPU has.
    pub const BASELINE: Cpu = Cpu { lanes: 4, registers: 16 };
}

/// What kernels may use and how much of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Gpu {
    pub f16: bool,
    pub subgroups: bool,
    /// Sums of four products of bytes.
    pub dot: bool,
    /// Matrices that a subgroup multiplies together.
    pub coop: Option<Coop>,
    /// Of a workgroup.
    pub invocations: u32,
    /// Memory that a workgroup shares.
    pub workgroup_bytes: u32,
    /// Buffers of a kernel.
    pub storage_buffers: u32,
    /// Bytes of a buffer as a kernel sees it.
    pub binding_bytes: u64,
    /// Invocations that keep the device busy.
    pub busy: u32,
}

/// Rows, columns and depth of a product of matrices, by the factors' type, and invocations of a subgroup.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Coop {
    pub f16: [u32; 3],
    pub i8: [u32; 3],
    pub subgroup: u32,
}

impl Machine {
    /// A CPU without more than what every 64-bit CPU has.
    pub const CPU: Machine = Machine::Cpu(Cpu::BASELINE);

    pub const fn cpu(&self) -> Option<Cpu> {
        match self {
            Machine::Cpu(c) => Some(*c),
            Machine::Gpu(_) => None,
        }
    }
    pub const fn gpu(&self) -> Option<Gpu> {
        match self {
            Machine::Cpu(_) => None,
            Machine::Gpu(g) => Some(*g),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Machine::Cpu(Cpu { lanes: 4, .. }) => f.write_str("cpu"),
            Machine::Cpu(c) => write!(f, "cpu+{}", 32 * c.lanes),
            Machine::Gpu(g) => {
                f.write_str("gpu")?;
                let with = [(g.f16, "f16"), (g.subgroups, "subgroups"), (g.dot, "dot"), (g.coop.is_some(), "coop")];
                with.iter().filter(|(on, _)| *on).try_for_each(|(_, name)| write!(f, "+{name}"))
            }
        }
    }
}

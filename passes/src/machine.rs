//! The machine that a module is prepared for, as far as fusing, scheduling and lowering must know it. Targets are the compiler's and
//! the backends'; those with the same machine share one program.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Machine {
    /// Threads over a grid, one thread an item, private scratch.
    Cpu,
    /// Workgroups over a grid, invocations in a workgroup, memory that a workgroup shares.
    Gpu(Gpu),
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

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Machine::Cpu => f.write_str("cpu"),
            Machine::Gpu(g) => {
                f.write_str("gpu")?;
                let with = [(g.f16, "f16"), (g.subgroups, "subgroups"), (g.dot, "dot"), (g.coop.is_some(), "coop")];
                with.iter().filter(|(on, _)| *on).try_for_each(|(_, name)| write!(f, "+{name}"))
            }
        }
    }
}

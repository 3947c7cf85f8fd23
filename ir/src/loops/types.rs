//! Types of loop IR: `f32`, `vec<f32, 4>`, `index`, `ptr<f32, global>`, `coop<f16, a, 16, 16>`.

use crate::attr_enum;
use crate::core::{Attr, DType, ParseError, Parser, Type};
use std::fmt;

attr_enum! {
    /// Where memory lives.
    Space {
        /// Buffers: arguments of the kernel.
        Global "global",
        /// Memory of one thread or invocation, alive for one grid iteration.
        Scratch "scratch",
        /// Memory that the invocations of a workgroup share, alive for one grid iteration.
        Workgroup "workgroup",
    }
}

attr_enum! {
    /// What a cooperative matrix is in `a * b + acc`.
    Role {
        A "a",
        B "b",
        Acc "acc",
    }
}

/// A matrix that the invocations of a subgroup hold together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Coop {
    pub dtype: DType,
    pub role: Role,
    pub rows: u32,
    pub columns: u32,
}

impl Coop {
    /// The elements of memory that it is read from: those of 8 bits lie in words of four.
    pub fn memory(self) -> (DType, u32) {
        if self.dtype.size() == 1 { (DType::U32, 4) } else { (self.dtype, 1) }
    }
    /// How many rows it has in memory (columns, of a `b`), and of how many elements of memory.
    pub fn lines(self) -> (u32, u32) {
        let (lines, length) = if self.role == Role::B { (self.columns, self.rows) } else { (self.rows, self.columns) };
        (lines, length / self.memory().1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LoopType {
    Scalar(DType),
    Vector(DType, u32),
    /// 64-bit signed: counters, offsets, sizes.
    Index,
    Ptr(DType, Space),
    Coop(Coop),
}

impl LoopType {
    /// Element type of scalars, vectors and what a pointer points to; i64 for `index`.
    pub fn dtype(self) -> DType {
        match self {
            LoopType::Scalar(d) | LoopType::Vector(d, _) | LoopType::Ptr(d, _) => d,
            LoopType::Index => DType::I64,
            LoopType::Coop(c) => c.dtype,
        }
    }
    pub fn lanes(self) -> u32 {
        match self {
            LoopType::Vector(_, n) => n,
            LoopType::Scalar(_) | LoopType::Index | LoopType::Ptr(..) | LoopType::Coop(_) => 1,
        }
    }
    /// The same shape with another element type (`index` becomes a scalar unless the type is i64).
    pub fn with_dtype(self, d: DType) -> LoopType {
        match self {
            LoopType::Vector(_, n) => LoopType::Vector(d, n),
            LoopType::Index if d == DType::I64 => LoopType::Index,
            LoopType::Scalar(_) | LoopType::Index | LoopType::Ptr(..) | LoopType::Coop(_) => LoopType::Scalar(d),
        }
    }
}

impl fmt::Display for LoopType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoopType::Scalar(d) => write!(f, "{d}"),
            LoopType::Vector(d, n) => write!(f, "vec<{d}, {n}>"),
            LoopType::Index => f.write_str("index"),
            LoopType::Ptr(d, s) => write!(f, "ptr<{d}, {s}>"),
            LoopType::Coop(Coop { dtype, role, rows, columns }) => write!(f, "coop<{dtype}, {role}, {rows}, {columns}>"),
        }
    }
}

impl Type for LoopType {
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        if p.eat("index") {
            return Ok(LoopType::Index);
        }
        if p.eat("ptr") {
            p.expect("<")?;
            let d = p.dtype()?;
            p.expect(",")?;
            let s = Space::parse(p)?;
            p.expect(">")?;
            return Ok(LoopType::Ptr(d, s));
        }
        if p.eat("coop") {
            p.expect("<")?;
            let dtype = p.dtype()?;
            p.expect(",")?;
            let role = Role::parse(p)?;
            p.expect(",")?;
            let rows = u32::parse(p)?;
            p.expect(",")?;
            let columns = u32::parse(p)?;
            p.expect(">")?;
            return Ok(LoopType::Coop(Coop { dtype, role, rows, columns }));
        }
        if p.eat("vec") {
            p.expect("<")?;
            let d = p.dtype()?;
            p.expect(",")?;
            let n = u32::parse(p)?;
            p.expect(">")?;
            return Ok(LoopType::Vector(d, n));
        }
        p.dtype().map(LoopType::Scalar)
    }
    fn is_poison(&self) -> bool {
        false
    }
}

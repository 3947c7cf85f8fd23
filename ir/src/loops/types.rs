//! Types of loop IR: `f32`, `f32x4`, `index`, `ptr<f32, global>`.

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

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LoopType {
    Scalar(DType),
    Vector(DType, u32),
    /// 64-bit signed: counters, offsets, sizes.
    Index,
    Ptr(DType, Space),
}

impl LoopType {
    /// Element type of scalars, vectors and what a pointer points to; i64 for `index`.
    pub fn dtype(self) -> DType {
        match self {
            LoopType::Scalar(d) | LoopType::Vector(d, _) | LoopType::Ptr(d, _) => d,
            LoopType::Index => DType::I64,
        }
    }
    pub fn lanes(self) -> u32 {
        match self {
            LoopType::Vector(_, n) => n,
            LoopType::Scalar(_) | LoopType::Index | LoopType::Ptr(..) => 1,
        }
    }
    /// The same shape with another element type (`index` becomes a scalar unless the type is i64).
    pub fn with_dtype(self, d: DType) -> LoopType {
        match self {
            LoopType::Vector(_, n) => LoopType::Vector(d, n),
            LoopType::Index if d == DType::I64 => LoopType::Index,
            LoopType::Scalar(_) | LoopType::Index | LoopType::Ptr(..) => LoopType::Scalar(d),
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

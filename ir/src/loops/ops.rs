//! The loop ops. Element-wise ops take scalars or vectors alike; offsets count elements, not bytes.

use crate::core::{Binary, DType, MANY, Scalar, Unary};
use crate::{attr_enum, ops};

attr_enum! {
    /// What may be assumed of a loop's iterations.
    LoopKind {
        /// One after the other.
        Serial "serial",
        /// Independent; any thread, any order. Only as the last op of a kernel, counting from 0 in steps of 1.
        Grid "grid",
        /// The invocations of a workgroup, all at once: the last op of a GPU kernel's grid loop, counting from 0 to a constant in steps
        /// of 1. What one stores, another sees only after a `barrier`.
        Block "block",
        /// Serial, and to be unrolled completely: the trip count is constant and small.
        Unrolled "unrolled",
    }
}

attr_enum! {
    /// Where an invocation stands in its subgroup.
    LaneInfo {
        /// Its position in the subgroup.
        Lane "lane",
        /// How many invocations the subgroup has.
        Size "size",
        /// Which subgroup of the workgroup it is.
        Subgroup "subgroup",
        /// How many subgroups the workgroup has.
        Count "count",
    }
}

ops! {
    /// A literal of the result's type (all lanes alike).
    Const "const" (0, 0) -> (1, 1) [0, 0] Pure { value: Scalar }
    /// Element-wise.
    Unary "unary" (1, 1) -> (1, 1) [0, 0] Pure { f: Unary }
    /// Element-wise; operands of one type; comparisons give bool lanes.
    Binary "binary" (2, 2) -> (1, 1) [0, 0] Pure { f: Binary }
    /// `a * b + c`, fused (rounded once) where the machine can, else rounded twice.
    Fma "fma" (3, 3) -> (1, 1) [0, 0] Pure {}
    /// `condition ? a : b`, lane by lane when the condition is a vector of bool.
    Select "select" (3, 3) -> (1, 1) [0, 0] Pure {}
    /// Value conversion to the result's element type; float to integer truncates and saturates (NaN gives 0).
    Cast "cast" (1, 1) -> (1, 1) [0, 0] Pure {}
    /// The same bits under the result's type of the same width.
    Bitcast "bitcast" (1, 1) -> (1, 1) [0, 0] Pure {}
    /// A scalar in every lane, or in every element of a matrix.
    Splat "splat" (1, 1) -> (1, 1) [0, 0] Pure {}
    /// One lane.
    Extract "extract" (1, 1) -> (1, 1) [0, 0] Pure { lane: u32 }
    /// vector, scalar: the vector with one lane replaced.
    Insert "insert" (2, 2) -> (1, 1) [0, 0] Pure { lane: u32 }
    /// byte offset: thread-local memory, 64-byte aligned if the offset is. Contents are undefined at first.
    Scratch "scratch" (1, 1) -> (1, 1) [0, 0] Pure {}
    /// An array of `len` elements that the workgroup shares; in a kernel's outermost block. Contents are undefined at first.
    Shared "shared" (0, 0) -> (1, 1) [0, 0] Pure { dtype: DType, len: u32 }
    /// Waits for all invocations of the workgroup, and orders their accesses to workgroup and global memory. Where control flow is the
    /// same for all.
    Barrier "barrier" (0, 0) -> (0, 0) [0, 0] Write {}
    /// ptr, offset, value: the 32-bit integer there becomes `f(it, value)`, at once for all observers.
    Atomic "atomic" (3, 3) -> (0, 0) [0, 0] Write { f: Binary }
    /// `f` (add, mul, min or max) over the values of a subgroup's invocations, in each of them. Where control flow is the same for all.
    Subgroup "subgroup" (1, 1) -> (1, 1) [0, 0] Read { f: Binary }
    /// A number about the invocation's subgroup.
    Lane "lane" (0, 0) -> (1, 1) [0, 0] Read { info: LaneInfo }
    /// An f32 rounded to half precision, as the low bits of a u32; the high ones are 0.
    HalfBits "half_bits" (1, 1) -> (1, 1) [0, 0] Pure {}
    /// The half-precision float in the low bits of a u32, as f32.
    FromHalfBits "from_half_bits" (1, 1) -> (1, 1) [0, 0] Pure {}
    /// Two u32 of four bytes each and an i32: the sum of the four products (of signed bytes, or of unsigned ones) and the i32, wrapping.
    Dot4 "dot4" (3, 3) -> (1, 1) [0, 0] Pure { signed: bool }
    /// ptr, offset, stride: a matrix that the subgroup holds together. Factors lie with their depth contiguous (rows of `a`, columns of `b`),
    /// an `acc` row by row; neighbours are `stride` apart. Operands and control flow are the same for the subgroup; so below.
    CoopLoad "coop_load" (3, 3) -> (1, 1) [0, 0] Read {}
    /// a, b, acc: `a * b + acc`, in `acc`'s type, summed in any order.
    CoopMma "coop_mma" (3, 3) -> (1, 1) [0, 0] Read {}
    /// ptr, offset, stride, acc.
    CoopStore "coop_store" (4, 4) -> (0, 0) [0, 0] Write {}
    /// ptr, offset: one element, or as many neighbours as the result has lanes.
    Load "load" (2, 2) -> (1, 1) [0, 0] Read {}
    /// ptr, offset, value.
    Store "store" (3, 3) -> (0, 0) [0, 0] Write {}
    /// lo, hi, step, then initial values: the region takes (counter, carried…) and yields the next carried values.
    For "for" (3, MANY) -> (0, MANY) [1, 1] Control { kind: LoopKind }
    /// condition: both regions yield the results.
    If "if" (1, 1) -> (0, MANY) [2, 2] Control {}
}

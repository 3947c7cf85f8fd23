//! The tensor ops. A structured op names its axes (`i0 in 0..n`) and gives each element by a scalar program; where the element
//! goes is an index map too (`store`), so that a transposed or reshaped result costs nothing.

use super::program::Program;
use super::schedule::Schedule;
use crate::core::{Callee, ConstId, Dim, LoopForm, Sym};
use crate::{attr_enum, ops};

attr_enum! {
    /// How a reduction combines. `ArgMax`/`ArgMin` yield the (first) position of the extreme along the one reduced axis as i64,
    /// the `…Last` forms the last position.
    ReduceKind {
        Sum "sum", Prod "prod", Max "max", Min "min",
        ArgMax "arg_max", ArgMin "arg_min", ArgMaxLast "arg_max_last", ArgMinLast "arg_min_last",
    }
}

impl ReduceKind {
    pub const fn is_arg(self) -> bool {
        matches!(self, ReduceKind::ArgMax | ReduceKind::ArgMin | ReduceKind::ArgMaxLast | ReduceKind::ArgMinLast)
    }
}

/// Axes with their extents.
pub type Axes = Vec<(Sym, Dim)>;

ops! {
    /// A weight or literal.
    Constant "constant" (0, 0) -> (1, 1) [0, 0] Pure { value: ConstId }
    /// `result[store(axes)] = body(axes)` for all axes; `store` visits every result element exactly once.
    Map "map" (0, crate::core::MANY) -> (1, 1) [0, 0] Pure { axes: Axes, store: Vec<Dim>, body: Program }
    /// `result[store(axes)] = epilogue(axes, combine over raxes of body(axes, raxes))`. An empty reduction gives the neutral element.
    Reduce "reduce" (0, crate::core::MANY) -> (1, 1) [0, 0] Pure { axes: Axes, raxes: Axes, kind: ReduceKind, store: Vec<Dim>, body: Program, epilogue: Program }
    /// The same bytes under the result's shape, each operand's behind those of the one before: no code, no copy.
    View "view" (1, crate::core::MANY) -> (1, 1) [0, 0] Pure {}
    /// data, then what `index` and `update` load: a copy of data in which, for all axes in row-major order, the element at `index`
    /// (clamped) becomes `update`; `Acc` in `update` is the element's present value, and what it loads of the data is the present one.
    Scatter "scatter" (1, crate::core::MANY) -> (1, 1) [0, 0] Pure { axes: Axes, index: Vec<Program>, update: Program }
    /// One kernel: the region's arguments are the operands, it yields the results; only those reach memory that others see.
    Dispatch "dispatch" (0, crate::core::MANY) -> (1, crate::core::MANY) [1, 1] Control { schedule: Schedule }
    /// A bool, then what both functions take: the results of `then` or of `otherwise`.
    If "if" (1, crate::core::MANY) -> (1, crate::core::MANY) [0, 0] Pure { then: Callee, otherwise: Callee }
    /// The body at most `trips` times: operands, parameters and results are as `form` says (see `LoopForm`).
    Loop "loop" (0, crate::core::MANY) -> (1, crate::core::MANY) [0, 0] Pure { body: Callee, trips: Dim, form: LoopForm }
}

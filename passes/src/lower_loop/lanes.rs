//! Neighbours along one axis that are computed together: how offsets move with them, and whether a whole op can be computed four elements at a
//! time with nothing read or stored but aligned groups of four.

use super::flat::{FlatOp, dims_of};
use odc_ir::core::{DType, Dim, Ranges, Sym};
use odc_ir::tensor::{Axes, Program};

/// Elements of a group: 16 bytes of 32-bit elements, the widest access that machines have.
pub(crate) const GROUP: i64 = 4;

/// The axis that lanes run along.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    pub axis: Sym,
    pub count: u32,
    /// The axis is a multiple of `count` at lane 0.
    pub aligned: bool,
}

/// How an offset moves with the lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stride {
    Uniform,
    Unit,
    Other,
}

/// Element types that fit a 128-bit vector four at a time.
pub(crate) fn vectorable(dt: DType) -> bool {
    matches!(dt, DType::F32 | DType::I32 | DType::U32)
}

impl Lanes {
    /// How `at` moves with the lanes.
    pub fn stride(&self, at: &Dim, ranges: &Ranges) -> Stride {
        if !at.uses(&self.axis) {
            return Stride::Uniform;
        }
        if let Some((a, _)) = at.linear_in(&self.axis) {
            return if a.is(1) { Stride::Unit } else { Stride::Other };
        }
        if !self.aligned {
            return Stride::Other;
        }
        // With the axis as count*q + lane, divisions may turn out not to move within a vector.
        let lane = Sym::new("$lane_l");
        match self.split(at, &lane, ranges).linear_in(&lane) {
            Some((a, _)) if a.is(1) => Stride::Unit,
            Some((a, _)) if a.is(0) => Stride::Uniform,
            _ => Stride::Other,
        }
    }

    /// `at` with the axis as `count*q + lane`.
    fn split(&self, at: &Dim, lane: &Sym, ranges: &Ranges) -> Dim {
        let q = Sym::new("$lane_q");
        let mut ranges = ranges.clone();
        let n = i64::from(self.count);
        ranges.set_axis(lane.clone(), &Dim::from(n));
        let hi = ranges.get(&self.axis).and_then(|r| r.hi.clone()).map(|h| h.floordiv(&Dim::from(n)));
        ranges.set(q.clone(), 0, hi);
        let split = at.subst(&|s| (*s == self.axis).then(|| Dim::from(&q) * n + Dim::from(lane)));
        ranges.simplify(&split)
    }

    /// Is `at` a multiple of the lanes at lane 0?
    fn whole(&self, at: &Dim, ranges: &Ranges) -> bool {
        let lane = Sym::new("$lane_l");
        let first = self.split(at, &lane, ranges).subst(&|s| (*s == lane).then_some(Dim::ZERO));
        !first.is_poison() && first.terms().iter().all(|(_, c)| c % i64::from(self.count) == 0)
    }

    /// Is what `at` reaches the same for all lanes, or one group?
    pub fn grouped(&self, at: &Dim, dtype: DType, ranges: &Ranges) -> Option<Stride> {
        match self.stride(at, ranges) {
            Stride::Unit if vectorable(dtype) && self.whole(at, ranges) => Some(Stride::Unit),
            Stride::Uniform => Some(Stride::Uniform),
            Stride::Unit | Stride::Other => None,
        }
    }

    /// Groups along the last of `axes`, if that is made of groups.
    pub fn along(axes: &Axes) -> Option<Lanes> {
        let (axis, n) = axes.last()?;
        n.as_const().filter(|n| *n > 0 && n % GROUP == 0)?;
        Some(Lanes::group(axis))
    }
    pub fn group(axis: &Sym) -> Lanes {
        Lanes { axis: axis.clone(), count: GROUP as u32, aligned: true }
    }

    /// How many loads of a program are groups, if no other moves with the lanes.
    pub fn loads(&self, op: &FlatOp, program: &Program, ranges: &Ranges) -> Option<usize> {
        let mut groups = 0;
        for (operand, index) in program.loads() {
            let source = op.sources.get(operand as usize)?;
            let dims = dims_of(index)?;
            match dims.first().filter(|_| source.flat) {
                Some(at) => groups += usize::from(self.grouped(at, source.dtype, ranges)? == Stride::Unit),
                // Clamped, or a scalar.
                None if dims.iter().any(|d| d.uses(&self.axis)) => return None,
                None => {}
            }
        }
        Some(groups)
    }
}

/// Groups of four results that an invocation computes at once, if all that they read is groups too or the same for all four.
pub(crate) fn results(op: &FlatOp, inner: &Axes, ranges: &Ranges) -> Option<Lanes> {
    let lanes = Lanes::along(inner)?;
    if op.kind.is_some_and(|k| k.is_arg()) {
        return None;
    }
    let ranges = ranges.with_axes(op.axes.iter().chain(&op.raxes).map(|(s, n)| (s, n)));
    let stored = if op.kind.is_some() { &op.epilogue } else { &op.body };
    let dtype = stored.dtype(stored.root?);
    lanes.loads(op, &op.body, &ranges)?;
    lanes.loads(op, &op.epilogue, &ranges)?;
    (lanes.grouped(&op.store, dtype, &ranges)? == Stride::Unit).then_some(lanes)
}

/// Groups of four terms of a reduction.
pub(crate) fn terms(op: &FlatOp, ranges: &Ranges) -> Option<Lanes> {
    let lanes = Lanes::along(&op.raxes)?;
    let ranges = ranges.with_axes(op.axes.iter().chain(&op.raxes).map(|(s, n)| (s, n)));
    let wide = op.kind.is_some_and(|k| !k.is_arg()) && vectorable(op.body.result_dtype());
    (wide && lanes.loads(op, &op.body, &ranges)? > 0).then_some(lanes)
}

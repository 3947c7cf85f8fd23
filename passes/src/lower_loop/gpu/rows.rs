//! The `rows` template: the stages' shared axes are the grid, a workgroup computes one row of each stage. What stays inside lies in
//! shared memory. A stage with many elements spreads them over the invocations; one with few reduces each of them together:
//! every invocation sums a part, then halves meet in shared memory (or subgroups, where the target has them).

use super::super::Region;
use super::super::emit::Emit;
use super::super::expr::{ExprEmit, Val, combined, scalar_type, store};
use super::super::flat::flatten;
use super::super::lanes;
use super::super::loops::{Stage, combine, combine_program, neutral};
use super::{define_axes, grid_sym, guarded, halve, local, name, shared, width, workgroups};
use crate::schedule::contraction::extent;
use odc_ir::core::{DType, Dim, Range, Sym, Value};
use odc_ir::loops::{LaneInfo, LoopKind, LoopType, Op};
use odc_ir::tensor::{Axes, Block, Operation, ReduceKind};
use std::collections::{BTreeMap, BTreeSet};

/// Elements of a stage that are reduced together, one after the other; more are spread over the invocations.
pub(crate) const TOGETHER: i64 = 4;

/// One array of partial sums for each element type.
type Partial = BTreeMap<DType, Value>;

pub(super) fn lower(e: &mut Emit, region: &mut Region<'_>) -> Option<Dim> {
    let depth = region.schedule.grid;
    let w = width(region)?;
    let live = live(region.block);
    let rows: Vec<Value> = live.iter().flat_map(|o| o.results.clone()).filter(|r| !region.block.yields.contains(r)).collect();
    let mut ops = vec![];
    for op in live {
        let mut f = flatten(op, &|v| region.types(v), &e.ranges.clone(), &rows, depth)?;
        f.collapse(depth);
        e.hide(|o| o.flat(&mut f));
        ops.push(f);
    }
    let grid_axes: Axes = ops.first()?.axes.iter().take(depth).cloned().collect();
    for v in rows {
        let t = region.types(v);
        let row = Dim::product(t.shape.get(depth..).unwrap_or(&[])).as_const()?;
        let p = shared(e, t.dtype, row)?;
        region.pointers.push((v, p));
    }
    let groups = region.schedule.vector > 1;
    let mut stages = vec![];
    let mut partial = Partial::new();
    for op in ops {
        let (pointers, result) = (region.source_pointers(&op)?, region.pointer(op.result)?);
        let dt = op.body.result_dtype();
        if together(&op.axes, depth, op.kind) && !partial.contains_key(&dt) {
            let p = shared(e, dt, w)?;
            partial.insert(dt, p);
        }
        stages.push(Stage { op, pointers, result, across: 1, groups });
    }
    let grid = extent(&grid_axes);
    let subgroups = region.schedule.subgroup;
    let axes = grid_axes.clone();
    workgroups(e, &grid, w, &mut |e| define_axes(e, &axes, &Dim::from(grid_sym())), &mut |e| {
        for s in &stages {
            let inner: Axes = s.op.axes.iter().skip(depth).cloned().collect();
            match s.op.kind.filter(|_| together(&s.op.axes, depth, s.op.kind)) {
                Some(kind) => reduce(e, s, &inner, kind, w, &partial, subgroups),
                None => spread(e, s, &inner, w),
            }
        }
    });
    Some(grid)
}

/// The ops that a result needs: a row that nobody reads would only be written by many at once.
fn live(block: &Block) -> Vec<&Operation> {
    let mut needed: BTreeSet<Value> = block.yields.iter().copied().collect();
    let mut live = vec![];
    for op in block.ops.iter().rev() {
        if op.results.iter().any(|r| needed.contains(r)) {
            needed.extend(&op.operands);
            live.push(op);
        }
    }
    live.reverse();
    live
}

/// Is a stage over `axes` reduced by the whole workgroup?
fn together(axes: &Axes, depth: usize, kind: Option<ReduceKind>) -> bool {
    let count = Dim::product(axes.iter().skip(depth).map(|(_, n)| n));
    kind.is_some_and(|k| !k.is_arg()) && count.as_const().is_some_and(|n| n <= TOGETHER)
}

/// The stage's elements, or groups of them, `w` at a time.
fn spread(e: &mut Emit, s: &Stage, inner: &Axes, w: i64) {
    let total = extent(inner);
    // Groups that leave some idle while others do as much as before gain nothing.
    let many = total.as_const().is_none_or(|n| n > w);
    let lanes = lanes::results(&s.op, inner, &e.ranges).filter(|_| s.groups && many);
    let each_has = lanes.as_ref().map_or(1, |l| i64::from(l.count));
    let w = w * each_has;
    let mine = local() * each_has;
    let each = |e: &mut Emit, at: &Dim, whole: bool| {
        let tests = [(at.clone(), total.clone())];
        guarded(e, if whole { &[] } else { &tests }, &mut |e| {
            let flat = name(e, "$flat", at, &total);
            define_axes(e, inner, &flat);
            s.element(e, lanes.as_ref());
        });
    };
    let known = total.as_const();
    if known.is_some_and(|n| n <= w) {
        return each(e, &mine, known == Some(w));
    }
    let (zero, end) = (e.index(0), e.dim(&total));
    let base = Sym::new("$base");
    let range = Range { lo: Dim::ZERO, hi: Some(&total - 1) };
    e.for_loop(LoopKind::Serial, &base, (zero, end, w), range, &[], &mut |e, _| {
        each(e, &(Dim::from(&base) + &mine), known.is_some_and(|n| n % w == 0));
        vec![]
    });
}

/// Few elements: each is reduced by all invocations together.
fn reduce(e: &mut Emit, s: &Stage, inner: &Axes, kind: ReduceKind, w: i64, partial: &Partial, subgroups: bool) {
    let count = extent(inner).as_const().unwrap_or(1);
    let dt = s.op.body.result_dtype();
    let Some(&array) = partial.get(&dt) else { return };
    for k in 0..count {
        define_axes(e, inner, &Dim::from(k));
        let part = part(e, s, kind, w);
        let acc = meet(e, array, part, kind, w, subgroups);
        let mut x = ExprEmit::new(&s.op.epilogue, &s.op.sources, &s.pointers, None, Some(Val::Uniform(acc)));
        let Some(v) = x.root(e) else { return };
        let v = Val::Uniform(x.scalars(e, &v)[0]);
        guarded(e, &[(local(), Dim::ONE)], &mut |e| store(e, s.result, &s.op.store, &v, &x));
    }
}

/// What one invocation reduces by itself: every `w`-th term, or group of terms.
fn part(e: &mut Emit, s: &Stage, kind: ReduceKind, w: i64) -> Value {
    let dt = s.op.body.result_dtype();
    let lanes = s.groups_of_terms(e);
    let (ty, each) = match &lanes {
        Some(l) => (LoopType::Vector(dt, l.count), i64::from(l.count)),
        None => (scalar_type(dt), 1),
    };
    let w = w * each;
    let total = extent(&s.op.raxes);
    let init = e.constant(neutral(kind, dt), ty);
    let (zero, end) = (e.index(0), e.dim(&total));
    let base = Sym::new("$red");
    let range = Range { lo: Dim::ZERO, hi: Some(&total - 1) };
    let whole = total.as_const().is_some_and(|n| n % w == 0);
    let out = e.for_loop(LoopKind::Serial, &base, (zero, end, w), range, &[init], &mut |e, acc| {
        let at = Dim::from(&base) + local() * each;
        let mut term = |e: &mut Emit| {
            let flat = name(e, "$term", &at, &total);
            define_axes(e, &s.op.raxes, &flat);
            let acc = if lanes.is_some() { Val::Vector(acc[0]) } else { Val::Uniform(acc[0]) };
            vec![combine_program(e, &s.op, &s.op.body, &s.pointers, kind, lanes.as_ref(), &acc, ty)]
        };
        if whole {
            return term(e);
        }
        let (d, n) = (e.dim(&at), e.dim(&total));
        let c = e.binary(odc_ir::core::Binary::Lt, d, n);
        e.if_else(c, &[ty], &mut term, &mut |_| vec![acc[0]])
    });
    if lanes.is_some() { combined(e, out[0], combine(kind)) } else { out[0] }
}

/// The reduction of all invocations' parts, in each of them.
fn meet(e: &mut Emit, array: Value, part: Value, kind: ReduceKind, w: i64, subgroups: bool) -> Value {
    let ty = e.ty(part);
    let dt = ty.dtype();
    if subgroups && (dt.size() == 4 || dt == DType::F16) {
        return by_subgroup(e, array, part, kind);
    }
    let at = e.dim(&local());
    e.store(array, at, part);
    halve(e, array, ty, &local(), w, &Dim::clone, combine(kind));
    let zero = e.index(0);
    e.load(array, zero, ty)
}

/// Each subgroup by itself, then the subgroups' results one after the other.
fn by_subgroup(e: &mut Emit, array: Value, part: Value, kind: ReduceKind) -> Value {
    let f = combine(kind);
    let ty = e.ty(part);
    let one = e.op(Op::Subgroup { f }, &[part], ty);
    let lane = e.op(Op::Lane { info: LaneInfo::Lane }, &[], LoopType::Index);
    let zero = e.index(0);
    let first = e.binary(odc_ir::core::Binary::Eq, lane, zero);
    let group = e.op(Op::Lane { info: LaneInfo::Subgroup }, &[], LoopType::Index);
    e.if_else(
        first,
        &[],
        &mut |e| {
            e.store(array, group, one);
            vec![]
        },
        &mut |_| vec![],
    );
    let count = e.op(Op::Lane { info: LaneInfo::Count }, &[], LoopType::Index);
    let init = e.constant(neutral(kind, ty.dtype()), ty);
    let k = Sym::new("$subgroup");
    let out = e.for_loop(LoopKind::Serial, &k, (zero, count, 1), Range { lo: Dim::ZERO, hi: None }, &[init], &mut |e, acc| {
        let at = e.dim(&Dim::from(&k));
        let x = e.load(array, at, ty);
        vec![e.binary(f, acc[0], x)]
    });
    out[0]
}

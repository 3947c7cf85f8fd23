//! Schedules for GPUs: by counts that the shape and the device give, never by measuring. A workgroup is small enough for the weakest
//! device, and there should be enough of them to keep a large one busy.

use super::contraction::{Contraction, contraction_any, extent};
use super::{hint, rows_depth};
use crate::Gpu;
use crate::lower_loop::flat::{FlatOp, flatten};
use crate::lower_loop::lanes::{self, GROUP};
use odc_ir::core::{DType, Dim, Ranges, Sym, Symbol, TensorType, Value};
use odc_ir::tensor::{Block, Func, Intrinsic, Op, Operation, Schedule, Template};
use std::collections::{BTreeMap, BTreeSet};

/// Invocations of a workgroup where nothing says otherwise.
const WIDTH: i64 = 64;
/// Rows up to which a contraction is a product with a vector.
const FEW_ROWS: i64 = 4;
/// Terms from which on a workgroup reduces together rather than an invocation by itself.
const LONG: i64 = 64;
/// Shared memory kept for partial reductions: one element an invocation, and alignment.
const PARTIAL_BYTES: i64 = 2 * 4 * 256;

pub(super) fn choose(func: &Func, block: &Block, ranges: &Ranges, symbols: &BTreeMap<Sym, Symbol>, gpu: &Gpu) -> Schedule {
    let types = |v: Value| -> TensorType { func.ty(v).clone() };
    let size = |d: &Dim| hint(d, symbols);
    if let [op] = block.ops.as_slice() {
        if let Some(c) = contraction_any(op, &types, ranges)
            && let Some(s) = coop(&c, &size, gpu).or_else(|| dot(&c, ranges, &size, gpu)).or_else(|| contract(&c, ranges, &size, gpu))
        {
            return s;
        }
        return match &op.op {
            Op::Scatter { .. } => Schedule::loops(0, 1),
            Op::Reduce { axes, raxes, kind, .. } if !kind.is_arg() => {
                let (elements, terms) = (size(&extent(axes)), size(&extent(raxes)));
                let together = terms >= LONG && elements < i64::from(gpu.busy);
                if together { by_rows(block, axes.len(), &types, ranges, &size, gpu) } else { each(op, &types, ranges, &size, gpu) }
            }
            _ => each(op, &types, ranges, &size, gpu),
        };
    }
    by_rows(block, rows_depth(&block.ops), &types, ranges, &size, gpu)
}

/// Rows between stages for which a workgroup's shared memory has no room, or whose size is not known: they become results, and so lie in
/// global memory.
pub(super) fn spill(func: &mut Func, at: usize, gpu: &Gpu) {
    let Some(block) = func.body.ops[at].regions.first() else { return };
    if block.ops.len() < 2 {
        return;
    }
    let read: BTreeSet<Value> = block.ops.iter().flat_map(|o| o.operands.iter().copied()).collect();
    let rows = block.ops.iter().flat_map(|o| o.results.iter().copied()).filter(|v| read.contains(v) && !block.yields.contains(v));
    let unfit = unfit(rows, rows_depth(&block.ops), &|v| func.ty(v).clone(), gpu);
    for v in unfit {
        let outer = func.value(func.ty(v).clone());
        let op = &mut func.body.ops[at];
        op.results.push(outer);
        op.regions[0].yields.push(v);
    }
}

/// Those of `rows` that shared memory has no room for, `depth` leading axes being the grid's.
pub(crate) fn unfit(rows: impl Iterator<Item = Value>, depth: usize, ty: &dyn Fn(Value) -> TensorType, gpu: &Gpu) -> Vec<Value> {
    let mut left = i64::from(gpu.workgroup_bytes) - PARTIAL_BYTES;
    let mut out = vec![];
    for v in rows {
        let ty = ty(v);
        let elements = Dim::product(ty.shape.get(depth..).unwrap_or(&[])).as_const();
        match elements.and_then(|n| n.checked_mul(ty.dtype.size().max(4) as i64)) {
            Some(bytes) if bytes <= left => left -= bytes,
            _ => out.push(v),
        }
    }
    out
}

/// What an invocation may take at a time, of a stage's elements or of its reductions' terms, and how many of these there are.
fn row_work(op: &Operation, flat: Option<FlatOp>, depth: usize, ranges: &Ranges, size: &dyn Fn(&Dim) -> i64) -> (u32, i64) {
    let work = match &op.op {
        Op::Map { axes, .. } => axes.last().map_or(1, |(_, n)| size(n)),
        Op::Reduce { raxes, .. } => size(&extent(raxes)),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => 1,
    };
    let group = |f: FlatOp| {
        let inner = f.axes.iter().skip(depth).cloned().collect();
        lanes::terms(&f, ranges).or_else(|| lanes::results(&f, &inner, ranges))
    };
    let lanes = flat.and_then(group).map_or(1, |l| l.count);
    (lanes, work / i64::from(lanes))
}

/// One invocation an element; a group of elements if these can be read and stored as one, and still keep the device busy.
fn each(op: &Operation, types: &dyn Fn(Value) -> TensorType, ranges: &Ranges, size: &dyn Fn(&Dim) -> i64, gpu: &Gpu) -> Schedule {
    let groups = || {
        let mut flat = flatten(op, types, ranges, &[], 0)?;
        flat.collapse(0);
        let many = size(&extent(&flat.axes)) / GROUP >= i64::from(gpu.busy);
        lanes::results(&flat, &flat.axes, ranges).filter(|_| many)
    };
    let mut s = Schedule::loops(0, groups().map_or(1, |l| l.count));
    s.local = vec![WIDTH.min(i64::from(gpu.invocations))];
    s
}

/// One workgroup a row, wide enough for its longest stage; elements in groups where a stage has them.
fn by_rows(
    block: &Block,
    depth: usize,
    types: &dyn Fn(Value) -> TensorType,
    ranges: &Ranges,
    size: &dyn Fn(&Dim) -> i64,
    gpu: &Gpu,
) -> Schedule {
    let rows: Vec<Value> = block.ops.iter().flat_map(|o| o.results.clone()).filter(|r| !block.yields.contains(r)).collect();
    let stage = |op: &Operation| {
        let mut flat = flatten(op, types, ranges, &rows, depth);
        flat.iter_mut().for_each(|f| f.collapse(depth));
        row_work(op, flat, depth, ranges, size)
    };
    let stages: Vec<(u32, i64)> = block.ops.iter().map(stage).collect();
    let work = stages.iter().map(|(_, work)| *work).max().unwrap_or(1);
    let most = i64::from(gpu.invocations).min(256);
    let mut width = 32.min(most);
    while width < most && width * 4 <= work {
        width *= 2;
    }
    let mut s = Schedule::loops(depth, stages.iter().map(|(lanes, _)| *lanes).max().unwrap_or(1));
    s.template = Template::Rows;
    s.local = vec![power_below(width)];
    s.subgroup = gpu.subgroups;
    s
}

/// The largest power of two that is not above `n`.
fn power_below(n: i64) -> i64 {
    1 << (63 - n.max(1).leading_zeros())
}

/// How long a block of the result keeps a device: bytes that an invocation's multiply-adds wait for, times what is computed in vain,
/// spread over what is busy.
fn cost([bm, bn]: [i64; 2], threads: i64, [batch, m, n]: [i64; 3], gpu: &Gpu) -> f64 {
    let (down, across) = ((m + bm - 1) / bm, (n + bn - 1) / bn);
    let traffic = 1.0 / bm as f64 + 1.0 / bn as f64;
    let waste = (down * bm) as f64 * (across * bn) as f64 / (m as f64 * n as f64);
    let busy = (batch * down * across * threads) as f64 / f64::from(gpu.busy);
    (0.05 + traffic) * waste / busy.min(1.0)
}

/// Products of matrices by subgroups, two by two of them a workgroup, one or two by two matrices each.
fn coop(c: &Contraction, size: &dyn Fn(&Dim) -> i64, gpu: &Gpu) -> Option<Schedule> {
    let has = gpu.coop?;
    let (shape, per) = match c.factors()? {
        DType::F16 => (has.f16, 1),
        DType::I8 => (has.i8, 4),
        _ => return None,
    };
    let ([rows, columns, depth], invocations) = (shape.map(i64::from), i64::from(has.subgroup));
    let [batch, m, n, k] = [&c.batch, &c.m, &c.n, &c.k].map(|axes| size(&extent(axes)));
    let width = 4 * invocations;
    if m < rows || n < columns || k < depth || width > i64::from(gpu.invocations) {
        return None;
    }
    let block = |f: i64| [2 * f * rows, 2 * f * columns, 2 * depth];
    let fits = |f: &i64| {
        let [bm, bn, bk] = block(*f);
        let (line, word) = matrix_line(bk, per);
        let bytes = (bm + bn) * line * word + 4 * rows * columns * 4;
        let even = [bm, bn].iter().all(|b| (b * bk / per) % width == 0) && (rows * columns) % invocations == 0;
        even && bytes <= i64::from(gpu.workgroup_bytes)
    };
    let price = |f: i64| cost([block(f)[0], block(f)[1]], width, [batch, m, n], gpu);
    let f = [2, 1].into_iter().filter(fits).min_by(|a, b| price(*a).total_cmp(&price(*b)))?;
    let mut s = Schedule::loops(c.batch.len(), 1);
    s.template = Template::Gemm;
    s.tile = vec![f * rows, f * columns];
    s.block = block(f).to_vec();
    s.local = vec![width];
    s.intrinsic = Intrinsic::Coop([rows, columns, depth, invocations]);
    Some(s)
}

/// Elements of shared memory from one line of a matrix's tile to the next, and bytes of each: `depth` factors, `per` an element, and 16
/// bytes, since lines start at multiples of that and should not start in the same memory bank.
pub(crate) fn matrix_line(depth: i64, per: i64) -> (i64, i64) {
    let bytes = if per == 1 { 2 } else { 4 };
    (depth / per + 16 / bytes, bytes)
}

/// Products of bytes, four at a time.
fn dot(c: &Contraction, ranges: &Ranges, size: &dyn Fn(&Dim) -> i64, gpu: &Gpu) -> Option<Schedule> {
    let bytes = matches!(c.factors()?, DType::I8 | DType::U8);
    if !gpu.dot || !bytes {
        return None;
    }
    let mut s = tiled(c, ranges, size, gpu).filter(|s| s.template == Template::Gemm)?;
    let (local, depth) = (*s.local.first()?, s.block.get_mut(2)?);
    // Four times as deep as floats, in as many words, if each invocation has words to fill.
    *depth = 32;
    let even = [0, 1].iter().all(|k| s.block.get(*k).is_some_and(|b| (b * 8) % local == 0));
    s.intrinsic = Intrinsic::Dot4;
    s.vector = 1;
    even.then_some(s)
}

fn contract(c: &Contraction, ranges: &Ranges, size: &dyn Fn(&Dim) -> i64, gpu: &Gpu) -> Option<Schedule> {
    let floats = c.lhs.dtype.is_float() && c.rhs.dtype.is_float();
    if floats { tiled(c, ranges, size, gpu) } else { None }
}

fn tiled(c: &Contraction, ranges: &Ranges, size: &dyn Fn(&Dim) -> i64, gpu: &Gpu) -> Option<Schedule> {
    let (m, n, k) = (size(&extent(&c.m)), size(&extent(&c.n)), size(&extent(&c.k)));
    let most = power_below(i64::from(gpu.invocations));
    let mut s = Schedule::loops(c.batch.len(), 1);
    if m.min(n) <= FEW_ROWS {
        if n < m || k < 16 {
            return None;
        }
        s.template = Template::Gemv;
        // Where the larger operand runs along the depth, so do neighbouring invocations.
        let deep = c.rhs.runs_deep(&c.k, &c.n, ranges);
        let groups =
            c.rhs.grouped(&c.k, &c.n, ranges) && (!deep || c.lhs.runs_deep(&c.k, &c.m, ranges) && c.lhs.grouped(&c.k, &c.m, ranges));
        let split = match (deep, groups) {
            (true, false) => 32,
            (true, true) => power_below(k / GROUP).clamp(8, 32),
            (false, true) if n / GROUP * 8 < i64::from(gpu.busy) => 16,
            (false, _) => 8,
        }
        .min(most);
        let columns = (WIDTH.min(most) / split).max(1);
        s.vector = if groups { GROUP as u32 } else { 1 };
        s.block = vec![if groups && !deep { columns * GROUP } else { columns }, split];
        s.local = vec![columns * split];
        return Some(s);
    }
    // Nothing to share between rows or columns.
    if k < 4 {
        return None;
    }
    let batch = size(&extent(&c.batch));
    // Larger blocks read less; smaller ones keep more of the device busy.
    let choices = [[64, 64], [64, 32], [32, 64], [32, 32], [16, 32], [32, 16], [16, 16]];
    let tile = |[bm, bn]: [i64; 2]| if bm * bn >= 32 * 32 { [4, 4] } else { [2, 4.min(bn / 4)] };
    let threads = |b: [i64; 2]| b[0] * b[1] / (tile(b)[0] * tile(b)[1]);
    let price = |b: [i64; 2]| cost(b, threads(b), [batch, m, n], gpu);
    let best = choices.into_iter().filter(|b| threads(*b) <= most).min_by(|a, b| price(*a).total_cmp(&price(*b)))?;
    let depth = if k >= 16 && (best[0] * 16) % threads(best) == 0 && (best[1] * 16) % threads(best) == 0 { 16 } else { 8 };
    s.template = Template::Gemm;
    s.tile = tile(best).to_vec();
    s.block = vec![best[0], best[1], depth];
    s.local = vec![threads(best)];
    if c.lhs.grouped(&c.k, &c.m, ranges) || c.rhs.grouped(&c.k, &c.n, ranges) || c.stored_in_groups(ranges) {
        s.vector = GROUP as u32;
    }
    Some(s)
}

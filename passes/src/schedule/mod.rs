//! Schedules: for every dispatch, which template lowers it, with which tile, blocks and grid. Chosen by shape and target, never by
//! measuring; constant operands of contractions are laid out as the tile reads them.

pub(crate) mod attention;
pub(crate) mod contraction;
pub(crate) mod gate;
pub(crate) mod gpu;
mod pack;
pub(crate) mod tile;

use crate::cost::Place;
use crate::fuse::by_row;
use crate::lower_loop::flat::flatten;
use crate::{Cpu, Machine};
use bytes::Bytes;
use contraction::{Contraction, contraction, extent};
use odc_ir::core::{DType, Dim, Ranges, Sym, Symbol, TensorType, Value};
use odc_ir::tensor::{Access, Axes, Func, Intrinsic, Module, Op, Operation, Schedule, Template};
use std::collections::BTreeMap;

/// What an unbounded symbol is taken to be when a size must be guessed.
const HINT: i64 = 64;
/// Scratch for staged panels: half of a small second-level cache.
const PANEL_BYTES: i64 = 384 << 10;
/// Rows of the left side that should stay in cache while columns pass.
const ROWS_BYTES: i64 = 256 << 10;
/// Steps of a gemm's depth written out: more would keep more values alive than a small register file holds.
const DEPTH_STEPS: u32 = 2;
/// Rows from which on a copy of the right side into panels pays.
const STAGE_ROWS: i64 = 24;
/// Multiply-adds (or element operations) that are worth a thread's wake-up.
const GRAIN: i64 = 50_000;
/// Element operations of one grid item of a loop nest.
const ITEM: i64 = 4096;
/// Grid items a dispatch should have so that a few threads stay busy.
const ITEMS: i64 = 16;

/// Where packed weights are kept: they are as many as the model's.
pub type Keep<'a> = &'a dyn Fn(Vec<u8>) -> Bytes;

/// Chooses schedules for a machine.
pub fn schedule_for(module: &mut Module, machine: &Machine, keep: Keep<'_>) {
    match machine {
        Machine::Cpu(cpu) => schedule_cpu(module, *cpu, keep),
        Machine::Gpu(gpu) => {
            let (ranges, symbols) = (module.ranges(), module.symbols.clone());
            for func in &mut module.funcs {
                for at in 0..func.body.ops.len() {
                    gpu::spill(func, at, gpu);
                    let Some(block) = func.body.ops[at].regions.first() else { continue };
                    let chosen = gpu::choose(func, block, &ranges, &symbols, gpu);
                    if let Op::Dispatch { schedule } = &mut func.body.ops[at].op {
                        *schedule = chosen;
                    }
                }
            }
        }
    }
}

/// For a CPU, with weights in memory.
pub fn schedule(module: &mut Module) {
    schedule_cpu(module, Cpu::BASELINE, &Bytes::from);
}

/// Chooses the schedule of every dispatch, and packs constant operands.
fn schedule_cpu(module: &mut Module, cpu: Cpu, keep: Keep<'_>) {
    let (ranges, symbols) = (module.ranges(), module.symbols.clone());
    let place = Place { ranges: &ranges, symbols: &symbols, cpu };
    let mut funcs = std::mem::take(&mut module.funcs);
    for func in &mut funcs {
        // A schedule counts the ops of its region.
        func.remove_dead();
        let mut at = 0;
        while at < func.body.ops.len() {
            if matches!(func.body.ops[at].op, Op::Dispatch { .. }) {
                let chosen = choose(func, at, &place);
                if chosen.template == Template::Gemm {
                    at += pack::pack(module, func, at, &chosen, &ranges, keep);
                }
                if let Op::Dispatch { schedule } = &mut func.body.ops[at].op {
                    *schedule = chosen;
                }
            }
            at += 1;
        }
        func.remove_dead();
    }
    module.funcs = funcs;
}

/// A likely value of `d`.
pub(crate) fn hint(d: &Dim, symbols: &BTreeMap<Sym, Symbol>) -> i64 {
    let value = |s: &Sym| symbols.get(s).map(|k| HINT.clamp(k.lo, k.hi.unwrap_or(i64::MAX).max(k.lo)));
    d.eval(&value).unwrap_or(HINT).max(1)
}

fn choose(func: &Func, at: usize, place: &Place<'_>) -> Schedule {
    let ranges = place.ranges;
    let types = |v: Value| -> TensorType { func.ty(v).clone() };
    let Some(block) = func.body.ops[at].regions.first() else { return Schedule::loops(0, 1) };
    if let [op] = block.ops.as_slice() {
        if let Some(c) = contraction(op, &types, ranges)
            && let Some(s) = gemm(&c, &|operand| pack::constant_operand(func, at, 0, operand).is_some(), place)
        {
            return s;
        }
        if matches!(op.op, Op::Scatter { .. }) {
            return Schedule::loops(0, 1);
        }
        return single(op, &types, place);
    }
    let leaves = |v: Value| block.yields.contains(&v);
    let one = attention::attention(&block.ops, &leaves, &types, ranges);
    let one = one.and_then(|a| attention::schedule(&a, place));
    let gated = || {
        let constant = |nth: usize, operand: u32| pack::constant_operand(func, at, nth, operand).is_some();
        gate::schedule(&gate::gate(&block.ops, &leaves, &types, ranges)?, &constant, place)
    };
    one.or_else(gated).or_else(|| beside(&block.ops, &types, place)).unwrap_or_else(|| rows(&block.ops, place))
}

/// Maps of which none reads another: each as if it were alone. The grain is that of the average item.
fn beside(ops: &[Operation], types: &dyn Fn(Value) -> TensorType, place: &Place<'_>) -> Option<Schedule> {
    let symbols = place.symbols;
    let inside = |v: &Value| ops.iter().any(|o| o.results.contains(v));
    if ops.iter().any(|o| !matches!(o.op, Op::Map { .. }) || o.operands.iter().any(inside)) {
        return None;
    }
    let (mut block, mut items, mut work) = (vec![], 0i64, 0i64);
    for op in ops {
        let s = single(op, types, place);
        let elements = if let Op::Map { axes, .. } = &op.op { hint(&extent(axes), symbols) } else { 0 };
        let each = GRAIN / hint(&s.grain, symbols);
        items = items.saturating_add(elements / each.max(1)).saturating_add(1);
        work = work.saturating_add(elements);
        block.extend([i64::try_from(s.grid).ok()?, s.block.first().copied().unwrap_or(0)]);
    }
    let grain = Dim::from((GRAIN / (work / items.max(1)).max(1)).max(1));
    Some(Schedule { template: Template::Beside, block, grain, ..Schedule::loops(0, place.cpu.lanes) })
}

/// One map or reduction: collapsed axes; inner axes until an item has enough to do, the rest is the grid.
fn single(op: &Operation, types: &dyn Fn(Value) -> TensorType, place: &Place<'_>) -> Schedule {
    let symbols = place.symbols;
    let Some(mut flat) = flatten(op, types, place.ranges, &[], 0) else { return Schedule::loops(0, 1) };
    flat.collapse(0);
    let each = extent(&flat.raxes);
    let mut work = hint(&each, symbols);
    let mut inner = 0;
    for (_, n) in flat.axes.iter().rev() {
        if inner > 0 && work >= ITEM {
            break;
        }
        work = work.saturating_mul(hint(n, symbols));
        inner += 1;
    }
    let grid = flat.axes.len() - inner;
    let mut s = Schedule::loops(grid, place.cpu.lanes);
    if let Some((_, n)) = flat.axes.get(grid) {
        // One inner axis too long for an item is cut into blocks, whole vectors each.
        let n = hint(n, symbols);
        let a_step = (work / n).max(1);
        let outer = hint(&extent(&flat.axes[..grid].to_vec()), symbols);
        if work > 2 * ITEM && outer < ITEMS {
            let block = (ITEM / a_step).max(1);
            let whole = i64::from(place.cpu.lanes);
            let block = (block + whole - 1) / whole * whole;
            if block < n {
                s.block = vec![block];
                work = a_step.saturating_mul(block);
            }
        }
    }
    s.grain = Dim::from((GRAIN / work.max(1)).max(1));
    s
}

/// Several stages: the axes they share are the grid.
fn rows(ops: &[Operation], place: &Place<'_>) -> Schedule {
    let symbols = place.symbols;
    let terms = |o: &Operation| if let Op::Reduce { raxes, .. } = &o.op { hint(&extent(raxes), symbols) } else { 0 };
    let work = ops.iter().map(terms).fold(0, i64::saturating_add);
    let mut s = Schedule::loops(rows_depth(ops), place.cpu.lanes);
    s.grain = Dim::from((GRAIN / work.max(1)).max(1));
    s
}

/// How many leading axes several stages share so that each row is by itself.
pub(crate) fn rows_depth(ops: &[Operation]) -> usize {
    let axes_of = |o: &Operation| -> Axes {
        match &o.op {
            Op::Map { axes, .. } => axes.iter().take(axes.len().saturating_sub(1)).cloned().collect(),
            Op::Reduce { axes, .. } => axes.iter().take(axes.iter().rposition(|(_, n)| !n.is(1)).map_or(0, |k| k + 1)).cloned().collect(),
            Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => vec![],
        }
    };
    let mut shared: Option<Axes> = None;
    for o in ops {
        let axes = axes_of(o);
        shared = Some(match shared {
            None => axes,
            Some(s) => s.iter().zip(&axes).take_while(|(a, b)| a == b).map(|(a, _)| a.clone()).collect(),
        });
    }
    // What one item writes, only that item may read.
    let apart = |depth: usize| {
        ops.iter().all(|user| {
            let producer = |v: &Value| ops.iter().find(|p| p.results.contains(v));
            user.operands.iter().all(|v| producer(v).is_none_or(|p| by_row(p, user, *v, depth)))
        })
    };
    (0..=shared.map_or(0, |s| s.len())).rev().find(|d| apart(*d)).unwrap_or(0)
}

/// The schedule of a contraction, given which of its operands are constants; `None` where a loop nest is better.
pub(crate) fn gemm(c: &Contraction, constant: &dyn Fn(u32) -> bool, place: &Place<'_>) -> Option<Schedule> {
    let (ranges, symbols) = (place.ranges, place.symbols);
    let (rows, columns, depth) = (extent(&c.m), extent(&c.n), extent(&c.k));
    let (m, n, k) = (hint(&rows, symbols), hint(&columns, symbols), hint(&depth, symbols));
    let one_row = rows.is(1);
    // Half floats are widened into panels, once for all rows.
    let narrow = c.rhs.dtype != DType::F32;
    let rhs_constant = !narrow && constant(c.rhs.operand) && pack::packable(c, false);
    if columns.as_const().is_some_and(|n| n < 3) || depth.as_const().is_some_and(|k| k < 2) {
        return None;
    }
    let registers = tile::tile(rows.as_const(), columns.as_const(), None, place.cpu);
    let (tile, lanes) = ([registers.rows, registers.columns], registers.lanes);
    // Columns of a wide tensor lie far apart: with rows enough to pay for it, panels are worth a copy.
    let readable = c.rhs.direct(&c.k, ranges) && unit_columns(c, tile[1], lanes, ranges);
    let direct = rhs_constant || (!narrow && readable && m < STAGE_ROWS);
    // One row over what must be staged first: reading it once in a loop nest is cheaper.
    if one_row && !direct {
        return None;
    }
    let up = |x: i64, of: i64| (x + of - 1) / of * of;
    let batch = hint(&extent(&c.batch), symbols);
    let nc = if direct { up(n.min(8 * tile[1].max(12)), tile[1]) } else { ((PANEL_BYTES / (4 * k)) / tile[1]).clamp(1, 32) * tile[1] };
    let nc = nc.min(up(n, tile[1])).max(tile[1]);
    let blocks = batch * ((n + nc - 1) / nc);
    let mut mc = if direct { (ROWS_BYTES / (4 * k)).max(tile[0]) } else { m };
    if blocks < ITEMS {
        // Too few items: cut the rows as well, at the price of staging again for each cut.
        let cuts = if direct { ITEMS } else { 4 } / blocks.max(1);
        mc = mc.min((m + cuts.max(1) - 1) / cuts.max(1));
    }
    let mc = up(mc.max(1), tile[0]).min(up(m.max(1), tile[0]));
    let mc = if rows.as_const().is_none() && !direct { 1 << 20 } else { mc };
    let work = mc.min(m).saturating_mul(nc).saturating_mul(k).max(1);
    Some(Schedule {
        template: Template::Gemm,
        grid: c.batch.len(),
        vector: lanes as u32,
        unroll: DEPTH_STEPS,
        tile: tile.to_vec(),
        block: vec![up(mc, tile[0]), nc],
        access: vec![
            if constant(c.lhs.operand) && pack::packable(c, true) && tile[0] > 1 { Access::Packed } else { Access::Direct },
            if rhs_constant {
                Access::Packed
            } else if direct {
                Access::Direct
            } else {
                Access::Staged
            },
        ],
        grain: Dim::from((GRAIN / work).max(1)),
        local: vec![],
        subgroup: false,
        intrinsic: Intrinsic::None,
    })
}

/// Does every aligned group of so many columns read neighbours?
fn unit_columns(c: &Contraction, nr: i64, lanes: i64, ranges: &Ranges) -> bool {
    let (t, l) = (Sym::new("$unit_t"), Sym::new("$unit_l"));
    let mut r = ranges.with_axes(c.batch.iter().chain(&c.k).map(|(s, n)| (s, n)));
    r.set(t.clone(), 0, None);
    r.set_axis(l.clone(), &Dim::from(lanes));
    (0..nr / lanes).all(|q| {
        let column = Dim::from(&t) * nr + q * lanes + Dim::from(&l);
        let at = contraction::flat_groups(&c.rhs.offset, &[(&c.n, column)], &r);
        at.linear_in(&l).is_some_and(|(a, _)| a.is(1))
    })
}

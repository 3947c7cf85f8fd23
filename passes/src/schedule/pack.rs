//! Packing: a constant operand of a contraction is laid out at compile time as its tile reads it, `[batch][tile][k][lane]`, the last
//! tile padded with zeros. The op's index map is rewritten to match, so the module still means the same.

use super::Keep;
use super::contraction::{Contraction, contraction, extent};
use crate::lower_loop::flat::flat_index;
use odc_ir::core::{Const, ConstId, Dim, Loc, Ranges, TensorType, Value};
use odc_ir::tensor::{Access, Axes, Expr, Func, Index, Module, Op, Operation, Program, Schedule};

/// The constant that operand `operand` of op `nth` in the dispatch at `at` reads.
pub(super) fn constant_operand(func: &Func, at: usize, nth: usize, operand: u32) -> Option<ConstId> {
    let dispatch = func.body.ops.get(at)?;
    let region = dispatch.regions.first()?;
    let inner = *region.ops.get(nth)?.operands.get(operand as usize)?;
    let k = region.args.iter().position(|a| *a == inner)?;
    let outer = *dispatch.operands.get(k)?;
    func.body.ops.iter().find_map(|o| match &o.op {
        Op::Constant { value } if o.results.contains(&outer) => Some(*value),
        _ => None,
    })
}

/// How one side walks its constant: `(axes, strides)` for batch, tiled axes and depth, all numbers.
struct Walk {
    batch: Vec<(i64, i64)>,
    tiled: Vec<(i64, i64)>,
    depth: Vec<(i64, i64)>,
    start: i64,
}

fn walk(c: &Contraction, left: bool) -> Option<Walk> {
    let (side, tiled) = if left { (&c.lhs, &c.m) } else { (&c.rhs, &c.n) };
    if !side.inside.is_empty() {
        return None;
    }
    let used: Axes = c.batch.iter().filter(|(s, _)| side.offset.uses(s)).cloned().collect();
    let mut rest = side.offset.clone();
    let mut steps = |axes: &Axes| -> Option<Vec<(i64, i64)>> {
        axes.iter()
            .map(|(s, n)| {
                let (a, b) = rest.linear_in(s)?;
                rest = b;
                Some((n.as_const()?, a.as_const()?))
            })
            .collect()
    };
    let (batch, tiled, depth) = (steps(&used)?, steps(tiled)?, steps(&c.k)?);
    Some(Walk { batch, tiled, depth, start: rest.as_const()? })
}

pub(super) fn packable(c: &Contraction, left: bool) -> bool {
    walk(c, left).is_some()
}

/// Packs what `schedule` wants packed in the dispatch at `at`, both sides of one product after the other; gives how many ops were inserted before it.
pub(super) fn pack(module: &mut Module, func: &mut Func, at: usize, schedule: &Schedule, ranges: &Ranges, keep: Keep<'_>) -> usize {
    let mut inserted = 0;
    for (k, access) in schedule.access.iter().enumerate() {
        let (nth, side) = (k / 2, k % 2);
        if *access == Access::Packed
            && pack_side(module, func, (at + inserted, nth), schedule.tile[side], side == 0, ranges, keep).is_some()
        {
            inserted += 1;
        }
    }
    inserted
}

fn pack_side(
    module: &mut Module,
    func: &mut Func,
    (at, nth): (usize, usize),
    tile: i64,
    left: bool,
    ranges: &Ranges,
    keep: Keep<'_>,
) -> Option<()> {
    let types = |v| func.ty(v).clone();
    let op = func.body.ops.get(at)?.regions.first()?.ops.get(nth)?.clone();
    let c = contraction(&op, &types, ranges)?;
    let side = if left { c.lhs.clone() } else { c.rhs.clone() };
    let tiled = if left { c.m.clone() } else { c.n.clone() };
    let source = module.constant(constant_operand(func, at, nth, side.operand)?)?.clone();
    let packed = pack_bytes(&source, &walk(&c, left)?, tile, keep)?;
    let used: Axes = c.batch.iter().filter(|(s, _)| side.offset.uses(s)).cloned().collect();
    let column = flat_index(&tiled);
    let index: Vec<Dim> = vec![flat_index(&used), column.floordiv(&tile.into()), flat_index(&c.k), column.modulo(&tile.into())];
    let ty = TensorType::of(packed.dtype, &packed.shape);
    debug_assert_eq!(ty.shape[2], extent(&c.k));
    let id = module.add_const(packed);
    let outer = func.value(ty.clone());
    let inner = func.value(ty);
    func.body.ops.insert(
        at,
        Operation { op: Op::Constant { value: id }, operands: vec![], results: vec![outer], regions: vec![], loc: Loc::none() },
    );
    let dispatch = func.body.ops.get_mut(at + 1)?;
    dispatch.operands.push(outer);
    let region = dispatch.regions.first_mut()?;
    region.args.push(inner);
    let op = region.ops.get_mut(nth)?;
    op.operands.push(inner);
    let fresh = op.operands.len() as u32 - 1;
    if let Op::Reduce { body, .. } = &mut op.op {
        *body = redirect(body, side.operand, fresh, &index)?;
    }
    crate::fuse::tidy_operands(op);
    // Arguments that no op reads any more leave the dispatch.
    let used: Vec<Value> = region.ops.iter().flat_map(|o| &o.operands).copied().collect();
    let keep: Vec<bool> = region.args.iter().map(|a| used.contains(a)).collect();
    let mut k = keep.iter();
    region.args.retain(|_| *k.next().unwrap_or(&true));
    let mut k = keep.iter();
    dispatch.operands.retain(|_| *k.next().unwrap_or(&true));
    Some(())
}

/// Loads of operand `from` become loads of operand `to` at `index`.
fn redirect(p: &Program, from: u32, to: u32, index: &[Dim]) -> Option<Program> {
    let mut q = Program::new();
    let root = q.import(p, p.root?, &Dim::clone, &mut |q, e| match e {
        Expr::Load { operand, dtype, .. } if *operand == from => {
            Some(q.push(Expr::Load { operand: to, dtype: *dtype, index: index.iter().cloned().map(Index::Dim).collect() }))
        }
        _ => None,
    });
    Some(q.returning(root))
}

/// All positions of a nest, row-major.
fn positions(axes: &[(i64, i64)]) -> Vec<i64> {
    let mut all = vec![0i64];
    for (n, stride) in axes {
        all = all.iter().flat_map(|base| (0..*n).map(move |k| base + k * stride)).collect();
    }
    all
}

fn pack_bytes(source: &Const, w: &Walk, tile: i64, keep: Keep<'_>) -> Option<Const> {
    let size = source.dtype.size();
    let (batch, tiled, depth) = (positions(&w.batch), positions(&w.tiled), positions(&w.depth));
    let tile = usize::try_from(tile).ok()?;
    let tiles = tiled.len().div_ceil(tile);
    let mut out = Vec::with_capacity(batch.len() * tiles * depth.len() * tile * size);
    for b in &batch {
        for t in tiled.chunks(tile) {
            for k in &depth {
                for lane in 0..tile {
                    match t.get(lane) {
                        Some(x) => {
                            let at = usize::try_from(w.start + b + x + k).ok()?.checked_mul(size)?;
                            out.extend_from_slice(source.bytes.get(at..at + size)?);
                        }
                        None => out.resize(out.len() + size, 0),
                    }
                }
            }
        }
    }
    let shape = [batch.len(), tiles, depth.len(), tile].map(|n| n as i64);
    Const::new(source.dtype, shape.to_vec(), keep(out))
}

//! Counting: one structured op, or all of a dispatch.

use super::{Count, Counts, Place};
use crate::fuse::is_contraction;
use crate::lower_loop::flat::{dims_of, offset};
use crate::schedule::contraction::{contraction, extent};
use crate::schedule::gemm;
use odc_ir::core::{Binary, Dim, Sym, TensorType, Unary, Value};
use odc_ir::tensor::{Access, Axes, Expr, ExprId, Func, Index, Op, Operation, Program, Schedule};
use std::collections::{BTreeMap, BTreeSet};

/// Values that are weights.
pub fn constants(func: &Func) -> BTreeSet<Value> {
    func.body.ops.iter().filter(|o| matches!(o.op, Op::Constant { .. })).flat_map(|o| o.results.iter().copied()).collect()
}

/// All that a dispatch of `func` does; `weights` are the function's [`constants`].
pub fn dispatch(func: &Func, op: &Operation, weights: &BTreeSet<Value>, place: &Place<'_>) -> Counts {
    let mut c = Counts::default();
    c.add(Count::Launch, 1.0);
    let Some(region) = op.regions.first() else { return c };
    let types = |v: Value| func.ty(v).clone();
    let given = op.operands.iter().zip(&region.args);
    let constants: BTreeSet<Value> = given.filter(|(outer, _)| weights.contains(outer)).map(|(_, arg)| *arg).collect();
    for inner in &region.ops {
        c = c.plus(&work(inner, &types, &|v| constants.contains(&v), place));
    }
    let mut outside: BTreeMap<Value, f64> = region.args.iter().map(|v| (*v, 0.0)).collect();
    region.ops.iter().for_each(|o| reads(o, place, &mut outside));
    for (v, elements) in outside {
        c.add(Count::Bytes, touched(&types(v), elements, place));
    }
    for v in &region.yields {
        c.add(Count::Bytes, place.size(&types(*v).bytes()));
    }
    c
}

/// All that a dispatch of this one map or reduction does.
pub fn single(op: &Operation, types: &dyn Fn(Value) -> TensorType, constant: &dyn Fn(Value) -> bool, place: &Place<'_>) -> Counts {
    let mut c = work(op, types, constant, place);
    c.add(Count::Launch, 1.0);
    let mut outside: BTreeMap<Value, f64> = op.operands.iter().map(|v| (*v, 0.0)).collect();
    reads(op, place, &mut outside);
    for (v, elements) in outside {
        c.add(Count::Bytes, touched(&types(v), elements, place));
    }
    for v in &op.results {
        c.add(Count::Bytes, place.size(&types(*v).bytes()));
    }
    c
}

/// Bytes of a tensor that come from memory when so many elements of it are read: never more than it has.
fn touched(ty: &TensorType, elements: f64, place: &Place<'_>) -> f64 {
    let each = ty.dtype.size() as f64;
    (elements * each).min(place.size(&ty.bytes()))
}

/// Adds how many elements `op` reads of each value in `of`.
fn reads(op: &Operation, place: &Place<'_>, of: &mut BTreeMap<Value, f64>) {
    let mut add = |p: &Program, points: f64| {
        for (operand, _) in p.loads() {
            if let Some(n) = op.operands.get(operand as usize).and_then(|v| of.get_mut(v)) {
                *n += points;
            }
        }
    };
    match &op.op {
        Op::Map { axes, body, .. } => add(body, points(axes, place)),
        Op::Reduce { axes, raxes, body, epilogue, .. } => {
            add(body, points(axes, place) * points(raxes, place));
            add(epilogue, points(axes, place));
        }
        Op::Scatter { axes, index, update } => {
            index.iter().chain([update]).for_each(|p| add(p, points(axes, place)));
            // The data is copied whole.
            if let Some(n) = op.operands.first().and_then(|v| of.get_mut(v)) {
                *n = f64::MAX;
            }
        }
        Op::Constant { .. } | Op::View {} | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => {}
    }
}

fn points(axes: &Axes, place: &Place<'_>) -> f64 {
    place.product(axes.iter().map(|(_, n)| n))
}

/// What a core does for one op, memory left out.
fn work(op: &Operation, types: &dyn Fn(Value) -> TensorType, constant: &dyn Fn(Value) -> bool, place: &Place<'_>) -> Counts {
    let mut c = Counts::default();
    let steps = Steps { op, types, place };
    match &op.op {
        Op::Map { axes, body, .. } => steps.count(&mut c, body, points(axes, place), axes.iter().rev()),
        Op::Reduce { axes, raxes, body, epilogue, .. } => {
            let outer = points(axes, place);
            match tiles(op, types, constant, place) {
                Some(of_tiles) => c = c.plus(&of_tiles),
                // Rows are summed along their last axis where it is contiguous, else several rows at once.
                None => steps.count(&mut c, body, outer * points(raxes, place), raxes.iter().rev().chain(axes.iter().rev())),
            }
            steps.count(&mut c, epilogue, outer, axes.iter().rev());
        }
        Op::Scatter { axes, index, update } => {
            index.iter().chain([update]).for_each(|p| steps.count(&mut c, p, points(axes, place), std::iter::empty()));
        }
        Op::Constant { .. } | Op::View {} | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => {}
    }
    c
}

/// A contraction in register tiles, if it is scheduled so.
fn tiles(op: &Operation, types: &dyn Fn(Value) -> TensorType, constant: &dyn Fn(Value) -> bool, place: &Place<'_>) -> Option<Counts> {
    if !is_contraction(&op.op) {
        return None;
    }
    let k = contraction(op, types, place.ranges)?;
    let is_constant = |operand: u32| op.operands.get(operand as usize).is_some_and(|v| constant(*v));
    let s: Schedule = gemm(&k, &is_constant, place)?;
    let ([mr, nr], [mc, _]) = (s.tile.as_slice(), s.block.as_slice()) else { return None };
    let size = |axes: &Axes| place.size(&extent(axes));
    let up = |n: f64, of: i64| (n / of as f64).ceil() * of as f64;
    let (batch, m, n, depth) = (size(&k.batch), size(&k.m), size(&k.n), size(&k.k));
    let mut c = Counts::default();
    c.add(Count::Fma, batch * up(m, *mr) * up(n, *nr) * depth);
    if s.access.get(1) == Some(&Access::Staged) {
        let copies = (m / *mc as f64).ceil().max(1.0);
        let what = if k.rhs.inside.is_empty() { Count::Staged } else { Count::Guarded };
        c.add(what, batch * up(n, *nr) * depth * copies);
    }
    Some(c)
}

/// Does a guard say different things to neighbours?
type Moves<'a> = &'a dyn Fn(&[(Dim, Dim)]) -> bool;

/// Element functions of one op's programs.
struct Steps<'a> {
    op: &'a Operation,
    types: &'a dyn Fn(Value) -> TensorType,
    place: &'a Place<'a>,
}

impl Steps<'_> {
    /// Adds `points` evaluations of `p`, vectorised along the first of `inner` with more than one iteration.
    fn count<'x>(&self, c: &mut Counts, p: &Program, points: f64, inner: impl Iterator<Item = &'x (Sym, Dim)>) {
        let along = inner.into_iter().find(|(_, n)| !n.is(1)).map(|(s, _)| s);
        let moves = |pairs: &[(Dim, Dim)]| along.is_none_or(|s| pairs.iter().any(|(d, n)| d.uses(s) || n.uses(s)));
        let guarded = p.exprs.iter().any(|e| matches!(e, Expr::Inside(pairs) if moves(pairs)));
        let (mut cheap, mut heavy, mut strided) = (0.0, 0.0, 0.0);
        for (e, share) in p.exprs.iter().zip(self.shares(p, &moves)) {
            match e {
                Expr::Const(..) | Expr::Dim(_) | Expr::Acc(_) => {}
                Expr::Unary(f, _) if f.is_transcendental() || *f == Unary::Sqrt => heavy += share,
                Expr::Binary(Binary::Div | Binary::Pow | Binary::Rem | Binary::Mod | Binary::FloorDiv, ..) => heavy += share,
                Expr::Inside(pairs) => cheap += pairs.len() as f64 * share,
                Expr::Load { operand, index, .. } => {
                    cheap += share;
                    strided += if self.in_lanes(*operand, index, along) { 0.0 } else { share };
                }
                Expr::Unary(..) | Expr::Binary(..) | Expr::Select(..) | Expr::Cast(..) | Expr::Bitcast(..) => cheap += share,
            }
        }
        let one_by_one = guarded || strided > 0.0 || along.is_none();
        c.add(if one_by_one { Count::Scalar } else { Count::Lane }, cheap * points);
        c.add(Count::Heavy, heavy * points * if one_by_one { 2.0 } else { 1.0 });
        c.add(Count::Strided, strided * points);
    }

    /// The part of the elements for which each expression is computed: a guard that is the same for all lanes is a branch.
    fn shares(&self, p: &Program, moves: Moves<'_>) -> Vec<f64> {
        let mut shares = vec![0.0f64; p.exprs.len()];
        let mut set = |e: &ExprId, part: f64| {
            if let Some(s) = shares.get_mut(e.0 as usize) {
                *s = s.max(part);
            }
            shares.get(e.0 as usize).copied().unwrap_or(part)
        };
        p.root.iter().for_each(|r| _ = set(r, 1.0));
        // Operands stand before what reads them.
        for (k, e) in p.exprs.iter().enumerate().rev() {
            let own = set(&ExprId(k as u32), 0.0);
            match e {
                Expr::Select(c, a, b) => {
                    let held = match p.get(*c) {
                        Expr::Inside(pairs) if !moves(pairs) => self.held(pairs),
                        _ => None,
                    };
                    let (yes, no) = held.map_or((own, own), |part| (own * part, own * (1.0 - part)));
                    for (x, part) in [(c, own), (a, yes), (b, no)] {
                        set(x, part);
                    }
                }
                Expr::Unary(_, a) | Expr::Cast(_, a) | Expr::Bitcast(_, a) => _ = set(a, own),
                Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|x| _ = set(x, own)),
                Expr::Load { index, .. } => index.iter().for_each(|i| {
                    if let Index::Value(x) = i {
                        set(x, own);
                    }
                }),
                Expr::Const(..) | Expr::Dim(_) | Expr::Acc(_) | Expr::Inside(_) => {}
            }
        }
        shares
    }

    /// How often a part of a concat is chosen: how much of its axis it has.
    fn held(&self, pairs: &[(Dim, Dim)]) -> Option<f64> {
        let [(d, n)] = pairs else { return None };
        let (Op::Map { axes, .. } | Op::Reduce { axes, .. }) = &self.op.op else { return None };
        let (_, extent) = axes.iter().find(|(s, _)| d.as_sym() == Some(s))?;
        Some((self.place.size(n) / self.place.size(extent)).clamp(0.0, 1.0))
    }

    /// Does the load read neighbours, or always the same element, along that axis?
    fn in_lanes(&self, operand: u32, index: &[Index], along: Option<&Sym>) -> bool {
        let (Some(axis), Some(v), Some(dims)) = (along, self.op.operands.get(operand as usize), dims_of(index)) else { return false };
        let at = self.place.ranges.simplify(&offset(&dims, &(self.types)(*v).shape));
        at.linear_in(axis).is_some_and(|(step, _)| step.is(1) || step.is(0))
    }
}

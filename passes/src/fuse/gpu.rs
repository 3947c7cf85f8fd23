//! What fusing must heed on a GPU: a kernel has few buffers, the rows between its stages lie in the memory that a workgroup shares
//! (or, where they do not fit or have no known size, in a result of their own), and attention is one kernel while its scores are short.

use super::group::common;
use super::inline::is_contraction;
use super::{OUTPUT, Work};
use crate::schedule::gpu::unfit;
use crate::schedule::{hint, rows_depth};
use odc_ir::core::{Dim, Value};
use odc_ir::tensor::{Axes, Expr, ExprId, Index, Op, Operation, Program, ReduceKind};
use std::collections::BTreeSet;

/// Scores of one query up to which attention is one kernel: every query reads all keys again, so that long ones are better tiled.
const LONGEST_SCORES: i64 = 512;
/// Elements of a query up to which the same holds.
const LONGEST_DEPTH: i64 = 256;
/// Multiply-adds of a row of any product that a workgroup computes as well as a tile.
const SMALL_ROW: i64 = 16 << 10;
/// With fewer rows than these, elements of a row up to which a workgroup a row is enough.
const FEW_ROWS: i64 = 8;
const LONG_ROW: i64 = 4096;

impl Work {
    /// May one kernel read these values and write one more?
    pub(super) fn bindable<'a>(&self, operands: impl IntoIterator<Item = &'a Value>) -> bool {
        let Some(gpu) = self.gpu else { return true };
        let distinct: BTreeSet<&Value> = operands.into_iter().collect();
        distinct.len() < gpu.storage_buffers as usize
    }

    /// The values that a dispatch of `members` reads, and how many it writes for others.
    fn boundary(&self, members: &[usize]) -> (BTreeSet<Value>, usize) {
        let ops = || members.iter().filter_map(|m| self.ops[*m].as_ref());
        let inner: BTreeSet<Value> = ops().flat_map(|o| o.results.iter().copied()).collect();
        let reads = ops().flat_map(|o| o.operands.iter().copied()).filter(|v| !inner.contains(v)).collect();
        let writes = inner.iter().filter(|v| self.users[v.index()].iter().any(|u| *u == OUTPUT || !members.contains(u))).count();
        (reads, writes)
    }

    /// Would `members` with op `k` still have few enough buffers, rows that do not fit included?
    pub(super) fn fits_with(&self, members: &[usize], k: usize) -> bool {
        let Some(gpu) = self.gpu else { return true };
        let all: Vec<usize> = members.iter().copied().chain([k]).collect();
        let (reads, writes) = self.boundary(&all);
        reads.len() + writes + self.spilled(&all) <= gpu.storage_buffers as usize
    }

    /// How many rows of a group need a result of their own.
    fn spilled(&self, members: &[usize]) -> usize {
        let Some(gpu) = self.gpu else { return 0 };
        let ops: Vec<Operation> = members.iter().filter_map(|m| self.ops[*m].clone()).collect();
        let inside = |v: &Value| {
            let users = &self.users[v.index()];
            !users.is_empty() && users.iter().all(|u| *u != OUTPUT && members.contains(u))
        };
        let rows = ops.iter().flat_map(|o| o.results.iter().copied()).filter(inside);
        unfit(rows, rows_depth(&ops), &|v| self.func.ty(v).clone(), &gpu).len()
    }

    /// May op `k` follow a product that is alone in `members` so far, because a workgroup computes a row of it as well as tiles would?
    /// A softmax after scores of attention or after the last product of a small classifier; a small product after a small one.
    pub(super) fn starts_rows(&self, def: &[Option<usize>], members: &[usize], k: usize) -> bool {
        let ([first], Some(op), true) = (members, &self.ops[k], self.gpu.is_some()) else { return false };
        let Some(first) = self.ops[*first].as_ref().filter(|o| is_contraction(&o.op)) else { return false };
        let (Op::Reduce { axes, .. }, Op::Reduce { kind, raxes, axes: rows, .. }) = (&first.op, &op.op) else { return false };
        let depth = common(axes, rows);
        if is_contraction(&op.op) {
            let reads = first.result().is_some_and(|v| factors(op).contains(&v));
            return reads && self.small(first, depth) && self.small(op, depth);
        }
        let (Some((_, last)), [(_, length)]) = (axes.last(), raxes.as_slice()) else { return false };
        let long = |axes: &Axes| axes.iter().filter(|(_, n)| !n.is(1)).count();
        let softmax = *kind == ReduceKind::Max && last == length && long(rows) < long(axes).max(1);
        softmax && (self.small(first, depth) || self.scores(def, first))
    }

    /// Is op `k` a product that ends what a product began: probabilities times values, or small again?
    pub(super) fn ends_rows(&self, def: &[Option<usize>], members: &[usize], k: usize) -> bool {
        let (Some(first), Some(op)) = (members.first().and_then(|m| self.ops[*m].as_ref()), &self.ops[k]) else { return false };
        let inner = |v: &Value| members.iter().filter_map(|m| self.ops[*m].as_ref()).any(|o| o.results.contains(v));
        let products = factors(op).iter().any(inner) && is_contraction(&first.op) && is_contraction(&op.op) && members.len() > 1;
        let (Op::Reduce { axes: a, .. }, Op::Reduce { axes: b, .. }) = (&first.op, &op.op) else { return false };
        let depth = common(a, b);
        self.gpu.is_some() && products && (self.small(op, depth) || (!self.weighs(def, op) && self.scores(def, first)))
    }

    /// Would one workgroup a row leave most of the device idle over op `k`, with `shared` axes for the rows?
    pub(super) fn starves(&self, shared: &Axes, k: usize) -> bool {
        let (Some(op), true) = (&self.ops[k], self.gpu.is_some()) else { return false };
        let (Op::Map { axes, .. } | Op::Reduce { axes, .. }) = &op.op else { return false };
        // A symbolic batch is often 1.
        let least = |d: &Dim| d.eval(&|s| self.symbols.get(s).map(|k| k.lo)).unwrap_or(1);
        let rows = shared.iter().map(|(_, n)| least(n)).fold(1, i64::saturating_mul);
        let row = axes.iter().skip(shared.len()).map(|(_, n)| self.hint(n)).fold(1, i64::saturating_mul);
        rows < FEW_ROWS && row > LONG_ROW
    }

    fn hint(&self, d: &Dim) -> i64 {
        hint(d, &self.symbols)
    }

    /// Is one factor a constant?
    fn weighs(&self, def: &[Option<usize>], op: &Operation) -> bool {
        let constant = |v: &Value| def[v.index()].and_then(|d| self.ops[d].as_ref()).is_some_and(|o| matches!(o.op, Op::Constant { .. }));
        factors(op).iter().any(constant)
    }

    /// Products of queries with keys, few enough for one kernel?
    fn scores(&self, def: &[Option<usize>], op: &Operation) -> bool {
        let Op::Reduce { axes, raxes, .. } = &op.op else { return false };
        let length = axes.last().map_or(i64::MAX, |(_, n)| self.hint(n));
        let depth = self.hint(&Dim::product(raxes.iter().map(|(_, n)| n)));
        !self.weighs(def, op) && length <= LONGEST_SCORES && depth <= LONGEST_DEPTH
    }

    /// A product with few multiply-adds a row, a row being what lies behind the first `depth` axes.
    fn small(&self, op: &Operation, depth: usize) -> bool {
        let Op::Reduce { axes, raxes, .. } = &op.op else { return false };
        let all = axes.iter().skip(depth).chain(raxes).map(|(_, n)| self.hint(n));
        all.fold(1, i64::saturating_mul) <= SMALL_ROW
    }
}

/// The operands of a sum's product.
fn factors(op: &Operation) -> Vec<Value> {
    let Op::Reduce { body, .. } = &op.op else { return vec![] };
    body.loads().filter_map(|(o, _)| op.operands.get(o as usize).copied()).collect()
}

/// Cuts maps that read more values than a kernel may bind: a part of their program becomes a map of its own.
pub(super) fn limit_operands(w: &mut Work) {
    let Some(gpu) = w.gpu else { return };
    let most = (gpu.storage_buffers as usize).saturating_sub(1).max(2);
    let mut ops = Vec::with_capacity(w.ops.len());
    for k in 0..w.ops.len() {
        while let Some(part) = cut(w, k, most) {
            ops.push(Some(part));
        }
        ops.push(w.ops[k].take());
    }
    w.ops = ops;
    w.count_users();
}

/// Takes the largest expression with at most `most` operands out of map `k`, if that has more.
fn cut(w: &mut Work, k: usize, most: usize) -> Option<Operation> {
    let op = w.ops[k].as_ref()?;
    let Op::Map { axes, body, .. } = &op.op else { return None };
    if op.operands.len() <= most {
        return None;
    }
    // Without dead expressions, so that a copy has the same numbers.
    let body = &body.map_dims(&Dim::clone);
    let root = body.root?;
    let reads: Vec<BTreeSet<u32>> = (0..body.exprs.len()).map(|e| operands_under(body, ExprId(e as u32))).collect();
    let fits = |e: &usize| (2..=most).contains(&reads[*e].len()) && !matches!(body.exprs[*e], Expr::Inside(_) | Expr::Const(..));
    let chosen = (0..body.exprs.len()).filter(|e| *e != root.0 as usize).filter(fits).max_by_key(|e| reads[*e].len())?;
    let (axes, body, operands, loc) = (axes.clone(), body.clone(), op.operands.clone(), op.loc.clone());
    let chosen = ExprId(chosen as u32);
    let dtype = body.dtype(chosen);
    let shape: Vec<Dim> = axes.iter().map(|(_, n)| n.clone()).collect();
    let index: Vec<Dim> = axes.iter().map(|(s, n)| if n.is(1) { Dim::ZERO } else { Dim::from(s) }).collect();
    let value = w.func.value(odc_ir::core::TensorType { dtype, shape });
    let mut part = Program::new();
    let e = part.import(&body, chosen, &Dim::clone, &mut |_, _| None);
    let part = part.returning(e);
    let slot = operands.len() as u32;
    let mut rest = Program::new();
    let load = Expr::Load { operand: slot, dtype, index: index.iter().cloned().map(Index::Dim).collect() };
    let wanted = body.get(chosen).clone();
    let e = rest.import(&body, root, &Dim::clone, &mut |p, e| (*e == wanted).then(|| p.push(load.clone())));
    let rest = rest.returning(e).map_dims(&Dim::clone);
    let mut cut = Operation {
        op: Op::Map { axes: axes.clone(), store: index, body: part },
        operands: operands.clone(),
        results: vec![value],
        regions: vec![],
        loc,
    };
    super::absorb::drop_unused_operands(&mut cut);
    let op = w.ops[k].as_mut()?;
    op.operands.push(value);
    if let Op::Map { body, .. } = &mut op.op {
        *body = rest;
    }
    super::absorb::drop_unused_operands(op);
    Some(cut)
}

fn operands_under(p: &Program, e: ExprId) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut open = vec![e];
    let mut seen = BTreeSet::new();
    while let Some(e) = open.pop() {
        if !seen.insert(e) {
            continue;
        }
        if let Expr::Load { operand, .. } = p.get(e) {
            found.insert(*operand);
        }
        odc_ir::tensor::operands(p.get(e), &mut |x| open.push(x));
    }
    found
}

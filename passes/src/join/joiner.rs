//! The rewrite of one function: concats become views of several tensors; dispatches that read a concat among other things read the
//! whole instead.

use super::Report;
use super::find::{Chain, chains};
use crate::fuse::tidy_operands;
use odc_ir::core::{Block, Dim, Loc, Ranges, Sym, Symbol, TensorType, Value, counts_of};
use odc_ir::tensor::{Axes, Expr, Func, Index, Op, Operation, Program, Schedule};
use std::collections::{BTreeMap, BTreeSet};

/// Tensors that lie one behind the other.
struct Whole {
    /// The results that these are, in order.
    parts: Vec<Value>,
    value: Value,
}

/// A concat of a dispatch: of the `op`-th op of its region, in the body or the epilogue.
struct Candidate {
    op: usize,
    epilogue: bool,
    chain: Chain,
    /// The values outside of the dispatch.
    parts: Vec<Value>,
}

pub(super) struct Joiner<'m> {
    func: &'m mut Func,
    ranges: &'m Ranges,
    symbols: &'m BTreeMap<Sym, Symbol>,
    out: Vec<Operation>,
    /// The result of a dispatch, or the whole, whose bytes a value is.
    base: BTreeMap<Value, Value>,
    /// What lies in a whole already.
    taken: BTreeSet<Value>,
    wholes: Vec<Whole>,
    /// What must lie in a buffer of its own.
    alone: BTreeSet<Value>,
}

impl<'m> Joiner<'m> {
    pub(super) fn new(func: &'m mut Func, ranges: &'m Ranges, symbols: &'m BTreeMap<Sym, Symbol>, alone: Vec<Value>) -> Self {
        let alone = alone.into_iter().collect();
        let (out, base, taken, wholes) = (vec![], BTreeMap::new(), BTreeSet::new(), vec![]);
        Joiner { func, ranges, symbols, out, base, taken, wholes, alone }
    }

    pub(super) fn finish(self) -> Vec<Operation> {
        self.out
    }

    fn ty(&self, v: Value) -> Option<TensorType> {
        self.func.types.get(v.index()).cloned()
    }

    /// Takes over the next op of the function.
    pub(super) fn op(&mut self, mut op: Operation, which: &dyn Fn(usize) -> bool, report: &mut Report) {
        match &op.op {
            Op::Dispatch { .. } => {
                let found = self.candidates(&op);
                let first = report.candidates;
                report.candidates += found.len();
                let mut gone = BTreeSet::new();
                for (_, c) in found.iter().enumerate().filter(|(k, _)| which(first + k)) {
                    self.apply(&mut op, c, &mut gone, report);
                }
                tidy(&mut op, &gone);
                if op.results.is_empty() {
                    return;
                }
                self.base.extend(op.results.iter().map(|v| (*v, *v)));
            }
            Op::View {} => {
                let base = |v: &Value| self.base.get(v).copied();
                if let ([from], Some(to)) = (op.operands.as_slice(), op.result()) {
                    self.base.extend(base(from).map(|b| (to, b)));
                } else {
                    self.taken.extend(op.operands.iter().filter_map(base).collect::<Vec<_>>());
                    self.base.extend(op.result().map(|v| (v, v)));
                }
            }
            Op::Constant { .. } | Op::Map { .. } | Op::Reduce { .. } | Op::Scatter { .. } | Op::If { .. } | Op::Loop { .. } => {}
        }
        self.out.push(op);
    }

    /// The concats that a dispatch reads, of tensors from outside.
    fn candidates(&self, dispatch: &Operation) -> Vec<Candidate> {
        let Some(region) = dispatch.regions.first() else { return vec![] };
        let outside = |v: &Value| region.args.iter().position(|a| a == v).and_then(|k| dispatch.operands.get(k)).copied();
        let mut found = vec![];
        for (at, op) in region.ops.iter().enumerate() {
            let ty = |k: u32| self.ty(*op.operands.get(k as usize)?);
            let (axes, raxes, programs): (&[_], &[_], Vec<&Program>) = match &op.op {
                Op::Map { axes, body, .. } => (axes, &[], vec![body]),
                Op::Reduce { axes, raxes, body, epilogue, .. } => (axes, raxes, vec![body, epilogue]),
                Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => continue,
            };
            let ranges = self.ranges.with_axes(axes.iter().chain(raxes).map(|(s, e)| (s, e)));
            for (k, p) in programs.into_iter().enumerate() {
                for chain in chains(p, &ty, &ranges) {
                    let parts = chain.parts.iter().map(|k| op.operands.get(*k as usize).and_then(outside)).collect();
                    if let Some(parts) = parts {
                        found.push(Candidate { op: at, epilogue: k == 1, chain, parts });
                    }
                }
            }
        }
        found
    }

    /// Is the op nothing but this concat, its elements in the order of the parts?
    fn is_concat(&self, op: &Operation, c: &Candidate) -> bool {
        let Op::Map { axes, store, body } = &op.op else { return false };
        let index = c.chain.index.iter().map(|i| if let Index::Dim(d) = i { Some(d.clone()) } else { None }).collect::<Option<Vec<Dim>>>();
        let (Some(index), Some(to)) = (index, op.result().and_then(|v| self.ty(v))) else { return false };
        let ranges = self.ranges.with_axes(axes.iter().map(|(s, e)| (s, e)));
        let flat = |index: &[Dim], ty: &TensorType| {
            let sum = index.iter().zip(ty.strides()).fold(Dim::ZERO, |sum, (i, s)| sum + i * &s);
            ranges.simplify(&sum)
        };
        let written = flat(store, &to);
        body.root == Some(c.chain.at)
            && to.dtype == c.chain.ty.dtype
            // All of it: what reads only the first elements is a slice.
            && to.elements() == c.chain.ty.elements()
            && index.iter().zip(&c.chain.ty.shape).all(|(i, n)| ranges.within(i, n))
            && !written.is_poison()
            && written == flat(&index, &c.chain.ty)
    }

    /// May the memory of `v` be a part of a whole from now on?
    fn is_free(&self, v: Value, others: &[Value]) -> bool {
        let Some(base) = self.base.get(&v) else { return false };
        let counted = self.ty(v).is_none_or(|t| !counts_of(self.symbols, &t.bytes()).is_empty());
        let given = || self.alone.iter().any(|a| self.base.get(a).unwrap_or(a) == base);
        !counted && !self.taken.contains(base) && !others.contains(base) && !given()
    }

    /// The longest whole that these values begin with, and how many of them it is.
    fn begun(&self, bases: &[Option<Value>]) -> Option<(&Whole, usize)> {
        let begins = |w: &&Whole| bases.get(..w.parts.len()).is_some_and(|b| b.iter().zip(&w.parts).all(|(b, p)| *b == Some(*p)));
        let longest = self.wholes.iter().filter(begins).max_by_key(|w| w.parts.len())?;
        Some((longest, longest.parts.len()))
    }

    /// Makes the whole of a candidate, and lets the dispatch read it. An op that is the concat goes away, its result put into `gone`;
    /// only if others see it, what may not lie in the whole is worth a copy, up to half of it.
    fn apply(&mut self, dispatch: &mut Operation, c: &Candidate, gone: &mut BTreeSet<Value>, report: &mut Report) -> Option<()> {
        let region = dispatch.regions.first()?;
        let op = region.ops.get(c.op)?;
        let inner = op.result().filter(|_| self.is_concat(op, c));
        let leaves = inner.and_then(|v| region.yields.iter().position(|y| *y == v)).and_then(|k| dispatch.results.get(k)).copied();
        let ty = inner.map_or(Some(c.chain.ty.clone()), |v| self.ty(v))?;

        let bases: Vec<Option<Value>> = c.parts.iter().map(|v| self.base.get(v).copied()).collect();
        let (mut operands, mut known) = (vec![], 0);
        if let Some((w, n)) = self.begun(&bases).filter(|(w, n)| *n == bases.len() || self.is_free(w.value, &[])) {
            operands.push((w.value, false));
            known = n;
        }
        let mut own: Vec<Value> = vec![];
        let mut copied = Dim::ZERO;
        for v in c.parts.iter().skip(known) {
            let free = self.is_free(*v, &own);
            match free {
                true => own.extend(self.base.get(v)),
                false => copied = copied + self.ty(*v)?.bytes(),
            }
            operands.push((*v, !free));
        }
        let worth = if leaves.is_some() { self.ranges.le(&(&copied * 2), &ty.bytes()) } else { copied.is(0) };
        let sized = counts_of(self.symbols, &ty.bytes()).is_empty();
        let given = operands.len() > 1 && leaves.is_some_and(|v| self.alone.contains(&v));
        if !worth || !sized || given {
            return None;
        }
        let mut views = vec![];
        for (v, copy) in operands {
            report.copied += usize::from(copy);
            views.push(if copy { self.copy(v, &dispatch.loc)? } else { v });
        }
        report.joined += 1;
        let whole = leaves.unwrap_or_else(|| self.func.value(ty.clone()));
        self.whole(views, bases, whole, dispatch.loc.clone());

        let arg = self.func.value(ty);
        dispatch.operands.push(whole);
        let region = dispatch.regions.first_mut()?;
        region.args.push(arg);
        if let Some(v) = inner {
            region.ops.iter_mut().flat_map(|o| &mut o.operands).filter(|o| **o == v).for_each(|o| *o = arg);
            gone.insert(v);
            return Some(());
        }
        let op = region.ops.get_mut(c.op)?;
        let operand = op.operands.len() as u32;
        op.operands.push(arg);
        let program = match &mut op.op {
            Op::Map { body, .. } => body,
            Op::Reduce { epilogue, .. } if c.epilogue => epilogue,
            Op::Reduce { body, .. } => body,
            Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => return None,
        };
        *program.exprs.get_mut(c.chain.at.0 as usize)? = Expr::Load { operand, dtype: c.chain.ty.dtype, index: c.chain.index.clone() };
        Some(())
    }

    /// `result` is these, one behind the other.
    fn whole(&mut self, operands: Vec<Value>, bases: Vec<Option<Value>>, result: Value, loc: Loc) {
        match operands.as_slice() {
            [same] => self.base.extend(self.base.get(same).copied().map(|b| (result, b))),
            _ => {
                self.taken.extend(operands.iter().filter_map(|v| self.base.get(v)));
                self.base.insert(result, result);
                if let Some(parts) = bases.into_iter().collect() {
                    self.wholes.push(Whole { parts, value: result });
                }
            }
        }
        self.out.push(Operation { op: Op::View {}, operands, results: vec![result], regions: vec![], loc });
    }

    /// A dispatch that copies `v`.
    fn copy(&mut self, v: Value, loc: &Loc) -> Option<Value> {
        let ty = self.ty(v)?;
        let axes: Axes = ty.shape.iter().enumerate().map(|(k, n)| (Sym::new(&format!("i{k}")), n.clone())).collect();
        let at: Vec<Dim> = axes.iter().map(|(s, n)| if n.is(1) { Dim::ZERO } else { Dim::from(s) }).collect();
        let mut body = Program::new();
        let load = body.load(0, ty.dtype, at.clone());
        let body = body.returning(load);
        let (arg, inner, outer) = (self.func.value(ty.clone()), self.func.value(ty.clone()), self.func.value(ty));
        let map = Op::Map { axes, store: at, body };
        let map = Operation { op: map, operands: vec![arg], results: vec![inner], regions: vec![], loc: loc.clone() };
        let region = Block { args: vec![arg], ops: vec![map], yields: vec![inner] };
        let op = Op::Dispatch { schedule: Schedule::loops(0, 1) };
        self.out.push(Operation { op, operands: vec![v], results: vec![outer], regions: vec![region], loc: loc.clone() });
        self.base.insert(outer, outer);
        Some(outer)
    }
}

/// Drops the ops whose results are gone, and what the dispatch reads no more.
fn tidy(dispatch: &mut Operation, gone: &BTreeSet<Value>) {
    let Some(region) = dispatch.regions.first_mut() else { return };
    region.ops.retain(|o| o.result().is_none_or(|v| !gone.contains(&v)));
    let left = region.yields.iter().copied().zip(dispatch.results.iter().copied()).filter(|(v, _)| !gone.contains(v));
    (region.yields, dispatch.results) = left.collect::<Vec<_>>().into_iter().unzip();
    for op in &mut region.ops {
        if let Op::Map { body, .. } = &mut op.op {
            *body = body.map_dims(&Dim::clone);
        }
        if let Op::Reduce { body, epilogue, .. } = &mut op.op {
            (*body, *epilogue) = (body.map_dims(&Dim::clone), epilogue.map_dims(&Dim::clone));
        }
        tidy_operands(op);
    }
    let used: BTreeSet<Value> = region.ops.iter().flat_map(|o| &o.operands).chain(&region.yields).copied().collect();
    let kept = region.args.iter().copied().zip(dispatch.operands.iter().copied()).filter(|(a, _)| used.contains(a));
    (region.args, dispatch.operands) = kept.collect::<Vec<_>>().into_iter().unzip();
}

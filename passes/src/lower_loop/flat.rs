//! A structured op with flat addressing: every load that provably stays inside its tensor becomes one offset, the store too. On
//! offsets, axes that always move together merge into one, so that an elementwise op over five axes is a loop over one.

use odc_ir::core::{DType, Dim, Ranges, Sym, TensorType, Value};
use odc_ir::tensor::{Axes, Expr, Index, Op, Operation, Program, ReduceKind};
use std::collections::BTreeMap;

/// What a load reads: `shape` of one dim for flat operands.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub value: Value,
    pub dtype: DType,
    pub shape: Vec<Dim>,
    /// Loads carry one offset that needs no check.
    pub flat: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct FlatOp {
    pub axes: Axes,
    pub raxes: Axes,
    pub kind: Option<ReduceKind>,
    pub body: Program,
    /// For reductions.
    pub epilogue: Program,
    pub store: Dim,
    pub sources: Vec<Source>,
    pub result: Value,
}

/// Flattens `op`. Values in `rows` are rows of scratch: their first `depth` coordinates are the row's and fall away.
pub(crate) fn flatten(
    op: &Operation,
    types: &dyn Fn(Value) -> TensorType,
    ranges: &Ranges,
    rows: &[Value],
    depth: usize,
) -> Option<FlatOp> {
    let (axes, raxes, kind, store, body, epilogue) = match &op.op {
        Op::Map { axes, store, body } => (axes, &vec![], None, store, body, None),
        Op::Reduce { axes, raxes, kind, store, body, epilogue } => (axes, raxes, Some(*kind), store, body, Some(epilogue)),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => return None,
    };
    let local = |v: Value, shape: &[Dim], index: &[Dim]| -> Dim {
        let skip = if rows.contains(&v) { depth } else { 0 };
        offset(index.get(skip..).unwrap_or(&[]), shape.get(skip..).unwrap_or(&[]))
    };
    let n = op.operands.len() as u32;
    let mut sources: Vec<Source> = vec![];
    for flat in [false, true] {
        for v in &op.operands {
            let mut t = types(*v);
            if !flat && rows.contains(v) {
                // A row is all there is: what clamps to it is the row's.
                t.shape.iter_mut().take(depth).for_each(|n| *n = Dim::ONE);
            }
            sources.push(Source { value: *v, dtype: t.dtype, shape: t.shape, flat });
        }
    }
    let all = ranges.with_axes(axes.iter().chain(raxes).map(|(s, e)| (s, e)));
    let rewrite = |p: &Program| -> Option<Program> {
        let mut q = Program::new();
        let root = q.import(p, p.root?, &|d| all.simplify(d), &mut |q, e| {
            let Expr::Load { operand, dtype, index } = e else { return None };
            let value = *op.operands.get(*operand as usize)?;
            let shape = &types(value).shape;
            let dims = dims_of(index)?;
            let own = if rows.contains(&value) { depth } else { 0 };
            let inside = dims.iter().zip(shape).skip(own).all(|(d, n)| all.within(d, n));
            if !inside {
                return None;
            }
            let at = all.simplify(&local(value, shape, &dims));
            Some(q.push(Expr::Load { operand: operand + n, dtype: *dtype, index: vec![Index::Dim(at)] }))
        });
        Some(q.returning(root))
    };
    let result = op.result()?;
    let shape = types(result).shape;
    Some(FlatOp {
        axes: axes.clone(),
        raxes: raxes.clone(),
        kind,
        body: rewrite(body)?,
        epilogue: match epilogue {
            Some(e) => rewrite(e)?,
            None => Program::new(),
        },
        store: all.simplify(&local(result, &shape, store)),
        sources,
        result,
    })
}

pub(crate) fn dims_of(index: &[Index]) -> Option<Vec<Dim>> {
    index
        .iter()
        .map(|i| match i {
            Index::Dim(d) => Some(d.clone()),
            Index::Value(_) => None,
        })
        .collect()
}

/// Row-major offset of `index` in `shape`.
pub(crate) fn offset(index: &[Dim], shape: &[Dim]) -> Dim {
    let mut sum = Dim::ZERO;
    for (i, n) in index.iter().zip(shape) {
        sum = &(&sum * n) + i;
    }
    sum
}

impl FlatOp {
    /// Every dim that mentions axes, with what it is for.
    fn visit_dims(&self, f: &mut dyn FnMut(&Dim)) {
        f(&self.store);
        self.body.visit_dims(f);
        self.epilogue.visit_dims(f);
    }

    fn map_dims(&mut self, f: &dyn Fn(&Dim) -> Dim) {
        self.store = f(&self.store);
        self.body = self.body.map_dims(f);
        self.epilogue = self.epilogue.map_dims(f);
    }

    /// Merges neighbouring axes (from position `from` on) whose offsets always move together; drops axes of extent 1.
    pub fn collapse(&mut self, from: usize) {
        for reduced in [false, true] {
            let from = if reduced { 0 } else { from };
            let mut k = if reduced { self.raxes.len() } else { self.axes.len() };
            while k > from {
                k -= 1;
                let axes = if reduced { &self.raxes } else { &self.axes };
                let (s, e) = axes[k].clone();
                if e.is(1) {
                    self.map_dims(&|d| d.subst(&|x| (*x == s).then_some(Dim::ZERO)));
                    self.axes_mut(reduced).remove(k);
                } else if k + 1 < axes.len() && self.move_together(&axes[k], &axes[k + 1]) {
                    // The inner axis takes over: i*E + j becomes the new j.
                    let (_, inner) = axes[k + 1].clone();
                    self.map_dims(&|d| d.subst(&|x| (*x == s).then_some(Dim::ZERO)));
                    let axes = self.axes_mut(reduced);
                    axes.remove(k);
                    axes[k].1 = &inner * &e;
                }
            }
        }
    }

    fn axes_mut(&mut self, reduced: bool) -> &mut Axes {
        if reduced { &mut self.raxes } else { &mut self.axes }
    }

    fn move_together(&self, outer: &(Sym, Dim), inner: &(Sym, Dim)) -> bool {
        if self.kind.is_some_and(ReduceKind::is_arg) {
            return false;
        }
        let mut ok = true;
        self.visit_dims(&mut |d| {
            if !ok || (!d.uses(&outer.0) && !d.uses(&inner.0)) {
                return;
            }
            ok = match (d.linear_in(&outer.0), d.linear_in(&inner.0)) {
                (Some((a, _)), Some((b, _))) => a == &b * &inner.1,
                _ => false,
            };
        });
        ok
    }
}

/// `axes` as functions of one flat counter, and their product. Where an axis has nothing on it no counter is ever asked about, but
/// the functions are still written down: it counts as one.
pub(crate) fn unflatten(axes: &Axes, flat: &Dim) -> (BTreeMap<Sym, Dim>, Dim) {
    let mut map = BTreeMap::new();
    let mut stride = Dim::ONE;
    for (k, (s, e)) in axes.iter().enumerate().rev() {
        let e = if e.is(0) { &Dim::ONE } else { e };
        let q = flat.floordiv(&stride);
        map.insert(s.clone(), if k == 0 { q } else { q.modulo(e) });
        stride = &stride * e;
    }
    (map, Dim::product(axes.iter().map(|(_, e)| e)))
}

/// The flat counter of `axes`: the inverse of [`unflatten`].
pub(crate) fn flat_index(axes: &Axes) -> Dim {
    let index: Vec<Dim> = axes.iter().map(|(s, _)| Dim::from(s)).collect();
    let shape: Vec<Dim> = axes.iter().map(|(_, e)| e.clone()).collect();
    offset(&index, &shape)
}

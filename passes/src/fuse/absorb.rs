//! Consumers into producers: a view of a structured op's only use becomes its `store` map; a map that reads each element of its
//! only producer once becomes that producer's epilogue. Bias, activation, residual, transposes and head splits all end up here.

use super::{OUTPUT, Work};
use odc_ir::core::{Dim, Ranges, Sym, TensorType, Value};
use odc_ir::tensor::{Axes, Expr, Index, Op, Operation, Program};
use std::collections::BTreeMap;

/// Programs are rebuilt at each step, so chains that read ever more tensors must end somewhere.
const MOST_OPERANDS: usize = 64;

pub(super) fn absorb(w: &mut Work) {
    for k in 0..w.ops.len() {
        while let Some(consumer) = only_consumer(w, k) {
            if !absorb_view(w, k, consumer) {
                absorb_map(w, k, consumer);
                break;
            }
        }
    }
}

/// The one op that reads the one result of structured op `k`.
fn only_consumer(w: &Work, k: usize) -> Option<usize> {
    let op = w.ops[k].as_ref()?;
    if !matches!(op.op, Op::Map { .. } | Op::Reduce { .. }) {
        return None;
    }
    match w.users[op.result()?.index()].as_slice() {
        [u] if *u != OUTPUT => Some(*u),
        _ => None,
    }
}

fn absorb_view(w: &mut Work, k: usize, consumer: usize) -> bool {
    let Some((view, true)) = w.ops[consumer].as_ref().map(|o| (o.results.clone(), matches!(o.op, Op::View {}))) else { return false };
    let ([to], Some(from)) = (view.as_slice(), w.ops[k].as_ref().and_then(Operation::result)) else { return false };
    let (from_shape, to_shape) = (w.shape(from).to_vec(), w.shape(*to).to_vec());
    let Some(op) = w.ops[k].as_mut() else { return false };
    let axes: Axes = match &op.op {
        Op::Map { axes, .. } | Op::Reduce { axes, .. } => axes.clone(),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => return false,
    };
    let ranges = w.ranges.with_axes(axes.iter().map(|(s, e)| (s, e)));
    let is_map = matches!(op.op, Op::Map { .. });
    if let Op::Map { store, .. } | Op::Reduce { store, .. } = &mut op.op {
        let new = reshape_index(&ranges, store, &from_shape, &to_shape);
        // A map can be rebuilt over the new shape by its readers; a store with divisions would only slow it down.
        if is_map && new.iter().map(divisions).sum::<usize>() > store.iter().map(divisions).sum::<usize>() {
            return false;
        }
        *store = new;
    }
    op.results = vec![*to];
    if let Some(v) = w.ops[consumer].take()
        && let Some(op) = w.ops[k].as_mut()
    {
        op.loc = op.loc.fuse(&v.loc);
    }
    w.users[from.index()].clear();
    true
}

/// The coordinates under shape `to` of the element at `index` under shape `from`.
pub(super) fn reshape_index(ranges: &Ranges, index: &[Dim], from: &[Dim], to: &[Dim]) -> Vec<Dim> {
    let strides = |shape: &[Dim]| TensorType::new(odc_ir::core::DType::F32, shape).strides();
    let flat = index.iter().zip(strides(from)).fold(Dim::ZERO, |sum, (i, s)| sum + i * &s);
    let to_strides = strides(to);
    (0..to.len())
        .map(|k| {
            if to[k].is(1) {
                return Dim::ZERO;
            }
            let q = ranges.floordiv(&flat, &to_strides[k]);
            // The outermost coordinate needs no remainder; the others are below their extent.
            let outermost = to[..k].iter().all(|d| d.is(1));
            let c = if outermost { q } else { &q - &(&to[k] * &ranges.floordiv(&q, &to[k])) };
            ranges.simplify(&c)
        })
        .collect()
}

/// How many floor divisions an index needs.
pub(super) fn divisions(d: &Dim) -> usize {
    d.terms().iter().flat_map(|(m, _)| m.factors()).filter(|(a, _)| matches!(a, odc_ir::core::Atom::FloorDiv(..))).count()
}

/// For a map over `axes` that reads a tensor of shape `shape` at `index`: which coordinate each axis is, if every element is read
/// exactly once.
fn bijection(axes: &Axes, index: &[Index], shape: &[Dim]) -> Option<BTreeMap<Sym, usize>> {
    let mut of = BTreeMap::new();
    for (k, i) in index.iter().enumerate() {
        let Index::Dim(d) = i else { return None };
        if shape[k].is(1) && d.is(0) {
            continue;
        }
        let (s, extent) = axes.iter().find(|(s, _)| d.as_sym() == Some(s))?;
        if *extent != shape[k] || of.insert(s.clone(), k).is_some() {
            return None;
        }
    }
    axes.iter().all(|(s, e)| e.is(1) || of.contains_key(s)).then_some(of)
}

fn absorb_map(w: &mut Work, k: usize, consumer: usize) -> Option<()> {
    let producer = w.ops[k].as_ref()?;
    let value = producer.result()?;
    let c = w.ops[consumer].as_ref()?;
    let Op::Map { axes: c_axes, store: c_store, body: c_body } = &c.op else { return None };
    let slot = c.operands.iter().position(|v| *v == value)? as u32;
    if producer.operands.len().saturating_add(c.operands.len()) > MOST_OPERANDS {
        return None;
    }
    let loads: Vec<_> = c_body.loads().filter(|(o, _)| *o == slot).map(|(_, i)| i.to_vec()).collect();
    let index = loads.first()?;
    if loads.iter().any(|i| i != index) {
        return None;
    }
    let of = bijection(c_axes, index, w.shape(value))?;
    let mut merged = producer.clone();
    let (p_axes, coords) = match &merged.op {
        Op::Map { axes, store, .. } | Op::Reduce { axes, store, .. } => (axes.clone(), store.clone()),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => return None,
    };
    let ranges = w.ranges.with_axes(p_axes.iter().map(|(s, e)| (s, e)));
    let at: BTreeMap<Sym, Dim> = c_axes.iter().map(|(s, _)| (s.clone(), of.get(s).map_or(Dim::ZERO, |k| coords[*k].clone()))).collect();
    let dims = |d: &Dim| ranges.simplify(&d.subst(&|s| at.get(s).cloned()));
    let tail = match &merged.op {
        Op::Map { body, .. } => body.clone(),
        Op::Reduce { epilogue, .. } => epilogue.clone(),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => return None,
    };
    let tail = compose(tail, &mut merged.operands, c_body, &c.operands, slot, &dims)?;
    if !w.bindable(merged.operands.iter().filter(|v| **v != value)) {
        return None;
    }
    let new_store: Vec<Dim> = c_store.iter().map(&dims).collect();
    match &mut merged.op {
        Op::Map { body, store, .. } => (*body, *store) = (tail, new_store),
        Op::Reduce { epilogue, store, .. } => (*epilogue, *store) = (tail, new_store),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => return None,
    }
    merged.results.clone_from(&c.results);
    merged.loc = merged.loc.fuse(&c.loc);
    replace(w, k, consumer, merged);
    Some(())
}

/// `outer` with its loads of operand `slot` replaced by `inner`'s value: one program over the operands of both.
fn compose(
    inner: Program,
    operands: &mut Vec<Value>,
    outer: &Program,
    outer_operands: &[Value],
    slot: u32,
    dims: &dyn Fn(&Dim) -> Dim,
) -> Option<Program> {
    let value = inner.root?;
    let mut p = inner;
    let mut number = |v: Value| match operands.iter().position(|o| *o == v) {
        Some(k) => k as u32,
        None => {
            operands.push(v);
            operands.len() as u32 - 1
        }
    };
    let renumber: Vec<u32> = outer_operands.iter().enumerate().map(|(k, v)| if k as u32 == slot { u32::MAX } else { number(*v) }).collect();
    let root = p.import(outer, outer.root?, dims, &mut |p, e| match e {
        Expr::Load { operand, .. } if *operand == slot => Some(value),
        Expr::Load { operand, dtype, index } => {
            let operand = *renumber.get(*operand as usize)?;
            Some(p.push(Expr::Load { operand, dtype: *dtype, index: index.clone() }))
        }
        _ => None,
    });
    let p = p.returning(root);
    Some(compact(p))
}

/// The program without what its root does not need.
pub(super) fn compact(p: Program) -> Program {
    p.map_dims(&Dim::clone)
}

/// Puts `merged` at `consumer`'s place, takes `k` away, and brings the use lists up to date.
fn replace(w: &mut Work, k: usize, consumer: usize, mut merged: Operation) {
    drop_unused_operands(&mut merged);
    for at in [k, consumer] {
        if let Some(op) = w.ops[at].take() {
            for v in op.operands {
                w.users[v.index()].retain(|u| *u != at);
            }
        }
    }
    for v in &merged.operands {
        w.users[v.index()].push(consumer);
        w.users[v.index()].sort_unstable();
    }
    w.ops[consumer] = Some(merged);
}

/// Renumbers loads so that every operand is used.
pub(super) fn drop_unused_operands(op: &mut Operation) {
    let programs: Vec<&mut Program> = match &mut op.op {
        Op::Map { body, .. } => vec![body],
        Op::Reduce { body, epilogue, .. } => vec![body, epilogue],
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => return,
    };
    let mut used = vec![false; op.operands.len()];
    for p in &programs {
        p.loads().for_each(|(o, _)| used[o as usize] = true);
    }
    let mut operands: Vec<Value> = vec![];
    let mut new = vec![0u32; op.operands.len()];
    for (k, v) in op.operands.iter().enumerate().filter(|(k, _)| used[*k]) {
        new[k] = operands.iter().position(|o| o == v).unwrap_or_else(|| {
            operands.push(*v);
            operands.len() - 1
        }) as u32;
    }
    for p in programs {
        let Some(root) = p.root else { continue };
        let mut q = Program::new();
        let root = q.import(p, root, &Dim::clone, &mut |q, e| match e {
            Expr::Load { operand, dtype, index } => {
                Some(q.push(Expr::Load { operand: new[*operand as usize], dtype: *dtype, index: index.clone() }))
            }
            _ => None,
        });
        *p = q.returning(root);
    }
    op.operands = operands;
}

//! Consumers into producers: a view of a structured op's only use becomes its `store` map; a map that reads each element of its
//! only producer once becomes that producer's epilogue. Bias, activation, residual, transposes and head splits all end up here.

use super::why::Why;
use super::{OUTPUT, Work};
use odc_ir::core::{Dim, Ranges, Sym, TensorType, Value};
use odc_ir::tensor::{Axes, Expr, Index, Op, Operation, Program};
use std::collections::BTreeMap;

/// Programs are rebuilt at each step, so chains that read ever more tensors must end somewhere.
const MOST_OPERANDS: usize = 64;

pub(super) fn absorb(w: &mut Work) {
    for k in 0..w.ops.len() {
        while let Ok(consumer) = only_consumer(w, k) {
            if !absorb_view(w, k, consumer) {
                if let Ok(merged) = absorbed(w, k, consumer) {
                    replace(w, k, consumer, merged);
                }
                break;
            }
        }
    }
}

/// Why op `k` did not take in what reads it.
pub(super) fn refusal(w: &Work, k: usize) -> Option<Why> {
    only_consumer(w, k).and_then(|consumer| absorbed(w, k, consumer)).err()
}

/// The one op that reads the one result of structured op `k`.
fn only_consumer(w: &Work, k: usize) -> Result<usize, Why> {
    let op = w.ops[k].as_ref().filter(|o| matches!(o.op, Op::Map { .. } | Op::Reduce { .. })).ok_or(Why::NotStructured)?;
    match op.result().map_or(&[][..], |v| &w.users[v.index()]) {
        [u] if *u != OUTPUT => Ok(*u),
        users if users.contains(&OUTPUT) => Err(Why::IsOutput),
        _ => Err(Why::ManyReaders),
    }
}

fn absorb_view(w: &mut Work, k: usize, consumer: usize) -> bool {
    let Some((view, true)) = w.ops[consumer].as_ref().map(|o| (o.results.clone(), is_view(o))) else { return false };
    let ([to], Some(from)) = (view.as_slice(), w.ops[k].as_ref().and_then(Operation::result)) else { return false };
    let Some(new) = w.ops[k].as_ref().and_then(|o| stored_as(&o.op, w.shape(from), w.shape(*to), &w.ranges)) else { return false };
    let loc = w.ops[consumer].take().map(|v| v.loc);
    if let Some(op) = w.ops[k].as_mut() {
        op.op = new;
        op.results = vec![*to];
        op.loc = loc.map_or(op.loc.clone(), |l| op.loc.fuse(&l));
    }
    w.users[from.index()].clear();
    true
}

/// Other shapes for the same bytes.
pub(crate) fn is_view(op: &Operation) -> bool {
    matches!(op.op, Op::View {}) && op.operands.len() == 1
}

/// A map or reduction that stores its result, of shape `from`, under shape `to`.
pub(crate) fn stored_as(op: &Op, from: &[Dim], to: &[Dim], ranges: &Ranges) -> Option<Op> {
    let mut op = op.clone();
    let is_map = matches!(op, Op::Map { .. });
    let (Op::Map { axes, store, .. } | Op::Reduce { axes, store, .. }) = &mut op else { return None };
    let new = reshape_index(&ranges.with_axes(axes.iter().map(|(s, e)| (s, e))), store, from, to);
    // A map can be rebuilt over the new shape by its readers; a store with divisions would only slow it down.
    if is_map && new.iter().map(divisions).sum::<usize>() > store.iter().map(divisions).sum::<usize>() {
        return None;
    }
    *store = new;
    Some(op)
}

/// The coordinates under shape `to` of the element at `index`, which is inside, under shape `from`.
pub(super) fn reshape_index(ranges: &Ranges, index: &[Dim], from: &[Dim], to: &[Dim]) -> Vec<Dim> {
    // Axes that stay at either end keep their coordinates: symbolic sizes need not be divided by.
    let alike = |pairs: &mut dyn Iterator<Item = (&Dim, &Dim)>| pairs.take_while(|(a, b)| a == b).count();
    let front = alike(&mut from.iter().zip(to));
    let back = alike(&mut from.iter().skip(front).rev().zip(to.iter().skip(front).rev()));
    let (ends, middle) = (from.len() - back, front..from.len() - back);
    let (Some(inner), Some(of)) = (index.get(middle.clone()), from.get(middle)) else { return vec![] };
    let new = reshape_middle(ranges, inner, of, &to[front..to.len() - back]);
    let kept = |(i, n): (&Dim, &Dim)| if n.is(1) { Dim::ZERO } else { i.clone() };
    let before = index.iter().zip(from).take(front).map(kept);
    before.chain(new).chain(index.iter().zip(from).skip(ends).map(kept)).collect()
}

fn reshape_middle(ranges: &Ranges, index: &[Dim], from: &[Dim], to: &[Dim]) -> Vec<Dim> {
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

/// The producer `k` with the map `consumer` as the end of its program.
fn absorbed(w: &Work, k: usize, consumer: usize) -> Result<Operation, Why> {
    let (producer, consumer) = w.ops[k].as_ref().zip(w.ops[consumer].as_ref()).ok_or(Why::NotStructured)?;
    let value = producer.result().ok_or(Why::NotStructured)?;
    let merged = with_epilogue(producer, consumer, w.shape(value), &w.ranges)?;
    if !w.bindable(merged.operands.iter().filter(|v| **v != value)) {
        return Err(Why::Bindings);
    }
    Ok(merged)
}

/// `producer`, whose result has shape `shape`, with the map `consumer` done to each element before it is stored: if `consumer` reads
/// every element exactly once.
pub(crate) fn with_epilogue(producer: &Operation, consumer: &Operation, shape: &[Dim], ranges: &Ranges) -> Result<Operation, Why> {
    let value = producer.result().ok_or(Why::NotStructured)?;
    let Op::Map { axes: c_axes, store: c_store, body: c_body } = &consumer.op else {
        return Err(if is_view(consumer) { Why::Divides } else { Why::NotElementwise });
    };
    let slot = consumer.operands.iter().position(|v| *v == value).ok_or(Why::NotStructured)? as u32;
    if producer.operands.len().saturating_add(consumer.operands.len()) > MOST_OPERANDS {
        return Err(Why::ManyOperands);
    }
    let loads: Vec<_> = c_body.loads().filter(|(o, _)| *o == slot).map(|(_, i)| i.to_vec()).collect();
    let index = loads.first().filter(|index| loads.iter().all(|i| i == *index)).ok_or(Why::NotOnce)?;
    let of = bijection(c_axes, index, shape).ok_or(Why::NotOnce)?;
    let mut merged = producer.clone();
    let (Op::Map { axes: p_axes, store: coords, body: tail } | Op::Reduce { axes: p_axes, store: coords, epilogue: tail, .. }) =
        &mut merged.op
    else {
        return Err(Why::NotStructured);
    };
    let ranges = ranges.with_axes(p_axes.iter().map(|(s, e)| (s, e)));
    let at: BTreeMap<Sym, Dim> = c_axes.iter().map(|(s, _)| (s.clone(), of.get(s).map_or(Dim::ZERO, |k| coords[*k].clone()))).collect();
    let dims = |d: &Dim| ranges.simplify(&d.subst(&|s| at.get(s).cloned()));
    *tail = compose(std::mem::take(tail), &mut merged.operands, c_body, &consumer.operands, slot, &dims).ok_or(Why::NotStructured)?;
    *coords = c_store.iter().map(&dims).collect();
    merged.results.clone_from(&consumer.results);
    merged.loc = merged.loc.fuse(&consumer.loc);
    drop_unused_operands(&mut merged);
    Ok(merged)
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
fn replace(w: &mut Work, k: usize, consumer: usize, merged: Operation) {
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

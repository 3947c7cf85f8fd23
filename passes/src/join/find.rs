//! Concats in scalar programs: nested selects that read operand after operand along one axis. What such a select gives is one load of
//! the operands as a whole, if they lie one behind the other in memory.

use odc_ir::core::{Dim, Ranges, TensorType, Value};
use odc_ir::tensor::{Expr, ExprId, Index, Operation, Program};
use std::collections::BTreeSet;

/// Selects that are one load.
pub(super) struct Chain {
    /// The outermost select.
    pub at: ExprId,
    /// Numbers of the operands, in order.
    pub parts: Vec<u32>,
    /// The type of the whole, and the index of the load.
    pub ty: TensorType,
    pub index: Vec<Index>,
}

/// All of a program's, from the outside in.
pub(super) fn chains(p: &Program, ty: &dyn Fn(u32) -> Option<TensorType>, ranges: &Ranges) -> Vec<Chain> {
    let mut inner = BTreeSet::new();
    let mut found = vec![];
    for k in (0..p.exprs.len() as u32).rev().map(ExprId) {
        if !inner.contains(&k)
            && let Some(chain) = chain(p, k, ty, ranges, &mut inner)
        {
            found.push(chain);
        }
    }
    found
}

/// Does `op`'s program read operands as one whole?
pub(crate) fn concats(p: &Program, op: &Operation, types: &dyn Fn(Value) -> Option<TensorType>, ranges: &Ranges) -> bool {
    !chains(p, &|k| op.operands.get(k as usize).and_then(|v| types(*v)), ranges).is_empty()
}

fn chain(p: &Program, at: ExprId, ty: &dyn Fn(u32) -> Option<TensorType>, ranges: &Ranges, inner: &mut BTreeSet<ExprId>) -> Option<Chain> {
    // The loads, and where along `along` each but the last ends.
    let (mut loads, mut ends, mut selects) = (Vec::<(u32, &[Index])>::new(), Vec::<&Dim>::new(), Vec::<ExprId>::new());
    let mut along: Option<&Dim> = None;
    let mut next = at;
    while let Expr::Select(c, part, rest) = p.get(next) {
        let Expr::Inside(bounds) = p.get(*c) else { return None };
        let ([(d, end)], Expr::Load { operand, index, .. }) = (bounds.as_slice(), p.get(*part)) else { return None };
        if *along.get_or_insert(d) != d {
            return None;
        }
        loads.push((*operand, index));
        ends.push(end);
        selects.push(next);
        next = *rest;
    }
    let Expr::Load { operand, index, dtype } = p.get(next) else { return None };
    loads.push((*operand, index));
    let (along, (first, index)) = (along?, loads.first()?);
    let first = ty(*first)?;
    for axis in 0..first.rank() {
        let outer = first.shape.get(..axis)?.iter().all(|n| n.is(1));
        let Some(total) = total(&loads, &ends, along, axis, ty).filter(|_| outer) else { continue };
        if ranges.within(along, &total) {
            let (mut shape, mut index) = (first.shape.clone(), index.to_vec());
            (*shape.get_mut(axis)?, *index.get_mut(axis)?) = (total, Index::Dim(along.clone()));
            inner.extend(selects);
            let parts = loads.iter().map(|(operand, _)| *operand).collect();
            return Some(Chain { at, parts, ty: TensorType::new(*dtype, shape), index });
        }
    }
    None
}

/// The whole's size along `axis`, if each load reads its operand there behind the ones before it, and all alike elsewhere.
fn total(loads: &[(u32, &[Index])], ends: &[&Dim], along: &Dim, axis: usize, ty: &dyn Fn(u32) -> Option<TensorType>) -> Option<Dim> {
    let (first, index) = loads.first()?;
    let first = ty(*first)?;
    let mut start = Dim::ZERO;
    for (k, (operand, at)) in loads.iter().enumerate() {
        let ty = ty(*operand)?;
        if ty.rank() != first.rank() || at.len() != first.rank() || ty.dtype != first.dtype {
            return None;
        }
        for (n, (i, j)) in at.iter().zip(index.iter()).enumerate() {
            let fits = match i {
                // The only coordinate there is need not be computed.
                Index::Dim(i) if n == axis => *i == along - &start || (i.is(0) && ty.shape.get(n).is_some_and(|n| n.is(1))),
                _ => n != axis && i == j && ty.shape.get(n) == first.shape.get(n),
            };
            if !fits {
                return None;
            }
        }
        start = start + ty.shape.get(axis)?;
        if ends.get(k).is_some_and(|end| **end != start) {
            return None;
        }
    }
    Some(start)
}

//! Sequences of tensors of one shape, as many as a size says: the slices of one tensor along a new first axis. A loop whose length is
//! not known makes them by appending to a sequence in each iteration.

use crate::import::call::{Call, Got, Out, operand};
use crate::import::value::{List, Val};
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op};

fn rows(v: Val) -> Val {
    Val::of_list(List::Rows(Box::new(v)))
}

/// Axis `from` at `to`, the others in their order.
fn moved(c: &mut Call, x: &Val, from: usize, to: usize) -> Got<Val> {
    let mut perm: Vec<usize> = (0..x.rank()).filter(|k| *k != from).collect();
    perm.insert(to.min(perm.len()), from);
    if from == to { Ok(x.clone()) } else { c.transpose(x, perm) }
}

/// The slices of `x` along an axis, which they keep with the size 1 if asked.
pub fn of(c: &mut Call, x: &Val, axis: usize, keep: bool) -> Out {
    let v = moved(c, x, axis, 0)?;
    let v = if keep { c.unsqueeze(&v, axis + 1)? } else { v };
    Ok(vec![rows(v)])
}

/// The tensors of a list as one, along a new first axis; `None` if they are of different shapes or there are none.
fn stacked(c: &mut Call, list: &List) -> Got<Option<Val>> {
    match list {
        List::Rows(v) => Ok(Some((**v).clone())),
        List::Sequence(items) if items.first().is_some_and(|first| items.iter().all(|v| v.ty == first.ty)) => {
            let parts = items.iter().map(|v| c.unsqueeze(v, 0)).collect::<Got<Vec<_>>>()?;
            c.concat(&parts.iter().collect::<Vec<_>>(), 0).map(Some)
        }
        List::Sequence(_) | List::Optional(_) | List::Growing(_) => Ok(None),
    }
}

/// An element by a position that is data, or of a sequence of unknown length; `None`: of a list by a known position.
pub fn at(c: &mut Call) -> Got<Option<Val>> {
    let (list, position) = (c.input(0)?, c.input(1)?);
    let Some(list) = list.list() else { return Ok(None) };
    if matches!(list, List::Sequence(_)) && position.const_ints().is_some() {
        return Ok(None);
    }
    let Some(all) = stacked(c, list)? else { return Ok(None) };
    let position = c.convert(&position, DType::I64)?;
    let position = c.reshape(&position, vec![])?;
    let n = all.shape().first().cloned().unwrap_or(Dim::ZERO);
    let behind = c.size(&n, DType::I64)?;
    let wrapped = c.add(&position, &behind)?;
    let negative = c.with(BinaryFn::Lt, &position, 0.0)?;
    let position = c.choose(&negative, &wrapped, &position)?;
    let rest = all.shape().get(1..).unwrap_or_default().to_vec();
    c.emit(Op::Gather { axis: 0 }, &[&all, &position], all.dtype(), rest).map(Some)
}

/// The sequence with one more tensor at its end; `None` for one of known length.
pub fn appended(c: &mut Call) -> Got<Option<Val>> {
    let (list, x) = (c.input(0)?, c.input(1)?);
    match list.list() {
        Some(List::Growing(items)) if x.list().is_none() => {
            let mut items = items.clone();
            items.push(x);
            Ok(Some(Val::of_list(List::Growing(items))))
        }
        Some(List::Rows(v)) if x.list().is_none() => joined(c, v, &x).map(Some),
        _ => Ok(None),
    }
}

fn joined(c: &mut Call, v: &Val, x: &Val) -> Got<Val> {
    let x = c.unsqueeze(x, 0)?;
    behind(c, v, &x)
}

/// Rows behind others of their shape.
fn behind(c: &mut Call, v: &Val, more: &Val) -> Got<Val> {
    if v.ty.dtype != more.ty.dtype || v.shape().get(1..) != more.shape().get(1..) {
        return Err(operand(format!("tensors of one shape are needed in a sequence of unknown length, not {} and {}", v.ty, more.ty)));
    }
    c.concat(&[v, more], 0).map(rows)
}

/// The sequence that a loop carried: what it was before, then what was appended in each iteration.
pub fn grown(c: &mut Call, before: &Val, more: Val) -> Got<Val> {
    match before.list() {
        Some(List::Sequence(items)) if items.is_empty() => Ok(rows(more)),
        Some(list) => {
            let first = stacked(c, list)?.ok_or_else(|| operand("a loop appends to a sequence of tensors of different shapes"))?;
            behind(c, &first, &more)
        }
        None => Err(operand("a loop carries a tensor and gives a sequence")),
    }
}

/// The tensors joined along an axis of theirs, or along a new one.
pub fn concat(c: &mut Call, v: &Val) -> Out {
    let new = c.attrs.flag("new_axis", false)?;
    let rank = v.rank().saturating_sub(1);
    let axis = c.axis(c.attrs.required_int("axis")?, rank + usize::from(new))?;
    let y = moved(c, v, 0, axis)?;
    if new {
        return Ok(vec![y]);
    }
    let mut shape = y.shape().to_vec();
    if axis + 1 < shape.len() {
        let inner = shape.remove(axis + 1);
        if let Some(d) = shape.get_mut(axis) {
            *d = &*d * inner;
        }
    }
    Ok(vec![c.reshape(&y, shape)?])
}

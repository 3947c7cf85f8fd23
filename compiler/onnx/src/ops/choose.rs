//! Operators whose result is as long as the data says: what is not zero, what a condition picks, what is distinct. Positions are
//! found by running sums and written one after the other into memory for the worst case; the count becomes a size.

use crate::import::call::{Call, Got, Out, operand};
use crate::import::value::{Elem, Val};
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{ArgFn, BinaryFn, Op, ReduceFn, ScatterFn};

/// A size as a scalar.
pub fn size(d: &Dim) -> Val {
    Val::known(TensorType::scalar(DType::I64), vec![Elem::Int(d.clone())])
}

/// 0, 1, … below `n`.
pub fn iota(c: &mut Call, n: &Dim) -> Got<Val> {
    let (start, step) = (Val::scalar(DType::I64, 0.0), Val::scalar(DType::I64, 1.0));
    c.emit(Op::Range {}, &[&start, &step], DType::I64, vec![n.clone()])
}

pub fn reduce(c: &mut Call, f: ReduceFn, x: &Val, axis: usize) -> Got<Val> {
    let shape = x.shape().iter().enumerate().filter(|(k, _)| *k != axis).map(|(_, d)| d.clone()).collect();
    c.emit(Op::Reduce { f, axes: vec![axis], keep: false }, &[x], x.dtype(), shape)
}

/// The values where `mask` holds, at `places`, in front of a list that has room for all of them; then the list cut to the count.
fn pack(c: &mut Call, mask: &Val, places: &Val, values: &Val, most: &Dim) -> Got<Val> {
    let n = mask.ty.elements();
    let nowhere = size(&n);
    let at = c.emit(Op::Select {}, &[mask, places, &nowhere], DType::I64, vec![n.clone()])?;
    let room = c.expand(&Val::scalar(DType::I64, 0.0), vec![&n + 1])?;
    let scatter = Op::ScatterElements { axis: 0, f: ScatterFn::Replace };
    let list = c.emit(scatter, &[&room, &at, values], DType::I64, vec![&n + 1])?;
    let ones = c.cast(mask, DType::I64)?;
    let count = reduce(c, ReduceFn::Sum, &ones, 0)?;
    let count = c.build.count(&count, most)?;
    c.part(&list, 0, Dim::ZERO, count)
}

/// The positions at which `mask`, of one axis, holds; at most `most` of them.
pub fn positions(c: &mut Call, mask: &Val, most: &Dim) -> Got<Val> {
    if let Some(list) = mask.const_ints() {
        return Ok(Val::ints(list.iter().enumerate().filter(|(_, m)| **m != 0).map(|(k, _)| Dim::from(k as i64))));
    }
    let n = mask.ty.elements();
    let before = running(c, mask)?;
    let all = iota(c, &n)?;
    pack(c, mask, &before, &all, most)
}

/// How often `mask` held before each position.
fn running(c: &mut Call, mask: &Val) -> Got<Val> {
    let ones = c.cast(mask, DType::I64)?;
    let sum = Op::CumSum { axis: mask.rank().saturating_sub(1), exclusive: true, reverse: false };
    c.emit(sum, &[&ones], DType::I64, mask.shape().to_vec())
}

fn not_zero(c: &mut Call, x: &Val) -> Got<Val> {
    c.cast(x, DType::Bool)
}

fn flat(c: &mut Call, x: &Val) -> Got<Val> {
    let n = x.ty.elements();
    c.reshape(x, vec![n])
}

/// Flat positions as coordinates: one row an axis of `shape`.
pub fn coordinates(c: &mut Call, at: &Val, shape: &[Dim]) -> Got<Vec<Val>> {
    let mut rows = vec![];
    for (k, d) in shape.iter().enumerate() {
        let stride = Dim::product(shape.get(k + 1..).unwrap_or(&[]));
        let mut row = if stride.is(1) { at.clone() } else { c.binary(BinaryFn::Div, at, &size(&stride))? };
        if k > 0 {
            row = c.binary(BinaryFn::Mod, &row, &size(d))?;
        }
        rows.push(row);
    }
    Ok(rows)
}

pub fn non_zero(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let shape = if x.rank() == 0 { vec![Dim::ONE] } else { x.shape().to_vec() };
    let mask = not_zero(c, &x)?;
    let mask = flat(c, &mask)?;
    let n = mask.ty.elements();
    let at = positions(c, &mask, &n)?;
    let count = at.ty.elements();
    let mut rows = vec![];
    for row in coordinates(c, &at, &shape)? {
        rows.push(c.reshape(&row, vec![Dim::ONE, count.clone()])?);
    }
    let refs: Vec<&Val> = rows.iter().collect();
    Ok(vec![c.emit(Op::Concat { axis: 0 }, &refs, DType::I64, vec![Dim::from(rows.len() as i64), count])?])
}

pub fn compress(c: &mut Call) -> Out {
    let (x, condition) = (c.input(0)?, c.input(1)?);
    let (x, axis) = match c.attrs.int("axis")? {
        None => (flat(c, &x)?, 0),
        Some(axis) => {
            let axis = c.axis(axis, x.rank())?;
            (x, axis)
        }
    };
    let mask = not_zero(c, &condition)?;
    let mask = flat(c, &mask)?;
    let n = mask.ty.elements();
    let size = x.shape().get(axis).cloned().unwrap_or(Dim::ONE);
    if c.build.dims.ranges.lt(&size, &n) {
        return Err(operand(format!("the condition has {n} elements, more than the {size} of the axis")));
    }
    let at = positions(c, &mask, &n)?;
    let mut shape = x.shape().to_vec();
    if let Some(d) = shape.get_mut(axis) {
        *d = at.ty.elements();
    }
    Ok(vec![c.emit(Op::Gather { axis }, &[&x, &at], x.dtype(), shape)?])
}

/// Every pair of the `n` things: are they equal, and is the second (axis 1) below the first (axis 0)?
fn pairs(c: &mut Call, x: &Val) -> Got<(Val, Val)> {
    let x = if x.dtype() == DType::Bool { c.cast(x, DType::I32)? } else { x.clone() };
    let (n, rest) = match x.shape() {
        [n] => (n.clone(), None),
        [n, m] => (n.clone(), Some(m.clone())),
        _ => return Err(operand("the operand has no axis")),
    };
    let side = |c: &mut Call, first: bool| {
        let mut shape = if first { vec![n.clone(), Dim::ONE] } else { vec![Dim::ONE, n.clone()] };
        shape.extend(rest.clone());
        c.reshape(&x, shape)
    };
    let (a, b) = (side(c, true)?, side(c, false)?);
    if rest.is_none() {
        return Ok((c.binary(BinaryFn::Eq, &a, &b)?, c.binary(BinaryFn::Lt, &b, &a)?));
    }
    // Rows compare where they differ first.
    let differ = c.binary(BinaryFn::Ne, &a, &b)?;
    let differ = c.cast(&differ, DType::I32)?;
    let any = reduce(c, ReduceFn::Max, &differ, 2)?;
    let equal = c.binary(BinaryFn::Eq, &any, &Val::scalar(DType::I32, 0.0))?;
    let square = vec![n.clone(), n];
    let first = Op::ArgReduce { f: ArgFn::Max, axis: 2, keep: false, last: false };
    let first = c.emit(first, &[&differ], DType::I64, square.clone())?;
    let here = c.emit(Op::GatherElements { axis: 1 }, &[&x, &first], x.dtype(), square)?;
    let there = c.transpose(&here, vec![1, 0])?;
    Ok((equal, c.binary(BinaryFn::Lt, &there, &here)?))
}

/// By comparing all pairs.
pub fn unique(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let sorted = c.attrs.flag("sorted", true)?;
    let axis = c.attrs.int("axis")?.map(|a| c.axis(a, x.rank())).transpose()?;
    let (x, axis, things) = match axis {
        None => {
            let x = flat(c, &x)?;
            (x.clone(), 0, x)
        }
        Some(axis) => {
            let mut perm: Vec<usize> = (0..x.rank()).collect();
            perm.remove(axis);
            perm.insert(0, axis);
            let front = c.transpose(&x, perm)?;
            let (n, rest) = front.shape().split_first().map_or((Dim::ONE, Dim::ONE), |(n, rest)| (n.clone(), Dim::product(rest)));
            (x, axis, c.reshape(&front, vec![n, rest])?)
        }
    };
    let n = things.shape().first().cloned().unwrap_or(Dim::ONE);
    let (equal, below) = pairs(c, &things)?;
    let all = iota(c, &n)?;
    let square = vec![n.clone(), n.clone()];
    let candidates = c.emit(Op::Select {}, &[&equal, &all, &size(&n)], DType::I64, square)?;
    let first = reduce(c, ReduceFn::Min, &candidates, 1)?;
    let leads = c.binary(BinaryFn::Eq, &first, &all)?;
    let place = if sorted {
        let counts = c.binary(BinaryFn::And, &below, &leads)?;
        let counts = c.cast(&counts, DType::I64)?;
        reduce(c, ReduceFn::Sum, &counts, 1)?
    } else {
        let before = running(c, &leads)?;
        c.emit(Op::Gather { axis: 0 }, &[&before, &first], DType::I64, vec![n.clone()])?
    };
    let indices = pack(c, &leads, &place, &all, &n)?;
    let count = indices.ty.elements();
    let mut shape = x.shape().to_vec();
    if let Some(d) = shape.get_mut(axis) {
        *d = count.clone();
    }
    let y = c.emit(Op::Gather { axis }, &[&x, &indices], x.dtype(), shape)?;
    let same = c.cast(&equal, DType::I64)?;
    let counts = reduce(c, ReduceFn::Sum, &same, 1)?;
    let counts = c.emit(Op::Gather { axis: 0 }, &[&counts, &indices], DType::I64, vec![count])?;
    Ok(vec![y, indices, place, counts])
}

//! Gathers, scatters and one-hot: elements addressed by value. Negative indices count from the end; an index outside its axis is
//! an error of the model's input.

use super::super::ops::ScatterFn;
use super::{Cx, fail, found};
use crate::core::{Binary, InterpError, Scalar, TensorValue, indices};

/// Index value `v` into an axis of size `n`.
fn resolve(v: Scalar, n: usize) -> Result<usize, InterpError> {
    let (v, n) = (v.as_i64(), n as i64);
    let at = if v < 0 { v + n } else { v };
    if (0..n).contains(&at) { Ok(at as usize) } else { Err(fail(format!("index {v} is outside an axis of size {n}"))) }
}

pub fn gather(cx: &Cx, axis: usize) -> Result<TensorValue, InterpError> {
    let (x, idx) = (cx.operand(0)?, cx.operand(1)?);
    let n = x.shape.get(axis).copied().ok_or_else(|| fail("the axis is out of range"))?;
    cx.build(|i| {
        let (Some(head), Some(at), Some(tail)) = (i.get(..axis), i.get(axis..axis + idx.rank()), i.get(axis + idx.rank()..)) else {
            return found(None);
        };
        let k = resolve(found(idx.get(at))?, n)?;
        found(x.get(&[head, &[k], tail].concat()))
    })
}

/// `i` with axis `axis` replaced by the index tensor's value there.
fn redirected(i: &[usize], axis: usize, idx: &TensorValue, n: usize) -> Result<Vec<usize>, InterpError> {
    let mut at = i.to_vec();
    let slot = at.get_mut(axis).ok_or_else(|| fail("the axis is out of range"))?;
    *slot = resolve(found(idx.get(i))?, n)?;
    Ok(at)
}

pub fn gather_elements(cx: &Cx, axis: usize) -> Result<TensorValue, InterpError> {
    let (x, idx) = (cx.operand(0)?, cx.operand(1)?);
    let n = x.shape.get(axis).copied().unwrap_or(0);
    cx.build(|i| found(x.get(&redirected(i, axis, idx, n)?)))
}

/// The tuple at `lead` in `idx`, resolved against the axes of `x` from `skip` on.
fn tuple(x: &TensorValue, idx: &TensorValue, lead: &[usize], skip: usize) -> Result<Vec<usize>, InterpError> {
    let len = idx.shape.last().copied().unwrap_or(0);
    (0..len)
        .map(|k| {
            let n = x.shape.get(skip + k).copied().ok_or_else(|| fail("the index tuples are longer than the rank"))?;
            resolve(found(idx.get(&[lead, &[k]].concat()))?, n)
        })
        .collect()
}

pub fn gather_nd(cx: &Cx, batch_dims: usize) -> Result<TensorValue, InterpError> {
    let (x, idx) = (cx.operand(0)?, cx.operand(1)?);
    let lead_axes = idx.rank().saturating_sub(1);
    cx.build(|i| {
        let (Some(batch), Some(lead), Some(rest)) = (i.get(..batch_dims), i.get(..lead_axes), i.get(lead_axes..)) else {
            return found(None);
        };
        let at = tuple(x, idx, lead, batch_dims)?;
        found(x.get(&[batch, &at, rest].concat()))
    })
}

/// Puts `update` into the element at `at`.
fn combine(f: ScatterFn, out: &mut TensorValue, at: &[usize], update: Scalar) -> Result<(), InterpError> {
    let dt = out.dtype;
    let k = out.offset(at).ok_or_else(|| fail("writes outside its result: the operands' shapes do not fit"))?;
    let slot = out.data.get_mut(k).ok_or_else(|| fail("the data is incomplete"))?;
    *slot = match f {
        ScatterFn::Replace => update,
        ScatterFn::Add => Binary::Add.eval(dt, *slot, update),
        ScatterFn::Mul => Binary::Mul.eval(dt, *slot, update),
        ScatterFn::Max => Binary::Max.eval(dt, *slot, update),
        ScatterFn::Min => Binary::Min.eval(dt, *slot, update),
    };
    Ok(())
}

pub fn scatter_nd(cx: &Cx, f: ScatterFn) -> Result<TensorValue, InterpError> {
    let (x, idx, updates) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let lead_axes = idx.rank().saturating_sub(1);
    let mut out = x.clone();
    for i in indices(&updates.shape) {
        let (Some(lead), Some(rest)) = (i.get(..lead_axes), i.get(lead_axes..)) else { return Err(fail("the updates' rank does not fit")) };
        let at = tuple(x, idx, lead, 0)?;
        combine(f, &mut out, &[&at, rest].concat(), found(updates.get(&i))?)?;
    }
    Ok(out)
}

pub fn scatter_elements(cx: &Cx, axis: usize, f: ScatterFn) -> Result<TensorValue, InterpError> {
    let (x, idx, updates) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let n = x.shape.get(axis).copied().unwrap_or(0);
    let mut out = x.clone();
    for i in indices(&idx.shape) {
        combine(f, &mut out, &redirected(&i, axis, idx, n)?, found(updates.get(&i))?)?;
    }
    Ok(out)
}

pub fn one_hot(cx: &Cx, axis: usize) -> Result<TensorValue, InterpError> {
    let (idx, values) = (cx.operand(0)?, cx.operand(1)?);
    let depth = cx.shape.get(axis).copied().ok_or_else(|| fail("the axis is out of range"))?;
    let (off, on) = (found(values.get(&[0]))?, found(values.get(&[1]))?);
    cx.build(|i| {
        let mut at = i.to_vec();
        let k = at.remove(axis);
        let v = found(idx.get(&at))?;
        // An index outside gives a row of `off`.
        Ok(if resolve(v, depth).is_ok_and(|hot| hot == k) { on } else { off })
    })
}

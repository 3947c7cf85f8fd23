//! Reading and writing at positions that tensors hold. Negative positions count from the end; others out of range are clamped.

use super::LowerError;
use super::cx::{Args, Cx, Src, axes, i, is, wide};
use odc_ir::core::{Binary, DType, Dim, Scalar, Value};
use odc_ir::graph::ScatterFn;
use odc_ir::tensor::{Expr, ExprId, Index, Program};

type Result = std::result::Result<Value, LowerError>;

/// A position along an axis of size `n` as i64, wrapped when negative.
fn position(cx: &Cx, indices: &Src, at: impl IntoIterator<Item = Dim>, n: &Dim, p: &mut Program) -> ExprId {
    let k = indices.load(p, at);
    let k = p.cast(DType::I64, k);
    let known = cx.constant_of(indices.value);
    if known.is_some_and(|c| c.scalars().all(|s| s.as_i64() >= 0)) {
        return k;
    }
    let zero = p.constant(DType::I64, 0.0);
    let n = p.dim(n.clone());
    let wrapped = p.binary(Binary::Add, k, n);
    let negative = p.binary(Binary::Lt, k, zero);
    p.select(negative, wrapped, k)
}

/// The same position for all elements, when a constant says so.
fn fixed(cx: &Cx, indices: &Src, n: &Dim) -> Option<Dim> {
    let k = cx.splat_of(indices.value).map(Scalar::as_i64)?;
    Some(if k < 0 { n + k } else { Dim::from(k) })
}

pub(super) fn gather(cx: &mut Cx, a: &Args, axis: usize) -> Result {
    let (data, indices) = (a.x(0)?, a.x(1)?);
    let n = data.dim(axis)?;
    let m = indices.ty.rank();
    let mut p = Program::new();
    let here = match fixed(cx, indices, n) {
        Some(k) => Index::Dim(k),
        None => Index::Value(position(cx, indices, (axis..axis + m).map(i), n, &mut p)),
    };
    let mut index: Vec<_> = (0..axis).map(|k| Index::Dim(i(k))).collect();
    index.push(here);
    index.extend((axis + m..a.rank()).map(|k| Index::Dim(i(k))));
    let v = data.at(&mut p, index);
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

pub(super) fn gather_elements(cx: &mut Cx, a: &Args, axis: usize) -> Result {
    let (data, indices) = (a.x(0)?, a.x(1)?);
    let mut p = Program::new();
    let here = position(cx, indices, is(a.rank()), data.dim(axis)?, &mut p);
    let index: Vec<_> = (0..a.rank()).map(|k| if k == axis { Index::Value(here) } else { Index::Dim(i(k)) }).collect();
    let v = data.at(&mut p, index);
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

/// The axis of tuples: how many leading axes of `indices` there are, and how many coordinates a tuple has.
fn tuples(indices: &Src) -> std::result::Result<(usize, usize), LowerError> {
    let (last, lead) = indices.ty.shape.split_last().ok_or_else(|| LowerError::new("indices must have at least one axis"))?;
    let k = last.as_const().and_then(|k| usize::try_from(k).ok());
    k.map(|k| (lead.len(), k)).ok_or_else(|| LowerError::new(format!("the last axis of indices must have a known size, not {last}")))
}

pub(super) fn gather_nd(cx: &mut Cx, a: &Args, batch: usize) -> Result {
    let (data, indices) = (a.x(0)?, a.x(1)?);
    let (lead, k) = tuples(indices)?;
    let mut p = Program::new();
    let mut index: Vec<_> = (0..batch).map(|b| Index::Dim(i(b))).collect();
    for c in 0..k {
        let at = (0..lead).map(i).chain([Dim::from(c as i64)]);
        index.push(Index::Value(position(cx, indices, at, data.dim(batch + c)?, &mut p)));
    }
    index.extend((lead..a.rank()).map(|d| Index::Dim(i(d))));
    let v = data.at(&mut p, index);
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

pub(super) fn scatter_nd(cx: &mut Cx, a: &Args, f: ScatterFn) -> Result {
    let (data, indices, updates) = (a.x(0)?, a.x(1)?, a.x(2)?);
    let (lead, k) = tuples(indices)?;
    let mut index = vec![];
    for c in 0..k {
        let mut p = Program::new();
        let at = (0..lead).map(i).chain([Dim::from(c as i64)]);
        let v = position(cx, indices, at, data.dim(c)?, &mut p);
        index.push(p.returning(v));
    }
    for d in lead..updates.ty.rank() {
        let mut p = Program::new();
        let v = p.dim(i(d));
        index.push(p.returning(v));
    }
    scatter(cx, a, updates, index, f)
}

pub(super) fn scatter_elements(cx: &mut Cx, a: &Args, axis: usize, f: ScatterFn) -> Result {
    let (data, indices, updates) = (a.x(0)?, a.x(1)?, a.x(2)?);
    let n = data.dim(axis)?;
    let mut index = vec![];
    for d in 0..data.ty.rank() {
        let mut p = Program::new();
        let v = if d == axis { position(cx, indices, is(data.ty.rank()), n, &mut p) } else { p.dim(i(d)) };
        index.push(p.returning(v));
    }
    scatter(cx, a, updates, index, f)
}

fn scatter(cx: &mut Cx, a: &Args, updates: &Src, index: Vec<Program>, f: ScatterFn) -> Result {
    let dt = a.out.dtype;
    let (mut operands, mut updates) = (a.operands.clone(), updates.clone());
    if updates.number == 0 {
        // The data as its own updates: as it was, not as it is by then.
        updates.number = operands.len() as u32;
        operands.push(updates.value);
    }
    let mut p = Program::new();
    let u = updates.wide(&mut p, is(updates.ty.rank()));
    let combine = match f {
        ScatterFn::Replace => None,
        ScatterFn::Add => Some(Binary::Add),
        ScatterFn::Mul => Some(Binary::Mul),
        ScatterFn::Max => Some(Binary::Max),
        ScatterFn::Min => Some(Binary::Min),
    };
    let v = match combine {
        Some(f) => {
            let present = p.push(Expr::Acc(dt));
            let present = p.cast(wide(dt), present);
            p.binary(f, present, u)
        }
        None => u,
    };
    let v = p.cast(dt, v);
    Ok(cx.scatter(&operands, a.out.clone(), axes(&updates.ty.shape), index, p.returning(v)))
}

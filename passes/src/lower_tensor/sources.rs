//! Ops that make their elements from positions: sizes, ranges, one-hot rows, triangles.

use super::LowerError;
use super::cx::{Args, Cx, i, is, wide};
use odc_ir::core::{Binary, Const, DType, Dim, Scalar, Value};
use odc_ir::tensor::{Expr, Program};

type Result = std::result::Result<Value, LowerError>;

/// Sizes that are all numbers become a constant; otherwise one map that selects by position.
pub(super) fn dims(cx: &mut Cx, a: &Args, values: &[Dim]) -> Result {
    let dt = a.out.dtype;
    if let (Some(numbers), Some(shape)) = (values.iter().map(Dim::as_const).collect::<Option<Vec<_>>>(), a.out.static_shape()) {
        let data = numbers.into_iter().map(|n| Scalar::Int(n).wrap(dt));
        let id = cx.module.add_const(Const::from_scalars(dt, &shape, data));
        return Ok(cx.constant(id, a.out.clone()));
    }
    let mut p = Program::new();
    let Some((last, rest)) = values.split_last() else {
        return Err(LowerError::new("a non-constant shape of no sizes"));
    };
    let mut v = p.dim(last.clone());
    for (k, d) in rest.iter().enumerate().rev() {
        let d = p.dim(d.clone());
        let here = p.push(Expr::Inside(vec![(i(0), Dim::from(k as i64 + 1))]));
        v = p.select(here, d, v);
    }
    Ok(cx.map(&[], a.out.clone(), p, v))
}

/// `start + i0 * step`.
pub(super) fn range(cx: &mut Cx, a: &Args) -> Result {
    let dt = wide(a.out.dtype);
    let mut p = Program::new();
    let start = a.x(0)?.scalar(&mut p);
    let start = p.cast(dt, start);
    let step = a.x(1)?.scalar(&mut p);
    let step = p.cast(dt, step);
    let k = p.dim(i(0));
    let k = p.cast(dt, k);
    let v = p.binary(Binary::Mul, k, step);
    let v = p.binary(Binary::Add, start, v);
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

pub(super) fn one_hot(cx: &mut Cx, a: &Args, axis: usize) -> Result {
    let (indices, values) = (a.x(0)?, a.x(1)?);
    let depth = a.out_dim(axis)?.clone();
    let mut p = Program::new();
    let mut at = is(a.rank());
    at.remove(axis);
    let k = indices.load(&mut p, at);
    let k = p.cast(DType::I64, k);
    let zero = p.constant(DType::I64, 0.0);
    let n = p.dim(depth);
    let wrapped = p.binary(Binary::Add, k, n);
    let negative = p.binary(Binary::Lt, k, zero);
    let k = p.select(negative, wrapped, k);
    let here = p.dim(i(axis));
    let hot = p.binary(Binary::Eq, k, here);
    let on = values.load(&mut p, [Dim::ONE]);
    let off = values.load(&mut p, [Dim::ZERO]);
    let v = p.select(hot, on, off);
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

pub(super) fn trilu(cx: &mut Cx, a: &Args, upper: bool, k: i64) -> Result {
    let x = a.x(0)?;
    let n = a.rank();
    let (Some(row), Some(col)) = (n.checked_sub(2), n.checked_sub(1)) else {
        return Err(LowerError::new("the operand must have at least two axes"));
    };
    // `0 <= distance < extent`, where only the left side can fail.
    let (distance, extent) =
        if upper { (i(col) - i(row) - k, a.out_dim(col)? + (-k.min(0))) } else { (i(row) - i(col) + k, a.out_dim(row)? + k.max(0)) };
    let mut p = Program::new();
    let v = x.load(&mut p, is(n));
    let zero = p.constant(a.out.dtype, 0.0);
    let keep = p.push(Expr::Inside(vec![(distance, extent)]));
    let v = p.select(keep, v, zero);
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

//! Reductions over whole axes: what is applied before is in the body, what is applied after in the epilogue.

use super::LowerError;
use super::cx::{Args, Cx, Reduction, Src, axes, i, is, r, raxes, wide};
use odc_ir::core::{Binary, DType, Dim, TensorType, Unary, Value};
use odc_ir::graph::{ArgFn, ReduceFn};
use odc_ir::tensor::{Expr, ExprId, Program, ReduceKind};

type Result = std::result::Result<Value, LowerError>;

/// The operand's index and the extents summed over: `r…` on `reduced`, the result's axes elsewhere.
pub(super) fn indices(x: &Src, reduced: &[usize], keep: bool) -> (Vec<Dim>, Vec<Dim>) {
    let (mut index, mut extents) = (vec![], vec![]);
    let mut next = 0;
    for (k, d) in x.ty.shape.iter().enumerate() {
        if reduced.contains(&k) {
            index.push(r(extents.len()));
            extents.push(d.clone());
            next += usize::from(keep);
        } else {
            index.push(i(next));
            next += 1;
        }
    }
    (index, extents)
}

/// Arithmetic type of a reduction: flags add and compare as integers.
fn sum_type(dt: DType) -> DType {
    if dt == DType::Bool { DType::I32 } else { wide(dt) }
}

pub(super) fn reduce(cx: &mut Cx, a: &Args, f: ReduceFn, reduced: &[usize], keep: bool) -> Result {
    let x = a.x(0)?;
    if f == ReduceFn::LogSumExp {
        return log_sum_exp(cx, a, reduced, keep);
    }
    let (index, extents) = indices(x, reduced, keep);
    let count = Dim::product(&extents);
    // Roots and logarithms of integers are computed as floats.
    let own = sum_type(x.ty.dtype);
    let dt = match f {
        ReduceFn::L2 | ReduceFn::LogSum | ReduceFn::LogSumExp if !own.is_float() => DType::F64,
        ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Prod | ReduceFn::Max | ReduceFn::Min => own,
        ReduceFn::SumSquare | ReduceFn::L1 | ReduceFn::L2 | ReduceFn::LogSum | ReduceFn::LogSumExp => own,
    };
    let mut p = Program::new();
    let v = x.load(&mut p, index);
    let v = p.cast(dt, v);
    let v = match f {
        ReduceFn::SumSquare | ReduceFn::L2 => p.binary(Binary::Mul, v, v),
        ReduceFn::L1 => p.unary(Unary::Abs, v),
        ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Prod | ReduceFn::Max | ReduceFn::Min => v,
        ReduceFn::LogSum | ReduceFn::LogSumExp => v,
    };
    let kind = match f {
        ReduceFn::Prod => ReduceKind::Prod,
        ReduceFn::Max => ReduceKind::Max,
        ReduceFn::Min => ReduceKind::Min,
        ReduceFn::Sum | ReduceFn::Mean | ReduceFn::SumSquare | ReduceFn::L1 => ReduceKind::Sum,
        ReduceFn::L2 | ReduceFn::LogSum | ReduceFn::LogSumExp => ReduceKind::Sum,
    };
    let mut e = Program::new();
    let acc = e.push(Expr::Acc(dt));
    let after = match f {
        ReduceFn::Mean => divide(&mut e, acc, count),
        ReduceFn::L2 => e.unary(Unary::Sqrt, acc),
        ReduceFn::LogSum | ReduceFn::LogSumExp => e.unary(Unary::Log, acc),
        ReduceFn::Sum | ReduceFn::Prod | ReduceFn::Max | ReduceFn::Min | ReduceFn::SumSquare | ReduceFn::L1 => acc,
    };
    Ok(emit(cx, &a.operands, a.out.clone(), kind, &extents, p.returning(v), e.returning(after)))
}

/// A reduction whose axes are the result's, in order.
pub(super) fn emit(
    cx: &mut Cx,
    operands: &[Value],
    ty: TensorType,
    kind: ReduceKind,
    extents: &[Dim],
    body: Program,
    epilogue: Program,
) -> Value {
    let (axes, store) = (axes(&ty.shape), is(ty.rank()));
    cx.reduce(operands, ty, Reduction { kind, axes, raxes: raxes(extents), store, body, epilogue })
}

/// `v / count`, in `v`'s type.
pub(super) fn divide(p: &mut Program, v: ExprId, count: Dim) -> ExprId {
    let n = p.dim(count);
    let n = p.cast(p.dtype(v), n);
    p.binary(Binary::Div, v, n)
}

/// `m + log(sum(exp(x - m)))` with `m` the greatest element (0 where that is infinite).
fn log_sum_exp(cx: &mut Cx, a: &Args, reduced: &[usize], keep: bool) -> Result {
    let x = a.x(0)?;
    let (index, extents) = indices(x, reduced, keep);
    let dt = if sum_type(x.ty.dtype).is_float() { wide(x.ty.dtype) } else { DType::F64 };
    let (operands, xs) = cx.sources(&[x.value]);
    let source = xs.first().ok_or_else(|| LowerError::new("operand 0 is missing"))?;
    let mut p = Program::new();
    let v = source.load(&mut p, index.clone());
    let v = p.cast(dt, v);
    let mut e = Program::new();
    let acc = e.push(Expr::Acc(dt));
    let zero = e.constant(dt, 0.0);
    let infinite = e.unary(Unary::IsInf, acc);
    let m = e.select(infinite, zero, acc);
    let stat = TensorType::new(dt, a.out.shape.clone());
    let max = emit(cx, &operands, stat, ReduceKind::Max, &extents, p.returning(v), e.returning(m));

    let (operands, xs) = cx.sources(&[x.value, max]);
    let [source, max] = xs.as_slice() else {
        return Err(LowerError::new("operand 0 is missing"));
    };
    let mut p = Program::new();
    let v = source.load(&mut p, index);
    let v = p.cast(dt, v);
    let m = max.load(&mut p, is(a.rank()));
    let v = p.binary(Binary::Sub, v, m);
    let v = p.unary(Unary::Exp, v);
    let mut e = Program::new();
    let acc = e.push(Expr::Acc(dt));
    let m = max.load(&mut e, is(a.rank()));
    let l = e.unary(Unary::Log, acc);
    let l = e.binary(Binary::Add, l, m);
    Ok(emit(cx, &operands, a.out.clone(), ReduceKind::Sum, &extents, p.returning(v), e.returning(l)))
}

pub(super) fn arg_reduce(cx: &mut Cx, a: &Args, f: ArgFn, axis: usize, keep: bool, last: bool) -> Result {
    let x = a.x(0)?;
    let (index, extents) = indices(x, &[axis], keep);
    let kind = match (f, last) {
        (ArgFn::Max, false) => ReduceKind::ArgMax,
        (ArgFn::Max, true) => ReduceKind::ArgMaxLast,
        (ArgFn::Min, false) => ReduceKind::ArgMin,
        (ArgFn::Min, true) => ReduceKind::ArgMinLast,
    };
    let mut p = Program::new();
    let v = x.load(&mut p, index);
    let v = p.cast(sum_type(x.ty.dtype), v);
    Ok(emit(cx, &a.operands, a.out.clone(), kind, &extents, p.returning(v), Program::identity(DType::I64)))
}

/// A running sum is, at each position, a sum over the axis with later positions masked out.
pub(super) fn cum_sum(cx: &mut Cx, a: &Args, axis: usize, exclusive: bool, reverse: bool) -> Result {
    let x = a.x(0)?;
    let n = x.dim(axis)?.clone();
    let behind = if reverse { r(0) - i(axis) } else { i(axis) - r(0) };
    let distance = behind - i64::from(exclusive);
    let mut index = is(a.rank());
    if let Some(d) = index.get_mut(axis) {
        *d = r(0);
    }
    let mut p = Program::new();
    let v = x.wide(&mut p, index);
    let zero = p.constant(wide(x.ty.dtype), 0.0);
    let counts = p.push(Expr::Inside(vec![(distance, n.clone())]));
    let v = p.select(counts, v, zero);
    let e = Program::identity(p.dtype(v));
    Ok(emit(cx, &a.operands, a.out.clone(), ReduceKind::Sum, &[n], p.returning(v), e))
}

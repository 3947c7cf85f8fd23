//! Group norms that exporters spell out with an instance norm over reshaped channels; scale and bias join them.

use super::constants::by_channel;
use super::rewriter::{Cx, pair};
use odc_ir::core::{Const, DType, Scalar, TensorType, Value};
use odc_ir::graph::{BinaryFn, Op, Operation};

/// `reshape(instance_norm(reshape(x, [n, groups, …])))` with neutral parameters is a group norm of x.
pub fn group_norm(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Reshape {}, [y]) = (&op.op, op.operands.as_slice()) else { return None };
    let norm = cx.only(*y)?;
    let (Op::GroupNorm { groups: 0, epsilon }, [split, scale, bias]) = (&norm.op, norm.operands.as_slice()) else { return None };
    let inner = cx.def(*split)?;
    let (Op::Reshape {}, [x]) = (&inner.op, inner.operands.as_slice()) else { return None };
    let (ty, grouped) = (cx.ty(*x).clone(), cx.ty(*split));
    let channels = ty.shape.get(1)?.as_const()?;
    let groups = grouped.shape.get(1)?.as_const().filter(|g| *g > 0 && channels % g == 0)?;
    if ty != *cx.ty(op.result()?)
        || ty.shape.first() != grouped.shape.first()
        || cx.scalar(*scale) != Some(1.0)
        || cx.scalar(*bias) != Some(0.0)
    {
        return None;
    }
    let count = usize::try_from(channels).ok().filter(|c| *c <= 1 << 24)?;
    let mut all = |v: f64| cx.emit_constant(Const::from_scalars(ty.dtype, &[channels], std::iter::repeat_n(Scalar::Float(v), count)));
    let (ones, zeros) = (all(1.0), all(0.0));
    cx.emit_inferred(Op::GroupNorm { groups, epsilon: *epsilon }, &[*x, ones, zeros])
}

/// A group norm with constant parameters that nothing else uses, and the constant that `op` combines it with, by channel.
fn with_factor(cx: &mut Cx, op: &Operation, f: BinaryFn) -> Option<(Op, Value, TensorType, [Vec<f64>; 3])> {
    let (a, b) = pair(op, f)?;
    let (y, c) = match (cx.constant(a), cx.constant(b)) {
        (None, Some(c)) => (a, c.clone()),
        (Some(c), None) => (b, c.clone()),
        _ => return None,
    };
    let norm = cx.only(y)?;
    let (Op::GroupNorm { .. }, [x, scale, bias]) = (&norm.op, norm.operands.as_slice()) else { return None };
    let ty = cx.ty(*x).clone();
    let channels = usize::try_from(ty.shape.get(1)?.as_const()?).ok()?;
    let values = |c: &Const| by_channel(c, 1, 0, channels);
    let (scale, bias) = (values(cx.constant(*scale)?)?, values(cx.constant(*bias)?)?);
    Some((norm.op.clone(), *x, ty.clone(), [scale, bias, by_channel(&c, ty.rank(), 1, channels)?]))
}

fn rebuilt(cx: &mut Cx, norm: Op, x: Value, dtype: DType, scale: Vec<f64>, bias: Vec<f64>) -> Option<Value> {
    let mut row = |v: Vec<f64>| cx.emit_constant(Const::from_scalars(dtype, &[v.len() as i64], v.into_iter().map(Scalar::Float)));
    let (scale, bias) = (row(scale), row(bias));
    cx.emit_inferred(norm, &[x, scale, bias])
}

/// `group_norm(x, s, b) * c` is `group_norm(x, s * c, b * c)`.
pub fn scale(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (norm, x, ty, [s, b, c]) = with_factor(cx, op, BinaryFn::Mul)?;
    let times = |v: &[f64]| v.iter().zip(&c).map(|(v, c)| v * c).collect();
    rebuilt(cx, norm, x, ty.dtype, times(&s), times(&b))
}

/// `group_norm(x, s, b) + c` is `group_norm(x, s, b + c)`.
pub fn bias(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (norm, x, ty, [s, b, c]) = with_factor(cx, op, BinaryFn::Add)?;
    let sum = b.iter().zip(&c).map(|(b, c)| b + c).collect();
    rebuilt(cx, norm, x, ty.dtype, s, sum)
}

//! Layer and RMS norms as exporters spell them out: first the normalisation itself, with a scale of ones; scale and bias join it
//! one by one.

use super::rewriter::{Cx, pair};
use odc_ir::core::{Const, Scalar, TensorType, Value, element_count};
use odc_ir::graph::{BinaryFn, Op, Operation, ReduceFn, UnaryFn};

/// A scale of ones is stored: no norm has more elements than this, but a hostile shape may say so.
const MAX_SCALE: usize = 1 << 24;

/// The operand and the first axis of a mean over all axes from there on.
fn tail_mean(cx: &mut Cx, v: Value) -> Option<(Value, usize)> {
    cx.attempt(|cx| {
        let op = cx.def(v)?;
        let (Op::Reduce { f: ReduceFn::Mean, axes, keep: true }, [x]) = (&op.op, op.operands.as_slice()) else { return None };
        let axis = *axes.first()?;
        axes.iter().copied().eq(axis..cx.ty(*x).rank()).then_some((*x, axis))
    })
}

/// `sqrt(mean(d * d) + epsilon)`: the operand, the axis and epsilon.
fn deviation(cx: &mut Cx, v: Value) -> Option<(Value, usize, f64)> {
    let inner = cx.unary(v, UnaryFn::Sqrt)?;
    // No epsilon is an epsilon of 0.
    let (mean, epsilon) = cx.with_scalar(inner, BinaryFn::Add).unwrap_or((inner, 0.0));
    let (square, axis) = tail_mean(cx, mean)?;
    let (d, same) = cx.binary(square, BinaryFn::Mul)?;
    (d == same && epsilon >= 0.0).then_some((d, axis, epsilon))
}

/// `d / sqrt(mean(d^2) + epsilon)`, also as a product with the reciprocal. `d = x - mean(x)` makes it a layer norm of x.
pub fn normalise(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (d, axis, epsilon) = if let Some((d, below)) = pair(op, BinaryFn::Div) {
        deviation(cx, below).filter(|(e, ..)| *e == d)?
    } else {
        let (a, b) = pair(op, BinaryFn::Mul)?;
        let mut factor = |d: Value, v: Value| {
            cx.attempt(|cx| {
                let below = cx.unary(v, UnaryFn::Reciprocal)?;
                deviation(cx, below).filter(|(e, ..)| *e == d)
            })
        };
        factor(a, b).or_else(|| factor(b, a))?
    };
    let dtype = cx.ty(d).dtype;
    let shape = TensorType::new(dtype, cx.ty(d).shape.get(axis..)?).static_shape()?;
    let count = element_count(&shape).filter(|n| *n <= MAX_SCALE)?;
    let centred = cx.attempt(|cx| {
        let (x, mean) = cx.binary(d, BinaryFn::Sub)?;
        (tail_mean(cx, mean)? == (x, axis)).then_some(x)
    });
    let ones = cx.emit_constant(Const::from_scalars(dtype, &shape, std::iter::repeat_n(Scalar::Float(1.0), count)));
    match centred {
        Some(x) => cx.emit_inferred(Op::LayerNorm { axis, epsilon }, &[x, ones]),
        None => cx.emit_inferred(Op::RmsNorm { axis, epsilon }, &[d, ones]),
    }
}

/// Is `v` one value for each element of the axes from `axis` on?
fn is_parameter(cx: &Cx, v: Value, axis: usize, of: &TensorType) -> bool {
    let ty = cx.ty(v);
    of.shape.get(axis..).is_some_and(|s| ty.shape == s) && ty.dtype == of.dtype
}

/// `norm(x, ones) * s` is `norm(x, s)`.
pub fn scale(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (a, b) = pair(op, BinaryFn::Mul)?;
    let mut join = |v: Value, s: Value| {
        cx.attempt(|cx| {
            let norm = cx.only(v)?;
            let (axis, [x, ones]) = (axis_of(&norm)?, norm.operands.as_slice()) else { return None };
            let fits = cx.scalar(*ones) == Some(1.0) && is_parameter(cx, s, axis, cx.ty(v));
            fits.then(|| cx.emit_inferred(norm.op.clone(), &[*x, s])).flatten()
        })
    };
    join(a, b).or_else(|| join(b, a))
}

fn axis_of(op: &Operation) -> Option<usize> {
    match op.op {
        Op::LayerNorm { axis, .. } | Op::RmsNorm { axis, .. } => Some(axis),
        _ => None,
    }
}

/// `layer_norm(x, s) + b` is `layer_norm(x, s, b)`.
pub fn bias(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (a, b) = pair(op, BinaryFn::Add)?;
    let mut join = |v: Value, t: Value| {
        cx.attempt(|cx| {
            let norm = cx.only(v)?;
            let (Op::LayerNorm { axis, .. }, [x, s]) = (&norm.op, norm.operands.as_slice()) else { return None };
            is_parameter(cx, t, *axis, cx.ty(v)).then(|| cx.emit_inferred(norm.op.clone(), &[*x, *s, t])).flatten()
        })
    };
    join(a, b).or_else(|| join(b, a))
}

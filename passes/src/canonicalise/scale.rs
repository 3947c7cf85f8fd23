//! Scales and shifts by channel: batch norm becomes a multiplication and an addition, and those go into the weights and the bias
//! of the convolution or product before them. Factors are f64 until the new weight is rounded once.

use super::constants::{by_channel, scaled};
use super::rewriter::{Cx, pair};
use odc_ir::core::{Const, DType, Scalar, Value};
use odc_ir::graph::{BinaryFn, Op, Operation};
use std::rc::Rc;

/// With constant parameters: `x * s + t`.
pub fn batch_norm(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::BatchNorm { epsilon }, [x, params @ ..]) = (&op.op, op.operands.as_slice()) else { return None };
    let dt = cx.ty(*x).dtype;
    if !matches!(dt, DType::F32 | DType::F64) {
        return None;
    }
    let params =
        params.iter().map(|p| Some(cx.constant(*p)?.scalars().map(|s| s.as_f64()).collect())).collect::<Option<Vec<Vec<f64>>>>()?;
    let [scale, bias, mean, variance] = params.as_slice() else { return None };
    let s: Vec<f64> = scale.iter().zip(variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
    let t: Vec<f64> = bias.iter().zip(mean.iter().zip(&s)).map(|(b, (m, s))| b - m * s).collect();
    let mut shape = vec![1i64; cx.ty(*x).rank().checked_sub(1)?];
    *shape.first_mut()? = i64::try_from(s.len()).ok()?;
    let mut make = |v: Vec<f64>| cx.emit_constant(Const::from_scalars(dt, &shape, v.into_iter().map(Scalar::Float)));
    let (s, t) = (make(s), make(t));
    let y = cx.emit_binary(BinaryFn::Mul, *x, s)?;
    cx.emit_binary(BinaryFn::Add, y, t)
}

/// Weights up to this size may be stored twice.
const SHARED: usize = 1 << 16;

/// A product with constant weights that nothing else uses, and where its channels are.
struct Producer {
    op: Rc<Operation>,
    weights: Const,
    bias: Option<Const>,
    /// Channel axis of the result, and its size.
    axis: usize,
    channels: usize,
    rank: usize,
}

impl Producer {
    fn find(cx: &mut Cx, v: Value) -> Option<Producer> {
        let op = cx.only(v)?;
        let ty = cx.ty(v);
        let axis = match op.op {
            Op::Conv { .. } | Op::ConvTranspose { .. } => 1,
            Op::MatMul {} => ty.rank().checked_sub(1)?,
            _ => return None,
        };
        let channels = usize::try_from(ty.shape.get(axis)?.as_const()?).ok()?;
        let rank = ty.rank();
        let w = *op.operands.get(1)?;
        let weights = cx.constant(w)?.clone();
        // Large weights with other users would be stored twice.
        if !cx.single(w) && weights.bytes.len() > SHARED {
            return None;
        }
        // A product's weights must be a plain matrix of the same columns.
        if op.op == (Op::MatMul {}) && (weights.shape.len() != 2 || cx.ty(*op.operands.first()?).rank() < 2) {
            return None;
        }
        let bias = match op.operands.get(2) {
            Some(b) => Some(cx.constant(*b)?.clone()),
            None => None,
        };
        Some(Producer { op, weights, bias, axis, channels, rank })
    }
    /// The result channel of weight `k`.
    fn channel(&self, k: usize) -> Option<usize> {
        let s = &self.weights.shape;
        let dim = |k: usize| usize::try_from(*s.get(k)?).ok();
        match &self.op.op {
            Op::Conv { .. } => k.checked_div(self.weights.elements().checked_div(dim(0)?)?),
            Op::ConvTranspose { group, .. } => {
                let (ins, outs) = (dim(0)?, dim(1)?);
                let per_in = self.weights.elements().checked_div(ins)?;
                let per_out = per_in.checked_div(outs)?;
                let (i, o) = (k / per_in, k % per_in / per_out);
                let in_group = ins.checked_div(usize::try_from(*group).ok()?)?;
                Some(i.checked_div(in_group)? * outs + o)
            }
            _ => k.checked_rem(dim(1)?),
        }
    }
}

/// The value and the constant of `x * c`, `c * x` (or `x / c`: the factor's inverse).
fn scale_of(cx: &mut Cx, op: &Operation) -> Option<(Value, Const, bool)> {
    if let Some((x, c)) = pair(op, BinaryFn::Div) {
        return Some((x, cx.constant(c)?.clone(), true));
    }
    let (a, b) = pair(op, BinaryFn::Mul)?;
    match (cx.constant(a), cx.constant(b)) {
        (None, Some(c)) => Some((a, c.clone(), false)),
        (Some(c), None) => Some((b, c.clone(), false)),
        _ => None,
    }
}

/// `conv(x, w, b) * s` is `conv(x, w * s, b * s)`.
pub fn into_weights(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (y, c, inverse) = scale_of(cx, op)?;
    let p = Producer::find(cx, y)?;
    let mut s = by_channel(&c, p.rank, p.axis, p.channels)?;
    if inverse {
        s.iter_mut().for_each(|s| *s = 1.0 / *s);
    }
    // An infinite or vanishing factor would change what zero weights mean.
    if s.iter().any(|s| !s.is_normal()) {
        return None;
    }
    let weights = scaled(&p.weights, |k| s.get(p.channel(k)?).copied())?;
    let mut operands = vec![*p.op.operands.first()?, cx.emit_constant(weights)];
    if let Some(b) = &p.bias {
        let bias = scaled(b, |k| s.get(k).copied())?;
        operands.push(cx.emit_constant(bias));
    }
    let ty = cx.ty(op.result()?).clone();
    Some(cx.emit(p.op.op.clone(), &operands, ty))
}

/// `conv(x, w, b) + t` is `conv(x, w, b + t)`.
pub fn into_bias(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (a, b) = pair(op, BinaryFn::Add)?;
    let (y, c) = match (cx.constant(a), cx.constant(b)) {
        (None, Some(c)) => (a, c.clone()),
        (Some(c), None) => (b, c.clone()),
        _ => return None,
    };
    let p = Producer::find(cx, y)?;
    if p.op.op == (Op::MatMul {}) {
        return None;
    }
    let t = by_channel(&c, p.rank, p.axis, p.channels)?;
    let old = |k: usize| p.bias.as_ref().and_then(|b| b.get(k)).map_or(0.0, |s| s.as_f64());
    let bias = t.iter().enumerate().map(|(k, t)| Scalar::Float(t + old(k)));
    let bias = Const::from_scalars(p.weights.dtype, &[i64::try_from(p.channels).ok()?], bias);
    let operands = [*p.op.operands.first()?, *p.op.operands.get(1)?, cx.emit_constant(bias)];
    let ty = cx.ty(op.result()?).clone();
    Some(cx.emit(p.op.op.clone(), &operands, ty))
}

/// `(x @ w + b) * s` is `(x @ w) * s + b * s`, where the first product then goes into the weights.
pub fn before_bias(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (y, c, inverse) = scale_of(cx, op)?;
    let (y, b) = {
        let sum = cx.only(y)?;
        let (a, b) = pair(&sum, BinaryFn::Add)?;
        if cx.constant(b).is_some() { (a, b) } else { (b, a) }
    };
    let bias = cx.constant(b)?.clone();
    let p = Producer::find(cx, y)?;
    let mut s = by_channel(&c, p.rank, p.axis, p.channels)?;
    let t = by_channel(&bias, p.rank, p.axis, p.channels)?;
    if inverse {
        s.iter_mut().for_each(|s| *s = 1.0 / *s);
    }
    if s.iter().any(|s| !s.is_normal()) {
        return None;
    }
    let row = |v: Vec<f64>| Const::from_scalars(c.dtype, &[v.len() as i64], v.into_iter().map(Scalar::Float));
    let mut shape_of = |v: Vec<f64>| {
        let mut k = row(v);
        k.shape.extend(std::iter::repeat_n(1, p.rank - 1 - p.axis));
        cx.emit_constant(k)
    };
    let (t, s) = (shape_of(t.iter().zip(&s).map(|(t, s)| t * s).collect()), shape_of(s));
    let scaled = cx.emit_binary(BinaryFn::Mul, y, s)?;
    cx.emit_binary(BinaryFn::Add, scaled, t)
}

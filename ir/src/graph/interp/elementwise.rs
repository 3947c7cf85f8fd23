//! Ops on each element: named functions spelled out in f64, everything else through the kernel's [`Unary`] and [`Binary`].

use super::super::ops::{BinaryFn, UnaryFn};
use super::{Cx, found};
use crate::core::{Binary, DType, InterpError, Scalar, TensorValue, Unary, erf};

pub fn unary(cx: &Cx, f: UnaryFn) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    let data = x.data.iter().map(|e| f.eval(x.dtype, *e)).collect();
    TensorValue::new(cx.dtype, x.shape.clone(), data)
}

pub fn binary(cx: &Cx, f: BinaryFn) -> Result<TensorValue, InterpError> {
    let (a, b) = (cx.operand(0)?, cx.operand(1)?);
    cx.build(|i| Ok(f.eval(a.dtype, found(a.broadcast(i))?, found(b.broadcast(i))?)))
}

pub fn select(cx: &Cx) -> Result<TensorValue, InterpError> {
    let (c, a, b) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    cx.build(|i| found(if found(c.broadcast(i))?.as_bool() { a.broadcast(i) } else { b.broadcast(i) }))
}

pub fn cast(cx: &Cx) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    TensorValue::new(cx.dtype, x.shape.clone(), x.data.iter().map(|e| e.cast(x.dtype, cx.dtype)).collect())
}

pub fn bitcast(cx: &Cx) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    TensorValue::new(cx.dtype, x.shape.clone(), x.data.iter().map(|e| e.bitcast(x.dtype, cx.dtype)).collect())
}

/// A function of floats with parameters.
pub fn float(cx: &Cx, f: impl Fn(f64) -> f64) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    TensorValue::new(cx.dtype, x.shape.clone(), x.data.iter().map(|e| Scalar::Float(f(e.as_f64())).wrap(cx.dtype)).collect())
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `log(1 + exp(x))` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl UnaryFn {
    /// The value on one element of type `dt`.
    pub fn eval(self, dt: DType, x: Scalar) -> Scalar {
        let plain = |f: Unary| f.eval(dt, x);
        let float = |f: fn(f64) -> f64| Scalar::Float(f(x.as_f64())).wrap(dt);
        match self {
            UnaryFn::Abs => plain(Unary::Abs),
            UnaryFn::Neg => plain(Unary::Neg),
            UnaryFn::Sign => plain(Unary::Sign),
            UnaryFn::Sqrt => plain(Unary::Sqrt),
            UnaryFn::Floor => plain(Unary::Floor),
            UnaryFn::Ceil => plain(Unary::Ceil),
            UnaryFn::Round => plain(Unary::Round),
            UnaryFn::IsNan => plain(Unary::IsNan),
            UnaryFn::IsInf => plain(Unary::IsInf),
            UnaryFn::Not | UnaryFn::BitNot => plain(Unary::Not),
            UnaryFn::Exp => plain(Unary::Exp),
            UnaryFn::Log => plain(Unary::Log),
            UnaryFn::Sin => plain(Unary::Sin),
            UnaryFn::Cos => plain(Unary::Cos),
            UnaryFn::Tan => plain(Unary::Tan),
            UnaryFn::Asin => plain(Unary::Asin),
            UnaryFn::Acos => plain(Unary::Acos),
            UnaryFn::Atan => plain(Unary::Atan),
            UnaryFn::Sinh => plain(Unary::Sinh),
            UnaryFn::Cosh => plain(Unary::Cosh),
            UnaryFn::Tanh => plain(Unary::Tanh),
            UnaryFn::Asinh => plain(Unary::Asinh),
            UnaryFn::Acosh => plain(Unary::Acosh),
            UnaryFn::Atanh => plain(Unary::Atanh),
            UnaryFn::Erf => plain(Unary::Erf),
            UnaryFn::Sigmoid => plain(Unary::Sigmoid),
            UnaryFn::Relu => Binary::Max.eval(dt, x, Scalar::Int(0).wrap(dt)),
            UnaryFn::Reciprocal => float(|x| 1.0 / x),
            UnaryFn::Silu => float(|x| x * sigmoid(x)),
            UnaryFn::HardSwish => float(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
            UnaryFn::Softplus => float(softplus),
            UnaryFn::Softsign => float(|x| x / (1.0 + x.abs())),
            UnaryFn::Mish => float(|x| x * softplus(x).tanh()),
            UnaryFn::Gelu => float(|x| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))),
            UnaryFn::GeluTanh => float(|x| {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }),
        }
    }
}

impl BinaryFn {
    /// The value on two elements of type `dt`.
    pub fn eval(self, dt: DType, a: Scalar, b: Scalar) -> Scalar {
        let f = match self {
            BinaryFn::Add => Binary::Add,
            BinaryFn::Sub => Binary::Sub,
            BinaryFn::Mul => Binary::Mul,
            BinaryFn::Div => Binary::Div,
            BinaryFn::Pow => Binary::Pow,
            BinaryFn::Min => Binary::Min,
            BinaryFn::Max => Binary::Max,
            BinaryFn::Mod => Binary::Mod,
            BinaryFn::Rem => Binary::Rem,
            BinaryFn::And | BinaryFn::BitAnd => Binary::And,
            BinaryFn::Or | BinaryFn::BitOr => Binary::Or,
            BinaryFn::Xor | BinaryFn::BitXor => Binary::Xor,
            BinaryFn::Shl => Binary::Shl,
            BinaryFn::Shr => Binary::Shr,
            BinaryFn::Eq => Binary::Eq,
            BinaryFn::Ne => Binary::Ne,
            BinaryFn::Lt => Binary::Lt,
            BinaryFn::Le => Binary::Le,
            BinaryFn::Gt => Binary::Gt,
            BinaryFn::Ge => Binary::Ge,
            BinaryFn::Prelu => {
                let negative = Binary::Lt.eval(dt, a, Scalar::Int(0).wrap(dt)).as_bool();
                return if negative { Binary::Mul.eval(dt, a, b) } else { a };
            }
        };
        f.eval(dt, a, b)
    }
}

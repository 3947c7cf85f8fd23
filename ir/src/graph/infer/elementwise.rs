//! Typing of elementwise ops: element types by function, shapes by broadcasting.

use super::super::ops::{BinaryFn, Op, UnaryFn};
use super::{Cx, need_float, need_number, need_same_dtype};
use crate::core::{DType, OpSet, TensorType};

pub fn unary(f: UnaryFn, x: &TensorType) -> Result<TensorType, String> {
    let same = || TensorType::new(x.dtype, x.shape.clone());
    match f {
        UnaryFn::Not if x.dtype == DType::Bool => Ok(same()),
        UnaryFn::Not => Err(format!("not takes bools, not {x}")),
        UnaryFn::BitNot if x.dtype.is_int() => Ok(same()),
        UnaryFn::BitNot => Err(format!("bit_not takes integers, not {x}")),
        UnaryFn::IsNan | UnaryFn::IsInf => {
            need_float(f.name(), x)?;
            Ok(TensorType::new(DType::Bool, x.shape.clone()))
        }
        UnaryFn::Abs | UnaryFn::Neg | UnaryFn::Sign | UnaryFn::Relu => need_number(f.name(), x).map(|()| same()),
        UnaryFn::Sqrt
        | UnaryFn::Reciprocal
        | UnaryFn::Floor
        | UnaryFn::Ceil
        | UnaryFn::Round
        | UnaryFn::Exp
        | UnaryFn::Log
        | UnaryFn::Sin
        | UnaryFn::Cos
        | UnaryFn::Tan
        | UnaryFn::Asin
        | UnaryFn::Acos
        | UnaryFn::Atan
        | UnaryFn::Sinh
        | UnaryFn::Cosh
        | UnaryFn::Tanh
        | UnaryFn::Asinh
        | UnaryFn::Acosh
        | UnaryFn::Atanh
        | UnaryFn::Erf
        | UnaryFn::Sigmoid
        | UnaryFn::Silu
        | UnaryFn::HardSwish
        | UnaryFn::Softplus
        | UnaryFn::Softsign
        | UnaryFn::Mish
        | UnaryFn::Gelu
        | UnaryFn::GeluTanh => need_float(f.name(), x).map(|()| same()),
    }
}

pub fn binary(f: BinaryFn, a: &TensorType, b: &TensorType, cx: &Cx) -> Result<TensorType, String> {
    need_same_dtype(f.name(), a, b)?;
    let shape = cx.broadcast(&a.shape, &b.shape)?;
    let dtype = match f {
        BinaryFn::Add
        | BinaryFn::Sub
        | BinaryFn::Mul
        | BinaryFn::Div
        | BinaryFn::Pow
        | BinaryFn::Min
        | BinaryFn::Max
        | BinaryFn::Mod
        | BinaryFn::Rem
        | BinaryFn::Prelu => need_number(f.name(), a).map(|()| a.dtype)?,
        BinaryFn::And | BinaryFn::Or | BinaryFn::Xor if a.dtype == DType::Bool => DType::Bool,
        BinaryFn::And | BinaryFn::Or | BinaryFn::Xor => return Err(format!("{f} takes bools, not {a} and {b}")),
        BinaryFn::BitAnd | BinaryFn::BitOr | BinaryFn::BitXor | BinaryFn::Shl | BinaryFn::Shr if a.dtype.is_int() => a.dtype,
        BinaryFn::BitAnd | BinaryFn::BitOr | BinaryFn::BitXor | BinaryFn::Shl | BinaryFn::Shr => {
            return Err(format!("{f} takes integers, not {a} and {b}"));
        }
        BinaryFn::Eq | BinaryFn::Ne if matches!(a.dtype, DType::Bool | DType::Str) => DType::Bool,
        BinaryFn::Eq | BinaryFn::Ne | BinaryFn::Lt | BinaryFn::Le | BinaryFn::Gt | BinaryFn::Ge => {
            need_number(f.name(), a).map(|()| DType::Bool)?
        }
    };
    Ok(TensorType::new(dtype, shape))
}

pub fn select(condition: &TensorType, a: &TensorType, b: &TensorType, cx: &Cx) -> Result<TensorType, String> {
    if condition.dtype != DType::Bool {
        return Err(format!("the condition of select is bool, not {condition}"));
    }
    need_same_dtype("select", a, b)?;
    let shape = cx.broadcast(&cx.broadcast(&condition.shape, &a.shape)?, &b.shape)?;
    Ok(TensorType::new(a.dtype, shape))
}

/// Activations with parameters: floats in, the same type out.
pub fn float(op: &Op, x: &TensorType) -> Result<TensorType, String> {
    need_float(op.info().mnemonic, x)?;
    Ok(x.clone())
}

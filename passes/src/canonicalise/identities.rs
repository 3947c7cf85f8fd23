//! Elementwise operations that do nothing, or that a cheaper one does as well.

use super::rewriter::{Cx, pair};
use odc_ir::core::{Const, DType, Scalar, Value};
use odc_ir::graph::{BinaryFn, Op, Operation, UnaryFn};

/// `x + 0`, `x * 1`, `x - 0`, `x / 1`, `x ^ 1`, `x and true`, `x or false`. (`-0 + 0` gives 0: the sign of zero may change.)
pub fn identity(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Binary { f }, [a, b]) = (&op.op, op.operands.as_slice()) else { return None };
    let (neutral, commutes) = match f {
        BinaryFn::Add | BinaryFn::Or => (0.0, true),
        BinaryFn::Mul | BinaryFn::And => (1.0, true),
        BinaryFn::Sub => (0.0, false),
        BinaryFn::Div | BinaryFn::Pow => (1.0, false),
        BinaryFn::Min
        | BinaryFn::Max
        | BinaryFn::Mod
        | BinaryFn::Rem
        | BinaryFn::Xor
        | BinaryFn::BitAnd
        | BinaryFn::BitOr
        | BinaryFn::BitXor
        | BinaryFn::Shl
        | BinaryFn::Shr
        | BinaryFn::Eq
        | BinaryFn::Ne
        | BinaryFn::Lt
        | BinaryFn::Le
        | BinaryFn::Gt
        | BinaryFn::Ge
        | BinaryFn::Prelu => return None,
    };
    let result = op.result()?;
    let same = |x: Value| cx.ty(x) == cx.ty(result);
    if cx.scalar(*b) == Some(neutral) && same(*a) {
        Some(*a)
    } else if commutes && cx.scalar(*a) == Some(neutral) && same(*b) {
        Some(*b)
    } else {
        None
    }
}

/// `--x`, `not not x` and repeated `relu`, `abs`.
pub fn double(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Unary { f }, [x]) = (&op.op, op.operands.as_slice()) else { return None };
    let inner = cx.unary(*x, *f)?;
    match f {
        UnaryFn::Neg | UnaryFn::Not | UnaryFn::BitNot => Some(inner),
        UnaryFn::Relu | UnaryFn::Abs => Some(*x),
        _ => None,
    }
}

/// Does `b` hold every value of `a`?
fn holds(a: DType, b: DType) -> bool {
    let bits = DType::bits;
    match (a, b) {
        (DType::Bool, _) => true,
        (DType::F16 | DType::BF16, DType::F32 | DType::F64) | (DType::F32, DType::F64) => true,
        _ if b.is_storage() && b.is_float() => false,
        (a, b) if a.is_int() && b.is_float() => {
            let mantissa = match b {
                DType::F64 => 53,
                DType::F32 => 24,
                DType::F16 => 11,
                _ => 8,
            };
            bits(a) <= mantissa
        }
        (a, b) if a.is_int() && b.is_int() => match (a.is_signed_int(), b.is_signed_int()) {
            (true, true) | (false, false) => bits(a) <= bits(b),
            (false, true) => bits(a) < bits(b),
            (true, false) => false,
        },
        _ => false,
    }
}

/// A cast to the same type; a cast of a cast that lost nothing.
pub fn cast(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Cast {}, [x]) = (&op.op, op.operands.as_slice()) else { return None };
    let to = cx.ty(op.result()?).clone();
    let middle = cx.ty(*x).dtype;
    if middle == to.dtype {
        return Some(*x);
    }
    let inner = cx.def(*x)?;
    let (Op::Cast {}, [source]) = (&inner.op, inner.operands.as_slice()) else { return None };
    let from = cx.ty(*source).dtype;
    if !holds(from, middle) {
        return None;
    }
    Some(if from == to.dtype { *source } else { cx.emit(Op::Cast {}, &[*source], to) })
}

/// A condition that is known, or does not matter.
pub fn select(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Select {}, [c, a, b]) = (&op.op, op.operands.as_slice()) else { return None };
    if a == b {
        return Some(*a);
    }
    cx.scalar(*c).map(|c| if c != 0.0 { *a } else { *b })
}

/// Small powers as products, halves as roots.
pub fn pow(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (x, e) = pair(op, BinaryFn::Pow)?;
    let e = cx.scalar(e)?;
    let float = cx.ty(x).dtype.is_float();
    // A shape that grows by broadcasting the exponent stays a pow.
    if cx.ty(x) != cx.ty(op.result()?) {
        return None;
    }
    if e == 2.0 {
        cx.emit_binary(BinaryFn::Mul, x, x)
    } else if e == 3.0 {
        let square = cx.emit_binary(BinaryFn::Mul, x, x)?;
        cx.emit_binary(BinaryFn::Mul, square, x)
    } else if e == 0.5 && float {
        cx.emit_unary(UnaryFn::Sqrt, x)
    } else if e == -1.0 && float {
        cx.emit_unary(UnaryFn::Reciprocal, x)
    } else if e == -0.5 && float {
        let root = cx.emit_unary(UnaryFn::Sqrt, x)?;
        cx.emit_unary(UnaryFn::Reciprocal, root)
    } else {
        None
    }
}

/// Division by a power of two is multiplication by its reciprocal, exactly.
pub fn divide(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (x, c) = pair(op, BinaryFn::Div)?;
    let divisor = cx.scalar(c)?;
    let ty = cx.ty(c).clone();
    // Small enough that the reciprocal is a normal number of every float type.
    let power = divisor.is_normal() && divisor.to_bits().trailing_zeros() >= 52 && (1e-4..1e4).contains(&divisor.abs());
    if !ty.dtype.is_float() || !power {
        return None;
    }
    let shape = ty.static_shape()?;
    let count = cx.constant(c)?.elements();
    let by = cx.emit_constant(Const::from_scalars(ty.dtype, &shape, std::iter::repeat_n(Scalar::Float(1.0 / divisor), count)));
    cx.emit_binary(BinaryFn::Mul, x, by)
}

/// `x - c` as `x + -c`, so that shifts meet as additions.
pub fn subtract(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (x, c) = pair(op, BinaryFn::Sub)?;
    let constant = cx.constant(c).filter(|k| k.dtype.is_float() && k.elements() <= 1 << 16)?;
    let negated = constant.scalars().map(|s| Scalar::Float(-s.as_f64()));
    let negated = Const::from_scalars(constant.dtype, &constant.shape, negated);
    let by = cx.emit_constant(negated);
    cx.emit_binary(BinaryFn::Add, x, by)
}

/// `1 / x`.
pub fn reciprocal(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (one, x) = pair(op, BinaryFn::Div)?;
    if cx.scalar(one) != Some(1.0) || !cx.ty(x).dtype.is_float() {
        return None;
    }
    cx.emit_unary(UnaryFn::Reciprocal, x)
}

//! Functions of two elements with broadcasting, choices and conversions: one map each.

use super::LowerError;
use super::cx::{Args, Cx, Src, is, wide};
use odc_ir::core::{Binary, Unary, Value};
use odc_ir::graph::BinaryFn;
use odc_ir::tensor::{ExprId, Program};

type Result = std::result::Result<Value, LowerError>;

/// The operand's raw element under the result's axes.
fn element(x: &Src, a: &Args, p: &mut Program) -> ExprId {
    let index = is(a.rank());
    x.load(p, x.broadcast(&index))
}

pub(super) fn binary(cx: &mut Cx, a: &Args, f: BinaryFn) -> Result {
    let (lhs, rhs) = (a.x(0)?, a.x(1)?);
    let mut p = Program::new();
    let x = element(lhs, a, &mut p);
    let x = p.cast(wide(lhs.ty.dtype), x);
    let y = match f {
        BinaryFn::Add => arith(rhs, a, &mut p, x, Binary::Add),
        BinaryFn::Sub => arith(rhs, a, &mut p, x, Binary::Sub),
        BinaryFn::Mul => arith(rhs, a, &mut p, x, Binary::Mul),
        BinaryFn::Div => arith(rhs, a, &mut p, x, Binary::Div),
        BinaryFn::Pow => pow(cx, rhs, a, &mut p, x),
        BinaryFn::Min => arith(rhs, a, &mut p, x, Binary::Min),
        BinaryFn::Max => arith(rhs, a, &mut p, x, Binary::Max),
        BinaryFn::Mod => arith(rhs, a, &mut p, x, Binary::Mod),
        BinaryFn::Rem => arith(rhs, a, &mut p, x, Binary::Rem),
        BinaryFn::And | BinaryFn::BitAnd => arith(rhs, a, &mut p, x, Binary::And),
        BinaryFn::Or | BinaryFn::BitOr => arith(rhs, a, &mut p, x, Binary::Or),
        BinaryFn::Xor | BinaryFn::BitXor => arith(rhs, a, &mut p, x, Binary::Xor),
        BinaryFn::Shl => arith(rhs, a, &mut p, x, Binary::Shl),
        BinaryFn::Shr => arith(rhs, a, &mut p, x, Binary::Shr),
        BinaryFn::Eq => arith(rhs, a, &mut p, x, Binary::Eq),
        BinaryFn::Ne => arith(rhs, a, &mut p, x, Binary::Ne),
        BinaryFn::Lt => arith(rhs, a, &mut p, x, Binary::Lt),
        BinaryFn::Le => arith(rhs, a, &mut p, x, Binary::Le),
        BinaryFn::Gt => arith(rhs, a, &mut p, x, Binary::Gt),
        BinaryFn::Ge => arith(rhs, a, &mut p, x, Binary::Ge),
        BinaryFn::Prelu => {
            let (dt, n) = (p.dtype(x), arith(rhs, a, &mut p, x, Binary::Mul));
            let zero = p.constant(dt, 0.0);
            let c = p.binary(Binary::Lt, x, zero);
            p.select(c, n, x)
        }
    };
    Ok(cx.map(&a.operands, a.out.clone(), p, y))
}

fn arith(rhs: &Src, a: &Args, p: &mut Program, x: ExprId, f: Binary) -> ExprId {
    let y = element(rhs, a, p);
    let y = p.cast(p.dtype(x), y);
    p.binary(f, x, y)
}

/// Constant exponents 2, 1 and 1/2 need no power.
fn pow(cx: &Cx, rhs: &Src, a: &Args, p: &mut Program, x: ExprId) -> ExprId {
    let exponent = cx.splat_of(rhs.value).map(|s| s.as_f64()).filter(|_| p.dtype(x).is_float());
    match exponent {
        Some(2.0) => p.binary(Binary::Mul, x, x),
        Some(1.0) => x,
        Some(0.5) => p.unary(Unary::Sqrt, x),
        Some(_) | None => arith(rhs, a, p, x, Binary::Pow),
    }
}

pub(super) fn select(cx: &mut Cx, a: &Args) -> Result {
    let mut p = Program::new();
    let c = element(a.x(0)?, a, &mut p);
    let x = element(a.x(1)?, a, &mut p);
    let y = element(a.x(2)?, a, &mut p);
    let v = p.select(c, x, y);
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

pub(super) fn cast(cx: &mut Cx, a: &Args) -> Result {
    let mut p = Program::new();
    let x = a.x(0)?.load(&mut p, is(a.rank()));
    Ok(cx.map(&a.operands, a.out.clone(), p, x))
}

pub(super) fn bitcast(cx: &mut Cx, a: &Args) -> Result {
    if a.x(0)?.ty.dtype == a.out.dtype {
        return Ok(a.x(0)?.value);
    }
    let mut p = Program::new();
    let x = a.x(0)?.load(&mut p, is(a.rank()));
    let x = p.bitcast(a.out.dtype, x);
    Ok(cx.map(&a.operands, a.out.clone(), p, x))
}

//! Operators on single elements: functions of one, two or three operands with numpy's broadcasting, casts and activations.
//! Known sizes and literals are computed right here.

use crate::attrs::bad;
use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, Out, operand};
use crate::import::known;
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, UnaryFn};

#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Float,
    Bool,
    Int,
    Any,
}

fn check(x: &Val, takes: Takes) -> Got<()> {
    let ok = match takes {
        Takes::Float => x.dtype().is_float(),
        Takes::Bool => x.dtype() == DType::Bool,
        Takes::Int => x.dtype().is_int(),
        Takes::Any => true,
    };
    if ok { Ok(()) } else { Err(operand(format!("does not take an operand of type {}", x.ty))) }
}

fn one(c: &mut Call, f: UnaryFn, takes: Takes) -> Out {
    c.attrs.ignore(&["consumed_inputs"]);
    let x = c.input(0)?;
    check(&x, takes)?;
    if let Some(v) = known::unary(f, &x) {
        return Ok(vec![v]);
    }
    Ok(vec![c.unary(f, &x)?])
}

fn two(c: &mut Call, f: BinaryFn, takes: Takes) -> Out {
    c.attrs.ignore(&["consumed_inputs"]);
    let (a, b) = (c.input(0)?, c.input(1)?);
    check(&a, takes)?;
    let b = placed(c, &a, b)?;
    c.apply(f, &a, &b).map(|v| vec![v])
}

/// Before opset 7 the second operand broadcasts only if `broadcast` says so, and stands at `axis` of the first.
fn placed(c: &mut Call, a: &Val, b: Val) -> Got<Val> {
    if c.opset >= 7 {
        return Ok(b);
    }
    let broadcasts = c.attrs.flag("broadcast", false)?;
    let Some(axis) = c.attrs.int("axis")?.filter(|_| broadcasts) else { return Ok(b) };
    let axis = c.axis(axis, a.rank())?;
    let behind =
        (a.rank() - axis).checked_sub(b.rank()).ok_or_else(|| operand(format!("{} does not fit {} at axis {axis}", b.ty, a.ty)))?;
    let mut shape = b.shape().to_vec();
    shape.extend(std::iter::repeat_n(Dim::ONE, behind));
    c.reshape(&b, shape)
}

/// Operators of two operands and of the oldest form with `axis` and `broadcast`, which opset 7 dropped.
macro_rules! binaries {
    ($($name:ident $f:ident $takes:ident;)*) => {$(pub fn $name(c: &mut Call) -> Out { two(c, BinaryFn::$f, Takes::$takes) })*};
}
binaries! {
    add Add Any; sub Sub Any; mul Mul Any; div Div Any;
    and And Bool; or Or Bool; xor Xor Bool;
    bit_and BitAnd Int; bit_or BitOr Int; bit_xor BitXor Int;
    equal Eq Any; less Lt Any; less_or_equal Le Any; greater Gt Any; greater_or_equal Ge Any;
}

macro_rules! unaries {
    ($($name:ident $f:ident $takes:ident;)*) => {$(pub fn $name(c: &mut Call) -> Out { one(c, UnaryFn::$f, Takes::$takes) })*};
}
unaries! {
    abs Abs Any; neg Neg Any; sign Sign Any; sqrt Sqrt Float; reciprocal Reciprocal Float;
    floor Floor Float; ceil Ceil Float; round Round Float;
    is_nan IsNan Float; not Not Bool; bit_not BitNot Int;
    exp Exp Float; log Log Float; sin Sin Float; cos Cos Float; tan Tan Float;
    asin Asin Float; acos Acos Float; atan Atan Float; sinh Sinh Float; cosh Cosh Float; tanh Tanh Float;
    asinh Asinh Float; acosh Acosh Float; atanh Atanh Float; erf Erf Float;
    relu Relu Any; sigmoid Sigmoid Float; hard_swish HardSwish Float;
    softplus Softplus Float; softsign Softsign Float; mish Mish Float;
}

pub fn is_inf(c: &mut Call) -> Out {
    let sides = (c.attrs.flag("detect_negative", true)?, c.attrs.flag("detect_positive", true)?);
    let x = float_input(c)?;
    let of = match sides {
        (true, true) => return Ok(vec![c.unary(UnaryFn::IsInf, &x)?]),
        (true, false) => f64::NEG_INFINITY,
        (false, true) => f64::INFINITY,
        (false, false) => {
            let no = Val::scalar(DType::Bool, 0.0);
            return Ok(vec![c.expand(&no, x.shape().to_vec())?]);
        }
    };
    Ok(vec![c.with(BinaryFn::Eq, &x, of)?])
}

pub fn gelu(c: &mut Call) -> Out {
    let f = c.attrs.choice("approximate", "none", &[("none", UnaryFn::Gelu), ("tanh", UnaryFn::GeluTanh)])?;
    one(c, f, Takes::Float)
}

/// From opset 28 on signed integers shift too, and an amount outside of the type's bits leaves only copies of the sign.
pub fn bit_shift(c: &mut Call) -> Out {
    if !c.attrs.has("direction") {
        return Err(crate::attrs::bad("direction", "is required"));
    }
    let f = c.attrs.choice("direction", "", &[("LEFT", BinaryFn::Shl), ("RIGHT", BinaryFn::Shr)])?;
    let (x, by) = (c.input(0)?, c.input(1)?);
    check(&x, Takes::Int)?;
    c.same_dtype(&x, &by)?;
    let bits = x.dtype().size() as f64 * 8.0;
    let signed = matches!(x.dtype(), DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let mut inside = c.with(BinaryFn::Lt, &by, bits)?;
    if signed {
        let positive = c.with(BinaryFn::Ge, &by, 0.0)?;
        inside = c.all(&inside, &positive)?;
    }
    let zero = Val::scalar(x.dtype(), 0.0);
    let amount = c.choose(&inside, &by, &zero)?;
    let shifted = c.apply(f, &x, &amount)?;
    let rest = if signed && f == BinaryFn::Shr { c.with(BinaryFn::Shr, &x, bits - 1.0)? } else { zero };
    Ok(vec![c.choose(&inside, &shifted, &rest)?])
}

/// The remainder with the sign of the dividend (`fmod`) or of the divisor.
pub fn modulo(c: &mut Call) -> Out {
    let rem = c.attrs.flag("fmod", false)?;
    let (x, y) = (c.input(0)?, c.input(1)?);
    if x.dtype().is_float() && !rem && c.opset < 28 {
        return Err(bad("fmod", "is 0, which before opset 28 is for integers only: it must be 1"));
    }
    if rem || !x.dtype().is_float() {
        return two(c, if rem { BinaryFn::Rem } else { BinaryFn::Mod }, Takes::Any);
    }
    let r = c.apply(BinaryFn::Rem, &x, &y)?;
    let (below, negative) = (c.with(BinaryFn::Lt, &r, 0.0)?, c.with(BinaryFn::Lt, &y, 0.0)?);
    let other = c.apply(BinaryFn::Xor, &below, &negative)?;
    let some = c.with(BinaryFn::Ne, &r, 0.0)?;
    let turns = c.all(&other, &some)?;
    let turned = c.add(&r, &y)?;
    Ok(vec![c.choose(&turns, &turned, &r)?])
}

/// The result has the base's type; an exponent of another type is brought to it.
pub fn pow(c: &mut Call) -> Out {
    let (base, exponent) = (c.input(0)?, c.input(1)?);
    let exponent = placed(c, &base, exponent)?;
    if base.dtype().is_int() && exponent.dtype().is_float() {
        let wide = c.convert(&base, exponent.dtype())?;
        let p = c.apply(BinaryFn::Pow, &wide, &exponent)?;
        return Ok(vec![c.convert(&p, base.dtype())?]);
    }
    let exponent = c.convert(&exponent, base.dtype())?;
    Ok(vec![c.apply(BinaryFn::Pow, &base, &exponent)?])
}

pub fn prelu(c: &mut Call) -> Out {
    c.attrs.ignore(&["consumed_inputs"]);
    let (x, mut slope) = (c.input(0)?, c.input(1)?);
    c.same_dtype(&x, &slope)?;
    // Before opset 7 it is one for all or one a channel.
    if c.opset < 7 && slope.rank() == 1 && x.rank() > 1 && !slope.ty.elements().is(1) {
        let mut column = slope.shape().to_vec();
        column.extend(vec![Dim::ONE; x.rank() - 2]);
        slope = c.reshape(&slope, column)?;
    }
    // The slope broadcasts to x, never the other way round.
    if slope.rank() > x.rank() {
        return Err(operand(format!("the slope {} has more axes than {}", slope.ty, x.ty)));
    }
    Ok(vec![c.binary(BinaryFn::Prelu, &x, &slope)?])
}

/// A chain over any number of operands.
fn chain(c: &mut Call, f: BinaryFn) -> Got<Val> {
    c.attrs.ignore(&["consumed_inputs"]);
    let mut acc = c.input(0)?;
    for k in 1..c.inputs.len() {
        let next = c.input(k)?;
        acc = c.apply(f, &acc, &next)?;
    }
    Ok(acc)
}
pub fn max(c: &mut Call) -> Out {
    Ok(vec![chain(c, BinaryFn::Max)?])
}
pub fn min(c: &mut Call) -> Out {
    Ok(vec![chain(c, BinaryFn::Min)?])
}
pub fn sum(c: &mut Call) -> Out {
    Ok(vec![chain(c, BinaryFn::Add)?])
}
pub fn mean(c: &mut Call) -> Out {
    let total = chain(c, BinaryFn::Add)?;
    let n = Val::scalar(total.dtype(), c.inputs.len() as f64);
    Ok(vec![c.apply(BinaryFn::Div, &total, &n)?])
}

pub fn select(c: &mut Call) -> Out {
    let (cond, a, b) = (c.input(0)?, c.input(1)?, c.input(2)?);
    check(&cond, Takes::Bool)?;
    let dtype = c.same_dtype(&a, &b)?;
    if let Some(v) = known::select(&cond, &a, &b) {
        return Ok(vec![v]);
    }
    let shape = c.broadcast(&[cond.shape(), a.shape(), b.shape()])?;
    Ok(vec![c.emit(Op::Select {}, &[&cond, &a, &b], dtype, shape)?])
}

/// Bounds are attributes before opset 11 and optional scalars from then on.
pub fn clip(c: &mut Call) -> Out {
    c.attrs.ignore(&["consumed_inputs"]);
    let x = c.input(0)?;
    let (lo, hi) = if c.opset < 11 {
        if c.inputs.len() > 1 {
            return Err(Fault::new(Code::Arity, "takes its bounds as attributes in this opset"));
        }
        let bound = |v: Option<f32>| v.map(|v| Val::scalar(x.dtype(), f64::from(v)));
        // The old defaults are the ends of f32: no bounds.
        let lo = c.attrs.float("min")?.filter(|v| *v > f32::MIN);
        let hi = c.attrs.float("max")?.filter(|v| *v < f32::MAX);
        (bound(lo), bound(hi))
    } else {
        (c.opt(1), c.opt(2))
    };
    let mut v = x;
    for (f, bound) in [(BinaryFn::Max, lo), (BinaryFn::Min, hi)] {
        let Some(b) = bound else { continue };
        // Some exporters write bounds of shape [1].
        let b = if b.rank() > 0 && b.shape().iter().all(|d| d.is(1)) { c.reshape(&b, vec![])? } else { b };
        if b.rank() > 0 {
            return Err(operand(format!("a bound is {}, must be a scalar", b.ty)));
        }
        v = c.apply(f, &v, &b)?;
    }
    Ok(vec![v])
}

fn float_input(c: &Call) -> Got<Val> {
    let x = c.input(0)?;
    check(&x, Takes::Float)?;
    Ok(x)
}

pub fn leaky_relu(c: &mut Call) -> Out {
    c.attrs.ignore(&["consumed_inputs"]);
    let x = float_input(c)?;
    let alpha = f64::from(c.attrs.float_or("alpha", 0.01)?);
    Ok(vec![c.emit(Op::LeakyRelu { alpha }, &[&x], x.dtype(), x.shape().to_vec())?])
}

fn elu_of(c: &mut Call, x: &Val, alpha: f32) -> Got<Val> {
    c.emit(Op::Elu { alpha: f64::from(alpha) }, &[x], x.dtype(), x.shape().to_vec())
}
pub fn elu(c: &mut Call) -> Out {
    c.attrs.ignore(&["consumed_inputs"]);
    let x = float_input(c)?;
    let alpha = c.attrs.float_or("alpha", 1.0)?;
    Ok(vec![elu_of(c, &x, alpha)?])
}
/// `gamma * elu(x)`.
pub fn selu(c: &mut Call) -> Out {
    c.attrs.ignore(&["consumed_inputs"]);
    let x = float_input(c)?;
    let alpha = c.attrs.float_or("alpha", 1.673_263_2)?;
    let gamma = c.attrs.float_or("gamma", 1.050_701)?;
    let e = elu_of(c, &x, alpha)?;
    Ok(vec![c.binary(BinaryFn::Mul, &e, &Val::scalar(x.dtype(), f64::from(gamma)))?])
}
/// `alpha * elu(x / alpha)` for negative x, x otherwise.
pub fn celu(c: &mut Call) -> Out {
    let x = float_input(c)?;
    let alpha = c.attrs.float_or("alpha", 1.0)?;
    if alpha == 0.0 {
        return Err(crate::attrs::bad("alpha", "must not be 0"));
    }
    let a = Val::scalar(x.dtype(), f64::from(alpha));
    let scaled = c.binary(BinaryFn::Div, &x, &a)?;
    let e = elu_of(c, &scaled, 1.0)?;
    Ok(vec![c.binary(BinaryFn::Mul, &e, &a)?])
}
pub fn thresholded_relu(c: &mut Call) -> Out {
    let x = float_input(c)?;
    let alpha = c.attrs.float_or("alpha", 1.0)?;
    let above = c.binary(BinaryFn::Gt, &x, &Val::scalar(x.dtype(), f64::from(alpha)))?;
    let zero = Val::scalar(x.dtype(), 0.0);
    Ok(vec![c.emit(Op::Select {}, &[&above, &x, &zero], x.dtype(), x.shape().to_vec())?])
}

pub fn hard_sigmoid(c: &mut Call) -> Out {
    c.attrs.ignore(&["consumed_inputs"]);
    let x = float_input(c)?;
    let alpha = f64::from(c.attrs.float_or("alpha", 0.2)?);
    let beta = f64::from(c.attrs.float_or("beta", 0.5)?);
    Ok(vec![c.emit(Op::HardSigmoid { alpha, beta }, &[&x], x.dtype(), x.shape().to_vec())?])
}

/// `x - bias` above `lambd`, `x + bias` below `-lambd`, 0 between.
pub fn shrink(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let (bias, lambd) = (f64::from(c.attrs.float_or("bias", 0.0)?), f64::from(c.attrs.float_or("lambd", 0.5)?));
    let (above, below) = (c.with(BinaryFn::Gt, &x, lambd)?, c.with(BinaryFn::Lt, &x, -lambd)?);
    let (less, more) = (c.plus(&x, -bias)?, c.plus(&x, bias)?);
    let v = c.choose(&below, &more, &Val::scalar(x.dtype(), 0.0))?;
    Ok(vec![c.choose(&above, &less, &v)?])
}

/// `x * sigmoid(alpha * x)`.
fn swish_of(c: &mut Call, x: &Val) -> Got<Val> {
    check(x, Takes::Float)?;
    let alpha = c.attrs.float_or("alpha", 1.0)?;
    if alpha == 1.0 {
        return c.unary(UnaryFn::Silu, x);
    }
    let v = c.times(x, f64::from(alpha))?;
    let v = c.unary(UnaryFn::Sigmoid, &v)?;
    c.mul(x, &v)
}
pub fn swish(c: &mut Call) -> Out {
    let x = c.input(0)?;
    Ok(vec![swish_of(c, &x)?])
}
pub fn swi_glu(c: &mut Call) -> Out {
    let (gate, x) = (c.input(0)?, c.input(1)?);
    let gate = swish_of(c, &gate)?;
    Ok(vec![c.mul(&gate, &x)?])
}

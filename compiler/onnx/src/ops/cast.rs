//! Cast, CastLike and BitCast. What ONNX's attributes ask for beyond the IR's cast (to nearest, saturating; f8e8m0 up) is composed.

use super::strings;
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, dtype_number, operand};
use crate::import::value::Val;
use odc_ir::core::{DType, minifloat};
use odc_ir::graph::{BinaryFn, Op, UnaryFn};

#[derive(Clone, Copy, PartialEq, Eq)]
enum RoundMode {
    Up,
    Down,
    Nearest,
}

pub fn cast(c: &mut Call) -> Out {
    // By name in the first opsets.
    let to = if c.opset < 6 {
        let name = c.attrs.str("to")?.ok_or_else(|| crate::attrs::bad("to", "is required"))?;
        crate::proto::DataType::from_str_name(name).map_or(0, |t| t as i32)
    } else {
        i32::try_from(c.attrs.required_int("to")?).unwrap_or(0)
    };
    let to = dtype_number(to)?;
    cast_to(c, to)
}

pub fn cast_like(c: &mut Call) -> Out {
    let to = c.input(1)?.dtype();
    cast_to(c, to)
}

fn cast_to(c: &mut Call, to: DType) -> Out {
    let saturate = c.attrs.flag("saturate", true)?;
    let modes = [("up", RoundMode::Up), ("down", RoundMode::Down), ("nearest", RoundMode::Nearest)];
    let mode = c.attrs.choice("round_mode", "up", &modes)?;
    let x = c.input(0)?;
    if (x.dtype() == DType::Str) != (to == DType::Str) {
        return strings::cast(c, &x, to);
    }
    let y = match (to, saturate) {
        (DType::F8E8M0, _) => to_e8m0(c, &x, mode, saturate)?,
        (_, true) => c.convert(&x, to)?,
        (_, false) => unsaturated(c, &x, to)?,
    };
    Ok(vec![y])
}

/// A cast to a float of 8 bits that gives NaN or infinity for what is too large.
pub(super) fn unsaturated(c: &mut Call, x: &Val, to: DType) -> Got<Val> {
    let y = c.convert(x, to)?;
    let Some(format) = to.mini().filter(|f| f.special != minifloat::Special::None && x.dtype() != to) else { return Ok(y) };
    // What is nearer to the number after the largest, if there were one, than to the largest; a tie goes to the even code.
    let largest = format.decode(format.largest());
    let half_place = (largest - format.decode(format.largest() - 1)) / 2.0;
    let odd = format.largest() % 2 == 1;
    let over = format.infinity().map_or(f64::NAN, |c| format.decode(c));
    let wide = if matches!(x.dtype(), DType::F32 | DType::F64) { x.clone() } else { c.convert(x, DType::F32)? };
    let mut y = y;
    for (f, sign) in [(if odd { BinaryFn::Ge } else { BinaryFn::Gt }, 1.0), (if odd { BinaryFn::Le } else { BinaryFn::Lt }, -1.0)] {
        let limit = Val::scalar(wide.dtype(), sign * (largest + half_place));
        let beyond = c.binary(f, &wide, &limit)?;
        let over = Val::scalar(to, sign * over);
        y = c.emit(Op::Select {}, &[&beyond, &over, &y], to, x.shape().to_vec())?;
    }
    Ok(y)
}

fn to_e8m0(c: &mut Call, x: &Val, mode: RoundMode, saturate: bool) -> Got<Val> {
    if x.dtype() == DType::F8E8M0 {
        return Ok(x.clone());
    }
    let x = c.convert(x, DType::F32)?;
    let shape = x.shape().to_vec();
    // Rounded before the cast, which then has nothing to round: the mantissa's bits are carried or cut off.
    let rounded = if mode == RoundMode::Up {
        x.clone()
    } else {
        let bits = c.emit(Op::Bitcast {}, &[&x], DType::I32, shape.clone())?;
        let half = Val::scalar(DType::I32, if mode == RoundMode::Nearest { f64::from(0x0040_0000) } else { 0.0 });
        let bits = c.binary(BinaryFn::Add, &bits, &half)?;
        let bits = c.binary(BinaryFn::BitAnd, &bits, &Val::scalar(DType::I32, f64::from(0x7f80_0000)))?;
        let cut = c.emit(Op::Bitcast {}, &[&bits], DType::F32, shape.clone())?;
        // Infinity and NaN stay what they are, and so does what is below the least normal number.
        let size = c.unary(UnaryFn::Abs, &x)?;
        let (most, least) = (Val::scalar(DType::F32, f64::from(f32::MAX)), Val::scalar(DType::F32, f64::from(f32::MIN_POSITIVE)));
        let (below, above) = (c.binary(BinaryFn::Le, &size, &most)?, c.binary(BinaryFn::Ge, &size, &least)?);
        let normal = c.binary(BinaryFn::And, &below, &above)?;
        c.emit(Op::Select {}, &[&normal, &cut, &x], DType::F32, shape.clone())?
    };
    let mut y = c.convert(&rounded, DType::F8E8M0)?;
    if !saturate {
        let nan = Val::scalar(DType::F8E8M0, f64::NAN);
        let (lo, hi) = (2f64.powi(-127), 2f64.powi(127));
        for (f, limit) in [(BinaryFn::Gt, hi), (BinaryFn::Lt, lo)] {
            let beyond = c.binary(f, &rounded, &Val::scalar(DType::F32, limit))?;
            y = c.emit(Op::Select {}, &[&beyond, &nan, &y], DType::F8E8M0, shape.clone())?;
        }
    }
    Ok(y)
}

pub fn bit_cast(c: &mut Call) -> Out {
    let to = c.attrs.required_int("to")?;
    let to = dtype_number(i32::try_from(to).unwrap_or(0))?;
    let x = c.input(0)?;
    if x.dtype() == to {
        return Ok(vec![x]);
    }
    if x.dtype().bits() != to.bits() {
        return Err(bad("to", format!("is {to}, which has not the width of {}", x.ty)));
    }
    if to == DType::Bool {
        return Err(operand("the bits of a number are no bool; compare it with 0 instead"));
    }
    Ok(vec![c.emit(Op::Bitcast {}, &[&x], to, x.shape().to_vec())?])
}

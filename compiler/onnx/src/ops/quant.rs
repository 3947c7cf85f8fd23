//! QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear of every version, and what other quantised operators share.

use super::cast::unsaturated;
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, dtype_number, operand};
use crate::import::value::{Missing, Val};
use odc_ir::core::{DType, Dim, Scalar};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};

/// Least and greatest code of a quantised integer type.
pub fn range(dt: DType) -> Option<(f64, f64)> {
    let bits = dt.bits();
    match dt {
        d if !d.is_int() || bits > 16 => None,
        d if d.is_signed_int() => Some((-f64::from(1u32 << (bits - 1)), f64::from((1u32 << (bits - 1)) - 1))),
        _ => Some((0.0, f64::from((1u32 << bits) - 1))),
    }
}

/// The numbers of a constant.
pub fn values(v: &Val) -> Option<Vec<f64>> {
    let Missing::Const(t) = v.missing() else { return v.const_floats() };
    let read = |b: &[u8]| Scalar::read(v.dtype(), b).map(Scalar::as_f64);
    t.elements().chunks_exact(v.dtype().size()).map(read).collect()
}

/// Is it a constant that changes nothing when subtracted?
pub fn is_zero(v: &Val) -> bool {
    values(v).is_some_and(|x| x.iter().all(|x| *x == 0.0))
}

/// Scale or zero point so that it broadcasts to the operand: one number, or one a slice along `axis`.
pub fn along(c: &mut Call, v: &Val, rank: usize, axis: usize) -> Got<Val> {
    if v.shape().iter().all(|d| d.is(1)) {
        return c.reshape(v, vec![]);
    }
    if v.rank() != 1 {
        return Err(operand(format!("a scale or zero point is {}, must be a scalar or have one axis", v.ty)));
    }
    let mut shape = vec![Dim::ONE; rank];
    if let (Some(s), Some(d)) = (shape.get_mut(axis), v.shape().first()) {
        *s = d.clone();
    }
    c.reshape(v, shape)
}

/// `saturate(round(x / scale) + zero)`, the quotient in the scale's type; floats are only cast.
pub fn quantize(c: &mut Call, x: &Val, scale: &Val, zero: Option<&Val>, to: DType, saturate: bool) -> Got<Val> {
    let x = c.convert(x, scale.dtype())?;
    let y = c.binary(BinaryFn::Div, &x, scale)?;
    store(c, &y, zero, to, saturate)
}

/// The code of a number in units of the scale.
pub fn store(c: &mut Call, y: &Val, zero: Option<&Val>, to: DType, saturate: bool) -> Got<Val> {
    let zero = zero.filter(|z| !is_zero(z));
    let Some((lo, hi)) = range(to) else {
        if !to.is_float() || to == DType::F8E8M0 {
            return Err(operand(format!("{to} is no type to quantise to")));
        }
        let y = match zero {
            Some(z) if to.bits() < 8 => {
                let z = c.convert(z, y.dtype())?;
                c.binary(BinaryFn::Add, y, &z)?
            }
            _ => y.clone(),
        };
        return if saturate { c.convert(&y, to) } else { unsaturated(c, &y, to) };
    };
    let y = c.convert(y, DType::F32)?;
    let mut y = c.unary(UnaryFn::Round, &y)?;
    if let Some(z) = zero {
        let z = c.convert(z, DType::F32)?;
        y = c.binary(BinaryFn::Add, &y, &z)?;
    }
    let y = c.binary(BinaryFn::Max, &y, &Val::scalar(DType::F32, lo))?;
    let y = c.binary(BinaryFn::Min, &y, &Val::scalar(DType::F32, hi))?;
    c.cast(&y, to)
}

/// `x - zero` as f32, which holds differences of up to 16 bits exactly.
pub fn centred(c: &mut Call, x: &Val, zero: Option<&Val>) -> Got<Val> {
    let zero = zero.filter(|z| !is_zero(z));
    match zero {
        Some(z) if matches!(x.dtype(), DType::I32 | DType::U32) => {
            let d = c.binary(BinaryFn::Sub, x, z)?;
            c.cast(&d, DType::F32)
        }
        Some(z) => {
            let (x, z) = (c.cast(x, DType::F32)?, c.cast(z, DType::F32)?);
            c.binary(BinaryFn::Sub, &x, &z)
        }
        None => c.cast(x, DType::F32),
    }
}

/// `(x - zero) * scale` in f32, then of type `to`.
pub fn dequantize(c: &mut Call, x: &Val, scale: &Val, zero: Option<&Val>, to: DType) -> Got<Val> {
    // The zero of a float of 8 bits is 0, whatever its sign.
    let zero = zero.filter(|_| x.dtype().is_int() || x.dtype().bits() < 8);
    let d = centred(c, x, zero)?;
    let scale = c.cast(scale, DType::F32)?;
    let y = c.binary(BinaryFn::Mul, &d, &scale)?;
    c.cast(&y, to)
}

/// Operand, scale and zero point brought to shapes that broadcast, and the operand's own shape for the way back.
struct Aligned {
    x: Val,
    scale: Val,
    zero: Option<Val>,
}

fn aligned(c: &mut Call) -> Got<Aligned> {
    let (x, scale, zero) = (c.input(0)?, c.input(1)?, c.opt(2));
    let block = c.attrs.int_or("block_size", 0)?;
    let axis = c.attrs.int_or("axis", 1)?;
    let one = |v: &Val| v.shape().iter().all(|d| d.is(1));
    if one(&scale) && zero.as_ref().is_none_or(one) {
        let scale = c.reshape(&scale, vec![])?;
        let zero = zero.map(|z| c.reshape(&z, vec![])).transpose()?;
        return Ok(Aligned { x, scale, zero });
    }
    // An operand of one axis has no axis 1, which is the default.
    let axis = if x.rank() == 1 && axis == 1 { 0 } else { c.axis(axis, x.rank())? };
    if block <= 0 || scale.rank() != x.rank() {
        if let (Some(a), Some(b)) = (scale.shape().first(), x.shape().get(axis)) {
            c.equal(&a.clone(), &b.clone(), "scales and slices along the axis")?;
        }
        let rank = x.rank();
        let scale = along(c, &scale, rank, axis)?;
        let zero = zero.map(|z| along(c, &z, rank, axis)).transpose()?;
        return Ok(Aligned { x, scale, zero });
    }
    let size = x.shape().get(axis).cloned().unwrap_or(Dim::ONE);
    if size.as_const().is_some_and(|n| n % block == 0) {
        // Blocks as an axis of their own: nothing is repeated.
        let split = |d: &[Dim], outer: Dim, inner: i64| {
            let mut s = d.to_vec();
            s.splice(axis..=axis, [outer, Dim::from(inner)]);
            s
        };
        let outer = size.floordiv(&Dim::from(block));
        let x_shape = split(x.shape(), outer.clone(), block);
        let s_shape = split(scale.shape(), outer, 1);
        let x = c.reshape(&x, x_shape)?;
        let scale = c.reshape(&scale, s_shape.clone())?;
        let zero = zero.map(|z| c.reshape(&z, s_shape)).transpose()?;
        return Ok(Aligned { x, scale, zero });
    }
    let scale = repeated(c, &scale, axis, block, &size)?;
    let zero = zero.map(|z| repeated(c, &z, axis, block, &size)).transpose()?;
    Ok(Aligned { x, scale, zero })
}

/// Each slice along `axis` `block` times, up to `size` slices.
fn repeated(c: &mut Call, v: &Val, axis: usize, block: i64, size: &Dim) -> Got<Val> {
    let n = v.shape().get(axis).cloned().unwrap_or(Dim::ONE);
    let with = |parts: &[Dim]| {
        let mut s = v.shape().to_vec();
        s.splice(axis..=axis, parts.iter().cloned());
        s
    };
    let apart = c.reshape(v, with(&[n.clone(), Dim::ONE]))?;
    let wide = c.expand(&apart, with(&[n.clone(), Dim::from(block)]))?;
    let joined = c.reshape(&wide, with(&[n * block]))?;
    c.part(&joined, axis, Dim::ZERO, size.clone())
}

fn optional_type(c: &Call, name: &str) -> Got<Option<DType>> {
    match c.attrs.int_or(name, 0)? {
        0 => Ok(None),
        n => dtype_number(i32::try_from(n).unwrap_or(0)).map(Some),
    }
}

pub fn quantize_linear(c: &mut Call) -> Out {
    let saturate = c.attrs.flag("saturate", true)?;
    let precision = optional_type(c, "precision")?;
    let wanted = optional_type(c, "output_dtype")?;
    let shape = c.input(0)?.shape().to_vec();
    let Aligned { x, scale, zero } = aligned(c)?;
    let to = match (&zero, wanted) {
        (Some(z), Some(w)) if z.dtype() != w => return Err(bad("output_dtype", format!("is {w}, but the zero point is {}", z.ty))),
        (Some(z), _) => z.dtype(),
        (None, w) => w.unwrap_or(DType::U8),
    };
    if to == DType::Bool || (to.is_float() && to.bits() > 8) {
        return Err(operand(format!("codes cannot be {to}: they are integers or floats of 8 bits and fewer")));
    }
    // Powers of two, and integers, have no division of their own.
    let own = if scale.dtype() == DType::F8E8M0 || !scale.dtype().is_float() { DType::F32 } else { scale.dtype() };
    let scale = c.convert(&scale, precision.unwrap_or(own))?;
    let y = quantize(c, &x, &scale, zero.as_ref(), to, saturate)?;
    Ok(vec![c.reshape(&y, shape)?])
}

pub fn dequantize_linear(c: &mut Call) -> Out {
    let wanted = optional_type(c, "output_dtype")?;
    let shape = c.input(0)?.shape().to_vec();
    let Aligned { x, scale, zero } = aligned(c)?;
    let to = wanted.unwrap_or(if scale.dtype() == DType::F8E8M0 { DType::F32 } else { scale.dtype() });
    if let Some(z) = zero.as_ref().filter(|z| z.dtype() != x.dtype()) {
        return Err(operand(format!("the zero point {} has not the type of {}", z.ty, x.ty)));
    }
    let y = dequantize(c, &x, &scale, zero.as_ref(), to)?;
    Ok(vec![c.reshape(&y, shape)?])
}

/// u8 codes, scale and zero point of a tensor whose range is only known when it is there.
pub fn dynamic(c: &mut Call, x: &Val) -> Got<[Val; 3]> {
    let zero = Val::scalar(DType::F32, 0.0);
    let x = c.convert(x, DType::F32)?;
    let extreme = |c: &mut Call, reduce: ReduceFn, f: BinaryFn| -> Got<Val> {
        let axes = (0..x.rank()).collect();
        let r = c.emit(Op::Reduce { f: reduce, axes, keep: false }, &[&x], DType::F32, vec![])?;
        c.binary(f, &r, &zero)
    };
    let most = extreme(c, ReduceFn::Max, BinaryFn::Max)?;
    let least = extreme(c, ReduceFn::Min, BinaryFn::Min)?;
    let span = c.binary(BinaryFn::Sub, &most, &least)?;
    let scale = c.binary(BinaryFn::Div, &span, &Val::scalar(DType::F32, 255.0))?;
    // Of zeros alone any scale will do.
    let none = c.binary(BinaryFn::Eq, &span, &zero)?;
    let scale = c.emit(Op::Select {}, &[&none, &Val::scalar(DType::F32, 1.0), &scale], DType::F32, vec![])?;
    let point = c.binary(BinaryFn::Div, &least, &scale)?;
    let point = c.binary(BinaryFn::Sub, &zero, &point)?;
    let point = store(c, &point, None, DType::U8, true)?;
    let codes = quantize(c, &x, &scale, Some(&point), DType::U8, true)?;
    Ok([codes, scale, point])
}

pub fn dynamic_quantize_linear(c: &mut Call) -> Out {
    let x = c.input(0)?;
    Ok(dynamic(c, &x)?.to_vec())
}

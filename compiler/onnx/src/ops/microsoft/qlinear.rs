//! Quantised operators of com.microsoft. Sums of products are exact; the others are computed in f32 between codes, as their names say.

use crate::import::call::{Call, Got, Handler, Out, operand};
use crate::import::value::{Missing, Val};
use crate::ops::quant::{along, centred, dequantize, dynamic, quantize, store};
use crate::ops::{elementwise, integer, move_data, norm, pool};
use crate::tensor::Tensor;
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{BinaryFn, Op, ReduceFn};

/// Codes with their scale and zero point, one for the whole tensor.
struct Quantised {
    codes: Val,
    scale: Val,
    zero: Option<Val>,
}

/// The three inputs from `k` on.
fn quantised(c: &mut Call, k: usize) -> Got<Quantised> {
    let codes = c.input(k)?;
    let scale = whole(c, k + 1)?.ok_or_else(|| operand(format!("input {} is missing", k + 1)))?;
    Ok(Quantised { codes, scale, zero: whole(c, k + 2)? })
}

/// A scale or zero point of the whole tensor.
fn whole(c: &mut Call, k: usize) -> Got<Option<Val>> {
    let Some(v) = c.opt(k) else { return Ok(None) };
    if !v.shape().iter().all(|d| d.is(1)) {
        return Err(operand(format!("input {k} is {}, must be one number", v.ty)));
    }
    c.reshape(&v, vec![]).map(Some)
}

fn float(c: &mut Call, k: usize) -> Got<Val> {
    let q = quantised(c, k)?;
    dequantize(c, &q.codes, &q.scale, q.zero.as_ref(), DType::F32)
}

/// The result as codes: its scale and zero point are the inputs from `k` on.
fn codes(c: &mut Call, y: &Val, k: usize, default: DType) -> Out {
    let scale = whole(c, k)?.ok_or_else(|| operand(format!("input {k} is missing")))?;
    let zero = whole(c, k + 1)?;
    let to = zero.as_ref().map_or(default, Val::dtype);
    Ok(vec![quantize(c, y, &scale, zero.as_ref(), to, true)?])
}

/// In units of the result, `a * ra + (b * rb + rest)`: two fused roundings, and the same codes as ONNX Runtime's kernels give.
pub fn add(c: &mut Call) -> Out {
    let (a, b) = (quantised(c, 0)?, quantised(c, 3)?);
    let unit = whole(c, 6)?.ok_or_else(|| operand("input 6 is missing"))?;
    let zero = whole(c, 7)?;
    let to = zero.as_ref().map_or(a.codes.dtype(), Val::dtype);
    let mut rest = offset(c, [&a, &b], &unit, zero.as_ref())?;
    let mut parts = vec![];
    for q in [&a, &b] {
        let ratio = c.binary(BinaryFn::Div, &q.scale, &unit)?;
        let x = c.cast(&q.codes, DType::F32)?;
        parts.push(c.binary(BinaryFn::Mul, &x, &ratio)?);
    }
    for part in parts.iter().rev() {
        rest = c.binary(BinaryFn::Add, part, &rest)?;
    }
    Ok(vec![store(c, &rest, None, to, true)?])
}

/// `zero - (ra * a_zero + rb * b_zero)`, the sum fused.
fn offset(c: &mut Call, terms: [&Quantised; 2], unit: &Val, zero: Option<&Val>) -> Got<Val> {
    let known = |v: &Val| v.const_floats().and_then(|x| x.first().map(|x| *x as f32));
    let point = |z: Option<&Val>| z.map_or(Some(0.0), known);
    let [a, b] = terms;
    let numbers = [known(&a.scale), point(a.zero.as_ref()), known(&b.scale), point(b.zero.as_ref()), known(unit), point(zero)];
    if let [Some(sa), Some(za), Some(sb), Some(zb), Some(unit), Some(zero)] = numbers {
        let (ra, rb) = (sa / unit, sb / unit);
        return Ok(Val::scalar(DType::F32, f64::from(zero - ra.mul_add(za, rb * zb))));
    }
    let mut lost = Val::scalar(DType::F32, 0.0);
    for q in [b, a] {
        let ratio = c.binary(BinaryFn::Div, &q.scale, unit)?;
        let Some(z) = &q.zero else { continue };
        let z = c.cast(z, DType::F32)?;
        let part = c.binary(BinaryFn::Mul, &ratio, &z)?;
        lost = c.binary(BinaryFn::Add, &part, &lost)?;
    }
    let zero = match zero {
        Some(z) => c.cast(z, DType::F32)?,
        None => Val::scalar(DType::F32, 0.0),
    };
    c.binary(BinaryFn::Sub, &zero, &lost)
}

pub fn mul(c: &mut Call) -> Out {
    let (a, b) = (quantised(c, 0)?, quantised(c, 3)?);
    let unit = whole(c, 6)?.ok_or_else(|| operand("input 6 is missing"))?;
    let zero = whole(c, 7)?;
    let (x, y) = (centred(c, &a.codes, a.zero.as_ref())?, centred(c, &b.codes, b.zero.as_ref())?);
    let product = c.binary(BinaryFn::Mul, &x, &y)?;
    let scale = c.binary(BinaryFn::Mul, &a.scale, &b.scale)?;
    let scale = c.binary(BinaryFn::Div, &scale, &unit)?;
    let to = zero.as_ref().map_or(a.codes.dtype(), Val::dtype);
    Ok(vec![integer::requantize(c, &product, &scale, zero.as_ref(), to)?])
}

/// An operator of ai.onnx on the dequantised operand.
fn between(c: &mut Call, run: Handler) -> Out {
    let to = c.input(0)?.dtype();
    let x = float(c, 0)?;
    let own = std::mem::replace(&mut c.inputs, vec![Some(x)]);
    let y = run(c);
    c.inputs = own;
    match y?.first() {
        Some(y) => codes(c, &y.clone(), 3, to),
        None => Ok(vec![]),
    }
}

pub fn sigmoid(c: &mut Call) -> Out {
    between(c, elementwise::sigmoid)
}
pub fn leaky_relu(c: &mut Call) -> Out {
    between(c, elementwise::leaky_relu)
}
pub fn softmax(c: &mut Call) -> Out {
    c.opset = c.attrs.int_or("opset", 13)?;
    between(c, norm::softmax)
}
/// An exact sum of each channel, scaled once.
pub fn global_average_pool(c: &mut Call) -> Out {
    let q = quantised(c, 0)?;
    let unit = whole(c, 3)?.ok_or_else(|| operand("input 3 is missing"))?;
    let zero = whole(c, 4)?;
    c.want_rank(&q.codes, 3, "the operand")?;
    let last = c.attrs.flag("channels_last", false)?;
    let rank = q.codes.rank();
    let axes: Vec<usize> = if last { (1..rank - 1).collect() } else { (2..rank).collect() };
    let (mut shape, mut count) = (q.codes.shape().to_vec(), Dim::ONE);
    for a in &axes {
        if let Some(d) = shape.get_mut(*a) {
            count = count * std::mem::replace(d, Dim::ONE);
        }
    }
    let x = centred(c, &q.codes, q.zero.as_ref())?;
    let sum = c.emit(Op::Reduce { f: ReduceFn::Sum, axes, keep: true }, &[&x], DType::F32, shape)?;
    let count = c.emit(Op::Dims { values: vec![count] }, &[], DType::F32, vec![])?;
    let scale = c.binary(BinaryFn::Mul, &unit, &count)?;
    let scale = c.binary(BinaryFn::Div, &q.scale, &scale)?;
    let to = zero.as_ref().map_or(q.codes.dtype(), Val::dtype);
    Ok(vec![integer::requantize(c, &sum, &scale, zero.as_ref(), to)?])
}
pub fn average_pool(c: &mut Call) -> Out {
    between(c, |c| spatial(c, pool::average_pool))
}

/// With channels behind the spatial axes, if the node says so.
fn spatial(c: &mut Call, run: Handler) -> Out {
    if !c.attrs.flag("channels_last", false)? {
        return run(c);
    }
    let x = c.input(0)?;
    c.want_rank(&x, 3, "the operand")?;
    let last = x.rank() - 1;
    let perm = [0, last].into_iter().chain(1..last).collect();
    c.inputs = vec![Some(c.transpose(&x, perm)?)];
    let y = run(c)?;
    let back = [0].into_iter().chain(2..=last).chain([1]).collect::<Vec<_>>();
    y.iter().map(|y| c.transpose(y, back.clone())).collect()
}

/// Result's scale and zero point, then three inputs a part.
pub fn concat(c: &mut Call) -> Out {
    let to = c.input(2)?.dtype();
    let parts = (2..c.inputs.len()).step_by(3).map(|k| float(c, k)).collect::<Got<Vec<_>>>()?;
    let own = std::mem::replace(&mut c.inputs, parts.into_iter().map(Some).collect());
    let y = move_data::concat(c);
    c.inputs = own;
    match y?.first() {
        Some(y) => codes(c, &y.clone(), 0, to),
        None => Ok(vec![]),
    }
}

pub fn select(c: &mut Call) -> Out {
    let condition = c.input(0)?;
    let to = c.input(1)?.dtype();
    let (a, b) = (float(c, 1)?, float(c, 4)?);
    let shape = c.broadcast(&[condition.shape(), a.shape(), b.shape()])?;
    let y = c.emit(Op::Select {}, &[&condition, &a, &b], DType::F32, shape)?;
    codes(c, &y, 7, to)
}

/// `alpha * A' * B' + C`, as codes or, without a scale for them, as floats.
pub fn gemm(c: &mut Call) -> Out {
    let (mut a, mut b) = (c.input(0)?, c.input(3)?);
    for (name, v) in [("transA", &mut a), ("transB", &mut b)] {
        if v.rank() != 2 {
            return Err(operand(format!("needs matrices, is {}", v.ty)));
        }
        if c.attrs.int_or(name, 0)? != 0 {
            *v = transposed(c, v)?;
        }
    }
    let (a_zero, b_zero) = (c.opt(2), c.opt(5));
    let mut sum = integer::matmul(c, &a, a_zero.as_ref(), &b, b_zero.as_ref())?;
    if let Some(bias) = c.opt(6) {
        sum = c.cast(&sum, DType::I32)?;
        sum = c.binary(BinaryFn::Add, &sum, &bias)?;
    }
    let (a_scale, b_scale) = (whole(c, 1)?, c.input(4)?);
    let mut scale = along(c, &b_scale, 2, 1)?;
    let alpha = Val::scalar(DType::F32, f64::from(c.attrs.float_or("alpha", 1.0)?));
    for by in a_scale.iter().chain([&alpha]) {
        scale = c.binary(BinaryFn::Mul, &scale, by)?;
    }
    let Some(y_scale) = whole(c, 7)? else {
        let sum = c.cast(&sum, DType::F32)?;
        return Ok(vec![c.binary(BinaryFn::Mul, &sum, &scale)?]);
    };
    let scale = c.binary(BinaryFn::Div, &scale, &y_scale)?;
    let zero = whole(c, 8)?;
    let to = zero.as_ref().map_or(a.dtype(), Val::dtype);
    Ok(vec![integer::requantize(c, &sum, &scale, zero.as_ref(), to)?])
}

/// A matrix the other way round; bytes of a constant are turned here, so that what they add up to stays known.
fn transposed(c: &mut Call, v: &Val) -> Got<Val> {
    let turned = match (v.missing(), v.ty.static_shape().as_deref()) {
        (Missing::Const(t), Some(&[rows, columns])) if v.dtype().bits() == 8 => {
            let (rows, columns) = (rows.unsigned_abs() as usize, columns.unsigned_abs() as usize);
            let byte = |k: usize| t.data.get(k % rows.max(1) * columns + k / rows.max(1)).copied().unwrap_or(0);
            let data = (0..t.data.len()).map(byte).collect::<Vec<u8>>().into();
            Some(Tensor { data_type: t.data_type, dims: vec![columns as u64, rows as u64], data, strings: vec![] })
        }
        _ => None,
    };
    let Some(t) = turned else { return c.transpose(v, vec![1, 0]) };
    let shape = v.shape().iter().rev().cloned().collect::<Vec<_>>();
    Ok(Val::constant(TensorType::new(v.dtype(), shape), t))
}

/// An exact product, times scales of rows and columns, plus a bias.
fn scaled(c: &mut Call, sum: &Val, scales: &[Val], bias: Option<Val>) -> Out {
    let mut y = c.cast(sum, DType::F32)?;
    let mut scale: Option<Val> = None;
    for s in scales {
        let s = along(c, s, y.rank(), y.rank().saturating_sub(1))?;
        scale = Some(match scale {
            Some(t) => c.binary(BinaryFn::Mul, &t, &s)?,
            None => s,
        });
    }
    if let Some(s) = scale {
        y = c.binary(BinaryFn::Mul, &y, &s)?;
    }
    if let Some(b) = bias {
        y = c.binary(BinaryFn::Add, &y, &b)?;
    }
    Ok(vec![y])
}

pub fn matmul_integer_to_float(c: &mut Call) -> Out {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let (a_zero, b_zero) = (c.opt(4), c.opt(5));
    let sum = integer::matmul(c, &a, a_zero.as_ref(), &b, b_zero.as_ref())?;
    let scales = [c.input(2)?, c.input(3)?];
    let bias = c.opt(6);
    scaled(c, &sum, &scales, bias)
}

/// The left operand is quantised as it comes.
pub fn dynamic_quantize_matmul(c: &mut Call) -> Out {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let [codes, scale, zero] = dynamic(c, &a)?;
    let b_zero = c.opt(3);
    let sum = integer::matmul(c, &codes, Some(&zero), &b, b_zero.as_ref())?;
    let scales = [scale, c.input(2)?];
    let bias = c.opt(4);
    scaled(c, &sum, &scales, bias)
}

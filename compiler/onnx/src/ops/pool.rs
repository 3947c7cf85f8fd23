//! Pooling: windows, whole planes, and what undoes the maximum. Powers, normalisation over channels and positions of maxima are
//! compositions around the window op.

use super::conv::{AutoPad, Window};
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::compose::wide;
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, PadMode, PoolKind, ReduceFn, ScatterFn, UnaryFn};

pub fn max_pool(c: &mut Call) -> Out {
    c.only_outputs(2)?;
    let columns = c.attrs.flag("storage_order", false)?;
    let x = c.input(0)?;
    let windows = Windows::of(c, &x)?;
    let y = windows.pool(c, &x, PoolKind::Max, false)?;
    if !c.has_output(1) {
        return Ok(vec![y]);
    }
    let at = windows.pool(c, &x, PoolKind::ArgMax, false)?;
    let at = if columns { by_columns(c, &at, x.shape())? } else { at };
    // Indices count through the whole tensor, not through one plane.
    let plane = Dim::product(x.shape().get(2..).unwrap_or(&[]));
    let planes = Dim::product(x.shape().get(..2).unwrap_or(&[]));
    let first = c.iota(&planes, DType::I64)?;
    let plane = c.size(&plane, DType::I64)?;
    let first = c.mul(&first, &plane)?;
    let mut lead = x.shape().get(..2).unwrap_or(&[]).to_vec();
    lead.resize(x.rank(), Dim::ONE);
    let first = c.reshape(&first, lead)?;
    Ok(vec![y, c.add(&at, &first)?])
}

/// Row-major positions in a plane as column-major ones.
fn by_columns(c: &mut Call, at: &Val, shape: &[Dim]) -> Got<Val> {
    let sizes = shape.get(2..).unwrap_or(&[]);
    let mut rest = at.clone();
    let mut coordinates = vec![];
    for d in sizes.iter().rev() {
        let n = c.size(d, DType::I64)?;
        let next = c.div(&rest, &n)?;
        let whole = c.mul(&next, &n)?;
        coordinates.push(c.sub(&rest, &whole)?);
        rest = next;
    }
    let mut sum = Val::scalar(DType::I64, 0.0);
    // `coordinates` runs from the last axis to the first, which is the fastest here.
    for (d, x) in sizes.iter().rev().zip(&coordinates) {
        let n = c.size(d, DType::I64)?;
        let scaled = c.mul(&sum, &n)?;
        sum = c.add(&scaled, x)?;
    }
    Ok(sum)
}

pub fn average_pool(c: &mut Call) -> Out {
    let count_include_pad = c.attrs.flag("count_include_pad", false)?;
    let x = c.input(0)?;
    let windows = Windows::of(c, &x)?;
    Ok(vec![windows.pool(c, &x, PoolKind::Average, count_include_pad)?])
}

/// `(sum |x|^p)^(1/p)` over windows.
pub fn lp_pool(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let p = power(c)?;
    let windows = Windows::of(c, &x)?;
    let v = raised(c, &x, p)?;
    let v = windows.pool(c, &v, PoolKind::Sum, false)?;
    Ok(vec![root(c, &v, p, x.dtype())?])
}

/// The exponent: a float in the oldest form, an int since.
fn power(c: &Call) -> Got<f64> {
    let p = if c.opset < 2 { f64::from(c.attrs.float_or("p", 2.0)?) } else { c.attrs.int_or("p", 2)? as f64 };
    if p > 0.0 { Ok(p) } else { Err(bad("p", format!("must be positive, is {p}"))) }
}
fn raised(c: &mut Call, x: &Val, p: f64) -> Got<Val> {
    let x = c.convert(x, wide(x.dtype()))?;
    if p == 2.0 {
        return c.mul(&x, &x);
    }
    let v = c.function(UnaryFn::Abs, &x)?;
    if p == 1.0 { Ok(v) } else { c.with(BinaryFn::Pow, &v, p) }
}
fn root(c: &mut Call, x: &Val, p: f64, to: DType) -> Got<Val> {
    let v = match p {
        1.0 => x.clone(),
        2.0 => c.function(UnaryFn::Sqrt, x)?,
        _ => c.with(BinaryFn::Pow, x, 1.0 / p)?,
    };
    c.convert(&v, to)
}

/// Windows over the spatial axes of one operand.
struct Windows {
    window: Window,
    shape: Vec<Dim>,
}

impl Windows {
    fn of(c: &mut Call, x: &Val) -> Got<Windows> {
        c.want_rank(x, 3, "the operand")?;
        let rank = x.rank() - 2;
        if !c.attrs.has("kernel_shape") {
            return Err(bad("kernel_shape", "is required"));
        }
        let kernel = c.attrs.positive_ints("kernel_shape", rank, 1)?;
        let ceil = c.attrs.flag("ceil_mode", false)?;
        let window = Window::of(c, kernel)?;
        let mut shape: Vec<Dim> = x.shape().iter().take(2).cloned().collect();
        for (k, d) in x.shape().iter().skip(2).enumerate() {
            shape.push(window.output(c, k, d, ceil)?);
        }
        Ok(Windows { window, shape })
    }

    fn pool(&self, c: &mut Call, x: &Val, kind: PoolKind, count_include_pad: bool) -> Got<Val> {
        let mut w = self.window.clone();
        let sizes: Vec<Dim> = x.shape().iter().skip(2).cloned().collect();
        let open = matches!(w.auto, AutoPad::SameUpper | AutoPad::SameLower) && !w.settles(c, &sizes, true);
        if open && (kind == PoolKind::ArgMax || kind == PoolKind::Average && count_include_pad) {
            return Err(
                unsupported_use("SAME padding that depends on a symbolic size is not supported here").help("fix the size with --dim")
            );
        }
        if open && kind == PoolKind::Average {
            // The padding does not count: sum over how many elements there are.
            let sum = self.pool(c, x, PoolKind::Sum, false)?;
            let one = Val::scalar(x.dtype(), 1.0);
            let mut plane = vec![Dim::ONE; 2];
            plane.extend(sizes);
            let ones = c.expand(&one, plane.clone())?;
            let counted =
                Windows { window: self.window.clone(), shape: [&[Dim::ONE, Dim::ONE], self.shape.get(2..).unwrap_or(&[])].concat() };
            let count = counted.pool(c, &ones, PoolKind::Sum, false)?;
            return c.div(&sum, &count);
        }
        let fill = if kind == PoolKind::Max { lowest(x.dtype()) } else { 0.0 };
        let x = if open { w.padded(c, x, &Val::scalar(x.dtype(), fill))? } else { w.settle(c, x, true)? };
        for k in 0..w.kernel.len() {
            if w.begin(k) >= w.extent(k) || w.end(k) >= w.extent(k) {
                return Err(unsupported_use("padding as large as the kernel is not supported"));
            }
        }
        let Window { kernel, strides, dilations, pads, .. } = w;
        if pads.iter().any(|p| *p < 0) {
            return Err(bad("pads", "must not be negative"));
        }
        let dtype = if kind == PoolKind::ArgMax { DType::I64 } else { x.dtype() };
        let op = Op::Pool { kind, kernel, strides, pads, dilations, count_include_pad };
        c.emit(op, &[&x], dtype, self.shape.clone())
    }
}

/// What no element is below.
pub fn lowest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => f64::NEG_INFINITY,
        DType::I8 => f64::from(i8::MIN),
        DType::I16 => f64::from(i16::MIN),
        DType::I32 => f64::from(i32::MIN),
        DType::I64 => i64::MIN as f64,
        DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::Bool => 0.0,
        // No pool computes with those that only exist to be stored.
        _ => 0.0,
    }
}

fn global(c: &mut Call, f: ReduceFn) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 2, "the operand")?;
    let axes: Vec<usize> = (2..x.rank()).collect();
    Ok(vec![c.reduce(f, &x, &axes, true)?])
}
pub fn global_average_pool(c: &mut Call) -> Out {
    global(c, ReduceFn::Mean)
}
pub fn global_max_pool(c: &mut Call) -> Out {
    global(c, ReduceFn::Max)
}
pub fn global_lp_pool(c: &mut Call) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 2, "the operand")?;
    let p = power(c)?;
    let v = raised(c, &x, p)?;
    let axes: Vec<usize> = (2..x.rank()).collect();
    let v = c.reduce(ReduceFn::Sum, &v, &axes, true)?;
    Ok(vec![root(c, &v, p, x.dtype())?])
}

/// `x / (bias + alpha / size * sum of squares over neighbouring channels)^beta`: the sum is a window along the channels.
pub fn lrn(c: &mut Call) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 2, "the operand")?;
    let size = c.attrs.required_int("size")?;
    if !(1..=1 << 20).contains(&size) {
        return Err(bad("size", format!("must be a positive int, is {size}")));
    }
    let [alpha, beta, bias] = [("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)].map(|(name, d)| c.attrs.float_or(name, d));
    let (alpha, beta, bias) = (f64::from(alpha?), f64::from(beta?), f64::from(bias?));
    let (head, tail) = x.shape().split_at_checked(2).unwrap_or((&[], &[]));
    let column = [&[head.first().cloned().unwrap_or(Dim::ONE), Dim::ONE], head.get(1..).unwrap_or(&[]), &[Dim::product(tail)]].concat();
    let v = c.convert(&x, wide(x.dtype()))?;
    let square = c.mul(&v, &v)?;
    let square = c.reshape(&square, column.clone())?;
    let before = (size - 1) / 2;
    let op = Op::Pool {
        kind: PoolKind::Sum,
        kernel: vec![size, 1],
        strides: vec![1; 2],
        pads: vec![before, 0, size - 1 - before, 0],
        dilations: vec![1; 2],
        count_include_pad: false,
    };
    let sum = c.emit(op, &[&square], v.dtype(), column)?;
    let sum = c.reshape(&sum, x.shape().to_vec())?;
    let scaled = c.times(&sum, alpha / size as f64)?;
    let base = c.plus(&scaled, bias)?;
    let d = c.with(BinaryFn::Pow, &base, beta)?;
    let y = c.div(&v, &d)?;
    Ok(vec![c.convert(&y, x.dtype())?])
}

/// Elements back where MaxPool found them, zero elsewhere.
pub fn max_unpool(c: &mut Call) -> Out {
    let (x, at) = (c.input(0)?, c.input(1)?);
    c.want_rank(&x, 3, "the operand")?;
    if at.dtype() != DType::I64 || at.rank() != x.rank() {
        return Err(operand(format!("indices {} do not fit {}", at.ty, x.ty)));
    }
    let rank = x.rank() - 2;
    let kernel = c.attrs.positive_ints("kernel_shape", rank, 1)?;
    let window = Window::of(c, kernel)?;
    let mut inner: Vec<Dim> = x.shape().iter().take(2).cloned().collect();
    for (k, d) in x.shape().iter().skip(2).enumerate() {
        let size = (d - 1) * window.stride(k) + window.kernel.get(k).copied().unwrap_or(1) - window.begin(k) - window.end(k);
        inner.push(size);
    }
    c.in_range(&at, &[(Dim::ZERO, &Dim::product(&inner) - 1)], "an index")?;
    let zero = Val::scalar(x.dtype(), 0.0);
    let flat = c.expand(&zero, vec![Dim::product(&inner)])?;
    let count = vec![x.ty.elements()];
    let (at, values) = (c.reshape(&at, count.clone())?, c.reshape(&x, count)?);
    let op = Op::ScatterElements { axis: 0, f: ScatterFn::Replace };
    let y = c.emit(op, &[&flat, &at, &values], x.dtype(), flat.shape().to_vec())?;
    let y = c.reshape(&y, inner.clone())?;
    let Some(shape) = c.opt(2) else { return Ok(vec![y]) };
    let shape = c.sizes(&shape, "the output shape")?;
    if shape.len() != x.rank() {
        return Err(operand(format!("{} sizes for {}", shape.len(), x.ty)));
    }
    if shape == inner {
        return Ok(vec![y]);
    }
    let op = Op::Pad { mode: PadMode::Constant, before: vec![Dim::ZERO; x.rank()] };
    Ok(vec![c.emit(op, &[&y], x.dtype(), shape)?])
}

//! Products of quantised integers: exact sums, as in 32-bit integers. Where no partial sum can leave the integers that f32 holds (which
//! the weights' own values often prove) they are computed in f32, whose kernels are faster; deep sums in a few such parts.

use super::conv::conv_of;
use super::quant::{along, centred, is_zero, range, store, values};
use crate::import::call::{Call, Got, Out};
use crate::import::value::{Missing, Val};
use odc_ir::core::{DType, Dim, Scalar};
use odc_ir::graph::BinaryFn;

/// Integers below are exact in f32.
const EXACT: f64 = 16_777_216.0;
const MOST_PARTS: i64 = 8;

/// The largest magnitude of `x - zero`.
fn reach(x: &Val, zero: Option<&Val>) -> f64 {
    let Some((lo, hi)) = range(x.dtype()) else { return f64::INFINITY };
    match zero.map(values) {
        None => hi.max(-lo),
        Some(Some(z)) => z.iter().map(|z| (hi - z).max(z - lo)).fold(0.0, f64::max),
        Some(None) => hi - lo,
    }
}

/// A weight seen as rows of a sum: element `d` of the sum for result `o` is at `o * outer + d * depth`, batch after batch.
struct Rows {
    results: usize,
    depth: usize,
    strides: (usize, usize),
    batches: usize,
}

/// The largest sum of magnitudes over parts of the depth, each of `step` elements; `None` if the weight is no constant.
fn largest_sum(w: &Val, zero: Option<&Val>, rows: &Rows, step: usize) -> Option<f64> {
    let Missing::Const(t) = w.missing() else { return None };
    let zero = match zero {
        None => vec![0.0],
        Some(z) => values(z)?,
    };
    let bytes = t.elements();
    let size = w.dtype().size();
    let mut most = 0.0f64;
    for b in 0..rows.batches {
        for o in 0..rows.results {
            let zero = zero.get(o).or(zero.first()).copied().filter(|_| zero.len() == 1 || zero.len() == rows.results)?;
            let mut sum = 0.0;
            for d in 0..rows.depth {
                let at = (b * rows.results * rows.depth + o * rows.strides.0 + d * rows.strides.1) * size;
                let x = Scalar::read(w.dtype(), bytes.get(at..at + size)?)?.as_f64();
                if d % step == 0 {
                    sum = 0.0;
                }
                sum += (x - zero).abs();
                most = most.max(sum);
            }
        }
    }
    Some(most)
}

/// In how many parts along the depth the sum is exact in f32; `None`: not even in the most.
fn parts(x: (&Val, Option<&Val>), w: (&Val, Option<&Val>), rows: &Rows, unit: usize) -> Option<usize> {
    let (reach_x, reach_w) = (reach(x.0, x.1), reach(w.0, w.1));
    let units = rows.depth / unit.max(1);
    (1..=MOST_PARTS as usize).filter(|p| *p <= units.max(1)).find(|p| {
        let step = units.div_ceil(*p).max(1) * unit;
        let worst = step as f64 * reach_w;
        reach_x * worst < EXACT || largest_sum(w.0, w.1, rows, step).is_some_and(|s| reach_x * s < EXACT)
    })
}

/// `x - zero` in i32.
fn wide(c: &mut Call, x: &Val, zero: Option<&Val>) -> Got<Val> {
    let x = c.cast(x, DType::I32)?;
    match zero.filter(|z| !is_zero(z)) {
        Some(z) => {
            let z = c.cast(z, DType::I32)?;
            c.binary(BinaryFn::Sub, &x, &z)
        }
        None => Ok(x),
    }
}

/// Sums of parts, each exact in f32, as i32.
fn summed(c: &mut Call, parts: Vec<Val>) -> Got<Val> {
    let mut total: Option<Val> = None;
    for p in parts {
        let p = c.cast(&p, DType::I32)?;
        total = Some(match total {
            Some(t) => c.binary(BinaryFn::Add, &t, &p)?,
            None => p,
        });
    }
    total.ok_or_else(|| crate::import::call::operand("an empty sum"))
}

/// Zero points one a row (`row`) or one a column of a matrix, so that they broadcast.
fn of_matrix(c: &mut Call, v: &Val, x: &Val, row: bool) -> Got<Val> {
    if v.rank() > 1 && !v.shape().iter().all(|d| d.is(1)) {
        return Ok(v.clone());
    }
    let rank = x.rank().max(1);
    along(c, v, rank, if row { rank.saturating_sub(2) } else { rank - 1 })
}

/// The right operand of a product less its zero point, in the type that keeps sums exact.
pub struct Right {
    b: Val,
    /// The depth and in how many parts it is summed in f32; `None`: all of it in i32.
    split: Option<(usize, usize)>,
}

/// `b - b_zero` for products with what is like `a`.
pub fn right(c: &mut Call, a: (&Val, Option<&Val>), b: &Val, b_zero: Option<&Val>) -> Got<Right> {
    let static_b = b.ty.static_shape();
    let rows = static_b.as_deref().and_then(|s| {
        let size = |d: &i64| usize::try_from(*d).ok();
        let (n, rest) = s.split_last()?;
        let (k, batch) = rest.split_last()?;
        let (n, k) = (size(n)?, size(k)?);
        Some(Rows { results: n, depth: k, strides: (1, n), batches: batch.iter().map(size).product::<Option<usize>>()? })
    });
    let split = rows.as_ref().and_then(|r| Some((r.depth, parts(a, (b, b_zero), r, 1)?)));
    let point = b_zero.map(|z| of_matrix(c, z, b, false)).transpose()?;
    let b = if split.is_some() { centred(c, b, point.as_ref())? } else { wide(c, b, point.as_ref())? };
    Ok(Right { b, split })
}

/// `(a - a_zero) * b` as matrices: i32, or f32 where that is exact.
pub fn times(c: &mut Call, a: &Val, a_zero: Option<&Val>, right: &Right) -> Got<Val> {
    let point = a_zero.map(|z| of_matrix(c, z, a, true)).transpose()?;
    let b = &right.b;
    let Some((depth, parts)) = right.split else {
        let a = wide(c, a, point.as_ref())?;
        return c.product(&a, b);
    };
    let a = centred(c, a, point.as_ref())?;
    if parts == 1 {
        return c.product(&a, b);
    }
    let step = depth.div_ceil(parts);
    let mut sums = vec![];
    for at in (0..depth).step_by(step.max(1)) {
        let (start, n) = (Dim::from(at as i64), Dim::from(step.min(depth - at) as i64));
        let left = c.part(&a, a.rank().saturating_sub(1), start.clone(), n.clone())?;
        let right = c.part(b, b.rank().saturating_sub(2), start, n)?;
        sums.push(c.product(&left, &right)?);
    }
    summed(c, sums)
}

/// `(a - a_zero) * (b - b_zero)` as matrices: i32, or f32 where that is exact.
pub fn matmul(c: &mut Call, a: &Val, a_zero: Option<&Val>, b: &Val, b_zero: Option<&Val>) -> Got<Val> {
    let right = right(c, (a, a_zero), b, b_zero)?;
    times(c, a, a_zero, &right)
}

/// The convolution that the node describes, of `x - x_zero` and `w - w_zero`: i32, or f32 where that is exact.
pub fn conv(c: &mut Call, x: &Val, x_zero: Option<&Val>, w: &Val, w_zero: Option<&Val>) -> Got<Val> {
    let rank = w.rank();
    let sizes = w.ty.static_shape().and_then(|s| s.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<Vec<_>>>());
    let rows = sizes.as_deref().and_then(|s| {
        let (results, rest) = s.split_first()?;
        let depth = rest.iter().product();
        Some(Rows { results: *results, depth, strides: (depth, 1), batches: 1 })
    });
    let taps = sizes.as_deref().map_or(1, |s| s.iter().skip(2).product::<usize>());
    let split = rows.as_ref().and_then(|r| parts((x, x_zero), (w, w_zero), r, taps));
    // Only an ungrouped sum runs over all channels.
    let split = split.filter(|p| *p == 1 || c.attrs.int_or("group", 1).is_ok_and(|g| g == 1));
    let x_point = x_zero.map(|z| c.reshape(z, vec![])).transpose()?;
    let w_point = w_zero.map(|z| along(c, z, rank, 0)).transpose()?;
    let Some(parts) = split else {
        let (x, w) = (wide(c, x, x_point.as_ref())?, wide(c, w, w_point.as_ref())?);
        return conv_of(c, x, w, None);
    };
    let (x, w) = (centred(c, x, x_point.as_ref())?, centred(c, w, w_point.as_ref())?);
    if parts == 1 {
        return conv_of(c, x, w, None);
    }
    let channels = sizes.as_deref().and_then(|s| s.get(1)).copied().unwrap_or(1);
    let step = channels.div_ceil(parts).max(1);
    let mut sums = vec![];
    for at in (0..channels).step_by(step) {
        let (start, n) = (Dim::from(at as i64), Dim::from(step.min(channels - at) as i64));
        let left = c.part(&x, 1, start.clone(), n.clone())?;
        let right = c.part(&w, 1, start, n)?;
        sums.push(conv_of(c, left, right, None)?);
    }
    summed(c, sums)
}

pub fn matmul_integer(c: &mut Call) -> Out {
    let (a, b) = (c.input(0)?, c.input(1)?);
    // One for all, or one a row of the first and a column of the second.
    for (zero, size) in [(c.opt(2), a.shape().iter().rev().nth(1).cloned()), (c.opt(3), b.shape().last().cloned())] {
        if let (Some([n]), Some(size)) = (zero.as_ref().map(|z| z.shape()), size)
            && !n.is(1)
        {
            c.equal(n, &size, "zero points and the matrix")?;
        }
    }
    let y = matmul(c, &a, c.opt(2).as_ref(), &b, c.opt(3).as_ref())?;
    Ok(vec![c.cast(&y, DType::I32)?])
}

pub fn conv_integer(c: &mut Call) -> Out {
    let (x, w) = (c.input(0)?, c.input(1)?);
    let y = conv(c, &x, c.opt(2).as_ref(), &w, c.opt(3).as_ref())?;
    Ok(vec![c.cast(&y, DType::I32)?])
}

/// An exact sum in units of `scale`, as codes of type `to`.
pub fn requantize(c: &mut Call, sum: &Val, scale: &Val, zero: Option<&Val>, to: DType) -> Got<Val> {
    let (sum, scale) = (c.cast(sum, DType::F32)?, c.cast(scale, DType::F32)?);
    let y = c.binary(BinaryFn::Mul, &sum, &scale)?;
    store(c, &y, zero, to, true)
}

pub fn qlinear_matmul(c: &mut Call) -> Out {
    let (a, a_scale, a_zero) = (c.input(0)?, c.input(1)?, c.opt(2));
    let (b, b_scale, b_zero) = (c.input(3)?, c.input(4)?, c.opt(5));
    let (y_scale, y_zero) = (c.input(6)?, c.opt(7));
    let sum = matmul(c, &a, a_zero.as_ref(), &b, b_zero.as_ref())?;
    let a_scale = of_matrix(c, &a_scale, &sum, true)?;
    let b_scale = of_matrix(c, &b_scale, &sum, false)?;
    let y_scale = of_matrix(c, &y_scale, &sum, true)?;
    let scale = c.binary(BinaryFn::Mul, &a_scale, &b_scale)?;
    let scale = c.binary(BinaryFn::Div, &scale, &y_scale)?;
    let to = y_zero.as_ref().map_or(a.dtype(), Val::dtype);
    let y_zero = y_zero.map(|z| of_matrix(c, &z, &sum, true)).transpose()?;
    Ok(vec![requantize(c, &sum, &scale, y_zero.as_ref(), to)?])
}

pub fn qlinear_conv(c: &mut Call) -> Out {
    let (x, x_scale, x_zero) = (c.input(0)?, c.input(1)?, c.opt(2));
    let (w, w_scale, w_zero) = (c.input(3)?, c.input(4)?, c.opt(5));
    let (y_scale, y_zero) = (c.input(6)?, c.opt(7));
    let mut sum = conv(c, &x, x_zero.as_ref(), &w, w_zero.as_ref())?;
    let rank = sum.rank();
    if let Some(bias) = c.opt(8) {
        let bias = along(c, &bias, rank, 1)?;
        sum = c.cast(&sum, DType::I32)?;
        sum = c.binary(BinaryFn::Add, &sum, &bias)?;
    }
    let x_scale = c.reshape(&x_scale, vec![])?;
    let w_scale = along(c, &w_scale, rank, 1)?;
    let y_scale = c.reshape(&y_scale, vec![])?;
    let scale = c.binary(BinaryFn::Mul, &x_scale, &w_scale)?;
    let scale = c.binary(BinaryFn::Div, &scale, &y_scale)?;
    let to = y_zero.as_ref().map_or(x.dtype(), Val::dtype);
    let y_zero = y_zero.map(|z| c.reshape(&z, vec![])).transpose()?;
    Ok(vec![requantize(c, &sum, &scale, y_zero.as_ref(), to)?])
}

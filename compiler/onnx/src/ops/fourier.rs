//! DFT and STFT as matrix products: short lengths by the matrix of the transform, long ones split into two factors, again and
//! again (Cooley and Tukey), with everything constant made when importing.

use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::compose::{table, wide};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{Op, PadMode};
use std::f64::consts::TAU;

/// Up to here a length is transformed by one matrix.
const DIRECT: i64 = 96;
/// A prime factor that needs a larger matrix is refused.
const MOST: i64 = 1024;

/// A complex tensor; no imaginary part: zero.
struct Complex {
    re: Val,
    im: Option<Val>,
}

/// The angle of `j * k` steps of `n`, reduced first so that it is exact for long transforms.
fn angle(j: i64, k: i64, n: i64, sign: f64) -> f64 {
    sign * TAU * (j.wrapping_mul(k).rem_euclid(n) as f64) / n as f64
}

/// The first `bins` frequencies over the last axis of `[b, n]`; `sign` is -1 forward, 1 backward.
fn transform(c: &mut Call, x: &Complex, n: i64, bins: i64, sign: f64) -> Got<Complex> {
    let factor = (2..).take_while(|a| a * a <= n).filter(|a| n % a == 0).last();
    let Some(a) = factor.filter(|_| n > DIRECT) else { return direct(c, x, n, bins, sign) };
    let b = n / a;
    let batch = x.re.shape().first().cloned().unwrap_or(Dim::ONE);
    // Element j1 * b + j2 to frequency k1 + a * k2: over j1, then a twist, then over j2.
    let turned = |c: &mut Call, v: &Val, rows: i64, columns: i64, perm: [usize; 3]| -> Got<Val> {
        let v = c.reshape(v, vec![batch.clone(), Dim::from(rows), Dim::from(columns)])?;
        c.transpose(&v, perm.to_vec())
    };
    let flat = |c: &mut Call, x: &Complex, lead: i64, last: i64| each(c, x, |c, v| c.reshape(v, vec![&batch * lead, Dim::from(last)]));
    let v = each(c, x, |c, v| turned(c, v, a, b, [0, 2, 1]))?;
    let v = flat(c, &v, b, a)?;
    let v = transform(c, &v, a, a, sign)?;
    let v = each(c, &v, |c, v| c.reshape(v, vec![batch.clone(), Dim::from(b), Dim::from(a)]))?;
    let twist = |f: fn(f64) -> f64| (0..b).flat_map(move |j| (0..a).map(move |k| f(angle(j, k, n, sign))));
    let dtype = v.re.dtype();
    let (cos, sin) = (table(dtype, &[b, a], twist(f64::cos)), table(dtype, &[b, a], twist(f64::sin)));
    let v = product(c, &v, &cos, &sin, &mut |c, a, b| c.mul(a, b))?;
    let v = each(c, &v, |c, v| c.transpose(v, vec![0, 2, 1]))?;
    let v = flat(c, &v, a, b)?;
    let v = transform(c, &v, b, b, sign)?;
    let v = each(c, &v, |c, v| turned(c, v, a, b, [0, 2, 1]))?;
    let v = flat(c, &v, 1, n)?;
    each(c, &v, |c, v| c.part(v, 1, Dim::ZERO, Dim::from(bins)))
}

fn each(c: &mut Call, x: &Complex, mut f: impl FnMut(&mut Call, &Val) -> Got<Val>) -> Got<Complex> {
    Ok(Complex { re: f(c, &x.re)?, im: x.im.as_ref().map(|v| f(c, v)).transpose()? })
}

/// `x * (cos + i sin)` for a product that is linear.
fn product(c: &mut Call, x: &Complex, cos: &Val, sin: &Val, f: &mut dyn FnMut(&mut Call, &Val, &Val) -> Got<Val>) -> Got<Complex> {
    let (re, im) = (f(c, &x.re, cos)?, f(c, &x.re, sin)?);
    let Some(own) = &x.im else { return Ok(Complex { re, im: Some(im) }) };
    let (minus, cross) = (f(c, own, sin)?, f(c, own, cos)?);
    Ok(Complex { re: c.sub(&re, &minus)?, im: Some(c.add(&im, &cross)?) })
}

fn direct(c: &mut Call, x: &Complex, n: i64, bins: i64, sign: f64) -> Got<Complex> {
    if n > MOST {
        return Err(unsupported_use(format!("a transform of {n} elements, whose factors are too large, is not supported"))
            .help("choose a length with small factors"));
    }
    let matrix = |f: fn(f64) -> f64| (0..n).flat_map(move |j| (0..bins).map(move |k| f(angle(j, k, n, sign))));
    let dtype = x.re.dtype();
    let (cos, sin) = (table(dtype, &[n, bins], matrix(f64::cos)), table(dtype, &[n, bins], matrix(f64::sin)));
    product(c, x, &cos, &sin, &mut |c, a, b| c.matmul(a, b))
}

/// The last axis cropped or filled with zeros to `n` elements.
fn fitted(c: &mut Call, x: &Val, n: i64) -> Got<Val> {
    let axis = x.rank() - 1;
    let own = x.shape().last().and_then(Dim::as_const);
    if own == Some(n) {
        return Ok(x.clone());
    }
    if own.is_some_and(|m| m > n) {
        return c.part(x, axis, Dim::ZERO, Dim::from(n));
    }
    let mut shape = x.shape().to_vec();
    if let Some(slot) = shape.last_mut() {
        *slot = Dim::from(n);
    }
    c.emit(Op::Pad { mode: PadMode::Constant, before: vec![Dim::ZERO; x.rank()] }, &[x], x.dtype(), shape)
}

fn only(list: &[i64], what: &str) -> Got<i64> {
    match list {
        [v] => Ok(*v),
        _ => Err(operand(format!("{what} must be one number"))),
    }
}

pub fn dft(c: &mut Call) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 2, "the operand")?;
    let rank = x.rank();
    let axis = if c.opset < 20 {
        c.attrs.int_or("axis", 1)?
    } else {
        match c.opt(2) {
            Some(v) => only(&c.const_ints(&v, "the axis")?, "the axis")?,
            None => -2,
        }
    };
    let axis = c.axis(axis, rank)?;
    if axis + 1 == rank {
        return Err(bad("axis", "is that of real and imaginary parts"));
    }
    let (inverse, onesided) = (c.attrs.flag("inverse", false)?, c.attrs.flag("onesided", false)?);
    let own = x.shape().get(axis).and_then(Dim::as_const);
    let back = inverse && onesided;
    let n = match c.opt(1) {
        Some(v) => only(&c.const_ints(&v, "the length")?, "the length")?,
        None => {
            let own = own.ok_or_else(|| unsupported_use("the transformed axis must have a constant size").help("fix it with --dim"))?;
            if back { 2 * (own - 1) } else { own }
        }
    };
    if !(1..=1 << 20).contains(&n) {
        return Err(operand(format!("a transform of {n} elements")));
    }
    let real = match x.shape().last().and_then(Dim::as_const) {
        Some(1) => true,
        Some(2) => false,
        _ => return Err(operand(format!("the last axis of {} must have 1 or 2 elements", x.ty))),
    };
    let dtype = wide(x.dtype());
    // The axis last, all others flat.
    let v = c.convert(&x, dtype)?;
    let mut perm: Vec<usize> = (0..rank - 1).filter(|k| *k != axis).collect();
    perm.push(axis);
    let lead: Vec<Dim> = perm.iter().take(rank - 2).filter_map(|k| x.shape().get(*k).cloned()).collect();
    let prepare = |c: &mut Call, k: i64| -> Got<Val> {
        let v = c.last(&v, k)?;
        let v = c.transpose(&v, perm.clone())?;
        let m = x.shape().get(axis).cloned().unwrap_or(Dim::ONE);
        c.reshape(&v, vec![Dim::product(&lead), m])
    };
    let half = n / 2 + 1;
    let z = Complex { re: prepare(c, 0)?, im: if real { None } else { Some(prepare(c, 1)?) } };
    let z = each(c, &z, |c, v| fitted(c, v, if back { half } else { n }))?;
    let y = if back {
        vec![half_complex(c, &z, n)?]
    } else {
        let bins = if onesided { half } else { n };
        let y = transform(c, &z, n, bins, if inverse { 1.0 } else { -1.0 })?;
        let zero = c.times(&y.re, 0.0)?;
        let y = [y.re, y.im.unwrap_or(zero)];
        let scale = if inverse { 1.0 / n as f64 } else { 1.0 };
        if inverse { y.iter().map(|v| c.times(v, scale)).collect::<Got<Vec<_>>>()? } else { y.to_vec() }
    };
    let bins = y.first().and_then(|v| v.shape().last().cloned()).unwrap_or(Dim::ONE);
    let mut back_perm: Vec<usize> = (0..rank - 2).collect();
    back_perm.insert(axis, rank - 2);
    let mut parts = vec![];
    for v in &y {
        let v = c.reshape(v, lead.iter().cloned().chain([bins.clone()]).collect())?;
        parts.push(c.transpose(&v, back_perm.clone())?);
    }
    let parts: Vec<&Val> = parts.iter().collect();
    let y = c.stack_last(&parts)?;
    Ok(vec![c.convert(&y, x.dtype())?])
}

/// The real signal of `n` elements whose first half of frequencies is given; the other half mirrors it.
fn half_complex(c: &mut Call, z: &Complex, n: i64) -> Got<Val> {
    let half = n / 2 + 1;
    let mirrored = n - half;
    let batch = z.re.shape().first().cloned().unwrap_or(Dim::ONE);
    let whole = |c: &mut Call, v: &Val, sign: f64| -> Got<Val> {
        if mirrored < 1 {
            return c.part(v, 1, Dim::ZERO, Dim::from(n));
        }
        let op = Op::Slice { starts: vec![Dim::ZERO, Dim::from(mirrored)], steps: vec![1, -1] };
        let back = c.emit(op, &[v], v.dtype(), vec![batch.clone(), Dim::from(mirrored)])?;
        let back = if sign < 0.0 { c.times(&back, sign)? } else { back };
        c.concat(&[v, &back], 1)
    };
    let re = whole(c, &z.re, 1.0)?;
    let im = z.im.as_ref().map(|v| whole(c, v, -1.0)).transpose()?;
    let y = transform(c, &Complex { re, im }, n, n, 1.0)?;
    c.times(&y.re, 1.0 / n as f64)
}

pub fn stft(c: &mut Call) -> Out {
    let (x, step) = (c.input(0)?, c.input(1)?);
    if !x.dtype().is_float() {
        return Err(operand(format!("needs floats, is {}", x.ty)));
    }
    let step = only(&c.const_ints(&step, "the step")?, "the step")?;
    let window = c.opt(2);
    let own = window.as_ref().and_then(|w| w.shape().first().and_then(Dim::as_const));
    let length = match c.opt(3) {
        Some(v) => only(&c.const_ints(&v, "the frame length")?, "the frame length")?,
        None => own
            .or_else(|| x.shape().get(1).and_then(Dim::as_const))
            .ok_or_else(|| unsupported_use("neither a window nor a frame length is given"))?,
    };
    if step < 1 || !(1..=1 << 20).contains(&length) || own.is_some_and(|n| n != length) {
        return Err(operand(format!("frames of {length} elements every {step} do not fit a window of {own:?}")));
    }
    let onesided = c.attrs.flag("onesided", true)?;
    let (batch, size, real) = match x.shape() {
        [b, n] => (b.clone(), n.clone(), true),
        [b, n, one] => (b.clone(), n.clone(), one.is(1)),
        _ => return Err(operand(format!("needs [batch, length, 1 or 2], is {}", x.ty))),
    };
    let dtype = wide(x.dtype());
    let frames = c.build.dims.simplify(&((&size - length).floordiv(&Dim::from(step)) + 1));
    let first = c.positions(&frames, DType::I64, 0, 2)?;
    let first = c.times(&first, step as f64)?;
    let within = c.positions(&Dim::from(length), DType::I64, 1, 2)?;
    let at = c.add(&first, &within)?;
    let window = match window {
        Some(w) => Some(c.convert(&w, dtype)?),
        None => None,
    };
    let frame = |c: &mut Call, k: i64| -> Got<Val> {
        let v = if x.rank() == 3 { c.last(&x, k)? } else { x.clone() };
        let v = c.convert(&v, dtype)?;
        let v = c.emit(Op::Gather { axis: 1 }, &[&v, &at], dtype, vec![batch.clone(), frames.clone(), Dim::from(length)])?;
        let v = match &window {
            Some(w) => c.mul(&v, w)?,
            None => v,
        };
        c.reshape(&v, vec![&batch * &frames, Dim::from(length)])
    };
    let z = Complex { re: frame(c, 0)?, im: if real { None } else { Some(frame(c, 1)?) } };
    let bins = if onesided { length / 2 + 1 } else { length };
    let y = transform(c, &z, length, bins, -1.0)?;
    let zero = c.times(&y.re, 0.0)?;
    let y = c.stack_last(&[&y.re, y.im.as_ref().unwrap_or(&zero)])?;
    let y = c.reshape(&y, vec![batch, frames, Dim::from(bins), Dim::from(2)])?;
    Ok(vec![c.convert(&y, x.dtype())?])
}

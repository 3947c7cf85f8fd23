//! Arithmetic on tensors whose elements are known: sizes as dims, literals as numbers. `None` means "not known", never "wrong":
//! the caller then emits the operation for run time.

use super::dims::Dims;
use super::value::{Elem, MAX_KNOWN, Val};
use odc_ir::core::{DType, Dim, Ranges, Scalar, TensorType};
use odc_ir::graph::{BinaryFn, UnaryFn};

/// One element of each operand, in numpy's broadcasting order.
fn zip(shape: &[i64], operands: &[&Val], f: impl Fn(&[&Elem]) -> Option<Elem>) -> Option<Vec<Elem>> {
    let count = odc_ir::core::element_count(shape).filter(|n| *n <= MAX_KNOWN)?;
    let mut out = Vec::with_capacity(count);
    for k in 0..count {
        let row: Option<Vec<&Elem>> =
            operands.iter().map(|v| v.known.as_ref()?.get(source_index(k, shape, &v.ty.static_shape()?)?)).collect();
        out.push(f(&row?)?);
    }
    Some(out)
}

/// Where element `k` of `shape` comes from in an operand that broadcasts to it.
pub fn source_index(k: usize, shape: &[i64], operand: &[i64]) -> Option<usize> {
    let (mut rest, mut at, mut stride) = (k, 0usize, 1usize);
    for (axis, d) in shape.iter().enumerate().rev() {
        let d = usize::try_from(*d).ok()?;
        let i = rest % d.max(1);
        rest /= d.max(1);
        if let Some(own) = (axis + operand.len()).checked_sub(shape.len()).and_then(|a| operand.get(a)) {
            let own = usize::try_from(*own).ok()?;
            at += if own == 1 { 0 } else { i * stride };
            stride *= own;
        }
    }
    Some(at)
}

fn broadcast(operands: &[&Val]) -> Option<Vec<i64>> {
    let shapes = operands.iter().map(|v| v.ty.static_shape()).collect::<Option<Vec<_>>>()?;
    let rank = shapes.iter().map(Vec::len).max()?;
    let mut out = vec![1i64; rank];
    for s in &shapes {
        for (o, d) in out.iter_mut().skip(rank - s.len()).zip(s) {
            match (*o, *d) {
                (1, d) => *o = d,
                (_, 1) => {}
                (a, b) if a == b => {}
                _ => return None,
            }
        }
    }
    Some(out)
}

fn build(dtype: DType, shape: &[i64], elems: Vec<Elem>) -> Option<Val> {
    let elems = elems.into_iter().map(|e| fit(e, dtype)).collect::<Option<Vec<_>>>()?;
    Some(Val::known(TensorType::of(dtype, shape), elems))
}

/// Rounds or refuses an element so that it is one of its type.
fn fit(e: Elem, dtype: DType) -> Option<Elem> {
    Some(match e {
        Elem::Int(d) if d.is_poison() || dtype.is_float() => return None,
        Elem::Int(d) => match d.as_const() {
            Some(c) if dtype != DType::Bool && Scalar::Int(c).wrap(dtype) != Scalar::Int(c) => return None,
            _ => Elem::Int(d),
        },
        Elem::Float(x) if dtype.is_float() => Elem::Float(Scalar::Float(x).wrap(dtype).as_f64()),
        Elem::Ratio(d, by) if dtype.is_float() && !d.is_poison() => match d.as_const() {
            Some(c) => Elem::Float(Scalar::Float(c as f64 / by as f64).wrap(dtype).as_f64()),
            None => Elem::Ratio(d, by),
        },
        Elem::Float(_) | Elem::Ratio(..) => return None,
    })
}

pub fn unary(f: UnaryFn, x: &Val) -> Option<Val> {
    if x.dtype() == DType::Str {
        return None;
    }
    let shape = x.ty.static_shape()?;
    let elems = zip(&shape, &[x], |e| unary_elem(f, e.first()?))?;
    build(x.dtype(), &shape, elems)
}

fn unary_elem(f: UnaryFn, e: &Elem) -> Option<Elem> {
    match (f, e) {
        (UnaryFn::Neg, Elem::Int(d)) => Some(Elem::Int(-d)),
        (UnaryFn::Neg, Elem::Float(x)) => Some(Elem::Float(-x)),
        (UnaryFn::Neg, Elem::Ratio(d, by)) => Some(Elem::Ratio(-d, *by)),
        (UnaryFn::Not, e) => e.as_bool().map(|b| Elem::bool(!b)),
        (UnaryFn::Sqrt, Elem::Float(x)) => Some(Elem::Float(x.sqrt())),
        (UnaryFn::Abs, Elem::Float(x)) => Some(Elem::Float(x.abs())),
        (UnaryFn::Abs, Elem::Int(d)) => d.as_const()?.checked_abs().map(Elem::int),
        (UnaryFn::Reciprocal, Elem::Float(x)) => Some(Elem::Float(1.0 / x)),
        (UnaryFn::Floor, Elem::Float(x)) => Some(Elem::Float(x.floor())),
        (UnaryFn::Ceil, Elem::Float(x)) => Some(Elem::Float(x.ceil())),
        (UnaryFn::Floor, Elem::Ratio(d, by)) => Some(Elem::Ratio(d.floordiv(&Dim::from(*by)), 1)),
        (UnaryFn::Ceil, Elem::Ratio(d, by)) => Some(Elem::Ratio(d.ceildiv(&Dim::from(*by)), 1)),
        _ => None,
    }
}

pub fn binary(f: BinaryFn, a: &Val, b: &Val, dims: &Dims) -> Option<Val> {
    if a.dtype() == DType::Str && !matches!(f, BinaryFn::Eq | BinaryFn::Ne) {
        return None;
    }
    let shape = broadcast(&[a, b])?;
    let compare = matches!(f, BinaryFn::Eq | BinaryFn::Ne | BinaryFn::Lt | BinaryFn::Le | BinaryFn::Gt | BinaryFn::Ge);
    let elems = zip(&shape, &[a, b], |e| match e {
        [Elem::Int(x), Elem::Int(y)] => int_elem(f, x, y, dims),
        [x, y] => float_elem(f, x, y),
        _ => None,
    })?;
    build(if compare { DType::Bool } else { a.dtype() }, &shape, elems)
}

fn int_elem(f: BinaryFn, x: &Dim, y: &Dim, dims: &Dims) -> Option<Elem> {
    let r = &dims.ranges;
    let both = || x.as_const().zip(y.as_const());
    let bits = |g: fn(i64, i64) -> i64| both().map(|(a, b)| Elem::int(g(a, b)));
    Some(match f {
        BinaryFn::Add => Elem::Int(x + y),
        BinaryFn::Sub => Elem::Int(x - y),
        BinaryFn::Mul => Elem::Int(x * y),
        BinaryFn::Min => Elem::Int(r.simplify(&x.min_with(y))),
        BinaryFn::Max => Elem::Int(r.simplify(&x.max_with(y))),
        // ONNX truncates; that is floor for sizes.
        BinaryFn::Div => match both() {
            Some((a, b)) => Elem::int(a.checked_div(b)?),
            None if r.nonneg(x) && positive(r, y) => Elem::Int(r.floordiv(x, y)),
            None => return None,
        },
        BinaryFn::Mod => match both() {
            Some((a, b)) => Elem::int(a.checked_sub(odc_ir::core::checked_floordiv(a, b)?.checked_mul(b)?)?),
            None if positive(r, y) => Elem::Int(x - &(y * &r.floordiv(x, y))),
            None => return None,
        },
        BinaryFn::Rem => both().and_then(|(a, b)| a.checked_rem(b)).map(Elem::int)?,
        BinaryFn::Pow => both().and_then(|(a, b)| a.checked_pow(u32::try_from(b).ok()?)).map(Elem::int)?,
        BinaryFn::Eq => Elem::bool(equal(r, x, y)?),
        BinaryFn::Ne => Elem::bool(!equal(r, x, y)?),
        BinaryFn::Lt => Elem::bool(less(r, x, y)?),
        BinaryFn::Gt => Elem::bool(less(r, y, x)?),
        BinaryFn::Le => Elem::bool(!less(r, y, x)?),
        BinaryFn::Ge => Elem::bool(!less(r, x, y)?),
        BinaryFn::And | BinaryFn::BitAnd => bits(|a, b| a & b)?,
        BinaryFn::Or | BinaryFn::BitOr => bits(|a, b| a | b)?,
        BinaryFn::Xor | BinaryFn::BitXor => bits(|a, b| a ^ b)?,
        BinaryFn::Shl | BinaryFn::Shr | BinaryFn::Prelu => return None,
    })
}

fn positive(r: &Ranges, d: &Dim) -> bool {
    r.lt(&Dim::ZERO, d)
}
pub fn equal(r: &Ranges, x: &Dim, y: &Dim) -> Option<bool> {
    if r.simplify(x) == r.simplify(y) {
        return Some(true);
    }
    r.differ(x, y).then_some(false)
}
pub fn less(r: &Ranges, x: &Dim, y: &Dim) -> Option<bool> {
    if r.lt(x, y) { Some(true) } else { r.le(y, x).then_some(false) }
}

/// Numerator and denominator of an exact fraction.
fn as_ratio(e: &Elem) -> Option<(Dim, i64)> {
    match e {
        Elem::Ratio(d, by) => Some((d.clone(), *by)),
        Elem::Float(x) => super::build::fraction(*x),
        Elem::Int(_) => None,
    }
}

fn float_elem(f: BinaryFn, x: &Elem, y: &Elem) -> Option<Elem> {
    if let (Elem::Float(a), Elem::Float(b)) = (x, y) {
        let (a, b) = (*a, *b);
        return Some(match f {
            BinaryFn::Add => Elem::Float(a + b),
            BinaryFn::Sub => Elem::Float(a - b),
            BinaryFn::Mul => Elem::Float(a * b),
            BinaryFn::Div => Elem::Float(a / b),
            BinaryFn::Pow if b == 2.0 => Elem::Float(a * a),
            BinaryFn::Pow if b == 0.5 => Elem::Float(a.sqrt()),
            BinaryFn::Min if !a.is_nan() && !b.is_nan() => Elem::Float(a.min(b)),
            BinaryFn::Max if !a.is_nan() && !b.is_nan() => Elem::Float(a.max(b)),
            BinaryFn::Eq => Elem::bool(a == b),
            BinaryFn::Lt => Elem::bool(a < b),
            BinaryFn::Gt => Elem::bool(a > b),
            _ => return None,
        });
    }
    let ((a, p), (b, q)) = (as_ratio(x)?, as_ratio(y)?);
    let pq = p.checked_mul(q).filter(|v| *v < 1 << 40)?;
    Some(match f {
        BinaryFn::Add => Elem::Ratio(a * q + b * p, pq),
        BinaryFn::Sub => Elem::Ratio(a * q - b * p, pq),
        BinaryFn::Mul => Elem::Ratio(a * b, pq),
        BinaryFn::Div => {
            // (a/p) / (b/q) = a*q / (p*b); the divisor must be a positive number.
            let b = b.as_const().filter(|b| *b > 0)?;
            Elem::Ratio(a * q, p.checked_mul(b).filter(|v| *v < 1 << 40)?)
        }
        _ => return None,
    })
}

pub fn select(c: &Val, a: &Val, b: &Val) -> Option<Val> {
    let shape = broadcast(&[c, a, b])?;
    let elems = zip(&shape, &[c, a, b], |e| match e {
        [c, a, b] => Some(if c.as_bool()? { (*a).clone() } else { (*b).clone() }),
        _ => None,
    })?;
    build(a.dtype(), &shape, elems)
}

pub fn cast(x: &Val, to: DType, dims: &Dims) -> Option<Val> {
    // Types without arithmetic have rules of their own.
    if to.is_storage() {
        return None;
    }
    let shape = x.ty.static_shape()?;
    let elems = zip(&shape, &[x], |e| cast_elem(e.first()?, to, dims))?;
    build(to, &shape, elems)
}

fn cast_elem(e: &Elem, to: DType, dims: &Dims) -> Option<Elem> {
    if to == DType::Bool {
        return match e {
            Elem::Int(d) | Elem::Ratio(d, _) => equal(&dims.ranges, d, &Dim::ZERO).map(|zero| Elem::bool(!zero)),
            Elem::Float(x) => Some(Elem::bool(*x != 0.0)),
        };
    }
    Some(match (e, to.is_float()) {
        (Elem::Int(d), true) => match d.as_const() {
            Some(c) => Elem::Float(c as f64),
            None => Elem::Ratio(d.clone(), 1),
        },
        (Elem::Float(x), false) if x.abs() < 9e15 => Elem::int(x.trunc() as i64),
        (Elem::Float(_), false) => return None,
        (Elem::Ratio(d, by), false) if dims.ranges.nonneg(d) => Elem::Int(dims.ranges.floordiv(d, &Dim::from(*by))),
        (Elem::Ratio(..), false) => return None,
        (e, _) => e.clone(),
    })
}

/// Moves elements: element `k` of the result is element `from(k)` of the flattened operand.
pub fn rearrange(x: &Val, shape: &[i64], from: impl Fn(usize) -> Option<usize>) -> Option<Val> {
    let known = x.known.as_ref()?;
    let count = odc_ir::core::element_count(shape).filter(|n| *n <= MAX_KNOWN)?;
    let elems = (0..count).map(|k| known.get(from(k)?).cloned()).collect::<Option<Vec<_>>>()?;
    Some(Val::known(TensorType::of(x.dtype(), shape), elems))
}

pub fn expand(x: &Val, shape: &[i64]) -> Option<Val> {
    let own = x.ty.static_shape()?;
    rearrange(x, shape, |k| source_index(k, shape, &own))
}

/// Splits a flat index along `axis`: (before, at, after).
pub fn split_index(k: usize, shape: &[i64], axis: usize) -> Option<(usize, usize, usize)> {
    let inner = odc_ir::core::element_count(shape.get(axis + 1..)?)?.max(1);
    let size = usize::try_from(*shape.get(axis)?).ok()?.max(1);
    Some((k / inner / size, k / inner % size, k % inner))
}
pub fn join_index(before: usize, at: usize, after: usize, shape: &[i64], axis: usize) -> Option<usize> {
    let inner = odc_ir::core::element_count(shape.get(axis + 1..)?)?.max(1);
    let size = usize::try_from(*shape.get(axis)?).ok()?;
    (at < size).then_some((before * size + at) * inner + after)
}

/// Operands after each other along `axis`.
pub fn concat(parts: &[Val], axis: usize) -> Option<Val> {
    let first = parts.first()?;
    let shapes = parts.iter().map(|p| p.ty.static_shape()).collect::<Option<Vec<_>>>()?;
    let mut shape = shapes.first()?.clone();
    *shape.get_mut(axis)? = shapes.iter().map(|s| s.get(axis).copied()).sum::<Option<i64>>()?;
    let count = odc_ir::core::element_count(&shape).filter(|n| *n <= MAX_KNOWN)?;
    let mut elems = Vec::with_capacity(count);
    for k in 0..count {
        let (before, mut at, after) = split_index(k, &shape, axis)?;
        for (p, s) in parts.iter().zip(&shapes) {
            let size = usize::try_from(*s.get(axis)?).ok()?;
            if at < size {
                elems.push(p.known.as_ref()?.get(join_index(before, at, after, s, axis)?)?.clone());
                break;
            }
            at -= size;
        }
    }
    (elems.len() == count).then(|| Val::known(TensorType::of(first.dtype(), &shape), elems))
}

/// Sum, product, least or greatest of all elements along `axes`.
pub fn reduce(f: BinaryFn, x: &Val, axes: &[usize], keep: bool, dims: &Dims) -> Option<Val> {
    if x.dtype() == DType::Str {
        return None;
    }
    let shape = x.ty.static_shape()?;
    let kept: Vec<i64> = shape.iter().enumerate().map(|(k, d)| if axes.contains(&k) { 1 } else { *d }).collect();
    let count = odc_ir::core::element_count(&kept)?;
    let mut out: Vec<Option<Elem>> = vec![None; count];
    for (k, e) in x.known.as_ref()?.iter().enumerate() {
        let slot = out.get_mut(source_index(k, &shape, &kept)?)?;
        *slot = Some(match slot.take() {
            None => e.clone(),
            Some(acc) => match (&acc, e) {
                (Elem::Int(a), Elem::Int(b)) => int_elem(f, a, b, dims)?,
                (a, b) => float_elem(f, a, b)?,
            },
        });
    }
    let elems = out.into_iter().collect::<Option<Vec<_>>>()?;
    let shape: Vec<i64> = if keep { kept } else { shape.iter().enumerate().filter(|(k, _)| !axes.contains(k)).map(|(_, d)| *d).collect() };
    build(x.dtype(), &shape, elems)
}

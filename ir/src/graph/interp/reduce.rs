//! Reductions over axes, positions of extremes, running sums.

use super::super::ops::{ArgFn, ReduceFn};
use super::{Cx, fail, found};
use crate::core::{Binary, DType, InterpError, Scalar, TensorValue, indices};

/// The elements of `x` that result index `i` stands for, in row-major order of the reduced axes.
fn group(x: &TensorValue, axes: &[usize], keep: bool, i: &[usize]) -> Result<Vec<Scalar>, InterpError> {
    let extents =
        axes.iter().map(|a| x.shape.get(*a).copied()).collect::<Option<Vec<_>>>().ok_or_else(|| fail("an axis is out of range"))?;
    indices(&extents)
        .map(|r| {
            let mut outer = i.iter();
            let mut full = vec![0; x.rank()];
            for (k, slot) in full.iter_mut().enumerate() {
                match axes.iter().position(|a| *a == k) {
                    Some(p) => {
                        *slot = r.get(p).copied().unwrap_or(0);
                        if keep {
                            outer.next();
                        }
                    }
                    None => *slot = outer.next().copied().unwrap_or(0),
                }
            }
            found(x.get(&full))
        })
        .collect()
}

pub fn reduce(cx: &Cx, f: ReduceFn, axes: &[usize], keep: bool) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    cx.build(|i| Ok(fold(f, x.dtype, &group(x, axes, keep, i)?)))
}

fn fold(f: ReduceFn, dt: DType, xs: &[Scalar]) -> Scalar {
    let floats = || xs.iter().map(|x| x.as_f64());
    let ints = || xs.iter().map(|x| x.as_i64());
    let extreme = |pick: Binary, empty: f64| {
        xs.iter().copied().reduce(|a, b| pick.eval(dt, a, b)).unwrap_or(Scalar::Float(empty).cast(DType::F64, dt))
    };
    match f {
        ReduceFn::Max if dt == DType::Bool => Scalar::Bool(xs.iter().any(|x| x.as_bool())),
        ReduceFn::Min if dt == DType::Bool => Scalar::Bool(xs.iter().all(|x| x.as_bool())),
        ReduceFn::Max => extreme(Binary::Max, f64::NEG_INFINITY),
        ReduceFn::Min => extreme(Binary::Min, f64::INFINITY),
        ReduceFn::Sum if !dt.is_float() => Scalar::Int(ints().fold(0, i64::wrapping_add)),
        ReduceFn::Prod if !dt.is_float() => Scalar::Int(ints().fold(1, i64::wrapping_mul)),
        ReduceFn::SumSquare if !dt.is_float() => Scalar::Int(ints().fold(0, |s, x| s.wrapping_add(x.wrapping_mul(x)))),
        ReduceFn::L1 if !dt.is_float() => Scalar::Int(ints().fold(0, |s, x| s.wrapping_add(x.wrapping_abs()))),
        ReduceFn::Mean if !dt.is_float() => {
            let sum = ints().fold(0, i64::wrapping_add);
            Scalar::Int(sum.checked_div(xs.len() as i64).unwrap_or(0))
        }
        ReduceFn::Sum => Scalar::Float(floats().sum()),
        ReduceFn::Mean => Scalar::Float(floats().sum::<f64>() / xs.len() as f64),
        ReduceFn::Prod => Scalar::Float(floats().product()),
        ReduceFn::SumSquare => Scalar::Float(floats().map(|x| x * x).sum()),
        ReduceFn::L1 => Scalar::Float(floats().map(f64::abs).sum()),
        ReduceFn::L2 => Scalar::Float(floats().map(|x| x * x).sum::<f64>().sqrt()),
        ReduceFn::LogSum => Scalar::Float(floats().sum::<f64>().ln()),
        ReduceFn::LogSumExp => {
            let max = floats().fold(f64::NEG_INFINITY, f64::max);
            let shift = if max.is_finite() { max } else { 0.0 };
            Scalar::Float(floats().map(|x| (x - shift).exp()).sum::<f64>().ln() + shift)
        }
    }
}

pub fn arg_reduce(cx: &Cx, f: ArgFn, axis: usize, keep: bool, last: bool) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    let better = match (f, last) {
        (ArgFn::Max, false) => Binary::Gt,
        (ArgFn::Max, true) => Binary::Ge,
        (ArgFn::Min, false) => Binary::Lt,
        (ArgFn::Min, true) => Binary::Le,
    };
    cx.build(|i| {
        let xs = group(x, &[axis], keep, i)?;
        let mut best: Option<(usize, Scalar)> = None;
        for (k, e) in xs.into_iter().enumerate() {
            if best.is_none_or(|(_, b)| better.eval(x.dtype, e, b).as_bool()) {
                best = Some((k, e));
            }
        }
        let (k, _) = best.ok_or_else(|| fail("an empty axis has no extreme"))?;
        Ok(Scalar::Int(k as i64))
    })
}

pub fn cum_sum(cx: &Cx, axis: usize, exclusive: bool, reverse: bool) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    let n = x.shape.get(axis).copied().ok_or_else(|| fail("the axis is out of range"))?;
    cx.build(|i| {
        let here = i.get(axis).copied().unwrap_or(0);
        let (mut float, mut int) = (0.0, 0i64);
        for k in 0..n {
            let counts = match (reverse, exclusive) {
                (false, false) => k <= here,
                (false, true) => k < here,
                (true, false) => k >= here,
                (true, true) => k > here,
            };
            if counts {
                let mut at = i.to_vec();
                if let Some(a) = at.get_mut(axis) {
                    *a = k;
                }
                let e = found(x.get(&at))?;
                float += e.as_f64();
                int = int.wrapping_add(e.as_i64());
            }
        }
        Ok(if x.dtype.is_float() { Scalar::Float(float) } else { Scalar::Int(int) })
    })
}

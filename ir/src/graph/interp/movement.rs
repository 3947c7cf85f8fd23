//! Ops that move elements, and those that make them from sizes or steps.

use super::super::ops::PadMode;
use super::{Cx, fail, found};
use crate::core::{Dim, InterpError, Scalar, TensorValue};

pub fn dims(cx: &Cx, values: &[Dim]) -> Result<TensorValue, InterpError> {
    let data = values.iter().map(|d| Ok(Scalar::Int(cx.binding.eval(d)?).wrap(cx.dtype))).collect::<Result<_, InterpError>>()?;
    TensorValue::new(cx.dtype, cx.shape.to_vec(), data)
}

pub fn transpose(cx: &Cx, perm: &[usize]) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    cx.build(|i| {
        let mut at = vec![0; x.rank()];
        for (p, v) in perm.iter().zip(i) {
            if let Some(slot) = at.get_mut(*p) {
                *slot = *v;
            }
        }
        found(x.get(&at))
    })
}

pub fn expand(cx: &Cx) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    cx.build(|i| found(x.broadcast(i)))
}

pub fn slice(cx: &Cx, starts: &[Dim], steps: &[i64]) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    let starts = starts.iter().map(|d| cx.binding.eval(d)).collect::<Result<Vec<_>, _>>()?;
    cx.build(|i| {
        let at = i
            .iter()
            .zip(starts.iter().zip(steps))
            .map(|(i, (start, step))| usize::try_from(step.checked_mul(*i as i64)?.checked_add(*start)?).ok());
        found(at.collect::<Option<Vec<_>>>().and_then(|at| x.get(&at)))
    })
}

pub fn concat(cx: &Cx, axis: usize) -> Result<TensorValue, InterpError> {
    cx.build(|i| {
        let mut at = i.to_vec();
        for x in cx.x {
            let size = x.shape.get(axis).copied().unwrap_or(0);
            match at.get_mut(axis) {
                Some(k) if *k >= size => *k -= size,
                _ => return found(x.get(&at)),
            }
        }
        found(None)
    })
}

/// The coordinate that a padded coordinate copies; `None` for one that takes the padding value.
fn source(mode: PadMode, at: i64, size: i64) -> Option<i64> {
    if (0..size).contains(&at) {
        return Some(at);
    }
    match mode {
        PadMode::Constant => None,
        PadMode::Edge => Some(at.clamp(0, size - 1)),
        PadMode::Wrap => at.checked_rem_euclid(size),
        PadMode::Reflect => {
            // The edges are not repeated; going there and back takes `2 * (size - 1)` steps.
            let there = size - 1;
            let k = at.checked_rem_euclid(2 * there).unwrap_or(0);
            Some(if k > there { 2 * there - k } else { k })
        }
    }
}

pub fn pad(cx: &Cx, mode: PadMode, before: &[Dim]) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    let before = before.iter().map(|d| cx.binding.eval(d)).collect::<Result<Vec<_>, _>>()?;
    let value = match cx.x.get(1) {
        Some(v) => found(v.data.first().copied())?,
        None => Scalar::Int(0).wrap(cx.dtype),
    };
    cx.build(|i| {
        let mut at = Vec::with_capacity(i.len());
        for (i, (b, d)) in i.iter().zip(before.iter().zip(&x.shape)) {
            match source(mode, (*i as i64).saturating_sub(*b), *d as i64) {
                Some(k) => at.push(usize::try_from(k).map_err(|_| fail("an empty axis has nothing to copy"))?),
                None => return Ok(value),
            }
        }
        found(x.get(&at))
    })
}

pub fn tile(cx: &Cx) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    cx.build(|i| {
        let at: Option<Vec<usize>> = i.iter().zip(&x.shape).map(|(i, d)| i.checked_rem(*d)).collect();
        found(at.and_then(|at| x.get(&at)))
    })
}

pub fn range(cx: &Cx) -> Result<TensorValue, InterpError> {
    let (start, step) = (found(cx.operand(0)?.get(&[]))?, found(cx.operand(1)?.get(&[]))?);
    cx.build(|i| {
        let k = i.first().copied().unwrap_or(0) as i64;
        Ok(if cx.dtype.is_float() {
            Scalar::Float(start.as_f64() + k as f64 * step.as_f64())
        } else {
            Scalar::Int(start.as_i64().wrapping_add(k.wrapping_mul(step.as_i64())))
        })
    })
}

pub fn trilu(cx: &Cx, upper: bool, k: i64) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    cx.build(|i| {
        let [.., row, column] = i else { return found(None) };
        let diagonal = *column as i64 - *row as i64;
        let keep = if upper { diagonal >= k } else { diagonal <= k };
        if keep { found(x.get(i)) } else { Ok(Scalar::Int(0)) }
    })
}

//! Softmax and normalisations: statistics over a group of elements, applied to each of them.

use super::{Cx, fail, found};
use crate::core::{InterpError, Scalar, TensorValue, indices};

/// Mean and variance (of the population).
fn moments(xs: &[f64]) -> (f64, f64) {
    let n = xs.len() as f64;
    let mean = xs.iter().sum::<f64>() / n;
    (mean, xs.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n)
}

/// One shift and one factor per element's group: `(x - shift) * factor`, then what `finish` makes of it at its index.
fn normalise(
    cx: &Cx,
    group: usize,
    statistics: impl Fn(&[f64]) -> (f64, f64),
    finish: impl Fn(&[usize], f64) -> Result<f64, InterpError>,
) -> Result<TensorValue, InterpError> {
    let xs = cx.operand(0)?.to_f64();
    let mut out = Vec::with_capacity(xs.len());
    let mut at = indices(cx.shape);
    for g in xs.chunks(group.max(1)) {
        let (shift, factor) = statistics(g);
        for x in g {
            let i = at.next().ok_or_else(|| fail("the shapes do not fit"))?;
            out.push(Scalar::Float(finish(&i, (x - shift) * factor)?).wrap(cx.dtype));
        }
    }
    TensorValue::new(cx.dtype, cx.shape.to_vec(), out)
}

/// Elements in the axes from `axis` on.
fn tail(shape: &[usize], axis: usize) -> usize {
    shape.iter().skip(axis).product()
}

pub fn softmax(cx: &Cx, axis: usize, log: bool) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    let n = x.shape.get(axis).copied().ok_or_else(|| fail("the axis is out of range"))?;
    cx.build(|i| {
        let mut at = i.to_vec();
        let mut row = Vec::with_capacity(n);
        for k in 0..n {
            if let Some(a) = at.get_mut(axis) {
                *a = k;
            }
            row.push(found(x.get(&at))?.as_f64());
        }
        let here = found(x.get(i))?.as_f64();
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
        Ok(Scalar::Float(if log { here - max - sum.ln() } else { (here - max).exp() / sum }))
    })
}

pub fn layer_norm(cx: &Cx, axis: usize, epsilon: f64) -> Result<TensorValue, InterpError> {
    let scale = cx.operand(1)?;
    let statistics = |g: &[f64]| {
        let (mean, variance) = moments(g);
        (mean, 1.0 / (variance + epsilon).sqrt())
    };
    normalise(cx, tail(cx.shape, axis), statistics, |i, x| {
        let shift = match cx.x.get(2) {
            Some(b) => found(b.broadcast(i))?.as_f64(),
            None => 0.0,
        };
        Ok(x * found(scale.broadcast(i))?.as_f64() + shift)
    })
}

pub fn rms_norm(cx: &Cx, axis: usize, epsilon: f64) -> Result<TensorValue, InterpError> {
    let scale = cx.operand(1)?;
    let statistics = |g: &[f64]| (0.0, 1.0 / (g.iter().map(|x| x * x).sum::<f64>() / g.len() as f64 + epsilon).sqrt());
    normalise(cx, tail(cx.shape, axis), statistics, |i, x| Ok(x * found(scale.broadcast(i))?.as_f64()))
}

/// Parameter `k`'s value for the channel of index `i`.
fn channel(cx: &Cx, k: usize, i: &[usize]) -> Result<f64, InterpError> {
    let c = i.get(1).copied().ok_or_else(|| fail("takes [n, c, …]"))?;
    Ok(found(cx.operand(k)?.get(&[c]))?.as_f64())
}

pub fn group_norm(cx: &Cx, groups: i64, epsilon: f64) -> Result<TensorValue, InterpError> {
    let channels = cx.shape.get(1).copied().unwrap_or(0);
    let groups = if groups == 0 { channels } else { usize::try_from(groups).unwrap_or(0) };
    let per_group = tail(cx.shape, 1).checked_div(groups).unwrap_or(0);
    let statistics = |g: &[f64]| {
        let (mean, variance) = moments(g);
        (mean, 1.0 / (variance + epsilon).sqrt())
    };
    normalise(cx, per_group, statistics, |i, x| Ok(x * channel(cx, 1, i)? + channel(cx, 2, i)?))
}

pub fn batch_norm(cx: &Cx, epsilon: f64) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    cx.build(|i| {
        let (scale, bias, mean, variance) = (channel(cx, 1, i)?, channel(cx, 2, i)?, channel(cx, 3, i)?, channel(cx, 4, i)?);
        let x = found(x.get(i))?.as_f64();
        Ok(Scalar::Float((x - mean) / (variance + epsilon).sqrt() * scale + bias))
    })
}

//! Sliding windows: convolution, transposed convolution and pools, over any number of spatial axes.

use super::super::ops::PoolKind;
use super::linear::Sum;
use super::{Cx, fail, found};
use crate::core::{Binary, InterpError, Scalar, TensorValue, indices};

/// Stride, padding in front and dilation along each spatial axis.
struct Window<'a> {
    strides: &'a [i64],
    before: &'a [i64],
    dilations: &'a [i64],
}

impl<'a> Window<'a> {
    fn new(axes: usize, strides: &'a [i64], pads: &'a [i64], dilations: &'a [i64]) -> Result<Self, InterpError> {
        let before = pads.get(..axes).filter(|_| strides.len() == axes && dilations.len() == axes && strides.iter().all(|s| *s > 0));
        Ok(Window { strides, before: before.ok_or_else(|| fail("strides, pads and dilations do not fit the spatial axes"))?, dilations })
    }
    /// Where window position `o` with kernel element `k` lies in the unpadded input; may be outside.
    fn place(&self, o: &[usize], k: &[usize]) -> Vec<i64> {
        let steps = self.strides.iter().zip(self.before).zip(self.dilations);
        o.iter()
            .zip(k)
            .zip(steps)
            .map(|((o, k), ((s, b), d))| (*o as i64).wrapping_mul(*s).wrapping_sub(*b).wrapping_add((*k as i64).wrapping_mul(*d)))
            .collect()
    }
    /// The output position that input position `i` reaches through kernel element `k` of a transposed convolution.
    fn source(&self, o: &[usize], k: &[usize]) -> Option<Vec<usize>> {
        let steps = self.strides.iter().zip(self.before).zip(self.dilations);
        let reach = o.iter().zip(k).zip(steps).map(|((o, k), ((s, b), d))| {
            let at = (*o as i64).wrapping_add(*b).wrapping_sub((*k as i64).wrapping_mul(*d));
            if at % s == 0 { usize::try_from(at / s).ok() } else { None }
        });
        reach.collect()
    }
}

/// `(batch, channel, spatial…)` of a result index.
fn split(i: &[usize]) -> Result<(usize, usize, &[usize]), InterpError> {
    match i {
        [n, c, spatial @ ..] => Ok((*n, *c, spatial)),
        _ => Err(fail("takes [n, c, …]")),
    }
}

fn at(n: usize, c: usize, spatial: &[usize]) -> Vec<usize> {
    [&[n, c], spatial].concat()
}

fn unsigned(v: &[i64]) -> Option<Vec<usize>> {
    v.iter().map(|x| usize::try_from(*x).ok()).collect()
}

fn bias(cx: &Cx, channel: usize, sum: Sum) -> Result<Scalar, InterpError> {
    let mut sum = sum;
    if let Some(b) = cx.x.get(2) {
        sum.add(found(b.get(&[channel]))?, Scalar::Int(1));
    }
    Ok(sum.value())
}

pub fn conv(cx: &Cx, strides: &[i64], pads: &[i64], dilations: &[i64], group: i64) -> Result<TensorValue, InterpError> {
    let (x, w) = (cx.operand(0)?, cx.operand(1)?);
    let ([outs, ins, kernel @ ..], Ok(group)) = (w.shape.as_slice(), usize::try_from(group)) else {
        return Err(fail("takes weights [o, c, …] and a positive group"));
    };
    let per_group =
        outs.checked_div(group).filter(|n| *n > 0 || *outs == 0).ok_or_else(|| fail("the groups do not divide the channels"))?;
    let window = Window::new(kernel.len(), strides, pads, dilations)?;
    cx.build(|i| {
        let (n, o, spatial) = split(i)?;
        let first = o.checked_div(per_group).unwrap_or(0) * ins;
        let mut sum = Sum::new(cx.dtype.is_float());
        for k in indices(kernel) {
            let Some(place) = unsigned(&window.place(spatial, &k)) else { continue };
            for c in 0..*ins {
                // Outside is zero.
                let Some(e) = x.get(&at(n, first + c, &place)) else { break };
                sum.add(e, found(w.get(&at(o, c, &k)))?);
            }
        }
        bias(cx, o, sum)
    })
}

pub fn conv_transpose(cx: &Cx, strides: &[i64], pads: &[i64], dilations: &[i64], group: i64) -> Result<TensorValue, InterpError> {
    let (x, w) = (cx.operand(0)?, cx.operand(1)?);
    let ([ins, outs, kernel @ ..], Ok(group)) = (w.shape.as_slice(), usize::try_from(group)) else {
        return Err(fail("takes weights [c, o, …] and a positive group"));
    };
    let per_group = ins.checked_div(group).ok_or_else(|| fail("the groups do not divide the channels"))?;
    let window = Window::new(kernel.len(), strides, pads, dilations)?;
    cx.build(|i| {
        let (n, o, spatial) = split(i)?;
        let g = o.checked_div(*outs).unwrap_or(0);
        let mut sum = Sum::new(cx.dtype.is_float());
        for k in indices(kernel) {
            let Some(place) = window.source(spatial, &k) else { continue };
            for c in g * per_group..(g + 1) * per_group {
                let Some(e) = x.get(&at(n, c, &place)) else { break };
                sum.add(e, found(w.get(&at(c, o % outs.max(&1), &k)))?);
            }
        }
        bias(cx, o, sum)
    })
}

pub fn pool(
    cx: &Cx,
    kind: PoolKind,
    kernel: &[i64],
    strides: &[i64],
    pads: &[i64],
    dilations: &[i64],
    count_include_pad: bool,
) -> Result<TensorValue, InterpError> {
    let x = cx.operand(0)?;
    let window = Window::new(kernel.len(), strides, pads, dilations)?;
    let taps = unsigned(kernel).ok_or_else(|| fail("the kernel is negative"))?;
    let sizes = x.shape.get(2..).unwrap_or(&[]);
    // The padded input ends here; what ceil mode reaches beyond counts neither as element nor as padding.
    let padded: Vec<i64> = sizes.iter().zip(pads.get(kernel.len()..).unwrap_or(&[])).map(|(d, p)| (*d as i64).saturating_add(*p)).collect();
    cx.build(|i| {
        let (n, c, spatial) = split(i)?;
        let (mut best, mut sum, mut count) = (None::<Scalar>, Sum::new(x.dtype.is_float()), 0i64);
        let mut found_at = 0;
        for k in indices(&taps) {
            let place = window.place(spatial, &k);
            match unsigned(&place).and_then(|p| x.get(&at(n, c, &p))) {
                Some(e) => {
                    if best.is_none_or(|b| Binary::Gt.eval(x.dtype, e, b).as_bool()) {
                        found_at = place.iter().zip(sizes).fold(0, |at: i64, (p, d)| at.wrapping_mul(*d as i64).wrapping_add(*p));
                    }
                    best = Some(best.map_or(e, |b| Binary::Max.eval(x.dtype, b, e)));
                    sum.add(e, Scalar::Int(1));
                    count += 1;
                }
                None if count_include_pad && place.iter().zip(&padded).all(|(p, end)| p < end) => count += 1,
                None => {}
            }
        }
        Ok(match (kind, sum) {
            (PoolKind::Max, _) => best.unwrap_or(Scalar::Float(f64::NEG_INFINITY)),
            (PoolKind::ArgMax, _) => Scalar::Int(found_at),
            (PoolKind::Sum, sum) => sum.value(),
            (PoolKind::Average, Sum::Float(s)) => Scalar::Float(s / count as f64),
            (PoolKind::Average, Sum::Int(s)) => Scalar::Int(s.checked_div(count).unwrap_or(0)),
        })
    })
}

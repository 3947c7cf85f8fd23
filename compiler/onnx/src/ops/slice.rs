//! Slice and Split: parts of a tensor, with ends that may be sizes.

use crate::attrs::bad;
use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::dims::Dims;
use crate::import::known;
use crate::import::value::Val;
use odc_ir::core::Dim;
use odc_ir::graph::{Op, PadMode};

/// Exporters write "to the end" as the largest number they have.
const FAR: i64 = i32::MAX as i64;

pub fn slice(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let (starts, ends, axes, steps) = if c.opset < 10 {
        let list = |name: &str| -> Got<Vec<Dim>> {
            let v = c.attrs.ints(name)?.ok_or_else(|| bad(name, "is required"))?;
            Ok(v.iter().map(|v| Dim::from(*v)).collect())
        };
        (list("starts")?, list("ends")?, c.attrs.ints("axes")?.map(<[i64]>::to_vec), None)
    } else {
        let (starts, ends) = (c.input(1)?, c.input(2)?);
        let axes = c.opt(3).map(|v| c.const_ints(&v, "axes")).transpose()?;
        let steps = c.opt(4).map(|v| c.const_ints(&v, "steps")).transpose()?;
        (c.sizes(&starts, "starts")?, c.sizes(&ends, "ends")?, axes, steps)
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(operand("starts, ends, axes and steps must be of one length"));
    }
    let axes = c.axes(&axes, x.rank())?;
    let mut from = vec![Dim::ZERO; x.rank()];
    let mut by = vec![1i64; x.rank()];
    let mut shape = x.shape().to_vec();
    for (((axis, start), end), step) in axes.into_iter().zip(starts).zip(ends).zip(steps) {
        let (Some(size), Some(f), Some(b)) = (shape.get_mut(axis), from.get_mut(axis), by.get_mut(axis)) else { continue };
        let (first, length) = bounds(c, size, &start, &end, step)?;
        *size = length;
        *f = first;
        *b = step;
    }
    part(c, &x, from, by, shape)
}

/// First index and count along one axis.
fn bounds(c: &mut Call, size: &Dim, start: &Dim, end: &Dim, step: i64) -> Got<(Dim, Dim)> {
    let dims = &mut c.build.dims;
    // No axis is that long, and rounding up must not overflow.
    let step = step.clamp(-FAR, FAR);
    if step == 0 {
        return Err(operand("a step is 0"));
    }
    let clamp = |dims: &Dims, d: &Dim, lo: &Dim, hi: &Dim| dims.simplify(&dims.simplify(&d.min_with(hi)).max_with(lo));
    let last = size - 1;
    let minus = Dim::from(-1);
    // Where an index may lie: the end of a backward slice may be one before the first element.
    let (lo_start, hi_start, lo_end, hi_end) =
        if step > 0 { (Dim::ZERO, size.clone(), Dim::ZERO, size.clone()) } else { (Dim::ZERO, last.clone(), minus, last) };
    let mut place = |d: &Dim, lo: &Dim, hi: &Dim| match d.as_const() {
        Some(v) if v >= FAR => hi.clone(),
        Some(v) if v <= -FAR => lo.clone(),
        Some(v) if v < 0 => clamp(dims, &(size + v), lo, hi),
        Some(_) => clamp(dims, d, lo, hi),
        None if dims.ranges.lt(d, &Dim::ZERO) => clamp(dims, &(size + d), lo, hi),
        None => {
            if !dims.ranges.nonneg(d) {
                let f = Fault::new(Code::Undecided, format!("a bound of {d} may count from the front or from the end"));
                dims.doubts.push(f.help("bound the dims with --dim, for example N=1..128"));
            }
            clamp(dims, d, lo, hi)
        }
    };
    let first = place(start, &lo_start, &hi_start);
    let end = place(end, &lo_end, &hi_end);
    let length = (end - &first).ceildiv(&Dim::from(step));
    Ok((first, dims.simplify(&length.max_with(&Dim::ZERO))))
}

fn part(c: &mut Call, x: &Val, starts: Vec<Dim>, steps: Vec<i64>, shape: Vec<Dim>) -> Out {
    if shape == x.shape() && steps.iter().all(|s| *s == 1) {
        return Ok(vec![x.clone()]);
    }
    let fixed: Option<(Vec<i64>, Vec<i64>, Vec<i64>)> = (|| {
        let own = x.ty.static_shape()?;
        let starts = starts.iter().map(Dim::as_const).collect::<Option<_>>()?;
        Some((own, starts, shape.iter().map(Dim::as_const).collect::<Option<_>>()?))
    })();
    let moved = fixed.and_then(|(own, starts, shape)| {
        known::rearrange(x, &shape, |k| {
            let (mut rest, mut at, mut stride) = (k as i64, 0i64, 1i64);
            for axis in (0..own.len()).rev() {
                let (d, o) = ((*shape.get(axis)?).max(1), *own.get(axis)?);
                at += (starts.get(axis)? + rest % d * steps.get(axis)?) * stride;
                rest /= d;
                stride *= o;
            }
            usize::try_from(at).ok()
        })
    });
    match moved {
        Some(v) => Ok(vec![v]),
        None => Ok(vec![c.emit(Op::Slice { starts, steps }, &[x], x.dtype(), shape)?]),
    }
}

pub fn split(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let axis = c.axis(c.attrs.int_or("axis", 0)?, x.rank())?;
    let size = x.shape().get(axis).cloned().unwrap_or(Dim::ONE);
    let n = c.node.output.len();
    let given = if c.opset < 13 {
        c.attrs.ints("split")?.map(|v| v.iter().map(|v| Dim::from(*v)).collect::<Vec<_>>())
    } else {
        c.opt(1).map(|v| c.sizes(&v, "the lengths of the parts")).transpose()?
    };
    let lengths = match given {
        Some(lengths) => {
            let total = lengths.iter().fold(Dim::ZERO, |a, b| a + b);
            if lengths.len() != n || lengths.iter().any(|d| d.as_const().is_some_and(|c| c < 0)) {
                return Err(operand(format!("{} lengths for {n} outputs", lengths.len())));
            }
            c.equal(&total, &size, "the parts and the whole")?;
            lengths
        }
        None => {
            let count = c.attrs.int_or("num_outputs", n as i64)?;
            if count != n as i64 || n == 0 {
                return Err(bad("num_outputs", format!("is {count}, but there are {n} outputs")));
            }
            let even = size.ceildiv(&Dim::from(count));
            let last = &size - &even * (count - 1);
            if c.opset < 18 {
                c.equal(&even, &last, "equal parts")?;
            } else if !c.build.dims.ranges.nonneg(&last) {
                return Err(unsupported_use(format!("splitting {size} into {n} parts may leave some without elements")));
            }
            (0..n).map(|k| if k + 1 == n { last.clone() } else { even.clone() }).collect()
        }
    };
    let mut at = Dim::ZERO;
    let mut out = vec![];
    for length in lengths {
        let mut starts = vec![Dim::ZERO; x.rank()];
        let mut shape = x.shape().to_vec();
        if let (Some(s), Some(d)) = (starts.get_mut(axis), shape.get_mut(axis)) {
            *s = at.clone();
            *d = length.clone();
        }
        out.extend(part(c, &x, starts, vec![1; x.rank()], shape)?);
        at = at + length;
    }
    Ok(out)
}

/// Each axis cropped or filled with zeros about its centre.
pub fn center_crop_pad(c: &mut Call) -> Out {
    let (x, target) = (c.input(0)?, c.input(1)?);
    let target = c.sizes(&target, "the shape")?;
    let axes = match c.attrs.ints("axes")? {
        Some(list) => c.axes(list, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    if target.len() != axes.len() {
        return Err(operand(format!("{} sizes for {} axes", target.len(), axes.len())));
    }
    let mut v = x;
    for (axis, wanted) in axes.into_iter().zip(target) {
        let size = v.shape().get(axis).cloned().unwrap_or(Dim::ONE);
        let ranges = &c.build.dims.ranges;
        if ranges.le(&wanted, &size) {
            let start = c.build.dims.simplify(&(&size - &wanted).floordiv(&Dim::from(2)));
            v = c.part(&v, axis, start, wanted)?;
        } else if ranges.le(&size, &wanted) {
            let mut before = vec![Dim::ZERO; v.rank()];
            let mut shape = v.shape().to_vec();
            if let (Some(b), Some(s)) = (before.get_mut(axis), shape.get_mut(axis)) {
                *b = c.build.dims.simplify(&(&wanted - &size).floordiv(&Dim::from(2)));
                *s = wanted;
            }
            v = c.emit(Op::Pad { mode: PadMode::Constant, before }, &[&v], v.dtype(), shape)?;
        } else {
            let f = unsupported_use(format!("whether {size} is cropped or filled to {wanted} depends on sizes"));
            return Err(f.help("bound the dims with --dim"));
        }
    }
    Ok(vec![v])
}

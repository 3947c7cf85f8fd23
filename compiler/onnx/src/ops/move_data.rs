//! Operators that put elements elsewhere by rule: Concat, Pad, Tile, DepthToSpace.

use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand};
use crate::import::known;
use crate::import::value::Val;
use odc_ir::core::Dim;
use odc_ir::graph::{Op, PadMode};

pub fn concat(c: &mut Call) -> Out {
    let mut parts = (0..c.inputs.len()).map(|k| c.input(k)).collect::<Got<Vec<Val>>>()?;
    let first = c.input(0)?;
    let axis = if c.opset < 4 { c.attrs.int_or("axis", 1)? } else { c.attrs.required_int("axis")? };
    let axis = c.axis(axis, first.rank())?;
    for p in &parts {
        c.same_dtype(&first, p)?;
        if p.rank() != first.rank() {
            return Err(operand(format!("{} and {} have different ranks", first.ty, p.ty)));
        }
    }
    let mut shape = first.shape().to_vec();
    for p in parts.iter().skip(1) {
        for (k, (s, d)) in shape.iter_mut().zip(p.shape()).enumerate() {
            *s = if k == axis { &*s + d } else { c.build.dims.unify(s, d, &format!("sizes of axis {k}"))? };
        }
    }
    if let Some(v) = known::concat(&parts, axis) {
        return Ok(vec![v]);
    }
    // Parts without elements add nothing.
    parts.retain(|p| p.shape().get(axis).is_none_or(|d| !d.is(0)));
    match parts.as_slice() {
        [] => Ok(vec![first]),
        [only] => Ok(vec![only.clone()]),
        _ => {
            let refs: Vec<&Val> = parts.iter().collect();
            Ok(vec![c.emit(Op::Concat { axis }, &refs, first.dtype(), shape)?])
        }
    }
}

pub fn pad(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let modes = [("constant", PadMode::Constant), ("reflect", PadMode::Reflect), ("edge", PadMode::Edge), ("wrap", PadMode::Wrap)];
    let mode = c.attrs.choice("mode", "constant", &modes)?;
    let (pads, fill) = if c.opset < 11 {
        let name = if c.opset < 2 { "paddings" } else { "pads" };
        let pads = c.attrs.ints(name)?.ok_or_else(|| bad(name, "is required"))?;
        let value = c.attrs.float_or("value", 0.0)?;
        (pads.iter().map(|p| Dim::from(*p)).collect(), (value != 0.0).then(|| Val::scalar(x.dtype(), f64::from(value))))
    } else {
        let pads = c.input(1)?;
        (c.sizes(&pads, "the pads")?, c.opt(2))
    };
    let axes = match c.opt(3) {
        Some(v) => c.const_ints(&v, "axes")?,
        None => (0..x.rank() as i64).collect(),
    };
    let axes = c.axes(&axes, x.rank())?;
    if pads.len() != axes.len() * 2 {
        return Err(operand(format!("{} pads for {} axes", pads.len(), axes.len())));
    }
    let mut before = vec![Dim::ZERO; x.rank()];
    let mut shape = x.shape().to_vec();
    let (begins, ends) = pads.split_at_checked(axes.len()).unwrap_or((&[], &[]));
    for ((axis, begin), end) in axes.iter().zip(begins).zip(ends) {
        if let (Some(b), Some(s)) = (before.get_mut(*axis), shape.get_mut(*axis)) {
            *b = begin.clone();
            *s = &*s + begin + end;
            if s.as_const().is_some_and(|v| v < 0) {
                return Err(operand(format!("axis {axis} would have the size {s}")));
            }
        }
    }
    if begins.iter().chain(ends).all(|p| p.is(0)) {
        return Ok(vec![x]);
    }
    let mut operands = vec![&x];
    let fill = match fill {
        Some(f) => Some(c.reshape(&f, vec![])?),
        None => None,
    };
    if let Some(f) = fill.as_ref().filter(|_| mode == PadMode::Constant) {
        c.same_dtype(&x, f)?;
        operands.push(f);
    }
    Ok(vec![c.emit(Op::Pad { mode, before }, &operands, x.dtype(), shape)?])
}

/// The oldest form of Tile repeats along one axis, both given as inputs.
fn one_axis(c: &mut Call, x: &Val) -> Got<Vec<Dim>> {
    let (times, axis) = (c.input(1)?, c.input(2)?);
    let [times, axis] = [(times, "the repeats"), (axis, "the axis")].map(|(v, what)| c.const_ints(&v, what));
    let (Some(times), Some(axis)) = (times?.first().copied(), axis?.first().copied()) else {
        return Err(operand("the repeats and the axis must be one number each"));
    };
    let mut repeats = vec![Dim::ONE; x.rank()];
    if let Some(r) = repeats.get_mut(c.axis(axis, x.rank())?) {
        *r = Dim::from(times);
    }
    Ok(repeats)
}

pub fn tile(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let repeats = if c.opset < 6 { one_axis(c, &x)? } else { c.sizes(&c.input(1)?, "the repeats")? };
    if repeats.len() != x.rank() || repeats.iter().any(|r| r.as_const().is_some_and(|r| r < 0)) {
        return Err(operand(format!("{} repeats for {}", repeats.len(), x.ty)));
    }
    let shape: Vec<Dim> = x.shape().iter().zip(&repeats).map(|(d, r)| d * r).collect();
    if repeats.iter().all(|r| r.is(1)) {
        return Ok(vec![x]);
    }
    let (own, fixed) = (x.ty.static_shape(), shape.iter().map(Dim::as_const).collect::<Option<Vec<_>>>());
    let moved = own.zip(fixed).and_then(|(own, shape)| {
        known::rearrange(&x, &shape, |k| {
            let (mut rest, mut at, mut stride) = (k as i64, 0i64, 1i64);
            for (d, o) in shape.iter().zip(&own).rev() {
                at += rest % (*d).max(1) % (*o).max(1) * stride;
                rest /= (*d).max(1);
                stride *= o;
            }
            usize::try_from(at).ok()
        })
    });
    match moved {
        Some(v) => Ok(vec![v]),
        None => Ok(vec![c.emit(Op::Tile {}, &[&x], x.dtype(), shape)?]),
    }
}

/// Axes of an image and the block size of the two block operators.
fn image(c: &Call) -> Got<(Val, [Dim; 4], i64)> {
    let x = c.input(0)?;
    let block = c.attrs.required_int("blocksize")?;
    if !(1..=1 << 16).contains(&block) {
        return Err(bad("blocksize", format!("must be a positive int, is {block}")));
    }
    match x.shape() {
        [n, ch, h, w] => {
            let dims = [n.clone(), ch.clone(), h.clone(), w.clone()];
            Ok((x, dims, block))
        }
        _ => Err(operand(format!("needs 4 axes, is {}", x.ty))),
    }
}

pub fn depth_to_space(c: &mut Call) -> Out {
    let (x, [n, ch, h, w], b) = image(c)?;
    let columns_first = c.attrs.choice("mode", "DCR", &[("DCR", false), ("CRD", true)])?;
    let out = c.build.dims.ranges.floordiv(&ch, &Dim::from(b * b));
    c.equal(&(&out * (b * b)), &ch, "channels, which must be a multiple of blocksize^2")?;
    let bd = Dim::from(b);
    let (split, perm) = if columns_first {
        (vec![n.clone(), out.clone(), bd.clone(), bd, h.clone(), w.clone()], vec![0, 1, 4, 2, 5, 3])
    } else {
        (vec![n.clone(), bd.clone(), bd, out.clone(), h.clone(), w.clone()], vec![0, 3, 4, 1, 5, 2])
    };
    let v = c.reshape(&x, split)?;
    let v = c.transpose(&v, perm)?;
    Ok(vec![c.reshape(&v, vec![n, out, h * b, w * b])?])
}

pub fn space_to_depth(c: &mut Call) -> Out {
    let (x, [n, ch, h, w], b) = image(c)?;
    let channels_first = c.attrs.choice("mode", "DCR", &[("DCR", false), ("CRD", true)])?;
    let bd = Dim::from(b);
    let (oh, ow) = (c.build.dims.ranges.floordiv(&h, &bd), c.build.dims.ranges.floordiv(&w, &bd));
    c.equal(&(&oh * b), &h, "height, which must be a multiple of blocksize")?;
    c.equal(&(&ow * b), &w, "width, which must be a multiple of blocksize")?;
    let v = c.reshape(&x, vec![n.clone(), ch.clone(), oh.clone(), bd.clone(), ow.clone(), bd])?;
    let v = c.transpose(&v, if channels_first { vec![0, 1, 3, 5, 2, 4] } else { vec![0, 3, 5, 1, 2, 4] })?;
    Ok(vec![c.reshape(&v, vec![n, ch * (b * b), oh, ow])?])
}

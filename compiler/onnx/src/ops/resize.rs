//! Resize and its ancestor Upsample: the result's size from scales or sizes.

use super::taps::{Axis, Sampling, resample};
use crate::attrs::bad;
use crate::import::build::fraction;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::{Elem, Val};
use odc_ir::core::Dim;
use odc_ir::graph::{CoordMode, NearestMode, Op, ResizeMode};

/// How a result place becomes a coordinate of the operand.
#[derive(Clone, Copy, PartialEq)]
pub enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    /// Opset 11 only: the centre of the result's element, not brought back by half an element.
    TfHalfPixel,
    /// `tf_crop_and_resize`: a part of the operand.
    Crop,
}

pub fn resize(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let modes = [("nearest", ResizeMode::Nearest), ("linear", ResizeMode::Linear), ("cubic", ResizeMode::Cubic)];
    let mode = c.attrs.choice("mode", "nearest", &modes)?;
    if c.opset < 11 {
        let scales = c.input(1)?;
        return old(c, &x, &scales, mode);
    }
    let coords = [
        ("half_pixel", Coordinates::HalfPixel),
        ("half_pixel_symmetric", Coordinates::HalfPixelSymmetric),
        ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
        ("align_corners", Coordinates::AlignCorners),
        ("asymmetric", Coordinates::Asymmetric),
        ("tf_crop_and_resize", Coordinates::Crop),
        ("tf_half_pixel_for_nn", Coordinates::TfHalfPixel),
    ];
    let nearest = [
        ("round_prefer_floor", NearestMode::RoundPreferFloor),
        ("round_prefer_ceil", NearestMode::RoundPreferCeil),
        ("floor", NearestMode::Floor),
        ("ceil", NearestMode::Ceil),
    ];
    let sampling = Sampling {
        mode,
        coord: c.attrs.choice("coordinate_transformation_mode", "half_pixel", &coords)?,
        nearest: c.attrs.choice("nearest_mode", "round_prefer_floor", &nearest)?,
        cubic_a: f64::from(c.attrs.float_or("cubic_coeff_a", -0.75)?),
        exclude_outside: c.attrs.flag("exclude_outside", false)?,
        antialias: c.attrs.flag("antialias", false)?,
    };
    let fill = f64::from(c.attrs.float_or("extrapolation_value", 0.0)?);
    let policies = [("stretch", Policy::Stretch), ("not_larger", Policy::NotLarger), ("not_smaller", Policy::NotSmaller)];
    let policy = c.attrs.choice("keep_aspect_ratio_policy", "stretch", &policies)?;
    let axes = match c.attrs.ints("axes")? {
        Some(list) => c.axes(list, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    // An empty tensor stands for "not given" as well.
    let given = |v: Option<Val>| v.filter(|v| !v.shape().first().is_some_and(|d| d.is(0)));
    let (shape, scales) = match (given(c.opt(2)), given(c.opt(3))) {
        (Some(scales), None) => by_scales(c, &x, &axes, &scales)?,
        (None, Some(sizes)) => by_sizes(c, &x, &axes, &sizes, policy)?,
        _ => return Err(operand("needs either scales or sizes")),
    };
    if !matches!(sampling.coord, Coordinates::Crop | Coordinates::TfHalfPixel) && !sampling.antialias {
        return finish(c, &x, shape, scales, sampling);
    }
    let roi = if sampling.coord == Coordinates::Crop { region(c, &axes, x.rank())? } else { vec![(0.0, 1.0); x.rank()] };
    let mut changed = vec![];
    for (k, (((n, m), scale), roi)) in x.shape().iter().zip(&shape).zip(&scales).zip(roi).enumerate() {
        if n == m && roi == (0.0, 1.0) {
            continue;
        }
        let (Some(n), Some(m)) = (n.as_const(), m.as_const()) else {
            let f = unsupported_use(format!("axis {k} of the size {n} to {m}: cropping and antialiasing need constant sizes"));
            return Err(f.help("fix the dims with --dim"));
        };
        if n < 1 || m < 1 {
            return Err(operand("the result has no elements"));
        }
        let scale = if *scale > 0.0 { *scale } else { m as f64 / n as f64 };
        changed.push((k, Axis { n, m, scale, roi }));
    }
    Ok(vec![resample(c, &x, &changed, &sampling, fill)?])
}

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

/// The part to crop, one pair an axis of the operand.
fn region(c: &Call, axes: &[usize], rank: usize) -> Got<Vec<(f64, f64)>> {
    let given = c.opt(1).ok_or_else(|| operand("needs a region to crop"))?;
    let unknown = || unsupported_use("the region must be known when compiling").fixable(c.build.inputs_behind(&given));
    let roi = given.const_floats().ok_or_else(unknown)?;
    let (starts, ends) = roi
        .split_at_checked(axes.len())
        .filter(|(a, b)| a.len() == b.len())
        .ok_or_else(|| operand(format!("{} numbers for the region of {} axes", roi.len(), axes.len())))?;
    let mut out = vec![(0.0, 1.0); rank];
    for ((a, start), end) in axes.iter().zip(starts).zip(ends) {
        if let Some(slot) = out.get_mut(*a) {
            *slot = (*start, *end);
        }
    }
    Ok(out)
}

/// The sizes asked for, or those of one scale for all axes that keeps within or beyond them.
fn by_sizes(c: &Call, x: &Val, axes: &[usize], sizes: &Val, policy: Policy) -> Got<(Vec<Dim>, Vec<f64>)> {
    let sizes = c.sizes(sizes, "the sizes")?;
    if sizes.len() != axes.len() {
        return Err(operand(format!("{} sizes for {} axes", sizes.len(), axes.len())));
    }
    let mut shape = x.shape().to_vec();
    let mut common = None;
    if policy != Policy::Stretch {
        for (a, s) in axes.iter().zip(&sizes) {
            let (Some(n), Some(m)) = (x.shape().get(*a).and_then(Dim::as_const).filter(|n| *n > 0), s.as_const()) else {
                return Err(unsupported_use("keeping the aspect ratio needs constant sizes").help("fix the dims with --dim"));
            };
            let scale = m as f64 / n as f64;
            common = Some(match common {
                None => scale,
                Some(c) if policy == Policy::NotLarger => scale.min(c),
                Some(c) => scale.max(c),
            });
        }
    }
    let mut scales: Vec<f64> = vec![1.0; x.rank()];
    for (a, s) in axes.iter().zip(sizes) {
        let (Some(slot), Some(scale)) = (shape.get_mut(*a), scales.get_mut(*a)) else { continue };
        match common {
            Some(by) => {
                *slot = Dim::from((slot.as_const().unwrap_or(1) as f64 * by + 0.5).floor() as i64);
                *scale = by;
            }
            None => {
                *scale = if *slot == s { 1.0 } else { 0.0 };
                *slot = s;
            }
        }
    }
    Ok((shape, scales))
}

/// Shape and scale of each axis: `floor(size * scale)`.
fn by_scales(c: &Call, x: &Val, axes: &[usize], scales: &Val) -> Got<(Vec<Dim>, Vec<f64>)> {
    let known = scales.known.as_ref().ok_or_else(|| {
        unsupported_use("the scales must be known when compiling, but depend on data").fixable(c.build.inputs_behind(scales))
    })?;
    if known.len() != axes.len() {
        return Err(operand(format!("{} scales for {} axes", known.len(), axes.len())));
    }
    let mut shape = x.shape().to_vec();
    let mut out = vec![1.0; x.rank()];
    for (a, s) in axes.iter().zip(known.iter()) {
        let (Some(size), Some(scale)) = (shape.get_mut(*a), out.get_mut(*a)) else { continue };
        let (num, den) = match s {
            Elem::Float(v) if *v > 0.0 => {
                *scale = *v;
                if *v == 1.0 {
                    continue;
                }
                if let Some(n) = size.as_const() {
                    // As the reference does it, in f32.
                    *size = Dim::from((n as f32 * *v as f32).floor() as i64);
                    continue;
                }
                fraction(*v).ok_or_else(|| unsupported_use(format!("the scale {v} of a symbolic size is no simple fraction")))?
            }
            Elem::Ratio(n, d) => {
                *scale = 0.0;
                (n.clone(), *d)
            }
            Elem::Float(_) | Elem::Int(_) => return Err(operand("a scale is not positive")),
        };
        *size = c.build.dims.ranges.floordiv(&(&*size * num), &Dim::from(den));
    }
    Ok((shape, out))
}

fn finish(c: &mut Call, x: &Val, shape: Vec<Dim>, scales: Vec<f64>, s: Sampling) -> Out {
    if shape == x.shape() && scales.iter().all(|s| *s == 1.0) {
        return Ok(vec![x.clone()]);
    }
    if shape.iter().any(|d| d.as_const().is_some_and(|v| v < 1)) {
        return Err(operand("the result has no elements"));
    }
    let Sampling { mode, coord, nearest, cubic_a, exclude_outside, .. } = s;
    let coord = match coord {
        Coordinates::HalfPixel => CoordMode::HalfPixel,
        Coordinates::HalfPixelSymmetric => CoordMode::HalfPixelSymmetric,
        Coordinates::PytorchHalfPixel => CoordMode::PytorchHalfPixel,
        Coordinates::AlignCorners => CoordMode::AlignCorners,
        Coordinates::Asymmetric => CoordMode::Asymmetric,
        Coordinates::Crop | Coordinates::TfHalfPixel => return Err(bad("coordinate_transformation_mode", "does not fit this form")),
    };
    let op = Op::Resize { mode, coord, nearest, scales, cubic_a, exclude_outside };
    Ok(vec![c.emit(op, &[x], x.dtype(), shape)?])
}

/// Upsample and Resize before opset 11: asymmetric coordinates; nearest takes the element below when enlarging.
fn old(c: &mut Call, x: &Val, scales: &Val, mode: ResizeMode) -> Out {
    let axes: Vec<usize> = (0..x.rank()).collect();
    let (shape, scales) = by_scales(c, x, &axes, scales)?;
    let shrinks = scales.iter().any(|s| *s < 1.0);
    if shrinks && mode == ResizeMode::Nearest && scales.iter().any(|s| *s > 1.0) {
        return Err(unsupported_use("enlarging one axis while shrinking another is not supported in this opset"));
    }
    let nearest = if shrinks { NearestMode::Ceil } else { NearestMode::Floor };
    finish(
        c,
        x,
        shape,
        scales,
        Sampling { mode, coord: Coordinates::Asymmetric, nearest, cubic_a: -0.75, exclude_outside: false, antialias: false },
    )
}

pub fn upsample(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let mode = c.attrs.choice("mode", "nearest", &[("nearest", ResizeMode::Nearest), ("linear", ResizeMode::Linear)])?;
    let scales = if c.opset < 9 {
        let list = match (c.opset < 7, c.attrs.float("height_scale")?, c.attrs.float("width_scale")?) {
            (true, Some(h), Some(w)) => vec![1.0, 1.0, h, w],
            _ => c.attrs.floats("scales")?.ok_or_else(|| bad("scales", "is required"))?.to_vec(),
        };
        let elems: Vec<Elem> = list.iter().map(|v| Elem::Float(f64::from(*v))).collect();
        Val::known(odc_ir::core::TensorType::of(odc_ir::core::DType::F32, &[elems.len() as i64]), elems)
    } else {
        c.input(1)?
    };
    old(c, &x, &scales, mode)
}

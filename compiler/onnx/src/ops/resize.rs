//! Resize and its ancestor Upsample: the result's size from scales or sizes.

use crate::attrs::bad;
use crate::import::build::fraction;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::{Elem, Val};
use odc_ir::core::Dim;
use odc_ir::graph::{CoordMode, NearestMode, Op, ResizeMode};

/// How results are sampled, once the shape is known.
struct Sampling {
    mode: ResizeMode,
    coord: CoordMode,
    nearest: NearestMode,
    cubic_a: f64,
    exclude_outside: bool,
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
        ("half_pixel", CoordMode::HalfPixel),
        ("half_pixel_symmetric", CoordMode::HalfPixelSymmetric),
        ("pytorch_half_pixel", CoordMode::PytorchHalfPixel),
        ("align_corners", CoordMode::AlignCorners),
        ("asymmetric", CoordMode::Asymmetric),
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
    };
    // Only for the crop mode, which is not among the above.
    c.attrs.ignore(&["extrapolation_value"]);
    if c.attrs.flag("antialias", false)? {
        return Err(bad("antialias", "is 1, which is not supported"));
    }
    let axes = match c.attrs.ints("axes")? {
        Some(list) => c.axes(list, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    // An empty tensor stands for "not given" as well.
    let given = |v: Option<Val>| v.filter(|v| !v.shape().first().is_some_and(|d| d.is(0)));
    let (shape, scales) = match (given(c.opt(2)), given(c.opt(3))) {
        (Some(scales), None) => by_scales(c, &x, &axes, &scales)?,
        (None, Some(sizes)) => {
            c.attrs.choice("keep_aspect_ratio_policy", "stretch", &[("stretch", ())])?;
            let sizes = c.sizes(&sizes, "the sizes")?;
            if sizes.len() != axes.len() {
                return Err(operand(format!("{} sizes for {} axes", sizes.len(), axes.len())));
            }
            let mut shape = x.shape().to_vec();
            for (a, s) in axes.iter().zip(sizes) {
                if let Some(slot) = shape.get_mut(*a) {
                    *slot = s;
                }
            }
            let scales = x.shape().iter().zip(&shape).map(|(a, b)| if a == b { 1.0 } else { 0.0 }).collect();
            (shape, scales)
        }
        _ => return Err(operand("needs either scales or sizes")),
    };
    c.attrs.ignore(&["keep_aspect_ratio_policy"]);
    finish(c, &x, shape, scales, sampling)
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
    let Sampling { mode, coord, nearest, cubic_a, exclude_outside } = s;
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
    finish(c, x, shape, scales, Sampling { mode, coord: CoordMode::Asymmetric, nearest, cubic_a: -0.75, exclude_outside: false })
}

pub fn upsample(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let mode = c.attrs.choice("mode", "nearest", &[("nearest", ResizeMode::Nearest), ("linear", ResizeMode::Linear)])?;
    let scales = if c.opset < 9 {
        let list = c.attrs.floats("scales")?.ok_or_else(|| bad("scales", "is required"))?;
        let elems: Vec<Elem> = list.iter().map(|v| Elem::Float(f64::from(*v))).collect();
        Val::known(odc_ir::core::TensorType::of(odc_ir::core::DType::F32, &[elems.len() as i64]), elems)
    } else {
        c.input(1)?
    };
    old(c, &x, &scales, mode)
}

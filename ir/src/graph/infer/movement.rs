//! Typing of ops that only move elements, or make them from sizes.

use super::super::ops::PadMode;
use super::{Cx, need_axis, need_number, need_rank, need_same_dtype, operand, shape_text};
use crate::core::{Dim, TensorType};

fn need_same_element(x: &TensorType, result: &TensorType) -> Result<(), String> {
    if x.dtype == result.dtype { Ok(()) } else { Err(format!("the element type must stay {}", x.dtype)) }
}

pub fn transpose(perm: &[usize], x: &TensorType) -> Result<TensorType, String> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.rank()) {
        return Err(format!("{perm:?} does not permute the {} axes of {x}", x.rank()));
    }
    let shape: Vec<Dim> = perm.iter().filter_map(|p| x.shape.get(*p).cloned()).collect();
    Ok(TensorType::new(x.dtype, shape))
}

pub fn concat(axis: usize, x: &[&TensorType], cx: &Cx) -> Result<TensorType, String> {
    let first = operand(x, 0)?;
    need_axis(axis, first)?;
    let mut size = Dim::ZERO;
    for t in x {
        need_same_dtype("concat", first, t)?;
        cx.need_same_but(first, t, &[axis]).map_err(|e| format!("concat along axis {axis}: {e}"))?;
        size = size + t.shape.get(axis).unwrap_or(&Dim::ZERO);
    }
    let mut shape = first.shape.clone();
    if let Some(d) = shape.get_mut(axis) {
        *d = size;
    }
    Ok(TensorType::new(first.dtype, shape))
}

pub fn trilu(x: &TensorType) -> Result<TensorType, String> {
    if x.rank() < 2 {
        return Err(format!("trilu takes rank 2 or more, not {x}"));
    }
    Ok(x.clone())
}

pub fn dims(values: &[Dim], result: &TensorType) -> Result<(), String> {
    need_number("dims", result)?;
    let fits = match result.shape.as_slice() {
        [] => values.len() == 1,
        [d] => d.is(i64::try_from(values.len()).unwrap_or(i64::MAX)),
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("{} values fill rank 0 or 1", values.len())) }
}

pub fn reshape(x: &TensorType, result: &TensorType, cx: &Cx) -> Result<(), String> {
    need_same_element(x, result)?;
    let (a, b) = (x.elements(), result.elements());
    if cx.ranges.differ(&a, &b) { Err(format!("{a} elements cannot become {b}")) } else { Ok(()) }
}

pub fn expand(x: &TensorType, result: &TensorType, cx: &Cx) -> Result<(), String> {
    need_same_element(x, result)?;
    if cx.broadcasts_to(&x.shape, &result.shape) {
        return Ok(());
    }
    Err(format!("{} does not broadcast to {}", shape_text(&x.shape), shape_text(&result.shape)))
}

pub fn slice(starts: &[Dim], steps: &[i64], x: &TensorType, result: &TensorType, cx: &Cx) -> Result<(), String> {
    need_same_element(x, result)?;
    need_rank("the result", result, x.rank())?;
    if starts.len() != x.rank() || steps.len() != x.rank() || steps.contains(&0) {
        return Err(format!("starts {} and steps {steps:?} need one entry an axis, steps not 0", shape_text(starts)));
    }
    for (k, ((start, step), (d, r))) in starts.iter().zip(steps).zip(x.shape.iter().zip(&result.shape)).enumerate() {
        if cx.ranges.lt(r, &Dim::ZERO) {
            return Err(format!("axis {k} of the result is negative"));
        }
        let last = start + (r - 1) * *step;
        let outside = |p: &Dim| cx.ranges.lt(p, &Dim::ZERO) || cx.ranges.le(d, p);
        if cx.ranges.le(&Dim::ONE, r) && (outside(start) || outside(&last)) {
            return Err(format!("axis {k} reads {start} to {last} of {d}"));
        }
    }
    Ok(())
}

pub fn pad(mode: PadMode, before: &[Dim], x: &[&TensorType], result: &TensorType, cx: &Cx) -> Result<(), String> {
    let input = operand(x, 0)?;
    need_same_element(input, result)?;
    need_rank("the result", result, input.rank())?;
    if before.len() != input.rank() {
        return Err(format!("the paddings {} need one entry an axis", shape_text(before)));
    }
    if let Some(v) = x.get(1) {
        need_same_dtype("pad", input, v)?;
        if !v.shape.iter().all(|d| d.is(1)) {
            return Err(format!("the value {v} is not one element"));
        }
        if mode != PadMode::Constant {
            return Err(format!("mode {mode} takes no value"));
        }
    }
    for (k, (d, r)) in input.shape.iter().zip(&result.shape).enumerate() {
        let nothing_to_copy = mode != PadMode::Constant && d.is(0) && !r.is(0);
        if cx.ranges.lt(r, &Dim::ZERO) || nothing_to_copy {
            return Err(format!("axis {k} of size {d} cannot become {r} in mode {mode}"));
        }
    }
    Ok(())
}

pub fn tile(x: &TensorType, result: &TensorType, cx: &Cx) -> Result<(), String> {
    need_same_element(x, result)?;
    need_rank("the result", result, x.rank())?;
    for (k, (d, r)) in x.shape.iter().zip(&result.shape).enumerate() {
        let multiple = match (d.as_const(), r.as_const()) {
            (Some(0), Some(r)) => r == 0,
            (Some(d), Some(r)) => r % d == 0,
            _ => true,
        };
        if !multiple || cx.ranges.lt(r, &Dim::ZERO) {
            return Err(format!("axis {k}: {r} is not a multiple of {d}"));
        }
    }
    Ok(())
}

pub fn resize(scales: &[f64], x: &TensorType, result: &TensorType, cx: &Cx) -> Result<(), String> {
    need_same_element(x, result)?;
    need_number("resize", x)?;
    need_rank("the result", result, x.rank())?;
    if scales.len() != x.rank() || scales.iter().any(|s| !(s.is_finite() && *s >= 0.0)) {
        return Err(format!("the scales {scales:?} need one number an axis, 0 or more"));
    }
    for (k, (d, r)) in x.shape.iter().zip(&result.shape).enumerate() {
        if cx.ranges.lt(r, &Dim::ZERO) || (d.is(0) && !r.is(0)) {
            return Err(format!("axis {k} of size {d} cannot become {r}"));
        }
    }
    Ok(())
}

pub fn range(start: &TensorType, step: &TensorType, result: &TensorType) -> Result<(), String> {
    need_number("range", result)?;
    need_rank("the start", start, 0)?;
    need_rank("the step", step, 0)?;
    need_rank("the result", result, 1)?;
    need_same_element(start, result)?;
    need_same_element(step, result)
}

//! Typing of gathers, scatters and one-hot: ops that address elements by value.

use super::super::ops::ScatterFn;
use super::{Cx, need_axis, need_index, need_number, need_rank, need_same_dtype, shape_text};
use crate::core::{DType, Dim, TensorType};

pub fn gather(axis: usize, data: &TensorType, indices: &TensorType) -> Result<TensorType, String> {
    need_axis(axis, data)?;
    need_index("gather", indices)?;
    let (head, tail) = data.shape.split_at_checked(axis).unwrap_or((&data.shape, &[]));
    let shape: Vec<Dim> = head.iter().chain(&indices.shape).chain(tail.iter().skip(1)).cloned().collect();
    Ok(TensorType::new(data.dtype, shape))
}

/// Both have one rank, and indices stay within data on the other axes.
fn need_elements(what: &str, axis: usize, data: &TensorType, indices: &TensorType, cx: &Cx) -> Result<(), String> {
    need_axis(axis, data)?;
    need_index(what, indices)?;
    need_rank("the indices", indices, data.rank())?;
    for (k, (d, i)) in data.shape.iter().zip(&indices.shape).enumerate() {
        if k != axis && cx.ranges.lt(d, i) {
            return Err(format!("{what} of {data} with indices {indices}: axis {k} of the indices is larger"));
        }
    }
    Ok(())
}

pub fn gather_elements(axis: usize, data: &TensorType, indices: &TensorType, cx: &Cx) -> Result<TensorType, String> {
    need_elements("gather_elements", axis, data, indices, cx)?;
    Ok(TensorType::new(data.dtype, indices.shape.clone()))
}

/// The shape addressed by `indices[…, k]`: the indices' leading axes, then the axes of data behind the first `skip + k`.
fn addressed(what: &str, skip: usize, data: &TensorType, indices: &TensorType) -> Result<Vec<Dim>, String> {
    need_index(what, indices)?;
    let [lead @ .., last] = indices.shape.as_slice() else {
        return Err(format!("the indices {indices} of {what} have no axes"));
    };
    let tuple = last.as_const().and_then(|k| usize::try_from(k).ok());
    let tuple = tuple.ok_or_else(|| format!("{what} needs indices with a known last axis, not {indices}"))?;
    let rest = skip.checked_add(tuple).and_then(|k| data.shape.get(k..));
    let rest = rest.ok_or_else(|| format!("{what} of {data}: tuples of {tuple} (indices {indices}) are longer than its rank"))?;
    Ok(lead.iter().chain(rest).cloned().collect())
}

pub fn gather_nd(batch_dims: usize, data: &TensorType, indices: &TensorType, cx: &Cx) -> Result<TensorType, String> {
    let shape = addressed("gather_nd", batch_dims, data, indices)?;
    let batch = |t: &TensorType| t.shape.get(..batch_dims).map(<[Dim]>::to_vec);
    match (batch(data), batch(indices)) {
        (Some(a), Some(b)) if indices.rank() > batch_dims && cx.same_shape(&a, &b) => Ok(TensorType::new(data.dtype, shape)),
        _ => Err(format!("gather_nd of {data} with indices {indices}: the first {batch_dims} axes must be common")),
    }
}

fn need_combinable(f: ScatterFn, data: &TensorType) -> Result<(), String> {
    match f {
        ScatterFn::Replace => Ok(()),
        ScatterFn::Add | ScatterFn::Mul | ScatterFn::Max | ScatterFn::Min => need_number("scatter", data),
    }
}

pub fn scatter_nd(f: ScatterFn, data: &TensorType, indices: &TensorType, updates: &TensorType, cx: &Cx) -> Result<TensorType, String> {
    need_combinable(f, data)?;
    need_same_dtype("scatter_nd", data, updates)?;
    let shape = addressed("scatter_nd", 0, data, indices)?;
    if !cx.same_shape(&shape, &updates.shape) {
        return Err(format!("scatter_nd of {data} with indices {indices}: the updates must be {}, not {updates}", shape_text(&shape)));
    }
    Ok(data.clone())
}

pub fn scatter_elements(
    axis: usize,
    f: ScatterFn,
    data: &TensorType,
    indices: &TensorType,
    updates: &TensorType,
    cx: &Cx,
) -> Result<TensorType, String> {
    need_combinable(f, data)?;
    need_same_dtype("scatter_elements", data, updates)?;
    need_elements("scatter_elements", axis, data, indices, cx)?;
    if !cx.same_shape(&indices.shape, &updates.shape) {
        return Err(format!("scatter_elements of {data}: indices {indices} and updates {updates} differ in shape"));
    }
    Ok(data.clone())
}

pub fn one_hot(axis: usize, indices: &TensorType, values: &TensorType, result: &TensorType, cx: &Cx) -> Result<(), String> {
    need_number("one_hot", indices)?;
    need_same_dtype("one_hot", values, result)?;
    if !cx.same_shape(&values.shape, &[Dim::from(2)]) {
        return Err(format!("the values {values} are not two"));
    }
    need_axis(axis, result)?;
    let mut rest = result.shape.clone();
    rest.remove(axis);
    if cx.same_shape(&rest, &indices.shape) {
        Ok(())
    } else {
        Err(format!("the axes but axis {axis} must be {}", shape_text(&indices.shape)))
    }
}

pub fn suppress(x: &[&TensorType], cx: &Cx) -> Result<TensorType, String> {
    let [boxes, scores, overlap, least] = x else { return Err("suppress takes boxes, scores and two limits".into()) };
    need_rank("the boxes", boxes, 3)?;
    need_rank("the scores", scores, 3)?;
    if [boxes, scores, overlap, least].iter().any(|t| t.dtype != DType::F32) || !overlap.shape.is_empty() || !least.shape.is_empty() {
        return Err(format!("suppress takes f32 boxes, scores and scalars, not {boxes}, {scores}, {overlap} and {least}"));
    }
    let of = |t: &TensorType, k: usize| t.shape.get(k).cloned().unwrap_or(Dim::ONE);
    if !cx.same_shape(&boxes.shape, &[of(scores, 0), of(scores, 2), Dim::from(4)]) {
        return Err(format!("suppress of boxes {boxes} with scores {scores}: they are not of the same boxes"));
    }
    Ok(TensorType::new(DType::I64, scores.shape.clone()))
}

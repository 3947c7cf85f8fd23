//! Typing of reductions, softmax, running sums and normalisations.

use super::super::ops::{Op, ReduceFn};
use super::{Cx, need_axis, need_float, need_number, need_same_dtype, operand};
use crate::core::{DType, Dim, OpSet, TensorType};

fn reduced(x: &TensorType, axes: &[usize], keep: bool) -> Vec<Dim> {
    let axis = |(k, d): (usize, &Dim)| match (axes.contains(&k), keep) {
        (false, _) => Some(d.clone()),
        (true, true) => Some(Dim::ONE),
        (true, false) => None,
    };
    x.shape.iter().enumerate().filter_map(axis).collect()
}

pub fn reduce(f: ReduceFn, axes: &[usize], keep: bool, x: &TensorType) -> Result<TensorType, String> {
    if !axes.windows(2).all(|w| w[0] < w[1]) {
        return Err(format!("the axes {axes:?} of reduce are not sorted"));
    }
    axes.iter().try_for_each(|a| need_axis(*a, x))?;
    match f {
        ReduceFn::Max | ReduceFn::Min if x.dtype == DType::Bool || x.dtype.is_storage() => {}
        ReduceFn::Max | ReduceFn::Min => need_number(f.name(), x)?,
        ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Prod | ReduceFn::SumSquare | ReduceFn::L1 | ReduceFn::L2 => need_number(f.name(), x)?,
        ReduceFn::LogSum | ReduceFn::LogSumExp => need_float(f.name(), x)?,
    }
    Ok(TensorType::new(x.dtype, reduced(x, axes, keep)))
}

pub fn arg_reduce(axis: usize, keep: bool, x: &TensorType) -> Result<TensorType, String> {
    need_axis(axis, x)?;
    need_number("arg_reduce", x)?;
    if x.shape.get(axis).is_some_and(|d| d.is(0)) {
        return Err(format!("axis {axis} of {x} is empty: there is no extreme"));
    }
    Ok(TensorType::new(DType::I64, reduced(x, &[axis], keep)))
}

pub fn softmax(axis: usize, x: &TensorType) -> Result<TensorType, String> {
    need_axis(axis, x)?;
    need_float("softmax", x)?;
    Ok(x.clone())
}

pub fn cum_sum(axis: usize, x: &TensorType) -> Result<TensorType, String> {
    need_axis(axis, x)?;
    need_number("cum_sum", x)?;
    Ok(x.clone())
}

/// x, then parameters that broadcast to its normalised axes.
pub fn layer_norm(op: &Op, axis: usize, x: &[&TensorType], cx: &Cx) -> Result<TensorType, String> {
    let what = op.info().mnemonic;
    let input = operand(x, 0)?;
    need_axis(axis, input)?;
    need_float(what, input)?;
    for p in x.iter().skip(1) {
        need_same_dtype(what, input, p)?;
        if !cx.broadcasts_to(&p.shape, &input.shape) {
            return Err(format!("{what} of {input}: the parameter {p} does not broadcast to it"));
        }
    }
    Ok(input.clone())
}

/// x[n, c, …], then one value a channel in every parameter.
pub fn channel_params(op: &Op, x: &[&TensorType], cx: &Cx) -> Result<TensorType, String> {
    let what = op.info().mnemonic;
    let input = operand(x, 0)?;
    need_float(what, input)?;
    let [_, c, ..] = input.shape.as_slice() else {
        return Err(format!("{what} takes [n, c, …], not {input}"));
    };
    for p in x.iter().skip(1) {
        need_same_dtype(what, input, p)?;
        if !cx.same_shape(&p.shape, std::slice::from_ref(c)) {
            return Err(format!("{what} of {input}: the parameter {p} has not one value for each of the {c} channels"));
        }
    }
    Ok(input.clone())
}

pub fn group_norm(groups: i64, x: &[&TensorType], cx: &Cx) -> Result<TensorType, String> {
    let op = Op::GroupNorm { groups, epsilon: 0.0 };
    let ty = channel_params(&op, x, cx)?;
    let divides = ty.shape.get(1).and_then(Dim::as_const).is_none_or(|c| groups == 0 || c % groups == 0);
    if groups < 0 || !divides {
        return Err(format!("group_norm of {ty}: {groups} groups do not divide the channels"));
    }
    Ok(ty)
}

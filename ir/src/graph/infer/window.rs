//! Typing of convolutions and pools: the sizes of sliding windows.

use super::{Cx, need_number, need_same_dtype, operand};
use crate::core::{DType, Dim, TensorType};
use crate::graph::PoolKind;

/// Positions of a window along one axis: `(x + before + after - dilation*(kernel-1) - 1) / stride + 1`, rounded down, or up in
/// ceil mode.
pub fn window_size(x: &Dim, kernel: &Dim, stride: i64, pads: (i64, i64), dilation: i64, ceil: bool) -> Dim {
    let room = x + pads.0 + pads.1 - (kernel - 1) * dilation - 1;
    let stride = Dim::from(stride);
    (if ceil { room.ceildiv(&stride) } else { room.floordiv(&stride) }) + 1
}

/// Size of a transposed convolution's result along one axis.
pub fn conv_transpose_size(x: &Dim, kernel: &Dim, stride: i64, pads: (i64, i64), dilation: i64, output_padding: i64) -> Dim {
    (x - 1) * stride + output_padding + (kernel - 1) * dilation + 1 - pads.0 - pads.1
}

/// One entry an axis, all at least 1; pads two an axis.
fn need_windows(axes: usize, strides: &[i64], pads: &[i64], dilations: &[i64]) -> Result<(), String> {
    if strides.len() != axes || dilations.len() != axes || pads.len() != 2 * axes {
        return Err(format!("strides {strides:?}, pads {pads:?} and dilations {dilations:?} do not fit {axes} spatial axes"));
    }
    if strides.iter().chain(dilations).any(|v| *v < 1) {
        return Err(format!("strides {strides:?} and dilations {dilations:?} must be at least 1"));
    }
    Ok(())
}

fn need_bias(x: &[&TensorType], channels: &Dim, cx: &Cx) -> Result<(), String> {
    let Some(b) = x.get(2) else { return Ok(()) };
    need_same_dtype("conv", operand(x, 0)?, b)?;
    if cx.same_shape(&b.shape, std::slice::from_ref(channels)) {
        return Ok(());
    }
    Err(format!("the bias {b} has not one value for each of the {channels} result channels"))
}

pub fn conv(x: &[&TensorType], strides: &[i64], pads: &[i64], dilations: &[i64], group: i64, cx: &Cx) -> Result<TensorType, String> {
    let (input, w) = (operand(x, 0)?, operand(x, 1)?);
    need_same_dtype("conv", input, w)?;
    need_number("conv", input)?;
    let ([n, c, spatial @ ..], [o, wc, kernel @ ..]) = (input.shape.as_slice(), w.shape.as_slice()) else {
        return Err(format!("conv takes [n, c, …] and [o, c, …], not {input} and {w}"));
    };
    if spatial.len() != kernel.len() {
        return Err(format!("conv of {input} with weights {w}: the ranks differ"));
    }
    need_windows(spatial.len(), strides, pads, dilations)?;
    if group < 1 || !cx.same(&(wc * group), c) {
        return Err(format!("conv of {input} with weights {w} in {group} groups: {c} channels are not {group} times {wc}"));
    }
    if o.as_const().is_some_and(|o| o % group != 0) {
        return Err(format!("conv of {input} with weights {w}: {group} groups do not divide {o} result channels"));
    }
    need_bias(x, o, cx)?;
    let mut shape = vec![n.clone(), o.clone()];
    for (k, (d, kd)) in spatial.iter().zip(kernel).enumerate() {
        let (stride, pad, dilation) = axis_of(strides, pads, dilations, k);
        let size = window_size(d, kd, stride, pad, dilation, false);
        if cx.ranges.lt(&size, &Dim::ONE) {
            return Err(format!("conv of {input} with weights {w}: the padded axis {} is smaller than the kernel", k + 2));
        }
        shape.push(size);
    }
    Ok(TensorType::new(input.dtype, shape))
}

/// Stride, (before, after) and dilation of spatial axis `k`; lengths were checked.
fn axis_of(strides: &[i64], pads: &[i64], dilations: &[i64], k: usize) -> (i64, (i64, i64), i64) {
    let at = |v: &[i64], k: usize, default| v.get(k).copied().unwrap_or(default);
    (at(strides, k, 1), (at(pads, k, 0), at(pads, k + pads.len() / 2, 0)), at(dilations, k, 1))
}

pub fn conv_transpose(
    x: &[&TensorType],
    strides: &[i64],
    pads: &[i64],
    dilations: &[i64],
    group: i64,
    result: &TensorType,
    cx: &Cx,
) -> Result<(), String> {
    let (input, w) = (operand(x, 0)?, operand(x, 1)?);
    need_same_dtype("conv_transpose", input, w)?;
    need_same_dtype("conv_transpose", input, result)?;
    need_number("conv_transpose", input)?;
    let ([n, c, spatial @ ..], [wc, wo, kernel @ ..], [rn, ro, rest @ ..]) =
        (input.shape.as_slice(), w.shape.as_slice(), result.shape.as_slice())
    else {
        return Err("it takes [n, c, …] and [c, o, …]".into());
    };
    if spatial.len() != kernel.len() || rest.len() != kernel.len() {
        return Err("the ranks differ".into());
    }
    need_windows(spatial.len(), strides, pads, dilations)?;
    if group < 1 || !cx.same(wc, c) || c.as_const().is_some_and(|c| c % group != 0) {
        return Err(format!("{c} channels do not fit the weights {w} in {group} groups"));
    }
    let o = wo * group;
    need_bias(x, &o, cx)?;
    if !cx.same(n, rn) || !cx.same(&o, ro) {
        return Err(format!("the result must start with {n}, {o}"));
    }
    match rest.iter().find(|d| cx.ranges.lt(d, &Dim::ONE)) {
        Some(d) => Err(format!("the result's size {d} is not positive")),
        None => Ok(()),
    }
}

/// The windows of a pool, one number a spatial axis; two for the pads.
pub struct Windows<'a> {
    pub kernel: &'a [i64],
    pub strides: &'a [i64],
    pub pads: &'a [i64],
    pub dilations: &'a [i64],
}

pub fn pool(kind: PoolKind, x: &TensorType, windows: &Windows, result: &TensorType, cx: &Cx) -> Result<(), String> {
    let Windows { kernel, strides, pads, dilations } = *windows;
    need_number("pool", x)?;
    match kind {
        PoolKind::Max | PoolKind::Average | PoolKind::Sum => need_same_dtype("pool", x, result)?,
        PoolKind::ArgMax if result.dtype == DType::I64 => {}
        PoolKind::ArgMax => return Err("positions are i64".into()),
    }
    let ([n, c, spatial @ ..], [rn, rc, rest @ ..]) = (x.shape.as_slice(), result.shape.as_slice()) else {
        return Err("it takes [n, c, …]".into());
    };
    if spatial.len() != rest.len() || kernel.len() != rest.len() || !cx.same(n, rn) || !cx.same(c, rc) {
        return Err(format!("the result must start with {n}, {c} and have {} spatial axes", kernel.len()));
    }
    need_windows(spatial.len(), strides, pads, dilations)?;
    if kernel.iter().any(|k| *k < 1) {
        return Err(format!("the kernel {kernel:?} must be at least 1"));
    }
    for (k, (d, r)) in spatial.iter().zip(rest).enumerate() {
        let (stride, pad, dilation) = axis_of(strides, pads, dilations, k);
        let kernel = Dim::from(kernel.get(k).copied().unwrap_or(1));
        let size = |ceil| window_size(d, &kernel, stride, pad, dilation, ceil);
        let (floor, ceil) = (size(false), size(true));
        if cx.ranges.lt(r, &floor) || cx.ranges.lt(&ceil, r) || cx.ranges.lt(r, &Dim::ONE) {
            return Err(format!("axis {} must be {floor}, or {ceil} in ceil mode", k + 2));
        }
    }
    Ok(())
}

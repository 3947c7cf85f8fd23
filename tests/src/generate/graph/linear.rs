//! Contractions and windows: matmul, einsum, convolutions, pooling, resizing.

use super::{Gen, Item, least, permuted};
use crate::generate::dims::greatest;
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{CoordMode, NearestMode, Op, PoolKind, ResizeMode};

pub(super) fn matmul(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.float(1)?;
    let last = x.ty.shape[x.rank() - 1].clone();
    let terms = greatest(&last) as f64;
    // x * x transposed: batched, the inner size may be a symbol.
    if x.rank() >= 2 && g.c.chance(30) {
        let mut perm: Vec<usize> = (0..x.rank()).collect();
        perm.swap(x.rank() - 1, x.rank() - 2);
        let t = g.emit(Op::Transpose { perm: perm.clone() }, &[&x], permuted(&x, &perm), x.exact, x.limit)?;
        let mut shape = x.ty.shape.clone();
        shape[x.rank() - 1] = x.ty.shape[x.rank() - 2].clone();
        return g.emit(Op::MatMul {}, &[&x, &t], x.with_shape(shape), false, terms * x.limit * x.limit).map(drop);
    }
    let k = last.as_const()?;
    let mut shape: Vec<Dim> = x.ty.shape[..x.rank() - 1].to_vec();
    let w = if g.c.chance(15) {
        g.weight(&[k])
    } else {
        let m = *g.c.pick(&[4, 8, 3, 1, 7, 16]);
        shape.push(Dim::from(m));
        g.weight(&[k, m])
    };
    g.emit(Op::MatMul {}, &[&x, &w], x.with_shape(shape), false, terms * x.limit).map(drop)
}

pub(super) fn einsum(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() == 3)?;
    let s = &x.ty.shape;
    let square = x.limit * x.limit;
    let (equation, shape, terms) = match g.c.below(4) {
        0 => ("bij,bkj->bik", vec![s[0].clone(), s[1].clone(), s[1].clone()], s[2].clone()),
        1 => ("bij,bij->bj", vec![s[0].clone(), s[2].clone()], s[1].clone()),
        2 => ("bij,bij->", vec![], x.ty.elements()),
        _ => ("bij,cij->jbc", vec![s[2].clone(), s[0].clone(), s[0].clone()], s[1].clone()),
    };
    let limit = greatest(&terms) as f64 * square;
    g.emit(Op::Einsum { equation: equation.into() }, &[&x, &x], x.with_shape(shape), false, limit).map(drop)
}

/// An image or a sequence: [n, c, spatial…] with the channels a number.
fn image(g: &mut Gen<'_, '_>) -> Option<(Item, i64)> {
    let x = g.item(|i| i.is_float() && (3..=4).contains(&i.rank()) && i.ty.shape[1].as_const().is_some())?;
    let channels = x.ty.shape[1].as_const()?;
    Some((x, channels))
}

/// Kernel, stride, dilation and pads of one spatial axis, and the size that results.
struct Window {
    kernel: i64,
    stride: i64,
    dilation: i64,
    before: i64,
    after: i64,
    out: Dim,
}

fn window(g: &mut Gen<'_, '_>, size: &Dim, most_pad: i64) -> Option<Window> {
    let kernel = *g.c.pick(&[3, 1, 2]);
    let stride = *g.c.pick(&[1, 2]);
    let dilation = if g.c.chance(20) { 2 } else { 1 };
    let pad = |g: &mut Gen<'_, '_>| g.c.between(0, most_pad.min(kernel - 1));
    let (before, after) = (pad(g), pad(g));
    let inner = size + (before + after - dilation * (kernel - 1) - 1);
    if least(&inner) < 0 {
        return None;
    }
    Some(Window { kernel, stride, dilation, before, after, out: inner.floordiv(&Dim::from(stride)) + 1 })
}

fn windows(g: &mut Gen<'_, '_>, x: &Item, most_pad: i64) -> Option<Vec<Window>> {
    x.ty.shape[2..].iter().map(|d| window(g, d, most_pad)).collect()
}

fn pads(w: &[Window]) -> Vec<i64> {
    w.iter().map(|w| w.before).chain(w.iter().map(|w| w.after)).collect()
}

pub(super) fn conv(g: &mut Gen<'_, '_>) -> Option<()> {
    let (x, channels) = image(g)?;
    let w = windows(g, &x, 2)?;
    let group = match g.c.below(4) {
        0 => channels,
        1 if channels % 2 == 0 => 2,
        _ => 1,
    };
    let outputs = group * g.c.between(1, 3);
    let kernel: Vec<i64> = w.iter().map(|w| w.kernel).collect();
    let terms = (channels / group) * kernel.iter().product::<i64>();
    let weight = g.weight(&[&[outputs, channels / group], kernel.as_slice()].concat());
    let shape = [x.ty.shape[0].clone(), Dim::from(outputs)].into_iter().chain(w.iter().map(|w| w.out.clone())).collect();
    let op = Op::Conv {
        strides: w.iter().map(|w| w.stride).collect(),
        pads: pads(&w),
        dilations: w.iter().map(|w| w.dilation).collect(),
        group,
    };
    let (ty, limit) = (x.with_shape(shape), terms as f64 * x.limit + 1.0);
    if g.c.chance(50) {
        let bias = g.weight(&[outputs]);
        return g.emit(op, &[&x, &weight, &bias], ty, false, limit).map(drop);
    }
    g.emit(op, &[&x, &weight], ty, false, limit).map(drop)
}

pub(super) fn conv_transpose(g: &mut Gen<'_, '_>) -> Option<()> {
    let (x, channels) = image(g)?;
    let group = if channels % 2 == 0 && g.c.chance(40) { 2 } else { 1 };
    let (per_group, stride, kernel) = (g.c.between(1, 2), g.c.between(1, 2), g.c.between(1, 3));
    let spatial = x.rank() - 2;
    let pad = g.c.between(0, (kernel - 1).min(1));
    let weight = g.weight(&[vec![channels, per_group], vec![kernel; spatial]].concat());
    let mut shape = vec![x.ty.shape[0].clone(), Dim::from(per_group * group)];
    shape.extend(x.ty.shape[2..].iter().map(|d| (d - 1) * stride + (kernel - 2 * pad)));
    let op = Op::ConvTranspose { strides: vec![stride; spatial], pads: vec![pad; 2 * spatial], dilations: vec![1; spatial], group };
    let limit = (channels * kernel.pow(spatial as u32)) as f64 * x.limit;
    g.emit(op, &[&x, &weight], x.with_shape(shape), false, limit).map(drop)
}

pub(super) fn pool(g: &mut Gen<'_, '_>) -> Option<()> {
    let (x, _) = image(g)?;
    // A pad below the kernel's size leaves something inside every window.
    let w = windows(g, &x, 1)?;
    if w.iter().any(|w| w.dilation * (w.kernel - 1) < w.before + w.after && least(&x.ty.shape[2]) < 2) {
        return None;
    }
    let kind = *g.c.pick(&[PoolKind::Max, PoolKind::Average, PoolKind::Sum, PoolKind::ArgMax]);
    // Which of two near equals is greater must not hang on rounding.
    if kind == PoolKind::ArgMax && !x.exact {
        return None;
    }
    let shape = x.ty.shape[..2].iter().cloned().chain(w.iter().map(|w| w.out.clone())).collect();
    let op = Op::Pool {
        kind,
        kernel: w.iter().map(|w| w.kernel).collect(),
        strides: w.iter().map(|w| w.stride).collect(),
        pads: pads(&w),
        dilations: w.iter().map(|w| w.dilation).collect(),
        count_include_pad: kind == PoolKind::Average && g.c.chance(50),
    };
    let ty = if kind == PoolKind::ArgMax { TensorType::new(DType::I64, shape) } else { x.with_shape(shape) };
    let limit = match kind {
        PoolKind::Max | PoolKind::Average => x.limit,
        PoolKind::Sum => x.limit * 64.0,
        PoolKind::ArgMax => 4096.0,
    };
    g.emit(op, &[&x], ty, matches!(kind, PoolKind::Max | PoolKind::ArgMax) && x.exact, limit).map(drop)
}

pub(super) fn resize(g: &mut Gen<'_, '_>) -> Option<()> {
    let (x, _) = image(g)?;
    let mode = *g.c.pick(&[ResizeMode::Nearest, ResizeMode::Linear, ResizeMode::Cubic]);
    let coord = *g.c.pick(&[
        CoordMode::Asymmetric,
        CoordMode::HalfPixel,
        CoordMode::PytorchHalfPixel,
        CoordMode::AlignCorners,
        CoordMode::HalfPixelSymmetric,
    ]);
    let nearest = *g.c.pick(&[NearestMode::Floor, NearestMode::RoundPreferFloor, NearestMode::Ceil, NearestMode::RoundPreferCeil]);
    let factor = g.c.between(2, 3);
    // Where sample points fall on ties of `nearest`, rounding decides: powers of two keep them exact.
    let factor = if mode == ResizeMode::Nearest { 2 } else { factor };
    if mode == ResizeMode::Nearest && coord == CoordMode::AlignCorners {
        return None;
    }
    let mut shape = x.ty.shape.clone();
    let mut scales = vec![1.0; x.rank()];
    for k in 2..x.rank() {
        shape[k] = &shape[k] * factor;
        scales[k] = factor as f64;
    }
    let op = Op::Resize { mode, coord, nearest, scales, cubic_a: -0.75, exclude_outside: false };
    g.emit(op, &[&x], x.with_shape(shape), mode == ResizeMode::Nearest && x.exact, x.limit * 2.0).map(drop)
}

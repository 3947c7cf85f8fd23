//! Ops that address elements by value: gathers, scatters, one-hot, ranges.

use super::{Gen, Item};
use odc_ir::core::{DType, Dim, Scalar, TensorType};
use odc_ir::graph::{Op, ScatterFn};

/// An item with an axis whose size is a number, that axis and its size.
fn with_static_axis(g: &mut Gen<'_, '_>) -> Option<(Item, usize, i64)> {
    let x = g.item(|i| i.is_float() && i.ty.shape.iter().any(|d| d.as_const().is_some()))?;
    let axes: Vec<usize> = (0..x.rank()).filter(|&k| x.ty.shape[k].as_const().is_some()).collect();
    let axis = *g.c.pick(&axes);
    let size = x.ty.shape[axis].as_const()?;
    Some((x, axis, size))
}

pub(super) fn gather(g: &mut Gen<'_, '_>) -> Option<()> {
    let (x, axis, size) = with_static_axis(g)?;
    let shape: Vec<i64> = (0..g.c.below(3)).map(|_| g.c.between(1, 3)).collect();
    let index = g.indices(&shape, size);
    let mut out = x.ty.shape.clone();
    out.splice(axis..=axis, index.ty.shape.clone());
    g.emit(Op::Gather { axis }, &[&x, &index], x.with_shape(out), x.exact, x.limit).map(drop)
}

pub(super) fn gather_elements(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() >= 1 && i.ty.static_shape().is_some())?;
    let mut shape = x.ty.static_shape()?;
    let axis = g.c.below(shape.len());
    let size = shape[axis];
    shape[axis] = g.c.between(1, 3);
    if shape.iter().product::<i64>() > 128 {
        return None;
    }
    let index = g.indices(&shape, size);
    g.emit(Op::GatherElements { axis }, &[&x, &index], TensorType::of(DType::F32, &shape), x.exact, x.limit).map(drop)
}

pub(super) fn gather_nd(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.ty.shape.first().is_some_and(|d| d.as_const().is_some()))?;
    let (size, tuples) = (x.ty.shape[0].as_const()?, g.c.between(1, 3));
    let index = g.indices(&[tuples, 1], size);
    let mut shape = x.ty.shape.clone();
    shape[0] = Dim::from(tuples);
    g.emit(Op::GatherNd { batch_dims: 0 }, &[&x, &index], x.with_shape(shape), x.exact, x.limit).map(drop)
}

pub(super) fn scatter_nd(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.ty.static_shape().is_some_and(|s| !s.is_empty() && s.iter().product::<i64>() <= 64))?;
    let mut shape = x.ty.static_shape()?;
    let tuples = g.c.between(1, 3);
    let index = g.indices(&[tuples, 1], shape[0]);
    shape[0] = tuples;
    let updates = g.weight(&shape);
    let f = *g.c.pick(&[ScatterFn::Replace, ScatterFn::Add, ScatterFn::Max, ScatterFn::Min, ScatterFn::Mul]);
    g.emit(Op::ScatterNd { f }, &[&x, &index, &updates], x.ty.clone(), false, x.limit + 3.0).map(drop)
}

pub(super) fn scatter_elements(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.ty.static_shape().is_some_and(|s| !s.is_empty() && s.iter().product::<i64>() <= 64))?;
    let mut shape = x.ty.static_shape()?;
    let axis = g.c.below(shape.len());
    let size = shape[axis];
    shape[axis] = g.c.between(1, 2);
    let index = g.indices(&shape, size);
    let updates = g.weight(&shape);
    let f = *g.c.pick(&[ScatterFn::Replace, ScatterFn::Add, ScatterFn::Max, ScatterFn::Min, ScatterFn::Mul]);
    g.emit(Op::ScatterElements { axis, f }, &[&x, &index, &updates], x.ty.clone(), false, x.limit + 2.0).map(drop)
}

pub(super) fn one_hot(g: &mut Gen<'_, '_>) -> Option<()> {
    let depth = g.c.between(2, 5);
    let index = match g.item(|i| i.ty.dtype == DType::I64 && i.rank() <= 3) {
        Some(i) if g.c.chance(50) => i,
        _ => g.indices(&[3], depth),
    };
    let values = g.constant(DType::F32, &[2], vec![Scalar::Float(0.0), Scalar::Float(1.0)]);
    let axis = g.c.below(index.rank() + 1);
    let mut shape = index.ty.shape.clone();
    shape.insert(axis, Dim::from(depth));
    g.emit(Op::OneHot { axis }, &[&index, &values], TensorType::new(DType::F32, shape), true, 1.0).map(drop)
}

pub(super) fn range(g: &mut Gen<'_, '_>) -> Option<()> {
    let dtype = *g.c.pick(&[DType::I64, DType::F32]);
    let scalar = |x: i64| vec![Scalar::Int(x).wrap(dtype)];
    let (start, step) = (g.c.between(0, 3), g.c.between(1, 2));
    let start = g.constant(dtype, &[], scalar(start));
    let step = g.constant(dtype, &[], scalar(step));
    let size = g.known_size();
    g.emit(Op::Range {}, &[&start, &step], TensorType::new(dtype, vec![size]), true, 32.0).map(drop)
}

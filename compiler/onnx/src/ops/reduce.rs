//! Reductions, ArgMax and ArgMin.

use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, Out};
use crate::import::known;
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{ArgFn, BinaryFn, Op, ReduceFn};

/// The opset from which on an operator takes its axes as an input.
fn reduce(c: &mut Call, f: ReduceFn, axes_since: i64, fold: Option<BinaryFn>) -> Out {
    let x = c.input(0)?;
    let keep = c.attrs.flag("keepdims", true)?;
    let noop = c.attrs.flag("noop_with_empty_axes", false)?;
    let list = c.axes_input(axes_since, 1)?.unwrap_or_default();
    if list.is_empty() && noop {
        // Nothing is reduced, but what the operator does to each element stays.
        return each(c, &x, f);
    }
    let mut axes = if list.is_empty() { (0..x.rank()).collect() } else { c.axes(&list, x.rank())? };
    axes.sort_unstable();
    if let Some(v) = fold.and_then(|g| known::reduce(g, &x, &axes, keep, &c.build.dims)) {
        return Ok(vec![v]);
    }
    let shape = reduced(x.shape(), &axes, keep);
    if axes.is_empty() {
        return each(c, &x, f);
    }
    if x.dtype() == DType::Bool {
        // Of nothing the greatest is false and the least true, which bytes have too.
        let bytes = c.convert(&x, DType::U8)?;
        let v = c.reduce(f, &bytes, &axes, keep)?;
        return Ok(vec![c.convert(&v, DType::Bool)?]);
    }
    Ok(vec![c.emit(Op::Reduce { f, axes, keep }, &[&x], x.dtype(), shape)?])
}

fn reduced(shape: &[Dim], axes: &[usize], keep: bool) -> Vec<Dim> {
    let kept = shape.iter().enumerate().filter(|(k, _)| keep || !axes.contains(k));
    kept.map(|(k, d)| if axes.contains(&k) { Dim::ONE } else { d.clone() }).collect()
}

/// A reduction over no axes: over a new one of size 1.
fn each(c: &mut Call, x: &Val, f: ReduceFn) -> Out {
    if matches!(f, ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Prod | ReduceFn::Max | ReduceFn::Min) {
        return Ok(vec![x.clone()]);
    }
    let mut column = x.shape().to_vec();
    column.push(Dim::ONE);
    let v = c.reshape(x, column)?;
    Ok(vec![c.emit(Op::Reduce { f, axes: vec![x.rank()], keep: false }, &[&v], x.dtype(), x.shape().to_vec())?])
}

macro_rules! reductions {
    ($($name:ident $f:ident $since:literal $fold:expr;)*) => {$(pub fn $name(c: &mut Call) -> Out { reduce(c, ReduceFn::$f, $since, $fold) })*};
}
reductions! {
    reduce_sum Sum 13 Some(BinaryFn::Add);
    reduce_mean Mean 18 None;
    reduce_prod Prod 18 Some(BinaryFn::Mul);
    reduce_max Max 18 Some(BinaryFn::Max);
    reduce_min Min 18 Some(BinaryFn::Min);
    reduce_sum_square SumSquare 18 None;
    reduce_l1 L1 18 None;
    reduce_l2 L2 18 None;
    reduce_log_sum LogSum 18 None;
    reduce_log_sum_exp LogSumExp 18 None;
}

fn arg(c: &mut Call, f: ArgFn) -> Out {
    let x = c.input(0)?;
    let axis = c.axis(c.attrs.int_or("axis", 0)?, x.rank())?;
    let keep = c.attrs.flag("keepdims", true)?;
    let last = c.attrs.flag("select_last_index", false)?;
    let shape = reduced(x.shape(), &[axis], keep);
    Ok(vec![c.emit(Op::ArgReduce { f, axis, keep, last }, &[&x], DType::I64, shape)?])
}
pub fn arg_max(c: &mut Call) -> Out {
    arg(c, ArgFn::Max)
}
pub fn arg_min(c: &mut Call) -> Out {
    arg(c, ArgFn::Min)
}

/// The only one of a list.
pub fn only(list: &[i64]) -> Got<i64> {
    match list {
        [v] => Ok(*v),
        _ => Err(Fault::new(Code::BadOperand, "the axis must be one number")),
    }
}

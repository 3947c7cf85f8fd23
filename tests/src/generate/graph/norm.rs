//! Reductions, normalisations and running sums. Epsilons are large, so that a constant row does not blow rounding up.

use super::{Gen, Item};
use crate::generate::dims::greatest;
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{ArgFn, Op, ReduceFn};

/// The shape after reducing `axes`.
fn reduced(x: &Item, axes: &[usize], keep: bool) -> Vec<Dim> {
    let one = |k: usize| if axes.contains(&k) { if keep { Some(Dim::ONE) } else { None } } else { Some(x.ty.shape[k].clone()) };
    (0..x.rank()).filter_map(one).collect()
}

pub(super) fn reduce(g: &mut Gen<'_, '_>) -> Option<()> {
    use ReduceFn::{L1, L2, LogSum, LogSumExp, Max, Mean, Min, Prod, Sum, SumSquare};
    let mut x = g.float(1)?;
    let mut axes = g.c.permutation(x.rank());
    axes.truncate(1 + g.c.below(x.rank()));
    axes.sort_unstable();
    let keep = g.c.chance(50);
    let n = axes.iter().map(|&k| greatest(&x.ty.shape[k])).fold(1i64, i64::saturating_mul) as f64;
    let f = *g.c.pick(&[Sum, Mean, Max, Min, SumSquare, L1, L2, LogSumExp, LogSum, Prod]);
    let limit = match f {
        Sum | L1 | L2 => n * x.limit,
        SumSquare => n * x.limit * x.limit,
        Mean | Max | Min => x.limit,
        LogSumExp if x.limit <= 30.0 => x.limit + n,
        LogSum => {
            x = g.above(&x, 0.5)?;
            x.limit + n
        }
        Prod => x.limit.max(1.0).powf(n),
        LogSumExp => return None,
    };
    let exact = x.exact && matches!(f, Max | Min);
    g.emit(Op::Reduce { f, axes: axes.clone(), keep }, &[&x], x.with_shape(reduced(&x, &axes, keep)), exact, limit).map(drop)
}

pub(super) fn arg_reduce(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.exact && i.rank() >= 1)?;
    let axis = g.c.below(x.rank());
    let (keep, last, f) = (g.c.chance(50), g.c.chance(30), *g.c.pick(&[ArgFn::Max, ArgFn::Min]));
    let ty = TensorType::new(DType::I64, reduced(&x, &[axis], keep));
    g.emit(Op::ArgReduce { f, axis, keep, last }, &[&x], ty, true, 32.0).map(drop)
}

pub(super) fn softmax(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() >= 1 && i.limit <= 100.0)?;
    let axis = x.rank() - 1 - g.c.below(x.rank());
    let log = g.c.chance(25);
    let limit = if log { 2.0 * x.limit + 8.0 } else { 1.0 };
    g.emit(Op::Softmax { axis, log }, &[&x], x.ty.clone(), false, limit).map(drop)
}

pub(super) fn layer_norm(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() >= 1 && i.limit <= 100.0)?;
    let known: Vec<i64> = x.ty.shape.iter().rev().map_while(Dim::as_const).collect();
    if known.is_empty() {
        return None;
    }
    let mut dims: Vec<i64> = known.iter().take(1 + g.c.below(known.len())).copied().collect();
    dims.reverse();
    let (axis, epsilon) = (x.rank() - dims.len(), 0.0625);
    let scale = g.weight(&dims);
    let limit = dims.iter().product::<i64>() as f64;
    if g.c.chance(40) {
        return g.emit(Op::RmsNorm { axis, epsilon }, &[&x, &scale], x.ty.clone(), false, limit).map(drop);
    }
    if g.c.chance(70) {
        let bias = g.weight(&dims);
        return g.emit(Op::LayerNorm { axis, epsilon }, &[&x, &scale, &bias], x.ty.clone(), false, limit + 1.0).map(drop);
    }
    g.emit(Op::LayerNorm { axis, epsilon }, &[&x, &scale], x.ty.clone(), false, limit).map(drop)
}

/// Group, instance and batch norm: over channels at axis 1.
pub(super) fn group_norm(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() >= 3 && i.limit <= 100.0 && i.ty.shape[1].as_const().is_some())?;
    let channels = x.ty.shape[1].as_const()?;
    let (scale, bias) = (g.weight(&[channels]), g.weight(&[channels]));
    if g.c.chance(40) {
        let mean = g.weight(&[channels]);
        let variance = {
            let data = (0..channels).map(|_| odc_ir::core::Scalar::Float(g.c.between(2, 8) as f64 / 4.0)).collect();
            g.constant(DType::F32, &[channels], data)
        };
        let op = Op::BatchNorm { epsilon: 0.0625 };
        return g.emit(op, &[&x, &scale, &bias, &mean, &variance], x.ty.clone(), false, 2.0 * x.limit + 3.0).map(drop);
    }
    let groups = if channels % 2 == 0 { *g.c.pick(&[1, 2, 0]) } else { *g.c.pick(&[1, 0]) };
    g.emit(Op::GroupNorm { groups, epsilon: 0.0625 }, &[&x, &scale, &bias], x.ty.clone(), false, 100.0).map(drop)
}

pub(super) fn cum_sum(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.float(1)?;
    let axis = g.c.below(x.rank());
    let (exclusive, reverse) = (g.c.chance(40), g.c.chance(40));
    let limit = x.limit * greatest(&x.ty.shape[axis]) as f64;
    g.emit(Op::CumSum { axis, exclusive, reverse }, &[&x], x.ty.clone(), false, limit).map(drop)
}

//! Softmax and the normalisations as stages: a reduction for each statistic, then a map, all over the same leading axes, so that
//! fusion can join them in one dispatch. Variances take a second pass over the differences from the mean.

use super::LowerError;
use super::cx::{Args, Cx, Reduction, Src, axes, i, is, r, raxes, wide};
use super::reduce::{divide, emit, indices};
use odc_ir::core::{Binary, DType, Dim, TensorType, Unary, Value};
use odc_ir::tensor::{Axes, Expr, ExprId, Program, ReduceKind};

type Result<T = Value> = std::result::Result<T, LowerError>;

/// A stage's operands: each value once, and how programs read them.
fn stage<const N: usize>(cx: &Cx, values: [Value; N]) -> Result<(Vec<Value>, [Src; N])> {
    let (operands, xs) = cx.sources(&values);
    let xs = xs.try_into().map_err(|_| LowerError::new("an operand is missing"))?;
    Ok((operands, xs))
}

pub(super) fn softmax(cx: &mut Cx, a: &Args, axis: usize, log: bool) -> Result {
    let x = a.x(0)?;
    let dt = wide(x.ty.dtype);
    let (index, extents) = indices(x, &[axis], false);
    let mut row = is(a.rank());
    row.remove(axis);
    let shape: Vec<Dim> = x.ty.shape.iter().enumerate().filter(|(k, _)| *k != axis).map(|(_, d)| d.clone()).collect();
    let stat = TensorType::new(dt, shape);
    let full = TensorType::new(dt, x.ty.shape.clone());

    let (operands, [s]) = stage(cx, [x.value])?;
    let mut p = Program::new();
    let v = s.wide(&mut p, index.clone());
    let max = emit(cx, &operands, stat.clone(), ReduceKind::Max, &extents, p.returning(v), Program::identity(dt));

    // x - max, or its exponential.
    let (operands, [s, m]) = stage(cx, [x.value, max])?;
    let mut p = Program::new();
    let v = s.wide(&mut p, is(a.rank()));
    let m = m.load(&mut p, row.clone());
    let v = p.binary(Binary::Sub, v, m);
    let v = if log { v } else { p.unary(Unary::Exp, v) };
    let shifted = cx.map(&operands, full, p, v);

    let (operands, [s]) = stage(cx, [shifted])?;
    let mut p = Program::new();
    let v = s.load(&mut p, index);
    let v = if log { p.unary(Unary::Exp, v) } else { v };
    let mut e = Program::new();
    let acc = e.push(Expr::Acc(dt));
    let root = if log { e.unary(Unary::Log, acc) } else { acc };
    let sum = emit(cx, &operands, stat, ReduceKind::Sum, &extents, p.returning(v), e.returning(root));

    let (operands, [s, n]) = stage(cx, [shifted, sum])?;
    let mut p = Program::new();
    let v = s.load(&mut p, is(a.rank()));
    let n = n.load(&mut p, row);
    let v = p.binary(if log { Binary::Sub } else { Binary::Div }, v, n);
    Ok(cx.map(&operands, a.out.clone(), p, v))
}

/// One row of a normalisation: which axes are parallel, which are reduced, and how x is read in both kinds of stage.
struct Rows {
    /// Axes of the statistics.
    stat: Vec<Dim>,
    /// Extents that are reduced.
    reduced: Vec<Dim>,
    /// x's index in a reduction.
    index: Vec<Dim>,
    /// The last map's axes: the statistics' first.
    axes: Axes,
    /// x's index in that map, which is also where the result goes.
    store: Vec<Dim>,
    dt: DType,
}

impl Rows {
    /// The mean of `f(x)` over each row, `after` applied to it.
    fn mean(
        &self,
        cx: &mut Cx,
        values: &[Value],
        f: impl FnOnce(&mut Program, &[Src], ExprId) -> ExprId,
        after: impl FnOnce(&mut Program, ExprId) -> ExprId,
    ) -> Result {
        let (operands, xs) = cx.sources(values);
        let x = xs.first().ok_or_else(|| LowerError::new("operand 0 is missing"))?;
        let mut p = Program::new();
        let v = x.wide(&mut p, self.index.clone());
        let v = f(&mut p, &xs, v);
        let mut e = Program::new();
        let acc = e.push(Expr::Acc(self.dt));
        let m = divide(&mut e, acc, Dim::product(&self.reduced));
        let m = after(&mut e, m);
        let ty = TensorType::new(self.dt, self.stat.clone());
        let red = Reduction {
            kind: ReduceKind::Sum,
            axes: axes(&self.stat),
            raxes: raxes(&self.reduced),
            store: is(self.stat.len()),
            body: p.returning(v),
            epilogue: e.returning(m),
        };
        Ok(cx.reduce(&operands, ty, red))
    }
    /// Mean and reciprocal standard deviation of each row.
    fn mean_and_rstd(&self, cx: &mut Cx, x: Value, epsilon: f64) -> Result<(Value, Value)> {
        let rows = self.stat.len();
        let mean = self.mean(cx, &[x], |_, _, v| v, |_, m| m)?;
        let square = |p: &mut Program, xs: &[Src], v: ExprId| match xs.get(1) {
            Some(mean) => {
                let m = mean.load(p, is(rows));
                let d = p.binary(Binary::Sub, v, m);
                p.binary(Binary::Mul, d, d)
            }
            None => v,
        };
        let rstd = self.mean(cx, &[x, mean], square, |p, m| rsqrt(p, m, epsilon))?;
        Ok((mean, rstd))
    }
}

/// `1 / sqrt(m + epsilon)`.
fn rsqrt(p: &mut Program, m: ExprId, epsilon: f64) -> ExprId {
    let dt = p.dtype(m);
    let eps = p.constant(dt, epsilon);
    let v = p.binary(Binary::Add, m, eps);
    let v = p.unary(Unary::Sqrt, v);
    let one = p.constant(dt, 1.0);
    p.binary(Binary::Div, one, v)
}

/// Rows over the axes from `axis` on.
fn trailing(x: &Src, axis: usize) -> Rows {
    let shape = &x.ty.shape;
    let axis = axis.min(shape.len());
    let (stat, reduced) = shape.split_at(axis);
    let index = (0..shape.len()).map(|k| if k < axis { i(k) } else { r(k - axis) }).collect();
    Rows { stat: stat.to_vec(), reduced: reduced.to_vec(), index, axes: axes(shape), store: is(shape.len()), dt: wide(x.ty.dtype) }
}

pub(super) fn layer_norm(cx: &mut Cx, a: &Args, axis: usize, epsilon: f64) -> Result {
    let x = a.x(0)?;
    let rows = trailing(x, axis);
    let (mean, rstd) = rows.mean_and_rstd(cx, x.value, epsilon)?;
    let affine: Vec<Value> = a.xs.iter().skip(1).map(|s| s.value).collect();
    normalised(cx, a, &rows, x.value, Some(mean), rstd, &affine, |s, index| s.broadcast(index).collect())
}

pub(super) fn rms_norm(cx: &mut Cx, a: &Args, axis: usize, epsilon: f64) -> Result {
    let x = a.x(0)?;
    let rows = trailing(x, axis);
    let rstd = rows.mean(cx, &[x.value], |p, _, v| p.binary(Binary::Mul, v, v), |p, m| rsqrt(p, m, epsilon))?;
    let affine: Vec<Value> = a.xs.iter().skip(1).map(|s| s.value).collect();
    normalised(cx, a, &rows, x.value, None, rstd, &affine, |s, index| s.broadcast(index).collect())
}

pub(super) fn group_norm(cx: &mut Cx, a: &Args, groups: i64, epsilon: f64) -> Result {
    let x = a.x(0)?;
    let (n, c) = (x.dim(0)?.clone(), x.dim(1)?.clone());
    let spatial: Vec<Dim> = x.ty.shape.iter().skip(2).cloned().collect();
    let dt = wide(x.ty.dtype);
    let rows = if groups <= 0 || c.is(groups) {
        let index = [i(0), i(1)].into_iter().chain((0..spatial.len()).map(r)).collect();
        Rows { stat: vec![n, c], reduced: spatial, index, axes: axes(&x.ty.shape), store: is(x.ty.rank()), dt }
    } else {
        // Channels split into groups, so that the group is an axis of every stage.
        let per_group = c.floordiv(&Dim::from(groups));
        let index = [i(0), i(1) * &per_group + r(0)].into_iter().chain((0..spatial.len()).map(|k| r(1 + k))).collect();
        let store = [i(0), i(1) * &per_group + i(2)].into_iter().chain((0..spatial.len()).map(|k| i(3 + k))).collect();
        let stat = vec![n, Dim::from(groups)];
        let reduced: Vec<Dim> = [per_group].into_iter().chain(spatial).collect();
        let all: Vec<Dim> = stat.iter().chain(&reduced).cloned().collect();
        Rows { stat, reduced, index, axes: axes(&all), store, dt }
    };
    let (mean, rstd) = rows.mean_and_rstd(cx, x.value, epsilon)?;
    let affine: Vec<Value> = a.xs.iter().skip(1).map(|s| s.value).collect();
    normalised(cx, a, &rows, x.value, Some(mean), rstd, &affine, |_, index| index.get(1).cloned().into_iter().collect())
}

/// `(x - mean) * rstd (* scale) (+ bias)`; `place` gives the index of scale and bias from x's.
#[allow(clippy::too_many_arguments)]
fn normalised(
    cx: &mut Cx,
    a: &Args,
    rows: &Rows,
    x: Value,
    mean: Option<Value>,
    rstd: Value,
    affine: &[Value],
    place: impl Fn(&Src, &[Dim]) -> Vec<Dim>,
) -> Result {
    let values: Vec<Value> = [x, rstd].into_iter().chain(mean).chain(affine.iter().copied()).collect();
    let (operands, xs) = cx.sources(&values);
    let mut xs = xs.into_iter();
    let (Some(x), Some(rstd)) = (xs.next(), xs.next()) else {
        return Err(LowerError::new("operand 0 is missing"));
    };
    let row = is(rows.stat.len());
    let mut p = Program::new();
    let mut v = x.wide(&mut p, rows.store.clone());
    if mean.is_some()
        && let Some(m) = xs.next()
    {
        let m = m.load(&mut p, row.clone());
        v = p.binary(Binary::Sub, v, m);
    }
    let s = rstd.load(&mut p, row);
    v = p.binary(Binary::Mul, v, s);
    for (f, s) in [Binary::Mul, Binary::Add].into_iter().zip(xs) {
        let index = place(&s, &rows.store);
        let y = s.wide(&mut p, index);
        let y = p.cast(rows.dt, y);
        v = p.binary(f, v, y);
    }
    Ok(cx.map_to(&operands, a.out.clone(), rows.axes.clone(), rows.store.clone(), p, v))
}

/// `(x - mean) * factor + bias`, where `factor = scale / sqrt(variance + epsilon)` is a small map over the channels.
pub(super) fn batch_norm(cx: &mut Cx, a: &Args, epsilon: f64) -> Result {
    let dt = wide(a.out.dtype);
    let (scale, variance) = (a.x(1)?, a.x(4)?);
    let (operands, [s, var]) = stage(cx, [scale.value, variance.value])?;
    let mut p = Program::new();
    let v = var.wide(&mut p, [i(0)]);
    let v = p.cast(dt, v);
    let r = rsqrt(&mut p, v, epsilon);
    let k = s.wide(&mut p, [i(0)]);
    let k = p.cast(dt, k);
    let v = p.binary(Binary::Mul, k, r);
    let factor = cx.map(&operands, TensorType::new(dt, scale.ty.shape.clone()), p, v);

    let (operands, [x, mean, factor, bias]) = stage(cx, [a.x(0)?.value, a.x(3)?.value, factor, a.x(2)?.value])?;
    let mut p = Program::new();
    let mut v = x.wide(&mut p, is(a.rank()));
    for (f, s) in [(Binary::Sub, mean), (Binary::Mul, factor), (Binary::Add, bias)] {
        let y = s.wide(&mut p, [i(1)]);
        let y = p.cast(dt, y);
        v = p.binary(f, v, y);
    }
    Ok(cx.map(&operands, a.out.clone(), p, v))
}

//! Linear models: a product with constant coefficients, then transforms of the scores.

use super::feature::matrix;
use super::post::{Labels, Post, features, row, two_classes};
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op};

/// `x` by a matrix given as columns of weights.
pub fn product(c: &mut Call, x: &Val, weights: &Val) -> Got<Val> {
    let rows = x.shape().first().cloned().unwrap_or(Dim::ONE);
    let columns = weights.shape().last().cloned().unwrap_or(Dim::ONE);
    c.emit(Op::MatMul {}, &[x, weights], x.dtype(), vec![rows, columns])
}

/// `x · coefficients^T + intercepts`: `[rows, targets]`.
fn scores(c: &mut Call, x: &Val, targets: Option<usize>) -> Got<Val> {
    let coefficients = c.attrs.floats("coefficients")?.unwrap_or(&[]);
    let intercepts = c.attrs.floats("intercepts")?.unwrap_or(&[]);
    let targets = targets.or(Some(intercepts.len())).filter(|t| *t > 0);
    let width = x.shape().last().and_then(Dim::as_const).and_then(|n| usize::try_from(n).ok());
    let width = width.or_else(|| targets.and_then(|t| coefficients.len().checked_div(t))).filter(|w| *w > 0);
    // More coefficients than are needed are legal: the first ones count.
    let width = width.filter(|w| targets.map_or(*w, |t| w.saturating_mul(t)) <= coefficients.len());
    let width =
        width.ok_or_else(|| bad("coefficients", format!("has {} numbers, which do not fit the rows {}", coefficients.len(), x.ty)))?;
    if let Some(have) = x.shape().last() {
        c.equal(have, &Dim::from(width as i64), "the width of the rows")?;
    }
    let targets = targets.unwrap_or(coefficients.len() / width);
    let weights = matrix(x.dtype(), width, targets, |r, k| coefficients.get(k * width + r).map_or(0.0, |v| f64::from(*v)));
    let mut s = product(c, x, &weights)?;
    if !intercepts.is_empty() {
        if intercepts.len() != targets {
            return Err(bad("intercepts", format!("has {} numbers for {targets} targets", intercepts.len())));
        }
        s = c.binary(BinaryFn::Add, &s, &row(x.dtype(), intercepts.iter().map(|v| f64::from(*v))))?;
    }
    Ok(s)
}

pub fn regressor(c: &mut Call) -> Out {
    let post = Post::read(c)?;
    let x = features(c)?;
    let targets = usize::try_from(c.attrs.int_or("targets", 1)?).ok();
    let s = scores(c, &x, targets)?;
    let y = post.apply(c, &s)?;
    Ok(vec![c.cast(&y, DType::F32)?])
}

pub fn classifier(c: &mut Call) -> Out {
    c.attrs.ignore(&["multi_class"]);
    let post = Post::read(c)?;
    let labels = Labels::read(c, "classlabels_ints")?;
    let x = features(c)?;
    let x = c.cast(&x, DType::F32)?;
    let s = scores(c, &x, None)?;
    if !s.shape().last().is_some_and(|d| d.is(1)) {
        let label = labels.greatest(c, &s)?;
        return Ok(vec![label, post.apply(c, &s)?]);
    }
    let yes = c.binary(BinaryFn::Gt, &s, &Val::scalar(s.dtype(), 0.0))?;
    let label = labels.either(c, &yes)?;
    let y = if labels.len() == 2 { two_classes(c, &s, post, true)? } else { post.apply(c, &s)? };
    Ok(vec![label, y])
}

//! Support vector machines: kernels of each row with constant vectors, then products with constant coefficients. Classifiers
//! decide between each pair of classes and count the votes.

use super::feature::matrix;
use super::linear::product;
use super::post::{Labels, Post, features, row, two_columns};
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Linear,
    Poly,
    Rbf,
    Sigmoid,
}

fn floats(c: &Call, name: &str) -> Got<Vec<f64>> {
    Ok(c.attrs.floats(name)?.unwrap_or(&[]).iter().map(|v| f64::from(*v)).collect())
}

/// The kernel of each row with each of `count` vectors: `[rows, count]`.
fn kernel(c: &mut Call, x: &Val, vectors: &[f64], count: usize, as_linear: bool) -> Got<Val> {
    let all = [("LINEAR", Kernel::Linear), ("POLY", Kernel::Poly), ("RBF", Kernel::Rbf), ("SIGMOID", Kernel::Sigmoid)];
    let kind = c.attrs.choice("kernel_type", "LINEAR", &all)?;
    let kind = if as_linear { Kernel::Linear } else { kind };
    let params = floats(c, "kernel_params")?;
    let param = |k: usize| params.get(k).copied().unwrap_or(0.0);
    let width = vectors.len().checked_div(count).filter(|w| *w > 0 && w * count == vectors.len());
    let width = width.ok_or_else(|| bad("support_vectors", format!("has {} numbers for {count} vectors", vectors.len())))?;
    if let Some(have) = x.shape().last() {
        c.equal(have, &Dim::from(width as i64), "the width of the rows")?;
    }
    let dt = x.dtype();
    let at = |v: usize, k: usize| vectors.get(v * width + k).copied().unwrap_or(0.0);
    if kind == Kernel::Rbf {
        let rows = x.shape().first().cloned().unwrap_or(Dim::ONE);
        let x = c.reshape(x, vec![rows.clone(), Dim::ONE, Dim::from(width as i64)])?;
        let apart = c.binary(BinaryFn::Sub, &x, &matrix(dt, count, width, at))?;
        let shape = vec![rows, Dim::from(count as i64)];
        let squares = c.emit(Op::Reduce { f: ReduceFn::SumSquare, axes: vec![2], keep: false }, &[&apart], dt, shape)?;
        let scaled = c.binary(BinaryFn::Mul, &squares, &Val::scalar(dt, -param(0)))?;
        return c.unary(UnaryFn::Exp, &scaled);
    }
    let dot = product(c, x, &matrix(dt, width, count, |k, v| at(v, k)))?;
    if kind == Kernel::Linear {
        return Ok(dot);
    }
    let scaled = c.binary(BinaryFn::Mul, &dot, &Val::scalar(dt, param(0)))?;
    let s = c.binary(BinaryFn::Add, &scaled, &Val::scalar(dt, param(1)))?;
    match kind {
        Kernel::Sigmoid => c.unary(UnaryFn::Tanh, &s),
        Kernel::Poly => c.binary(BinaryFn::Pow, &s, &Val::scalar(dt, param(2))),
        Kernel::Linear | Kernel::Rbf => Ok(s),
    }
}

pub fn regressor(c: &mut Call) -> Out {
    c.attrs.ignore(&["n_targets"]);
    let post = Post::read(c)?;
    let x = features(c)?;
    let coefficients = floats(c, "coefficients")?;
    let supports = usize::try_from(c.attrs.int_or("n_supports", 0)?).map_err(|_| bad("n_supports", "is negative"))?;
    let vectors = floats(c, "support_vectors")?;
    let s = if supports > 0 {
        let k = kernel(c, &x, &vectors, supports, false)?;
        if coefficients.len() != supports {
            return Err(bad("coefficients", format!("has {} numbers for {supports} vectors", coefficients.len())));
        }
        product(c, &k, &matrix(x.dtype(), supports, 1, |v, _| coefficients.get(v).copied().unwrap_or(0.0)))?
    } else {
        kernel(c, &x, &coefficients, 1, true)?
    };
    let rho = floats(c, "rho")?.first().copied().unwrap_or(0.0);
    let s = c.binary(BinaryFn::Add, &s, &Val::scalar(x.dtype(), rho))?;
    let y = if c.attrs.flag("one_class", false)? {
        let dt = s.dtype();
        let inside = c.binary(BinaryFn::Gt, &s, &Val::scalar(dt, 0.0))?;
        c.emit(Op::Select {}, &[&inside, &Val::scalar(dt, 1.0), &Val::scalar(dt, -1.0)], dt, s.shape().to_vec())?
    } else {
        post.apply(c, &s)?
    };
    Ok(vec![c.cast(&y, DType::F32)?])
}

pub fn classifier(c: &mut Call) -> Out {
    let post = Post::read(c)?;
    let labels = Labels::read(c, "classlabels_ints")?;
    let x = features(c)?;
    let x = c.cast(&x, DType::F32)?;
    let classes = labels.len().max(1);
    let coefficients = floats(c, "coefficients")?;
    let rho = floats(c, "rho")?;
    let (prob_a, prob_b) = (floats(c, "prob_a")?, floats(c, "prob_b")?);
    let vectors = floats(c, "support_vectors")?;
    let per_class = c.attrs.ints("vectors_per_class")?.unwrap_or(&[]).to_vec();
    if per_class.is_empty() {
        return linear(c, &x, &labels, post, &coefficients, &rho);
    }
    let starts: Option<Vec<usize>> = per_class
        .iter()
        .scan(0usize, |at, n| {
            let start = *at;
            *at = usize::try_from(*n).ok().and_then(|n| at.checked_add(n)).unwrap_or(usize::MAX);
            Some(if *at == usize::MAX { None } else { Some(start) })
        })
        .collect();
    let starts =
        starts.filter(|s| s.len() == classes).ok_or_else(|| bad("vectors_per_class", format!("is {per_class:?} for {classes} classes")))?;
    let count = per_class.iter().map(|n| *n as usize).sum::<usize>();
    let pairs: Vec<(usize, usize)> = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j))).collect();
    if coefficients.len() != count * classes.saturating_sub(1) || rho.len() < pairs.len() {
        return Err(bad("coefficients", format!("and rho do not fit {count} vectors of {classes} classes")));
    }
    let k = kernel(c, &x, &vectors, count, false)?;
    let class_of = |v: usize| starts.iter().rposition(|s| *s <= v).unwrap_or(0);
    // The decision between i and j takes the vectors of both.
    let weight = |v: usize, p: usize| {
        let Some(&(i, j)) = pairs.get(p) else { return 0.0 };
        let line = match class_of(v) {
            k if k == i => j - 1,
            k if k == j => i,
            _ => return 0.0,
        };
        coefficients.get(line * count + v).copied().unwrap_or(0.0)
    };
    let dt = x.dtype();
    let s = product(c, &k, &matrix(dt, count, pairs.len(), weight))?;
    let s = c.binary(BinaryFn::Add, &s, &row(dt, rho.iter().take(pairs.len()).copied()))?;
    let first = c.binary(BinaryFn::Gt, &s, &Val::scalar(dt, 0.0))?;
    let first = c.cast(&first, dt)?;
    // A vote goes to i where the score is positive, to j elsewhere.
    let is = |p: usize, class: usize, want: fn(&(usize, usize)) -> usize| f64::from(pairs.get(p).is_some_and(|p| want(p) == class));
    let gain = matrix(dt, pairs.len(), classes, |p, k| is(p, k, |p| p.0) - is(p, k, |p| p.1));
    let base = row(dt, (0..classes).map(|k| (0..pairs.len()).map(|p| is(p, k, |p| p.1)).sum::<f64>()));
    let votes = product(c, &first, &gain)?;
    let votes = c.binary(BinaryFn::Add, &votes, &base)?;
    let label = labels.greatest(c, &votes)?;
    let scores = if prob_a.is_empty() {
        if pairs.len() == 1 { two_columns(c, &s, false)? } else { s }
    } else if pairs.len() == 1 {
        // For two classes the coupled probabilities are those of the one decision.
        let (a, b) = (prob_a.first().copied().unwrap_or(0.0), prob_b.first().copied().unwrap_or(0.0));
        let scaled = c.binary(BinaryFn::Mul, &s, &Val::scalar(dt, a))?;
        let z = c.binary(BinaryFn::Add, &scaled, &Val::scalar(dt, b))?;
        let p = c.unary(UnaryFn::Sigmoid, &z)?;
        let p = c.binary(BinaryFn::Max, &p, &Val::scalar(dt, 1e-7))?;
        let p = c.binary(BinaryFn::Min, &p, &Val::scalar(dt, 1.0 - 1e-7))?;
        two_columns(c, &p, true)?
    } else {
        let f = unsupported_use("probabilities of more than two classes (`prob_a`), which are found by iteration, are not supported");
        return Err(f.help("export the classifier without probabilities"));
    };
    Ok(vec![label, post.apply(c, &scores)?])
}

/// Without support vectors: one line of coefficients a class.
fn linear(c: &mut Call, x: &Val, labels: &Labels, post: Post, coefficients: &[f64], rho: &[f64]) -> Out {
    let s = kernel(c, x, coefficients, labels.len().max(1), true)?;
    let s = c.binary(BinaryFn::Add, &s, &Val::scalar(x.dtype(), rho.first().copied().unwrap_or(0.0)))?;
    let label = labels.greatest(c, &s)?;
    Ok(vec![label, post.apply(c, &s)?])
}

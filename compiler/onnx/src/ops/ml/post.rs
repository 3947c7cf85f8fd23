//! What the models of ai.onnx.ml share: constant tables, the transforms of scores, and class labels.

use crate::import::call::{Call, Got, operand};
use crate::import::value::{Elem, Val};
use odc_ir::core::{DType, Dim, Scalar, TensorType};
use odc_ir::graph::{ArgFn, BinaryFn, Op, ReduceFn, UnaryFn};

/// A constant; `values` are as many as the shape has.
pub fn table(dtype: DType, shape: &[usize], values: impl IntoIterator<Item = f64>) -> Val {
    let shape: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
    let elem = |v: f64| if dtype.is_float() { Elem::Float(Scalar::Float(v).wrap(dtype).as_f64()) } else { Elem::int(v as i64) };
    Val::known(TensorType::of(dtype, &shape), values.into_iter().map(elem).collect())
}

/// A constant of one axis.
pub fn row(dtype: DType, values: impl IntoIterator<Item = f64>) -> Val {
    let values: Vec<f64> = values.into_iter().collect();
    table(dtype, &[values.len()], values)
}

pub fn int_row(values: impl IntoIterator<Item = i64>) -> Val {
    Val::ints(values.into_iter().map(Dim::from))
}

/// The rows as a matrix of floats: a vector counts as one row, integers become f32.
pub fn features(c: &mut Call) -> Got<Val> {
    let x = c.input(0)?;
    let x = if x.dtype() == DType::F64 { x } else { c.cast(&x, DType::F32)? };
    match x.shape() {
        [_, _] => Ok(x),
        [n] => {
            let n = n.clone();
            c.reshape(&x, vec![Dim::ONE, n])
        }
        _ => Err(operand(format!("the rows are {}, must have two axes", x.ty))),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Post {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

impl Post {
    pub const ALL: [(&'static str, Post); 5] = [
        ("NONE", Post::None),
        ("SOFTMAX", Post::Softmax),
        ("LOGISTIC", Post::Logistic),
        ("SOFTMAX_ZERO", Post::SoftmaxZero),
        ("PROBIT", Post::Probit),
    ];
    pub fn read(c: &Call) -> Got<Post> {
        c.attrs.choice("post_transform", "NONE", &Post::ALL)
    }

    /// Scores `[rows, n]`, transformed.
    pub fn apply(self, c: &mut Call, s: &Val) -> Got<Val> {
        match self {
            Post::None => Ok(s.clone()),
            Post::Logistic => c.unary(UnaryFn::Sigmoid, s),
            Post::Softmax => {
                let axis = s.rank().saturating_sub(1);
                c.emit(Op::Softmax { axis, log: false }, &[s], s.dtype(), s.shape().to_vec())
            }
            Post::SoftmaxZero => softmax_zero(c, s),
            Post::Probit => probit(c, s),
        }
    }
}

/// Over the last axis, which stays with size 1 if `keep`.
pub fn reduce(c: &mut Call, f: ReduceFn, x: &Val, axis: usize, keep: bool) -> Got<Val> {
    let mut shape = x.shape().to_vec();
    match (keep, shape.get_mut(axis)) {
        (true, Some(d)) => *d = Dim::ONE,
        (false, Some(_)) => drop(shape.remove(axis)),
        (_, None) => {}
    }
    c.emit(Op::Reduce { f, axes: vec![axis], keep }, &[x], x.dtype(), shape)
}

/// A softmax in which zeros count as nothing.
fn softmax_zero(c: &mut Call, s: &Val) -> Got<Val> {
    let dt = s.dtype();
    let most = reduce(c, ReduceFn::Max, s, 1, true)?;
    let size = c.unary(UnaryFn::Abs, s)?;
    let counts = c.binary(BinaryFn::Gt, &size, &Val::scalar(dt, 1e-7))?;
    let above = c.binary(BinaryFn::Sub, s, &most)?;
    let above = c.unary(UnaryFn::Exp, &above)?;
    let down = c.unary(UnaryFn::Neg, &most)?;
    let down = c.unary(UnaryFn::Exp, &down)?;
    let zero = c.binary(BinaryFn::Mul, s, &down)?;
    let e = c.emit(Op::Select {}, &[&counts, &above, &zero], dt, s.shape().to_vec())?;
    let sum = reduce(c, ReduceFn::Sum, &e, 1, true)?;
    let nothing = c.binary(BinaryFn::Eq, &sum, &Val::scalar(dt, 0.0))?;
    let y = c.binary(BinaryFn::Div, &e, &sum)?;
    c.emit(Op::Select {}, &[&nothing, &Val::scalar(dt, 0.5), &y], dt, s.shape().to_vec())
}

/// `sqrt(2) * erf_inv(2 x - 1)` by Winitzki's approximation, as other runtimes compute it.
fn probit(c: &mut Call, s: &Val) -> Got<Val> {
    let dt = s.dtype();
    let k = |v: f64| Val::scalar(dt, v);
    let twice = c.binary(BinaryFn::Mul, s, &k(2.0))?;
    let x = c.binary(BinaryFn::Sub, &twice, &k(1.0))?;
    let sign = c.unary(UnaryFn::Sign, &x)?;
    let square = c.binary(BinaryFn::Mul, &x, &x)?;
    let rest = c.binary(BinaryFn::Sub, &k(1.0), &square)?;
    let log = c.unary(UnaryFn::Log, &rest)?;
    let half = c.binary(BinaryFn::Mul, &log, &k(0.5))?;
    let v = c.binary(BinaryFn::Add, &half, &k(2.0 / (std::f64::consts::PI * 0.147)))?;
    let v2 = c.binary(BinaryFn::Mul, &v, &v)?;
    let scaled = c.binary(BinaryFn::Mul, &log, &k(1.0 / 0.147))?;
    let under = c.binary(BinaryFn::Sub, &v2, &scaled)?;
    let root = c.unary(UnaryFn::Sqrt, &under)?;
    let inner = c.binary(BinaryFn::Sub, &root, &v)?;
    let inner = c.unary(UnaryFn::Sqrt, &inner)?;
    let signed = c.binary(BinaryFn::Mul, &inner, &sign)?;
    c.binary(BinaryFn::Mul, &signed, &k(std::f64::consts::SQRT_2))
}

/// The classes of a classifier.
pub enum Labels {
    Ints(Vec<i64>),
    Strings(Vec<String>),
}

impl Labels {
    pub fn read(c: &Call, ints: &str) -> Got<Labels> {
        let strings = c.attrs.strs("classlabels_strings")?.filter(|l| !l.is_empty());
        let ints = c.attrs.ints(ints)?.unwrap_or(&[]);
        Ok(strings.map_or_else(|| Labels::Ints(ints.to_vec()), |s| Labels::Strings(s.into_iter().map(String::from).collect())))
    }
    pub fn len(&self) -> usize {
        match self {
            Labels::Ints(l) => l.len(),
            Labels::Strings(l) => l.len(),
        }
    }

    /// The labels at the positions `at`.
    pub fn pick(&self, c: &mut Call, at: &Val) -> Got<Val> {
        match self {
            Labels::Ints(l) if l.is_empty() || l.iter().enumerate().all(|(k, v)| *v == k as i64) => Ok(at.clone()),
            Labels::Ints(l) => c.emit(Op::Gather { axis: 0 }, &[&int_row(l.iter().copied()), at], DType::I64, at.shape().to_vec()),
            // Nobody asks for them: positions do.
            Labels::Strings(_) if !c.has_output(0) => Ok(at.clone()),
            Labels::Strings(l) => {
                let labels = c.build.strings(&[l.len() as i64], l);
                c.emit(Op::Gather { axis: 0 }, &[&labels, at], DType::Str, at.shape().to_vec())
            }
        }
    }
    /// The second label where `yes`, the first elsewhere; 1 and 0 where there are no two. `yes` is `[rows, 1]`.
    pub fn either(&self, c: &mut Call, yes: &Val) -> Got<Val> {
        let rows = yes.shape().first().cloned().unwrap_or(Dim::ONE);
        let at = c.cast(yes, DType::I64)?;
        let at = c.reshape(&at, vec![rows])?;
        if self.len() < 2 { Ok(at) } else { self.pick(c, &at) }
    }
    /// The label of the greatest score; the first of equals.
    pub fn greatest(&self, c: &mut Call, scores: &Val) -> Got<Val> {
        let rows = scores.shape().first().cloned().unwrap_or(Dim::ONE);
        let arg = Op::ArgReduce { f: ArgFn::Max, axis: 1, keep: false, last: false };
        let at = c.emit(arg, &[scores], DType::I64, vec![rows])?;
        self.pick(c, &at)
    }
}

/// What one score says of two classes, transformed as other runtimes do it, who leave a softmax of one score out.
pub fn two_classes(c: &mut Call, s: &Val, post: Post, one_minus: bool) -> Got<Val> {
    let both = two_columns(c, s, one_minus && post != Post::Logistic)?;
    match post {
        Post::Logistic | Post::Probit => post.apply(c, &both),
        Post::None | Post::Softmax | Post::SoftmaxZero => Ok(both),
    }
}

/// `[-s, s]` or `[1 - s, s]` of a column `s`.
pub fn two_columns(c: &mut Call, s: &Val, one_minus: bool) -> Got<Val> {
    let other = if one_minus { c.binary(BinaryFn::Sub, &Val::scalar(s.dtype(), 1.0), s)? } else { c.unary(UnaryFn::Neg, s)? };
    let rows = s.shape().first().cloned().unwrap_or(Dim::ONE);
    c.emit(Op::Concat { axis: 1 }, &[&other, s], s.dtype(), vec![rows, Dim::from(2)])
}

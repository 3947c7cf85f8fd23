//! Scalar programs made ready to run: symbols replaced by their numbers, dims over the axes turned into sums of products where
//! they are such sums.

use super::fail;
use crate::core::{Atom, Binary, Binding, DType, Dim, InterpError, Scalar, Sym, TensorValue, Unary};
use crate::tensor::{Axes, Expr, Index, Program};

/// A dim over axis positions.
enum Position {
    /// `constant + sum of axis * factor`.
    Affine(i64, Vec<(usize, i64)>),
    /// With divisions, minima, maxima or products of axes.
    General(Dim),
}

/// Axes in scope and the module's symbols.
pub(super) struct Scope<'a> {
    pub axes: Vec<&'a Sym>,
    pub binding: &'a Binding,
}

impl<'a> Scope<'a> {
    pub fn new(binding: &'a Binding, axes: &[&'a Axes]) -> Self {
        Scope { axes: axes.iter().flat_map(|a| a.iter().map(|(s, _)| s)).collect(), binding }
    }
}

/// One expression, ready.
enum Step {
    Value(Scalar),
    Dim(Position),
    Acc,
    Load(usize, DType, Vec<Coordinate>),
    Unary(Unary, DType, usize),
    Binary(Binary, DType, usize, usize),
    Select(usize, usize, usize),
    Cast(DType, DType, usize),
    Bitcast(DType, DType, usize),
    Inside(Vec<(Position, Position)>),
}

enum Coordinate {
    At(Position),
    Value(usize),
}

/// A program that can be evaluated at an axis position.
pub(super) struct Ready<'a> {
    scope: Scope<'a>,
    steps: Vec<Step>,
    root: usize,
    pub dtype: DType,
    values: Vec<Scalar>,
}

fn position(scope: &Scope, d: &Dim) -> Position {
    let d = d.subst(&|s| if scope.axes.contains(&s) { None } else { scope.binding.get(s).map(Dim::from) });
    let mut terms = vec![];
    for (m, c) in d.terms() {
        match m.factors() {
            [] => {}
            [(Atom::Sym(s), 1)] => match scope.axes.iter().position(|a| *a == s) {
                Some(k) => terms.push((k, *c)),
                None => return Position::General(d.clone()),
            },
            _ => return Position::General(d.clone()),
        }
    }
    if d.is_poison() { Position::General(d) } else { Position::Affine(d.constant_part(), terms) }
}

impl Scope<'_> {
    fn eval(&self, p: &Position, at: &[i64]) -> Result<i64, InterpError> {
        match p {
            Position::Affine(c, terms) => Ok(terms.iter().fold(*c, |n, (k, f)| n.wrapping_add(f.wrapping_mul(at[*k])))),
            Position::General(d) => {
                let axis = |s: &Sym| self.axes.iter().position(|a| *a == s).and_then(|k| at.get(k).copied());
                Ok(d.eval(&|s| axis(s).or_else(|| self.binding.get(s)))?)
            }
        }
    }
}

/// Dims that are evaluated at every axis position: where results go.
pub(super) struct Places<'a> {
    scope: Scope<'a>,
    dims: Vec<Position>,
}

impl<'a> Places<'a> {
    pub fn new(scope: Scope<'a>, dims: &[Dim]) -> Self {
        let dims = dims.iter().map(|d| position(&scope, d)).collect();
        Places { scope, dims }
    }
    pub fn at(&self, at: &[i64]) -> Result<Vec<i64>, InterpError> {
        self.dims.iter().map(|d| self.scope.eval(d, at)).collect()
    }
}

impl<'a> Ready<'a> {
    pub fn new(p: &Program, scope: Scope<'a>) -> Result<Self, InterpError> {
        let root = p.root.ok_or_else(|| fail("a program without a value"))?.0 as usize;
        let id = |e: &crate::tensor::ExprId| e.0 as usize;
        let mut steps = Vec::with_capacity(p.exprs.len());
        for (k, e) in p.exprs.iter().enumerate() {
            let mut ordered = root < p.exprs.len();
            super::super::program::operands(e, &mut |o| ordered &= id(&o) < k);
            if !ordered {
                return Err(fail("a program's expressions are out of order"));
            }
            steps.push(match e {
                Expr::Const(_, v) => Step::Value(*v),
                Expr::Dim(d) => Step::Dim(position(&scope, d)),
                Expr::Acc(_) => Step::Acc,
                Expr::Load { operand, dtype, index } => {
                    let index = index.iter().map(|i| match i {
                        Index::Dim(d) => Coordinate::At(position(&scope, d)),
                        Index::Value(v) => Coordinate::Value(id(v)),
                    });
                    Step::Load(*operand as usize, *dtype, index.collect())
                }
                Expr::Unary(f, a) => Step::Unary(*f, p.dtype(*a), id(a)),
                Expr::Binary(f, a, b) => Step::Binary(*f, p.dtype(*a), id(a), id(b)),
                Expr::Select(c, a, b) => Step::Select(id(c), id(a), id(b)),
                Expr::Cast(dt, a) => Step::Cast(p.dtype(*a), *dt, id(a)),
                Expr::Bitcast(dt, a) => Step::Bitcast(p.dtype(*a), *dt, id(a)),
                Expr::Inside(pairs) => Step::Inside(pairs.iter().map(|(d, n)| (position(&scope, d), position(&scope, n))).collect()),
            });
        }
        Ok(Ready { scope, steps, root, dtype: p.result_dtype(), values: vec![] })
    }

    /// The value at the axes' position `at`.
    pub fn eval(&mut self, operands: &[&TensorValue], at: &[i64], acc: Scalar) -> Result<Scalar, InterpError> {
        let mut v = std::mem::take(&mut self.values);
        v.clear();
        for s in &self.steps {
            let x = match s {
                Step::Value(x) => *x,
                Step::Dim(d) => Scalar::Int(self.scope.eval(d, at)?),
                Step::Acc => acc,
                Step::Load(operand, dtype, index) => {
                    let t = operands.get(*operand).ok_or_else(|| fail("a load of an operand that is not there"))?;
                    if index.len() != t.rank() || t.dtype != *dtype {
                        return Err(fail(&format!("a load as {dtype} with {} coordinates from {}", index.len(), t.type_text())));
                    }
                    let mut place = Vec::with_capacity(index.len());
                    for c in index {
                        place.push(match c {
                            Coordinate::At(d) => self.scope.eval(d, at)?,
                            Coordinate::Value(k) => v[*k].as_i64(),
                        });
                    }
                    // Nothing can be read from an empty tensor; a program must not depend on it.
                    t.nearest(&place).unwrap_or(Scalar::Int(0).wrap(*dtype))
                }
                Step::Unary(f, dt, a) => f.eval(*dt, v[*a]),
                Step::Binary(f, dt, a, b) => f.eval(*dt, v[*a], v[*b]),
                Step::Select(c, a, b) => {
                    if v[*c].as_bool() {
                        v[*a]
                    } else {
                        v[*b]
                    }
                }
                Step::Cast(from, to, a) => v[*a].cast(*from, *to),
                Step::Bitcast(from, to, a) => v[*a].bitcast(*from, *to),
                Step::Inside(pairs) => {
                    let mut inside = true;
                    for (d, n) in pairs {
                        let d = self.scope.eval(d, at)?;
                        inside &= 0 <= d && d < self.scope.eval(n, at)?;
                    }
                    Scalar::Bool(inside)
                }
            };
            v.push(x);
        }
        let x = v[self.root];
        self.values = v;
        Ok(x)
    }
}

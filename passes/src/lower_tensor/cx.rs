//! What every lowering rule needs: operands with their types, loads that broadcast, and the emission of structured ops with
//! simplified index dims, no unused operands and the graph op's location.

use super::LowerError;
use odc_ir::core::{Builder, Const, ConstId, DType, Dim, Ranges, Scalar, Sym, TensorType, Value};
use odc_ir::graph;
use odc_ir::tensor::{Axes, Expr, ExprId, Index, Module, Op, Program, ReduceKind, Tensor};
use std::collections::BTreeMap;

/// The parallel axis `i<k>`.
pub(super) fn i(k: usize) -> Dim {
    Dim::sym(&format!("i{k}"))
}
/// The reduced axis `r<k>`.
pub(super) fn r(k: usize) -> Dim {
    Dim::sym(&format!("r{k}"))
}
/// `i0, i1, …` for `n` axes.
pub(super) fn is(n: usize) -> Vec<Dim> {
    (0..n).map(i).collect()
}
fn named(prefix: char, extents: &[Dim]) -> Axes {
    extents.iter().enumerate().map(|(k, d)| (Sym::new(&format!("{prefix}{k}")), d.clone())).collect()
}
/// Axes `i0, i1, …` with these extents.
pub(super) fn axes(extents: &[Dim]) -> Axes {
    named('i', extents)
}
/// Axes `r0, r1, …` with these extents.
pub(super) fn raxes(extents: &[Dim]) -> Axes {
    named('r', extents)
}

/// The type that arithmetic on `dt` is done in: 16-bit floats compute in f32.
pub(super) fn wide(dt: DType) -> DType {
    match dt {
        DType::F16 | DType::BF16 => DType::F32,
        _ if dt.is_storage() && dt.is_float() => DType::F32,
        _ if dt.is_storage() => DType::I32,
        DType::F32 | DType::F64 | DType::Bool => dt,
        _ => dt,
    }
}

/// An operand as programs see it.
#[derive(Clone, Debug)]
pub(super) struct Src {
    pub value: Value,
    /// Its place among the operation's operands.
    pub number: u32,
    pub ty: TensorType,
}

impl Src {
    pub fn dim(&self, axis: usize) -> Result<&Dim, LowerError> {
        self.ty.shape.get(axis).ok_or_else(|| LowerError::new(format!("an operand of type {} has no axis {axis}", self.ty)))
    }
    /// Loads the element at `index`; an axis of size 1 is read at 0, whatever the index.
    pub fn at(&self, p: &mut Program, index: impl IntoIterator<Item = Index>) -> ExprId {
        let index = index.into_iter().zip(&self.ty.shape).map(|(x, d)| if d.is(1) { Index::Dim(Dim::ZERO) } else { x }).collect();
        p.push(Expr::Load { operand: self.number, dtype: self.ty.dtype, index })
    }
    pub fn load(&self, p: &mut Program, index: impl IntoIterator<Item = Dim>) -> ExprId {
        self.at(p, index.into_iter().map(Index::Dim))
    }
    /// Loads and widens to the type that arithmetic is done in.
    pub fn wide(&self, p: &mut Program, index: impl IntoIterator<Item = Dim>) -> ExprId {
        let x = self.load(p, index);
        p.cast(wide(self.ty.dtype), x)
    }
    /// The index that broadcasts this operand against `result`: right-aligned.
    pub fn broadcast<'d>(&self, result: &'d [Dim]) -> impl Iterator<Item = Dim> + 'd {
        result.iter().skip(result.len().saturating_sub(self.ty.rank())).cloned()
    }
    /// Loads the only element of a tensor of any rank.
    pub fn scalar(&self, p: &mut Program) -> ExprId {
        self.load(p, vec![Dim::ZERO; self.ty.rank()])
    }
}

/// One graph op to lower: its operands (each value once in `operands`, program numbers in `xs`) and its result's type.
pub(super) struct Args {
    pub xs: Vec<Src>,
    pub operands: Vec<Value>,
    pub out: TensorType,
}

impl Args {
    pub fn x(&self, k: usize) -> Result<&Src, LowerError> {
        self.xs.get(k).ok_or_else(|| LowerError::new(format!("operand {k} is missing")))
    }
    pub fn rank(&self) -> usize {
        self.out.rank()
    }
    pub fn out_dim(&self, axis: usize) -> Result<&Dim, LowerError> {
        self.out.shape.get(axis).ok_or_else(|| LowerError::new(format!("the result of type {} has no axis {axis}", self.out)))
    }
}

/// A reduction to emit.
pub(super) struct Reduction {
    pub kind: ReduceKind,
    pub axes: Axes,
    pub raxes: Axes,
    pub store: Vec<Dim>,
    pub body: Program,
    pub epilogue: Program,
}

/// The function under construction.
pub(super) struct Cx<'m, 'f> {
    pub module: &'m mut Module,
    pub b: Builder<'f, Tensor>,
    pub ranges: Ranges,
    /// Graph values as tensor values.
    pub values: BTreeMap<Value, Value>,
    /// Tensor values that are constants.
    pub consts: BTreeMap<Value, ConstId>,
}

impl Cx<'_, '_> {
    pub fn args(&self, op: &graph::Operation, func: &graph::Func) -> Result<Args, LowerError> {
        let missing = |v: &Value| LowerError::new(format!("operand {v} is not defined before its use"));
        let values = op.operands.iter().map(|v| self.values.get(v).copied().ok_or_else(|| missing(v))).collect::<Result<Vec<_>, _>>()?;
        let result = op.result().and_then(|v| func.types.get(v.index())).ok_or_else(|| LowerError::new("it must have one result"))?;
        let (operands, xs) = self.sources(&values);
        Ok(Args { xs, operands, out: result.clone() })
    }
    /// Numbers `values` as operands of one op; a repeated value gets one number.
    pub fn sources(&self, values: &[Value]) -> (Vec<Value>, Vec<Src>) {
        let mut operands: Vec<Value> = vec![];
        let mut xs = vec![];
        for &value in values {
            let number = operands.iter().position(|o| *o == value).unwrap_or_else(|| {
                operands.push(value);
                operands.len() - 1
            });
            xs.push(Src { value, number: number as u32, ty: self.b.ty(value).clone() });
        }
        (operands, xs)
    }
    /// The constant behind a value, if it is one.
    pub fn constant_of(&self, v: Value) -> Option<&Const> {
        self.module.constant(*self.consts.get(&v)?)
    }
    /// The one number that all elements of a constant have.
    pub fn splat_of(&self, v: Value) -> Option<Scalar> {
        self.constant_of(v)?.splat()
    }
    pub fn constant(&mut self, id: ConstId, ty: TensorType) -> Value {
        let v = self.b.op1(Op::Constant { value: id }, &[], ty);
        self.consts.insert(v, id);
        v
    }

    /// `result[i0, i1, …] = root`, converted to the result's element type.
    pub fn map(&mut self, operands: &[Value], ty: TensorType, p: Program, root: ExprId) -> Value {
        let (axes, store) = (axes(&ty.shape), is(ty.rank()));
        self.map_to(operands, ty, axes, store, p, root)
    }
    pub fn map_to(&mut self, operands: &[Value], ty: TensorType, axes: Axes, store: Vec<Dim>, mut p: Program, root: ExprId) -> Value {
        let root = p.cast(ty.dtype, root);
        let known = self.known(&axes, &[]);
        let mut body = simplify(&p.returning(root), &known);
        let store = stored(&store, &known);
        let operands = compact(operands, 0, &mut [&mut body]);
        self.b.op1(Op::Map { axes, store, body }, &operands, ty)
    }
    /// A reduction; the epilogue's value is converted to the result's element type.
    pub fn reduce(&mut self, operands: &[Value], ty: TensorType, red: Reduction) -> Value {
        let Reduction { kind, axes, raxes, store, body, mut epilogue } = red;
        let known = self.known(&axes, &raxes);
        let mut body = simplify(&body, &known);
        if let Some(root) = epilogue.root {
            epilogue.root = Some(epilogue.cast(ty.dtype, root));
        }
        let outer = self.known(&axes, &[]);
        let mut epilogue = simplify(&epilogue, &outer);
        let store = stored(&store, &outer);
        let operands = compact(operands, 0, &mut [&mut body, &mut epilogue]);
        self.b.op1(Op::Reduce { axes, raxes, kind, store, body, epilogue }, &operands, ty)
    }
    /// A scatter; operand 0 (the data) stays, used or not.
    pub fn scatter(&mut self, operands: &[Value], ty: TensorType, axes: Axes, index: Vec<Program>, update: Program) -> Value {
        let known = self.known(&axes, &[]);
        let mut index: Vec<_> = index.iter().map(|p| simplify(p, &known)).collect();
        let mut update = simplify(&update, &known);
        let mut programs: Vec<&mut Program> = index.iter_mut().collect();
        programs.push(&mut update);
        let operands = compact(operands, 1, &mut programs);
        self.b.op1(Op::Scatter { axes, index, update }, &operands, ty)
    }
    /// The module's ranges and these axes'.
    pub fn known(&self, axes: &[(Sym, Dim)], raxes: &[(Sym, Dim)]) -> Ranges {
        self.ranges.with_axes(axes.iter().chain(raxes).map(|(s, d)| (s, d)))
    }
}

/// Simplified; an axis that stands alone stays, even one of size 1, so that an identity store is seen to be one.
fn stored(store: &[Dim], known: &Ranges) -> Vec<Dim> {
    store.iter().map(|d| if d.as_sym().is_some() { d.clone() } else { known.simplify(d) }).collect()
}

/// Dims simplified, provable bounds dropped, selects with a known condition decided.
fn simplify(p: &Program, known: &Ranges) -> Program {
    let Some(root) = p.root else {
        return p.clone();
    };
    let mut out = Program::new();
    let root = out.import(p, root, &|d| known.simplify(d), &mut |new, e| match e {
        Expr::Inside(pairs) => {
            let open: Vec<_> = pairs.iter().filter(|(d, n)| !known.within(d, n)).cloned().collect();
            Some(new.push(if open.is_empty() { Expr::Const(DType::Bool, Scalar::Bool(true)) } else { Expr::Inside(open) }))
        }
        Expr::Select(c, a, b) => match new.get(*c) {
            Expr::Const(_, v) => Some(if v.as_bool() { *a } else { *b }),
            Expr::Dim(_) | Expr::Acc(_) | Expr::Load { .. } | Expr::Unary(..) | Expr::Binary(..) => None,
            Expr::Select(..) | Expr::Cast(..) | Expr::Bitcast(..) | Expr::Inside(_) => None,
        },
        Expr::Cast(dt, a) => match new.get(*a) {
            Expr::Dim(d) => d.as_const().and_then(|c| exact(*dt, c)).map(|v| new.push(Expr::Const(*dt, v))),
            Expr::Const(..) | Expr::Acc(_) | Expr::Load { .. } | Expr::Unary(..) | Expr::Binary(..) => None,
            Expr::Select(..) | Expr::Cast(..) | Expr::Bitcast(..) | Expr::Inside(_) => None,
        },
        Expr::Binary(f, a, b) => match (new.get(*a), new.get(*b)) {
            (Expr::Const(dt, x), Expr::Const(_, y)) => {
                let (dt, v) = (f.result_dtype(*dt), f.eval(*dt, *x, *y));
                Some(new.push(Expr::Const(dt, v)))
            }
            _ => None,
        },
        Expr::Const(..) | Expr::Dim(_) | Expr::Acc(_) | Expr::Load { .. } | Expr::Unary(..) | Expr::Bitcast(..) => None,
    });
    // Decided selects leave dead expressions behind.
    out.returning(root).map_dims(&Dim::clone)
}

/// `c` as element type `dt`, if nothing is lost.
fn exact(dt: DType, c: i64) -> Option<Scalar> {
    let v = if dt.is_float() { Scalar::Float(c as f64).wrap(dt) } else { Scalar::Int(c).wrap(dt) };
    (dt != DType::Bool && v.as_i64() == c && c.unsigned_abs() < 1 << 53).then_some(v)
}

/// Drops operands from `keep` on that no program loads, renumbering the rest.
fn compact(operands: &[Value], keep: usize, programs: &mut [&mut Program]) -> Vec<Value> {
    let used: Vec<bool> =
        (0..operands.len()).map(|k| k < keep || programs.iter().any(|p| p.loads().any(|(o, _)| o as usize == k))).collect();
    let mut new = vec![0u32; operands.len()];
    let mut next = 0;
    for (n, u) in new.iter_mut().zip(&used) {
        *n = next;
        next += u32::from(*u);
    }
    for e in programs.iter_mut().flat_map(|p| p.exprs.iter_mut()) {
        if let Expr::Load { operand, .. } = e
            && let Some(n) = new.get(*operand as usize)
        {
            *operand = *n;
        }
    }
    operands.iter().zip(&used).filter_map(|(v, u)| u.then_some(*v)).collect()
}

//! Scalar programs: one element's value as a hash-consed DAG of loads and arithmetic. Because an epilogue is a program too, fusion
//! composes. Indices are dims over the axes, so index maps simplify by algebra; only gathers index by value.
//!
//! `select(inside(2*i0 - 1 < h), load 0[2*i0 - 1], 0f)` is a padded access: a load outside its tensor reads the nearest element,
//! never memory beyond it.

use crate::core::{Attr, Binary, DType, Dim, ParseError, Parser, Scalar, Sym, Unary};
use std::collections::BTreeMap;

/// Position of an expression in its program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExprId(pub u32);

/// One coordinate of a load.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Index {
    Dim(Dim),
    /// An i64 expression's value: a gather.
    Value(ExprId),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Expr {
    Const(DType, Scalar),
    /// The i64 value of a dim over axes and symbols.
    Dim(Dim),
    /// The accumulated value in an epilogue, the present element in a scatter's update.
    Acc(DType),
    /// Operand `operand` at `index`, each coordinate clamped into the tensor.
    Load {
        operand: u32,
        dtype: DType,
        index: Vec<Index>,
    },
    Unary(Unary, ExprId),
    Binary(Binary, ExprId, ExprId),
    /// `condition ? a : b`.
    Select(ExprId, ExprId, ExprId),
    Cast(DType, ExprId),
    /// The same bits under another type with as many.
    Bitcast(DType, ExprId),
    /// bool: `0 <= d < extent` for every pair.
    Inside(Vec<(Dim, Dim)>),
}

/// Expressions in order of definition (operands before users), the last-set `root` being the value.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Program {
    pub exprs: Vec<Expr>,
    pub dtypes: Vec<DType>,
    pub root: Option<ExprId>,
}

impl Program {
    pub fn new() -> Self {
        Self::default()
    }
    /// The expression's handle: the same expression has one handle.
    pub fn push(&mut self, e: Expr) -> ExprId {
        if let Some(k) = self.exprs.iter().position(|x| *x == e) {
            return ExprId(k as u32);
        }
        let dt = match &e {
            Expr::Const(dt, _) | Expr::Acc(dt) | Expr::Load { dtype: dt, .. } | Expr::Cast(dt, _) | Expr::Bitcast(dt, _) => *dt,
            Expr::Dim(_) => DType::I64,
            Expr::Unary(f, a) => f.result_dtype(self.dtype(*a)),
            Expr::Binary(f, a, _) => f.result_dtype(self.dtype(*a)),
            Expr::Select(_, a, _) => self.dtype(*a),
            Expr::Inside(_) => DType::Bool,
        };
        self.exprs.push(e);
        self.dtypes.push(dt);
        ExprId(self.exprs.len() as u32 - 1)
    }
    pub fn get(&self, e: ExprId) -> &Expr {
        &self.exprs[e.0 as usize]
    }
    pub fn dtype(&self, e: ExprId) -> DType {
        self.dtypes[e.0 as usize]
    }
    /// The result's element type (f32 for an empty program).
    pub fn result_dtype(&self) -> DType {
        self.root.map_or(DType::F32, |r| self.dtype(r))
    }

    // Short forms for lowerings.
    pub fn constant(&mut self, dt: DType, v: impl Into<f64>) -> ExprId {
        let s = Scalar::Float(v.into()).wrap(dt);
        self.push(Expr::Const(dt, s))
    }
    pub fn dim(&mut self, d: impl Into<Dim>) -> ExprId {
        self.push(Expr::Dim(d.into()))
    }
    pub fn load(&mut self, operand: u32, dtype: DType, index: impl IntoIterator<Item = Dim>) -> ExprId {
        let index = index.into_iter().map(Index::Dim).collect();
        self.push(Expr::Load { operand, dtype, index })
    }
    pub fn unary(&mut self, f: Unary, a: ExprId) -> ExprId {
        self.push(Expr::Unary(f, a))
    }
    pub fn binary(&mut self, f: Binary, a: ExprId, b: ExprId) -> ExprId {
        self.push(Expr::Binary(f, a, b))
    }
    pub fn select(&mut self, c: ExprId, a: ExprId, b: ExprId) -> ExprId {
        self.push(Expr::Select(c, a, b))
    }
    pub fn cast(&mut self, dt: DType, a: ExprId) -> ExprId {
        if self.dtype(a) == dt { a } else { self.push(Expr::Cast(dt, a)) }
    }
    pub fn bitcast(&mut self, dt: DType, a: ExprId) -> ExprId {
        if self.dtype(a) == dt { a } else { self.push(Expr::Bitcast(dt, a)) }
    }
    /// Sets the value and hands the program back.
    pub fn returning(mut self, root: ExprId) -> Self {
        self.root = Some(root);
        self
    }
    /// The program that only passes the accumulated value on.
    pub fn identity(dt: DType) -> Self {
        let mut p = Program::new();
        let a = p.push(Expr::Acc(dt));
        p.returning(a)
    }
    pub fn is_identity(&self) -> bool {
        self.root.is_some_and(|r| matches!(self.get(r), Expr::Acc(_)))
    }

    /// Copies what `root` of `other` needs into this program. `dims` rewrites dims, `leaf` may replace an expression (a load by
    /// another program's value, say) and is asked first; operands are already copied when users are.
    pub fn import(
        &mut self,
        other: &Program,
        root: ExprId,
        dims: &dyn Fn(&Dim) -> Dim,
        leaf: &mut dyn FnMut(&mut Program, &Expr) -> Option<ExprId>,
    ) -> ExprId {
        let mut live = vec![false; other.exprs.len()];
        live[root.0 as usize] = true;
        for k in (0..other.exprs.len()).rev() {
            if live[k] {
                operands(&other.exprs[k], &mut |e| live[e.0 as usize] = true);
            }
        }
        let mut new: BTreeMap<ExprId, ExprId> = BTreeMap::new();
        for (k, e) in other.exprs.iter().enumerate().filter(|(k, _)| live[*k]) {
            let at = |id: &ExprId| new[id];
            let e = match e {
                Expr::Const(..) | Expr::Acc(_) => e.clone(),
                Expr::Dim(d) => Expr::Dim(dims(d)),
                Expr::Load { operand, dtype, index } => {
                    let index = index.iter().map(|i| match i {
                        Index::Dim(d) => Index::Dim(dims(d)),
                        Index::Value(v) => Index::Value(at(v)),
                    });
                    Expr::Load { operand: *operand, dtype: *dtype, index: index.collect() }
                }
                Expr::Unary(f, a) => Expr::Unary(*f, at(a)),
                Expr::Binary(f, a, b) => Expr::Binary(*f, at(a), at(b)),
                Expr::Select(c, a, b) => Expr::Select(at(c), at(a), at(b)),
                Expr::Cast(dt, a) => Expr::Cast(*dt, at(a)),
                Expr::Bitcast(dt, a) => Expr::Bitcast(*dt, at(a)),
                Expr::Inside(pairs) => Expr::Inside(pairs.iter().map(|(d, n)| (dims(d), dims(n))).collect()),
            };
            let id = match leaf(self, &e) {
                Some(id) => id,
                None => self.push(e),
            };
            new.insert(ExprId(k as u32), id);
        }
        new[&root]
    }

    /// The same program with dims rewritten, dead expressions dropped.
    pub fn map_dims(&self, dims: &dyn Fn(&Dim) -> Dim) -> Program {
        let mut p = Program::new();
        match self.root {
            Some(r) => {
                let r = p.import(self, r, dims, &mut |_, _| None);
                p.returning(r)
            }
            None => p,
        }
    }
    /// The same program with symbols (usually axes) replaced.
    pub fn subst(&self, map: &BTreeMap<Sym, Dim>) -> Program {
        self.map_dims(&|d| d.subst(&|s| map.get(s).cloned()))
    }
    /// All loads, as `(operand, index)`.
    pub fn loads(&self) -> impl Iterator<Item = (u32, &[Index])> {
        self.exprs.iter().filter_map(|e| match e {
            Expr::Load { operand, index, .. } => Some((*operand, index.as_slice())),
            _ => None,
        })
    }
    /// Calls `f` for every dim in the program.
    pub fn visit_dims(&self, f: &mut dyn FnMut(&Dim)) {
        for e in &self.exprs {
            match e {
                Expr::Dim(d) => f(d),
                Expr::Load { index, .. } => index.iter().for_each(|i| {
                    if let Index::Dim(d) = i {
                        f(d);
                    }
                }),
                Expr::Inside(pairs) => pairs.iter().for_each(|(d, n)| {
                    f(d);
                    f(n);
                }),
                Expr::Const(..)
                | Expr::Acc(_)
                | Expr::Unary(..)
                | Expr::Binary(..)
                | Expr::Select(..)
                | Expr::Cast(..)
                | Expr::Bitcast(..) => {}
            }
        }
    }
}

/// Calls `f` for the expressions that `e` reads.
pub fn operands(e: &Expr, f: &mut dyn FnMut(ExprId)) {
    match e {
        Expr::Const(..) | Expr::Dim(_) | Expr::Acc(_) | Expr::Inside(_) => {}
        Expr::Load { index, .. } => index.iter().for_each(|i| {
            if let Index::Value(v) = i {
                f(*v);
            }
        }),
        Expr::Unary(_, a) | Expr::Cast(_, a) | Expr::Bitcast(_, a) => f(*a),
        Expr::Binary(_, a, b) => {
            f(*a);
            f(*b);
        }
        Expr::Select(c, a, b) => {
            f(*c);
            f(*a);
            f(*b);
        }
    }
}

// Text: `{ e0 = load 0 f32 [i0]; e1 = unary exp e0; => e1 }`.
impl Attr for Program {
    fn print(&self, out: &mut String) {
        use std::fmt::Write;
        out.push('{');
        for (k, e) in self.exprs.iter().enumerate() {
            let _ = write!(out, " e{k} = ");
            print_expr(e, out);
            out.push(';');
        }
        if let Some(r) = self.root {
            let _ = write!(out, " => e{}", r.0);
        }
        out.push_str(" }");
    }
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        p.expect("{")?;
        let mut prog = Program::new();
        loop {
            if p.eat("=>") {
                let r = expr_ref(p, prog.exprs.len())?;
                prog.root = Some(r);
            }
            if p.eat("}") {
                return Ok(prog);
            }
            let k = prog.exprs.len();
            p.expect(&format!("e{k}"))?;
            p.expect("=")?;
            let e = parse_expr(p, k)?;
            p.expect(";")?;
            if prog.push(e).0 as usize != k {
                return Err(p.error("an expression is given twice"));
            }
        }
    }
}

fn expr_ref(p: &mut Parser<'_>, defined: usize) -> Result<ExprId, ParseError> {
    let w = p.ident()?;
    let k = w.strip_prefix('e').and_then(|n| n.parse::<u32>().ok());
    match k {
        Some(k) if (k as usize) < defined => Ok(ExprId(k)),
        _ => Err(p.error(format!("`{w}` is no expression before this one"))),
    }
}

fn print_expr(e: &Expr, out: &mut String) {
    use std::fmt::Write;
    let _ = match e {
        Expr::Const(dt, v) => {
            let _ = write!(out, "const {dt} ");
            v.print(out);
            Ok(())
        }
        Expr::Dim(d) => write!(out, "dim {d}"),
        Expr::Acc(dt) => write!(out, "acc {dt}"),
        Expr::Load { operand, dtype, index } => {
            let _ = write!(out, "load {operand} {dtype} [");
            for (k, i) in index.iter().enumerate() {
                let sep = if k > 0 { ", " } else { "" };
                let _ = match i {
                    Index::Dim(d) => write!(out, "{sep}{d}"),
                    Index::Value(v) => write!(out, "{sep}@ e{}", v.0),
                };
            }
            write!(out, "]")
        }
        Expr::Unary(f, a) => write!(out, "unary {f} e{}", a.0),
        Expr::Binary(f, a, b) => write!(out, "binary {f} e{} e{}", a.0, b.0),
        Expr::Select(c, a, b) => write!(out, "select e{} e{} e{}", c.0, a.0, b.0),
        Expr::Cast(dt, a) => write!(out, "cast {dt} e{}", a.0),
        Expr::Bitcast(dt, a) => write!(out, "bitcast {dt} e{}", a.0),
        Expr::Inside(pairs) => {
            out.push_str("inside ");
            pairs.print(out);
            Ok(())
        }
    };
}

fn parse_expr(p: &mut Parser<'_>, k: usize) -> Result<Expr, ParseError> {
    let word = p.ident()?;
    Ok(match word {
        "const" => Expr::Const(p.dtype()?, Scalar::parse(p)?),
        "dim" => Expr::Dim(p.dim()?),
        "acc" => Expr::Acc(p.dtype()?),
        "load" => {
            let operand = u32::parse(p)?;
            let dtype = p.dtype()?;
            let index = p.list('[', ']', |p| if p.eat("@") { Ok(Index::Value(expr_ref(p, k)?)) } else { Ok(Index::Dim(p.dim()?)) })?;
            Expr::Load { operand, dtype, index }
        }
        "unary" => Expr::Unary(Unary::parse(p)?, expr_ref(p, k)?),
        "binary" => Expr::Binary(Binary::parse(p)?, expr_ref(p, k)?, expr_ref(p, k)?),
        "select" => Expr::Select(expr_ref(p, k)?, expr_ref(p, k)?, expr_ref(p, k)?),
        "cast" => Expr::Cast(p.dtype()?, expr_ref(p, k)?),
        "bitcast" => Expr::Bitcast(p.dtype()?, expr_ref(p, k)?),
        "inside" => Expr::Inside(Vec::parse(p)?),
        _ => return Err(p.error(format!("`{word}` is no scalar expression"))),
    })
}

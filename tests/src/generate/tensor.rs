//! Random tensor modules: maps, reductions, views, scatters and dispatches with random scalar programs and index maps. Loads may
//! point anywhere, since they are clamped; stores visit every element once. Only continuous functions meet rounded values.

use super::dims;
use crate::choices::Choices;
use odc_ir::core::{Binary, Builder, Const, ConstId, DType, Dim, Loc, Origin, Scalar, Sym, TensorType, Unary, Value};
use odc_ir::tensor::{Axes, Expr, ExprId, Func, Index, Module, Op, Program, ReduceKind, Schedule, Tensor};

const MOST_ELEMENTS: i64 = 1024;

type Item = (Value, TensorType);

struct Gen<'c, 'f> {
    c: &'c mut Choices,
    consts: &'c mut Vec<Const>,
    b: Builder<'f, Tensor>,
    pool: Vec<Item>,
    known: Vec<Dim>,
}

/// A random module.
pub fn module(c: &mut Choices) -> Module {
    let mut m = Module::new("random");
    let mut func = Func::new("main");
    let (mut consts, mut params) = (vec![], vec![]);
    for k in 0..1 + c.below(2) {
        let name = format!("x{k}");
        let shape: Vec<Dim> = (0..1 + c.below(3)).map(|_| dims::size(c)).collect();
        for (axis, d) in shape.iter().enumerate() {
            if let Some(s) = d.as_sym() {
                let origin = Some(Origin { input: name.clone(), axis });
                m.symbols.entry(s.clone()).or_insert_with(|| dims::symbol(s.name(), origin));
            }
        }
        let dtype = if k == 0 || c.chance(60) { DType::F32 } else { DType::I64 };
        let ty = TensorType::new(dtype, shape);
        params.push((func.param(&name, ty.clone()), ty));
    }
    let known = m.symbols.keys().map(Dim::from).collect();
    let inputs = params.len();
    let mut g = Gen { c, consts: &mut consts, b: Builder::new(&mut func), pool: params, known };
    for k in 0..2 + g.c.below(6) {
        g.b.loc = Loc::new(&format!("/op.{k}"));
        let made = match g.c.below(9) {
            0..=2 => g.map(),
            3 | 4 => g.reduce(),
            5 => g.view(),
            6 => g.dispatch(),
            7 => g.constant(),
            _ => g.scatter(),
        };
        g.pool.extend(made);
    }
    if g.pool.len() == inputs {
        let made = g.map();
        g.pool.extend(made);
    }
    let results: Vec<_> =
        g.pool.iter().skip(inputs.min(g.pool.len() - 1)).rev().take(3).enumerate().map(|(k, i)| (format!("y{k}"), i.0)).collect();
    g.b.finish(&results);
    func.renumber();
    m.consts = consts;
    m.funcs.push(func);
    m
}

impl Gen<'_, '_> {
    fn known_size(&mut self) -> Dim {
        if self.known.is_empty() || self.c.chance(40) {
            return Dim::from(*self.c.pick(&[2, 3, 4, 1, 5]));
        }
        let k = self.c.below(self.known.len());
        self.known[k].clone()
    }

    /// A result shape: that of a value at hand, or a new one.
    fn shape(&mut self) -> Vec<Dim> {
        let shape = if self.c.chance(60) {
            let k = self.c.below(self.pool.len());
            self.pool[k].1.shape.clone()
        } else {
            (0..self.c.below(4)).map(|_| self.known_size()).collect()
        };
        if dims::greatest(&Dim::product(&shape)) > MOST_ELEMENTS { vec![] } else { shape }
    }

    /// Axes that visit `shape` once, in some order, and where each point goes.
    fn axes(&mut self, shape: &[Dim]) -> (Axes, Vec<Dim>) {
        let (mut axes, mut store): (Axes, Vec<Dim>) = (vec![], vec![Dim::ZERO; shape.len()]);
        for k in self.c.permutation(shape.len()) {
            let (name, size) = (format!("i{}", axes.len()), &shape[k]);
            let half = size.floordiv(&Dim::from(2));
            // An even size may be walked as pairs.
            if &half * 2 == *size && half.as_const() != Some(0) && self.c.chance(25) {
                let low = format!("i{}", axes.len() + 1);
                store[k] = Dim::sym(&name) * 2 + Dim::sym(&low);
                axes.push((Sym::new(&name), half));
                axes.push((Sym::new(&low), Dim::from(2)));
            } else {
                store[k] = Dim::sym(&name);
                axes.push((Sym::new(&name), size.clone()));
            }
        }
        (axes, store)
    }

    /// An index expression over `axes`, in or out of bounds.
    fn index(&mut self, axes: &[(Sym, Dim)], size: &Dim) -> Dim {
        let same: Vec<Dim> = axes.iter().filter(|(_, n)| n == size).map(|(s, _)| Dim::from(s)).collect();
        if !same.is_empty() && self.c.chance(75) {
            return self.c.pick(&same).clone();
        }
        if axes.is_empty() {
            return Dim::from(self.c.between(0, 2));
        }
        let i = Dim::from(&self.c.pick(axes).0);
        match self.c.below(7) {
            0 => i,
            1 => i * 2 - 1,
            2 => size - 1 - i,
            3 => i.floordiv(&Dim::from(2)),
            4 => i.modulo(&Dim::from(3)),
            5 => i + Dim::from(&self.c.pick(axes).0),
            _ => i.min_with(&(size - 1)),
        }
    }

    /// An i64 index by value, from an integer operand if there is one.
    fn gather(&mut self, p: &mut Program, axes: &[(Sym, Dim)], operands: &mut Vec<Item>) -> Option<ExprId> {
        let ints: Vec<Item> = self.pool.iter().filter(|(_, t)| t.dtype == DType::I64).cloned().collect();
        if ints.is_empty() || !self.c.chance(30) {
            return None;
        }
        let x = self.c.pick(&ints).clone();
        Some(self.load(p, axes, operands, x))
    }

    fn load(&mut self, p: &mut Program, axes: &[(Sym, Dim)], operands: &mut Vec<Item>, x: Item) -> ExprId {
        let k = operands.iter().position(|o| o.0 == x.0).unwrap_or_else(|| {
            operands.push(x.clone());
            operands.len() - 1
        });
        let mut index = vec![];
        for d in &x.1.shape {
            index.push(match if x.1.dtype == DType::F32 { self.gather(p, axes, operands) } else { None } {
                Some(v) => Index::Value(v),
                None => Index::Dim(self.index(axes, d)),
            });
        }
        p.push(Expr::Load { operand: k as u32, dtype: x.1.dtype, index })
    }

    /// A float expression of bounded depth; `acc` is what an epilogue or an update may build on.
    fn expr(&mut self, p: &mut Program, axes: &[(Sym, Dim)], operands: &mut Vec<Item>, depth: usize, acc: bool) -> ExprId {
        if depth == 0 {
            if acc && self.c.chance(50) {
                return p.push(Expr::Acc(DType::F32));
            }
            let floats: Vec<Item> = self.pool.iter().filter(|(_, t)| t.dtype == DType::F32).cloned().collect();
            if floats.is_empty() || self.c.chance(10) {
                return p.constant(DType::F32, self.c.between(-8, 8) as f64 / 4.0);
            }
            let x = floats[floats.len() - 1 - self.c.below(floats.len())].clone();
            return self.load(p, axes, operands, x);
        }
        let a = self.expr(p, axes, operands, depth - 1, acc);
        match self.c.below(7) {
            0 => {
                let f = *self.c.pick(&[Unary::Neg, Unary::Abs, Unary::Tanh, Unary::Sigmoid, Unary::Erf, Unary::Cos]);
                p.unary(f, a)
            }
            1 | 2 => {
                let b = self.expr(p, axes, operands, 0, acc);
                let f = *self.c.pick(&[Binary::Add, Binary::Sub, Binary::Max, Binary::Min]);
                p.binary(f, a, b)
            }
            3 => {
                // A factor within one, so that values stay small.
                let b = self.expr(p, axes, operands, 0, acc);
                let b = p.unary(Unary::Tanh, b);
                p.binary(Binary::Mul, a, b)
            }
            4 if !axes.is_empty() => {
                let (axis, n) = self.c.pick(axes).clone();
                let at = Dim::from(&axis) * 2 - 1;
                let inside = p.push(Expr::Inside(vec![(at, n)]));
                let zero = p.constant(DType::F32, 0.0);
                p.select(inside, a, zero)
            }
            5 if !axes.is_empty() => {
                let d = p.dim(Dim::from(&self.c.pick(axes).0));
                let two = p.dim(2);
                let less = p.binary(Binary::Lt, d, two);
                let x = p.cast(DType::F32, d);
                p.select(less, a, x)
            }
            _ => {
                let k = p.constant(DType::F32, self.c.between(-4, 4) as f64 / 4.0);
                p.binary(Binary::Mul, a, k)
            }
        }
    }

    fn program(&mut self, axes: &[(Sym, Dim)], operands: &mut Vec<Item>, acc: bool) -> Program {
        let mut p = Program::new();
        let depth = self.c.below(4);
        let root = self.expr(&mut p, axes, operands, depth, acc);
        p.returning(root)
    }

    fn push(&mut self, op: Op, operands: &[Item], shape: Vec<Dim>, dtype: DType) -> Option<Item> {
        let values: Vec<Value> = operands.iter().map(|o| o.0).collect();
        let ty = TensorType::new(dtype, shape);
        Some((self.b.op1(op, &values, ty.clone()), ty))
    }

    fn map(&mut self) -> Option<Item> {
        let shape = self.shape();
        let (axes, store) = self.axes(&shape);
        let mut operands = vec![];
        let body = self.program(&axes, &mut operands, false);
        self.push(Op::Map { axes, store, body }, &operands, shape, DType::F32)
    }

    fn reduce(&mut self) -> Option<Item> {
        let shape = self.shape();
        let (axes, store) = self.axes(&shape);
        let mut raxes: Axes = vec![];
        for k in 0..1 + self.c.below(2) {
            raxes.push((Sym::new(&format!("r{k}")), self.known_size()));
        }
        let all: Axes = axes.iter().chain(&raxes).cloned().collect();
        if dims::greatest(&Dim::product(all.iter().map(|(_, n)| n))) > 4 * MOST_ELEMENTS {
            return None;
        }
        let mut operands = vec![];
        let body = self.program(&all, &mut operands, false);
        let kind = *self.c.pick(&[ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min]);
        let epilogue = if self.c.chance(50) { self.program(&axes, &mut operands, true) } else { Program::identity(DType::F32) };
        self.push(Op::Reduce { axes, raxes, kind, store, body, epilogue }, &operands, shape, DType::F32)
    }

    fn view(&mut self) -> Option<Item> {
        let x = self.pool[self.pool.len() - 1 - self.c.below(self.pool.len())].clone();
        let shape = match self.c.below(2) {
            0 => vec![x.1.elements()],
            _ => [Dim::ONE].into_iter().chain(x.1.shape.iter().cloned()).collect(),
        };
        self.push(Op::View {}, std::slice::from_ref(&x), shape, x.1.dtype)
    }

    fn scatter(&mut self) -> Option<Item> {
        let floats: Vec<Item> = self.pool.iter().filter(|(_, t)| t.dtype == DType::F32 && t.rank() >= 1).cloned().collect();
        if floats.is_empty() {
            return None;
        }
        let data = self.c.pick(&floats).clone();
        let mut operands = vec![data.clone()];
        let axes: Axes = vec![(Sym::new("i0"), Dim::from(self.c.between(1, 3)))];
        let mut index = vec![];
        for _ in 0..data.1.rank() {
            let mut p = Program::new();
            let e = match self.gather(&mut p, &axes, &mut operands) {
                Some(e) => e,
                None => p.dim(Dim::sym("i0") * self.c.between(0, 1)),
            };
            index.push(p.returning(e));
        }
        let update = self.program(&axes, &mut operands, true);
        self.push(Op::Scatter { axes, index, update }, &operands, data.1.shape.clone(), DType::F32)
    }

    /// Two maps in one kernel.
    fn dispatch(&mut self) -> Option<Item> {
        let outer = self.pool.clone();
        let k = self.c.below(outer.len());
        let mut operands = vec![outer[k].clone(), outer[outer.len() - 1].clone()];
        operands.dedup();
        let (values, types): (Vec<Value>, Vec<TensorType>) = operands.into_iter().unzip();
        let args: Vec<Value> = types.iter().map(|t| self.b.func.value(t.clone())).collect();
        let before = std::mem::take(&mut self.b.block);
        self.b.block.args = args.clone();
        self.pool = args.into_iter().zip(types).collect();
        for _ in 0..2 {
            let made = self.map();
            self.pool.extend(made);
        }
        let inner = std::mem::replace(&mut self.pool, outer);
        let mut block = std::mem::replace(&mut self.b.block, before);
        let (result, ty) = inner.last()?.clone();
        block.yields = vec![result];
        let schedule = Schedule::loops(self.c.below(2), *self.c.pick(&[1, 4]));
        let v = self.b.region_op(Op::Dispatch { schedule }, &values, std::slice::from_ref(&ty), vec![block]);
        Some((v[0], ty))
    }

    /// A constant tensor for later ops.
    fn constant(&mut self) -> Option<Item> {
        let shape: Vec<i64> = (0..self.c.below(3)).map(|_| self.c.between(1, 4)).collect();
        let n = shape.iter().product::<i64>();
        let data: Vec<Scalar> = (0..n).map(|_| Scalar::Float(self.c.between(-8, 8) as f64 / 4.0)).collect();
        self.consts.push(Const::from_scalars(DType::F32, &shape, data));
        let op = Op::Constant { value: ConstId(self.consts.len() as u32 - 1) };
        self.push(op, &[], shape.iter().map(|&d| Dim::from(d)).collect(), DType::F32)
    }
}

//! Scalar programs into loop IR, one element at a time or `lanes` neighbours along one axis. A value is uniform over the lanes, a
//! vector, or one scalar a lane; loads decide: unit stride gives a vector, no stride a broadcast, anything else one load a lane.

use super::emit::Emit;
use super::flat::{Source, dims_of, offset};
use super::lanes::{Lanes, Stride, vectorable};
use crate::fuse::known_of;
use odc_ir::core::{Binary, DType, Dim, Ranges, Scalar, Value};
use odc_ir::loops::{LoopType, Op};
use odc_ir::tensor::{Expr, ExprId, Index, Program};

/// A value for all lanes.
#[derive(Clone, Debug)]
pub(super) enum Val {
    Uniform(Value),
    Vector(Value),
    Lanes(Vec<Value>),
}

pub(super) struct ExprEmit<'a> {
    pub program: &'a Program,
    pub sources: &'a [Source],
    /// One pointer a source.
    pub pointers: &'a [Value],
    pub lanes: Option<&'a Lanes>,
    pub acc: Option<Val>,
    memo: Vec<Option<Val>>,
    /// Pairs known to hold where code is being written: `0 <= d < extent`.
    assumed: Vec<(Dim, Dim)>,
    /// What is known of symbols there, if more than everywhere. Not `Emit`'s: what it computes it may use again outside.
    narrowed: Option<Ranges>,
}

/// The type in which loop IR holds an element: i64 is `index`.
pub(super) fn scalar_type(dt: DType) -> LoopType {
    if dt == DType::I64 { LoopType::Index } else { LoopType::Scalar(dt) }
}

impl<'a> ExprEmit<'a> {
    pub fn new(program: &'a Program, sources: &'a [Source], pointers: &'a [Value], lanes: Option<&'a Lanes>, acc: Option<Val>) -> Self {
        ExprEmit { program, sources, pointers, lanes, acc, memo: vec![None; program.exprs.len()], assumed: vec![], narrowed: None }
    }

    pub fn root(&mut self, e: &mut Emit) -> Option<Val> {
        Some(self.expr(e, self.program.root?))
    }

    fn ranges<'e>(&'e self, e: &'e Emit) -> &'e Ranges {
        self.narrowed.as_ref().unwrap_or(&e.ranges)
    }

    fn count(&self) -> u32 {
        self.lanes.map_or(1, |l| l.count)
    }

    fn expr(&mut self, e: &mut Emit, id: ExprId) -> Val {
        if let Some(v) = &self.memo[id.0 as usize] {
            return v.clone();
        }
        let v = self.compute(e, id);
        self.memo[id.0 as usize] = Some(v.clone());
        v
    }

    fn compute(&mut self, e: &mut Emit, id: ExprId) -> Val {
        let dt = self.program.dtype(id);
        match self.program.get(id).clone() {
            Expr::Const(dt, s) => Val::Uniform(e.constant(s, scalar_type(dt))),
            Expr::Dim(d) => self.dim(e, &d),
            Expr::Acc(dt) => match self.acc.clone() {
                Some(v) => v,
                None => Val::Uniform(e.constant(Scalar::Int(0).wrap(dt), scalar_type(dt))),
            },
            Expr::Load { operand, index, .. } => self.load(e, operand as usize, &index),
            Expr::Unary(f, a) => {
                let a = self.expr(e, a);
                self.lift(e, &[a], dt, &mut |e, v, t| e.op(Op::Unary { f }, v, t))
            }
            Expr::Binary(Binary::Add, a, b) if dt == DType::F32 && self.product(a, b).is_some() => {
                let (x, y, c) = self.product(a, b).unwrap_or((a, b, b));
                let args = [x, y, c].map(|i| self.expr(e, i));
                self.lift(e, &args, dt, &mut |e, v, t| e.op(Op::Fma {}, v, t))
            }
            Expr::Binary(f, a, b) => {
                let args = [self.expr(e, a), self.expr(e, b)];
                self.lift(e, &args, dt, &mut |e, v, t| e.op(Op::Binary { f }, v, t))
            }
            Expr::Select(c, a, b) => match self.program.get(c).clone() {
                Expr::Inside(pairs) => self.padded(e, &pairs, a, b),
                _ => {
                    let args = [c, a, b].map(|i| self.expr(e, i));
                    self.lift(e, &args, dt, &mut |e, v, t| e.op(Op::Select {}, v, t))
                }
            },
            Expr::Cast(dt, a) => {
                let a = self.expr(e, a);
                self.lift(e, &[a], dt, &mut |e, v, t| e.op(Op::Cast {}, v, t))
            }
            Expr::Bitcast(dt, a) => {
                let a = self.expr(e, a);
                self.lift(e, &[a], dt, &mut |e, v, t| e.op(Op::Bitcast {}, v, t))
            }
            Expr::Inside(pairs) => self.inside(e, &pairs),
        }
    }

    /// `x * y + c` where the product has no other reader in this program.
    fn product(&self, a: ExprId, b: ExprId) -> Option<(ExprId, ExprId, ExprId)> {
        for (p, c) in [(a, b), (b, a)] {
            if let Expr::Binary(Binary::Mul, x, y) = self.program.get(p)
                && self.memo[p.0 as usize].is_none()
                && self.readers(p) == 1
            {
                return Some((*x, *y, c));
            }
        }
        None
    }
    fn readers(&self, id: ExprId) -> usize {
        let mut n = 0;
        for e in &self.program.exprs {
            odc_ir::tensor::operands(e, &mut |x| n += usize::from(x == id));
        }
        n
    }

    /// Applies `f` to scalars or vectors, as the operands demand.
    fn lift(&mut self, e: &mut Emit, args: &[Val], dt: DType, f: &mut dyn FnMut(&mut Emit, &[Value], LoopType) -> Value) -> Val {
        if let Some(us) = args.iter().map(|a| if let Val::Uniform(v) = a { Some(*v) } else { None }).collect::<Option<Vec<_>>>() {
            return Val::Uniform(f(e, &us, scalar_type(dt)));
        }
        let n = self.count();
        let ok = |e: &Emit, v: &Val| match v {
            Val::Vector(_) => true,
            Val::Uniform(v) => vectorable(e.ty(*v).dtype()) || e.ty(*v).dtype() == DType::Bool,
            Val::Lanes(l) => l.first().is_some_and(|v| vectorable(e.ty(*v).dtype())),
        };
        let any_vector = args.iter().any(|a| matches!(a, Val::Vector(_))) || args.iter().all(|a| ok(e, a));
        if any_vector && (vectorable(dt) || dt == DType::Bool) && args.iter().all(|a| ok(e, a)) {
            let vs: Vec<Value> = args.iter().map(|a| self.vector(e, a)).collect();
            return Val::Vector(f(e, &vs, LoopType::Vector(dt, n)));
        }
        let rows: Vec<Vec<Value>> = args.iter().map(|a| self.scalars(e, a)).collect();
        let out = (0..n as usize).map(|l| {
            let vs: Vec<Value> = rows.iter().map(|r| r[l]).collect();
            f(e, &vs, scalar_type(dt))
        });
        Val::Lanes(out.collect())
    }

    /// As one vector (of a type that `vectorable` allows, or bool).
    pub fn vector(&self, e: &mut Emit, v: &Val) -> Value {
        match v {
            Val::Vector(v) => *v,
            Val::Uniform(v) => {
                let t = LoopType::Vector(e.ty(*v).dtype(), self.count());
                e.op(Op::Splat {}, &[*v], t)
            }
            Val::Lanes(l) => join(e, l),
        }
    }

    /// One scalar a lane.
    pub fn scalars(&self, e: &mut Emit, v: &Val) -> Vec<Value> {
        match v {
            Val::Uniform(v) => vec![*v; self.count() as usize],
            Val::Lanes(l) => l.clone(),
            Val::Vector(v) => lanes(e, *v),
        }
    }

    /// `d` at one lane.
    pub fn at_lane(&self, d: &Dim, lane: u32) -> Dim {
        match self.lanes {
            Some(l) if lane > 0 => d.subst(&|s| (*s == l.axis).then(|| Dim::from(s) + i64::from(lane))),
            _ => d.clone(),
        }
    }

    fn dim(&mut self, e: &mut Emit, d: &Dim) -> Val {
        if self.lanes.is_none_or(|l| !d.uses(&l.axis)) {
            return Val::Uniform(e.dim(d));
        }
        Val::Lanes((0..self.count()).map(|l| e.dim(&self.at_lane(d, l))).collect())
    }

    fn stride(&self, e: &Emit, at: &Dim) -> Stride {
        self.lanes.map_or(Stride::Uniform, |l| l.stride(at, self.ranges(e)))
    }

    fn load(&mut self, e: &mut Emit, operand: usize, index: &[Index]) -> Val {
        let source = &self.sources[operand];
        let (ptr, dt) = (self.pointers[operand], source.dtype);
        let Some(dims) = dims_of(index) else { return self.gather(e, operand, index) };
        let at = if source.flat {
            dims.first().cloned().unwrap_or(Dim::ZERO)
        } else {
            let shape = source.shape.clone();
            let clamped: Vec<Dim> = dims.iter().zip(&shape).map(|(d, n)| self.clamp(e, d, n)).collect();
            self.ranges(e).simplify(&offset(&clamped, &shape))
        };
        match self.stride(e, &at) {
            Stride::Uniform => {
                let o = e.dim(&at);
                Val::Uniform(e.load(ptr, o, scalar_type(dt)))
            }
            Stride::Unit if vectorable(dt) => {
                let o = e.dim(&at);
                Val::Vector(e.load(ptr, o, LoopType::Vector(dt, self.count())))
            }
            Stride::Unit | Stride::Other => Val::Lanes(
                (0..self.count())
                    .map(|l| {
                        let o = e.dim(&self.at_lane(&at, l));
                        e.load(ptr, o, scalar_type(dt))
                    })
                    .collect(),
            ),
        }
    }

    fn clamp(&self, e: &Emit, d: &Dim, extent: &Dim) -> Dim {
        if self.ranges(e).within(d, extent) || self.assumed.iter().any(|(x, n)| x == d && n == extent) {
            return d.clone();
        }
        d.min_with(&(extent - 1)).max_with(&Dim::ZERO)
    }

    /// A load whose place depends on values: clamped, lane by lane.
    fn gather(&mut self, e: &mut Emit, operand: usize, index: &[Index]) -> Val {
        let source = self.sources[operand].clone();
        let ptr = self.pointers[operand];
        let mut total: Option<Val> = None;
        for (i, n) in index.iter().zip(&source.shape) {
            let coordinate = match i {
                Index::Dim(d) => {
                    let d = self.clamp(e, d, n);
                    self.dim(e, &d)
                }
                Index::Value(v) => {
                    let v = self.expr(e, *v);
                    let (zero, last) = (e.index(0), e.dim(&(n - 1)));
                    self.lift(e, &[v], DType::I64, &mut |e, v, _| {
                        let low = e.binary(Binary::Min, v[0], last);
                        e.binary(Binary::Max, low, zero)
                    })
                }
            };
            total = Some(match total {
                None => coordinate,
                Some(t) => {
                    let extent = e.dim(n);
                    self.lift(e, &[t, coordinate], DType::I64, &mut |e, v, _| {
                        let scaled = e.binary(Binary::Mul, v[0], extent);
                        e.binary(Binary::Add, scaled, v[1])
                    })
                }
            });
        }
        let zero = e.index(0);
        let total = total.unwrap_or(Val::Uniform(zero));
        self.lift_scalar(e, &total, &mut |e, o| e.load(ptr, o, scalar_type(source.dtype)))
    }

    fn lift_scalar(&mut self, e: &mut Emit, v: &Val, f: &mut dyn FnMut(&mut Emit, Value) -> Value) -> Val {
        match v {
            Val::Uniform(v) => Val::Uniform(f(e, *v)),
            other => {
                let lanes = self.scalars(e, other);
                Val::Lanes(lanes.into_iter().map(|v| f(e, v)).collect())
            }
        }
    }

    /// The condition of `pairs` at one lane.
    fn inside_at(&self, e: &mut Emit, pairs: &[(Dim, Dim)], lane: u32) -> Value {
        let mut all: Option<Value> = None;
        for (d, n) in pairs {
            let d = self.at_lane(d, lane);
            let (lo, hi) = (self.ranges(e).nonneg(&d), self.ranges(e).lt(&d, n));
            let v = e.dim(&d);
            let mut tests = vec![];
            if !lo {
                let zero = e.index(0);
                tests.push(e.binary(Binary::Ge, v, zero));
            }
            if !hi {
                let n = e.dim(n);
                tests.push(e.binary(Binary::Lt, v, n));
            }
            for t in tests {
                all = Some(match all {
                    None => t,
                    Some(a) => e.binary(Binary::And, a, t),
                });
            }
        }
        all.unwrap_or_else(|| e.constant(Scalar::Bool(true), LoopType::Scalar(DType::Bool)))
    }

    fn inside(&mut self, e: &mut Emit, pairs: &[(Dim, Dim)]) -> Val {
        if !self.moves(pairs) {
            return Val::Uniform(self.inside_at(e, pairs, 0));
        }
        Val::Lanes((0..self.count()).map(|l| self.inside_at(e, pairs, l)).collect())
    }

    fn moves(&self, pairs: &[(Dim, Dim)]) -> bool {
        self.lanes.is_some_and(|l| pairs.iter().any(|(d, n)| d.uses(&l.axis) || n.uses(&l.axis)))
    }

    /// `inside(pairs) ? a : b` as a branch: `a`'s loads need no clamping where the pairs hold. Along lanes that move, the branch
    /// asks whether all lanes are inside; if not, each lane decides for itself.
    fn padded(&mut self, e: &mut Emit, pairs: &[(Dim, Dim)], a: ExprId, b: ExprId) -> Val {
        let open: Vec<(Dim, Dim)> = pairs.iter().filter(|(d, n)| !self.ranges(e).within(d, n)).cloned().collect();
        if open.is_empty() {
            return self.expr(e, a);
        }
        let dt = self.program.dtype(a);
        let n = self.count();
        let moving = self.moves(&open);
        if !moving && (self.lanes.is_none() || vectorable(dt)) {
            return self.guarded(e, &open, a, b);
        }
        let other = self.expr(e, b);
        if moving && !vectorable(dt) {
            let out = (0..n).map(|l| self.lane_scalar(e, &open, a, &other, l)).collect();
            return Val::Lanes(out);
        }
        let condition = if moving {
            // What moves by equal steps is inside between two lanes that are; a coordinate that wraps to a new row is not.
            let steady = |d: &Dim| self.lanes.is_none_or(|l| d.linear_in(&l.axis).is_some_and(|(step, _)| !step.uses(&l.axis)));
            let all: Vec<u32> = if open.iter().all(|(d, n)| steady(d) && steady(n)) { vec![0, n - 1] } else { (0..n).collect() };
            let mut inside = self.inside_at(e, &open, 0);
            for l in all.into_iter().skip(1) {
                let lane = self.inside_at(e, &open, l);
                inside = e.binary(Binary::And, inside, lane);
            }
            inside
        } else {
            self.inside_at(e, &open, 0)
        };
        let vector = self.lanes.is_some() && vectorable(dt);
        let ty = if vector { LoopType::Vector(dt, n) } else { scalar_type(dt) };
        if !vector && self.lanes.is_some() {
            let out = (0..n).map(|l| self.lane_scalar(e, &open, a, &other, l)).collect();
            return Val::Lanes(out);
        }
        let saved = self.memo.clone();
        let this = std::cell::RefCell::new(self);
        let out = e.if_else(
            condition,
            &[ty],
            &mut |e| {
                let s = &mut *this.borrow_mut();
                s.assumed.extend(open.iter().cloned());
                let v = s.expr(e, a);
                s.assumed.truncate(s.assumed.len() - open.len());
                s.memo.clone_from(&saved);
                vec![if vector { s.vector(e, &v) } else { s.scalars(e, &v)[0] }]
            },
            &mut |e| {
                let s = &mut *this.borrow_mut();
                let v = if moving { Val::Lanes((0..n).map(|l| s.lane_scalar(e, &open, a, &other, l)).collect()) } else { other.clone() };
                s.memo.clone_from(&saved);
                vec![if vector { s.vector(e, &v) } else { s.scalars(e, &v)[0] }]
            },
        );
        if vector { Val::Vector(out[0]) } else { Val::Uniform(out[0]) }
    }

    /// `inside(open) ? a : b` that is the same for all lanes: a branch, of which each side computes only what it gives. What the
    /// condition says of its symbols holds there, so that offsets stay bare.
    fn guarded(&mut self, e: &mut Emit, open: &[(Dim, Dim)], a: ExprId, b: ExprId) -> Val {
        let condition = self.inside_at(e, open, 0);
        let dt = self.program.dtype(a);
        let ty = self.lanes.map_or(scalar_type(dt), |l| LoopType::Vector(dt, l.count));
        let (memo, narrowed) = (self.memo.clone(), self.narrowed.clone());
        let [yes, no] = known_of(open, self.ranges(e));
        let this = std::cell::RefCell::new(self);
        let side = |e: &mut Emit, x: ExprId, known: &Ranges, holds: &[(Dim, Dim)]| {
            let s = &mut *this.borrow_mut();
            s.narrowed = Some(known.clone());
            s.assumed.extend(holds.iter().cloned());
            let v = s.expr(e, x);
            let v = if s.lanes.is_some() { s.vector(e, &v) } else { s.scalars(e, &v)[0] };
            s.assumed.truncate(s.assumed.len() - holds.len());
            s.memo.clone_from(&memo);
            s.narrowed.clone_from(&narrowed);
            vec![v]
        };
        let out = e.if_else(condition, &[ty], &mut |e| side(e, a, &yes, open), &mut |e| side(e, b, &no, &[]));
        let lanes = this.borrow().lanes.is_some();
        if lanes { Val::Vector(out[0]) } else { Val::Uniform(out[0]) }
    }

    /// One lane of a padded access: clamped, then chosen; no branch.
    fn lane_scalar(&mut self, e: &mut Emit, pairs: &[(Dim, Dim)], a: ExprId, other: &Val, lane: u32) -> Value {
        let inside = self.inside_at(e, pairs, lane);
        let mut shifted = Program::new();
        let root = shifted.import(self.program, a, &|d| self.at_lane(d, lane), &mut |_, _| None);
        let shifted = shifted.returning(root);
        let acc = self.acc.clone().map(|v| Val::Uniform(self.scalars(e, &v)[lane as usize]));
        let mut one = ExprEmit::new(&shifted, self.sources, self.pointers, None, acc);
        let v = match one.root(e) {
            Some(v) => one.scalars(e, &v)[0],
            None => return self.scalars(e, other)[lane as usize],
        };
        let b = self.scalars(e, other)[lane as usize];
        let t = e.ty(v);
        e.op(Op::Select {}, &[inside, v, b], t)
    }
}

/// Scalars into the lanes of a vector.
pub(super) fn join(e: &mut Emit, lanes: &[Value]) -> Value {
    let dt = lanes.first().map_or(DType::F32, |v| e.ty(*v).dtype());
    let t = LoopType::Vector(dt, lanes.len() as u32);
    let mut v = e.op(Op::Splat {}, &[lanes[0]], t);
    for (k, s) in lanes.iter().enumerate().skip(1) {
        v = e.op(Op::Insert { lane: k as u32 }, &[v, *s], t);
    }
    v
}

/// The lanes of a vector.
pub(super) fn lanes(e: &mut Emit, v: Value) -> Vec<Value> {
    let t = e.ty(v);
    (0..t.lanes()).map(|lane| e.op(Op::Extract { lane }, &[v], scalar_type(t.dtype()))).collect()
}

/// The lanes of a vector, the halves of a wide one combined until there are four: few steps that wait for each other.
pub(super) fn folded(e: &mut Emit, v: Value, f: Binary) -> Vec<Value> {
    let mut all = lanes(e, v);
    while all.len() > 4 {
        let upper = all.split_off(all.len() / 2);
        all = all.into_iter().zip(upper).map(|(a, b)| e.binary(f, a, b)).collect();
    }
    all
}

/// All lanes of a vector in one.
pub(super) fn combined(e: &mut Emit, v: Value, f: Binary) -> Value {
    folded(e, v, f).into_iter().reduce(|a, b| e.binary(f, a, b)).unwrap_or(v)
}

/// Stores `v` at `at` (an offset dim over the lanes' axis).
pub(super) fn store(e: &mut Emit, ptr: Value, at: &Dim, v: &Val, x: &ExprEmit<'_>) {
    let at = &e.ranges.simplify(at);
    let Some(l) = x.lanes else {
        let o = e.dim(at);
        let v = x.scalars(e, v)[0];
        return e.store(ptr, o, v);
    };
    let dt = match v {
        Val::Uniform(v) | Val::Vector(v) => e.ty(*v).dtype(),
        Val::Lanes(l) => e.ty(l[0]).dtype(),
    };
    if l.stride(at, &e.ranges) == Stride::Unit && vectorable(dt) {
        let o = e.dim(at);
        let v = x.vector(e, v);
        return e.store(ptr, o, v);
    }
    for (lane, v) in x.scalars(e, v).into_iter().enumerate() {
        let o = e.dim(&x.at_lane(at, lane as u32));
        e.store(ptr, o, v);
    }
}

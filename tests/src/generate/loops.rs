//! Random kernels: a grid of iterations, each with serial and unrolled loops, conditions, vectors and scratch memory, writing four
//! elements of its own. Offsets are kept inside the buffers by a remainder; each buffer holds `4*n` elements.

use crate::choices::Choices;
use odc_ir::core::{Binary, Builder, DType, Loc, Scalar, Unary, Value};
use odc_ir::loops::{Func, Loop, LoopKind, LoopType, Module, Op, Space};

const F32: LoopType = LoopType::Scalar(DType::F32);
const V4: LoopType = LoopType::Vector(DType::F32, 4);
const BUFFER: LoopType = LoopType::Ptr(DType::F32, Space::Global);

struct Gen<'c, 'f> {
    c: &'c mut Choices,
    b: Builder<'f, Loop>,
    buffers: Vec<Value>,
    /// `4*n`.
    size: Value,
    scalars: Vec<Value>,
    vectors: Vec<Value>,
    indices: Vec<Value>,
    /// Vectors lie at multiples of their length.
    aligned: bool,
}

/// A random kernel `@kernel(x, y, out, n)`.
pub fn module(c: &mut Choices) -> Module {
    kernel(c, false)
}

/// A random kernel whose vector accesses are aligned, as GPUs want them.
pub fn aligned(c: &mut Choices) -> Module {
    kernel(c, true)
}

fn kernel(c: &mut Choices, aligned: bool) -> Module {
    let mut m = Module::new("random");
    let mut func = Func::new("kernel");
    let buffers: Vec<Value> = ["x", "y"].iter().map(|n| func.param(n, BUFFER)).collect();
    let out = func.param("out", BUFFER);
    let n = func.param("n", LoopType::Index);
    let mut b = Builder::new(&mut func);
    b.loc = Loc::new("/random");
    let [zero, one, four] = [0, 1, 4].map(|k| b.op1(Op::Const { value: Scalar::Int(k) }, &[], LoopType::Index));
    let size = b.op1(Op::Binary { f: Binary::Mul }, &[n, four], LoopType::Index);
    let mut g = Gen { c, b, buffers, size, scalars: vec![], vectors: vec![], indices: vec![zero, one, four], aligned };
    let body = g.nested(&[LoopType::Index], |g, args| {
        g.indices.push(args[0]);
        for _ in 0..3 + g.c.below(8) {
            g.step(2);
        }
        let at = g.b.op1(Op::Binary { f: Binary::Mul }, &[args[0], four], LoopType::Index);
        let v = g.vector();
        g.b.op(Op::Store {}, &[out, at, v], &[]);
        let lane = g.c.below(4) as i64;
        let k = g.index_const(lane);
        let at = g.b.op1(Op::Binary { f: Binary::Add }, &[at, k], LoopType::Index);
        let x = g.scalar();
        g.b.op(Op::Store {}, &[out, at, x], &[]);
        vec![]
    });
    g.b.region_op(Op::For { kind: LoopKind::Grid }, &[zero, n, one], &[], vec![body]);
    g.b.finish(&[]);
    func.renumber();
    m.funcs.push(func);
    m
}

impl Gen<'_, '_> {
    fn index_const(&mut self, k: i64) -> Value {
        self.b.op1(Op::Const { value: Scalar::Int(k) }, &[], LoopType::Index)
    }
    fn float_const(&mut self, ty: LoopType) -> Value {
        let x = self.c.between(-8, 8) as f64 / 4.0;
        self.b.op1(Op::Const { value: Scalar::Float(x) }, &[], ty)
    }
    fn latest(&mut self, pick: fn(&Self) -> &Vec<Value>) -> Option<Value> {
        let n = pick(self).len();
        (n > 0).then(|| {
            let k = n - 1 - self.c.below(n);
            pick(self)[k]
        })
    }
    fn scalar(&mut self) -> Value {
        self.latest(|g| &g.scalars).unwrap_or_else(|| self.float_const(F32))
    }
    fn vector(&mut self) -> Value {
        self.latest(|g| &g.vectors).unwrap_or_else(|| self.float_const(V4))
    }
    fn value(&mut self, ty: LoopType) -> Value {
        if ty == V4 { self.vector() } else { self.scalar() }
    }
    fn keep(&mut self, ty: LoopType, v: Value) {
        if ty == V4 { self.vectors.push(v) } else { self.scalars.push(v) }
    }

    /// An index in `0..4*n`, or one with three neighbours behind it.
    fn offset(&mut self, lanes: i64) -> Value {
        let a = self.latest(|g| &g.indices).unwrap_or(self.size);
        let b = self.latest(|g| &g.indices).unwrap_or(self.size);
        let f = *self.c.pick(&[Binary::Add, Binary::Mul, Binary::Sub, Binary::Max]);
        let x = self.b.op1(Op::Binary { f }, &[a, b], LoopType::Index);
        if self.aligned && lanes > 1 {
            let x = self.b.op1(Op::Binary { f: Binary::Mod }, &[x, self.size], LoopType::Index);
            let n = self.index_const(lanes);
            let q = self.b.op1(Op::Binary { f: Binary::Div }, &[x, n], LoopType::Index);
            return self.b.op1(Op::Binary { f: Binary::Mul }, &[q, n], LoopType::Index);
        }
        let k = self.index_const(lanes - 1);
        let room = self.b.op1(Op::Binary { f: Binary::Sub }, &[self.size, k], LoopType::Index);
        self.b.op1(Op::Binary { f: Binary::Mod }, &[x, room], LoopType::Index)
    }

    /// A block whose values stay inside it.
    fn nested(&mut self, args: &[LoopType], f: impl FnOnce(&mut Self, &[Value]) -> Vec<Value>) -> odc_ir::loops::Block {
        let before = (self.scalars.len(), self.vectors.len(), self.indices.len());
        let args: Vec<Value> = args.iter().map(|t| self.b.func.value(*t)).collect();
        let outer = std::mem::take(&mut self.b.block);
        self.b.block.args = args.clone();
        let yields = f(self, &args);
        let mut block = std::mem::replace(&mut self.b.block, outer);
        block.yields = yields;
        self.scalars.truncate(before.0);
        self.vectors.truncate(before.1);
        self.indices.truncate(before.2);
        block
    }

    fn step(&mut self, depth: usize) {
        let ty = if self.c.chance(50) { V4 } else { F32 };
        match self.c.below(if depth > 0 { 12 } else { 9 }) {
            0 => {
                let (lanes, p) = (i64::from(ty.lanes()), *self.c.pick(&self.buffers));
                let at = self.offset(lanes);
                let v = self.b.op1(Op::Load {}, &[p, at], ty);
                self.keep(ty, v);
            }
            1 => {
                let x = self.value(ty);
                let f = *self.c.pick(&[Unary::Neg, Unary::Abs, Unary::Floor]);
                let v = self.b.op1(Op::Unary { f }, &[x], ty);
                self.keep(ty, v);
            }
            2 | 3 => {
                let (a, b) = (self.value(ty), self.value(ty));
                let f = *self.c.pick(&[Binary::Add, Binary::Sub, Binary::Min, Binary::Max]);
                let v = self.b.op1(Op::Binary { f }, &[a, b], ty);
                self.keep(ty, v);
            }
            4 => {
                let (a, k, c) = (self.value(ty), self.float_const(ty), self.value(ty));
                let v = self.b.op1(Op::Fma {}, &[a, k, c], ty);
                self.keep(ty, v);
            }
            5 => {
                let (a, b) = (self.value(ty), self.value(ty));
                let cond = self.b.op1(Op::Binary { f: Binary::Lt }, &[a, b], ty.with_dtype(DType::Bool));
                let v = self.b.op1(Op::Select {}, &[cond, a, b], ty);
                self.keep(ty, v);
            }
            6 => {
                let x = self.scalar();
                let v = self.b.op1(Op::Splat {}, &[x], V4);
                let lane = self.c.below(4) as u32;
                let v = self.b.op1(Op::Insert { lane }, &[v, x], V4);
                let s = self.b.op1(Op::Extract { lane: 3 - lane }, &[v], F32);
                self.keep(V4, v);
                self.keep(F32, s);
            }
            7 => {
                let x = self.value(ty);
                let as_int = ty.with_dtype(DType::I32);
                let i = self.b.op1(Op::Cast {}, &[x], as_int);
                let i = self.b.op1(Op::Binary { f: Binary::Xor }, &[i, i], as_int);
                let v = if self.c.chance(50) { self.b.op1(Op::Bitcast {}, &[i], ty) } else { self.b.op1(Op::Cast {}, &[i], ty) };
                self.keep(ty, v);
            }
            8 => {
                let at = self.index_const(0);
                let p = self.b.op1(Op::Scratch {}, &[at], LoopType::Ptr(DType::F32, Space::Scratch));
                let x = self.value(ty);
                self.b.op(Op::Store {}, &[p, at, x], &[]);
                let v = self.b.op1(Op::Load {}, &[p, at], ty);
                self.keep(ty, v);
            }
            9 | 10 => {
                let kind = if self.c.chance(30) { LoopKind::Unrolled } else { LoopKind::Serial };
                let bounds = [0, self.c.between(1, 5), self.c.between(1, 2)].map(|k| self.index_const(k));
                let first = self.value(ty);
                let body = self.nested(&[LoopType::Index, ty], |g, args| {
                    g.indices.push(args[0]);
                    g.keep(ty, args[1]);
                    for _ in 0..1 + g.c.below(3) {
                        g.step(depth - 1);
                    }
                    // Halved, so that no number of rounds overflows.
                    let (half, next) = (g.b.op1(Op::Const { value: Scalar::Float(0.5) }, &[], ty), g.value(ty));
                    let sum = g.b.op1(Op::Binary { f: Binary::Add }, &[args[1], next], ty);
                    vec![g.b.op1(Op::Binary { f: Binary::Mul }, &[sum, half], ty)]
                });
                let [lo, hi, step] = bounds;
                let v = self.b.region_op(Op::For { kind }, &[lo, hi, step, first], &[ty], vec![body]);
                self.keep(ty, v[0]);
            }
            _ => {
                let (a, b) = (self.scalar(), self.scalar());
                let cond = self.b.op1(Op::Binary { f: Binary::Ge }, &[a, b], LoopType::Scalar(DType::Bool));
                let arm = |g: &mut Self| {
                    g.nested(&[], |g, _| {
                        g.step(depth - 1);
                        vec![g.value(ty)]
                    })
                };
                let regions = vec![arm(self), arm(self)];
                let v = self.b.region_op(Op::If {}, &[cond], &[ty], regions);
                self.keep(ty, v[0]);
            }
        }
    }
}

//! Kernels for GPUs: the same dispatches and the same scalar programs, spread over workgroups instead of threads. Templates: `loops`
//! (an invocation an element), `rows` (a workgroup a row, reductions through shared memory), `gemm` (register tiles over shared
//! tiles) and `gemv` (the depth split over invocations). Barriers come later, from the dependences.

mod coop;
mod gemm;
mod gemv;
mod map;
mod rows;

use super::emit::Emit;
use super::expr::{ExprEmit, Val, store};
use super::flat::{FlatOp, flatten, unflatten};
use super::lanes::{GROUP, Lanes};
use super::{Region, define_axes, grid_sym, scatter};
use crate::schedule::contraction::{Contraction, Side, contraction_any, drop_ones};
use odc_ir::core::{Binary, DType, Dim, Range, Scalar, Sym, Value};
use odc_ir::loops::{LoopKind, LoopType, Op, Space};
use odc_ir::tensor::{Op as TensorOp, Template};

pub(super) fn lower(e: &mut Emit, region: &mut Region<'_>) -> Option<Dim> {
    match region.schedule.template {
        Template::Loops if region.block.ops.iter().any(|o| matches!(o.op, TensorOp::Scatter { .. })) => scatter::lower(e, region),
        Template::Loops => map::lower(e, region),
        Template::Rows => rows::lower(e, region),
        Template::Gemm => gemm::lower(e, region),
        Template::Gemv => gemv::lower(e, region),
        // Only chosen for CPUs.
        Template::Attention | Template::Beside => None,
    }
}

/// The position of an invocation in its workgroup.
fn local() -> Dim {
    Dim::sym("$local")
}

/// Invocations of a workgroup, as the schedule says.
fn width(region: &Region<'_>) -> Option<i64> {
    region.schedule.local.first().copied().filter(|n| *n > 0)
}

/// `grid` workgroups of `width` invocations; `group` writes what all invocations of one have in common, `each` the rest.
fn workgroups(e: &mut Emit, grid: &Dim, width: i64, group: &mut dyn FnMut(&mut Emit), each: &mut dyn FnMut(&mut Emit)) {
    let (zero, end) = (e.index(0), e.dim(grid));
    let range = Range { lo: Dim::ZERO, hi: Some(grid - 1) };
    e.for_loop(LoopKind::Grid, &grid_sym(), (zero, end, 1), range, &[], &mut |e, _| {
        group(e);
        let (zero, end) = (e.index(0), e.index(width));
        let range = Range { lo: Dim::ZERO, hi: Some(Dim::from(width - 1)) };
        e.for_loop(LoopKind::Block, &Sym::new("$local"), (zero, end, 1), range, &[], &mut |e, _| {
            each(e);
            vec![]
        });
        vec![]
    });
}

/// Names `d` by a symbol that is known to lie in `0..extent`.
fn name(e: &mut Emit, sym: &str, d: &Dim, extent: &Dim) -> Dim {
    let sym = Sym::new(sym);
    let v = e.dim(d);
    e.define(sym.clone(), v, Range { lo: Dim::ZERO, hi: Some(extent - 1) });
    Dim::from(sym)
}

/// The test that `d` stays below `n`, if counting in steps of `step` may go past it. As a symbol of its own: the address that it guards
/// is written with symbols that are known to be inside.
fn below(e: &mut Emit, sym: &str, d: &Dim, n: &Dim, step: i64) -> Option<(Dim, Dim)> {
    let even = n.as_const().is_some_and(|n| n % step == 0);
    (!even).then(|| (name(e, sym, d, &Dim::from(i64::from(i32::MAX))), n.clone()))
}

/// The combination of `parts` values (of type `ty`) of an array, a power of two: halves meet until one is left, in the place of part 0. This
/// invocation holds part `part`; `place` says where a part lies.
fn halve(e: &mut Emit, array: Value, ty: LoopType, part: &Dim, parts: i64, place: &dyn Fn(&Dim) -> Dim, f: Binary) {
    let mine = e.dim(&place(part));
    let mut half = parts / 2;
    while half > 0 {
        guarded(e, &[(part.clone(), Dim::from(half))], &mut |e| {
            let other = e.dim(&place(&(part + half)));
            let (x, y) = (e.load(array, mine, ty), e.load(array, other, ty));
            let v = e.binary(f, x, y);
            e.store(array, mine, v);
        });
        half /= 2;
    }
}

/// `f` where all of `tests` (`d < n`) hold; those that always do are not asked.
fn guarded(e: &mut Emit, tests: &[(Dim, Dim)], f: &mut dyn FnMut(&mut Emit)) {
    match condition(e, tests, &[]) {
        None => f(e),
        Some(c) => {
            e.if_else(
                c,
                &[],
                &mut |e| {
                    f(e);
                    vec![]
                },
                &mut |_| vec![],
            );
        }
    }
}

/// `d < n` for all of `below` and `0 <= d < n` for all of `inside`; `None` if that always holds.
fn condition(e: &mut Emit, below: &[(Dim, Dim)], inside: &[(Dim, Dim)]) -> Option<Value> {
    let mut all: Option<Value> = None;
    let mut and = |e: &mut Emit, t: Value| {
        all = Some(match all {
            None => t,
            Some(a) => e.binary(Binary::And, a, t),
        });
    };
    for (d, n) in below.iter().chain(inside) {
        if !e.ranges.lt(d, n) {
            let (d, n) = (e.dim(d), e.dim(n));
            let t = e.binary(Binary::Lt, d, n);
            and(e, t);
        }
    }
    for (d, _) in inside {
        if !e.ranges.nonneg(d) {
            let (d, zero) = (e.dim(d), e.index(0));
            let t = e.binary(Binary::Ge, d, zero);
            and(e, t);
        }
    }
    all
}

/// An array that the workgroup shares.
fn shared(e: &mut Emit, dtype: DType, len: i64) -> Option<Value> {
    let len = u32::try_from(len.max(1)).ok()?;
    Some(e.op(Op::Shared { dtype, len }, &[], LoopType::Ptr(dtype, Space::Workgroup)))
}

const F32X4: LoopType = LoopType::Vector(DType::F32, GROUP as u32);

/// A dispatch that is one contraction.
struct Product<'a> {
    c: Contraction,
    op: FlatOp,
    region: &'a Region<'a>,
}

impl<'a> Product<'a> {
    fn new(e: &mut Emit, region: &'a Region<'a>) -> Option<Self> {
        let [op] = region.block.ops.as_slice() else { return None };
        let mut c = contraction_any(op, &|v| region.types(v), &e.ranges)?;
        let mut flat = flatten(op, &|v| region.types(v), &e.ranges.clone(), &[], 0)?;
        flat.epilogue = flat.epilogue.map_dims(&|d| drop_ones(d, &op.op));
        flat.store = drop_ones(&flat.store, &op.op);
        e.hide(|o| {
            o.flat(&mut flat);
            o.contraction(&mut c);
        });
        Some(Product { c, op: flat, region })
    }

    fn pointer(&self, side: &Side) -> Value {
        self.region.pointers[side.operand as usize].1
    }

    /// The factor of `side` at the axes' present values, as f32; zero where `below` or the side's padding says so.
    fn factor(&self, e: &mut Emit, side: &Side, at: &dyn Fn(&Dim) -> Dim, below: &[(Dim, Dim)]) -> Value {
        self.factor_as(e, side, at, below, DType::F32)
    }

    /// The same as another type.
    fn factor_as(&self, e: &mut Emit, side: &Side, at: &dyn Fn(&Dim) -> Dim, below: &[(Dim, Dim)], wanted: DType) -> Value {
        let inside: Vec<(Dim, Dim)> = side.inside.iter().map(|(d, n)| (at(d), at(n))).collect();
        let pointer = self.pointer(side);
        let offset = at(&side.offset);
        let dtype = e.ty(pointer).dtype();
        let ty = LoopType::Scalar(wanted);
        let load = |e: &mut Emit| {
            let o = e.dim(&offset);
            let v = e.load(pointer, o, LoopType::Scalar(dtype));
            if dtype == wanted { v } else { e.op(Op::Cast {}, &[v], ty) }
        };
        let Some(c) = condition(e, below, &inside) else { return load(e) };
        let zero = e.constant(if wanted.is_float() { Scalar::Float(0.0) } else { Scalar::Int(0) }, ty);
        e.if_else(c, &[ty], &mut |e| vec![load(e)], &mut |_| vec![zero])[0]
    }

    /// Four neighbouring factors of `side`, from the axes' present values on; zero where `below` says so.
    fn group(&self, e: &mut Emit, side: &Side, at: &dyn Fn(&Dim) -> Dim, below: &[(Dim, Dim)]) -> Value {
        let (pointer, offset) = (self.pointer(side), at(&side.offset));
        let load = |e: &mut Emit| {
            let o = e.dim(&offset);
            e.load(pointer, o, F32X4)
        };
        let Some(c) = condition(e, below, &[]) else { return load(e) };
        let zero = e.constant(Scalar::Float(0.0), F32X4);
        e.if_else(c, &[F32X4], &mut |e| vec![load(e)], &mut |_| vec![zero])[0]
    }

    /// Epilogue and store of the sum `acc` at flat `row` and `column`; of four sums beside each other, if it is a vector and `column` a symbol.
    fn finish(&self, e: &mut Emit, row: &Dim, column: &Dim, acc: Value) {
        let mut map = unflatten(&self.c.m, row).0;
        map.extend(unflatten(&self.c.n, column).0);
        let lanes = column.as_sym().filter(|_| e.ty(acc).lanes() > 1).map(Lanes::group);
        let ranges = e.ranges.clone();
        let dims = |d: &Dim| ranges.simplify(&d.subst(&|s| map.get(s).cloned()));
        let program = self.op.epilogue.map_dims(&dims);
        let wanted = e.ty(acc).with_dtype(self.op.body.result_dtype());
        let acc = if wanted == e.ty(acc) { acc } else { e.op(Op::Cast {}, &[acc], wanted) };
        let pointers: Vec<Value> = self.op.sources.iter().filter_map(|s| self.region.pointer(s.value)).collect();
        let acc = if lanes.is_some() { Val::Vector(acc) } else { Val::Uniform(acc) };
        let mut x = ExprEmit::new(&program, &self.op.sources, &pointers, lanes.as_ref(), Some(acc));
        if let (Some(v), Some(to)) = (x.root(e), self.region.pointer(self.op.result)) {
            store(e, to, &dims(&self.op.store), &v, &x);
        }
    }
}

//! The `loops` template: the shared leading axes are the grid; each stage is a nest over its other axes, vectorised along the axis
//! that its result is contiguous in, or, for reductions of whole rows, along the reduced axis.

use super::emit::Emit;
use super::expr::{ExprEmit, Val, combined, folded, scalar_type, store};
use super::flat::FlatOp;
use super::lanes::{self, Lanes};
use odc_ir::core::{Binary, DType, Dim, Range, Scalar, Sym, Value};
use odc_ir::loops::{LoopKind, LoopType, Op};
use odc_ir::tensor::{Axes, ReduceKind};
use std::collections::BTreeMap;

/// Lanes of the narrowest vectors.
const NARROW: i64 = 4;
/// Reductions with at most this many terms are written out instead of looped over.
const MAX_UNROLL: i64 = 25;
/// Independent partial sums of a vectorised reduction.
const CHAINS: i64 = 4;

/// A loop body: carried values in, carried values out.
type Carried<'a, T> = dyn FnMut(&T, &mut Emit, &[Value]) -> Vec<Value> + 'a;

/// One stage and the pointers of its sources and its result.
pub(super) struct Stage {
    pub op: FlatOp,
    pub pointers: Vec<Value>,
    pub result: Value,
    /// Elements that a reduction along a whole row takes at a time.
    pub across: u32,
    /// On a GPU: may aligned groups of them?
    pub groups: bool,
}

impl Stage {
    /// Writes the stage's loops: all axes from position `from` on; the first of them runs over `first` when given.
    pub fn emit(&self, e: &mut Emit, from: usize, first: Option<(Value, Value)>, vector: u32) {
        let axes: Axes = self.op.axes.iter().skip(from).cloned().collect();
        let lane_axis = if vector > 1 { self.lane_axis(e, &axes) } else { None };
        // The lanes' axis goes innermost.
        let mut order: Vec<usize> = (0..axes.len()).filter(|k| Some(*k) != lane_axis).collect();
        order.extend(lane_axis);
        self.nest(e, &axes, &order, first, lane_axis.is_some().then_some(vector));
    }

    /// Which of `axes` the vector should run along: the one with unit stride in the result, if loads profit too.
    fn lane_axis(&self, e: &Emit, axes: &Axes) -> Option<usize> {
        if self.op.kind.is_some_and(ReduceKind::is_arg) {
            return None;
        }
        let long = |n: &Dim| n.as_const().is_none_or(|c| c >= 4);
        let unit = |d: &Dim, s: &Sym| d.linear_in(s).is_some_and(|(a, _)| a.is(1));
        let found = axes.iter().rposition(|(s, n)| long(n) && unit(&self.op.store, s));
        // A reduction whose loads are contiguous in the reduced axis only is better vectorised there.
        match found {
            Some(k) if self.op.kind.is_some() && self.lanes_over_reduction(e).is_some() => {
                let s = &axes[k].0;
                let moves = |d: &Dim| d.linear_in(s).is_some_and(|(a, _)| a.is(0) || a.is(1));
                self.body_offsets().iter().all(moves).then_some(k)
            }
            found => found,
        }
    }

    fn body_offsets(&self) -> Vec<Dim> {
        let mut v = vec![];
        for (o, index) in self.op.body.loads() {
            let source = &self.op.sources[o as usize];
            if let Some(dims) = super::flat::dims_of(index) {
                v.push(if source.flat { dims.first().cloned().unwrap_or(Dim::ZERO) } else { super::flat::offset(&dims, &source.shape) });
            }
        }
        v
    }

    fn nest(&self, e: &mut Emit, axes: &Axes, order: &[usize], first: Option<(Value, Value)>, vector: Option<u32>) {
        let Some((&k, rest)) = order.split_first() else {
            return self.element(e, None);
        };
        let (sym, extent) = axes[k].clone();
        let (lo, hi) = match first {
            Some(range) if k == 0 => range,
            _ => (e.index(0), e.dim(&extent)),
        };
        let range = Range { lo: Dim::ZERO, hi: Some(&extent - 1) };
        if !rest.is_empty() || vector.is_none() {
            e.for_loop(LoopKind::Serial, &sym, (lo, hi, 1), range, &[], &mut |e, _| {
                self.nest(e, axes, rest, first, vector);
                vec![]
            });
            return;
        }
        let known = extent.as_const().filter(|_| first.is_none() || k != 0);
        let mut from = lo;
        for n in widths(known, i64::from(vector.unwrap_or(1))) {
            // lo is a multiple of the lanes: 0, or a block's start.
            let lanes = Lanes { axis: sym.clone(), count: n as u32, aligned: true };
            let count = e.index(n);
            let whole = e.binary(Binary::Sub, hi, from);
            let whole = e.binary(Binary::Div, whole, count);
            let whole = e.binary(Binary::Mul, whole, count);
            let split = e.binary(Binary::Add, from, whole);
            // The range is that of all lanes: a counter with one possible value would vanish from the offsets.
            e.for_loop(LoopKind::Serial, &sym, (from, split, n), range.clone(), &[], &mut |e, _| {
                self.element(e, Some(&lanes));
                vec![]
            });
            from = split;
            if known.is_some_and(|c| c % n == 0) {
                return;
            }
        }
        e.for_loop(LoopKind::Serial, &sym, (from, hi, 1), range, &[], &mut |e, _| {
            self.element(e, None);
            vec![]
        });
    }

    /// One element (or one vector of them): body, reduction, epilogue, store.
    pub(super) fn element(&self, e: &mut Emit, lanes: Option<&Lanes>) {
        let (program, acc) = match self.op.kind {
            None => (&self.op.body, None),
            Some(kind) => (&self.op.epilogue, Some(self.reduce(e, kind, lanes))),
        };
        let mut x = ExprEmit::new(program, &self.op.sources, &self.pointers, lanes, acc);
        if let Some(v) = x.root(e) {
            store(e, self.result, &self.op.store, &v, &x);
        }
    }

    fn reduce(&self, e: &mut Emit, kind: ReduceKind, lanes: Option<&Lanes>) -> Val {
        if kind.is_arg() {
            return self.arg_reduce(e, kind);
        }
        if let Some(l) = self.groups_of_terms(e).filter(|_| lanes.is_none()) {
            return self.grouped(e, kind, &l);
        }
        if let Some(v) = self.unrolled(e, kind, lanes) {
            return v;
        }
        if lanes.is_none()
            && let Some(l) = self.lanes_over_reduction(e)
        {
            return self.across(e, kind, &l);
        }
        let dt = self.op.body.result_dtype();
        let ty = match lanes {
            Some(l) if self.vector_body(e, lanes) => LoopType::Vector(dt, l.count),
            Some(_) | None => scalar_type(dt),
        };
        if let Some(l) = lanes.filter(|_| !matches!(ty, LoopType::Vector(..))) {
            // The body has no vector form: reduce each lane by itself.
            let out = (0..l.count).map(|lane| self.lane(e, kind, l, lane)).collect();
            return Val::Lanes(out);
        }
        let init = self.neutral(e, kind, dt, ty);
        let raxes = self.op.raxes.clone();
        let out = self.rnest(e, &raxes, &[init], &mut |s, e, carried| {
            let acc = if lanes.is_some() { Val::Vector(carried[0]) } else { Val::Uniform(carried[0]) };
            vec![s.combine_body(e, kind, lanes, &acc, ty)]
        });
        if lanes.is_some() { Val::Vector(out[0]) } else { Val::Uniform(out[0]) }
    }

    /// Does the body come out as a vector of the accumulator's type?
    fn vector_body(&self, _e: &Emit, _lanes: Option<&Lanes>) -> bool {
        matches!(self.op.body.result_dtype(), DType::F32 | DType::I32 | DType::U32)
    }

    fn lane(&self, e: &mut Emit, kind: ReduceKind, l: &Lanes, lane: u32) -> Value {
        let dt = self.op.body.result_dtype();
        let ty = scalar_type(dt);
        let shifted = self.op.body.map_dims(&|d| d.subst(&|s| (*s == l.axis).then(|| Dim::from(s) + i64::from(lane))));
        let init = self.neutral(e, kind, dt, ty);
        let raxes = self.op.raxes.clone();
        let out = self.rnest(e, &raxes, &[init], &mut |s, e, carried| {
            let mut x = ExprEmit::new(&shifted, &s.op.sources, &s.pointers, None, None);
            let v = x.root(e).map(|v| x.scalars(e, &v)[0]).unwrap_or(carried[0]);
            vec![e.binary(combine(kind), carried[0], v)]
        });
        out[0]
    }

    /// `acc` combined with the body's value here, as type `ty`.
    fn combine_body(&self, e: &mut Emit, kind: ReduceKind, lanes: Option<&Lanes>, acc: &Val, ty: LoopType) -> Value {
        combine_program(e, &self.op, &self.op.body, &self.pointers, kind, lanes, acc, ty)
    }

    /// Few terms: each with its reduced axes as constants, so that padding tests and offsets fold.
    fn unrolled(&self, e: &mut Emit, kind: ReduceKind, lanes: Option<&Lanes>) -> Option<Val> {
        let extents: Vec<i64> = self.op.raxes.iter().map(|(_, n)| n.as_const()).collect::<Option<_>>()?;
        let total = extents.iter().try_fold(1i64, |a, b| a.checked_mul(*b))?;
        if total > MAX_UNROLL || total == 0 {
            return None;
        }
        let dt = self.op.body.result_dtype();
        let ty = match lanes {
            Some(l) if self.vector_body(e, lanes) => LoopType::Vector(dt, l.count),
            Some(_) => return None,
            None => scalar_type(dt),
        };
        let mut acc = self.neutral(e, kind, dt, ty);
        for t in 0..total {
            let mut rest = t;
            let mut at = BTreeMap::new();
            for ((s, _), n) in self.op.raxes.iter().zip(&extents).rev() {
                at.insert(s.clone(), Dim::from(rest % n));
                rest /= n;
            }
            let term = self.op.body.subst(&at);
            let old = if lanes.is_some() { Val::Vector(acc) } else { Val::Uniform(acc) };
            acc = combine_program(e, &self.op, &term, &self.pointers, kind, lanes, &old, ty);
        }
        Some(if lanes.is_some() { Val::Vector(acc) } else { Val::Uniform(acc) })
    }

    /// The last reduced axis as lanes, if the body reads f32 with unit or no stride along it.
    fn lanes_over_reduction(&self, _e: &Emit) -> Option<Lanes> {
        let (s, n) = self.op.raxes.last().filter(|_| self.across > 1)?;
        if n.as_const().is_some_and(|c| c < 8) || self.op.body.result_dtype() != DType::F32 {
            return None;
        }
        let offsets = self.body_offsets();
        let unit = |d: &Dim| d.linear_in(s).is_some_and(|(a, _)| a.is(1));
        let fixed = |d: &Dim| !d.uses(s);
        let ok = offsets.iter().all(|d| unit(d) || fixed(d)) && offsets.iter().any(unit);
        ok.then(|| Lanes { axis: s.clone(), count: self.across, aligned: true })
    }

    /// Terms that are read in groups, if the schedule wants any.
    pub(super) fn groups_of_terms(&self, e: &Emit) -> Option<Lanes> {
        lanes::terms(&self.op, &e.ranges).filter(|_| self.groups)
    }

    /// A reduction by groups along its last axis.
    fn grouped(&self, e: &mut Emit, kind: ReduceKind, l: &Lanes) -> Val {
        let ty = LoopType::Vector(self.op.body.result_dtype(), l.count);
        let Some(((sym, extent), outer)) = self.op.raxes.split_last() else { return self.reduce(e, kind, None) };
        let init = e.constant(neutral(kind, ty.dtype()), ty);
        let out = self.rnest(e, outer, &[init], &mut |s, e, carried| {
            let (zero, end) = (e.index(0), e.dim(extent));
            let range = Range { lo: Dim::ZERO, hi: Some(extent - 1) };
            e.for_loop(LoopKind::Serial, sym, (zero, end, i64::from(l.count)), range, carried, &mut |e, carried| {
                vec![s.combine_body(e, kind, Some(l), &Val::Vector(carried[0]), ty)]
            })
        });
        Val::Uniform(combined(e, out[0], combine(kind)))
    }

    /// A reduction vectorised along its last axis: some independent vectors, then single vectors, then single elements.
    fn across(&self, e: &mut Emit, kind: ReduceKind, l: &Lanes) -> Val {
        let dt = self.op.body.result_dtype();
        let (vty, sty) = (LoopType::Vector(dt, l.count), scalar_type(dt));
        let n = i64::from(l.count);
        let (sym, extent) = self.op.raxes[self.op.raxes.len() - 1].clone();
        let outer: Axes = self.op.raxes[..self.op.raxes.len() - 1].to_vec();
        let neutral_v = self.neutral(e, kind, dt, vty);
        let neutral_s = self.neutral(e, kind, dt, sty);
        let mut inits = vec![neutral_v; CHAINS as usize];
        inits.push(neutral_s);
        let out = self.rnest(e, &outer, &inits, &mut |s, e, carried| {
            let (zero, end) = (e.index(0), e.dim(&extent));
            let step = e.index(n * CHAINS);
            let wide = e.binary(Binary::Div, end, step);
            let wide = e.binary(Binary::Mul, wide, step);
            let range = Range { lo: Dim::ZERO, hi: Some(&extent - 1) };
            let chains = carried[..CHAINS as usize].to_vec();
            let mut vs = e.for_loop(LoopKind::Serial, &sym, (zero, wide, n * CHAINS), range.clone(), &chains, &mut |e, accs| {
                let mut out = vec![];
                for (c, acc) in accs.iter().enumerate() {
                    let shift = n * c as i64;
                    let term = s.op.body.map_dims(&|d| d.subst(&|x| (*x == sym).then(|| Dim::from(x) + shift)));
                    out.push(combine_program(e, &s.op, &term, &s.pointers, kind, Some(l), &Val::Vector(*acc), vty));
                }
                out
            });
            let one = e.index(n);
            let whole = e.binary(Binary::Div, end, one);
            let whole = e.binary(Binary::Mul, whole, one);
            let first = e.for_loop(LoopKind::Serial, &sym, (wide, whole, n), range.clone(), &vs[..1], &mut |e, accs| {
                vec![s.combine_body(e, kind, Some(l), &Val::Vector(accs[0]), vty)]
            });
            vs[0] = first[0];
            let tail = e.for_loop(LoopKind::Serial, &sym, (whole, end, 1), range.clone(), &carried[CHAINS as usize..], &mut |e, accs| {
                vec![s.combine_body(e, kind, None, &Val::Uniform(accs[0]), sty)]
            });
            vs.extend(tail);
            vs
        });
        let f = combine(kind);
        let mut v = out[0];
        for c in &out[1..CHAINS as usize] {
            v = e.binary(f, v, *c);
        }
        let mut total = out[CHAINS as usize];
        for x in folded(e, v, f) {
            total = e.binary(f, total, x);
        }
        Val::Uniform(total)
    }

    /// Position of the extreme: carried best value and position, in one scalar loop.
    fn arg_reduce(&self, e: &mut Emit, kind: ReduceKind) -> Val {
        let dt = self.op.body.result_dtype();
        let ty = scalar_type(dt);
        let (max, last) = match kind {
            ReduceKind::ArgMax => (true, false),
            ReduceKind::ArgMaxLast => (true, true),
            ReduceKind::ArgMin => (false, false),
            ReduceKind::ArgMinLast | ReduceKind::Sum | ReduceKind::Prod | ReduceKind::Max | ReduceKind::Min => (false, true),
        };
        let f = match (max, last) {
            (true, false) => Binary::Gt,
            (true, true) => Binary::Ge,
            (false, false) => Binary::Lt,
            (false, true) => Binary::Le,
        };
        let worst = if max { ReduceKind::Max } else { ReduceKind::Min };
        let init = self.neutral(e, worst, dt, ty);
        let zero = e.index(0);
        let raxes = self.op.raxes.clone();
        let position = super::flat::flat_index(&raxes);
        let out = self.rnest(e, &raxes, &[init, zero], &mut |s, e, carried| {
            let mut x = ExprEmit::new(&s.op.body, &s.op.sources, &s.pointers, None, None);
            let v = x.root(e).map(|v| x.scalars(e, &v)[0]).unwrap_or(carried[0]);
            let better = e.binary(f, v, carried[0]);
            let at = e.dim(&position);
            vec![e.op(Op::Select {}, &[better, v, carried[0]], ty), e.op(Op::Select {}, &[better, at, carried[1]], LoopType::Index)]
        });
        Val::Uniform(out[1])
    }

    /// Nested serial loops over `axes` that carry `inits`.
    fn rnest(&self, e: &mut Emit, axes: &[(Sym, Dim)], inits: &[Value], f: &mut Carried<'_, Self>) -> Vec<Value> {
        let Some(((sym, extent), rest)) = axes.split_first() else { return f(self, e, inits) };
        let (lo, hi) = (e.index(0), e.dim(extent));
        let range = Range { lo: Dim::ZERO, hi: Some(extent - 1) };
        e.for_loop(LoopKind::Serial, sym, (lo, hi, 1), range, inits, &mut |e, carried| self.rnest(e, rest, carried, f))
    }

    fn neutral(&self, e: &mut Emit, kind: ReduceKind, dt: DType, ty: LoopType) -> Value {
        e.constant(neutral(kind, dt), ty)
    }
}

/// Of `n` elements, those that wide vectors leave over are taken by narrower ones. What is not known beforehand gets no more than two
/// widths: each is written out.
fn widths(n: Option<i64>, widest: i64) -> Vec<i64> {
    let narrower = std::iter::successors(Some(widest), |w| Some(w / 2).filter(|w| *w >= NARROW));
    match n {
        Some(n) => {
            let mut left = n;
            let fits = narrower.filter(|w| {
                let fits = left >= *w;
                left %= w;
                fits
            });
            fits.collect()
        }
        None if widest > NARROW => vec![widest, NARROW],
        None => vec![widest],
    }
}

#[allow(clippy::too_many_arguments)]
pub(super) fn combine_program(
    e: &mut Emit,
    op: &FlatOp,
    term: &odc_ir::tensor::Program,
    pointers: &[Value],
    kind: ReduceKind,
    lanes: Option<&Lanes>,
    acc: &Val,
    ty: LoopType,
) -> Value {
    let mut term = term.clone();
    // The combination is an expression over the term and the accumulator, so that a product sums as one fma.
    if let Some(r) = term.root {
        let dt = term.dtype(r);
        let a = term.push(odc_ir::tensor::Expr::Acc(dt));
        let c = term.binary(combine(kind), r, a);
        term.root = Some(c);
    }
    let mut x = ExprEmit::new(&term, &op.sources, pointers, lanes, Some(acc.clone()));
    match x.root(e) {
        Some(v) if matches!(ty, LoopType::Vector(..)) => x.vector(e, &v),
        Some(v) => x.scalars(e, &v)[0],
        None => match acc {
            Val::Uniform(v) | Val::Vector(v) => *v,
            Val::Lanes(l) => l[0],
        },
    }
}

pub(super) fn combine(kind: ReduceKind) -> Binary {
    match kind {
        ReduceKind::Sum => Binary::Add,
        ReduceKind::Prod => Binary::Mul,
        ReduceKind::Max | ReduceKind::ArgMax | ReduceKind::ArgMaxLast => Binary::Max,
        ReduceKind::Min | ReduceKind::ArgMin | ReduceKind::ArgMinLast => Binary::Min,
    }
}

/// What an empty reduction gives.
pub(crate) fn neutral(kind: ReduceKind, dt: DType) -> Scalar {
    let extreme = |low: bool| {
        if dt.is_float() {
            return Scalar::Float(if low { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        let bits = dt.bits();
        Scalar::Int(match (dt.is_unsigned_int(), low) {
            (true, true) => 0,
            (true, false) => {
                if bits == 64 {
                    -1
                } else {
                    (1i64 << bits) - 1
                }
            }
            (false, true) => i64::MIN >> (64 - bits),
            (false, false) => i64::MAX >> (64 - bits),
        })
        .wrap(dt)
    };
    match kind {
        ReduceKind::Sum => Scalar::Int(0).wrap(dt),
        ReduceKind::Prod => Scalar::Int(1).wrap(dt),
        ReduceKind::Max | ReduceKind::ArgMax | ReduceKind::ArgMaxLast => extreme(true),
        ReduceKind::Min | ReduceKind::ArgMin | ReduceKind::ArgMinLast => extreme(false),
    }
}

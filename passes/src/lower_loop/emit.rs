//! Writes loop IR with sizes and indices as dims: a dim becomes index arithmetic in the outermost block where its symbols are
//! known, so that loop-invariant address parts stand outside the loop when they are first written.

use super::opaque::Opaque;
use odc_ir::core::{Atom, Binary, Dim, Effect, Loc, OpSet, Range, Ranges, Scalar, Sym, Value};
use odc_ir::loops::{Block, Func, LoopKind, LoopType, Op, Operation};
use std::collections::BTreeMap;

/// What an axis symbol is while its loop is open.
struct Bound {
    value: Value,
    level: usize,
}

pub(super) struct Emit {
    pub func: Func,
    pub ranges: Ranges,
    /// Blocks under construction, the kernel's body first.
    blocks: Vec<Block>,
    /// Index values already computed in each open block.
    known: Vec<BTreeMap<Dim, Value>>,
    /// Pure ops already written in each open block, by what they compute.
    written: Vec<BTreeMap<(String, Vec<Value>), Value>>,
    /// The block each value was made in.
    level: Vec<usize>,
    axes: BTreeMap<Sym, Bound>,
    /// Dims that the kernel takes as parameters, in order.
    pub dims: Vec<Dim>,
    dim_params: Vec<Value>,
    buffers: Vec<Value>,
    buffer_names: Vec<String>,
    scratch_bytes: Dim,
    opaque: Opaque,
}

impl Emit {
    pub fn new(name: &str, ranges: Ranges) -> Self {
        Emit {
            func: Func::new(name),
            opaque: Opaque::new(ranges.clone()),
            ranges,
            blocks: vec![Block::default()],
            known: vec![BTreeMap::new()],
            written: vec![BTreeMap::new()],
            level: vec![],
            axes: BTreeMap::new(),
            dims: vec![],
            dim_params: vec![],
            buffers: vec![],
            buffer_names: vec![],
            scratch_bytes: Dim::ZERO,
        }
    }

    /// Hides divided sizes through `f` and learns their bounds.
    pub fn hide(&mut self, f: impl FnOnce(&mut Opaque)) {
        f(&mut self.opaque);
        self.opaque.bound(&mut self.ranges);
    }
    /// A size as the caller knows it.
    pub fn reveal(&self, d: &Dim) -> Dim {
        self.opaque.reveal(d)
    }

    fn value(&mut self, ty: LoopType, level: usize) -> Value {
        self.level.push(level);
        self.func.value(ty)
    }
    fn level_of(&self, v: Value) -> usize {
        self.level.get(v.index()).copied().unwrap_or(0)
    }
    fn depth(&self) -> usize {
        self.blocks.len() - 1
    }
    pub fn ty(&self, v: Value) -> LoopType {
        *self.func.ty(v)
    }

    /// A buffer parameter; all of them come before the first dim.
    pub fn buffer(&mut self, ty: LoopType, name: &str) -> Value {
        let v = self.value(ty, 0);
        self.buffer_names.push(name.into());
        self.buffers.push(v);
        v
    }

    fn push(&mut self, level: usize, op: Op, operands: Vec<Value>, results: Vec<Value>, regions: Vec<Block>) {
        let loc = Loc::none();
        if let Some(b) = self.blocks.get_mut(level) {
            b.ops.push(Operation { op, operands, results, regions, loc });
        }
    }

    /// An op with one result; pure ones go to the outermost block that knows their operands.
    pub fn op(&mut self, op: Op, operands: &[Value], ty: LoopType) -> Value {
        let level =
            if op.info().effect == Effect::Pure { operands.iter().map(|v| self.level_of(*v)).max().unwrap_or(0) } else { self.depth() };
        // Two arrays are two arrays, however alike.
        let key =
            (op.info().effect == Effect::Pure && !matches!(op, Op::Shared { .. })).then(|| (format!("{op:?} {ty}"), operands.to_vec()));
        if let Some(v) = key.as_ref().and_then(|k| self.written.get(level)?.get(k)) {
            return *v;
        }
        let v = self.value(ty, level);
        if let (Some(key), Some(known)) = (key, self.written.get_mut(level)) {
            known.insert(key, v);
        }
        self.push(level, op, operands.to_vec(), vec![v], vec![]);
        v
    }
    pub fn constant(&mut self, s: Scalar, ty: LoopType) -> Value {
        self.op(Op::Const { value: s }, &[], ty)
    }
    pub fn index(&mut self, c: i64) -> Value {
        self.constant(Scalar::Int(c), LoopType::Index)
    }
    pub fn binary(&mut self, f: Binary, a: Value, b: Value) -> Value {
        let t = self.ty(a);
        let ty = if f.is_compare() {
            match t {
                LoopType::Vector(_, n) => LoopType::Vector(odc_ir::core::DType::Bool, n),
                LoopType::Scalar(_) | LoopType::Index | LoopType::Ptr(..) | LoopType::Coop(_) => {
                    LoopType::Scalar(odc_ir::core::DType::Bool)
                }
            }
        } else {
            t
        };
        self.op(Op::Binary { f }, &[a, b], ty)
    }
    pub fn load(&mut self, ptr: Value, offset: Value, ty: LoopType) -> Value {
        self.op(Op::Load {}, &[ptr, offset], ty)
    }
    pub fn store(&mut self, ptr: Value, offset: Value, value: Value) {
        self.effect(Op::Store {}, &[ptr, offset, value]);
    }
    /// An op without a result.
    pub fn effect(&mut self, op: Op, operands: &[Value]) {
        let level = self.depth();
        self.push(level, op, operands.to_vec(), vec![], vec![]);
    }
    /// Thread-local memory for `elements` of `ty`'s element type.
    pub fn scratch(&mut self, dtype: odc_ir::core::DType, elements: &Dim) -> Value {
        let at = self.scratch_bytes.clone();
        self.scratch_bytes = &at + (elements * dtype.size() as i64).align_up(64);
        let at = self.dim(&at);
        self.op(Op::Scratch {}, &[at], LoopType::Ptr(dtype, odc_ir::loops::Space::Scratch))
    }

    fn sym_level(&self, d: &Dim) -> usize {
        let mut level = 0;
        d.visit_syms(&mut |s| level = level.max(self.axes.get(s).map_or(0, |b| b.level)));
        level
    }

    /// The value of `d`: model symbols come in as parameters, axes are the open loops' counters.
    pub fn dim(&mut self, d: &Dim) -> Value {
        let d = self.ranges.simplify(d);
        self.dim_value(&d)
    }

    fn dim_value(&mut self, d: &Dim) -> Value {
        if let Some(c) = d.as_const() {
            return self.index(c);
        }
        if let Some(b) = d.as_sym().and_then(|s| self.axes.get(s)) {
            return b.value;
        }
        let level = self.sym_level(d);
        if let Some(v) = self.known.iter().find_map(|k| k.get(d)) {
            return *v;
        }
        let mut uniform = true;
        d.visit_syms(&mut |s| uniform &= !self.axes.contains_key(s));
        if uniform {
            let v = self.value(LoopType::Index, 0);
            self.dims.push(d.clone());
            self.dim_params.push(v);
            self.known[0].insert(d.clone(), v);
            return v;
        }
        let v = self.sum(d);
        let at = self.level_of(v).max(level).min(self.depth());
        self.known[at].insert(d.clone(), v);
        v
    }

    /// Terms from outer to inner, so that each partial sum stands as far out as it can.
    fn sum(&mut self, d: &Dim) -> Value {
        // (product of axis atoms, its uniform factor)
        let mut parts: Vec<(Dim, Dim)> = vec![];
        let mut uniform = Dim::from(d.constant_part());
        for (m, c) in d.terms().iter().filter(|(m, _)| !m.is_one()) {
            let (mut axis, mut factor) = (Dim::ONE, Dim::from(*c));
            for (a, e) in m.factors() {
                let x = atom_dim(a);
                let mut local = false;
                x.visit_syms(&mut |s| local |= self.axes.contains_key(s));
                for _ in 0..*e {
                    if local {
                        axis = &axis * &x;
                    } else {
                        factor = &factor * &x;
                    }
                }
            }
            if axis.is(1) {
                uniform = &uniform + &factor;
            } else if let Some((_, f)) = parts.iter_mut().find(|(a, _)| *a == axis) {
                *f = &*f + &factor;
            } else {
                parts.push((axis, factor));
            }
        }
        parts.sort_by_key(|(a, _)| self.sym_level(a));
        let last_const = uniform.as_const();
        let mut acc = if uniform.is(0) || last_const.is_some() { None } else { Some(self.dim_value(&uniform)) };
        for (axis, factor) in parts {
            let x = self.product(&axis);
            let negative = factor.is(-1);
            let t = match () {
                () if factor.is(1) || (negative && acc.is_some()) => x,
                () => {
                    let f = self.dim_value(&factor);
                    self.binary(Binary::Mul, x, f)
                }
            };
            acc = Some(match acc {
                None => t,
                Some(a) if negative => self.binary(Binary::Sub, a, t),
                Some(a) => self.binary(Binary::Add, a, t),
            });
        }
        // A constant goes last: it becomes a displacement of the access.
        match (acc, last_const) {
            (Some(a), None | Some(0)) => a,
            (Some(a), Some(c)) => {
                let c = self.index(c);
                self.binary(Binary::Add, a, c)
            }
            (None, c) => self.index(c.unwrap_or(0)),
        }
    }

    fn product(&mut self, axis: &Dim) -> Value {
        let mut acc: Option<Value> = None;
        let factors: Vec<(Atom, u32)> = axis.terms().first().map(|(m, _)| m.factors().to_vec()).unwrap_or_default();
        for (a, e) in factors {
            let v = self.atom(&a);
            for _ in 0..e {
                acc = Some(match acc {
                    None => v,
                    Some(x) => self.binary(Binary::Mul, x, v),
                });
            }
        }
        acc.unwrap_or_else(|| self.index(1))
    }

    fn atom(&mut self, a: &Atom) -> Value {
        let (f, x, y) = match a {
            Atom::Sym(s) => return self.dim_value(&Dim::from(s)),
            Atom::FloorDiv(x, y) => (Binary::FloorDiv, x, y),
            Atom::Min(x, y) => (Binary::Min, x, y),
            Atom::Max(x, y) => (Binary::Max, x, y),
        };
        let whole = atom_dim(a);
        if let Some(v) = self.known.iter().find_map(|k| k.get(&whole)) {
            return *v;
        }
        // Truncating division is cheaper and equal where both sides are non-negative.
        let f = if f == Binary::FloorDiv && self.ranges.nonneg(x) && self.ranges.nonneg(y) { Binary::Div } else { f };
        let (x, y) = (self.dim_value(x), self.dim_value(y));
        let v = self.binary(f, x, y);
        let at = self.level_of(v);
        self.known[at].insert(whole, v);
        v
    }

    /// A symbol that is just a value: known from here on, while the present block is open.
    pub fn define(&mut self, sym: Sym, value: Value, range: Range) {
        self.forget(&sym);
        self.ranges.set(sym.clone(), range.lo, range.hi);
        let level = self.level_of(value);
        self.axes.insert(sym, Bound { value, level });
    }

    /// Forgets what an older use of `sym` computed.
    fn forget(&mut self, sym: &Sym) {
        if self.axes.remove(sym).is_some() {
            for k in &mut self.known {
                k.retain(|d, _| !d.uses(sym));
            }
        }
    }

    /// A loop with carried values; inside, `sym` is the counter, at least `lo` and at most `last` (both dims).
    pub fn for_loop(
        &mut self,
        kind: LoopKind,
        sym: &Sym,
        (lo, hi, step): (Value, Value, i64),
        range: Range,
        inits: &[Value],
        f: &mut dyn FnMut(&mut Emit, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let step = self.index(step);
        let outer_range = self.ranges.clone();
        self.blocks.push(Block::default());
        self.known.push(BTreeMap::new());
        self.written.push(BTreeMap::new());
        let level = self.depth();
        let counter = self.value(LoopType::Index, level);
        let carried: Vec<Value> = inits.iter().map(|v| self.ty(*v)).collect::<Vec<_>>().into_iter().map(|t| self.value(t, level)).collect();
        self.define(sym.clone(), counter, range);
        let yields = f(self, &carried);
        self.known.pop();
        self.written.pop();
        self.forget(sym);
        self.ranges = outer_range;
        let mut region = self.blocks.pop().unwrap_or_default();
        region.args = [counter].into_iter().chain(carried).collect();
        region.yields = yields;
        let level = self.depth();
        let results: Vec<Value> = inits.iter().map(|v| self.ty(*v)).collect::<Vec<_>>().into_iter().map(|t| self.value(t, level)).collect();
        let operands = [lo, hi, step].into_iter().chain(inits.iter().copied()).collect();
        self.push(level, Op::For { kind }, operands, results.clone(), vec![region]);
        results
    }

    fn side(&mut self, f: &mut dyn FnMut(&mut Emit) -> Vec<Value>) -> Block {
        self.blocks.push(Block::default());
        self.known.push(BTreeMap::new());
        self.written.push(BTreeMap::new());
        let yields = f(self);
        self.known.pop();
        self.written.pop();
        let mut b = self.blocks.pop().unwrap_or_default();
        b.yields = yields;
        b
    }

    /// `if` with results of types `types`; both sides give them.
    pub fn if_else(
        &mut self,
        condition: Value,
        types: &[LoopType],
        then: &mut dyn FnMut(&mut Emit) -> Vec<Value>,
        other: &mut dyn FnMut(&mut Emit) -> Vec<Value>,
    ) -> Vec<Value> {
        let regions = vec![self.side(then), self.side(other)];
        let level = self.depth();
        let results: Vec<Value> = types.iter().map(|t| self.value(*t, level)).collect();
        self.push(level, Op::If {}, vec![condition], results.clone(), regions);
        results
    }

    /// The finished kernel: buffers, then dims as parameters. Gives the function, its dims and its scratch size.
    pub fn finish(mut self) -> (Func, Vec<Dim>, Dim) {
        self.dims = self.dims.iter().map(|d| self.opaque.reveal(d)).collect();
        let scratch_bytes = self.opaque.reveal(&self.scratch_bytes);
        let mut body = self.blocks.pop().unwrap_or_default();
        body.args = self.buffers.iter().chain(&self.dim_params).copied().collect();
        self.func.param_names = self.buffer_names.into_iter().chain(self.dims.iter().map(Dim::to_string)).collect();
        self.func.body = body;
        // Address parts that a later choice made superfluous.
        self.func.remove_dead();
        let used = self.func.use_counts();
        let kept: Vec<bool> = self.dim_params.iter().map(|v| used[v.index()] > 0).collect();
        let n = self.buffers.len();
        let mut keep = kept.iter();
        let dims: Vec<Dim> = self.dims.into_iter().filter(|_| *keep.next().unwrap_or(&false)).collect();
        let keep_at = |k: usize| k < n || kept[k - n];
        let args = std::mem::take(&mut self.func.body.args);
        let names = std::mem::take(&mut self.func.param_names);
        self.func.body.args = args.into_iter().enumerate().filter(|(k, _)| keep_at(*k)).map(|(_, v)| v).collect();
        self.func.param_names = names.into_iter().enumerate().filter(|(k, _)| keep_at(*k)).map(|(_, v)| v).collect();
        self.func.renumber();
        (self.func, dims, scratch_bytes)
    }
}

fn atom_dim(a: &Atom) -> Dim {
    match a {
        Atom::Sym(s) => Dim::from(s),
        Atom::FloorDiv(x, y) => x.floordiv(y),
        Atom::Min(x, y) => x.min_with(y),
        Atom::Max(x, y) => x.max_with(y),
    }
}

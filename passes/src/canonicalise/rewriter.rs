//! What rules see of a function under rewriting: operations emitted so far by value, use counts, constants; and what they do to
//! it: emit operations, which are merged with equal ones. Matches leave a trace, from which new operations get their locations.

use odc_ir::core::{Const, ConstId, Loc, Ranges, TensorType, Value};
use odc_ir::graph::infer::{self, Cx as Typing};
use odc_ir::graph::{BinaryFn, Func, Op, Operation, UnaryFn};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Constants up to this size are compared by content.
const HASHED: usize = 1 << 16;

pub(super) struct Cx<'m> {
    consts: &'m mut Vec<Const>,
    pub ranges: Ranges,
    func: &'m mut Func,
    ops: Vec<Rc<Operation>>,
    /// Position in `ops` of each value's operation.
    def: Vec<Option<usize>>,
    uses: Vec<u32>,
    forward: BTreeMap<Value, Value>,
    known: BTreeMap<String, Value>,
    contents: BTreeMap<(String, [u8; 32]), ConstId>,
    loc: Loc,
    trace: Vec<usize>,
}

impl<'m> Cx<'m> {
    pub fn new(consts: &'m mut Vec<Const>, ranges: Ranges, func: &'m mut Func) -> Self {
        let types = func.types.len();
        let mut cx = Cx {
            consts,
            ranges,
            func,
            ops: vec![],
            def: vec![None; types],
            uses: vec![0; types],
            forward: BTreeMap::new(),
            known: BTreeMap::new(),
            contents: BTreeMap::new(),
            loc: Loc::none(),
            trace: vec![],
        };
        for k in 0..cx.consts.len() {
            cx.intern(ConstId(k as u32));
        }
        cx
    }
    /// Use counts of the function before this round.
    pub fn count_uses(&mut self, ops: &[Operation]) {
        for v in ops.iter().flat_map(|op| &op.operands).chain(&self.func.body.yields) {
            if let Some(n) = self.uses.get_mut(v.index()) {
                *n += 1;
            }
        }
    }

    // What the driver does.

    pub fn resolve(&self, mut v: Value) -> Value {
        while let Some(w) = self.forward.get(&v) {
            v = *w;
        }
        v
    }
    /// Before each rule: nothing is matched yet.
    pub fn begin(&mut self, op: &Operation) {
        self.loc = op.loc.clone();
        self.trace.clear();
    }
    /// `by` takes the place of the operation's result.
    pub fn replace(&mut self, op: &Operation, by: Value) {
        let Some(result) = op.result() else { return };
        let moved = self.uses.get(result.index()).copied().unwrap_or(0);
        if let Some(n) = self.uses.get_mut(by.index()) {
            *n = n.saturating_add(moved);
        }
        self.forward.insert(result, by);
    }
    /// Keeps an operation that no rule took; true if an equal one was there already.
    pub fn keep(&mut self, mut op: Operation) -> bool {
        if let Op::Constant { value } = &mut op.op {
            *value = self.intern(*value);
        }
        if let Some(key) = self.key(&op.op, &op.operands, op.result()) {
            if let Some(&same) = self.known.get(&key) {
                self.replace(&op, same);
                return true;
            }
            self.known.extend(op.result().map(|r| (key, r)));
        }
        self.push(op);
        false
    }
    pub fn finish(self) {
        let Cx { func, ops, forward, .. } = self;
        func.body.ops = ops.into_iter().map(|op| Rc::try_unwrap(op).unwrap_or_else(|op| (*op).clone())).collect();
        for v in &mut func.body.yields {
            while let Some(w) = forward.get(v) {
                *v = *w;
            }
        }
        func.remove_dead();
    }

    fn push(&mut self, op: Operation) {
        for r in &op.results {
            if let Some(slot) = self.def.get_mut(r.index()) {
                *slot = Some(self.ops.len());
            }
        }
        self.ops.push(Rc::new(op));
    }
    /// Equal keys are equal values.
    fn key(&self, op: &Op, operands: &[Value], result: Option<Value>) -> Option<String> {
        Some(format!("{op:?} {operands:?} {}", self.ty(result?)))
    }
    fn intern(&mut self, id: ConstId) -> ConstId {
        let Some(c) = self.consts.get(id.0 as usize).filter(|c| c.bytes.len() <= HASHED) else { return id };
        *self.contents.entry((c.tensor_type().to_string(), c.hash())).or_insert(id)
    }

    // What rules ask.

    pub fn ty(&self, v: Value) -> &TensorType {
        self.func.ty(v)
    }
    /// The operation that defines `v`; it counts as matched.
    pub fn def(&mut self, v: Value) -> Option<Rc<Operation>> {
        let at = (*self.def.get(v.index())?)?;
        self.trace.push(at);
        self.ops.get(at).cloned()
    }
    /// As [`Cx::def`], if nothing else uses `v`.
    pub fn only(&mut self, v: Value) -> Option<Rc<Operation>> {
        if self.single(v) { self.def(v) } else { None }
    }
    pub fn single(&self, v: Value) -> bool {
        self.uses.get(v.index()).is_some_and(|n| *n <= 1)
    }
    /// Runs part of a match that may fail without leaving a trace.
    pub fn attempt<T>(&mut self, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mark = self.trace.len();
        let r = f(self);
        if r.is_none() {
            self.trace.truncate(mark);
        }
        r
    }
    /// The operand of `v = f(operand)`.
    pub fn unary(&mut self, v: Value, f: UnaryFn) -> Option<Value> {
        self.attempt(|cx| match cx.def(v)?.as_ref() {
            Operation { op: Op::Unary { f: g }, operands, .. } if *g == f => operands.first().copied(),
            _ => None,
        })
    }
    /// The operands of `v = f(a, b)`.
    pub fn binary(&mut self, v: Value, f: BinaryFn) -> Option<(Value, Value)> {
        self.attempt(|cx| pair(cx.def(v)?.as_ref(), f))
    }
    /// `x` and `c` of `v = f(x, c)` with a constant of equal elements, in either order for commutative `f`.
    pub fn with_scalar(&mut self, v: Value, f: BinaryFn) -> Option<(Value, f64)> {
        self.attempt(|cx| {
            let (a, b) = cx.binary(v, f)?;
            cx.scalar(b).map(|c| (a, c)).or_else(|| {
                let swap = matches!(f, BinaryFn::Add | BinaryFn::Mul | BinaryFn::Min | BinaryFn::Max);
                cx.scalar(a).filter(|_| swap).map(|c| (b, c))
            })
        })
    }
    pub fn constant_id(&self, v: Value) -> Option<ConstId> {
        match &self.ops.get((*self.def.get(v.index())?)?)?.op {
            Op::Constant { value } => Some(*value),
            _ => None,
        }
    }
    pub fn constant(&self, v: Value) -> Option<&Const> {
        self.consts.get(self.constant_id(v)?.0 as usize)
    }
    /// The number that all elements of a constant are.
    pub fn scalar(&self, v: Value) -> Option<f64> {
        self.constant(v)?.splat().map(|x| x.as_f64())
    }

    // What rules do.

    /// Where the matched operations and the one being rewritten come from, in order.
    fn location(&self) -> Loc {
        let mut at = self.trace.clone();
        at.sort_unstable();
        at.dedup();
        let constant = |op: &Operation| matches!(op.op, Op::Constant { .. });
        let matched = at.iter().filter_map(|k| self.ops.get(*k)).filter(|op| !constant(op));
        matched.fold(Loc::none(), |l, op| l.fuse(&op.loc)).fuse(&self.loc)
    }
    /// The value of an operation with this result type: an equal one's, or a new one's.
    pub fn emit(&mut self, op: Op, operands: &[Value], ty: TensorType) -> Value {
        let key = format!("{op:?} {operands:?} {ty}");
        if let Some(v) = self.known.get(&key) {
            return *v;
        }
        let v = self.func.value(ty);
        self.def.push(None);
        self.uses.push(0);
        for x in operands {
            if let Some(n) = self.uses.get_mut(x.index()) {
                *n = n.saturating_add(1);
            }
        }
        let loc = self.location();
        self.push(Operation { op, operands: operands.to_vec(), results: vec![v], regions: vec![], loc });
        self.known.insert(key, v);
        v
    }
    /// As [`Cx::emit`] for ops whose result type follows; `None` if they do not fit their operands.
    pub fn emit_inferred(&mut self, op: Op, operands: &[Value]) -> Option<Value> {
        let ty = self.infer(&op, operands)?;
        Some(self.emit(op, operands, ty))
    }
    pub fn infer(&self, op: &Op, operands: &[Value]) -> Option<TensorType> {
        let types: Vec<&TensorType> = operands.iter().map(|v| self.ty(*v)).collect();
        infer::infer(op, &types, &Typing { consts: self.consts, ranges: &self.ranges }).ok()?.pop()
    }
    pub fn emit_unary(&mut self, f: UnaryFn, x: Value) -> Option<Value> {
        self.emit_inferred(Op::Unary { f }, &[x])
    }
    pub fn emit_binary(&mut self, f: BinaryFn, a: Value, b: Value) -> Option<Value> {
        self.emit_inferred(Op::Binary { f }, &[a, b])
    }
    pub fn emit_constant(&mut self, c: Const) -> Value {
        let ty = c.tensor_type();
        self.consts.push(c);
        let id = self.intern(ConstId(self.consts.len() as u32 - 1));
        self.emit(Op::Constant { value: id }, &[], ty)
    }
    pub fn consts(&self) -> &[Const] {
        self.consts
    }
}

/// The operands of a binary operation `f`.
pub(super) fn pair(op: &Operation, f: BinaryFn) -> Option<(Value, Value)> {
    match (&op.op, op.operands.as_slice()) {
        (Op::Binary { f: g }, [a, b]) if *g == f => Some((*a, *b)),
        _ => None,
    }
}

/// Constants of models are rounded to f32 or written with few digits.
pub(super) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 2e-4 * b.abs()
}

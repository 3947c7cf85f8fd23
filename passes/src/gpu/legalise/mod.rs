//! Kernels in the types that every GPU has: f32, i32, u32, bool and vectors of 2 or 4 of them, over memory of f32 and 32-bit words.
//! Tensors of other types lie in memory as the host has them; their elements are held in the next wider of these types.

mod arith;
mod cast;
mod memory;

use super::facts::block_loop;
use odc_ir::core::{Binary, DType, Loc, Scalar, Value};
use odc_ir::loops::{Block, Func, LoopKind, LoopType, Op, Operation, Space};
use std::collections::{BTreeMap, BTreeSet};

/// What a GPU has beyond the types that all have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features {
    /// Half-precision arithmetic and memory.
    pub f16: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LegaliseError {
    #[error("@{func}: {loc}: {what} does not exist on GPUs; {hint}")]
    Unsupported { func: String, loc: String, what: String, hint: &'static str },
}

/// Rewrites `func` for `target`. Types of pointer parameters change, their bytes do not; a buffer's size counts whole 32-bit words.
/// i64 and u64 are computed in 32 bits: loads saturate. The kernel has a block loop afterwards.
pub fn legalise(func: &mut Func, target: &Features) -> std::result::Result<(), LegaliseError> {
    let mut old = func.clone();
    wrap(&mut old);
    let mut new = Func::new(&old.name);
    new.param_names.clone_from(&old.param_names);
    let atomic = memory::atomic_buffers(&old, target);
    let (map, consts) = (BTreeMap::new(), BTreeMap::new());
    let mut l = Lower { old: &old, func: new, f16: target.f16, atomic, map, consts, prelude: vec![], block: vec![], loc: Loc::none() };
    let mut body = l.block(&old.body)?;
    let mut ops = l.prelude;
    ops.append(&mut body.ops);
    let mut new = l.func;
    new.body = Block { args: body.args, ops, yields: body.yields };
    new.remove_dead();
    new.renumber();
    *func = new;
    Ok(())
}

/// A kernel without a block loop is one invocation a workgroup.
fn wrap(func: &mut Func) {
    if block_loop(func).is_some() {
        return;
    }
    let [zero, one, counter] = [(); 3].map(|()| func.value(LoopType::Index));
    let constant = |v: Value, x: i64| Operation {
        op: Op::Const { value: Scalar::Int(x) },
        operands: vec![],
        results: vec![v],
        regions: vec![],
        loc: Loc::none(),
    };
    let Some(grid) = func.body.ops.last_mut().filter(|op| matches!(op.op, Op::For { kind: LoopKind::Grid })) else { return };
    let loc = grid.loc.clone();
    if let Some(body) = grid.regions.first_mut() {
        let inner = Block { args: vec![counter], ops: std::mem::take(&mut body.ops), yields: vec![] };
        let op = Op::For { kind: LoopKind::Block };
        body.ops = vec![Operation { op, operands: vec![zero, one, one], results: vec![], regions: vec![inner], loc }];
    }
    func.body.ops.splice(0..0, [constant(zero, 0), constant(one, 1)]);
}

/// The element type that values and workgroup arrays of `d` are held in.
fn wide(d: DType, f16: bool) -> DType {
    match d {
        DType::F16 if f16 => DType::F16,
        DType::F16 | DType::BF16 | DType::F32 => DType::F32,
        DType::I8 | DType::I16 | DType::I32 | DType::I64 | DType::Str => DType::I32,
        DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::Bool => DType::U32,
        DType::F64 => DType::F64,
        // Bytes since `expand`.
        DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0
        | DType::F6E2M3
        | DType::F6E3M2
        | DType::F4E2M1
        | DType::I4
        | DType::U4
        | DType::I2
        | DType::U2 => DType::U32,
    }
}

/// Builds the new function beside the old one.
struct Lower<'a> {
    old: &'a Func,
    func: Func,
    f16: bool,
    /// Buffers of the old function, parts of whose words are stored.
    atomic: BTreeSet<Value>,
    map: BTreeMap<Value, Value>,
    /// Constants, which all stand in front.
    prelude: Vec<Operation>,
    consts: BTreeMap<(Scalar, String), Value>,
    block: Vec<Operation>,
    loc: Loc,
}

type Result<T> = std::result::Result<T, LegaliseError>;

impl Lower<'_> {
    fn unsupported(&self, what: impl Into<String>, hint: &'static str) -> LegaliseError {
        LegaliseError::Unsupported { func: self.old.name.clone(), loc: self.loc.to_string(), what: what.into(), hint }
    }
    fn old_type(&self, v: Value) -> LoopType {
        self.old.types.get(v.index()).copied().unwrap_or(LoopType::Index)
    }
    fn get(&self, v: Value) -> Result<Value> {
        self.map.get(&v).copied().ok_or_else(|| self.unsupported(format!("{v}, which nothing defines,"), "verify the kernel first"))
    }
    fn ty(&self, v: Value) -> LoopType {
        self.func.types.get(v.index()).copied().unwrap_or(LoopType::Index)
    }

    /// The type that values of `t` are held in.
    fn repr(&self, t: LoopType) -> Result<LoopType> {
        if t.dtype() == DType::F64 {
            return Err(self.unsupported("f64", "convert the model to f32"));
        }
        Ok(match t {
            LoopType::Index | LoopType::Scalar(DType::I64) => LoopType::Index,
            LoopType::Scalar(DType::Bool) | LoopType::Vector(DType::Bool, 2 | 4) => t,
            LoopType::Scalar(d) => LoopType::Scalar(wide(d, self.f16)),
            LoopType::Vector(d, n @ (2 | 4)) => LoopType::Vector(wide(d, self.f16), n),
            LoopType::Vector(..) => return Err(self.unsupported(t.to_string(), "vectors have 2 or 4 lanes; change the schedule's")),
            LoopType::Coop(_) => t,
            LoopType::Ptr(d, s) if self.native(d) => LoopType::Ptr(d, s),
            LoopType::Ptr(_, Space::Global) => LoopType::Ptr(DType::U32, Space::Global),
            LoopType::Ptr(d, Space::Workgroup) => LoopType::Ptr(wide(d, self.f16), Space::Workgroup),
            LoopType::Ptr(d, Space::Scratch) => {
                return Err(self.unsupported(format!("scratch memory of {d}"), "a GPU schedule keeps rows in workgroup memory"));
            }
        })
    }
    /// Memory of `d` is accessed as it is.
    fn native(&self, d: DType) -> bool {
        matches!(d, DType::F32 | DType::I32 | DType::U32) || d == DType::F16 && self.f16
    }

    fn push(&mut self, op: Op, operands: Vec<Value>, results: Vec<Value>, regions: Vec<Block>) {
        self.block.push(Operation { op, operands, results, regions, loc: self.loc.clone() });
    }
    fn op1(&mut self, op: Op, operands: &[Value], ty: LoopType) -> Value {
        let v = self.func.value(ty);
        self.push(op, operands.to_vec(), vec![v], vec![]);
        v
    }
    fn constant(&mut self, value: Scalar, ty: LoopType) -> Value {
        let key = (value, ty.to_string());
        if let Some(v) = self.consts.get(&key) {
            return *v;
        }
        let v = self.func.value(ty);
        let loc = Loc::none();
        self.prelude.push(Operation { op: Op::Const { value }, operands: vec![], results: vec![v], regions: vec![], loc });
        self.consts.insert(key, v);
        v
    }
    /// An integer constant of `like`'s type.
    fn int(&mut self, x: i64, like: Value) -> Value {
        let ty = self.ty(like);
        self.constant(Scalar::Int(x), ty)
    }
    fn bin(&mut self, f: Binary, a: Value, b: Value) -> Value {
        let t = self.ty(a);
        self.op1(Op::Binary { f }, &[a, b], if f.is_compare() { t.with_dtype(DType::Bool) } else { t })
    }
    /// A binary function with an integer constant.
    fn bin_c(&mut self, f: Binary, a: Value, c: i64) -> Value {
        let c = self.int(c, a);
        self.bin(f, a, c)
    }
    fn select(&mut self, c: Value, a: Value, b: Value) -> Value {
        let t = self.ty(a);
        self.op1(Op::Select {}, &[c, a, b], t)
    }
    fn bitcast(&mut self, x: Value, d: DType) -> Value {
        let t = self.ty(x);
        if t.dtype() == d && t != LoopType::Index { x } else { self.op1(Op::Bitcast {}, &[x], t.with_dtype(d)) }
    }
    /// A conversion that the machine has, to element type `d` (`index` for I64); none if it has that type.
    fn convert(&mut self, x: Value, d: DType) -> Value {
        let t = match (self.ty(x), d) {
            (LoopType::Vector(_, n), _) => LoopType::Vector(d, n),
            (_, DType::I64) => LoopType::Index,
            _ => LoopType::Scalar(d),
        };
        if self.ty(x) == t { x } else { self.op1(Op::Cast {}, &[x], t) }
    }
    fn lanes(&mut self, x: Value) -> Vec<Value> {
        let LoopType::Vector(d, n) = self.ty(x) else { return vec![x] };
        (0..n).map(|lane| self.op1(Op::Extract { lane }, &[x], LoopType::Scalar(d))).collect()
    }
    /// Scalars as a vector; one of them stays one.
    fn join(&mut self, lanes: &[Value]) -> Value {
        let (Some(first), n) = (lanes.first().copied(), lanes.len() as u32) else { return Value(0) };
        if n == 1 {
            return first;
        }
        let t = LoopType::Vector(self.ty(first).dtype(), n);
        let mut v = self.op1(Op::Splat {}, &[first], t);
        for (lane, s) in (0..n).zip(lanes).skip(1) {
            v = self.op1(Op::Insert { lane }, &[v, *s], t);
        }
        v
    }
    fn each_lane(&mut self, x: Value, f: &mut dyn FnMut(&mut Self, Value) -> Value) -> Value {
        let lanes: Vec<Value> = self.lanes(x).into_iter().map(|x| f(self, x)).collect();
        self.join(&lanes)
    }

    fn block(&mut self, old: &Block) -> Result<Block> {
        let outer = std::mem::take(&mut self.block);
        let mut args = vec![];
        for v in &old.args {
            let t = self.repr(self.old_type(*v))?;
            let new = self.func.value(t);
            self.map.insert(*v, new);
            args.push(new);
        }
        for op in &old.ops {
            self.loc = op.loc.clone();
            self.op(op)?;
        }
        let yields = old.yields.iter().map(|v| self.get(*v)).collect::<Result<_>>()?;
        let ops = std::mem::replace(&mut self.block, outer);
        Ok(Block { args, ops, yields })
    }

    fn op(&mut self, op: &Operation) -> Result<()> {
        let x = op.operands.iter().map(|v| self.get(*v)).collect::<Result<Vec<_>>>()?;
        if !op.regions.is_empty() {
            let regions = op.regions.iter().map(|r| self.block(r)).collect::<Result<Vec<_>>>()?;
            self.loc = op.loc.clone();
            let results = op.results.iter().map(|r| self.result(*r)).collect::<Result<Vec<_>>>()?;
            self.push(op.op.clone(), x, results, regions);
            return Ok(());
        }
        match (&op.op, x.as_slice(), op.operands.first().map(|v| self.old_type(*v)), op.result()) {
            (Op::Store {}, &[p, at, v], Some(t), _) => return self.store(op.operands.first().copied(), t.dtype(), p, at, v),
            (Op::Load {}, &[p, at], Some(t), Some(r)) => {
                let v = self.load(op.operands.first().copied(), t.dtype(), p, at, self.old_type(r))?;
                self.map.insert(r, v);
            }
            (_, _, from, Some(r)) => {
                let t = self.old_type(r);
                let v = self.value(&op.op, &x, from.unwrap_or(t), t)?;
                self.map.insert(r, v);
            }
            _ => self.push(op.op.clone(), x, vec![], vec![]),
        }
        Ok(())
    }
    fn result(&mut self, r: Value) -> Result<Value> {
        let t = self.repr(self.old_type(r))?;
        let v = self.func.value(t);
        self.map.insert(r, v);
        Ok(v)
    }

    /// Ops that compute: `from` is the old type of the first operand, `t` that of the result.
    fn value(&mut self, op: &Op, x: &[Value], from: LoopType, t: LoopType) -> Result<Value> {
        let r = self.repr(t)?;
        let d = t.dtype();
        Ok(match (op, x) {
            (Op::Const { value }, _) => self.literal(*value, d, r),
            (Op::Unary { f }, &[x]) => self.unary(*f, x, from.dtype()),
            (Op::Binary { f }, &[a, b]) => self.binary(*f, a, b, from.dtype()),
            (Op::Fma {}, &[a, b, c]) if !d.is_float() => {
                let product = self.binary(Binary::Mul, a, b, d);
                self.binary(Binary::Add, product, c, d)
            }
            (Op::Cast {}, &[x]) => self.cast(x, from.dtype(), d),
            (Op::Bitcast {}, &[x]) if matches!(from, LoopType::Ptr(..)) => {
                // Small elements lie in words, and may be seen as words.
                if self.repr(from)? != r {
                    return Err(self.unsupported("a pointer to another type", "load the values and bitcast those"));
                }
                x
            }
            (Op::Bitcast {}, &[x]) => self.reinterpret(x, from.dtype(), d),
            // `index` is i32 inside vectors.
            (Op::Splat {}, &[x]) => {
                let x = self.convert(x, r.dtype());
                self.op1(op.clone(), &[x], r)
            }
            (Op::Insert { .. }, &[v, x]) => {
                let x = self.convert(x, r.dtype());
                self.op1(op.clone(), &[v, x], r)
            }
            (Op::Extract { .. }, &[v]) => {
                let x = self.op1(op.clone(), &[v], LoopType::Scalar(self.ty(v).dtype()));
                self.convert(x, r.dtype())
            }
            (Op::Shared { dtype, len }, _) => {
                let dtype = if self.native(*dtype) { *dtype } else { wide(*dtype, self.f16) };
                self.op1(Op::Shared { dtype, len: *len }, &[], r)
            }
            (Op::Subgroup { f }, &[x]) => {
                let word = if r == LoopType::Index { self.convert(x, DType::I32) } else { x };
                let y = self.op1(Op::Subgroup { f: *f }, &[word], self.ty(word));
                let y = self.narrow(y, d);
                self.convert(y, r.dtype())
            }
            _ => self.op1(op.clone(), x, r),
        })
    }
}

#[cfg(test)]
mod tests;

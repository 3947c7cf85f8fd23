//! One kernel from loop IR to Cranelift IR: values, constants and the frame; the ops by family are in the other files here.
//!
//! How values are held: scalars as themselves, `bool` as an i8 of 0 or 1, f16 and bf16 as their bits in an i16, `index` and pointers
//! as i64. A vector of 4 has 32-bit lanes and a vector of 2 has 64-bit lanes whatever its element type: narrower integers are sign- or
//! zero-extended by their type, half floats are zero-extended bits, and bool is a mask of all ones or all zeros.

mod binary;
mod cast;
mod control;
mod float;
mod int;
mod lane;
mod memory;
mod unary;

use cranelift_codegen::ir::{self, AbiParam, Block, InstBuilder, MemFlagsData, Signature, types};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use odc_backend::{Arch, BackendError, Feature, Target};
use odc_ir::core::{Binary, DType, Effect, OpSet, Scalar, Value};
use odc_ir::loops::{Func, LoopType, Op, Operation};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, BackendError>;

/// Lowers `kernel` into the empty Cranelift function `out`.
pub fn function(kernel: &Func, target: &Target, isa: &OwnedTargetIsa, out: &mut ir::Function) -> Result<()> {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.extend([types::I64; 5].map(AbiParam::new));
    out.signature = signature;
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(out, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let &[buffers, dims, scratch, begin, end] = b.block_params(entry) else {
        return Err(BackendError::Codegen { kernel: kernel.name.clone(), what: "no parameters".into() });
    };
    let n = kernel.types.len();
    let frame = Frame { scratch, begin, end };
    let mut l = Lower {
        kernel,
        target,
        b,
        frame,
        values: vec![None; n],
        known: vec![None; n],
        defs: vec![None; n],
        loops: vec![],
        last_use: BTreeMap::new(),
    };
    l.params(buffers, dims)?;
    l.ops(&kernel.body)?;
    l.b.ins().return_(&[]);
    l.b.seal_all_blocks();
    l.b.finalize(isa.frontend_config());
    Ok(())
}

struct Frame {
    scratch: ir::Value,
    begin: ir::Value,
    end: ir::Value,
}

/// How an offset came about, as far as addressing can use it, and how many loops it changes in.
#[derive(Clone, Copy)]
struct Def<'a> {
    op: Option<&'a Operation>,
    depth: usize,
}

struct Lower<'a, 'b> {
    kernel: &'a Func,
    target: &'a Target,
    b: FunctionBuilder<'b>,
    frame: Frame,
    values: Vec<Option<ir::Value>>,
    /// Values known while compiling (of vectors: what all lanes are).
    known: Vec<Option<Scalar>>,
    defs: Vec<Option<Def<'a>>>,
    /// Loops around the current op, unrolled ones not counted: their counters, and whether they store nothing.
    loops: Vec<(Value, bool)>,
    /// For the block at hand: the last op that uses each value defined in it.
    last_use: BTreeMap<Value, usize>,
}

impl<'a> Lower<'a, '_> {
    fn malformed<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(BackendError::Malformed { kernel: self.kernel.name.clone(), what: what.into() })
    }
    fn unsupported<T>(&self, what: impl Into<String>, hint: &str) -> Result<T> {
        let (kernel, target) = (self.kernel.name.clone(), self.target.name.clone());
        Err(BackendError::Unsupported { kernel, what: what.into(), target, hint: hint.into() })
    }

    fn ty(&self, v: Value) -> Result<LoopType> {
        self.kernel.types.get(v.index()).copied().map_or_else(|| self.malformed(format!("{v} has no type")), Ok)
    }
    fn get(&self, v: Value) -> Result<ir::Value> {
        self.values.get(v.index()).copied().flatten().map_or_else(|| self.malformed(format!("{v} is not defined here")), Ok)
    }
    fn set(&mut self, v: Value, x: ir::Value, op: Option<&'a Operation>) {
        let (k, depth) = (v.index(), self.depth(op));
        if let (Some(slot), Some(known), Some(def)) = (self.values.get_mut(k), self.known.get_mut(k), self.defs.get_mut(k)) {
            *slot = Some(x);
            *known = None;
            *def = Some(Def { op, depth });
        }
    }
    /// The number of loops around the innermost thing that the result of `op` depends on.
    fn depth(&self, op: Option<&Operation>) -> usize {
        match op {
            Some(op) if op.op.info().effect == Effect::Pure => {
                op.operands.iter().map(|v| self.defs.get(v.index()).copied().flatten().map_or(0, |d| d.depth)).max().unwrap_or(0)
            }
            _ => self.loops.len(),
        }
    }
    fn learn(&mut self, v: Value, x: Scalar) {
        if let Some(k) = self.known.get_mut(v.index()) {
            *k = Some(x);
        }
    }
    fn known(&self, v: Value) -> Option<Scalar> {
        self.known.get(v.index()).copied().flatten()
    }
    fn known_int(&self, v: Value) -> Option<i64> {
        match self.known(v) {
            Some(Scalar::Int(x)) => Some(x),
            _ => None,
        }
    }

    fn is_x86(&self) -> bool {
        self.target.arch == Arch::X86_64
    }
    fn has_round(&self) -> bool {
        !self.is_x86() || self.target.has(Feature::Sse41)
    }
    fn has_fma(&self) -> bool {
        !self.is_x86() || (self.target.has(Feature::Fma) && self.target.has(Feature::Avx))
    }

    fn params(&mut self, buffers: ir::Value, dims: ir::Value) -> Result<()> {
        let flags = MemFlagsData::trusted().with_readonly().with_can_move();
        let (mut pointers, mut sizes) = (0i32, 0i32);
        for v in &self.kernel.body.args {
            let (base, k) = match self.ty(*v)? {
                LoopType::Ptr(..) => (buffers, &mut pointers),
                LoopType::Index => (dims, &mut sizes),
                t => return self.malformed(format!("parameter {v} is {t}")),
            };
            let offset = *k;
            *k += 8;
            let x = self.b.ins().load(types::I64, flags, base, offset);
            self.set(*v, x, None);
        }
        Ok(())
    }

    /// The Cranelift type that holds `t`.
    fn held(&self, t: LoopType) -> Result<ir::Type> {
        match (t, t.dtype()) {
            (LoopType::Index | LoopType::Ptr(..), _) => Ok(types::I64),
            (LoopType::Scalar(d), _) => Ok(scalar_type(d)),
            (LoopType::Vector(_, 4), DType::F32) => Ok(types::F32X4),
            (LoopType::Vector(_, 4), d) if d.size() <= 4 => Ok(types::I32X4),
            (LoopType::Vector(_, 2), DType::F64) => Ok(types::F64X2),
            (LoopType::Vector(_, 2), DType::I64 | DType::U64 | DType::Bool) => Ok(types::I64X2),
            (LoopType::Coop(_), _) => self.unsupported(format!("the type {t}"), "only GPU kernels have it"),
            (LoopType::Vector(..), _) => {
                self.unsupported(format!("the type {t}"), "vectors are 128 bits here: 4 elements of up to 32 bits, or 2 of 64")
            }
        }
    }

    fn ops(&mut self, block: &'a odc_ir::loops::Block) -> Result<()> {
        let outer = std::mem::replace(&mut self.last_use, last_uses(block));
        for (k, op) in block.ops.iter().enumerate() {
            self.op(op, k)?;
        }
        self.last_use = outer;
        Ok(())
    }

    fn op(&mut self, op: &'a Operation, position: usize) -> Result<()> {
        match (&op.op, op.operands.as_slice(), op.results.as_slice()) {
            (Op::For { kind }, _, _) => return self.for_loop(op, *kind),
            (Op::If {}, &[c], _) => return self.if_op(op, c),
            (Op::Store {}, &[p, at, v], _) => return self.store(p, at, v),
            (Op::Const { value }, _, &[r]) => {
                let x = self.constant(self.ty(r)?, *value)?;
                self.set(r, x, Some(op));
                self.learn(r, *value);
            }
            (Op::Unary { f }, &[x], &[r]) => {
                let t = self.ty(x)?;
                let v = self.get(x)?;
                let y = self.unary(*f, t, v)?;
                self.set(r, y, Some(op));
            }
            (Op::Binary { f }, &[a, b], &[r]) => self.binary_op(op, *f, a, b, r)?,
            (Op::Fma {}, &[a, b, c], &[r]) => {
                // Cranelift's x86-64 form overwrites its first factor: let that be one that is not needed any more.
                let dies = |v: Value| self.last_use.get(&v) == Some(&position);
                let (a, b) = if !dies(a) && dies(b) { (b, a) } else { (a, b) };
                let (t, a, b, c) = (self.ty(r)?, self.get(a)?, self.get(b)?, self.get(c)?);
                let y = self.fma(t, a, b, c)?;
                self.set(r, y, Some(op));
            }
            (Op::Select {}, &[c, a, b], &[r]) => {
                let (ct, t) = (self.ty(c)?, self.ty(r)?);
                let (c, a, b) = (self.get(c)?, self.get(a)?, self.get(b)?);
                let y = if ct.lanes() > 1 {
                    let mask = self.bits_as(self.held(t)?, c);
                    self.b.ins().bitselect(mask, a, b)
                } else {
                    self.b.ins().select(c, a, b)
                };
                self.set(r, y, Some(op));
            }
            (Op::Cast {}, &[x], &[r]) => {
                let (from, to, v) = (self.ty(x)?, self.ty(r)?, self.get(x)?);
                let y = self.cast(from, to, v)?;
                let known = self.known_int(x).filter(|_| from.dtype().is_int() && to.dtype().is_int());
                self.set(r, y, Some(op));
                if let Some(k) = known {
                    self.learn(r, Scalar::Int(k).wrap(to.dtype()));
                }
            }
            (Op::Bitcast {}, &[x], &[r]) => {
                let (from, to, v) = (self.ty(x)?, self.ty(r)?, self.get(x)?);
                let y = self.bitcast(from, to, v)?;
                self.set(r, y, Some(op));
            }
            (Op::Splat {}, &[x], &[r]) => {
                let (t, v) = (self.ty(r)?, self.get(x)?);
                let known = self.known(x);
                let y = match known {
                    Some(k) => self.constant(t, k)?,
                    None => self.splat(t, v)?,
                };
                self.set(r, y, Some(op));
                if let Some(k) = known {
                    self.learn(r, k);
                }
            }
            (Op::Extract { lane }, &[x], &[r]) => {
                let (t, v) = (self.ty(x)?, self.get(x)?);
                let y = self.extract(t, v, *lane)?;
                self.set(r, y, Some(op));
            }
            (Op::Insert { lane }, &[x, s], &[r]) => {
                let (t, v, s) = (self.ty(x)?, self.get(x)?, self.get(s)?);
                let y = self.insert(t, v, s, *lane)?;
                self.set(r, y, Some(op));
            }
            (Op::Scratch {}, &[x], &[r]) => {
                let v = self.get(x)?;
                let y = self.b.ins().iadd(self.frame.scratch, v);
                self.set(r, y, Some(op));
            }
            (Op::Load {}, &[p, at], &[r]) => {
                let y = self.load(p, at, self.ty(r)?)?;
                self.set(r, y, Some(op));
            }
            (
                Op::Shared { .. }
                | Op::Barrier {}
                | Op::Atomic { .. }
                | Op::Subgroup { .. }
                | Op::Lane { .. }
                | Op::HalfBits {}
                | Op::FromHalfBits {}
                | Op::Dot4 { .. }
                | Op::CoopLoad {}
                | Op::CoopMma {}
                | Op::CoopStore {},
                ..,
            ) => return self.unsupported(op.op.info().mnemonic, "only GPU kernels have it"),
            (
                Op::Const { .. }
                | Op::Unary { .. }
                | Op::Binary { .. }
                | Op::Fma {}
                | Op::Select {}
                | Op::Cast {}
                | Op::Bitcast {}
                | Op::Splat {}
                | Op::Extract { .. }
                | Op::Insert { .. }
                | Op::Scratch {}
                | Op::Load {}
                | Op::Store {}
                | Op::If {},
                ..,
            ) => return self.malformed(format!("{} has the wrong number of operands or results", op.op.info().mnemonic)),
        }
        Ok(())
    }

    fn binary_op(&mut self, op: &'a Operation, f: Binary, a: Value, b: Value, r: Value) -> Result<()> {
        let (t, rt) = (self.ty(a)?, self.ty(r)?);
        let (ka, kb) = (self.known(a), self.known(b));
        let folded = match (ka, kb) {
            (Some(x), Some(y)) if t.dtype().is_int() => Some(f.eval(t.dtype(), x, y)),
            _ => None,
        };
        let y = match folded {
            Some(k) => self.constant(rt, k)?,
            None => {
                let (x, y) = (self.get(a)?, self.get(b)?);
                self.binary(f, t, (x, ka), (y, kb))?
            }
        };
        self.set(r, y, Some(op));
        if let Some(k) = folded {
            self.learn(r, k);
        }
        Ok(())
    }

    /// A literal, in every lane of a vector.
    fn constant(&mut self, t: LoopType, value: Scalar) -> Result<ir::Value> {
        let held = self.held(t)?;
        let d = t.dtype();
        if !held.is_vector() {
            return Ok(match d {
                DType::F32 => self.b.ins().f32const(value.as_f64() as f32),
                DType::F64 => self.b.ins().f64const(value.as_f64()),
                _ => {
                    let bits = element_bits(d, value);
                    self.iconst(held, bits)
                }
            });
        }
        let bits = match d {
            DType::Bool => -i64::from(value.as_bool()),
            _ => element_bits(d, value),
        };
        Ok(self.splat_bits(held, bits))
    }

    /// A vector whose lanes all hold the low bits of `bits`.
    fn splat_bits(&mut self, held: ir::Type, bits: i64) -> ir::Value {
        let lane = held.lane_bits() as usize / 8;
        let bytes: Vec<u8> = bits.to_le_bytes().iter().take(lane).copied().collect();
        let data = bytes.repeat(held.lane_count() as usize);
        let c = self.b.func.dfg.constants.insert(data.into());
        self.b.ins().vconst(held, c)
    }

    /// An integer constant of any width; Cranelift wants the bits above the width to be zero.
    fn iconst(&mut self, t: ir::Type, value: i64) -> ir::Value {
        let mask = u64::MAX >> (64 - t.bits().clamp(1, 64));
        self.b.ins().iconst(t, (value as u64 & mask) as i64)
    }

    /// The same constant in every lane of `t`, or as a scalar.
    fn int_like(&mut self, t: ir::Type, value: i64) -> ir::Value {
        if t.is_vector() { self.splat_bits(t, value) } else { self.iconst(t, value) }
    }
    fn float_like(&mut self, t: ir::Type, value: f64) -> ir::Value {
        match t {
            types::F32 => self.b.ins().f32const(value as f32),
            types::F64 => self.b.ins().f64const(value),
            types::F32X4 => self.splat_bits(t, i64::from((value as f32).to_bits())),
            _ => self.splat_bits(t, value.to_bits() as i64),
        }
    }

    /// The same 128 bits, or the same scalar bits, as another type.
    fn bits_as(&mut self, t: ir::Type, v: ir::Value) -> ir::Value {
        if self.type_of(v) == t {
            return v;
        }
        let flags = MemFlagsData::new().with_endianness(ir::Endianness::Little);
        let flags = if t.is_vector() { flags } else { MemFlagsData::new() };
        self.b.ins().bitcast(t, flags, v)
    }
    fn type_of(&self, v: ir::Value) -> ir::Type {
        self.b.func.dfg.value_type(v)
    }

    fn jump(&mut self, to: Block, args: &[ir::Value]) {
        let args: Vec<_> = args.iter().map(|v| (*v).into()).collect();
        self.b.ins().jump(to, &args);
    }
    fn branch(&mut self, c: ir::Value, yes: (Block, &[ir::Value]), no: (Block, &[ir::Value])) {
        let args = |vs: &[ir::Value]| vs.iter().map(|v| (*v).into()).collect::<Vec<_>>();
        self.b.ins().brif(c, yes.0, &args(yes.1), no.0, &args(no.1));
    }
}

/// The position of the last op that uses each value which the block defines; those it yields live on.
fn last_uses(block: &odc_ir::loops::Block) -> BTreeMap<Value, usize> {
    let mut last: BTreeMap<Value, usize> = block.ops.iter().flat_map(|op| op.results.iter().map(|r| (*r, usize::MAX))).collect();
    for (k, op) in block.ops.iter().enumerate() {
        let mut see = |v: Value| {
            last.entry(v).and_modify(|p| *p = k);
        };
        op.operands.iter().for_each(|v| see(*v));
        op.regions.iter().for_each(|r| r.visit_uses(&mut see));
    }
    block.yields.iter().for_each(|v| {
        last.remove(v);
    });
    last
}

/// The type that holds a scalar.
const fn scalar_type(d: DType) -> ir::Type {
    match d {
        DType::F32 => types::F32,
        DType::F64 => types::F64,
        DType::F16 | DType::BF16 | DType::I16 | DType::U16 => types::I16,
        DType::I8 | DType::U8 | DType::Bool => types::I8,
        // Bytes before kernels come here.
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
        | DType::U2 => types::I8,
        DType::I32 | DType::U32 | DType::Str => types::I32,
        DType::I64 | DType::U64 => types::I64,
    }
}

/// The bits of an element: signed integers sign-extended, all else zero-extended.
fn element_bits(d: DType, value: Scalar) -> i64 {
    if d.is_int() {
        return value.wrap(d).as_i64();
    }
    let mut bytes = vec![];
    value.write(d, &mut bytes);
    bytes.resize(8, 0);
    bytes.iter().rev().fold(0u64, |n, b| (n << 8) | u64::from(*b)) as i64
}

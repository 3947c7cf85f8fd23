//! Element types that only exist to be stored (floats of 8 bits and fewer, integers of less than a byte) become plain bytes: their
//! values turn into u8 and i8, their casts into integer arithmetic on bits. No kernel has these types afterwards. Casts of f64 to half
//! floats are written so too: through f32 they would be rounded twice.

use odc_ir::core::minifloat::{MiniFloat, Special, e8m0};
use odc_ir::core::{Binary, Builder, DType, Scalar, Unary, Value};
use odc_ir::loops::{Block, Func, Loop, LoopType, Op, Operation};
use std::collections::BTreeMap;

/// The byte that holds an element: integers are extended, floats are codes.
const fn byte(d: DType) -> DType {
    match d {
        DType::I4 | DType::I2 => DType::I8,
        d if d.is_storage() => DType::U8,
        d => d,
    }
}

/// What a float is encoded to.
#[derive(Clone, Copy)]
struct Code {
    exponent: i64,
    mantissa: i64,
    bias: i64,
    /// The code that what is too large becomes.
    most: i64,
    nan: i64,
    /// Has it a -0?
    minus_zero: bool,
}

impl Code {
    fn mini(f: MiniFloat) -> Code {
        let minus_zero = f.special != Special::MinusZero;
        let (most, nan) = (i64::from(f.largest()), i64::from(f.nan()));
        Code { exponent: f.exponent.into(), mantissa: f.mantissa.into(), bias: f.bias.into(), most, nan, minus_zero }
    }
    /// f16 and bf16, which have infinities.
    fn half(d: DType) -> Option<Code> {
        let (exponent, mantissa, bias) = match d {
            DType::F16 => (5, 10, 15),
            DType::BF16 => (8, 7, 127),
            _ => return None,
        };
        let most = ((1 << exponent) - 1) << mantissa;
        Some(Code { exponent, mantissa, bias, most, nan: most | 1 << (mantissa - 1), minus_zero: true })
    }
}

/// Is there something to rewrite?
fn needed(func: &Func, types: &[DType]) -> bool {
    let mut found = types.iter().any(|d| d.is_storage());
    let ty = |v: Option<&Value>| v.and_then(|v| types.get(v.index())).copied();
    func.body.visit_ops(&mut |op| {
        let halves = matches!(op.op, Op::Cast {}) && ty(op.operands.first()) == Some(DType::F64);
        found |= halves && ty(op.results.first()).and_then(Code::half).is_some();
    });
    found
}

/// Rewrites all of `func`.
pub fn lower(func: &mut Func) {
    let old: Vec<DType> = func.types.iter().map(|t| t.dtype()).collect();
    if !needed(func, &old) {
        return;
    }
    for t in &mut func.types {
        *t = match *t {
            LoopType::Scalar(d) => LoopType::Scalar(byte(d)),
            LoopType::Vector(d, n) => LoopType::Vector(byte(d), n),
            LoopType::Ptr(d, s) => LoopType::Ptr(byte(d), s),
            LoopType::Index | LoopType::Coop(_) => *t,
        };
    }
    let body = std::mem::take(&mut func.body);
    let mut l = Lower { b: Builder::new(func), old, new: BTreeMap::new() };
    let body = l.block(body);
    func.body = body;
    func.remove_dead();
    func.renumber();
}

struct Lower<'f> {
    b: Builder<'f, Loop>,
    /// Element types before the change.
    old: Vec<DType>,
    /// What results of replaced ops became.
    new: BTreeMap<Value, Value>,
}

impl Lower<'_> {
    fn block(&mut self, old: Block) -> Block {
        let outer = std::mem::replace(&mut self.b.block, Block { args: old.args, ops: vec![], yields: vec![] });
        for mut op in old.ops {
            let from = op.operands.first().map(|v| self.was(*v));
            op.operands.iter_mut().for_each(|v| *v = self.now(*v));
            self.b.loc = op.loc.clone();
            if let (Some(r), Some(y)) = (op.result(), self.replaced(&op, from)) {
                self.new.insert(r, y);
                continue;
            }
            if let Op::Shared { dtype, .. } = &mut op.op {
                *dtype = byte(*dtype);
            }
            op.regions = std::mem::take(&mut op.regions).into_iter().map(|r| self.block(r)).collect();
            self.b.block.ops.push(op);
        }
        let mut done = std::mem::replace(&mut self.b.block, outer);
        done.yields = old.yields.iter().map(|v| self.now(*v)).collect();
        done
    }
    fn now(&self, v: Value) -> Value {
        self.new.get(&v).copied().unwrap_or(v)
    }
    fn was(&self, v: Value) -> DType {
        self.old.get(v.index()).copied().unwrap_or(DType::F32)
    }

    /// What an op becomes whose operand was of type `from`, if it does not stay.
    fn replaced(&mut self, op: &Operation, from: Option<DType>) -> Option<Value> {
        let r = op.result()?;
        let to = self.was(r);
        match (&op.op, op.operands.as_slice()) {
            (Op::Const { value }, []) if to.is_storage() => {
                let mut bytes = vec![];
                value.write(to, &mut bytes);
                let t = *self.b.ty(r);
                let value = Scalar::read(t.dtype(), &bytes)?;
                Some(self.b.op1(Op::Const { value }, &[], t))
            }
            (Op::Cast {}, [x]) if from == Some(DType::F64) && Code::half(to).is_some() => {
                let code = self.encode(*x, Code::half(to)?);
                let bits = self.convert(code, DType::U16);
                Some(self.bitcast(bits, to))
            }
            (Op::Cast {}, [x]) => {
                let y = from.filter(|f| f.is_storage() || to.is_storage()).map(|f| self.cast(*x, f, to))?;
                let is_index = *self.b.ty(r) == LoopType::Index;
                Some(if is_index { self.b.op1(Op::Cast {}, &[y], LoopType::Index) } else { y })
            }
            (Op::Bitcast {}, [x]) if !matches!(self.b.ty(*x), LoopType::Ptr(..)) => {
                from.filter(|f| f.is_storage() || to.is_storage()).map(|f| self.reinterpret(*x, f, to))
            }
            _ => None,
        }
    }

    fn cast(&mut self, x: Value, from: DType, to: DType) -> Value {
        if from == to {
            return x;
        }
        if from.is_storage() && from.is_float() {
            let wide = self.decode(x, from);
            return if to.is_storage() { self.cast(wide, DType::F32, to) } else { self.convert(wide, to) };
        }
        if !to.is_storage() {
            return self.convert(x, to);
        }
        if to.is_int() {
            let word = self.convert(x, DType::I32);
            return self.low_bits(word, to);
        }
        // f64 is rounded once; everything else f32 holds, or it is beyond all these types.
        let x = if from == DType::F64 && to != DType::F8E8M0 { x } else { self.convert(x, DType::F32) };
        let code = match to.mini() {
            Some(f) => self.encode(x, Code::mini(f)),
            None => self.encode_e8m0(x),
        };
        self.convert(code, DType::U8)
    }

    /// The low bits of a 32-bit integer as one of less than a byte.
    fn low_bits(&mut self, word: Value, to: DType) -> Value {
        let bits = i64::from(to.bits());
        let y = if to.is_signed_int() {
            let y = self.bin_c(Binary::Shl, word, 32 - bits);
            self.bin_c(Binary::Shr, y, 32 - bits)
        } else {
            self.bin_c(Binary::And, word, (1 << bits) - 1)
        };
        self.convert(y, byte(to))
    }

    /// The same bits, where at least one of the types is for storage.
    fn reinterpret(&mut self, x: Value, from: DType, to: DType) -> Value {
        if to.is_storage() && to.is_int() {
            let word = self.convert(x, DType::I32);
            return self.low_bits(word, to);
        }
        let bits = from.bits();
        let x = if from.is_signed_int() && bits < 8 {
            let word = self.convert(x, DType::I32);
            let word = self.bin_c(Binary::And, word, (1 << bits) - 1);
            self.convert(word, DType::U8)
        } else {
            x
        };
        let t = self.b.ty(x).with_dtype(byte(to));
        if *self.b.ty(x) == t { x } else { self.b.op1(Op::Bitcast {}, &[x], t) }
    }

    /// The f32 that the code in a byte means.
    fn decode(&mut self, x: Value, d: DType) -> Value {
        let code = self.convert(x, DType::I32);
        let Some(f) = d.mini() else { return self.decode_e8m0(code) };
        let (sign, mantissa) = (i64::from(f.sign()), i64::from(f.mantissa));
        let size = self.bin_c(Binary::And, code, sign - 1);
        let bits = self.bin_c(Binary::Shl, size, 23 - mantissa);
        let mut normal = self.bin_c(Binary::Add, bits, i64::from(127 - f.bias) << 23);
        if f.special == Special::Ieee {
            let infinite = self.bin_c(Binary::Gt, size, i64::from(f.largest()));
            let top = self.bin_c(Binary::Or, bits, 0x7f80_0000);
            normal = self.select(infinite, top, normal);
        }
        // Below the least normal number the code counts multiples of the least one.
        let small = self.convert(size, DType::F32);
        let small = self.scaled(small, f64::from(f.least()).exp2());
        let small = self.bitcast(small, DType::I32);
        let below = self.bin_c(Binary::Lt, size, 1 << mantissa);
        let mut r = self.select(below, small, normal);
        let nan = match f.special {
            Special::AllOnes => Some(self.bin_c(Binary::Gt, size, i64::from(f.largest()))),
            Special::MinusZero => Some(self.bin_c(Binary::Eq, code, sign)),
            Special::None | Special::Ieee => None,
        };
        if let Some(nan) = nan {
            let quiet = self.int(0x7fc0_0000, r);
            r = self.select(nan, quiet, r);
        }
        let minus = self.bin_c(Binary::And, code, sign);
        let minus = self.bin_c(Binary::Shl, minus, 31 - i64::from(f.exponent) - mantissa);
        let r = self.bin(Binary::Or, r, minus);
        self.bitcast(r, DType::F32)
    }

    fn decode_e8m0(&mut self, code: Value) -> Value {
        let normal = self.bin_c(Binary::Shl, code, 23);
        let zero = self.bin_c(Binary::Eq, code, 0);
        let least = self.int(0x0040_0000, code);
        let r = self.select(zero, least, normal);
        let nan = self.bin_c(Binary::Eq, code, i64::from(e8m0::NAN));
        let quiet = self.int(0x7fc0_0000, code);
        let r = self.select(nan, quiet, r);
        self.bitcast(r, DType::F32)
    }

    /// The code of an f32 or f64, as an integer of its width.
    fn encode(&mut self, x: Value, f: Code) -> Value {
        let double = self.b.ty(x).dtype() == DType::F64;
        let (float, word) = if double { (DType::F64, DType::I64) } else { (DType::F32, DType::I32) };
        let (width, places, bias) = if double { (64, 52, 1023) } else { (32, 23, 127) };
        let (mantissa, least) = (f.mantissa, 1 - f.bias - f.mantissa);
        let bits = self.bitcast(x, word);
        let size = self.bin_c(Binary::And, bits, if double { i64::MAX } else { i64::from(i32::MAX) });

        // Half of the last place that stays, less one if that is even; what is carried goes into the exponent.
        let drop = places - mantissa;
        let odd = self.bin_c(Binary::Shr, size, drop);
        let odd = self.bin_c(Binary::And, odd, 1);
        let up = self.bin_c(Binary::Add, odd, (1 << (drop - 1)) - 1);
        let sum = self.bin(Binary::Add, size, up);
        let normal = self.bin_c(Binary::Shr, sum, drop);
        let normal = self.bin_c(Binary::Sub, normal, (bias - f.bias) << mantissa);
        // Below the least normal number: multiples of the least one.
        let small = self.bitcast(size, float);
        let small = self.scaled(small, (-least as f64).exp2());
        let t = *self.b.ty(small);
        let small = self.b.op1(Op::Unary { f: Unary::Round }, &[small], t);
        let small = self.convert(small, word);
        let below = self.bin_c(Binary::Lt, size, (bias + 1 - f.bias) << places);
        let r = self.select(below, small, normal);
        let r = self.bin_c(Binary::Min, r, f.most);

        let mut minus = self.bin_c(Binary::Shr, bits, width - 1 - f.exponent - mantissa);
        minus = self.bin_c(Binary::And, minus, 1 << (f.exponent + mantissa));
        if !f.minus_zero {
            let zero = self.bin_c(Binary::Eq, r, 0);
            minus = self.select(zero, r, minus);
        }
        let r = self.bin(Binary::Or, r, minus);
        let nan = self.bin_c(Binary::Gt, size, if double { 0x7ff << 52 } else { 0x7f80_0000 });
        let code = self.int(f.nan, r);
        self.select(nan, code, r)
    }

    fn encode_e8m0(&mut self, x: Value) -> Value {
        let bits = self.bitcast(x, DType::I32);
        let size = self.bin_c(Binary::And, bits, i64::from(i32::MAX));
        let up = self.bin_c(Binary::Add, size, 0x007f_ffff);
        let up = self.bin_c(Binary::Shr, up, 23);
        let r = self.bin_c(Binary::Min, up, 254);
        // 2^-127, the least, is not a normal f32.
        let least = self.bin_c(Binary::Le, size, 0x0040_0000);
        let zero = self.int(0, r);
        let r = self.select(least, zero, r);
        let nan = self.bin_c(Binary::Gt, size, 0x7f80_0000);
        let code = self.int(i64::from(e8m0::NAN), r);
        self.select(nan, code, r)
    }

    fn convert(&mut self, x: Value, d: DType) -> Value {
        let t = self.b.ty(x).with_dtype(d);
        if *self.b.ty(x) == t { x } else { self.b.op1(Op::Cast {}, &[x], t) }
    }
    fn bitcast(&mut self, x: Value, d: DType) -> Value {
        let t = self.b.ty(x).with_dtype(d);
        self.b.op1(Op::Bitcast {}, &[x], t)
    }
    /// `x` times a power of two: exact.
    fn scaled(&mut self, x: Value, by: f64) -> Value {
        let t = *self.b.ty(x);
        let by = self.b.op1(Op::Const { value: Scalar::Float(by) }, &[], t);
        self.bin(Binary::Mul, x, by)
    }
    fn int(&mut self, x: i64, like: Value) -> Value {
        let t = *self.b.ty(like);
        self.b.op1(Op::Const { value: Scalar::Int(x) }, &[], t)
    }
    fn bin(&mut self, f: Binary, x: Value, y: Value) -> Value {
        let t = *self.b.ty(x);
        self.b.op1(Op::Binary { f }, &[x, y], if f.is_compare() { t.with_dtype(DType::Bool) } else { t })
    }
    fn bin_c(&mut self, f: Binary, x: Value, c: i64) -> Value {
        let c = self.int(c, x);
        self.bin(f, x, c)
    }
    fn select(&mut self, c: Value, x: Value, y: Value) -> Value {
        let t = *self.b.ty(x);
        self.b.op1(Op::Select {}, &[c, x, y], t)
    }
}

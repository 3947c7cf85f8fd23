//! Arithmetic on elements held in wider types: results are wrapped to the narrow type's range where they may leave it.

use super::{Lower, wide};
use odc_ir::core::{Binary, DType, Scalar, Unary, Value};
use odc_ir::loops::{Block, LoopKind, LoopType, Op};

impl Lower<'_> {
    /// A literal of old element type `d` in the type `r` that holds it.
    pub(super) fn literal(&mut self, value: Scalar, d: DType, r: LoopType) -> Value {
        let value = match (value.wrap(d), d) {
            (Scalar::Int(x), DType::I64) => Scalar::Int(x.clamp(i64::from(i32::MIN), i64::from(i32::MAX))),
            (Scalar::Int(x), DType::U64) => Scalar::Int((x as u64).min(u64::from(u32::MAX)) as i64),
            (value, _) => value,
        };
        self.constant(value, r)
    }

    /// An integer result as element type `d` would have wrapped it.
    pub(super) fn narrow(&mut self, x: Value, d: DType) -> Value {
        let bits = 8 * d.size() as i64;
        match d {
            DType::U8 | DType::U16 => self.bin_c(Binary::And, x, (1 << bits) - 1),
            DType::I8 | DType::I16 => {
                let x = self.bin_c(Binary::Shl, x, 32 - bits);
                self.bin_c(Binary::Shr, x, 32 - bits)
            }
            _ => x,
        }
    }

    /// `f` on an operand of old element type `d`.
    pub(super) fn unary(&mut self, f: Unary, x: Value, d: DType) -> Value {
        let t = self.ty(x);
        let bools = t.with_dtype(DType::Bool);
        if matches!(f, Unary::IsNan | Unary::IsInf) {
            if !d.is_float() {
                return self.constant(Scalar::Bool(false), bools);
            }
            let x = self.convert(x, DType::F32);
            let bits = self.bitcast(x, DType::U32);
            let size = self.bin_c(Binary::And, bits, 0x7fff_ffff);
            return self.bin_c(if f == Unary::IsNan { Binary::Gt } else { Binary::Eq }, size, 0x7f80_0000);
        }
        if d.is_float() || d == DType::Bool {
            return self.op1(Op::Unary { f }, &[x], t);
        }
        match f {
            Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => x,
            Unary::Abs if d.is_unsigned_int() => x,
            Unary::Sign if d.is_unsigned_int() => self.bin_c(Binary::Min, x, 1),
            Unary::Neg if d.is_unsigned_int() => {
                let zero = self.int(0, x);
                let y = self.bin(Binary::Sub, zero, x);
                self.narrow(y, d)
            }
            Unary::Sign => self.op1(Op::Unary { f }, &[x], t),
            _ => {
                let y = self.op1(Op::Unary { f }, &[x], t);
                self.narrow(y, d)
            }
        }
    }

    /// `f` on operands of old element type `d`.
    pub(super) fn binary(&mut self, f: Binary, a: Value, b: Value, d: DType) -> Value {
        if d == DType::Bool {
            return self.logical(f, a, b);
        }
        match f {
            Binary::Pow if !d.is_float() => self.int_pow(a, b, d),
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::FloorDiv | Binary::Shl => {
                let y = self.bin(f, a, b);
                self.narrow(y, d)
            }
            _ => self.bin(f, a, b),
        }
    }

    /// Arithmetic on truth values: not zero is true.
    fn logical(&mut self, f: Binary, a: Value, b: Value) -> Value {
        let f = match f {
            Binary::Min | Binary::Mul | Binary::And => Binary::And,
            Binary::Max | Binary::Add | Binary::Or => Binary::Or,
            Binary::Sub | Binary::Xor | Binary::Ne => Binary::Ne,
            Binary::Eq => Binary::Eq,
            other => {
                let word = wide(DType::Bool, self.f16);
                let (a, b) = (self.convert(a, word), self.convert(b, word));
                let y = self.binary(other, a, b, word);
                return if other.is_compare() { y } else { self.bin_c(Binary::Ne, y, 0) };
            }
        };
        self.bin(f, a, b)
    }

    /// Powers by squaring; a negative exponent leaves 1 of 1, and 1 or -1 of -1, and nothing of other numbers.
    fn int_pow(&mut self, x: Value, y: Value, d: DType) -> Value {
        let t = self.ty(x);
        let index = |l: &mut Self, k| l.constant(Scalar::Int(k), LoopType::Index);
        let (lo, hi, step, one) = (index(self, 0), index(self, 32), index(self, 1), self.int(1, x));
        let args: Vec<Value> = [LoopType::Index, t, t, t].iter().map(|t| self.func.value(*t)).collect();
        let outer = std::mem::take(&mut self.block);
        let yields = match args.as_slice() {
            &[_, power, square, rest] => {
                let bit = self.bin_c(Binary::And, rest, 1);
                let odd = self.bin_c(Binary::Ne, bit, 0);
                let more = self.bin(Binary::Mul, power, square);
                let power = self.select(odd, more, power);
                let square = self.bin(Binary::Mul, square, square);
                vec![power, square, self.bin_c(Binary::Shr, rest, 1)]
            }
            _ => vec![],
        };
        let ops = std::mem::replace(&mut self.block, outer);
        let results: Vec<Value> = [t; 3].iter().map(|t| self.func.value(*t)).collect();
        let power = results.first().copied().unwrap_or(x);
        let operands = vec![lo, hi, step, one, x, y];
        self.push(Op::For { kind: LoopKind::Serial }, operands, results, vec![Block { args, ops, yields }]);
        let power = self.narrow(power, d);
        if d.is_unsigned_int() {
            return power;
        }
        let zero = self.int(0, x);
        let negative = self.bin(Binary::Lt, y, zero);
        let bit = self.bin_c(Binary::And, y, 1);
        let odd = self.bin_c(Binary::Ne, bit, 0);
        let unit = self.bin(Binary::Eq, x, one);
        let minus = self.bin_c(Binary::Eq, x, -1);
        let of_minus = self.select(odd, x, one);
        let small = self.select(minus, of_minus, zero);
        let small = self.select(unit, one, small);
        self.select(negative, small, power)
    }
}

//! Conversions between element types held in wider ones, and the bits of half floats.

use super::{Lower, wide};
use odc_ir::core::{Binary, DType, Scalar, Unary, Value};
use odc_ir::loops::{LoopType, Op};

const F32: LoopType = LoopType::Scalar(DType::F32);

impl Lower<'_> {
    /// The element type whose machine values hold scalars or vectors like `x` of old type `d`.
    fn held(&self, x: Value, d: DType) -> DType {
        match d {
            DType::Bool => DType::Bool,
            DType::I64 if self.ty(x).lanes() == 1 => DType::I64,
            d => wide(d, self.f16),
        }
    }

    /// `x` of old element type `from` as one of `to`.
    pub(super) fn cast(&mut self, x: Value, from: DType, to: DType) -> Value {
        let target = self.held(x, to);
        if from == to {
            return x;
        }
        match (from, to) {
            (_, DType::Bool) => {
                let t = self.ty(x);
                let zero = if from.is_float() { Scalar::Float(0.0) } else { Scalar::Int(0) };
                let zero = self.constant(zero, t);
                self.bin(Binary::Ne, x, zero)
            }
            _ if from.is_float() && to.is_float() => {
                let y = self.convert(x, target);
                if to.size() < 4 && target == DType::F32 { self.round(y, to) } else { y }
            }
            _ if from.is_float() => {
                let word = wide(to, self.f16);
                let y = self.convert(x, word);
                let bits = 8 * to.size() as i64;
                let y = match to {
                    DType::I8 | DType::I16 => {
                        let y = self.bin_c(Binary::Max, y, -(1 << (bits - 1)));
                        self.bin_c(Binary::Min, y, (1 << (bits - 1)) - 1)
                    }
                    DType::U8 | DType::U16 => self.bin_c(Binary::Min, y, (1 << bits) - 1),
                    _ => y,
                };
                self.convert(y, target)
            }
            _ if to.is_float() => {
                let y = self.convert(x, target);
                if to.size() < 4 && target == DType::F32 { self.round(y, to) } else { y }
            }
            _ => {
                // What i64 cannot hold in 32 bits saturates.
                let x = if matches!(from, DType::U32 | DType::U64) && to == DType::I64 {
                    self.bin_c(Binary::Min, x, i64::from(i32::MAX))
                } else {
                    x
                };
                let word = if matches!(to, DType::I64) { target } else { wide(to, self.f16) };
                let y = self.convert(x, word);
                if fits(from, to) { y } else { self.narrow(y, to) }
            }
        }
    }

    /// The same bits under another type of the same width.
    pub(super) fn reinterpret(&mut self, x: Value, from: DType, to: DType) -> Value {
        match (from, to) {
            (DType::F32 | DType::I32 | DType::U32, DType::F32 | DType::I32 | DType::U32) => self.bitcast(x, to),
            (DType::F16 | DType::BF16, _) | (_, DType::F16 | DType::BF16) if from != to => self.each_lane(x, &mut |l, x| {
                let bits = l.encode(x, from);
                let y = l.decode(bits, to);
                l.convert(y, wide(to, l.f16))
            }),
            _ => self.cast(x, from, to),
        }
    }

    /// An f32 rounded to what the half type `d` holds.
    pub(super) fn round(&mut self, x: Value, d: DType) -> Value {
        if d == DType::BF16 {
            let bits = self.bf16_bits(x);
            let bits = self.bin_c(Binary::Shl, bits, 16);
            return self.bitcast(bits, DType::F32);
        }
        self.each_lane(x, &mut |l, x| {
            let bits = l.half_bits(x);
            l.op1(Op::FromHalfBits {}, &[bits], F32)
        })
    }

    /// To nearest, ties to even, as integers: what languages have for it may cut bits off, and some devices do.
    fn half_bits(&mut self, x: Value) -> Value {
        let bits = self.bitcast(x, DType::U32);
        let sign = self.bin_c(Binary::Shr, bits, 16);
        let sign = self.bin_c(Binary::And, sign, 0x8000);
        let size = self.bin_c(Binary::And, bits, 0x7fff_ffff);
        // Exponents of 5 bits are less than those of 8 by 112.
        let odd = self.bin_c(Binary::Shr, size, 13);
        let odd = self.bin_c(Binary::And, odd, 1);
        let up = self.bin_c(Binary::Add, odd, 0xfff);
        let sum = self.bin(Binary::Add, size, up);
        let normal = self.bin_c(Binary::Shr, sum, 13);
        let normal = self.bin_c(Binary::Sub, normal, 112 << 10);
        // Below 2^-14 a half counts in steps of 2^-24.
        let positive = self.bitcast(size, DType::F32);
        let scale = self.constant(Scalar::Float(f64::from(1 << 24)), F32);
        let steps = self.bin(Binary::Mul, positive, scale);
        let steps = self.op1(Op::Unary { f: Unary::Round }, &[steps], F32);
        let steps = self.convert(steps, DType::U32);
        let small = self.bin_c(Binary::Lt, size, 0x3880_0000);
        let finite = self.select(small, steps, normal);
        // From 65520 on, which rounds to 65536, infinity; then the NaNs.
        let infinity = self.int(0x7c00, bits);
        let large = self.bin_c(Binary::Ge, size, 0x477f_f000);
        let number = self.select(large, infinity, finite);
        let quiet = self.int(0x7e00, bits);
        let nan = self.bin_c(Binary::Gt, size, 0x7f80_0000);
        let half = self.select(nan, quiet, number);
        self.bin(Binary::Or, sign, half)
    }

    /// To nearest, ties to even; a NaN keeps its high bits and stays one.
    fn bf16_bits(&mut self, x: Value) -> Value {
        let bits = self.bitcast(x, DType::U32);
        let high = self.bin_c(Binary::Shr, bits, 16);
        let odd = self.bin_c(Binary::And, high, 1);
        let up = self.bin_c(Binary::Add, odd, 0x7fff);
        let sum = self.bin(Binary::Add, bits, up);
        let rounded = self.bin_c(Binary::Shr, sum, 16);
        let quiet = self.bin_c(Binary::Or, high, 0x40);
        let size = self.bin_c(Binary::And, bits, 0x7fff_ffff);
        let nan = self.bin_c(Binary::Gt, size, 0x7f80_0000);
        self.select(nan, quiet, rounded)
    }

    /// The bits of one element of a type of 1 or 2 bytes, in a u32 with zeros above.
    pub(super) fn encode(&mut self, x: Value, d: DType) -> Value {
        match d {
            DType::F16 => {
                let x = self.convert(x, DType::F32);
                self.half_bits(x)
            }
            DType::BF16 => self.bf16_bits(x),
            DType::I8 | DType::I16 => {
                let x = self.bitcast(x, DType::U32);
                self.bin_c(Binary::And, x, (1 << (8 * d.size())) - 1)
            }
            _ => self.convert(x, DType::U32),
        }
    }

    /// One element of a type of 1 or 2 bytes from the low bits of a u32.
    pub(super) fn decode(&mut self, bits: Value, d: DType) -> Value {
        match d {
            DType::F16 => self.op1(Op::FromHalfBits {}, &[bits], F32),
            DType::BF16 => {
                let bits = self.bin_c(Binary::Shl, bits, 16);
                self.bitcast(bits, DType::F32)
            }
            DType::I8 | DType::I16 => {
                let bits = self.bitcast(bits, DType::I32);
                self.narrow(bits, d)
            }
            DType::Bool => {
                let byte = self.narrow(bits, DType::U8);
                self.bin_c(Binary::Ne, byte, 0)
            }
            _ => self.narrow(bits, d),
        }
    }
}

/// All values of the one integer type are values of the other.
fn fits(from: DType, to: DType) -> bool {
    match (from, to) {
        (DType::Bool, _) => true,
        _ if from.is_signed_int() == to.is_signed_int() => from.size() <= to.size(),
        _ => from.is_unsigned_int() && from.size() < to.size(),
    }
}

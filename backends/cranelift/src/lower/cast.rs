//! Conversions of value and of bits. Half floats convert by integer arithmetic, rounding to nearest even, alike for scalars and
//! vectors and on every machine.

use super::{Lower, Result};
use cranelift_codegen::ir::{self, InstBuilder, condcodes::FloatCC, condcodes::IntCC, types};
use odc_ir::core::DType;
use odc_ir::loops::LoopType;

const fn is_half(d: DType) -> bool {
    matches!(d, DType::F16 | DType::BF16)
}

impl Lower<'_, '_> {
    pub(super) fn cast(&mut self, from: LoopType, to: LoopType, x: ir::Value) -> Result<ir::Value> {
        let (a, b) = (from.dtype(), to.dtype());
        self.held(to)?;
        if a == b {
            return Ok(x);
        }
        // Half floats go through f32.
        let via = from.with_dtype(DType::F32);
        if is_half(a) {
            let wide = self.widen_half(a, x);
            return self.cast(via, to, wide);
        }
        if is_half(b) {
            let single = self.cast(from, via, x)?;
            return Ok(self.narrow_half(b, single));
        }
        if matches!(from, LoopType::Vector(..)) { self.cast_vector(from, to, x) } else { self.cast_scalar(a, b, x) }
    }

    fn cast_scalar(&mut self, a: DType, b: DType, x: ir::Value) -> Result<ir::Value> {
        let to = super::scalar_type(b);
        if a.is_float() {
            return Ok(match b {
                DType::F32 => self.b.ins().fdemote(to, x),
                DType::F64 => self.b.ins().fpromote(to, x),
                DType::Bool => {
                    let zero = self.float_like(self.type_of(x), 0.0);
                    self.b.ins().fcmp(FloatCC::NotEqual, x, zero)
                }
                DType::I32 | DType::I64 => self.b.ins().fcvt_to_sint_sat(to, x),
                DType::U32 | DType::U64 => self.b.ins().fcvt_to_uint_sat(to, x),
                _ => {
                    let wide = self.b.ins().fcvt_to_sint_sat(types::I32, x);
                    let y = self.clamp(b, wide);
                    self.b.ins().ireduce(to, y)
                }
            });
        }
        match b {
            DType::F32 | DType::F64 => {
                let (wide, signed) = match a {
                    DType::I32 | DType::I64 => (x, true),
                    DType::U64 => (x, false),
                    DType::U32 => (self.b.ins().uextend(types::I64, x), true),
                    DType::I8 | DType::I16 => (self.b.ins().sextend(types::I32, x), true),
                    _ => (self.b.ins().uextend(types::I32, x), true),
                };
                Ok(if signed { self.b.ins().fcvt_from_sint(to, wide) } else { self.b.ins().fcvt_from_uint(to, wide) })
            }
            DType::Bool => Ok(self.b.ins().icmp_imm_s(IntCC::NotEqual, x, 0)),
            _ => Ok(match a.size().cmp(&b.size()) {
                std::cmp::Ordering::Equal => x,
                std::cmp::Ordering::Greater => self.b.ins().ireduce(to, x),
                std::cmp::Ordering::Less if a.is_signed_int() => self.b.ins().sextend(to, x),
                std::cmp::Ordering::Less => self.b.ins().uextend(to, x),
            }),
        }
    }

    fn cast_vector(&mut self, from: LoopType, to: LoopType, x: ir::Value) -> Result<ir::Value> {
        let (a, b) = (from.dtype(), to.dtype());
        let (source, held) = (self.held(from)?, self.held(to)?);
        Ok(match (a, b) {
            (_, DType::Bool) if a.is_float() => {
                let zero = self.float_like(source, 0.0);
                self.b.ins().fcmp(FloatCC::NotEqual, x, zero)
            }
            (_, DType::Bool) => {
                let zero = self.int_like(held, 0);
                self.b.ins().icmp(IntCC::NotEqual, x, zero)
            }
            (DType::Bool, _) => {
                let one = self.constant(to, odc_ir::core::Scalar::Int(1).wrap(b))?;
                let one = self.bits_as(source, one);
                let bits = self.b.ins().band(x, one);
                self.bits_as(held, bits)
            }
            (DType::F32, DType::U32) => self.b.ins().fcvt_to_uint_sat(held, x),
            (DType::F32, _) if held == types::I32X4 => {
                let wide = self.b.ins().fcvt_to_sint_sat(held, x);
                self.clamp(b, wide)
            }
            (DType::U32, DType::F32) => self.b.ins().fcvt_from_uint(held, x),
            (_, DType::F32) => self.b.ins().fcvt_from_sint(held, x),
            _ if a.is_int() && b.is_int() => self.wrap_lanes(b, x),
            _ => {
                let to_element = LoopType::Scalar(b);
                return self.by_lane(from, to, &[x], |l, xs| l.cast(LoopType::Scalar(a), to_element, *xs.first().unwrap_or(&x)));
            }
        })
    }

    /// 32-bit integers limited to the range of a narrower type.
    fn clamp(&mut self, d: DType, x: ir::Value) -> ir::Value {
        let bits = 8 * d.size() as u32;
        if bits >= 32 {
            return x;
        }
        let (lo, hi) = if d.is_signed_int() { (-1i64 << (bits - 1), (1i64 << (bits - 1)) - 1) } else { (0, (1i64 << bits) - 1) };
        let t = self.type_of(x);
        let (lo, hi) = (self.int_like(t, lo), self.int_like(t, hi));
        let x = self.b.ins().smax(x, lo);
        self.b.ins().smin(x, hi)
    }

    pub(super) fn bitcast(&mut self, from: LoopType, to: LoopType, x: ir::Value) -> Result<ir::Value> {
        let (held, d) = (self.held(to)?, to.dtype());
        if !held.is_vector() || from.dtype().size() * to.lanes() as usize == 16 {
            return Ok(self.bits_as(held, x));
        }
        // Narrow lanes are held extended by their type: extend anew.
        Ok(self.wrap_lanes(d, x))
    }

    fn widen_half(&mut self, d: DType, h: ir::Value) -> ir::Value {
        let vector = self.type_of(h).is_vector();
        let (it, ft) = if vector { (types::I32X4, types::F32X4) } else { (types::I32, types::F32) };
        let h = if vector { h } else { self.b.ins().uextend(types::I32, h) };
        if d == DType::BF16 {
            let bits = self.b.ins().ishl_imm_s(h, 16);
            return self.bits_as(ft, bits);
        }
        let sign_bit = self.int_like(it, 0x8000);
        let rest = self.int_like(it, 0x7fff);
        let sign = self.b.ins().band(h, sign_bit);
        let sign = self.b.ins().ishl_imm_s(sign, 16);
        let magnitude = self.b.ins().band(h, rest);
        let shifted = self.b.ins().ishl_imm_s(magnitude, 13);
        // Exponent bias 15 to 127; infinity and NaN once more, to 255.
        let bias = self.int_like(it, 112 << 23);
        let normal = self.b.ins().iadd(shifted, bias);
        let special = self.b.ins().iadd(normal, bias);
        let top = self.int_like(it, (31 << 23) - 1);
        let is_special = self.b.ins().icmp(IntCC::SignedGreaterThan, shifted, top);
        // Denormal: as if it had the leading one of 2^-14, which a subtraction takes away.
        let unit = self.int_like(it, 1 << 23);
        let with_one = self.b.ins().iadd(normal, unit);
        let with_one = self.bits_as(ft, with_one);
        let least = self.float_like(ft, f64::from(f32::from_bits(113 << 23)));
        let small = self.b.ins().fsub(with_one, least);
        let small = self.bits_as(it, small);
        let is_small = self.b.ins().icmp(IntCC::SignedLessThan, shifted, unit);
        let r = self.choose(it, is_special, special, normal);
        let r = self.choose(it, is_small, small, r);
        let r = self.b.ins().bor(r, sign);
        self.bits_as(ft, r)
    }

    fn narrow_half(&mut self, d: DType, x: ir::Value) -> ir::Value {
        let vector = self.type_of(x).is_vector();
        let (it, ft) = if vector { (types::I32X4, types::F32X4) } else { (types::I32, types::F32) };
        let bits = self.bits_as(it, x);
        let (all, one) = (self.int_like(it, 0x7fff_ffff), self.int_like(it, 1));
        let magnitude = self.b.ins().band(bits, all);
        let sign_bit = self.int_like(it, 0x8000);
        let sign = self.b.ins().ushr_imm_s(bits, 16);
        let sign = self.b.ins().band(sign, sign_bit);
        let infinity = self.int_like(it, 0x7f80_0000);
        let is_nan = self.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, infinity);
        // Half of the last place, less one if what stays is even.
        let drop: i64 = if d == DType::F16 { 13 } else { 16 };
        let odd = self.b.ins().ushr_imm_s(magnitude, drop);
        let odd = self.b.ins().band(odd, one);
        let half = self.int_like(it, (1 << (drop - 1)) - 1);
        let rounded = self.b.ins().iadd(magnitude, half);
        let rounded = self.b.ins().iadd(rounded, odd);
        let (result, nan) = if d == DType::BF16 {
            (self.b.ins().ushr_imm_s(rounded, drop), 0x7fc0)
        } else {
            let bias = self.int_like(it, 112 << 23);
            let normal = self.b.ins().isub(rounded, bias);
            let normal = self.b.ins().ushr_imm_s(normal, drop);
            // Denormal: next to 0.5 the float's own last place is 2^-24, and the addition rounds.
            let half = self.float_like(ft, 0.5);
            let size = self.bits_as(ft, magnitude);
            let near = self.b.ins().fadd(size, half);
            let near = self.bits_as(it, near);
            let half_bits = self.int_like(it, 0x3f00_0000);
            let small = self.b.ins().isub(near, half_bits);
            let least = self.int_like(it, 113 << 23);
            let is_small = self.b.ins().icmp(IntCC::SignedLessThan, magnitude, least);
            let r = self.choose(it, is_small, small, normal);
            let most = self.int_like(it, 0x477f_ffff);
            let over = self.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, most);
            let inf = self.int_like(it, 0x7c00);
            (self.choose(it, over, inf, r), 0x7e00)
        };
        let nan = self.int_like(it, nan);
        let r = self.choose(it, is_nan, nan, result);
        let r = self.b.ins().bor(r, sign);
        if vector { r } else { self.b.ins().ireduce(types::I16, r) }
    }
}

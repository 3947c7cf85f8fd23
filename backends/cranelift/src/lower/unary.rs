//! Functions of one operand.

use super::{Lower, Result};
use cranelift_codegen::ir::{self, InstBuilder, condcodes::FloatCC, condcodes::IntCC, types};
use odc_ir::core::{DType, Unary};
use odc_ir::loops::LoopType;

impl Lower<'_, '_> {
    pub(super) fn unary(&mut self, f: Unary, t: LoopType, x: ir::Value) -> Result<ir::Value> {
        let d = t.dtype();
        if f.is_transcendental() {
            return self.unsupported(format!("{f}"), "expand transcendental functions before code generation");
        }
        match d {
            DType::F16 | DType::BF16 => {
                let wide = t.with_dtype(DType::F32);
                let w = self.cast(t, wide, x)?;
                let y = self.unary(f, wide, w)?;
                if f.result_dtype(d) == d { self.cast(wide, t, y) } else { Ok(y) }
            }
            DType::F32 | DType::F64 => self.unary_float(f, t, x),
            _ => self.unary_int(f, t, x),
        }
    }

    fn unary_float(&mut self, f: Unary, t: LoopType, x: ir::Value) -> Result<ir::Value> {
        let held = self.held(t)?;
        Ok(match f {
            Unary::Neg => self.b.ins().fneg(x),
            Unary::Abs => self.b.ins().fabs(x),
            Unary::Sign => {
                let (zero, one) = (self.float_like(held, 0.0), self.float_like(held, 1.0));
                let unit = self.copysign(held, one, x);
                // Zero or NaN stays.
                let size = self.b.ins().fabs(x);
                let other = self.b.ins().fcmp(FloatCC::GreaterThan, size, zero);
                self.choose(held, other, unit, x)
            }
            Unary::Sqrt => self.b.ins().sqrt(x),
            Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => self.round(f, held, x),
            Unary::IsNan => self.b.ins().fcmp(FloatCC::Unordered, x, x),
            Unary::IsInf => {
                let (inf, size) = (self.float_like(held, f64::INFINITY), self.b.ins().fabs(x));
                self.b.ins().fcmp(FloatCC::Equal, size, inf)
            }
            _ => return self.malformed(format!("{f} of {t}")),
        })
    }

    /// `size`, which is not negative, with the sign of `x` (there is no such instruction for vectors).
    fn copysign(&mut self, held: ir::Type, size: ir::Value, x: ir::Value) -> ir::Value {
        let minus = self.float_like(held, -0.0);
        let sign = self.b.ins().band(x, minus);
        self.b.ins().bor(size, sign)
    }

    /// `c ? a : b` where `c` comes straight from a comparison of the same shape.
    pub(super) fn choose(&mut self, held: ir::Type, c: ir::Value, a: ir::Value, b: ir::Value) -> ir::Value {
        if held.is_vector() {
            let mask = self.bits_as(held, c);
            self.b.ins().bitselect(mask, a, b)
        } else {
            self.b.ins().select(c, a, b)
        }
    }

    /// To an integer, in the given direction. Baseline x86-64 has no instruction: add and subtract 2^23 (2^52), then correct.
    pub(super) fn round(&mut self, f: Unary, held: ir::Type, x: ir::Value) -> ir::Value {
        if self.has_round() {
            return match f {
                Unary::Floor => self.b.ins().floor(x),
                Unary::Ceil => self.b.ins().ceil(x),
                Unary::Trunc => self.b.ins().trunc(x),
                _ => self.b.ins().nearest(x),
            };
        }
        let magic = if held.lane_type() == types::F32 { 8_388_608.0 } else { 4_503_599_627_370_496.0 };
        let (magic, one, zero) = (self.float_like(held, magic), self.float_like(held, 1.0), self.float_like(held, 0.0));
        let size = self.b.ins().fabs(x);
        let up = self.b.ins().fadd(size, magic);
        let mut r = self.b.ins().fsub(up, magic);
        // On the magnitude: nearest; truncation takes back what went up.
        if f == Unary::Trunc {
            let over = self.b.ins().fcmp(FloatCC::GreaterThan, r, size);
            let by = self.choose(held, over, one, zero);
            r = self.b.ins().fsub(r, by);
        }
        r = self.copysign(held, r, x);
        if matches!(f, Unary::Floor | Unary::Ceil) {
            let (cc, step) = if f == Unary::Floor { (FloatCC::GreaterThan, 1.0) } else { (FloatCC::LessThan, -1.0) };
            let over = self.b.ins().fcmp(cc, r, x);
            let step = self.float_like(held, step);
            let by = self.choose(held, over, step, zero);
            r = self.b.ins().fsub(r, by);
            r = self.copysign(held, r, x);
        }
        let small = self.b.ins().fcmp(FloatCC::LessThan, size, magic);
        self.choose(held, small, r, x)
    }

    fn unary_int(&mut self, f: Unary, t: LoopType, x: ir::Value) -> Result<ir::Value> {
        let (d, held) = (t.dtype(), self.held(t)?);
        let vector = held.is_vector();
        Ok(match f {
            Unary::IsNan | Unary::IsInf => {
                let bool_type = self.held(t.with_dtype(DType::Bool))?;
                self.int_like(bool_type, 0)
            }
            Unary::Not if d == DType::Bool && !vector => self.b.ins().bxor_imm_s(x, 1),
            Unary::Not => {
                let y = self.b.ins().bnot(x);
                if vector { self.wrap_lanes(d, y) } else { y }
            }
            _ if d == DType::Bool => x,
            Unary::Neg => {
                let y = self.b.ins().ineg(x);
                if vector { self.wrap_lanes(d, y) } else { y }
            }
            Unary::Abs if d.is_signed_int() => {
                let y = self.b.ins().iabs(x);
                if vector { self.wrap_lanes(d, y) } else { y }
            }
            Unary::Sign if vector => {
                let scalar = LoopType::Scalar(d);
                return self.by_lane(t, t, &[x], |l, xs| l.unary_int(f, scalar, *xs.first().unwrap_or(&x)));
            }
            Unary::Sign => {
                let up = self.b.ins().icmp_imm_s(if d.is_signed_int() { IntCC::SignedGreaterThan } else { IntCC::NotEqual }, x, 0);
                let down = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, x, 0);
                let (zero, one, minus) = (self.iconst(held, 0), self.iconst(held, 1), self.iconst(held, -1));
                let y = if d.is_signed_int() { self.b.ins().select(down, minus, zero) } else { zero };
                self.b.ins().select(up, one, y)
            }
            Unary::Abs | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => x,
            _ => return self.malformed(format!("{f} of {t}")),
        })
    }
}

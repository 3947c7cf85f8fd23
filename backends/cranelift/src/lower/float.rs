//! Float arithmetic of two and three operands.

use super::binary::{Operand, float_cc};
use super::{Lower, Result};
use cranelift_codegen::ir::{self, InstBuilder, condcodes::FloatCC, condcodes::IntCC, types};
use odc_ir::core::{Binary, DType, Scalar, Unary};
use odc_ir::loops::LoopType;

const MANTISSA: i64 = (1 << 52) - 1;
const INFINITY: i64 = 0x7ff << 52;

impl Lower<'_, '_> {
    pub(super) fn binary_float(&mut self, f: Binary, t: LoopType, a: Operand, b: Operand) -> Result<ir::Value> {
        let (x, y) = (a.0, b.0);
        if f.is_compare() {
            return Ok(self.b.ins().fcmp(float_cc(f), x, y));
        }
        Ok(match f {
            Binary::Add => self.b.ins().fadd(x, y),
            Binary::Sub => self.b.ins().fsub(x, y),
            Binary::Mul => self.b.ins().fmul(x, y),
            Binary::Div => self.b.ins().fdiv(x, y),
            Binary::Min => self.min_max(FloatCC::LessThan, t, a, b)?,
            Binary::Max => self.min_max(FloatCC::GreaterThan, t, a, b)?,
            Binary::Rem | Binary::FloorDiv | Binary::Mod if t.lanes() > 1 => self.binary_by_lane(f, t, a, b)?,
            // The quotient of f32 is floored before it is rounded to f32, or 2.99999999 would become 3.
            Binary::Rem | Binary::FloorDiv | Binary::Mod if t.dtype() == DType::F32 => {
                let (x, y) = (self.b.ins().fpromote(types::F64, x), self.b.ins().fpromote(types::F64, y));
                let r = self.binary_float(f, LoopType::Scalar(DType::F64), (x, None), (y, None))?;
                self.b.ins().fdemote(types::F32, r)
            }
            Binary::Rem => self.fmod(x, y)?,
            Binary::FloorDiv | Binary::Mod => {
                let q = self.b.ins().fdiv(x, y);
                let q = self.round(Unary::Floor, types::F64, q);
                if f == Binary::FloorDiv {
                    return Ok(q);
                }
                let p = self.b.ins().fmul(q, y);
                self.b.ins().fsub(x, p)
            }
            Binary::Pow => return self.unsupported("pow of floats", "expand transcendental functions before code generation"),
            _ => return self.malformed(format!("{f} of {t}")),
        })
    }

    /// NaN if either is. x86's minimum and maximum give their second operand if one is NaN, which is right unless only the first is.
    fn min_max(&mut self, cc: FloatCC, t: LoopType, a: Operand, b: Operand) -> Result<ir::Value> {
        let held = self.held(t)?;
        if !self.is_x86() {
            return Ok(if cc == FloatCC::LessThan { self.b.ins().fmin(a.0, b.0) } else { self.b.ins().fmax(a.0, b.0) });
        }
        let number = |o: Operand| o.1.is_some_and(|s| !s.as_f64().is_nan());
        let ((x, first), (y, _)) = if number(b) { (b, a) } else { (a, b) };
        let first_is_number = number((x, first));
        // Written so that Cranelift finds the one instruction.
        let c =
            if cc == FloatCC::LessThan { self.b.ins().fcmp(FloatCC::LessThan, x, y) } else { self.b.ins().fcmp(FloatCC::LessThan, y, x) };
        let r = self.choose(held, c, x, y);
        if first_is_number {
            return Ok(r);
        }
        let nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
        Ok(self.choose(held, nan, x, r))
    }

    pub(super) fn fma(&mut self, t: LoopType, a: ir::Value, b: ir::Value, c: ir::Value) -> Result<ir::Value> {
        let d = t.dtype();
        match d {
            DType::F32 | DType::F64 if self.has_fma() => Ok(self.b.ins().fma(a, b, c)),
            DType::F32 | DType::F64 => {
                let p = self.b.ins().fmul(a, b);
                Ok(self.b.ins().fadd(p, c))
            }
            DType::F16 | DType::BF16 => {
                let wide = t.with_dtype(DType::F32);
                let (a, b, c) = (self.cast(t, wide, a)?, self.cast(t, wide, b)?, self.cast(t, wide, c)?);
                let r = self.fma(wide, a, b, c)?;
                self.cast(wide, t, r)
            }
            _ => {
                let p = self.binary(Binary::Mul, t, (a, None), (b, None))?;
                self.binary(Binary::Add, t, (p, None), (c, None))
            }
        }
    }

    /// Exact remainder of f64 by long division of the mantissas, one bit a step.
    fn fmod(&mut self, x: ir::Value, y: ir::Value) -> Result<ir::Value> {
        let (ux, uy) = (self.bits_as(types::I64, x), self.bits_as(types::I64, y));
        let ax = self.b.ins().band_imm_s(ux, i64::MAX);
        let ay = self.b.ins().band_imm_s(uy, i64::MAX);
        let sign = self.b.ins().band_imm_s(ux, i64::MIN);

        let (divide, done) = (self.b.create_block(), self.b.create_block());
        let (step, end) = (self.b.create_block(), self.b.create_block());
        for t in [types::I64, types::I64] {
            self.b.append_block_param(step, t);
        }
        self.b.append_block_param(end, types::I64);
        self.b.append_block_param(done, types::F64);

        // Not a number: x infinite or NaN, y zero or NaN. Else x itself if it is the smaller.
        let product = self.b.ins().fmul(x, y);
        let nan = self.b.ins().fdiv(product, product);
        let bad_x = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, ax, INFINITY);
        let bad_y = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, ay, INFINITY);
        let zero_y = self.b.ins().icmp_imm_s(IntCC::Equal, ay, 0);
        let bad = self.b.ins().bor(bad_x, bad_y);
        let bad = self.b.ins().bor(bad, zero_y);
        let less = self.b.ins().icmp(IntCC::SignedLessThan, ax, ay);
        let early = self.b.ins().bor(bad, less);
        let not_a_number = self.b.ins().f64const(f64::NAN);
        let nan_is_nan = self.b.ins().fcmp(FloatCC::Unordered, nan, nan);
        let nan = self.b.ins().select(nan_is_nan, nan, not_a_number);
        let simple = self.b.ins().select(bad, nan, x);
        self.branch(early, (done, &[simple]), (divide, &[]));

        self.b.switch_to_block(divide);
        let (mx, ex) = self.split(ax);
        let (my, ey) = self.split(ay);
        let steps = self.b.ins().isub(ex, ey);
        let any = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, steps, 0);
        self.branch(any, (step, &[mx, steps]), (end, &[mx]));

        self.b.switch_to_block(step);
        let &[rest, n] = self.b.block_params(step) else { return self.malformed("fmod") };
        let r = self.reduce(rest, my);
        let r = self.b.ins().ishl_imm_s(r, 1);
        let n = self.b.ins().iadd_imm_s(n, -1);
        let again = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, n, 0);
        self.branch(again, (step, &[r, n]), (end, &[r]));

        self.b.switch_to_block(end);
        let &[rest] = self.b.block_params(end) else { return self.malformed("fmod") };
        let r = self.reduce(rest, my);
        let none = self.b.ins().icmp_imm_s(IntCC::Equal, r, 0);
        // Back to a float with y's exponent; below the normal range the mantissa moves down instead.
        let zeros = self.b.ins().clz(r);
        let by = self.b.ins().iadd_imm_s(zeros, -11);
        let e = self.b.ins().isub(ey, by);
        let up = self.b.ins().ishl(r, by);
        let mantissa = self.b.ins().band_imm_s(up, MANTISSA);
        let exponent = self.b.ins().ishl_imm_s(e, 52);
        let normal = self.b.ins().bor(mantissa, exponent);
        let one = self.b.ins().iconst(types::I64, 1);
        let down = self.b.ins().isub(one, e);
        let small = self.b.ins().ushr(up, down);
        let is_normal = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, e, 0);
        let magnitude = self.b.ins().select(is_normal, normal, small);
        let zero = self.b.ins().iconst(types::I64, 0);
        let magnitude = self.b.ins().select(none, zero, magnitude);
        let bits = self.b.ins().bor(magnitude, sign);
        let result = self.bits_as(types::F64, bits);
        self.jump(done, &[result]);

        self.b.switch_to_block(done);
        match self.b.block_params(done) {
            &[r] => Ok(r),
            _ => self.malformed("fmod"),
        }
    }

    /// Mantissa with its leading one at bit 52, and the exponent, of positive f64 bits other than zero.
    fn split(&mut self, bits: ir::Value) -> (ir::Value, ir::Value) {
        let e = self.b.ins().ushr_imm_s(bits, 52);
        let m = self.b.ins().band_imm_s(bits, MANTISSA);
        let m = self.b.ins().bor_imm_s(m, 1 << 52);
        let zeros = self.b.ins().clz(bits);
        let by = self.b.ins().iadd_imm_s(zeros, -11);
        let small = self.b.ins().ishl(bits, by);
        let one = self.b.ins().iconst(types::I64, 1);
        let small_e = self.b.ins().isub(one, by);
        let denormal = self.b.ins().icmp_imm_s(IntCC::Equal, e, 0);
        (self.b.ins().select(denormal, small, m), self.b.ins().select(denormal, small_e, e))
    }

    /// `r - m` if that is not negative.
    fn reduce(&mut self, r: ir::Value, m: ir::Value) -> ir::Value {
        let less = self.b.ins().isub(r, m);
        let fits = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, less, 0);
        self.b.ins().select(fits, less, r)
    }
}

/// What is known of an operand, as an integer.
pub const fn known_int(o: Operand) -> Option<i64> {
    match o.1 {
        Some(Scalar::Int(k)) => Some(k),
        _ => None,
    }
}

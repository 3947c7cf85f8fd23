//! Scalar integer arithmetic: wrapping, division that never traps, shifts that run out, powers. Types below 32 bits compute in 32.

use super::binary::{Operand, int_cc};
use super::float::known_int;
use super::{Lower, Result};
use cranelift_codegen::ir::{self, InstBuilder, condcodes::IntCC, types};
use odc_ir::core::{Binary, DType};

impl Lower<'_, '_> {
    pub(super) fn binary_int(&mut self, f: Binary, d: DType, a: Operand, b: Operand) -> Result<ir::Value> {
        let narrow = d.size() < 4;
        let (mut x, mut y) = (a.0, b.0);
        if narrow {
            (x, y) = if d.is_signed_int() {
                (self.b.ins().sextend(types::I32, x), self.b.ins().sextend(types::I32, y))
            } else {
                (self.b.ins().uextend(types::I32, x), self.b.ins().uextend(types::I32, y))
            };
        }
        let r = self.wide_int(f, d, (x, a.1), (y, b.1))?;
        Ok(if f.is_compare() || !narrow {
            r
        } else if d == DType::Bool {
            self.b.ins().icmp_imm_s(IntCC::NotEqual, r, 0)
        } else {
            self.b.ins().ireduce(super::scalar_type(d), r)
        })
    }

    fn wide_int(&mut self, f: Binary, d: DType, a: Operand, b: Operand) -> Result<ir::Value> {
        let ((x, _), (y, _)) = (a, b);
        let signed = d.is_signed_int();
        let t = self.type_of(x);
        Ok(match f {
            Binary::Add => self.b.ins().iadd(x, y),
            Binary::Sub => self.b.ins().isub(x, y),
            Binary::Mul => self.b.ins().imul(x, y),
            Binary::Div | Binary::Rem | Binary::FloorDiv | Binary::Mod => self.divide(f, signed, x, b),
            Binary::Pow => self.power(d, x, y)?,
            Binary::Min if signed => self.b.ins().smin(x, y),
            Binary::Max if signed => self.b.ins().smax(x, y),
            Binary::Min => self.b.ins().umin(x, y),
            Binary::Max => self.b.ins().umax(x, y),
            Binary::And => self.b.ins().band(x, y),
            Binary::Or => self.b.ins().bor(x, y),
            Binary::Xor => self.b.ins().bxor(x, y),
            Binary::Shl | Binary::Shr => {
                let shifted = match f {
                    Binary::Shl => self.b.ins().ishl(x, y),
                    _ if signed => self.b.ins().sshr(x, y),
                    _ => self.b.ins().ushr(x, y),
                };
                let inside = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, y, 8 * d.size() as i64);
                let zero = self.iconst(t, 0);
                self.b.ins().select(inside, shifted, zero)
            }
            Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => self.b.ins().icmp(int_cc(f, signed), x, y),
        })
    }

    fn divide(&mut self, f: Binary, signed: bool, x: ir::Value, (y, known): Operand) -> ir::Value {
        let t = self.type_of(x);
        let zero = self.iconst(t, 0);
        let known = known_int((y, known));
        if known == Some(0) {
            return zero;
        }
        let quotient = matches!(f, Binary::Div | Binary::FloorDiv);
        if !signed {
            let is_zero = self.b.ins().icmp_imm_s(IntCC::Equal, y, 0);
            let one = self.iconst(t, 1);
            let safe = if known.is_some() { y } else { self.b.ins().select(is_zero, one, y) };
            if !quotient {
                return self.b.ins().urem(x, safe);
            }
            let q = self.b.ins().udiv(x, safe);
            return if known.is_some() { q } else { self.b.ins().select(is_zero, zero, q) };
        }
        // Division by 0 and of the least number by -1 trap on x86: divide by 1 instead, and mend the quotient.
        let known = known.filter(|k| *k != -1);
        let safe = match known {
            Some(_) => y,
            None => {
                let above = self.b.ins().iadd_imm_s(y, 1);
                let bad = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThanOrEqual, above, 1);
                let one = self.iconst(t, 1);
                self.b.ins().select(bad, one, y)
            }
        };
        match (f, known) {
            // Powers of two round down by themselves.
            (Binary::FloorDiv, Some(k)) if k > 0 && k & (k - 1) == 0 => {
                return self.b.ins().sshr_imm_s(x, i64::from(k.trailing_zeros()));
            }
            (Binary::Mod, Some(k)) if k > 0 && k & (k - 1) == 0 => return self.b.ins().band_imm_s(x, k - 1),
            (Binary::Rem, _) => return self.b.ins().srem(x, safe),
            _ => {}
        }
        let q = self.b.ins().sdiv(x, safe);
        let result = if f == Binary::Div {
            q
        } else {
            let back = self.b.ins().imul(q, safe);
            let r = self.b.ins().isub(x, back);
            let below = match known {
                Some(k) if k > 0 => self.b.ins().icmp_imm_s(IntCC::SignedLessThan, r, 0),
                _ => {
                    let signs = self.b.ins().bxor(r, safe);
                    let differ = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, signs, 0);
                    let rest = self.b.ins().icmp_imm_s(IntCC::NotEqual, r, 0);
                    self.b.ins().band(differ, rest)
                }
            };
            if f == Binary::Mod {
                let add = self.b.ins().select(below, safe, zero);
                return self.b.ins().iadd(r, add);
            }
            let one = self.b.ins().uextend(t, below);
            self.b.ins().isub(q, one)
        };
        if known.is_some() {
            return result;
        }
        let minus = self.b.ins().icmp_imm_s(IntCC::Equal, y, -1);
        let negated = self.b.ins().ineg(x);
        let is_zero = self.b.ins().icmp_imm_s(IntCC::Equal, y, 0);
        let result = self.b.ins().select(is_zero, zero, result);
        self.b.ins().select(minus, negated, result)
    }

    /// By squaring. Exponents outside 0..2^32 matter only for bases 1 and -1.
    fn power(&mut self, d: DType, x: ir::Value, y: ir::Value) -> Result<ir::Value> {
        let t = self.type_of(x);
        let wide = match t {
            types::I64 => y,
            _ if d.is_signed_int() => self.b.ins().sextend(types::I64, y),
            _ => self.b.ins().uextend(types::I64, y),
        };
        let (zero, one, minus) = (self.iconst(t, 0), self.iconst(t, 1), self.iconst(t, -1));
        let inside = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThanOrEqual, wide, i64::from(u32::MAX));
        let none = self.iconst(types::I64, 0);
        let exponent = self.b.ins().select(inside, wide, none);

        let (head, body, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        for t in [t, t, types::I64] {
            self.b.append_block_param(head, t);
        }
        self.jump(head, &[one, x, exponent]);
        self.b.switch_to_block(head);
        let &[product, base, rest] = self.b.block_params(head) else { return self.malformed("pow") };
        self.branch(rest, (body, &[]), (done, &[]));
        self.b.switch_to_block(body);
        let bit = self.b.ins().band_imm_s(rest, 1);
        let more = self.b.ins().imul(product, base);
        let more = self.b.ins().select(bit, more, product);
        let square = self.b.ins().imul(base, base);
        let rest = self.b.ins().ushr_imm_s(rest, 1);
        self.jump(head, &[more, square, rest]);
        self.b.switch_to_block(done);

        let odd = self.b.ins().band_imm_s(wide, 1);
        let sign = self.b.ins().select(odd, minus, one);
        let is_minus = self.b.ins().icmp_imm_s(IntCC::Equal, x, -1);
        let is_one = self.b.ins().icmp_imm_s(IntCC::Equal, x, 1);
        let outside = self.b.ins().select(is_minus, sign, zero);
        let outside = self.b.ins().select(is_one, one, outside);
        Ok(self.b.ins().select(inside, product, outside))
    }
}

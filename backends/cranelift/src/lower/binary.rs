//! Functions of two operands: comparisons, and the choice between vector instructions and single lanes.

use super::{Lower, Result};
use cranelift_codegen::ir::{self, InstBuilder, condcodes::FloatCC, condcodes::IntCC, types};
use odc_ir::core::{Binary, DType, Scalar};
use odc_ir::loops::LoopType;

/// An operand and what is known of it.
pub type Operand = (ir::Value, Option<Scalar>);

impl Lower<'_, '_> {
    pub(super) fn binary(&mut self, f: Binary, t: LoopType, a: Operand, b: Operand) -> Result<ir::Value> {
        let d = t.dtype();
        match d {
            DType::F16 | DType::BF16 => {
                let wide = t.with_dtype(DType::F32);
                let (x, y) = (self.cast(t, wide, a.0)?, self.cast(t, wide, b.0)?);
                let r = self.binary(f, wide, (x, a.1), (y, b.1))?;
                if f.is_compare() { Ok(r) } else { self.cast(wide, t, r) }
            }
            DType::F32 | DType::F64 => self.binary_float(f, t, a, b),
            _ if t.lanes() > 1 => match self.vector_int(f, t, a, b)? {
                Some(r) => Ok(r),
                None => self.binary_by_lane(f, t, a, b),
            },
            _ => self.binary_int(f, d, a, b),
        }
    }

    pub(super) fn binary_by_lane(&mut self, f: Binary, t: LoopType, a: Operand, b: Operand) -> Result<ir::Value> {
        let scalar = LoopType::Scalar(t.dtype());
        let to = t.with_dtype(f.result_dtype(t.dtype()));
        self.by_lane(t, to, &[a.0, b.0], |l, xs| match *xs {
            [x, y] => l.binary(f, scalar, (x, a.1), (y, b.1)),
            _ => l.malformed("two operands"),
        })
    }

    /// By vector instruction, if there is one.
    fn vector_int(&mut self, f: Binary, t: LoopType, a: Operand, b: Operand) -> Result<Option<ir::Value>> {
        let (d, held) = (t.dtype(), self.held(t)?);
        let (x, y) = (a.0, b.0);
        if d == DType::Bool {
            return Ok(Some(match f {
                Binary::And | Binary::Mul | Binary::Min => self.b.ins().band(x, y),
                Binary::Or | Binary::Add | Binary::Max => self.b.ins().bor(x, y),
                Binary::Xor | Binary::Sub | Binary::Ne => self.b.ins().bxor(x, y),
                Binary::Eq => {
                    let ne = self.b.ins().bxor(x, y);
                    self.b.ins().bnot(ne)
                }
                _ => return Ok(None),
            }));
        }
        let wide = held == types::I64X2;
        let signed = d.is_signed_int();
        if f.is_compare() {
            let ordered = !matches!(f, Binary::Eq | Binary::Ne);
            if wide && ordered && (!signed || self.is_x86()) {
                return Ok(None);
            }
            return Ok(Some(self.b.ins().icmp(int_cc(f, signed), x, y)));
        }
        let r = match f {
            Binary::Add => self.b.ins().iadd(x, y),
            Binary::Sub => self.b.ins().isub(x, y),
            Binary::Mul => self.b.ins().imul(x, y),
            Binary::And => return Ok(Some(self.b.ins().band(x, y))),
            Binary::Or => return Ok(Some(self.b.ins().bor(x, y))),
            Binary::Xor => return Ok(Some(self.b.ins().bxor(x, y))),
            Binary::Min | Binary::Max if wide => return Ok(None),
            Binary::Min if signed => self.b.ins().smin(x, y),
            Binary::Max if signed => self.b.ins().smax(x, y),
            Binary::Min => self.b.ins().umin(x, y),
            Binary::Max => self.b.ins().umax(x, y),
            Binary::Shl | Binary::Shr => {
                let Some(by) = b.1.map(Scalar::as_i64) else { return Ok(None) };
                if !(0..8 * d.size() as i64).contains(&by) {
                    self.int_like(held, 0)
                } else if f == Binary::Shl {
                    self.b.ins().ishl_imm_s(x, by)
                } else if signed {
                    self.b.ins().sshr_imm_s(x, by)
                } else {
                    self.b.ins().ushr_imm_s(x, by)
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(self.wrap_lanes(d, r)))
    }
}

pub const fn int_cc(f: Binary, signed: bool) -> IntCC {
    match (f, signed) {
        (Binary::Ne, _) => IntCC::NotEqual,
        (Binary::Lt, true) => IntCC::SignedLessThan,
        (Binary::Le, true) => IntCC::SignedLessThanOrEqual,
        (Binary::Gt, true) => IntCC::SignedGreaterThan,
        (Binary::Ge, true) => IntCC::SignedGreaterThanOrEqual,
        (Binary::Lt, false) => IntCC::UnsignedLessThan,
        (Binary::Le, false) => IntCC::UnsignedLessThanOrEqual,
        (Binary::Gt, false) => IntCC::UnsignedGreaterThan,
        (Binary::Ge, false) => IntCC::UnsignedGreaterThanOrEqual,
        _ => IntCC::Equal,
    }
}

/// All but `ne` are false if an operand is NaN.
pub const fn float_cc(f: Binary) -> FloatCC {
    match f {
        Binary::Ne => FloatCC::NotEqual,
        Binary::Lt => FloatCC::LessThan,
        Binary::Le => FloatCC::LessThanOrEqual,
        Binary::Gt => FloatCC::GreaterThan,
        Binary::Ge => FloatCC::GreaterThanOrEqual,
        _ => FloatCC::Equal,
    }
}

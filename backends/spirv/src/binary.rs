//! Functions of two elements, with the meaning that `ir/src/core/scalar.rs` gives them where the machine's instruction differs: remainders
//! of negative numbers are undefined in Vulkan, and so are shifts by 32 or more.

use crate::Result;
use crate::known::{Known, fold};
use crate::module::Emit;
use crate::types::{Elem, Ty};
use odc_ir::core::{Binary, DType, Scalar, Value};
use odc_ir::loops::LoopType;
use rspirv::spirv::{GlslStd450Op as Gl, Op, Word};

impl Emit<'_> {
    pub fn binary(&mut self, f: Binary, a: Value, b: Value) -> Result<Known> {
        let ty = self.ty(a)?;
        let (x, y) = (self.get(a)?, self.get(b)?);
        let index = matches!(self.func.ty(a), LoopType::Index);
        if index && !f.is_compare() {
            return self.index(f, x, y);
        }
        if let Some(s) = fold(f, if index { DType::I64 } else { ty.elem.dtype() }, x, y) {
            return Ok(Known::Constant(s));
        }
        let id = match ty.elem {
            Elem::F32 | Elem::F16 => {
                let (x, y) = (self.id(x, ty)?, self.id(y, ty)?);
                self.float(f, ty, x, y)?
            }
            Elem::I32 | Elem::U32 => self.integer(f, ty, x, y)?,
            Elem::I8 => return self.unsupported("8-bit arithmetic", "legalise the kernel for GPUs first"),
            Elem::Bool => {
                let (x, y) = (self.id(x, ty)?, self.id(y, ty)?);
                self.boolean(f, ty, x, y)?
            }
        };
        Ok(Known::id(id))
    }

    pub fn float(&mut self, f: Binary, ty: Ty, x: Word, y: Word) -> Result<Word> {
        let bools = ty.with(Elem::Bool);
        match f {
            Binary::Add => self.op(Op::FAdd, ty, &[x, y]),
            Binary::Sub => self.op(Op::FSub, ty, &[x, y]),
            Binary::Mul => self.op(Op::FMul, ty, &[x, y]),
            Binary::Div => self.op(Op::FDiv, ty, &[x, y]),
            Binary::Rem => self.op(Op::FRem, ty, &[x, y]),
            Binary::FloorDiv => {
                let q = self.op(Op::FDiv, ty, &[x, y])?;
                self.glsl(Gl::Floor, ty, &[q])
            }
            Binary::Mod => self.op(Op::FMod, ty, &[x, y]),
            Binary::Min => self.glsl(Gl::FMin, ty, &[x, y]),
            Binary::Max => self.glsl(Gl::FMax, ty, &[x, y]),
            Binary::Eq => self.op(Op::FOrdEqual, bools, &[x, y]),
            Binary::Ne => self.op(Op::FUnordNotEqual, bools, &[x, y]),
            Binary::Lt => self.op(Op::FOrdLessThan, bools, &[x, y]),
            Binary::Le => self.op(Op::FOrdLessThanEqual, bools, &[x, y]),
            Binary::Gt => self.op(Op::FOrdGreaterThan, bools, &[x, y]),
            Binary::Ge => self.op(Op::FOrdGreaterThanEqual, bools, &[x, y]),
            Binary::Pow => self.unsupported("pow", "expand it into polynomials first"),
            Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr => self.malformed("bits of floats"),
        }
    }

    /// What arithmetic modulo 2 amounts to.
    fn boolean(&mut self, f: Binary, ty: Ty, x: Word, y: Word) -> Result<Word> {
        let not = |e: &mut Self, x| e.op(Op::LogicalNot, ty, &[x]);
        match f {
            Binary::And | Binary::Mul | Binary::Min => self.op(Op::LogicalAnd, ty, &[x, y]),
            Binary::Or | Binary::Add | Binary::Max => self.op(Op::LogicalOr, ty, &[x, y]),
            Binary::Xor | Binary::Sub | Binary::Ne => self.op(Op::LogicalNotEqual, ty, &[x, y]),
            Binary::Eq => self.op(Op::LogicalEqual, ty, &[x, y]),
            Binary::Lt => {
                let x = not(self, x)?;
                self.op(Op::LogicalAnd, ty, &[x, y])
            }
            Binary::Le => {
                let x = not(self, x)?;
                self.op(Op::LogicalOr, ty, &[x, y])
            }
            Binary::Gt => {
                let y = not(self, y)?;
                self.op(Op::LogicalAnd, ty, &[x, y])
            }
            Binary::Ge => {
                let y = not(self, y)?;
                self.op(Op::LogicalOr, ty, &[x, y])
            }
            Binary::Div | Binary::Rem | Binary::FloorDiv | Binary::Mod | Binary::Pow | Binary::Shl | Binary::Shr => {
                self.unsupported(format!("{f} of bools"), "cast them to integers first")
            }
        }
    }

    /// Signed or unsigned, as the type is.
    pub fn integer(&mut self, f: Binary, ty: Ty, a: Known, b: Known) -> Result<Word> {
        let signed = ty.elem == Elem::I32;
        let pick = |s: Op, u: Op| if signed { s } else { u };
        let bools = ty.with(Elem::Bool);
        let (x, y) = (self.id(a, ty)?, self.id(b, ty)?);
        // The logarithm of a power of two.
        let log = b.int().filter(|c| *c > 0 && c.count_ones() == 1).map(|c| i64::from(c.trailing_zeros()));
        match f {
            Binary::Add => self.op(Op::IAdd, ty, &[x, y]),
            Binary::Sub => self.op(Op::ISub, ty, &[x, y]),
            Binary::Mul => self.op(Op::IMul, ty, &[x, y]),
            Binary::Min => self.glsl(if signed { Gl::SMin } else { Gl::UMin }, ty, &[x, y]),
            Binary::Max => self.glsl(if signed { Gl::SMax } else { Gl::UMax }, ty, &[x, y]),
            Binary::And => self.op(Op::BitwiseAnd, ty, &[x, y]),
            Binary::Or => self.op(Op::BitwiseOr, ty, &[x, y]),
            Binary::Xor => self.op(Op::BitwiseXor, ty, &[x, y]),
            Binary::Shl => self.shift(Op::ShiftLeftLogical, ty, x, (b, y)),
            Binary::Shr => self.shift(pick(Op::ShiftRightArithmetic, Op::ShiftRightLogical), ty, x, (b, y)),
            Binary::Eq => self.op(Op::IEqual, bools, &[x, y]),
            Binary::Ne => self.op(Op::INotEqual, bools, &[x, y]),
            Binary::Lt => self.op(pick(Op::SLessThan, Op::ULessThan), bools, &[x, y]),
            Binary::Le => self.op(pick(Op::SLessThanEqual, Op::ULessThanEqual), bools, &[x, y]),
            Binary::Gt => self.op(pick(Op::SGreaterThan, Op::UGreaterThan), bools, &[x, y]),
            Binary::Ge => self.op(pick(Op::SGreaterThanEqual, Op::UGreaterThanEqual), bools, &[x, y]),
            Binary::Div | Binary::FloorDiv if !signed && log.is_none() => self.op(Op::UDiv, ty, &[x, y]),
            Binary::Rem | Binary::Mod if !signed && log.is_none() => self.op(Op::UMod, ty, &[x, y]),
            Binary::FloorDiv | Binary::Mod | Binary::Div | Binary::Rem
                if let Some(log) = log
                    && (!signed || a.natural() || matches!(f, Binary::FloorDiv | Binary::Mod)) =>
            {
                if matches!(f, Binary::Div | Binary::FloorDiv) {
                    let by = self.constant(ty, Scalar::Int(log))?;
                    return self.op(pick(Op::ShiftRightArithmetic, Op::ShiftRightLogical), ty, &[x, by]);
                }
                let mask = self.constant(ty, Scalar::Int((1 << log) - 1))?;
                self.op(Op::BitwiseAnd, ty, &[x, mask])
            }
            Binary::Div => self.op(Op::SDiv, ty, &[x, y]),
            Binary::Rem => Ok(self.divide(ty, x, y)?.1),
            Binary::FloorDiv if a.natural() && b.natural() => self.op(Op::SDiv, ty, &[x, y]),
            Binary::FloorDiv | Binary::Mod => {
                let (q, r) = self.divide(ty, x, y)?;
                if a.natural() && b.natural() {
                    return Ok(r);
                }
                // Toward minus infinity: where there is a remainder whose sign is not the divisor's.
                let zero = self.constant(ty, Scalar::Int(0))?;
                let signs = self.op(Op::BitwiseXor, ty, &[r, y])?;
                let differ = self.op(Op::SLessThan, bools, &[signs, zero])?;
                let rest = self.op(Op::INotEqual, bools, &[r, zero])?;
                let correct = self.op(Op::LogicalAnd, bools, &[differ, rest])?;
                let (from, by) = if f == Binary::Mod { (r, y) } else { (q, self.constant(ty, Scalar::Int(-1))?) };
                let correction = self.op(Op::Select, ty, &[correct, by, zero])?;
                self.op(Op::IAdd, ty, &[from, correction])
            }
            Binary::Pow => self.unsupported("pow of integers", "write it as a loop of products"),
        }
    }

    /// Quotient toward zero and remainder.
    fn divide(&mut self, ty: Ty, x: Word, y: Word) -> Result<(Word, Word)> {
        let q = self.op(Op::SDiv, ty, &[x, y])?;
        let product = self.op(Op::IMul, ty, &[q, y])?;
        Ok((q, self.op(Op::ISub, ty, &[x, product])?))
    }

    /// By 32 or more gives 0.
    fn shift(&mut self, op: Op, ty: Ty, x: Word, (count, by): (Known, Word)) -> Result<Word> {
        match count.int() {
            Some(0..32) => self.op(op, ty, &[x, by]),
            Some(_) => self.constant(ty, Scalar::Int(0)),
            None => {
                let (zero, most) = (self.constant(ty, Scalar::Int(0))?, self.constant(ty, Scalar::Int(31))?);
                let shifted = self.op(op, ty, &[x, by])?;
                // Seen as unsigned, negative counts are too large as well.
                let wide = self.op(Op::UGreaterThan, ty.with(Elem::Bool), &[by, most])?;
                self.op(Op::Select, ty, &[wide, zero, shifted])
            }
        }
    }
}

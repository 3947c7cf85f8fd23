//! Conversions of values and of bits.

use crate::Result;
use crate::module::Emit;
use crate::types::{Elem, Ty};
use odc_ir::core::Scalar;
use rspirv::spirv::{GlslStd450Op as Gl, Op, Word};

impl Emit<'_> {
    /// The value in the element type `to`.
    pub fn cast(&mut self, x: Word, from: Ty, to: Elem) -> Result<Word> {
        let ty = from.with(to);
        match (from.elem, to) {
            (a, b) if a == b => Ok(x),
            (Elem::Bool, _) => {
                let (one, zero) = (self.constant(ty, Scalar::Int(1))?, self.constant(ty, Scalar::Int(0))?);
                self.op(Op::Select, ty, &[x, one, zero])
            }
            (_, Elem::Bool) => {
                let zero = self.constant(from, Scalar::Int(0))?;
                self.op(if from.elem.is_float() { Op::FUnordNotEqual } else { Op::INotEqual }, ty, &[x, zero])
            }
            (Elem::I32, Elem::F32 | Elem::F16) => self.op(Op::ConvertSToF, ty, &[x]),
            (Elem::U32, Elem::F32 | Elem::F16) => self.op(Op::ConvertUToF, ty, &[x]),
            (Elem::F32 | Elem::F16, Elem::F32 | Elem::F16) => self.op(Op::FConvert, ty, &[x]),
            (Elem::F32, Elem::I32 | Elem::U32) => self.saturate(x, from, to),
            (Elem::F16, Elem::I32 | Elem::U32) => {
                let wide = from.with(Elem::F32);
                let x = self.op(Op::FConvert, wide, &[x])?;
                self.saturate(x, wide, to)
            }
            (Elem::I32 | Elem::U32, Elem::I32 | Elem::U32) => self.op(Op::Bitcast, ty, &[x]),
            (Elem::I8, _) | (_, Elem::I8) => self.unsupported("8-bit arithmetic", "legalise the kernel for GPUs first"),
        }
    }

    /// f32 to an integer: truncated, clamped to its range, NaN to 0. The bare conversion is undefined outside the range.
    fn saturate(&mut self, x: Word, from: Ty, to: Elem) -> Result<Word> {
        let (ty, bools) = (from.with(to), from.with(Elem::Bool));
        // The least value, the greatest that f32 can hold, and the one behind it.
        let (least, most, beyond, top) = match to {
            Elem::I32 => (-2147483648.0, 2147483520.0, 2147483648.0, i64::from(i32::MAX)),
            Elem::U32 | Elem::I8 | Elem::F32 | Elem::F16 | Elem::Bool => (0.0, 4294967040.0, 4294967296.0, i64::from(u32::MAX)),
        };
        let (least, most) = (self.constant(from, Scalar::Float(least))?, self.constant(from, Scalar::Float(most))?);
        let low = self.glsl(Gl::FMax, from, &[x, least])?;
        let inside = self.glsl(Gl::FMin, from, &[low, most])?;
        let integer = self.op(if to == Elem::I32 { Op::ConvertFToS } else { Op::ConvertFToU }, ty, &[inside])?;
        let (beyond, top) = (self.constant(from, Scalar::Float(beyond))?, self.constant(ty, Scalar::Int(top))?);
        let over = self.op(Op::FOrdGreaterThanEqual, bools, &[x, beyond])?;
        let integer = self.op(Op::Select, ty, &[over, top, integer])?;
        let zero = self.constant(ty, Scalar::Int(0))?;
        let nan = self.op(Op::IsNan, bools, &[x])?;
        self.op(Op::Select, ty, &[nan, zero, integer])
    }

    pub fn bitcast(&mut self, x: Word, from: Ty, to: Ty) -> Result<Word> {
        if from == to {
            return Ok(x);
        }
        self.op(Op::Bitcast, to, &[x])
    }

    /// f32 to the bits of the nearest half, in a u32.
    pub fn half_bits(&mut self, x: Word) -> Result<Word> {
        let f32 = Ty::scalar(Elem::F32);
        let zero = self.constant(f32, Scalar::Float(0.0))?;
        let pair = self.op(Op::CompositeConstruct, Ty { lanes: 2, ..f32 }, &[x, zero])?;
        self.glsl(Gl::PackHalf2x16, Ty::scalar(Elem::U32), &[pair])
    }

    /// The half in the low bits of a u32.
    pub fn half_value(&mut self, x: Word) -> Result<Word> {
        let pair = self.glsl(Gl::UnpackHalf2x16, Ty::vector(Elem::F32, 2), &[x])?;
        self.extract(pair, Elem::F32, 0)
    }
}

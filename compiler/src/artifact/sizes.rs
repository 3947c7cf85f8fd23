//! Sizes as slots of the artifact's one shape program, which all of its programs share.

use crate::problem::Problem;
use odc_format::{DType, Instr, Slot, TensorInfo};
use odc_ir::core::Dim;
use odc_ir::program::{Port, Reg, ShapeCode, ShapeInstr};

/// Dims to slots: instruction k of the shape code defines slot k of the artifact's shape program.
pub struct Sizes(pub ShapeCode);

impl Sizes {
    pub fn slot(&mut self, d: &Dim) -> Result<Slot, Problem> {
        let help = "fix or bound the dim with --dim";
        self.0.dim(d).map(slot).map_err(|e| Problem::new("ODC0330", e).help(help))
    }
    /// What the `index`-th size command says.
    pub fn said(&mut self, index: u32, most: &Dim) -> Result<Slot, Problem> {
        self.0.said(index, most).map(slot).map_err(|e| Problem::new("ODC0330", e))
    }
    pub fn least(&mut self, a: Slot, b: Slot) -> Slot {
        slot(self.0.least(Reg(a.0), Reg(b.0)))
    }
    pub fn port(&mut self, p: &Port) -> Result<TensorInfo, Problem> {
        Ok(TensorInfo {
            name: p.name.clone(),
            dtype: dtype(p.ty.dtype),
            shape: p.ty.shape.iter().map(|d| self.slot(d)).collect::<Result<_, _>>()?,
            shape_text: p.ty.shape.iter().map(Dim::to_string).collect(),
        })
    }
}

fn slot(r: Reg) -> Slot {
    Slot(r.0)
}

pub fn instr(i: &ShapeInstr) -> Instr {
    match *i {
        ShapeInstr::Const(c) => Instr::Const(c),
        ShapeInstr::InputDim { input, axis } => Instr::InputDim { input, axis },
        ShapeInstr::Said { index, most } => Instr::Said { index, most: slot(most) },
        ShapeInstr::Add(a, b) => Instr::Add(slot(a), slot(b)),
        ShapeInstr::Sub(a, b) => Instr::Sub(slot(a), slot(b)),
        ShapeInstr::Mul(a, b) => Instr::Mul(slot(a), slot(b)),
        ShapeInstr::FloorDiv(a, b) => Instr::FloorDiv(slot(a), slot(b)),
        ShapeInstr::Min(a, b) => Instr::Min(slot(a), slot(b)),
        ShapeInstr::Max(a, b) => Instr::Max(slot(a), slot(b)),
    }
}

fn dtype(d: odc_ir::core::DType) -> DType {
    use odc_ir::core::DType as D;
    match d {
        D::F32 => DType::F32,
        D::F64 => DType::F64,
        D::F16 => DType::F16,
        D::BF16 => DType::BF16,
        D::I8 => DType::I8,
        D::I16 => DType::I16,
        D::I32 => DType::I32,
        D::I64 => DType::I64,
        D::U8 => DType::U8,
        D::U16 => DType::U16,
        D::U32 => DType::U32,
        D::U64 => DType::U64,
        D::Bool => DType::Bool,
        D::F8E4M3FN => DType::F8E4M3FN,
        D::F8E4M3FNUZ => DType::F8E4M3FNUZ,
        D::F8E5M2 => DType::F8E5M2,
        D::F8E5M2FNUZ => DType::F8E5M2FNUZ,
        D::F8E8M0 => DType::F8E8M0,
        D::F6E2M3 => DType::F6E2M3,
        D::F6E3M2 => DType::F6E3M2,
        D::F4E2M1 => DType::F4E2M1,
        D::I4 => DType::I4,
        D::U4 => DType::U4,
        D::I2 => DType::I2,
        D::U2 => DType::U2,
        D::Str => DType::Str,
    }
}

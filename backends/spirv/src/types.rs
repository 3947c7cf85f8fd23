//! SPIR-V's types for those of loop IR, and constants: each is declared once, when it is first needed. An `index` is a 32-bit integer.

use crate::Result;
use crate::coop;
use crate::module::Emit;
use odc_backend::GpuFeature;
use odc_ir::core::{DType, Scalar};
use odc_ir::loops::LoopType;
use rspirv::dr::{Instruction, Operand};
use rspirv::spirv::{self, Capability, StorageClass, Word};

/// Element types that kernels compute with; I8 only in matrices.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Elem {
    F32,
    F16,
    I32,
    U32,
    I8,
    Bool,
}

impl Elem {
    pub fn of(d: DType) -> Option<Elem> {
        match d {
            DType::F32 => Some(Elem::F32),
            DType::F16 => Some(Elem::F16),
            DType::I32 => Some(Elem::I32),
            DType::U32 => Some(Elem::U32),
            DType::Bool => Some(Elem::Bool),
            DType::F64
            | DType::Str
            | DType::BF16
            | DType::F8E4M3FN
            | DType::F8E4M3FNUZ
            | DType::F8E5M2
            | DType::F8E5M2FNUZ
            | DType::F8E8M0
            | DType::F6E2M3
            | DType::F6E3M2
            | DType::F4E2M1
            | DType::I4
            | DType::U4
            | DType::I2
            | DType::U2
            | DType::I8
            | DType::I16
            | DType::I64
            | DType::U8
            | DType::U16
            | DType::U64 => None,
        }
    }
    pub fn is_float(self) -> bool {
        matches!(self, Elem::F32 | Elem::F16)
    }
    /// Bytes in memory, where bool has no place.
    pub fn size(self) -> u32 {
        match self {
            Elem::I8 => 1,
            Elem::F16 => 2,
            Elem::F32 | Elem::I32 | Elem::U32 | Elem::Bool => 4,
        }
    }
    pub fn dtype(self) -> DType {
        match self {
            Elem::F32 => DType::F32,
            Elem::F16 => DType::F16,
            Elem::I32 => DType::I32,
            Elem::U32 => DType::U32,
            Elem::I8 => DType::I8,
            Elem::Bool => DType::Bool,
        }
    }
}

/// A scalar, a vector, or a matrix of the subgroup.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Ty {
    pub elem: Elem,
    pub lanes: u32,
    pub matrix: Option<Matrix>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Matrix {
    /// `CooperativeMatrixUse`
    pub role: u32,
    pub rows: u32,
    pub columns: u32,
}

impl Ty {
    pub const INDEX: Ty = Ty::scalar(Elem::I32);
    pub const BOOL: Ty = Ty::scalar(Elem::Bool);
    pub const fn scalar(elem: Elem) -> Ty {
        Ty::vector(elem, 1)
    }
    pub const fn vector(elem: Elem, lanes: u32) -> Ty {
        Ty { elem, lanes, matrix: None }
    }
    pub const fn with(self, elem: Elem) -> Ty {
        Ty { elem, ..self }
    }
}

impl Emit<'_> {
    /// What a value of that type is here.
    pub fn held(&self, t: LoopType) -> Result<Ty> {
        let ty = match t {
            LoopType::Index => Some(Ty::INDEX),
            LoopType::Scalar(d) => Elem::of(d).map(Ty::scalar),
            LoopType::Vector(d, lanes @ (2 | 4)) => Elem::of(d).map(|elem| Ty::vector(elem, lanes)),
            LoopType::Coop(c) => coop::held(c),
            LoopType::Vector(..) | LoopType::Ptr(..) => None,
        };
        match ty {
            Some(ty) => Ok(ty),
            None => self.unsupported(format!("a value of type {t}"), "legalise the kernel for GPUs first"),
        }
    }

    /// The id of a type.
    pub fn type_id(&mut self, ty: Ty) -> Result<Word> {
        if let Some(id) = self.types.get(&ty) {
            return Ok(*id);
        }
        let id = if let Some(m) = ty.matrix {
            self.matrix_type(ty.elem, m)?
        } else if ty.lanes > 1 {
            let elem = self.type_id(Ty::scalar(ty.elem))?;
            self.b.type_vector(elem, ty.lanes)
        } else {
            match ty.elem {
                Elem::F32 => self.b.type_float(32, None),
                Elem::F16 => {
                    self.require(GpuFeature::F16, "16-bit floats")?;
                    self.capability(Capability::Float16);
                    self.b.type_float(16, None)
                }
                Elem::I32 => self.b.type_int(32, 1),
                Elem::U32 => self.b.type_int(32, 0),
                Elem::I8 => {
                    self.capability(Capability::Int8);
                    self.b.type_int(8, 1)
                }
                Elem::Bool => self.b.type_bool(),
            }
        };
        self.types.insert(ty, id);
        Ok(id)
    }

    pub fn pointer_type(&mut self, class: StorageClass, pointee: Word) -> Word {
        self.b.type_pointer(None, class, pointee)
    }

    /// The same literal in every lane.
    pub fn constant(&mut self, ty: Ty, value: Scalar) -> Result<Word> {
        let bits = match (ty.elem, value.wrap(ty.elem.dtype())) {
            (Elem::F16, v) => u32::from(half::f16::from_f64(v.as_f64()).to_bits()),
            (Elem::F32, v) => (v.as_f64() as f32).to_bits(),
            (Elem::I32 | Elem::U32 | Elem::I8, v) => v.as_i64() as u32,
            (Elem::Bool, v) => u32::from(v.as_bool()),
        };
        self.bits(ty, bits)
    }

    fn bits(&mut self, ty: Ty, bits: u32) -> Result<Word> {
        if let Some(id) = self.constants.get(&(ty, bits)) {
            return Ok(*id);
        }
        let type_id = self.type_id(ty)?;
        let (op, operands) = if ty.matrix.is_some() {
            let one = self.bits(Ty::scalar(ty.elem), bits)?;
            (spirv::Op::ConstantComposite, vec![Operand::IdRef(one)])
        } else if ty.lanes > 1 {
            let one = self.bits(Ty::scalar(ty.elem), bits)?;
            (spirv::Op::ConstantComposite, vec![Operand::IdRef(one); ty.lanes as usize])
        } else {
            match ty.elem {
                Elem::Bool if bits != 0 => (spirv::Op::ConstantTrue, vec![]),
                Elem::Bool => (spirv::Op::ConstantFalse, vec![]),
                Elem::F32 | Elem::F16 | Elem::I32 | Elem::U32 | Elem::I8 => (spirv::Op::Constant, vec![Operand::LiteralBit32(bits)]),
            }
        };
        let id = self.b.id();
        self.b.module_mut().types_global_values.push(Instruction::new(op, Some(type_id), Some(id), operands));
        self.constants.insert((ty, bits), id);
        Ok(id)
    }

    pub fn int(&mut self, x: i32) -> Result<Word> {
        self.constant(Ty::INDEX, Scalar::Int(x.into()))
    }
    pub fn uint(&mut self, x: u32) -> Result<Word> {
        self.constant(Ty::scalar(Elem::U32), Scalar::Int(x.into()))
    }
}

//! Packed products of bytes (SPV_KHR_integer_dot_product) and matrices of the subgroup (SPV_KHR_cooperative_matrix).

use crate::Result;
use crate::module::Emit;
use crate::types::{Elem, Matrix, Ty};
use odc_backend::GpuFeature;
use odc_ir::core::{DType, Value};
use odc_ir::loops::{Coop, Role};
use rspirv::dr::Operand;
use rspirv::spirv::{
    Capability, CooperativeMatrixLayout, CooperativeMatrixOperands, CooperativeMatrixUse, Op, PackedVectorFormat, Scope, Word,
};

/// What a matrix is here.
pub(crate) fn held(c: Coop) -> Option<Ty> {
    let elem = match c.dtype {
        DType::I8 => Elem::I8,
        d => Elem::of(d)?,
    };
    let role = match c.role {
        Role::A => CooperativeMatrixUse::MatrixAKHR,
        Role::B => CooperativeMatrixUse::MatrixBKHR,
        Role::Acc => CooperativeMatrixUse::MatrixAccumulatorKHR,
    };
    let matrix = Matrix { role: role as u32, rows: c.rows, columns: c.columns };
    Some(Ty { matrix: Some(matrix), ..Ty::scalar(elem) })
}

impl Emit<'_> {
    pub fn matrix_type(&mut self, elem: Elem, m: Matrix) -> Result<Word> {
        self.require(GpuFeature::Coop, "a matrix of the subgroup")?;
        self.capability(Capability::CooperativeMatrixKHR);
        let elem = self.type_id(Ty::scalar(elem))?;
        let [scope, rows, columns, role] = [Scope::Subgroup as u32, m.rows, m.columns, m.role].map(|x| self.uint(x));
        Ok(self.b.type_cooperative_matrix_khr(elem, scope?, rows?, columns?, role?))
    }

    /// Neighbours in memory are neighbours along the depth of a factor, along the row of an accumulator.
    fn layout(&mut self, ty: Ty) -> Result<Word> {
        let down = ty.matrix.is_some_and(|m| m.role == CooperativeMatrixUse::MatrixBKHR as u32);
        let layout = if down { CooperativeMatrixLayout::ColumnMajorKHR } else { CooperativeMatrixLayout::RowMajorKHR };
        self.uint(layout as u32)
    }

    pub fn coop_load(&mut self, [p, at, stride]: [Value; 3], ty: Ty) -> Result<Word> {
        let m = self.place(p)?;
        let (at, stride, layout) = (self.value(at)?, self.value(stride)?, self.layout(ty)?);
        let pointer = self.element_pointer(m, at)?;
        let t = self.type_id(ty)?;
        let operands = [pointer, layout, stride].map(Operand::IdRef).into_iter().chain(self.seen()).collect();
        self.instruction(Op::CooperativeMatrixLoadKHR, t, operands)
    }

    pub fn coop_store(&mut self, [p, at, stride, value]: [Value; 4]) -> Result<()> {
        let m = self.place(p)?;
        let ty = self.ty(value)?;
        let (at, stride, layout, x) = (self.value(at)?, self.value(stride)?, self.layout(ty)?, self.value(value)?);
        let pointer = self.element_pointer(m, at)?;
        let operands = [pointer, x, layout, stride].map(Operand::IdRef).into_iter().chain(self.seen()).collect();
        self.effect(Op::CooperativeMatrixStoreKHR, operands)
    }

    pub fn coop_mma(&mut self, [a, b, acc]: [Value; 3]) -> Result<Word> {
        use CooperativeMatrixOperands as Signed;
        let (from, ty) = (self.ty(a)?, self.ty(acc)?);
        let has = self.target.limits.coop;
        let shape = ty.matrix.zip(from.matrix).map(|(c, a)| [c.rows, c.columns, a.columns]);
        if shape != Some(if from.elem == Elem::F16 { has.f16 } else { has.i8 }) {
            return self.unsupported(format!("a product of matrices of {shape:?}"), "give the device's shapes as `coop` in a limits file");
        }
        self.shapes.extend(has.needs(from.elem == Elem::F16));
        let t = self.type_id(ty)?;
        let mut operands = [self.value(a)?, self.value(b)?, self.value(acc)?].map(Operand::IdRef).to_vec();
        if from.elem == Elem::I8 {
            let factors = Signed::MATRIX_A_SIGNED_COMPONENTS_KHR | Signed::MATRIX_B_SIGNED_COMPONENTS_KHR;
            let sums = Signed::MATRIX_C_SIGNED_COMPONENTS_KHR | Signed::MATRIX_RESULT_SIGNED_COMPONENTS_KHR;
            operands.push(Operand::CooperativeMatrixOperands(factors | sums));
        }
        self.instruction(Op::CooperativeMatrixMulAddKHR, t, operands)
    }

    pub fn dot4(&mut self, signed: bool, [a, b, acc]: [Value; 3]) -> Result<Word> {
        self.require(GpuFeature::Dot, "a product of packed bytes")?;
        self.capability(Capability::DotProduct);
        self.capability(Capability::DotProductInput4x8BitPacked);
        let (int, uint) = (Ty::scalar(Elem::I32), Ty::scalar(Elem::U32));
        let t = self.type_id(if signed { int } else { uint })?;
        let format = Operand::PackedVectorFormat(PackedVectorFormat::PackedVectorFormat4x8Bit);
        let operands = vec![Operand::IdRef(self.value(a)?), Operand::IdRef(self.value(b)?), format];
        let mut sum = self.instruction(if signed { Op::SDot } else { Op::UDot }, t, operands)?;
        if !signed {
            sum = self.op(Op::Bitcast, int, &[sum])?;
        }
        let acc = self.value(acc)?;
        self.op(Op::IAdd, int, &[sum, acc])
    }
}

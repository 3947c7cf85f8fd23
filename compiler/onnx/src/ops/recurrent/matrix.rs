//! The weights of a recurrent layer as a matrix that rows are multiplied with: numbers, or codes of 8 bits as in ONNX Runtime's
//! DynamicQuantizeLSTM. What is multiplied with codes becomes codes itself, all of it in one range, and the sums are exact.

use super::of_direction;
use crate::import::call::{Call, Got, operand};
use crate::import::value::{Missing, Val};
use crate::ops::integer::{self, Right};
use crate::ops::quant::{along, dynamic};
use crate::tensor::Tensor;
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{BinaryFn, Op};

pub enum Matrix {
    /// `[gates * hidden, size]`
    Rows(Val),
    /// `[size, gates * hidden]` less the zero point, and one scale for all, or one a column.
    Codes { codes: Right, width: Dim, scale: Val },
}

impl Matrix {
    /// Direction `k` of the weights that are input `at`.
    pub fn floats(c: &mut Call, k: usize, at: usize) -> Got<Matrix> {
        let w = c.input(at)?;
        of_direction(c, &w, k, 0, 3).map(Matrix::Rows)
    }

    /// Direction `k` of the codes that are input `at`, their scale and zero point inputs `scale` and the next one.
    pub fn codes(c: &mut Call, k: usize, at: usize, scale: usize) -> Got<Matrix> {
        let codes = c.input(at)?;
        if codes.dtype().bits() != 8 || !codes.dtype().is_int() {
            return Err(operand(format!("its weights are {}, must be i8 or u8", codes.ty)));
        }
        let codes = slab(c, &codes, k)?;
        let (scale, zero) = (c.input(scale)?, c.input(scale + 1)?);
        let rank = scale.rank();
        let scale = of_direction(c, &scale, k, 0, rank)?;
        let rank = zero.rank();
        let zero = of_direction(c, &zero, k, 0, rank)?;
        let width = codes.shape().get(1).cloned().unwrap_or(Dim::ONE);
        // Prepared here, not in every step.
        let like = Val::broken(TensorType::scalar(DType::U8));
        let codes = integer::right(c, (&like, Some(&like)), &codes, Some(&zero))?;
        Ok(Matrix::Codes { codes, width, scale })
    }

    /// Is what it is multiplied with rounded? Then sums are added in ONNX Runtime's order: a flipped code is worth more than the
    /// addition that is saved.
    pub fn rounds(&self) -> bool {
        matches!(self, Matrix::Codes { .. })
    }

    /// Results of a product.
    pub fn width(&self) -> Dim {
        match self {
            Matrix::Rows(v) => v.shape().first().cloned().unwrap_or(Dim::ONE),
            Matrix::Codes { width, .. } => width.clone(),
        }
    }

    /// The results from `start` on.
    pub fn rows(&self, c: &mut Call, start: Dim, length: Dim) -> Got<Matrix> {
        match self {
            Matrix::Rows(v) => c.part(v, 0, start, length).map(Matrix::Rows),
            Matrix::Codes { .. } => Err(operand("only an LSTM has codes as weights")),
        }
    }

    /// Each row of `x`, whose rows are along its last axis, times the matrix.
    pub fn product(&self, c: &mut Call, x: &Val) -> Got<Val> {
        match self {
            Matrix::Rows(w) => {
                let mut shape = x.shape().to_vec();
                if let Some(d) = shape.last_mut() {
                    *d = self.width();
                }
                let equation = if x.rank() == 3 { "tbi,gi->tbg" } else { "bi,gi->bg" };
                c.emit(Op::Einsum { equation: equation.into() }, &[x, w], x.dtype(), shape)
            }
            Matrix::Codes { codes, scale, .. } => {
                let [x, of_x, point] = dynamic(c, x)?;
                let sum = integer::times(c, &x, Some(&point), codes)?;
                let sum = c.cast(&sum, DType::F32)?;
                let scale = along(c, scale, sum.rank(), sum.rank().saturating_sub(1))?;
                let scale = c.binary(BinaryFn::Mul, &of_x, &scale)?;
                c.binary(BinaryFn::Mul, &sum, &scale)
            }
        }
    }
}

/// Matrix `k` of codes `[directions, size, gates * hidden]`; a constant stays one, so that what it adds up to stays known.
fn slab(c: &mut Call, v: &Val, k: usize) -> Got<Val> {
    let (Missing::Const(t), [_, rows, columns]) = (v.missing(), v.shape()) else { return of_direction(c, v, k, 0, 3) };
    let size = |d: &Dim| d.as_const().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let (shape, bytes) = (vec![rows.clone(), columns.clone()], size(rows).saturating_mul(size(columns)));
    let start = k.saturating_mul(bytes);
    let data = t.data.get(start..start.saturating_add(bytes)).ok_or_else(|| operand("its weights are too small"))?;
    let dims = vec![size(rows) as u64, size(columns) as u64];
    let t = Tensor { data_type: t.data_type, dims, data: data.to_vec().into(), strings: vec![] };
    Ok(Val::constant(TensorType::new(v.dtype(), shape), t))
}

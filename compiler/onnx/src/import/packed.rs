//! Data of less than a byte an element, several of them in one: it stays packed in the model, and graph operations take it apart, so
//! that the weights of a model are no larger than they came.

use super::build::Build;
use super::value::{Elem, Val};
use crate::diag::{Code, Fault};
use crate::tensor::Tensor;
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{BinaryFn, Op};

/// Constants of fewer elements are written out.
const SMALL: i64 = 1 << 12;

/// u8`[…, n]`, in each byte `8 / bits` elements, the first one lowest: u8`[…, n * 8 / bits]`.
pub fn unpack(b: &mut Build, packed: &Val, bits: u32) -> Result<Val, Fault> {
    let y = shifted(b, packed, bits)?;
    let mask = Val::scalar(DType::U8, f64::from((1u32 << bits) - 1));
    let shape = y.shape().to_vec();
    b.emit(Op::Binary { f: BinaryFn::BitAnd }, &[&y, &mask], DType::U8, shape)
}

/// As [`unpack`], with other elements' bits above each.
fn shifted(b: &mut Build, packed: &Val, bits: u32) -> Result<Val, Fault> {
    let per = i64::from(8 / bits.clamp(1, 8));
    let mut shape = packed.shape().to_vec();
    let n = shape.pop().unwrap_or(Dim::ONE);
    let column: Vec<Dim> = shape.iter().cloned().chain([n.clone(), Dim::ONE]).collect();
    let apart: Vec<Dim> = shape.iter().cloned().chain([n.clone(), Dim::from(per)]).collect();
    let column = b.emit(Op::Reshape {}, &[packed], DType::U8, column)?;
    let by = (0..per).map(|k| Elem::int(k * i64::from(bits))).collect();
    let by = Val::known(TensorType::of(DType::U8, &[per]), by);
    let y = b.emit(Op::Binary { f: BinaryFn::Shr }, &[&column, &by], DType::U8, apart)?;
    shape.push(n * per);
    b.emit(Op::Reshape {}, &[&y], DType::U8, shape)
}

/// The value of a packed constant, if it is large enough to stay packed.
pub fn constant(b: &mut Build, t: &Tensor, ty: &TensorType) -> Result<Option<Val>, Fault> {
    let Some(bits) = t.packed_bits().filter(|b| 8 % b == 0) else { return Ok(None) };
    let Some(count) = ty.elements().as_const().filter(|n| *n >= SMALL) else { return Ok(None) };
    let bytes = i64::try_from(t.data.len()).map_err(|_| Fault::new(Code::Limit, "it is too large"))?;
    let bytes_type = TensorType::of(DType::U8, &[bytes]);
    let dims = vec![t.data.len() as u64];
    let packed =
        Val::constant(bytes_type, Tensor { data_type: crate::proto::DataType::Uint8, dims, data: t.data.clone(), strings: vec![] });
    let float = ty.dtype.is_float();
    let mut y = if float { unpack(b, &packed, bits)? } else { shifted(b, &packed, bits)? };
    if !y.shape().iter().all(|d| d.is(count)) {
        let op = Op::Slice { starts: vec![Dim::ZERO], steps: vec![1] };
        y = b.emit(op, &[&y], DType::U8, vec![Dim::from(count)])?;
    }
    if float {
        y = b.emit(Op::Cast {}, &[&y], DType::U4, y.shape().to_vec())?;
    }
    // To integers of less than a byte the low bits are what is cast.
    let op = if float { Op::Bitcast {} } else { Op::Cast {} };
    let shape = y.shape().to_vec();
    let y = b.emit(op, &[&y], ty.dtype, shape)?;
    b.emit(Op::Reshape {}, &[&y], ty.dtype, ty.shape.clone()).map(Some)
}

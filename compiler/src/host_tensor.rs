//! Tensors in files and in comparisons: element type, shape and bytes that are aligned for every element type.

use half::{bf16, f16};
use odc_format::DType;
use odc_ir::core::{DType as ir, Scalar};
use odc_runtime::{RunError, Strings, TensorView};

/// The widest element.
const ALIGN: usize = 8;

#[derive(Debug)]
pub struct HostTensor {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Of a tensor of strings: what its elements, which are numbers then, stand for. Empty once they are a device's numbers.
    pub strings: Vec<String>,
    /// The content begins at `start`, where the address is aligned.
    buffer: Vec<u8>,
    start: usize,
}

impl HostTensor {
    /// `None` if there are not exactly as many bytes as the shape needs.
    pub fn new(dtype: DType, shape: Vec<usize>, bytes: &[u8]) -> Option<HostTensor> {
        if byte_count(dtype, &shape)? != bytes.len() {
            return None;
        }
        Some(HostTensor::aligned(dtype, shape, bytes))
    }
    /// Strings in row-major order; `None` if there are not as many as the shape needs.
    pub fn of_strings(shape: Vec<usize>, strings: Vec<String>) -> Option<HostTensor> {
        let numbers = 0..i32::try_from(strings.len()).ok()?;
        let bytes: Vec<u8> = numbers.flat_map(i32::to_le_bytes).collect();
        Some(HostTensor { strings, ..HostTensor::new(DType::Str, shape, &bytes)? })
    }
    /// A tensor of strings with the numbers that they have for a device; others as they are.
    pub fn numbered(self, strings: &mut Strings) -> Result<HostTensor, RunError> {
        if self.dtype != DType::Str || self.strings.is_empty() {
            return Ok(self);
        }
        let bytes: Vec<u8> = strings.numbers(&self.strings)?.into_iter().flat_map(i32::to_le_bytes).collect();
        Ok(HostTensor::aligned(DType::Str, self.shape, &bytes))
    }
    fn aligned(dtype: DType, shape: Vec<usize>, bytes: &[u8]) -> HostTensor {
        let mut buffer: Vec<u8> = Vec::with_capacity(bytes.len().saturating_add(ALIGN));
        let start = buffer.as_ptr().align_offset(ALIGN).min(ALIGN);
        buffer.resize(start, 0);
        buffer.extend_from_slice(bytes);
        HostTensor { dtype, shape, strings: vec![], buffer, start }
    }
    pub fn from_view(v: &TensorView<'_>) -> Option<HostTensor> {
        HostTensor::new(v.dtype, v.shape.to_vec(), v.data)
    }
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
    pub fn view(&self) -> TensorView<'_> {
        TensorView::new(self.dtype, &self.shape, self.bytes())
    }
    pub fn elements(&self) -> impl Iterator<Item = Number> + '_ {
        elements(self.dtype, self.bytes())
    }
    /// `f32[2, 3]`
    pub fn type_text(&self) -> String {
        type_text(self.dtype, &self.shape)
    }
}

/// A copy's memory is aligned anew.
impl Clone for HostTensor {
    fn clone(&self) -> HostTensor {
        HostTensor { strings: self.strings.clone(), ..HostTensor::aligned(self.dtype, self.shape.clone(), self.bytes()) }
    }
}

/// By bytes, so that a NaN is itself.
impl PartialEq for HostTensor {
    fn eq(&self, o: &HostTensor) -> bool {
        self.dtype == o.dtype && self.shape == o.shape && self.strings == o.strings && self.bytes() == o.bytes()
    }
}

pub fn type_text(dtype: DType, shape: &[usize]) -> String {
    format!("{dtype}{shape:?}")
}

pub fn byte_count(dtype: DType, shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d))
}

/// One element; integers exactly.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    Float(f64),
    Int(i128),
    Bool(bool),
}

impl Number {
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Float(x) => x,
            Number::Int(x) => x as f64,
            Number::Bool(b) => f64::from(u8::from(b)),
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Float(x) if *x != 0.0 && x.is_finite() && !(1e-4..1e7).contains(&x.abs()) => write!(f, "{x:.4e}"),
            Number::Float(x) => write!(f, "{x:.6}"),
            Number::Int(x) => write!(f, "{x}"),
            Number::Bool(b) => write!(f, "{b}"),
        }
    }
}

/// The elements of little-endian bytes.
pub fn elements(dtype: DType, bytes: &[u8]) -> impl Iterator<Item = Number> + '_ {
    macro_rules! le {
        ($t:ty, $b:ident) => {
            <$t>::from_le_bytes($b.try_into().unwrap_or_default())
        };
    }
    bytes.chunks_exact(dtype.size()).map(move |b| match dtype {
        DType::F32 => Number::Float(f64::from(le!(f32, b))),
        DType::F64 => Number::Float(le!(f64, b)),
        DType::F16 => Number::Float(f16::from_bits(le!(u16, b)).to_f64()),
        DType::BF16 => Number::Float(bf16::from_bits(le!(u16, b)).to_f64()),
        DType::I8 => Number::Int(i128::from(le!(i8, b))),
        DType::I16 => Number::Int(i128::from(le!(i16, b))),
        DType::I32 | DType::Str => Number::Int(i128::from(le!(i32, b))),
        DType::I64 => Number::Int(i128::from(le!(i64, b))),
        DType::U8 => Number::Int(i128::from(le!(u8, b))),
        DType::U16 => Number::Int(i128::from(le!(u16, b))),
        DType::U32 => Number::Int(i128::from(le!(u32, b))),
        DType::U64 => Number::Int(i128::from(le!(u64, b))),
        DType::Bool => Number::Bool(b.first() != Some(&0)),
        _ => stored(dtype, b),
    })
}

/// An element of a type that only the IR knows how to read.
fn stored(dtype: DType, bytes: &[u8]) -> Number {
    match ir::from_name(dtype.name()).and_then(|d| Scalar::read(d, bytes)) {
        Some(Scalar::Float(x)) => Number::Float(x),
        Some(Scalar::Int(x)) => Number::Int(x.into()),
        Some(Scalar::Bool(_)) | None => Number::Float(f64::NAN),
    }
}

pub fn is_float(dtype: DType) -> bool {
    ir::from_name(dtype.name()).is_some_and(ir::is_float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_must_fit_the_shape_and_are_aligned() {
        assert!(HostTensor::new(DType::F32, vec![2, 3], &[0; 23]).is_none());
        assert!(HostTensor::new(DType::I64, vec![usize::MAX, 2], &[]).is_none());
        for n in 0..64 {
            let t = HostTensor::new(DType::I64, vec![n], &vec![7; n * 8]).unwrap();
            assert!(n == 0 || t.bytes().as_ptr().addr().is_multiple_of(8));
            assert_eq!(t.bytes().len(), n * 8);
        }
    }

    #[test]
    fn numbers_of_every_type() {
        let one = |dtype, bytes: &[u8]| elements(dtype, bytes).next().unwrap();
        assert_eq!(one(DType::F16, &0x3c00u16.to_le_bytes()), Number::Float(1.0));
        assert_eq!(one(DType::BF16, &0x3f80u16.to_le_bytes()), Number::Float(1.0));
        assert_eq!(one(DType::U64, &u64::MAX.to_le_bytes()), Number::Int(u64::MAX.into()));
        assert_eq!(one(DType::I8, &[255]), Number::Int(-1));
        assert_eq!(one(DType::Bool, &[1]), Number::Bool(true));
        assert_eq!(one(DType::F8E5M2, &[0x44]), Number::Float(4.0));
        assert_eq!(one(DType::I4, &[0xf8]), Number::Int(-8));
    }
}

//! A `TensorProto` as element type, sizes and little-endian bytes in row-major order, whichever of ONNX's five ways of
//! storing it was used. Raw and external data stay slices of their mapped file, elements of less than a byte packed as they are there.

use crate::diag::{Code, Fault};
use crate::external::{External, Location};
use crate::proto::{DataLocation, DataType, TensorProto};
use bytes::Bytes;

/// Decoded constant data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub data_type: DataType,
    pub dims: Vec<u64>,
    /// Elements of 2 and 4 bits one after the other, the first in the lowest bits of each byte.
    pub data: Bytes,
    /// The elements of a tensor of strings, which has no data.
    pub strings: Vec<String>,
}

impl Tensor {
    pub fn decode(t: &TensorProto, external: &External) -> Result<Tensor, Fault> {
        let data_type = DataType::from_number(t.data_type())
            .ok_or_else(|| Fault::new(Code::UnsupportedType, format!("element type number {} is unknown", t.data_type())))?;
        let dims = sizes(&t.dims)?;
        let count = element_count(&dims)?;
        if data_type == DataType::String {
            return strings(t, dims, count);
        }
        let size = byte_size(data_type, count)?;
        if t.segment.is_some() {
            return Err(Fault::new(Code::UnsupportedType, "tensors stored in segments are not supported"));
        }
        let data = if t.data_location() == DataLocation::External {
            external.read(&Location::parse(&t.external_data)?, size)?
        } else {
            let typed = [t.float_data.len(), t.double_data.len(), t.int32_data.len(), t.int64_data.len(), t.uint64_data.len()];
            match &t.raw_data {
                Some(raw) if !raw.is_empty() && typed.iter().any(|n| *n > 0) => {
                    return Err(Fault::new(Code::TensorData, "has both raw and typed data"));
                }
                Some(raw) if !raw.is_empty() || size == 0 => raw.clone(),
                _ => typed_data(t, data_type, count)?,
            }
        };
        if data.len() as u64 != size {
            let text = format!("holds {} bytes of data, but {}{dims:?} needs {size}", data.len(), data_type.as_str_name());
            return Err(Fault::new(Code::TensorData, text));
        }
        Ok(Tensor { data_type, dims, data: clean_bool(data_type, data), strings: vec![] })
    }

    /// Bits of an element, if several share a byte.
    pub fn packed_bits(&self) -> Option<u32> {
        self.data_type.bits().filter(|b| *b < 8).map(|b| b as u32)
    }

    /// The data with whole bytes for every element: integers of less than a byte extended, codes of floats in the low bits.
    pub fn elements(&self) -> Bytes {
        let Some(bits) = self.packed_bits() else { return self.data.clone() };
        let count = self.dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let signed = matches!(self.data_type, DataType::Int2 | DataType::Int4);
        let element = |k: usize| {
            // As many bits as an element has, wherever they begin: those of 6 bits span two bytes.
            let at = k * bits as usize;
            let byte = |k: usize| u32::from(self.data.get(k).copied().unwrap_or(0));
            let x = ((byte(at / 8) | byte(at / 8 + 1) << 8) >> (at % 8)) & ((1 << bits) - 1);
            if signed && x >> (bits - 1) != 0 { (x | !0 << bits) as u8 } else { x as u8 }
        };
        // Never more elements than the data has room for.
        (0..count.min(self.data.len() * 8 / bits as usize)).map(element).collect::<Vec<u8>>().into()
    }
}

fn strings(t: &TensorProto, dims: Vec<u64>, count: u64) -> Result<Tensor, Fault> {
    let bad = |why: String| Err(Fault::new(Code::TensorData, why));
    if t.data_location() == DataLocation::External || t.raw_data.as_ref().is_some_and(|raw| !raw.is_empty()) {
        return bad("strings are stored as raw or external data, where ONNX allows none".into());
    }
    if t.string_data.len() as u64 != count {
        return bad(format!("holds {} strings, but STRING{dims:?} needs {count}", t.string_data.len()));
    }
    match t.string_data.iter().map(|b| std::str::from_utf8(b).map(String::from)).collect() {
        Ok(strings) => Ok(Tensor { data_type: DataType::String, dims, data: Bytes::new(), strings }),
        Err(_) => bad("holds a string that is no UTF-8 text".into()),
    }
}

fn sizes(dims: &[i64]) -> Result<Vec<u64>, Fault> {
    let size = |d: &i64| u64::try_from(*d).map_err(|_| Fault::new(Code::TensorData, format!("has the negative size {d}")));
    dims.iter().map(size).collect()
}

fn element_count(dims: &[u64]) -> Result<u64, Fault> {
    // A zero anywhere makes the tensor empty, but the other sizes must not overflow either.
    let nonzero = dims.iter().filter(|d| **d != 0).try_fold(1u64, |n, d| n.checked_mul(*d));
    match nonzero.filter(|n| *n <= i64::MAX as u64) {
        Some(n) => Ok(if dims.contains(&0) { 0 } else { n }),
        None => Err(Fault::new(Code::TensorData, format!("has so many elements that counting them overflows: {dims:?}"))),
    }
}

fn byte_size(data_type: DataType, count: u64) -> Result<u64, Fault> {
    // A type of the IR, which complex numbers are not.
    if matches!(data_type, DataType::Complex64 | DataType::Complex128) {
        return Err(unsupported(data_type));
    }
    let bits = data_type.bits().ok_or_else(|| unsupported(data_type))?;
    count.checked_mul(bits).map(|b| b.div_ceil(8)).ok_or_else(|| Fault::new(Code::TensorData, "its size in bytes overflows"))
}

pub fn unsupported(data_type: DataType) -> Fault {
    Fault::new(Code::UnsupportedType, format!("element type {} is not supported yet", data_type.as_str_name()))
}

/// The typed fields: which one holds a type, and how wide it is there, is ONNX's table.
fn typed_data(t: &TensorProto, data_type: DataType, count: u64) -> Result<Bytes, Fault> {
    use DataType::*;
    let name = data_type.as_str_name();
    let check = |field: &str, have: usize| {
        if have as u64 == count {
            return Ok(());
        }
        Err(Fault::new(Code::TensorData, format!("{field} holds {have} elements, but {name}{:?} has {count}", t.dims)))
    };
    let range = |v: &dyn std::fmt::Display| Fault::new(Code::TensorData, format!("the value {v} does not fit {name}"));
    macro_rules! pack {
        ($field:ident, $($via:tt)*) => {{
            check(stringify!($field), t.$field.len())?;
            let mut out = Vec::with_capacity(t.$field.len().saturating_mul(8));
            for v in &t.$field {
                out.extend_from_slice(&pack!(@one v, $($via)*).to_le_bytes());
            }
            Bytes::from(out)
        }};
        (@one $v:ident, as is) => { *$v };
        (@one $v:ident, $t:ty) => { <$t>::try_from(*$v).map_err(|_| range($v))? };
    }
    Ok(match data_type {
        Float => pack!(float_data, as is),
        Double => pack!(double_data, as is),
        Int64 => pack!(int64_data, as is),
        Int32 => pack!(int32_data, as is),
        Uint64 => pack!(uint64_data, as is),
        Uint32 => pack!(uint64_data, u32),
        Int8 => pack!(int32_data, i8),
        Int16 => pack!(int32_data, i16),
        Uint8 | Bool => pack!(int32_data, u8),
        // The bits of a 16-bit float stand in the low half.
        Uint16 | Float16 | Bfloat16 => pack!(int32_data, u16),
        Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz | Float8e8m0 => pack!(int32_data, u8),
        // An element each.
        Float6e2m3 | Float6e3m2 => {
            check("int32_data", t.int32_data.len())?;
            let mut out = vec![0u8; usize::try_from(byte_size(data_type, count)?).unwrap_or(0)];
            for (at, v) in (0..).step_by(6).zip(&t.int32_data) {
                let code = u16::try_from(*v).ok().filter(|c| *c < 64).ok_or_else(|| range(v))? << (at % 8);
                for (k, part) in (at / 8..).zip(code.to_le_bytes()) {
                    if let Some(b) = out.get_mut(k) {
                        *b |= part;
                    }
                }
            }
            out.into()
        }
        // Whole packed bytes.
        Uint2 | Int2 | Uint4 | Int4 | Float4e2m1 => {
            let byte = |v: &i32| u8::try_from(*v & 0xff).map_err(|_| range(v));
            t.int32_data.iter().map(byte).collect::<Result<Vec<u8>, Fault>>()?.into()
        }
        _ => return Err(unsupported(data_type)),
    })
}

/// Kernels may rely on a bool being 0 or 1.
fn clean_bool(data_type: DataType, data: Bytes) -> Bytes {
    if data_type == DataType::Bool && data.iter().any(|b| *b > 1) {
        return data.iter().map(|b| u8::from(*b != 0)).collect::<Vec<_>>().into();
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(t: TensorProto) -> Result<Tensor, Fault> {
        Tensor::decode(&t, &External::none())
    }
    fn proto(ty: DataType, dims: &[i64]) -> TensorProto {
        TensorProto { data_type: Some(ty as i32), dims: dims.to_vec(), ..Default::default() }
    }

    #[test]
    fn raw_data_is_not_copied() {
        let raw = Bytes::from(vec![1u8; 24]);
        let t = decode(TensorProto { raw_data: Some(raw.clone()), ..proto(DataType::Float, &[2, 3]) }).unwrap();
        assert_eq!(t.data.as_ptr(), raw.as_ptr());
        assert_eq!(t.dims, [2, 3]);
    }

    #[test]
    fn typed_fields() {
        let t = decode(TensorProto { int32_data: vec![0x3c00, 0x8000], ..proto(DataType::Float16, &[2]) }).unwrap();
        assert_eq!(&t.data[..], [0, 0x3c, 0, 0x80]);
        let t = decode(TensorProto { int32_data: vec![-1, 127], ..proto(DataType::Int8, &[2]) }).unwrap();
        assert_eq!(&t.data[..], [255, 127]);
        let t = decode(TensorProto { int32_data: vec![0, 7], ..proto(DataType::Bool, &[2]) }).unwrap();
        assert_eq!(&t.data[..], [0, 1]);
        let t = decode(TensorProto { uint64_data: vec![u32::MAX as u64], ..proto(DataType::Uint32, &[]) }).unwrap();
        assert_eq!(&t.data[..], [255; 4]);
        let t = decode(TensorProto { float_data: vec![1.5], ..proto(DataType::Float, &[1]) }).unwrap();
        assert_eq!(&t.data[..], 1.5f32.to_le_bytes());
        assert!(decode(TensorProto { int32_data: vec![128], ..proto(DataType::Int8, &[1]) }).is_err());
        assert!(decode(TensorProto { float_data: vec![1.0, 2.0], ..proto(DataType::Float, &[3]) }).is_err());
    }

    #[test]
    fn sizes_must_agree_and_not_overflow() {
        let raw = |dims: &[i64], n: usize| TensorProto { raw_data: Some(vec![0; n].into()), ..proto(DataType::Float, dims) };
        assert_eq!(decode(raw(&[2, 2], 15)).unwrap_err().code, Code::TensorData);
        assert_eq!(decode(raw(&[-1], 4)).unwrap_err().code, Code::TensorData);
        for dims in [&[i64::MAX, 2][..], &[1 << 32, 1 << 32], &[0, i64::MAX, i64::MAX], &[i64::MAX]] {
            assert_eq!(decode(raw(dims, 4)).unwrap_err().code, Code::TensorData, "{dims:?}");
        }
        assert_eq!(decode(raw(&[0, 5], 0)).unwrap().data.len(), 0);
    }

    #[test]
    fn packed_elements() {
        let t = |ty, dims: &[i64], bytes: &[u8]| {
            let t = TensorProto { raw_data: Some(bytes.to_vec().into()), ..proto(ty, dims) };
            decode(t).unwrap().elements().to_vec()
        };
        assert_eq!(t(DataType::Int4, &[3], &[0x8f, 0x07]), [0xff, 0xf8, 7]);
        assert_eq!(t(DataType::Uint4, &[1, 3], &[0x8f, 0x07]), [15, 8, 7]);
        assert_eq!(t(DataType::Int2, &[5], &[0b11_10_01_00, 0b01]), [0, 1, 0xfe, 0xff, 1]);
        assert_eq!(t(DataType::Float6e2m3, &[4], &[0b1000_0001, 0b0011_0000, 0b1111_1111]), [1, 2, 0b110011, 0b111111]);
        let int32 = TensorProto { int32_data: vec![0x21, 0x03], ..proto(DataType::Float4e2m1, &[3]) };
        assert_eq!(decode(int32).unwrap().elements().to_vec(), [1, 2, 3]);
        let short = TensorProto { raw_data: Some(vec![0].into()), ..proto(DataType::Int4, &[3]) };
        assert_eq!(decode(short).unwrap_err().code, Code::TensorData);
    }

    #[test]
    fn strings() {
        let s = |dims: &[i64], list: &[&'static [u8]]| {
            let string_data = list.iter().map(|b| Bytes::from_static(b)).collect();
            decode(TensorProto { string_data, ..proto(DataType::String, dims) })
        };
        assert_eq!(s(&[2], &[b"a", "ü".as_bytes()]).unwrap().strings, ["a", "ü"]);
        assert_eq!(s(&[2], &[b"a"]).unwrap_err().code, Code::TensorData);
        assert_eq!(s(&[1], &[b"\xff"]).unwrap_err().code, Code::TensorData);
    }

    #[test]
    fn types_that_are_not_there_yet() {
        for ty in [DataType::Complex128, DataType::Complex64] {
            assert_eq!(decode(proto(ty, &[1])).unwrap_err().code, Code::UnsupportedType);
        }
        let t = TensorProto { data_type: Some(999), ..Default::default() };
        assert_eq!(decode(t).unwrap_err().code, Code::UnsupportedType);
    }
}

//! NumPy's `.npy` files, versions 1 to 3: read with any byte order and layout, written little-endian and row-major.
//! bf16 stands as the two raw bytes (`V2`) that the `ml_dtypes` package writes.

use crate::host_tensor::HostTensor;
use odc_format::DType;

const MAGIC: &[u8] = b"\x93NUMPY";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NpyError {
    #[error("it is no .npy file: it does not start with \\x93NUMPY")]
    NotNpy,
    #[error("it is cut short: {need} bytes are needed, {have} are there")]
    Short { need: usize, have: usize },
    #[error("its header says {what}, which is not supported")]
    Unsupported { what: String },
    #[error("its header does not say {what}")]
    Header { what: &'static str },
}

pub fn read(bytes: &[u8]) -> Result<HostTensor, NpyError> {
    if !bytes.starts_with(MAGIC) {
        return Err(NpyError::NotNpy);
    }
    let short = |need: usize| NpyError::Short { need, have: bytes.len() };
    let at = |k: usize| bytes.get(k).copied().map(usize::from).ok_or_else(|| short(k + 1));
    let (start, len) = match at(6)? {
        1 => (10, at(8)? | at(9)? << 8),
        2 | 3 => (12, at(8)? | at(9)? << 8 | at(10)? << 16 | at(11)? << 24),
        v => return Err(NpyError::Unsupported { what: format!("version {v}") }),
    };
    let data_at = start + len;
    let header = bytes.get(start..data_at).ok_or_else(|| short(data_at))?;
    let header = String::from_utf8_lossy(header);
    let descr = value(&header, "descr").and_then(quoted).ok_or(NpyError::Header { what: "'descr'" })?;
    let unsupported = |what: String| NpyError::Unsupported { what };
    let (dtype, size, big_endian) = element(descr).ok_or_else(|| unsupported(format!("element type '{descr}'")))?;
    let order = value(&header, "fortran_order").ok_or(NpyError::Header { what: "'fortran_order'" })?;
    let shape = value(&header, "shape").and_then(tuple).ok_or(NpyError::Header { what: "'shape' as a tuple of sizes" })?;
    let need = shape.iter().try_fold(size, |n, d| n.checked_mul(*d)).ok_or_else(|| unsupported(format!("the shape {shape:?}")))?;
    let data = bytes.get(data_at..).unwrap_or_default();
    let data = data.get(..need).ok_or_else(|| short(data_at.saturating_add(need)))?;
    let mut data = data.to_vec();
    if big_endian {
        let unit = if dtype == DType::Str { 4 } else { size };
        data.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
    }
    if order.starts_with("True") {
        data = row_major(&data, size, &shape);
    }
    if dtype == DType::Str {
        let texts =
            data.chunks_exact(size).map(text).collect::<Option<_>>().ok_or_else(|| unsupported("text that is not Unicode".into()))?;
        return HostTensor::of_strings(shape, texts).ok_or_else(|| unsupported("strings of no length".into()));
    }
    HostTensor::new(dtype, shape, &data).ok_or_else(|| short(need))
}

/// A string of fixed width: code points of 32 bits, filled with zeros.
fn text(bytes: &[u8]) -> Option<String> {
    let points = bytes.chunks_exact(4).map(|b| b.try_into().map_or(0, u32::from_le_bytes)).collect::<Vec<_>>();
    let end = points.iter().rposition(|p| *p != 0).map_or(0, |k| k + 1);
    points.iter().take(end).map(|p| char::from_u32(*p)).collect()
}

/// The text behind `'key':`.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let at = quoted.iter().find_map(|k| Some(header.find(k.as_str())? + k.len()))?;
    Some(header.get(at..)?.trim_start().strip_prefix(':')?.trim_start())
}

fn quoted(text: &str) -> Option<&str> {
    let mark = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let rest = text.get(1..)?;
    rest.get(..rest.find(mark)?)
}

fn tuple(text: &str) -> Option<Vec<usize>> {
    let inner = text.strip_prefix('(')?;
    let inner = inner.get(..inner.find(')')?)?;
    inner.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| s.trim_end_matches('L').parse().ok()).collect()
}

/// Element type, bytes of an element, and whether they are big-endian.
fn element(descr: &str) -> Option<(DType, usize, bool)> {
    let order = descr.chars().next()?;
    let code = descr.strip_prefix(['<', '>', '|', '=']).unwrap_or(descr);
    if let Some(width) = code.strip_prefix('U') {
        let size = width.parse::<usize>().ok().filter(|n| *n > 0)?.checked_mul(4)?;
        return Some((DType::Str, size, order == '>'));
    }
    let dtype = match code {
        "f4" => DType::F32,
        "f8" => DType::F64,
        "f2" => DType::F16,
        "V2" | "bfloat16" => DType::BF16,
        "i1" => DType::I8,
        "i2" => DType::I16,
        "i4" => DType::I32,
        "i8" => DType::I64,
        "u1" => DType::U8,
        "u2" => DType::U16,
        "u4" => DType::U32,
        "u8" => DType::U64,
        "b1" | "?" => DType::Bool,
        _ => return None,
    };
    Some((dtype, dtype.size(), order == '>'))
}

/// Column-major elements in row-major order.
fn row_major(data: &[u8], size: usize, shape: &[usize]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0usize; shape.len()];
    for _ in 0..data.len() / size {
        let offset = index.iter().zip(shape).rev().fold(0, |offset, (i, n)| offset * n + i);
        out.extend_from_slice(data.get(offset * size..(offset + 1) * size).unwrap_or_default());
        for (i, n) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
    }
    out
}

/// A version 1 file; its data begins at a multiple of 64 bytes.
pub fn write(dtype: DType, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let descr = match dtype {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::F16 => "<f2",
        DType::BF16 => "<V2",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U8 => "|u1",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        DType::Bool => "|b1",
        // As ml_dtypes has them: numpy knows only their size.
        DType::F8E4M3FN
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
        | DType::U2 => "|V1",
        DType::Str => "<i4",
    };
    file(descr, shape, data)
}

/// Strings as numpy's of fixed width, which lose zeros at their ends.
pub fn write_strings(shape: &[usize], texts: &[&str]) -> Vec<u8> {
    let width = texts.iter().map(|t| t.chars().count()).max().unwrap_or(0).max(1);
    let padded = |t: &str| t.chars().map(u32::from).chain(std::iter::repeat(0)).take(width).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    let data: Vec<u8> = texts.iter().flat_map(|t| padded(t)).collect();
    file(&format!("<U{width}"), shape, &data)
}

fn file(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}", sizes.join(", "));
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    // Ranks are limited, so a header never reaches 65536 bytes.
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend_from_slice(data);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_tensor::byte_count;

    fn with_header(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend([version, 0]);
        match version {
            1 => out.extend((header.len() as u16).to_le_bytes()),
            _ => out.extend((header.len() as u32).to_le_bytes()),
        }
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn every_type_and_rank_comes_back() {
        // Of those behind bool numpy knows only the size.
        for dtype in DType::ALL.into_iter().filter(|d| *d <= DType::Bool) {
            for shape in [&[][..], &[3], &[2, 3], &[0, 4]] {
                let n = byte_count(dtype, shape).unwrap();
                let data: Vec<u8> = (0..n).map(|k| (k % 2) as u8).collect();
                let file = write(dtype, shape, &data);
                assert_eq!((file.len() - data.len()) % 64, 0);
                let t = read(&file).unwrap();
                assert_eq!((t.dtype, t.shape.as_slice(), t.bytes()), (dtype, shape, &data[..]));
            }
        }
    }

    #[test]
    fn strings() {
        let texts = ["a", "", "日本", "b\0c"];
        let t = read(&write_strings(&[2, 2], &texts)).unwrap();
        assert_eq!((t.type_text().as_str(), t.strings), ("str[2, 2]", texts.map(String::from).to_vec()));
        let big = read(&with_header(1, "{'descr': '>U2', 'fortran_order': False, 'shape': (1,), }\n", &[0, 0, 0, 65, 0, 0, 0, 0]));
        assert_eq!(big.unwrap().strings, ["A"]);
        assert!(read(&with_header(1, "{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }\n", &[0, 0, 0x11, 0])).is_err());
    }

    #[test]
    fn other_versions_orders_and_layouts() {
        let t =
            read(&with_header(2, "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n", &[0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6]));
        let t = t.unwrap();
        assert_eq!((t.dtype, t.shape.as_slice()), (DType::I16, &[2, 3][..]));
        assert_eq!(t.bytes(), [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]);
    }

    #[test]
    fn damaged_files_are_errors() {
        let good = write(DType::F32, &[2, 2], &[0; 16]);
        for n in 0..good.len() {
            assert!(read(&good[..n]).is_err(), "{n}");
        }
        for header in [
            "",
            "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
        ] {
            assert!(read(&with_header(1, header, &[0; 64])).is_err(), "{header}");
        }
    }
}

//! `TensorProto` files (`input_0.pb`), and the folders of them that ONNX's conformance data uses.

use crate::host_tensor::HostTensor;
use crate::npy;
use crate::problem::Problem;
use odc_format::DType;
use odc_onnx::Tensor;
use odc_onnx::external::External;
use odc_onnx::proto::{DataType, TensorProto};
use prost::Message;
use std::path::{Path, PathBuf};

/// The boundary's name of an ONNX element type, where there is one.
pub fn dtype_of(t: DataType) -> Option<DType> {
    Some(match t {
        DataType::Float => DType::F32,
        DataType::Double => DType::F64,
        DataType::Float16 => DType::F16,
        DataType::Bfloat16 => DType::BF16,
        DataType::Int8 => DType::I8,
        DataType::Int16 => DType::I16,
        DataType::Int32 => DType::I32,
        DataType::Int64 => DType::I64,
        DataType::Uint8 => DType::U8,
        DataType::Uint16 => DType::U16,
        DataType::Uint32 => DType::U32,
        DataType::Uint64 => DType::U64,
        DataType::Bool => DType::Bool,
        DataType::Float8e4m3fn => DType::F8E4M3FN,
        DataType::Float8e4m3fnuz => DType::F8E4M3FNUZ,
        DataType::Float8e5m2 => DType::F8E5M2,
        DataType::Float8e5m2fnuz => DType::F8E5M2FNUZ,
        DataType::Float8e8m0 => DType::F8E8M0,
        DataType::Float6e2m3 => DType::F6E2M3,
        DataType::Float6e3m2 => DType::F6E3M2,
        DataType::Float4e2m1 => DType::F4E2M1,
        DataType::Int4 => DType::I4,
        DataType::Uint4 => DType::U4,
        DataType::Int2 => DType::I2,
        DataType::Uint2 => DType::U2,
        DataType::String => DType::Str,
        _ => return None,
    })
}

/// ONNX's name of a boundary's element type.
pub fn onnx_type(t: DType) -> DataType {
    match t {
        DType::F32 => DataType::Float,
        DType::F64 => DataType::Double,
        DType::F16 => DataType::Float16,
        DType::BF16 => DataType::Bfloat16,
        DType::I8 => DataType::Int8,
        DType::I16 => DataType::Int16,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::U8 => DataType::Uint8,
        DType::U16 => DataType::Uint16,
        DType::U32 => DataType::Uint32,
        DType::U64 => DataType::Uint64,
        DType::Bool => DataType::Bool,
        DType::F8E4M3FN => DataType::Float8e4m3fn,
        DType::F8E4M3FNUZ => DataType::Float8e4m3fnuz,
        DType::F8E5M2 => DataType::Float8e5m2,
        DType::F8E5M2FNUZ => DataType::Float8e5m2fnuz,
        DType::F8E8M0 => DataType::Float8e8m0,
        DType::F6E2M3 => DataType::Float6e2m3,
        DType::F6E3M2 => DataType::Float6e3m2,
        DType::F4E2M1 => DataType::Float4e2m1,
        DType::I4 => DataType::Int4,
        DType::U4 => DataType::Uint4,
        DType::I2 => DataType::Int2,
        DType::U2 => DataType::Uint2,
        DType::Str => DataType::String,
    }
}

/// A tensor and the name that the file gives it, if any.
pub fn decode(bytes: &[u8]) -> Result<(Option<String>, HostTensor), String> {
    let proto = TensorProto::decode(bytes).map_err(|e| format!("it is no TensorProto: {e}"))?;
    let t = Tensor::decode(&proto, &External::none()).map_err(|f| f.to_string())?;
    Ok((proto.name.clone().filter(|n| !n.is_empty()), host_tensor(&t)?))
}

/// A constant of a model as the boundary has it.
pub fn host_tensor(t: &Tensor) -> Result<HostTensor, String> {
    let dtype = dtype_of(t.data_type).ok_or_else(|| odc_onnx::tensor::unsupported(t.data_type).to_string())?;
    let shape = t.dims.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    let tensor =
        if dtype == DType::Str { HostTensor::of_strings(shape, t.strings.clone()) } else { HostTensor::new(dtype, shape, &t.elements()) };
    tensor.ok_or_else(|| "its data does not fit its shape".into())
}

/// As [`read_tensor`], with ONNX's element type.
pub fn read_onnx(path: &Path) -> Result<(Option<String>, Tensor), Problem> {
    if path.extension().is_some_and(|s| s == "pb") {
        let bytes = std::fs::read(path).map_err(|e| Problem::unreadable(path, e))?;
        let proto = TensorProto::decode(&bytes[..]).map_err(|e| Problem::bad_file(path, format!("it is no TensorProto: {e}")))?;
        let t = Tensor::decode(&proto, &External::none()).map_err(|f| Problem::bad_file(path, f))?;
        return Ok((proto.name.filter(|n| !n.is_empty()), t));
    }
    let (name, t) = read_tensor(path)?;
    let dims = t.shape.iter().map(|d| *d as u64).collect();
    let data = if t.dtype == DType::Str { Default::default() } else { t.bytes().to_vec().into() };
    Ok((name, Tensor { data_type: onnx_type(t.dtype), dims, data, strings: t.strings }))
}

/// Reads a tensor from a `.npy` or `.pb` file, with the name that the file gives it.
pub fn read_tensor(path: &Path) -> Result<(Option<String>, HostTensor), Problem> {
    let suffix = path.extension().and_then(|s| s.to_str()).unwrap_or_default();
    if !matches!(suffix, "npy" | "pb") {
        return Err(Problem::bad_file(path, "tensors are read from .npy and .pb files").help("save it with numpy.save(\"x.npy\", array)"));
    }
    let bytes = std::fs::read(path).map_err(|e| Problem::unreadable(path, e))?;
    match suffix {
        "npy" => npy::read(&bytes).map(|t| (None, t)).map_err(|e| Problem::bad_file(path, e)),
        _ => decode(&bytes).map_err(|e| Problem::bad_file(path, e)),
    }
}

/// One `test_data_set_K`: inputs and expected outputs in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    pub folder: PathBuf,
    /// K, where the folder's name has one.
    pub number: Option<usize>,
    pub inputs: Vec<PathBuf>,
    pub outputs: Vec<PathBuf>,
}

/// The data sets that a folder is or holds.
pub fn data_sets(folder: &Path) -> Result<Vec<DataSet>, Problem> {
    if let Some(set) = data_set(folder)? {
        return Ok(vec![set]);
    }
    let mut numbered = vec![];
    for entry in std::fs::read_dir(folder).map_err(|e| Problem::unreadable(folder, e))? {
        let path = entry.map_err(|e| Problem::unreadable(folder, e))?.path();
        if let Some(set) = number_of(&path, "test_data_set_").and_then(|_| data_set(&path).transpose()) {
            numbered.push(set?);
        }
    }
    numbered.sort_by_key(|s| s.number);
    if numbered.is_empty() {
        let why = "it holds neither input_0.pb nor folders test_data_set_0, test_data_set_1, …";
        return Err(Problem::bad_file(folder, why).help("--data takes a folder in the layout of ONNX's conformance data"));
    }
    Ok(numbered)
}

fn data_set(folder: &Path) -> Result<Option<DataSet>, Problem> {
    let entries = std::fs::read_dir(folder).map_err(|e| Problem::unreadable(folder, e))?;
    let mut files = [vec![], vec![]];
    for entry in entries {
        let path = entry.map_err(|e| Problem::unreadable(folder, e))?.path();
        for (list, prefix) in files.iter_mut().zip(["input_", "output_"]) {
            if let Some(k) = number_of(&path, prefix).filter(|_| path.extension().is_some_and(|e| e == "pb")) {
                list.push((k, path.clone()));
            }
        }
    }
    let [inputs, outputs] = files.map(|mut list| {
        list.sort();
        list.into_iter().map(|(_, path)| path).collect::<Vec<_>>()
    });
    let number = number_of(folder, "test_data_set_");
    let some = !inputs.is_empty() || !outputs.is_empty();
    Ok(some.then(|| DataSet { folder: folder.to_owned(), number, inputs, outputs }))
}

/// The number in `PREFIX_12` or `PREFIX_12.suffix`.
fn number_of(path: &Path, prefix: &str) -> Option<usize> {
    let name = path.file_name()?.to_str()?.strip_prefix(prefix)?;
    let digits = name.split('.').next()?;
    digits.parse().ok()
}

/// Inputs by name: those whose files have no name take the model's names in order.
pub fn named(paths: &[PathBuf], names: &[String]) -> Result<Vec<(String, HostTensor)>, Problem> {
    let read = |(k, path): (usize, &PathBuf)| {
        let (name, tensor) = read_tensor(path)?;
        let name = name.or_else(|| names.get(k).cloned());
        let name = name.ok_or_else(|| Problem::bad_file(path, format!("the model has no input or output number {k}")))?;
        Ok((name, tensor))
    };
    paths.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carried_data_sets_are_found_and_read() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/magika_v3_3");
        let sets = data_sets(&model).unwrap();
        assert_eq!(sets.iter().map(|s| s.number).collect::<Vec<_>>(), [Some(0), Some(1)]);
        assert_eq!(data_sets(&sets[1].folder).unwrap(), sets[1..2]);
        let (name, t) = read_tensor(&sets[1].inputs[0]).unwrap();
        assert_eq!((name.as_deref(), t.type_text().as_str()), (Some("bytes"), "i32[2, 2048]"));
        assert!(data_sets(&model.join("..")).unwrap_err().message.contains("neither"));
    }

    #[test]
    fn bad_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let pb = dir.path().join("x.pb");
        std::fs::write(&pb, [0xff; 40]).unwrap();
        assert!(read_tensor(&pb).unwrap_err().message.contains("x.pb"));
        assert!(read_tensor(&dir.path().join("none.npy")).unwrap_err().message.contains("none.npy"));
        assert!(read_tensor(Path::new("x.txt")).unwrap_err().message.contains(".npy and .pb"));
    }
}

//! Sequences and optionals outside of a model: their files in data sets (`SequenceProto`, `OptionalProto`), and the option that says
//! how long they are. A list `x` of n tensors is n inputs or outputs, `x.0` and so on.

use crate::host_tensor::HostTensor;
use crate::pb;
use crate::problem::Problem;
use odc_onnx::external::External;
use odc_onnx::proto::type_proto::Value as Kind;
use odc_onnx::proto::{TensorProto, ValueInfoProto};
use odc_onnx::{Items, Tensor, item_name};
use prost::Message;
use std::path::Path;

#[derive(Clone, PartialEq, Message)]
struct SequenceProto {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, repeated, tag = "3")]
    tensors: Vec<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionalProto {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, optional, tag = "3")]
    tensor: Option<TensorProto>,
    #[prost(message, optional, tag = "5")]
    sequence: Option<SequenceProto>,
}

/// What a file of a data set holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    Tensor,
    Sequence,
    /// Of a tensor or of a sequence.
    Optional,
}

pub fn kind_of(v: &ValueInfoProto) -> FileKind {
    match v.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(Kind::SequenceType(_)) => FileKind::Sequence,
        Some(Kind::OptionalType(_)) => FileKind::Optional,
        _ => FileKind::Tensor,
    }
}

/// A value of a model: a tensor, or a list of them.
pub enum Value {
    Tensor(HostTensor),
    List(Vec<HostTensor>),
}

/// Reads a file, with the name that it gives its value.
pub fn read(path: &Path, kind: FileKind) -> Result<(Option<String>, Value), Problem> {
    let bad = |why: String| Problem::bad_file(path, why);
    if kind == FileKind::Tensor {
        return pb::read_tensor(path).map(|(name, t)| (name, Value::Tensor(t)));
    }
    let bytes = std::fs::read(path).map_err(|e| Problem::unreadable(path, e))?;
    let (name, tensors) = match kind {
        FileKind::Sequence => {
            let s = SequenceProto::decode(&bytes[..]).map_err(|e| bad(format!("it is no SequenceProto: {e}")))?;
            (s.name, s.tensors)
        }
        FileKind::Tensor | FileKind::Optional => {
            let o = OptionalProto::decode(&bytes[..]).map_err(|e| bad(format!("it is no OptionalProto: {e}")))?;
            (o.name, o.sequence.map_or_else(|| o.tensor.into_iter().collect(), |s| s.tensors))
        }
    };
    let one = |t: &TensorProto| {
        let t = Tensor::decode(t, &External::none()).map_err(|f| bad(f.to_string()))?;
        pb::host_tensor(&t).map_err(bad)
    };
    let tensors = tensors.iter().map(one).collect::<Result<_, _>>()?;
    Ok((name.filter(|n| !n.is_empty()), Value::List(tensors)))
}

/// The tensors of a value by the names that they have as inputs or outputs.
pub fn flat(name: String, value: Value) -> Vec<(String, HostTensor)> {
    match value {
        Value::Tensor(t) => vec![(name, t)],
        Value::List(list) => list.into_iter().enumerate().map(|(k, t)| (item_name(&name, k), t)).collect(),
    }
}

/// One `--list` option: `x=3`, or with the shape of each element `x=2x3,4x3`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListArg {
    pub name: String,
    pub items: Items,
}

impl std::str::FromStr for ListArg {
    type Err = String;
    fn from_str(s: &str) -> Result<ListArg, String> {
        let form = "a list looks like `x=3` (three elements) or `x=2x3,4x3` (two, with their shapes)";
        let (name, text) = s.rsplit_once('=').filter(|(n, _)| !n.is_empty()).ok_or(form)?;
        if let Ok(n) = text.parse() {
            return Ok(ListArg { name: name.into(), items: Items::Count(n) });
        }
        let shape = |t: &str| t.split('x').map(|d| d.trim().parse::<u64>().ok()).collect::<Option<Vec<_>>>();
        let shapes = text.split(',').map(shape).collect::<Option<Vec<_>>>().ok_or(form)?;
        Ok(ListArg { name: name.into(), items: Items::Shapes(shapes) })
    }
}

//! What the importer knows, as data: the tables of operators and the element types, for the page of what is supported.

use crate::import::call::dtype;
use crate::ops;
use crate::proto::DataType;

/// One operator as the importer takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    pub domain: &'static str,
    pub op: &'static str,
    /// First and last opset; `None` for "up to the newest".
    pub opsets: (i64, Option<i64>),
    /// Least and most inputs; `None` for "any number".
    pub inputs: (usize, Option<usize>),
}

/// In order of domain and name.
pub fn operators() -> Vec<Support> {
    let row = |(domain, r): (&'static str, &ops::Row)| Support {
        domain,
        op: r.op,
        opsets: (r.since, (r.until != i64::MAX).then_some(r.until)),
        inputs: (r.inputs.0, (r.inputs.1 != usize::MAX).then_some(r.inputs.1)),
    };
    ops::all().map(row).collect()
}

/// ONNX's element types, and which of the IR's each becomes.
pub fn element_types() -> Vec<(&'static str, Option<&'static str>)> {
    let all = (1..64).filter_map(DataType::from_number);
    all.map(|t| (t.as_str_name(), dtype(t).ok().map(|d| d.name()))).collect()
}

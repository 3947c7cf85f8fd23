//! What the parts of a model must say consistently, before anything is made of it, and what it declares of values that were made.

use super::tensor_type;
use super::value::Val;
use crate::diag::{Code, Diagnostic, Fault};
use crate::load::canonical_domain;
use crate::proto::{DimValue, ModelProto, ValueInfoProto};
use odc_ir::core::{Dim, Ranges};
use std::collections::{BTreeMap, BTreeSet};

/// The newest version of the file format that is known.
const IR_VERSION: i64 = 14;

pub fn check(model: &ModelProto, out: &mut Vec<Diagnostic>) {
    if let Some(v) = model.ir_version.filter(|v| !(1..=IR_VERSION).contains(v)) {
        out.push(Fault::new(Code::Opset, format!("the file has IR version {v}; known are 1 to {IR_VERSION}")).of_model());
    }
    let mut opsets = BTreeMap::new();
    for o in &model.opset_import {
        if opsets.insert(canonical_domain(o.domain()), o.version()).is_some_and(|v| v != o.version()) {
            let domain = if canonical_domain(o.domain()).is_empty() { "ai.onnx" } else { o.domain() };
            out.push(Fault::new(Code::Opset, format!("two versions of `{}` are asked for", domain.escape_debug())).of_model());
        }
    }
    let mut functions = BTreeSet::new();
    for f in &model.functions {
        if !functions.insert((canonical_domain(f.domain()), f.name(), f.overload())) {
            out.push(Fault::new(Code::BadFunction, format!("two functions are named `{}`", f.name().escape_debug())).of_model());
        }
    }
}

/// The element type that a model declares of a value must be the one that it has. Sizes are checked where the model's interface is
/// at stake: exporters leave stale ones inside.
pub fn as_declared(v: &Val, declared: &ValueInfoProto, output: Option<&Ranges>) -> Result<(), Fault> {
    // A list has no type of its own, and a failed node's was taken from here.
    let (None, Ok((dtype, shape))) = (v.list(), tensor_type(declared)) else { return Ok(()) };
    let name = declared.name().escape_debug();
    if dtype != v.dtype() {
        return Err(Fault::new(Code::BadSignature, format!("`{name}` is declared {dtype}, but is {}", v.ty)));
    }
    let Some(ranges) = output else { return Ok(()) };
    // For sure: a size that inputs or data decide may be what is declared.
    let differs = |(declared, dim): (&crate::proto::Dimension, &Dim)| match declared.value {
        Some(DimValue::DimValue(n)) if n >= 0 => ranges.differ(dim, &Dim::from(n)),
        _ => false,
    };
    if shape.dim.len() != v.rank() || shape.dim.iter().zip(v.shape()).any(differs) {
        let dims: Vec<_> = shape.dim.iter().map(super::fix::declared).collect();
        return Err(Fault::new(Code::BadSignature, format!("`{name}` is declared {dtype}[{}], but is {}", dims.join(", "), v.ty)));
    }
    Ok(())
}

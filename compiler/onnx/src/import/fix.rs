//! Inputs whose values are given when compiling. They become constants, so that axes, sizes, pads or trip counts which the model
//! takes as inputs are known, and they are no inputs of the artifact.

use super::call::dtype_number;
use super::tensor_type;
use crate::diag::{Code, Diagnostic, Fault};
use crate::proto::{DataType, DimValue, ValueInfoProto};
use crate::tensor::Tensor;
use odc_ir::core::{Const, DType, Scalar, TensorType};
use std::collections::BTreeMap;

/// The value of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Fixed {
    /// Of the input's type already.
    Tensor(Tensor),
    /// Numbers as people write them, in row-major order.
    Numbers { dims: Vec<u64>, numbers: Vec<Scalar> },
    /// Strings, in row-major order.
    Strings { dims: Vec<u64>, strings: Vec<String> },
}

/// The inputs that have values.
pub fn values<'m>(
    inputs: &'m [ValueInfoProto],
    fix: &BTreeMap<String, Fixed>,
    out: &mut Vec<Diagnostic>,
) -> BTreeMap<&'m str, (TensorType, Tensor)> {
    let mut values = BTreeMap::new();
    for (name, value) in fix {
        let shown = name.escape_debug();
        let Some(i) = inputs.iter().find(|i| i.name() == name) else {
            let all: Vec<_> = inputs.iter().map(|i| i.name().escape_debug().to_string()).collect();
            let f = Fault::new(Code::BadFix, format!("the model has no input `{shown}`"));
            out.push(f.help(format!("its inputs are: {}", all.join(", "))).of_model());
            continue;
        };
        match constant(i, value) {
            Ok(v) => drop(values.insert(i.name(), v)),
            Err(f) => out.push(Fault { message: format!("the value of input `{shown}`: {}", f.message), ..f }.of_model()),
        }
    }
    values
}

fn constant(input: &ValueInfoProto, value: &Fixed) -> Result<(TensorType, Tensor), Fault> {
    let bad = |why: String| Fault::new(Code::BadFix, why);
    let (dtype, shape) = tensor_type(input)?;
    let dims = match value {
        Fixed::Tensor(t) => &t.dims,
        Fixed::Numbers { dims, .. } | Fixed::Strings { dims, .. } => dims,
    };
    // Data sets often hold scalars as lists of one.
    let dims = if shape.dim.is_empty() && dims.iter().all(|d| *d == 1) { &vec![] } else { dims };
    let sizes = dims.iter().map(|d| i64::try_from(*d)).collect::<Result<Vec<_>, _>>().map_err(|_| bad("it is too large".into()))?;
    let fits = |(d, size): (&crate::proto::Dimension, &i64)| match d.value {
        Some(DimValue::DimValue(v)) if v >= 0 => v == *size,
        _ => true,
    };
    if shape.dim.len() != sizes.len() || !shape.dim.iter().zip(&sizes).all(fits) {
        let want: Vec<_> = shape.dim.iter().map(declared).collect();
        return Err(bad(format!("its shape is {sizes:?}, but the model says [{}]", want.join(", "))));
    }
    let tensor = match value {
        Fixed::Tensor(t) => Tensor { dims: dims.clone(), ..t.clone() },
        Fixed::Strings { strings, .. } => {
            if strings.len() as u64 != dims.iter().product::<u64>() {
                return Err(bad(format!("it has {} strings, which do not fill {dims:?}", strings.len())));
            }
            Tensor { data_type: DataType::String, dims: dims.clone(), data: Default::default(), strings: strings.clone() }
        }
        Fixed::Numbers { .. } if dtype == DType::Str => return Err(bad("it is numbers, but the model says strings".into())),
        Fixed::Numbers { numbers, .. } => {
            if let Some(x) = numbers.iter().find(|x| !holds(dtype, x)) {
                return Err(bad(format!("{} is no {dtype}", shown(x))));
            }
            let data = Const::from_scalars(dtype, &sizes, numbers.iter().map(|x| typed(*x, dtype))).bytes;
            Tensor { data_type: data_type(input), dims: dims.clone(), data, strings: vec![] }
        }
    };
    if dtype_number(tensor.data_type as i32)? != dtype {
        return Err(bad(format!("it is {}, but the model says {dtype}", tensor.data_type.as_str_name())));
    }
    Ok((TensorType::of(dtype, &sizes), tensor))
}

pub fn declared(d: &crate::proto::Dimension) -> String {
    match &d.value {
        Some(DimValue::DimValue(v)) => v.to_string(),
        Some(DimValue::DimParam(p)) => p.escape_debug().to_string(),
        None => "?".into(),
    }
}

fn data_type(input: &ValueInfoProto) -> DataType {
    let elem = input.r#type.as_ref().and_then(|t| match &t.value {
        Some(crate::proto::type_proto::Value::TensorType(t)) => Some(t.elem_type()),
        _ => None,
    });
    elem.and_then(DataType::from_number).unwrap_or(DataType::Undefined)
}

/// Is the number one of the type, without rounding what was written as a whole number?
fn holds(dtype: DType, x: &Scalar) -> bool {
    match x {
        Scalar::Float(v) => dtype.is_float() || (v.fract() == 0.0 && v.abs() < 9e15 && holds(dtype, &Scalar::Int(*v as i64))),
        Scalar::Int(v) if dtype == DType::Bool => (0..=1).contains(v),
        Scalar::Int(v) => dtype.is_float() || x.wrap(dtype) == Scalar::Int(*v),
        Scalar::Bool(_) => true,
    }
}

fn typed(x: Scalar, dtype: DType) -> Scalar {
    match (dtype, x) {
        (DType::Bool, x) => Scalar::Bool(x.as_f64() != 0.0),
        (d, x) if d.is_float() => Scalar::Float(x.as_f64()),
        (_, Scalar::Int(v)) => Scalar::Int(v),
        (_, x) => Scalar::Int(x.as_f64() as i64),
    }
}

fn shown(x: &Scalar) -> String {
    match x {
        Scalar::Float(v) => v.to_string(),
        Scalar::Int(v) => v.to_string(),
        Scalar::Bool(v) => v.to_string(),
    }
}

//! Look-ups of categories: a value is compared with a list of keys, its position there picks another value.

use super::post::{int_row, row};
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, constant, operand};
use crate::import::value::{Elem, Val};
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};

/// Where `x` is one of `keys`, with a last axis for the keys.
fn matches(c: &mut Call, x: &Val, keys: &Val) -> Got<Val> {
    let mut shape = x.shape().to_vec();
    shape.push(Dim::ONE);
    let x = c.reshape(x, shape)?;
    let same = c.binary(BinaryFn::Eq, &x, keys)?;
    if !keys.dtype().is_float() || !keys.const_floats().is_some_and(|k| k.iter().any(|k| k.is_nan())) {
        return Ok(same);
    }
    // NaN as a key stands for every NaN.
    let (a, b) = (c.unary(UnaryFn::IsNan, &x)?, c.unary(UnaryFn::IsNan, keys)?);
    let both = c.binary(BinaryFn::And, &a, &b)?;
    c.binary(BinaryFn::Or, &same, &both)
}

/// One more than the position of each element among `keys`, of equal keys the last one; 0, where the default stands, if it is none.
fn position(c: &mut Call, x: &Val, keys: &Val) -> Got<Val> {
    let n = keys.ty.elements().as_const().unwrap_or(0);
    let found = matches(c, x, keys)?;
    let shape = found.shape().to_vec();
    let at = c.emit(Op::Select {}, &[&found, &int_row(1..=n), &Val::scalar(DType::I64, 0.0)], DType::I64, shape)?;
    let last = Op::Reduce { f: ReduceFn::Max, axes: vec![x.rank()], keep: false };
    c.emit(last, &[&at], DType::I64, x.shape().to_vec())
}

/// A list that stands in one of several attributes: `keys_strings`, `keys_floats`, `keys_int64s`, `keys_tensor`.
fn list(c: &mut Call, kind: &str) -> Got<Val> {
    if let Some(list) = c.attrs.strs(&format!("{kind}_strings"))?.filter(|l| !l.is_empty()) {
        return Ok(c.build.strings(&[list.len() as i64], &list));
    }
    if let Some(list) = c.attrs.ints(&format!("{kind}_int64s"))?.filter(|l| !l.is_empty()) {
        return Ok(int_row(list.iter().copied()));
    }
    if let Some(list) = c.attrs.floats(&format!("{kind}_floats"))?.filter(|l| !l.is_empty()) {
        return Ok(row(DType::F32, list.iter().map(|v| f64::from(*v))));
    }
    match c.attrs.tensor(&format!("{kind}_tensor"))? {
        Some(t) => constant(c.build, t, c.external),
        None => Err(bad(kind, "are not there: one of _strings, _int64s, _floats and _tensor is needed")),
    }
}

pub fn label_encoder(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let (keys, values) = (list(c, "keys")?, list(c, "values")?);
    let text = c.attrs.str("default_string")?.unwrap_or("_Unused");
    let (float, int) = (c.attrs.float_or("default_float", 0.0)?, c.attrs.int_or("default_int64", -1)?);
    let default = match c.attrs.tensor("default_tensor")? {
        Some(t) => constant(c.build, t, c.external)?,
        None if values.dtype() == DType::Str => c.build.strings(&[], &[text]),
        None if values.dtype().is_float() => Val::scalar(values.dtype(), f64::from(float)),
        None => Val::known(TensorType::scalar(values.dtype()), vec![Elem::int(int)]),
    };
    let default = c.reshape(&default, vec![Dim::ONE])?;
    let default = c.cast(&default, values.dtype())?;
    if (x.dtype() == DType::Str) != (keys.dtype() == DType::Str) {
        return Err(operand(format!("the keys are {}, but the elements are {}", keys.ty, x.ty)));
    }
    let (Some(n), true) = (keys.ty.elements().as_const(), keys.ty.elements() == values.ty.elements()) else {
        return Err(bad("keys", format!("are {}, the values {}: one each is needed", keys.ty, values.ty)));
    };
    let values = c.reshape(&values, vec![Dim::from(n)])?;
    if let Some(texts) = c.build.texts(&keys) {
        return Ok(vec![c.look_up(&x, &texts, &values, &default)?]);
    }
    let keys = c.cast(&keys, x.dtype())?;
    let keys = c.reshape(&keys, vec![Dim::from(n)])?;
    let at = position(c, &x, &keys)?;
    let all = c.emit(Op::Concat { axis: 0 }, &[&default, &values], values.dtype(), vec![Dim::from(n + 1)])?;
    Ok(vec![c.emit(Op::Gather { axis: 0 }, &[&all, &at], values.dtype(), x.shape().to_vec())?])
}

/// 1 at the category of each element. One of no category gives zeros, whether or not `zeros` allows it.
pub fn one_hot_encoder(c: &mut Call) -> Out {
    c.attrs.ignore(&["zeros"]);
    let x = c.input(0)?;
    if let Some(cats) = c.attrs.strs("cats_strings")?.filter(|l| !l.is_empty()) {
        c.attrs.ignore(&["cats_int64s"]);
        let cats = c.build.strings(&[cats.len() as i64], &cats);
        let found = matches(c, &x, &cats)?;
        return Ok(vec![c.cast(&found, DType::F32)?]);
    }
    let cats = c.attrs.ints("cats_int64s")?.unwrap_or(&[]);
    let x = c.cast(&x, DType::I64)?;
    let found = matches(c, &x, &int_row(cats.iter().copied()))?;
    Ok(vec![c.cast(&found, DType::F32)?])
}

/// Between strings and integers, by position in two lists; which way, the operand says.
pub fn category_mapper(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let (texts, numbers) = (c.attrs.strs("cats_strings")?.unwrap_or_default(), c.attrs.ints("cats_int64s")?.unwrap_or(&[]));
    let (text, number) = (c.attrs.str("default_string")?.unwrap_or("_Unused"), c.attrs.int_or("default_int64", -1)?);
    if texts.is_empty() || texts.len() != numbers.len() {
        return Err(bad("cats_strings", format!("has {} strings for {} integers", texts.len(), numbers.len())));
    }
    let numbers = int_row(numbers.iter().copied());
    if x.dtype() == DType::Str {
        let default = Val::known(TensorType::scalar(DType::I64), vec![Elem::int(number)]);
        return Ok(vec![c.look_up(&x, &texts, &numbers, &default)?]);
    }
    let default = c.build.strings(&[1], &[text]);
    let values = c.build.strings(&[texts.len() as i64], &texts);
    let at = position(c, &x, &numbers)?;
    let all = c.concat(&[&default, &values], 0)?;
    Ok(vec![c.emit(Op::Gather { axis: 0 }, &[&all, &at], DType::Str, x.shape().to_vec())?])
}

/// A sequence of maps, one a row, from label to score. It stays the tensor it is made from: column k belongs to label k.
pub fn zip_map(c: &mut Call) -> Out {
    c.attrs.ignore(&["classlabels_strings", "classlabels_int64s"]);
    Ok(vec![c.input(0)?])
}

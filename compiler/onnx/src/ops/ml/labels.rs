//! Look-ups of categories: a value is compared with a list of keys, its position there picks another value.

use super::post::{int_row, row};
use crate::attrs::bad;
use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, Out, constant};
use crate::import::value::{Elem, Val};
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};

fn strings() -> Fault {
    let f = Fault::new(Code::UnsupportedType, "strings are not supported");
    f.help("map strings to numbers before the model, and keep the rest of it")
}

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

/// A list of numbers that stands in one of several attributes: `keys_floats`, `keys_int64s`, `keys_tensor`.
fn numbers(c: &Call, kind: &str) -> Got<Val> {
    if c.attrs.has(&format!("{kind}_strings")) {
        return Err(strings());
    }
    if let Some(list) = c.attrs.ints(&format!("{kind}_int64s"))?.filter(|l| !l.is_empty()) {
        return Ok(int_row(list.iter().copied()));
    }
    if let Some(list) = c.attrs.floats(&format!("{kind}_floats"))?.filter(|l| !l.is_empty()) {
        return Ok(row(DType::F32, list.iter().map(|v| f64::from(*v))));
    }
    match c.attrs.tensor(&format!("{kind}_tensor"))? {
        Some(t) => constant(t, c.external),
        None => Err(bad(kind, "are not there: one of _int64s, _floats and _tensor is needed")),
    }
}

pub fn label_encoder(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let (keys, values) = (numbers(c, "keys")?, numbers(c, "values")?);
    c.attrs.ignore(&["default_string"]);
    let (float, int) = (c.attrs.float_or("default_float", 0.0)?, c.attrs.int_or("default_int64", -1)?);
    let default = match c.attrs.tensor("default_tensor")? {
        Some(t) => constant(t, c.external)?,
        None if values.dtype().is_float() => Val::scalar(values.dtype(), f64::from(float)),
        None => Val::known(TensorType::scalar(values.dtype()), vec![Elem::int(int)]),
    };
    let default = c.reshape(&default, vec![Dim::ONE])?;
    let default = c.cast(&default, values.dtype())?;
    let (Some(n), true) = (keys.ty.elements().as_const(), keys.ty.elements() == values.ty.elements()) else {
        return Err(bad("keys", format!("are {}, the values {}: one each is needed", keys.ty, values.ty)));
    };
    let keys = c.cast(&keys, x.dtype())?;
    let (keys, values) = (c.reshape(&keys, vec![Dim::from(n)])?, c.reshape(&values, vec![Dim::from(n)])?);
    let found = matches(c, &x, &keys)?;
    // Of equal keys the last one counts; no key at all gives position 0, where the default stands.
    let positions = int_row(1..=n);
    let zero = Val::scalar(DType::I64, 0.0);
    let shape = found.shape().to_vec();
    let at = c.emit(Op::Select {}, &[&found, &positions, &zero], DType::I64, shape)?;
    let axis = x.rank();
    let at = c.emit(Op::Reduce { f: ReduceFn::Max, axes: vec![axis], keep: false }, &[&at], DType::I64, x.shape().to_vec())?;
    let all = c.emit(Op::Concat { axis: 0 }, &[&default, &values], values.dtype(), vec![Dim::from(n + 1)])?;
    Ok(vec![c.emit(Op::Gather { axis: 0 }, &[&all, &at], values.dtype(), x.shape().to_vec())?])
}

/// 1 at the category of each element. One of no category gives zeros, whether or not `zeros` allows it.
pub fn one_hot_encoder(c: &mut Call) -> Out {
    c.attrs.ignore(&["zeros"]);
    let x = c.input(0)?;
    if c.attrs.has("cats_strings") {
        return Err(strings());
    }
    let cats = c.attrs.ints("cats_int64s")?.unwrap_or(&[]);
    let x = c.cast(&x, DType::I64)?;
    let found = matches(c, &x, &int_row(cats.iter().copied()))?;
    Ok(vec![c.cast(&found, DType::F32)?])
}

/// A sequence of maps, one a row, from label to score. It stays the tensor it is made from: column k belongs to label k.
pub fn zip_map(c: &mut Call) -> Out {
    c.attrs.ignore(&["classlabels_strings", "classlabels_int64s"]);
    Ok(vec![c.input(0)?])
}

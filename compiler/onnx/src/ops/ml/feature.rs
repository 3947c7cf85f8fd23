//! Feature preparation: thresholds, scales, missing values and choices of columns.

use super::post::{row, table};
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, PadMode, ReduceFn, UnaryFn};

/// 1 where an element is above the threshold, 0 elsewhere.
pub fn binarizer(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let threshold = Val::scalar(x.dtype(), f64::from(c.attrs.float_or("threshold", 0.0)?));
    let above = c.binary(BinaryFn::Gt, &x, &threshold)?;
    Ok(vec![c.cast(&above, x.dtype())?])
}

/// A list that holds one number for all columns, or one a column.
fn per_column(c: &Call, x: &Val, name: &str) -> Got<Option<Val>> {
    let Some(list) = c.attrs.floats(name)?.filter(|l| !l.is_empty()) else { return Ok(None) };
    let columns = x.shape().last().and_then(Dim::as_const);
    if list.len() != 1 && columns.is_some_and(|n| n != list.len() as i64) {
        return Err(bad(name, format!("has {} numbers, but {} has other columns", list.len(), x.ty)));
    }
    Ok(Some(row(DType::F32, list.iter().map(|v| f64::from(*v)))))
}

/// `(x - offset) * scale`.
pub fn scaler(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let (offset, scale) = (per_column(c, &x, "offset")?, per_column(c, &x, "scale")?);
    let mut y = c.cast(&x, DType::F32)?;
    if let Some(offset) = offset {
        y = c.binary(BinaryFn::Sub, &y, &offset)?;
    }
    if let Some(scale) = scale {
        y = c.binary(BinaryFn::Mul, &y, &scale)?;
    }
    Ok(vec![y])
}

/// Rows divided by their norm, or by their greatest element (not its size); a row of zeros stays.
pub fn normalizer(c: &mut Call) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 1, "the operand")?;
    let f = c.attrs.choice("norm", "MAX", &[("MAX", ReduceFn::Max), ("L1", ReduceFn::L1), ("L2", ReduceFn::L2)])?;
    let x = c.cast(&x, DType::F32)?;
    let mut shape = x.shape().to_vec();
    let axis = x.rank() - 1;
    if let Some(last) = shape.last_mut() {
        *last = Dim::ONE;
    }
    let norm = c.emit(Op::Reduce { f, axes: vec![axis], keep: true }, &[&x], DType::F32, shape.clone())?;
    let nothing = c.binary(BinaryFn::Eq, &norm, &Val::scalar(DType::F32, 0.0))?;
    let norm = c.emit(Op::Select {}, &[&nothing, &Val::scalar(DType::F32, 1.0), &norm], DType::F32, shape)?;
    Ok(vec![c.binary(BinaryFn::Div, &x, &norm)?])
}

/// Another value for each element that stands for "missing".
pub fn imputer(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let dt = x.dtype();
    let (values, missing) = if dt.is_float() {
        c.attrs.ignore(&["imputed_value_int64s", "replaced_value_int64"]);
        let list = c.attrs.floats("imputed_value_floats")?.unwrap_or(&[]);
        (list.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), f64::from(c.attrs.float_or("replaced_value_float", 0.0)?))
    } else {
        c.attrs.ignore(&["imputed_value_floats", "replaced_value_float"]);
        let list = c.attrs.ints("imputed_value_int64s")?.unwrap_or(&[]);
        (list.iter().map(|v| *v as f64).collect(), c.attrs.int_or("replaced_value_int64", 0)? as f64)
    };
    let columns = x.shape().last().and_then(Dim::as_const);
    if values.is_empty() || values.len() != 1 && columns.is_some_and(|n| n != values.len() as i64) {
        return Err(operand(format!("{} imputed values do not fit the columns of {}", values.len(), x.ty)));
    }
    let is_missing = if missing.is_nan() { c.unary(UnaryFn::IsNan, &x)? } else { c.binary(BinaryFn::Eq, &x, &Val::scalar(dt, missing))? };
    let shape = x.shape().to_vec();
    Ok(vec![c.emit(Op::Select {}, &[&is_missing, &row(dt, values), &x], dt, shape)?])
}

/// Columns by their positions; a vector counts as a row.
pub fn array_feature_extractor(c: &mut Call) -> Out {
    let (x, at) = (c.input(0)?, c.input(1)?);
    c.want_rank(&x, 1, "the data")?;
    c.in_range(&at, &[(Dim::ZERO, &c.last_size(&x) - 1)], "a position")?;
    let count = at.ty.elements();
    let at = c.reshape(&at, vec![count.clone()])?;
    let lead = x.shape().split_last().map_or(&[][..], |(_, lead)| lead);
    let mut shape = if x.rank() == 1 { vec![Dim::ONE] } else { lead.to_vec() };
    shape.push(count.clone());
    let mut taken = lead.to_vec();
    taken.push(count);
    let y = c.emit(Op::Gather { axis: x.rank() - 1 }, &[&x, &at], x.dtype(), taken)?;
    Ok(vec![c.reshape(&y, shape)?])
}

/// Matrices side by side, each cut or filled with zeros to the width it was declared to have.
pub fn feature_vectorizer(c: &mut Call) -> Out {
    let widths = c.attrs.ints("inputdimensions")?.map(<[i64]>::to_vec);
    let mut parts = vec![];
    for k in 0..c.inputs.len() {
        let x = c.input(k)?;
        let mut x = c.cast(&x, DType::F32)?;
        if x.rank() == 1 {
            let n = x.ty.elements();
            x = c.reshape(&x, vec![n, Dim::ONE])?;
        }
        let [rows, have] = x.shape() else { return Err(operand(format!("input {k} is {}, must have one or two axes", x.ty))) };
        let (rows, have) = (rows.clone(), have.clone());
        if let Some(list) = &widths {
            let want =
                *list.get(k).filter(|w| **w >= 0).ok_or_else(|| bad("inputdimensions", format!("does not say how wide input {k} is")))?;
            match have.as_const() {
                Some(n) if n == want => {}
                Some(n) if n > want => x = c.part(&x, 1, Dim::ZERO, Dim::from(want))?,
                Some(_) => {
                    let pad = Op::Pad { mode: PadMode::Constant, before: vec![Dim::ZERO; 2] };
                    x = c.emit(pad, &[&x], DType::F32, vec![rows, Dim::from(want)])?;
                }
                None => drop(c.equal(&have, &Dim::from(want), "the width of an input")?),
            }
        }
        parts.push(x);
    }
    let first = parts.first().ok_or_else(|| operand("there is no input"))?;
    let mut rows = first.shape().first().cloned().unwrap_or(Dim::ONE);
    let mut width = Dim::ZERO;
    for p in &parts {
        if let [r, w] = p.shape() {
            rows = c.equal(&rows, r, "rows of the inputs")?;
            width = width + w;
        }
    }
    let refs: Vec<&Val> = parts.iter().collect();
    Ok(vec![c.emit(Op::Concat { axis: 1 }, &refs, DType::F32, vec![rows, width])?])
}

/// A constant of rank 2 from a function of row and column.
pub(super) fn matrix(dtype: DType, rows: usize, columns: usize, f: impl Fn(usize, usize) -> f64) -> Val {
    let f = &f;
    table(dtype, &[rows, columns], (0..rows).flat_map(|r| (0..columns).map(move |k| f(r, k))))
}

//! Feature preparation: thresholds, scales and choices of columns.

use crate::import::call::{Call, Out};
use crate::import::value::Val;
use odc_ir::graph::BinaryFn;

/// 1 where an element is above the threshold, 0 elsewhere.
pub fn binarizer(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let threshold = Val::scalar(x.dtype(), f64::from(c.attrs.float_or("threshold", 0.0)?));
    let above = c.binary(BinaryFn::Gt, &x, &threshold)?;
    Ok(vec![c.cast(&above, x.dtype())?])
}

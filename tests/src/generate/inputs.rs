//! Inputs for a module: sizes within the symbols' bounds, and small values with few digits.

use crate::choices::Choices;
use odc_ir::core::{Binding, DType, InterpError, Scalar, Sym, Symbol, TensorType, TensorValue};
use std::collections::BTreeMap;

/// Sizes past this are not tried.
const LARGEST: i64 = 12;

pub fn binding(c: &mut Choices, symbols: &BTreeMap<Sym, Symbol>) -> Binding {
    let one = |(s, k): (&Sym, &Symbol)| {
        let unit = k.multiple_of.max(1);
        let lo = (k.lo + unit - 1) / unit;
        let hi = (k.hi.unwrap_or(LARGEST).min(LARGEST.max(k.lo)) / unit).max(lo);
        (s.clone(), c.between(lo, hi) * unit)
    };
    Binding(symbols.iter().map(one).collect())
}

/// A value for each input.
pub fn inputs(c: &mut Choices, params: &[(String, TensorType)], binding: &Binding) -> Result<Vec<(String, TensorValue)>, InterpError> {
    params
        .iter()
        .map(|(name, ty)| {
            let shape = binding.shape(&ty.shape)?;
            Ok((name.clone(), TensorValue::from_fn(ty.dtype, &shape, |_| element(c, ty.dtype))?))
        })
        .collect()
}

fn element(c: &mut Choices, dtype: DType) -> Scalar {
    if dtype.is_float() {
        // Eighths from -2 to 2, mostly.
        return Scalar::Float(c.between(-16, 16) as f64 / 8.0);
    }
    if dtype == DType::Bool {
        return Scalar::Bool(c.chance(50));
    }
    Scalar::Int(c.between(0, 3))
}

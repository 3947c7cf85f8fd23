//! Strings while importing: each is a number in the module's table, so that what moves, compares or looks up strings is a graph op on
//! numbers. Operators that make new strings need to know their operands when compiling.

use super::build::Build;
use super::call::{Call, Got};
use super::value::{Elem, Val};
use crate::diag::{Code, Fault};
use crate::tensor::Tensor;
use odc_ir::core::{DType, Dim, Scalar, TensorType};
use odc_ir::graph::{BinaryFn, Op};
use std::collections::BTreeMap;

/// The numbers of the strings in a module's table.
#[derive(Default)]
pub struct Numbers(BTreeMap<String, i64>);

impl Build {
    /// The number of a string, with a place in the table from now on. The empty one is number 0: what padding leaves out.
    pub fn string(&mut self, text: &str) -> i64 {
        if let Some(n) = self.numbers.0.get(text) {
            return *n;
        }
        if self.module.strings.is_empty() && !text.is_empty() {
            self.string("");
        }
        let n = self.module.strings.len() as i64;
        self.module.strings.push(text.to_owned());
        self.numbers.0.insert(text.to_owned(), n);
        n
    }

    /// Strings as a value; they are as many as the shape has.
    pub fn strings<S: AsRef<str>>(&mut self, shape: &[i64], texts: &[S]) -> Val {
        let elems = texts.iter().map(|t| Elem::int(self.string(t.as_ref()))).collect();
        Val::known(TensorType::of(DType::Str, shape), elems)
    }

    /// A decoded constant as a value.
    pub fn literal(&mut self, ty: TensorType, t: Tensor) -> Val {
        match ty.static_shape() {
            Some(shape) if ty.dtype == DType::Str => self.strings(&shape, &t.strings),
            _ => Val::constant(ty, t),
        }
    }

    /// The strings of a value, if they are known.
    pub fn texts(&self, v: &Val) -> Option<Vec<String>> {
        let number = |e: &Elem| usize::try_from(e.scalar().map(Scalar::as_i64)?).ok();
        v.known.as_ref().filter(|_| v.dtype() == DType::Str)?.iter().map(|e| self.module.strings.get(number(e)?).cloned()).collect()
    }
}

impl Call<'_, '_> {
    /// The strings of an operand of an operator that makes new ones.
    pub fn texts(&self, v: &Val, what: &str) -> Got<Vec<String>> {
        self.build.texts(v).ok_or_else(|| {
            let f = Fault::new(Code::UnsupportedUse, format!("{what} must be known when compiling: the operator makes new strings"));
            let f = f.help("do it to the input before the model runs, or fix the input with --fix; strings are only moved, compared and looked up when a model runs");
            f.fixable(self.build.inputs_behind(v))
        })
    }

    /// `values[k]` where an element is `keys[k]`, `default` where it is none of them. Of equal keys the last one counts.
    pub fn look_up<S: AsRef<str>>(&mut self, x: &Val, keys: &[S], values: &Val, default: &Val) -> Got<Val> {
        let numbers: Vec<i64> = keys.iter().map(|k| self.build.string(k.as_ref())).collect();
        let size = self.build.module.strings.len() as i64;
        // Place 0 is the default's, as is the one past the end: strings that come into the table later, or when the model runs.
        let mut places = vec![0; usize::try_from(size).unwrap_or(0) + 1];
        for (n, place) in numbers.iter().zip(1..) {
            if let Some(p) = usize::try_from(*n).ok().and_then(|n| places.get_mut(n)) {
                *p = place;
            }
        }
        let places = Val::known(TensorType::of(DType::I64, &[size + 1]), places.into_iter().map(Elem::int).collect());
        let default = self.reshape(default, vec![Dim::ONE])?;
        let all = self.concat(&[&default, values], 0)?;
        let table = self.emit(Op::Gather { axis: 0 }, &[&all, &places], values.dtype(), vec![Dim::from(size + 1)])?;
        let number = self.emit(Op::Bitcast {}, &[x], DType::I32, x.shape().to_vec())?;
        let number = self.with(BinaryFn::Min, &number, size as f64)?;
        self.emit(Op::Gather { axis: 0 }, &[&table, &number], values.dtype(), x.shape().to_vec())
    }
}

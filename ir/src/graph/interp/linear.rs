//! Matrix products and einsum.

use super::super::infer::parse_equation;
use super::{Cx, fail, found};
use crate::core::{InterpError, Scalar, TensorValue, indices};
use std::collections::BTreeMap;

/// A running sum of products: floats in f64, integers wrapping in 64 bits.
#[derive(Clone, Copy)]
pub enum Sum {
    Float(f64),
    Int(i64),
}

impl Sum {
    pub fn new(float: bool) -> Sum {
        if float { Sum::Float(0.0) } else { Sum::Int(0) }
    }
    pub fn add(&mut self, a: Scalar, b: Scalar) {
        match self {
            Sum::Float(s) => *s += a.as_f64() * b.as_f64(),
            Sum::Int(s) => *s = s.wrapping_add(a.as_i64().wrapping_mul(b.as_i64())),
        }
    }
    pub fn value(self) -> Scalar {
        match self {
            Sum::Float(s) => Scalar::Float(s),
            Sum::Int(s) => Scalar::Int(s),
        }
    }
}

pub fn matmul(cx: &Cx) -> Result<TensorValue, InterpError> {
    let (a, b) = (cx.operand(0)?, cx.operand(1)?);
    if a.rank() == 0 || b.rank() == 0 {
        return Err(fail("takes operands of rank 1 or more"));
    }
    // As matrices: a rank 1 operand is a row on the left, a column on the right.
    let a2 = if a.rank() == 1 { TensorValue { shape: vec![1, a.elements()], ..a.clone() } } else { a.clone() };
    let b2 = if b.rank() == 1 { TensorValue { shape: vec![b.elements(), 1], ..b.clone() } } else { b.clone() };
    let inner = a.shape.last().copied().unwrap_or(0);
    let (rows, columns) = (a.rank() > 1, b.rank() > 1);
    cx.build(|i| {
        let mut rest = i.to_vec();
        let c = if columns { rest.pop() } else { Some(0) };
        let r = if rows { rest.pop() } else { Some(0) };
        let (Some(r), Some(c)) = (r, c) else { return found(None) };
        let at = |r: usize, c: usize| [rest.as_slice(), &[r, c]].concat();
        let mut sum = Sum::new(cx.dtype.is_float());
        for k in 0..inner {
            sum.add(found(a2.broadcast(&at(r, k)))?, found(b2.broadcast(&at(k, c)))?);
        }
        Ok(sum.value())
    })
}

pub fn einsum(cx: &Cx, equation: &str) -> Result<TensorValue, InterpError> {
    let (terms, result) = parse_equation(equation).map_err(fail)?;
    let mut sizes: BTreeMap<char, usize> = BTreeMap::new();
    for (term, x) in terms.iter().zip(cx.x) {
        sizes.extend(term.iter().copied().zip(x.shape.iter().copied()));
    }
    let summed: Vec<(char, usize)> = sizes.into_iter().filter(|(c, _)| !result.contains(c)).collect();
    let extents: Vec<usize> = summed.iter().map(|(_, n)| *n).collect();
    cx.build(|i| {
        let mut at: BTreeMap<char, usize> = result.iter().copied().zip(i.iter().copied()).collect();
        let mut sum = Sum::new(cx.dtype.is_float());
        for s in indices(&extents) {
            at.extend(summed.iter().map(|(c, _)| *c).zip(s));
            let mut product = if cx.dtype.is_float() { Scalar::Float(1.0) } else { Scalar::Int(1) };
            for (term, x) in terms.iter().zip(cx.x) {
                let index: Vec<usize> = term.iter().filter_map(|c| at.get(c).copied()).collect();
                let mut p = Sum::new(cx.dtype.is_float());
                p.add(product, found(x.get(&index))?);
                product = p.value();
            }
            sum.add(product, Scalar::Int(1));
        }
        Ok(sum.value())
    })
}

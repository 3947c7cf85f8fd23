//! MatMul, Gemm and Einsum.

use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::Dim;
use odc_ir::graph::{BinaryFn, Op};
use std::collections::BTreeMap;

pub fn mat_mul(c: &mut Call) -> Out {
    let (a, b) = (c.input(0)?, c.input(1)?);
    Ok(vec![product(c, &a, &b)?])
}

/// numpy's matmul.
pub(super) fn product(c: &mut Call, a: &Val, b: &Val) -> Got<Val> {
    let dtype = c.same_dtype(a, b)?;
    let scalar = || operand(format!("does not take a scalar: {} and {}", a.ty, b.ty));
    let (ka, lead_a) = a.shape().split_last().ok_or_else(scalar)?;
    let (batch_a, rows) = match lead_a.split_last() {
        Some((m, batch)) => (batch, Some(m.clone())),
        None => (lead_a, None),
    };
    let (last_b, lead_b) = b.shape().split_last().ok_or_else(scalar)?;
    let (batch_b, kb, columns) = match lead_b.split_last() {
        Some((k, batch)) => (batch, k, Some(last_b.clone())),
        None => (lead_b, last_b, None),
    };
    c.equal(ka, kb, "the inner sizes of a matrix product")?;
    let mut shape = c.broadcast(&[batch_a, batch_b])?;
    shape.extend(rows);
    shape.extend(columns);
    c.emit(Op::MatMul {}, &[a, b], dtype, shape)
}

/// `alpha * A' * B' + beta * C`.
pub fn gemm(c: &mut Call) -> Out {
    let (mut a, mut b) = (c.input(0)?, c.input(1)?);
    c.attrs.ignore(&["broadcast"]);
    for (name, v) in [("transA", &mut a), ("transB", &mut b)] {
        if v.rank() != 2 {
            return Err(operand(format!("needs matrices, is {}", v.ty)));
        }
        // Some exporters write any non-zero number.
        if c.attrs.int_or(name, 0)? != 0 {
            *v = c.transpose(v, vec![1, 0])?;
        }
    }
    let (alpha, beta) = (c.attrs.float_or("alpha", 1.0)?, c.attrs.float_or("beta", 1.0)?);
    let mut y = product(c, &a, &b)?;
    let scale = |c: &mut Call, v: Val, by: f32| -> Got<Val> {
        if by == 1.0 {
            return Ok(v);
        }
        if v.dtype().is_int() && by.fract() != 0.0 {
            return Err(bad("alpha", "must be whole for integers"));
        }
        let s = Val::scalar(v.dtype(), f64::from(by));
        c.binary(BinaryFn::Mul, &v, &s)
    };
    y = scale(c, y, alpha)?;
    if let Some(bias) = c.opt(2).filter(|_| beta != 0.0) {
        c.same_dtype(&y, &bias)?;
        let bias = scale(c, bias, beta)?;
        if bias.rank() > 2 {
            return Err(operand(format!("C is {}, must broadcast to {}", bias.ty, y.ty)));
        }
        y = c.binary(BinaryFn::Add, &y, &bias)?;
    }
    Ok(vec![y])
}

pub fn einsum(c: &mut Call) -> Out {
    let text = c.attrs.str("equation")?.ok_or_else(|| bad("equation", "is required"))?;
    let text: String = text.chars().filter(|ch| !ch.is_whitespace()).collect();
    if text.contains('.') {
        return Err(unsupported_use("an ellipsis in `equation` is not supported").help("write the axes out"));
    }
    let (left, right) = match text.split_once("->") {
        Some((l, r)) => (l, Some(r.to_owned())),
        None => (text.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    let inputs = (0..c.inputs.len()).map(|k| c.input(k)).collect::<Got<Vec<Val>>>()?;
    if terms.len() != inputs.len() {
        return Err(bad("equation", format!("has {} terms for {} inputs", terms.len(), inputs.len())));
    }
    let mut sizes: BTreeMap<char, Dim> = BTreeMap::new();
    let mut count: BTreeMap<char, usize> = BTreeMap::new();
    for (term, v) in terms.iter().zip(&inputs) {
        c.same_dtype(inputs.first().unwrap_or(v), v)?;
        if term.chars().count() != v.rank() || !term.chars().all(|l| l.is_ascii_alphabetic()) {
            return Err(bad("equation", format!("has the term `{}` for an operand {}", term.escape_debug(), v.ty)));
        }
        for (k, (letter, d)) in term.chars().zip(v.shape()).enumerate() {
            if term.chars().take(k).any(|l| l == letter) {
                return Err(unsupported_use(format!("`{letter}` twice in one term of `equation` is not supported")));
            }
            let d = match sizes.get(&letter) {
                Some(have) => c.equal(have, d, &format!("sizes of `{letter}`"))?,
                None => d.clone(),
            };
            sizes.insert(letter, d);
            *count.entry(letter).or_default() += 1;
        }
    }
    // Without an arrow: the letters that appear once, in alphabetical order.
    let right = right.unwrap_or_else(|| count.iter().filter(|(_, n)| **n == 1).map(|(l, _)| *l).collect());
    let mut shape = vec![];
    for (k, letter) in right.chars().enumerate() {
        match sizes.get(&letter) {
            Some(d) if !right.chars().take(k).any(|l| l == letter) => shape.push(d.clone()),
            _ => return Err(bad("equation", format!("has the letter `{}` in its result", letter.escape_debug()))),
        }
    }
    // The IR takes lower-case letters only.
    let mut free = ('a'..='z').filter(|l| !sizes.contains_key(l));
    let mut names: BTreeMap<char, char> = BTreeMap::new();
    for l in sizes.keys() {
        let name = if l.is_ascii_lowercase() { Some(*l) } else { free.next() };
        names.insert(*l, name.ok_or_else(|| unsupported_use("`equation` has more than 26 letters"))?);
    }
    let rename = |t: &str| t.chars().filter_map(|l| names.get(&l)).collect::<String>();
    let equation = format!("{}->{}", terms.iter().map(|t| rename(t)).collect::<Vec<_>>().join(","), rename(&right));
    let dtype = c.input(0)?.dtype();
    let refs: Vec<&Val> = inputs.iter().collect();
    Ok(vec![c.emit(Op::Einsum { equation }, &refs, dtype, shape)?])
}

//! Typing of matrix products and einsum.

use super::{Cx, need_number, need_same_dtype, shape_text};
use crate::core::{Dim, TensorType};
use std::collections::BTreeMap;

pub fn matmul(a: &TensorType, b: &TensorType, cx: &Cx) -> Result<TensorType, String> {
    need_same_dtype("matmul", a, b)?;
    need_number("matmul", a)?;
    let ([a_batch @ .., _], [b_head @ .., b_last]) = (a.shape.as_slice(), b.shape.as_slice()) else {
        return Err(format!("matmul takes operands of rank 1 or more, not {a} and {b}"));
    };
    // A rank 1 operand is a row on the left, a column on the right; its axis is not in the result.
    let (a_batch, rows) = match a_batch {
        [] => (a_batch, None),
        [batch @ .., m] => (batch, Some(m)),
    };
    let (b_batch, inner, columns) = match b_head {
        [] => (b_head, b_last, None),
        [batch @ .., k] => (batch, k, Some(b_last)),
    };
    let a_inner = a.shape.last().unwrap_or(inner);
    if !cx.same(a_inner, inner) {
        return Err(format!("matmul of {a} and {b}: the summed axes have sizes {a_inner} and {inner}"));
    }
    let mut shape = cx
        .broadcast(a_batch, b_batch)
        .map_err(|_| format!("matmul of {a} and {b}: batch axes {} and {} do not broadcast", shape_text(a_batch), shape_text(b_batch)))?;
    shape.extend(rows.cloned());
    shape.extend(columns.cloned());
    Ok(TensorType::new(a.dtype, shape))
}

/// `ab,bc->ac`: the letters of each operand, and of the result.
pub fn parse_equation(equation: &str) -> Result<(Vec<Vec<char>>, Vec<char>), String> {
    let bad = |why: &str| format!("einsum equation `{equation}`: {why}");
    let (left, right) = equation.split_once("->").ok_or_else(|| bad("there is no `->`"))?;
    let letters = |term: &str| -> Result<Vec<char>, String> {
        if term.chars().all(|c| c.is_ascii_lowercase()) {
            Ok(term.chars().collect())
        } else {
            Err(bad(&format!("`{term}` has something else than lower-case letters")))
        }
    };
    let terms = left.split(',').map(letters).collect::<Result<Vec<_>, _>>()?;
    let result = letters(right)?;
    if let Some(c) = result.iter().find(|c| !terms.iter().flatten().any(|t| t == *c)) {
        return Err(bad(&format!("`{c}` of the result is in no operand")));
    }
    if let Some((_, c)) = result.iter().enumerate().find(|(k, c)| result.iter().skip(k + 1).any(|d| d == *c)) {
        return Err(bad(&format!("`{c}` is twice in the result")));
    }
    Ok((terms, result))
}

pub fn einsum(equation: &str, x: &[&TensorType], cx: &Cx) -> Result<TensorType, String> {
    let (terms, result) = parse_equation(equation)?;
    let (Some(first), true) = (x.first(), terms.len() == x.len()) else {
        return Err(format!("einsum `{equation}` speaks of {} operands, has {}", terms.len(), x.len()));
    };
    need_number("einsum", first)?;
    let mut sizes: BTreeMap<char, &Dim> = BTreeMap::new();
    for (term, t) in terms.iter().zip(x) {
        need_same_dtype("einsum", first, t)?;
        if term.len() != t.rank() {
            return Err(format!("einsum `{equation}`: {t} has rank {}, its term {} letters", t.rank(), term.len()));
        }
        for (c, d) in term.iter().zip(&t.shape) {
            let known = *sizes.entry(*c).or_insert(d);
            if !cx.same(known, d) {
                return Err(format!("einsum `{equation}`: `{c}` is {known} and {d}"));
            }
        }
    }
    let shape: Vec<Dim> = result.iter().filter_map(|c| sizes.get(c).map(|d| (*d).clone())).collect();
    Ok(TensorType::new(first.dtype, shape))
}

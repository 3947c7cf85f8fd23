//! Sums of products: `matmul` and `einsum` become one reduction whose body is exactly a product of two loads, which is what the
//! scheduler recognises as a contraction.

use super::LowerError;
use super::cx::{Args, Cx, Reduction, Src, axes, i, is, r, raxes, wide};
use odc_ir::core::{Binary, Dim, Value};
use odc_ir::tensor::{Program, ReduceKind};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

type Result = std::result::Result<Value, LowerError>;

pub(super) fn matmul(cx: &mut Cx, a: &Args) -> Result {
    let (lhs, rhs) = (a.x(0)?, a.x(1)?);
    let rank = |s: &Src| s.ty.rank();
    if rank(lhs) == 0 || rank(rhs) == 0 {
        return Err(LowerError::new("operands must have at least one axis"));
    }
    // The result's last axes are rows (unless lhs is a vector) and columns (unless rhs is one).
    let rows = usize::from(rank(lhs) > 1);
    let cols = usize::from(rank(rhs) > 1);
    let batch = a.rank().checked_sub(rows + cols).ok_or_else(|| LowerError::new("the result has too few axes"))?;
    let batch_index = |s: &Src| -> Vec<Dim> {
        let own = rank(s).saturating_sub(2);
        (batch.saturating_sub(own)..batch).map(i).collect()
    };
    let mut left = batch_index(lhs);
    left.extend((rows > 0).then(|| i(batch)));
    left.push(r(0));
    let mut right = batch_index(rhs);
    right.push(r(0));
    right.extend((cols > 0).then(|| i(batch + rows)));
    let k = lhs.dim(rank(lhs) - 1)?.clone();
    let mut body = Program::new();
    let x = lhs.wide(&mut body, left);
    let y = rhs.wide(&mut body, right);
    let v = body.binary(Binary::Mul, x, y);
    let epilogue = Program::identity(wide(a.out.dtype));
    let (axes, store) = (axes(&a.out.shape), is(a.rank()));
    let red = Reduction { kind: ReduceKind::Sum, axes, raxes: raxes(&[k]), store, body: body.returning(v), epilogue };
    Ok(cx.reduce(&a.operands, a.out.clone(), red))
}

pub(super) fn einsum(cx: &mut Cx, a: &Args, equation: &str) -> Result {
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = match text.split_once("->") {
        Some((i, o)) => (i.to_owned(), o.to_owned()),
        None => {
            // Implicit result: letters that occur once, in alphabetical order.
            let once = |c: &char| c.is_alphabetic() && text.matches(*c).count() == 1;
            let mut o: Vec<char> = text.chars().filter(once).collect();
            o.sort_unstable();
            (text.clone(), o.into_iter().collect())
        }
    };
    let terms: Vec<&str> = inputs.split(',').collect();
    if terms.len() != a.xs.len() || terms.iter().zip(&a.xs).any(|(t, x)| t.chars().count() != x.ty.rank()) {
        return Err(LowerError::new(format!("the equation `{equation}` does not fit the operands")));
    }
    let mut axis_of: BTreeMap<char, Dim> = output.chars().enumerate().map(|(k, c)| (c, i(k))).collect();
    let mut extents: Vec<Dim> = vec![];
    let mut reduced: BTreeMap<char, usize> = BTreeMap::new();
    for (t, x) in terms.iter().zip(&a.xs) {
        for (c, d) in t.chars().zip(&x.ty.shape) {
            if let Some(e) = reduced.get(&c).and_then(|k| extents.get_mut(*k)) {
                if e.is(1) {
                    *e = d.clone();
                }
            } else if let Entry::Vacant(new) = axis_of.entry(c) {
                new.insert(r(extents.len()));
                reduced.insert(c, extents.len());
                extents.push(d.clone());
            }
        }
    }
    let mut p = Program::new();
    let mut product = None;
    for (t, x) in terms.iter().zip(&a.xs) {
        let v = x.wide(&mut p, t.chars().filter_map(|c| axis_of.get(&c).cloned()));
        product = Some(product.map_or(v, |w| p.binary(Binary::Mul, w, v)));
    }
    let v = product.ok_or_else(|| LowerError::new("no operands"))?;
    if extents.is_empty() {
        return Ok(cx.map(&a.operands, a.out.clone(), p, v));
    }
    let epilogue = Program::identity(p.dtype(v));
    let (axes, store) = (axes(&a.out.shape), is(a.rank()));
    let red = Reduction { kind: ReduceKind::Sum, axes, raxes: raxes(&extents), store, body: p.returning(v), epilogue };
    Ok(cx.reduce(&a.operands, a.out.clone(), red))
}

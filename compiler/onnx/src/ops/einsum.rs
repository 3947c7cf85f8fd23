//! Einsum: letters for axes. An ellipsis becomes letters of its own, a letter twice in a term the diagonal.

use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::Dim;
use odc_ir::graph::Op;
use std::collections::BTreeMap;

/// A name of an axis: a letter, or a place within the ellipsis counted from its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Axis {
    Letter(char),
    Dots(usize),
}

/// The axes of one term; `dots` says how many an ellipsis stands for.
fn axes(term: &str, dots: usize) -> Option<Vec<Axis>> {
    let letters = |t: &str| t.chars().map(|l| l.is_ascii_alphabetic().then_some(Axis::Letter(l))).collect::<Option<Vec<_>>>();
    let Some((head, tail)) = term.split_once("...") else { return letters(term) };
    let mut out = letters(head)?;
    out.extend((0..dots).rev().map(Axis::Dots));
    out.extend(letters(tail)?);
    Some(out)
}

pub fn einsum(c: &mut Call) -> Out {
    let text = c.attrs.str("equation")?.ok_or_else(|| bad("equation", "is required"))?;
    let text: String = text.chars().filter(|ch| !ch.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((l, r)) => (l, Some(r)),
        None => (text.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    let inputs = (0..c.inputs.len()).map(|k| c.input(k)).collect::<Got<Vec<Val>>>()?;
    if terms.len() != inputs.len() {
        return Err(bad("equation", format!("has {} terms for {} inputs", terms.len(), inputs.len())));
    }
    let dtype = c.input(0)?.dtype();
    let (mut operands, mut most) = (vec![], 0);
    for (term, v) in terms.iter().zip(inputs) {
        c.same_dtype(&operands.first().map_or(v.clone(), |(o, _): &(Val, _)| o.clone()), &v)?;
        let wrong = || bad("equation", format!("has the term `{}` for an operand {}", term.escape_debug(), v.ty));
        let dots = if term.contains("...") { v.rank().checked_sub(term.chars().count() - 3).ok_or_else(wrong)? } else { 0 };
        let own = axes(term, dots).filter(|a| a.len() == v.rank()).ok_or_else(wrong)?;
        most = most.max(dots);
        operands.push(diagonal(c, v.clone(), own)?);
    }
    let mut sizes: BTreeMap<Axis, Dim> = BTreeMap::new();
    for (v, own) in &operands {
        for (axis, d) in own.iter().zip(v.shape()) {
            let d = match (sizes.get(axis), axis) {
                (None, _) => d.clone(),
                // The axes of an ellipsis broadcast.
                (Some(have), Axis::Dots(_)) if have.is(1) => d.clone(),
                (Some(have), Axis::Dots(_)) if d.is(1) => have.clone(),
                (Some(have), Axis::Letter(l)) => c.equal(have, d, &format!("sizes of `{l}`"))?,
                (Some(have), Axis::Dots(_)) => c.equal(have, d, "sizes of the ellipsis")?,
            };
            sizes.insert(*axis, d);
        }
    }
    let result = match right {
        Some(r) => axes(r, most).ok_or_else(|| bad("equation", "has a result that is no letters"))?,
        // Without an arrow: the ellipsis, then the letters that appear once, in alphabetical order.
        None => {
            let once = |l: &char| left.chars().filter(|m| m == l).count() == 1;
            let letters = sizes.keys().filter_map(|a| if let Axis::Letter(l) = a { Some(*l) } else { None }).filter(once);
            (0..most).rev().map(Axis::Dots).chain(letters.map(Axis::Letter)).collect()
        }
    };
    let mut shape = vec![];
    for (k, a) in result.iter().enumerate() {
        match sizes.get(a) {
            Some(d) if !result.iter().take(k).any(|b| a == b) => shape.push(d.clone()),
            _ => return Err(bad("equation", "has a letter in its result twice or in none of its terms")),
        }
    }
    // What broadcasts has no axis of its own.
    for (v, own) in &mut operands {
        let wide = |(a, d): (&Axis, &Dim)| !d.is(1) || !matches!(a, Axis::Dots(_)) || sizes.get(a).is_some_and(|s| s.is(1));
        let kept: Vec<bool> = own.iter().zip(v.shape()).map(wide).collect();
        let shape = v.shape().iter().zip(&kept).filter(|(_, k)| **k).map(|(d, _)| d.clone()).collect();
        *own = own.iter().zip(&kept).filter(|(_, k)| **k).map(|(a, _)| *a).collect();
        *v = c.reshape(v, shape)?;
    }
    // The IR takes lower-case letters only.
    let mut free = ('a'..='z').filter(|l| !sizes.contains_key(&Axis::Letter(*l)));
    let mut names: BTreeMap<Axis, char> = BTreeMap::new();
    for a in sizes.keys() {
        let name = match a {
            Axis::Letter(l) if l.is_ascii_lowercase() => Some(*l),
            Axis::Letter(_) | Axis::Dots(_) => free.next(),
        };
        names.insert(*a, name.ok_or_else(|| unsupported_use("`equation` has more than 26 axes"))?);
    }
    let spell = |list: &[Axis]| list.iter().filter_map(|a| names.get(a)).collect::<String>();
    let equation = format!("{}->{}", operands.iter().map(|(_, own)| spell(own)).collect::<Vec<_>>().join(","), spell(&result));
    let refs: Vec<&Val> = operands.iter().map(|(v, _)| v).collect();
    Ok(vec![c.emit(Op::Einsum { equation }, &refs, dtype, shape)?])
}

/// Axes of one letter become one: both behind the others, seen as one, every `size + 1`th element of it.
fn diagonal(c: &mut Call, mut v: Val, mut own: Vec<Axis>) -> Got<(Val, Vec<Axis>)> {
    let twice = |own: &[Axis]| own.iter().enumerate().find_map(|(k, a)| Some((own.iter().take(k).position(|b| a == b)?, k)));
    while let Some((a, b)) = twice(&own) {
        let rest: Vec<usize> = (0..v.rank()).filter(|k| *k != a && *k != b).collect();
        let size = c.fixed(&v, a, "the size of a diagonal")?;
        let other = c.fixed(&v, b, "the size of a diagonal")?;
        if size != other || size < 1 {
            return Err(operand(format!("{} has no diagonal over the axes {a} and {b}", v.ty)));
        }
        let letter = own.get(a).copied().into_iter();
        own = rest.iter().filter_map(|k| own.get(*k).copied()).chain(letter).collect();
        let square = c.transpose(&v, rest.iter().copied().chain([a, b]).collect())?;
        let mut shape: Vec<Dim> = square.shape().iter().take(rest.len()).cloned().collect();
        let mut flat = shape.clone();
        flat.push(Dim::from(size) * size);
        let flat = c.reshape(&square, flat)?;
        shape.push(Dim::from(size));
        let mut steps = vec![1; rest.len()];
        steps.push(size + 1);
        v = c.emit(Op::Slice { starts: vec![Dim::ZERO; rest.len() + 1], steps }, &[&flat], flat.dtype(), shape)?;
    }
    Ok((v, own))
}

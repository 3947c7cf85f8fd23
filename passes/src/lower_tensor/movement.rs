//! Ops that only move elements: one map each, whose index map says from where.

use super::LowerError;
use super::cx::{Args, Cx, i, is};
use odc_ir::core::{Dim, Value};
use odc_ir::graph::PadMode;
use odc_ir::tensor::{Expr, Program};

type Result = std::result::Result<Value, LowerError>;

/// One map that reads operand 0 at `index`.
fn from(cx: &mut Cx, a: &Args, index: impl IntoIterator<Item = Dim>) -> Result {
    let mut p = Program::new();
    let v = a.x(0)?.load(&mut p, index);
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

pub(super) fn transpose(cx: &mut Cx, a: &Args, perm: &[usize]) -> Result {
    let mut index = vec![Dim::ZERO; perm.len()];
    for (k, &source) in perm.iter().enumerate() {
        *index.get_mut(source).ok_or_else(|| LowerError::new(format!("{perm:?} is no permutation of the axes")))? = i(k);
    }
    from(cx, a, index)
}

pub(super) fn expand(cx: &mut Cx, a: &Args) -> Result {
    let all = is(a.rank());
    let index: Vec<_> = a.x(0)?.broadcast(&all).collect();
    from(cx, a, index)
}

pub(super) fn slice(cx: &mut Cx, a: &Args, starts: &[Dim], steps: &[i64]) -> Result {
    from(cx, a, starts.iter().zip(steps).enumerate().map(|(k, (start, step))| start + &(i(k) * *step)))
}

pub(super) fn tile(cx: &mut Cx, a: &Args) -> Result {
    let shape = a.x(0)?.ty.shape.clone();
    from(cx, a, shape.iter().enumerate().map(|(k, n)| i(k).modulo(n)))
}

/// Nested selects: below the end of operand 0, else below the end of operand 1, …
pub(super) fn concat(cx: &mut Cx, a: &Args, axis: usize) -> Result {
    let mut p = Program::new();
    let mut parts = vec![];
    let mut start = Dim::ZERO;
    for x in &a.xs {
        let size = x.dim(axis)?;
        if size.is(0) {
            continue;
        }
        let mut index = is(a.rank());
        if let Some(d) = index.get_mut(axis) {
            *d = i(axis) - &start;
        }
        start = &start + size;
        parts.push((x.load(&mut p, index), start.clone()));
    }
    let v = match parts.pop() {
        Some((last, _)) => parts.into_iter().rev().fold(last, |rest, (part, end)| {
            let here = p.push(Expr::Inside(vec![(i(axis), end)]));
            p.select(here, part, rest)
        }),
        // Nothing but empty operands: the result has no elements.
        None => p.constant(a.out.dtype, 0.0),
    };
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

pub(super) fn pad(cx: &mut Cx, a: &Args, mode: PadMode, before: &[Dim]) -> Result {
    let x = a.x(0)?;
    let mut p = Program::new();
    let (mut index, mut inside) = (vec![], vec![]);
    for (k, (n, before)) in x.ty.shape.iter().zip(before).enumerate() {
        let at = i(k) - before;
        let last = n - 1;
        index.push(match mode {
            PadMode::Constant => {
                inside.push((at.clone(), n.clone()));
                at
            }
            PadMode::Edge => at.max_with(&Dim::ZERO).min_with(&last),
            PadMode::Wrap => at.modulo(n),
            PadMode::Reflect => {
                let after = a.out_dim(k)? - n - before;
                if cx.ranges.le(before, &last) && cx.ranges.le(&after, &last) {
                    // One bounce at most.
                    let up = at.max_with(&-&at);
                    up.min_with(&(&last * 2 - &up))
                } else {
                    let period = (&last * 2).max_with(&Dim::ONE);
                    let up = at.modulo(&period);
                    up.min_with(&(&last * 2 - &up))
                }
            }
        });
    }
    let mut v = x.load(&mut p, index);
    if mode == PadMode::Constant {
        let outside = match a.xs.get(1) {
            Some(value) => value.scalar(&mut p),
            None => p.constant(a.out.dtype, 0.0),
        };
        let inside = p.push(Expr::Inside(inside));
        v = p.select(inside, v, outside);
    }
    Ok(cx.map(&a.operands, a.out.clone(), p, v))
}

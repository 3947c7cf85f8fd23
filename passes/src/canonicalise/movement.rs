//! Moves of elements that do nothing, join, or are done by broadcasting anyway.

use super::rewriter::Cx;
use odc_ir::core::{Dim, TensorType, Value};
use odc_ir::graph::{Op, Operation, ReduceFn};

/// Moves whose result is their operand.
pub fn nothing(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let x = *op.operands.first()?;
    let same = cx.ty(x) == cx.ty(op.result()?);
    let done = match &op.op {
        Op::Reshape {} | Op::Expand {} | Op::Tile {} => same,
        Op::Transpose { perm } => perm.iter().enumerate().all(|(k, p)| k == *p),
        Op::Slice { starts, steps } => same && starts.iter().all(|s| s.is(0)) && steps.iter().all(|s| *s == 1),
        Op::Pad { before, .. } => same && before.iter().all(|b| b.is(0)),
        Op::Concat { .. } => op.operands.len() == 1,
        Op::Resize { scales, .. } => same && scales.iter().all(|s| *s == 0.0 || *s == 1.0),
        Op::Reduce { f, axes, .. } => {
            axes.is_empty() && matches!(f, ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Prod | ReduceFn::Max | ReduceFn::Min)
        }
        _ => false,
    };
    done.then_some(x)
}

/// Transposes of transposes; those that only move axes of size 1 are reshapes.
pub fn transpose(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Transpose { perm }, [x]) = (&op.op, op.operands.as_slice()) else { return None };
    let result = cx.ty(op.result()?).clone();
    let shape = &cx.ty(*x).shape;
    let large: Vec<usize> = perm.iter().copied().filter(|p| shape.get(*p).is_some_and(|d| !d.is(1))).collect();
    if large.windows(2).all(|w| w[0] < w[1]) {
        return Some(cx.emit(Op::Reshape {}, &[*x], result));
    }
    let inner = cx.def(*x)?;
    let (Op::Transpose { perm: first }, [source]) = (&inner.op, inner.operands.as_slice()) else { return None };
    let both = perm.iter().map(|p| first.get(*p).copied()).collect::<Option<Vec<_>>>()?;
    Some(cx.emit(Op::Transpose { perm: both }, &[*source], result))
}

pub fn reshape(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Reshape {}, [x]) = (&op.op, op.operands.as_slice()) else { return None };
    let inner = cx.def(*x)?;
    let (Op::Reshape {}, [source]) = (&inner.op, inner.operands.as_slice()) else { return None };
    let ty = cx.ty(op.result()?).clone();
    Some(if *cx.ty(*source) == ty { *source } else { cx.emit(Op::Reshape {}, &[*source], ty) })
}

pub fn slice(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Slice { starts, steps }, [x]) = (&op.op, op.operands.as_slice()) else { return None };
    let inner = cx.only(*x)?;
    let (Op::Slice { starts: s, steps: t }, [source]) = (&inner.op, inner.operands.as_slice()) else { return None };
    let starts: Vec<Dim> = starts.iter().zip(s.iter().zip(t)).map(|(a, (b, t))| b + a * *t).collect();
    let steps = steps.iter().zip(t).map(|(a, b)| a.checked_mul(*b)).collect::<Option<Vec<_>>>()?;
    let ty = cx.ty(op.result()?).clone();
    Some(cx.emit(Op::Slice { starts, steps }, &[*source], ty))
}

/// A slice that lies in one operand of a concat.
pub fn slice_of_concat(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Slice { starts, steps }, [x]) = (&op.op, op.operands.as_slice()) else { return None };
    let joined = cx.def(*x)?;
    let Op::Concat { axis } = joined.op else { return None };
    let ty = cx.ty(op.result()?).clone();
    let (start, size) = (starts.get(axis)?, ty.shape.get(axis)?);
    if *steps.get(axis)? != 1 {
        return None;
    }
    let mut offset = Dim::ZERO;
    for part in &joined.operands {
        let end = &offset + cx.ty(*part).shape.get(axis)?;
        if cx.ranges.le(&offset, start) && cx.ranges.le(&(start + size), &end) {
            let mut starts = starts.clone();
            *starts.get_mut(axis)? = start - &offset;
            return Some(cx.emit(Op::Slice { starts, steps: steps.clone() }, &[*part], ty));
        }
        offset = end;
    }
    None
}

pub fn concat(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let Op::Concat { axis } = op.op else { return None };
    let mut operands = vec![];
    for x in &op.operands {
        let inner = cx.attempt(|cx| cx.only(*x).filter(|i| i.op == op.op));
        match inner {
            Some(i) => operands.extend(i.operands.iter().copied()),
            None => operands.push(*x),
        }
    }
    let ty = cx.ty(op.result()?).clone();
    (operands.len() > op.operands.len()).then(|| cx.emit(Op::Concat { axis }, &operands, ty))
}

/// Broadcasting ops need no expanded operands; an expand of an expand is one.
pub fn expand(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let broadcasts = matches!(op.op, Op::Binary { .. } | Op::Select {} | Op::Expand {});
    if !broadcasts {
        return None;
    }
    let ty = cx.ty(op.result()?).clone();
    let mut operands = op.operands.clone();
    let mut changed = false;
    for k in 0..operands.len() {
        let x = *operands.get(k)?;
        let inner = cx.attempt(|cx| cx.def(x).filter(|i| i.op == Op::Expand {}));
        let Some(source) = inner.and_then(|i| i.operands.first().copied()) else { continue };
        let before = std::mem::replace(operands.get_mut(k)?, source);
        // The other operands must still stretch the result to its shape.
        let fits = op.op == Op::Expand {} || cx.infer(&op.op, &operands).is_some_and(|t| t == ty);
        if fits {
            changed = true;
        } else {
            *operands.get_mut(k)? = before;
        }
    }
    changed.then(|| cx.emit(op.op.clone(), &operands, ty))
}

/// Reducing axes of size 1 only changes the shape.
pub fn reduce(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Reduce { f, axes, .. }, [x]) = (&op.op, op.operands.as_slice()) else { return None };
    let TensorType { shape, .. } = cx.ty(*x);
    let ones = axes.iter().all(|a| shape.get(*a).is_some_and(|d| d.is(1)));
    let plain = matches!(f, ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Prod | ReduceFn::Max | ReduceFn::Min);
    let ty = cx.ty(op.result()?).clone();
    (ones && plain).then(|| cx.emit(Op::Reshape {}, &[*x], ty))
}

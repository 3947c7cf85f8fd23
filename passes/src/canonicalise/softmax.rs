//! Softmax spelled out as exponentials over their sum, and its logarithm.

use super::rewriter::{Cx, pair};
use odc_ir::core::Value;
use odc_ir::graph::{BinaryFn, Op, Operation, ReduceFn, UnaryFn};

/// The operand and the one axis of a reduction that keeps it.
fn reduced(cx: &mut Cx, v: Value, f: ReduceFn) -> Option<(Value, usize)> {
    cx.attempt(|cx| {
        let op = cx.def(v)?;
        match (&op.op, op.operands.as_slice()) {
            (Op::Reduce { f: g, axes, keep: true }, [x]) if *g == f => match axes.as_slice() {
                [axis] => Some((*x, *axis)),
                _ => None,
            },
            _ => None,
        }
    })
}

/// `e / sum(e)` with `e = exp(x - max(x))`; without the maximum it is the same, and overflows where softmax does not.
pub fn softmax(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (e, sum) = pair(op, BinaryFn::Div)?;
    let (same, axis) = reduced(cx, sum, ReduceFn::Sum)?;
    if same != e {
        return None;
    }
    let inner = cx.unary(e, UnaryFn::Exp)?;
    let shifted = cx.attempt(|cx| {
        let (x, max) = cx.binary(inner, BinaryFn::Sub)?;
        (reduced(cx, max, ReduceFn::Max)? == (x, axis)).then_some(x)
    });
    cx.emit_inferred(Op::Softmax { axis, log: false }, &[shifted.unwrap_or(inner)])
}

pub fn log_softmax(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (Op::Unary { f: UnaryFn::Log }, [v]) = (&op.op, op.operands.as_slice()) else { return None };
    let inner = cx.only(*v)?;
    match (&inner.op, inner.operands.as_slice()) {
        (Op::Softmax { axis, log: false }, [x]) => cx.emit_inferred(Op::Softmax { axis: *axis, log: true }, &[*x]),
        _ => None,
    }
}

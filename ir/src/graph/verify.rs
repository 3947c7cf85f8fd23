//! The graph verifier: the shared rules, and every op's result types against its typing rule.

use super::infer::{self, Cx};
use super::{Func, Graph, Module, Op, Operation};
use crate::core::{self, TensorType, VerifyError};

/// All broken rules of a module; empty for a sound one.
pub fn verify(m: &Module) -> Vec<VerifyError> {
    core::verify::<Graph>(m, check)
}

/// The typing rule of one operation.
pub fn check(m: &Module, f: &Func, op: &Operation) -> Result<(), String> {
    let types = |vs: &[core::Value]| -> Result<Vec<TensorType>, String> {
        vs.iter().map(|v| f.types.get(v.index()).cloned().ok_or_else(|| format!("{v} has no type"))).collect()
    };
    let (operands, results) = (types(&op.operands)?, types(&op.results)?);
    match &op.op {
        Op::If { then, otherwise } => return core::check_if(m, f, [then, otherwise], &operands, &results),
        Op::Loop { body, trips, form } => return core::check_loop(m, f, (body, trips, form), &operands, &results),
        _ => {}
    }
    let ranges = m.ranges();
    let cx = Cx { consts: &m.consts, ranges: &ranges };
    infer::accepts(&op.op, &operands.iter().collect::<Vec<_>>(), &results.iter().collect::<Vec<_>>(), &cx)
}

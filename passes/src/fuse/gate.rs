//! A product and the one product that reads it in its epilogue as one group, where the machine can run them tile by tile.

use super::inline::is_contraction;
use super::{OUTPUT, Work};
use crate::schedule::gate::{gate, schedule};
use odc_ir::core::Value;
use odc_ir::tensor::{Op, Operation};

impl Work {
    /// Joins groups of one product each. They are in order of their last ops.
    pub(super) fn join_gates(&self, mut groups: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
        if !self.counts.is_empty() {
            return groups;
        }
        for at in 0..groups.len() {
            let Some(first) = groups.get(at).and_then(|g| if let [k] = g.as_slice() { Some(*k) } else { None }) else { continue };
            let Some(second) = self.gated(first) else { continue };
            if let Some(group) = groups.iter_mut().find(|g| **g == [second]) {
                group.insert(0, first);
                groups[at].clear();
            }
        }
        groups.retain(|g| !g.is_empty());
        groups
    }

    /// The product that takes in product `k`.
    fn gated(&self, k: usize) -> Option<usize> {
        let op = |k: usize| self.ops.get(k).and_then(Option::as_ref).filter(|o| is_contraction(&o.op));
        let [second] = self.users[op(k)?.result()?.index()].as_slice() else { return None };
        let pair: [Operation; 2] = [op(k)?.clone(), op(*second).filter(|_| *second != OUTPUT)?.clone()];
        let constant = |v: &Value| self.ops.iter().flatten().any(|o| matches!(o.op, Op::Constant { .. }) && o.results.contains(v));
        let products = gate(&pair, &|_| false, &|v| self.func.ty(v).clone(), &self.ranges)?;
        let packed = |nth: usize, operand: u32| pair.get(nth).and_then(|o| o.operands.get(operand as usize)).is_some_and(constant);
        schedule(&products, &packed, &self.place()).map(|_| *second)
    }
}

#[cfg(test)]
mod tests;

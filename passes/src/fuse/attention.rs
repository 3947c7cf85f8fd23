//! A product, the stages by rows behind it and a product of what they give as one group, where the machine can run them so.

use super::inline::is_contraction;
use super::{OUTPUT, Work};
use crate::schedule::attention::{attention, schedule};
use odc_ir::core::Value;
use odc_ir::tensor::Operation;

impl Work {
    /// Joins groups to attention. They are in order of their last ops.
    pub(super) fn join_attention(&self, mut groups: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
        if !self.counts.is_empty() {
            return groups;
        }
        let def = self.definitions();
        for at in 0..groups.len() {
            let Some(members) = groups.get(at).and_then(|between| self.around(&def, between)) else { continue };
            let alone = |k: &usize| groups.iter().position(|g| *g == [*k]);
            let (Some(first), Some(last)) = (members.first().and_then(alone), members.last().and_then(alone)) else { continue };
            groups[last] = members;
            groups[first].clear();
            groups[at].clear();
        }
        groups.retain(|g| !g.is_empty());
        groups
    }

    /// The product before these stages, they, and the product after them.
    fn around(&self, def: &[Option<usize>], between: &[usize]) -> Option<Vec<usize>> {
        let op = |k: usize| self.ops.get(k).and_then(Option::as_ref);
        let product = |k: usize| op(k).is_some_and(|o| is_contraction(&o.op));
        let ops = || between.iter().filter_map(|k| op(*k));
        let results: Vec<Value> = ops().flat_map(|o| o.results.iter().copied()).collect();
        let outside = |k: &usize| !between.contains(k);
        let mut users = results.iter().flat_map(|v| &self.users[v.index()]).copied().filter(outside);
        let last = users.next().filter(|k| *k != OUTPUT && product(*k))?;
        if users.any(|k| k != last) {
            return None;
        }
        let mut before = ops().flat_map(|o| &o.operands).filter_map(|v| def[v.index()]).filter(|k| outside(k) && product(*k));
        let first = before.next()?;
        let only_here = |v: &Value| self.users[v.index()].iter().all(|k| between.contains(k));
        if before.any(|k| k != first) || !op(first)?.results.iter().all(only_here) {
            return None;
        }
        let members: Vec<usize> = [first].into_iter().chain(between.iter().copied()).chain([last]).collect();
        let all: Vec<Operation> = members.iter().filter_map(|k| op(*k).cloned()).collect();
        let found = attention(&all, &|_| false, &|v| self.func.ty(v).clone(), &self.ranges)?;
        // Without tiles for both products it would run in plain loops.
        schedule(&found, &self.place()).map(|_| members)
    }
}

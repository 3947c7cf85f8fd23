//! The order of dispatches: as given, unless running first what frees most needs less memory at its peak.

use super::values::{Call, Graph, Place};
use odc_ir::core::Binding;
use std::collections::BTreeSet;

/// Positions of calls in order of execution.
pub(super) fn order(graph: &Graph, at: Option<&Binding>) -> Vec<usize> {
    let given: Vec<usize> = (0..graph.calls.len()).collect();
    let Some(at) = at else { return given };
    let sizes: Option<Vec<i64>> = graph.made.iter().map(|m| at.eval(&m.bytes).ok()).collect();
    let Some(sizes) = sizes else { return given };
    let greedy = by_net_bytes(graph, &sizes);
    if peak(graph, &sizes, &greedy) < peak(graph, &sizes, &given) { greedy } else { given }
}

/// The most bytes alive during any call.
pub(super) fn peak(graph: &Graph, sizes: &[i64], order: &[usize]) -> i128 {
    let size = |v: usize| i128::from(sizes.get(v).copied().unwrap_or(0));
    let mut left: Vec<usize> = graph.made.iter().map(|m| m.users.len() + usize::from(m.is_output)).collect();
    let (mut live, mut most) = (0i128, 0i128);
    for call in order.iter().filter_map(|c| graph.calls.get(*c)) {
        live += call.writes.iter().map(|v| size(*v)).sum::<i128>();
        most = most.max(live);
        for v in needs(call) {
            if let Some(n) = left.get_mut(v) {
                *n = n.saturating_sub(1);
                live -= if *n == 0 { size(v) } else { 0 };
            }
        }
        live -= call.writes.iter().filter(|v| left.get(**v) == Some(&0)).map(|v| size(*v)).sum::<i128>();
    }
    most
}

/// What a call reads or waits for.
fn needs(call: &Call) -> BTreeSet<usize> {
    let made = |p: &Place| if let Place::Made(v) = p { Some(*v) } else { None };
    call.reads.iter().filter_map(made).chain(call.after.iter().copied()).collect()
}

/// Of the calls that could run, always the one that adds least to what is alive; the earlier one if equal.
fn by_net_bytes(graph: &Graph, sizes: &[i64]) -> Vec<usize> {
    let size = |v: usize| i128::from(sizes.get(v).copied().unwrap_or(0));
    let reads: Vec<BTreeSet<usize>> = graph.calls.iter().map(needs).collect();
    let mut missing: Vec<usize> = reads.iter().map(BTreeSet::len).collect();
    let mut left: Vec<usize> = graph.made.iter().map(|m| m.users.len() + usize::from(m.is_output)).collect();
    let mut ready: BTreeSet<usize> = (0..missing.len()).filter(|c| missing.get(*c) == Some(&0)).collect();
    let mut order = vec![];
    loop {
        let net = |c: &usize| {
            let made: i128 = graph.calls.get(*c).map_or(0, |c| c.writes.iter().map(|v| size(*v)).sum());
            let freed: i128 = reads.get(*c).map_or(0, |r| r.iter().filter(|v| left.get(**v) == Some(&1)).map(|v| size(*v)).sum());
            made - freed
        };
        let Some(next) = ready.iter().copied().min_by_key(|c| (net(c), *c)) else { break };
        ready.remove(&next);
        order.push(next);
        for v in reads.get(next).into_iter().flatten() {
            if let Some(n) = left.get_mut(*v) {
                *n = n.saturating_sub(1);
            }
        }
        let results = graph.calls.get(next).map_or(&[][..], |c| &c.writes);
        for user in results.iter().filter_map(|v| graph.made.get(*v)).flat_map(|m| &m.users) {
            if let Some(n) = missing.get_mut(*user) {
                *n = n.saturating_sub(1);
                if *n == 0 {
                    ready.insert(*user);
                }
            }
        }
    }
    order
}

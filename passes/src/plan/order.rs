//! The order of dispatches: as given, unless running first what frees most needs less memory at its peak. A whole is alive from the
//! first write of any part of it.

use super::values::Graph;
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

/// What is alive while calls run.
struct Memory<'a> {
    sizes: &'a [i64],
    /// What each call touches.
    touches: Vec<BTreeSet<usize>>,
    /// How many calls have not touched each value yet, and one if it is an output.
    left: Vec<usize>,
    alive: Vec<bool>,
}

impl<'a> Memory<'a> {
    fn new(graph: &Graph, sizes: &'a [i64]) -> Self {
        let touches: Vec<BTreeSet<usize>> = graph.calls.iter().map(|c| graph.touches(c)).collect();
        let mut left: Vec<usize> = graph.kept().into_iter().map(usize::from).collect();
        for v in touches.iter().flatten() {
            if let Some(n) = left.get_mut(*v) {
                *n += 1;
            }
        }
        Memory { sizes, touches, left, alive: vec![false; sizes.len()] }
    }

    fn bytes(&self, call: usize, wanted: impl Fn(usize) -> bool) -> i128 {
        let touched = self.touches.get(call).into_iter().flatten().filter(|v| wanted(**v));
        touched.map(|v| i128::from(self.sizes.get(*v).copied().unwrap_or(0))).sum()
    }

    /// Bytes that are alive from this call on, and bytes that are not alive any more when it has run.
    fn change(&self, call: usize) -> (i128, i128) {
        let begins = self.bytes(call, |v| self.alive.get(v) == Some(&false));
        (begins, self.bytes(call, |v| self.left.get(v) == Some(&1)))
    }

    fn run(&mut self, call: usize) {
        for v in self.touches.get(call).into_iter().flatten() {
            if let (Some(n), Some(alive)) = (self.left.get_mut(*v), self.alive.get_mut(*v)) {
                *n = n.saturating_sub(1);
                *alive = true;
            }
        }
    }
}

/// The most bytes alive during any call.
fn peak(graph: &Graph, sizes: &[i64], order: &[usize]) -> i128 {
    let mut memory = Memory::new(graph, sizes);
    let (mut live, mut most) = (0i128, 0i128);
    for call in order {
        let (begins, ends) = memory.change(*call);
        most = most.max(live + begins);
        live += begins - ends;
        memory.run(*call);
    }
    most
}

/// Of the calls that could run, always the one that adds least to what is alive; the earlier one if equal.
fn by_net_bytes(graph: &Graph, sizes: &[i64]) -> Vec<usize> {
    let mut memory = Memory::new(graph, sizes);
    let needs: Vec<BTreeSet<usize>> = graph.calls.iter().map(|c| graph.needs(c)).collect();
    let mut missing: Vec<usize> = needs.iter().map(BTreeSet::len).collect();
    let mut waiting: Vec<Vec<usize>> = vec![vec![]; graph.made.len()];
    for (call, needs) in needs.iter().enumerate() {
        for v in needs {
            if let Some(w) = waiting.get_mut(*v) {
                w.push(call);
            }
        }
    }
    let mut ready: BTreeSet<usize> = (0..missing.len()).filter(|c| missing.get(*c) == Some(&0)).collect();
    let mut order = vec![];
    let net = |memory: &Memory, call: usize| {
        let (begins, ends) = memory.change(call);
        begins - ends
    };
    while let Some(next) = ready.iter().copied().min_by_key(|c| (net(&memory, *c), *c)) {
        ready.remove(&next);
        order.push(next);
        memory.run(next);
        let results = graph.calls.get(next).map_or(&[][..], |c| &c.writes);
        for user in results.iter().filter_map(|v| waiting.get(*v)).flatten() {
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

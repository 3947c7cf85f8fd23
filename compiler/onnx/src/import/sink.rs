//! An If whose branches give tensors of different ranks has a result that no type describes. What is computed from it has one
//! in each branch: the nodes that depend on it move into both.
//!
//! `r = If(c) { x } else { sum(x) }; y = Relu(r)` becomes `y = If(c) { Relu(x) } else { Relu(sum(x)) }`.

use super::flatten::{captured, shown};
use super::node;
use crate::diag::{Code, Diagnostic};
use crate::proto::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};
use std::collections::{BTreeMap, BTreeSet};

/// Every move doubles what follows; real exporters write one such If, around a Squeeze.
pub const MAX_MOVES: usize = 4;

/// The graph in which nothing depends on the first If that `problems` name; `None` if nothing can be moved.
pub fn into_branches(graph: &GraphProto, problems: &[Diagnostic]) -> Option<GraphProto> {
    let refused = problems.iter().filter(|p| p.code == Code::DataDependentShape && p.op.as_deref() == Some("If"));
    let names: BTreeSet<&str> = refused.filter_map(|p| p.node.as_deref()).collect();
    let at = graph.node.iter().position(|n| n.op_type() == "If" && names.contains(shown(n)))?;
    let choice = graph.node.get(at)?;
    let behind = dependents(graph, choice);
    if behind.is_empty() {
        return None;
    }
    let (mut kept, mut moved) = (vec![], vec![]);
    for (k, n) in graph.node.iter().enumerate().filter(|(k, _)| *k != at) {
        if behind.contains(&k) { &mut moved } else { &mut kept }.push(n.clone());
    }
    let made: BTreeSet<&str> = moved.iter().chain([choice]).flat_map(|n| &n.output).map(|s| s.as_str()).collect();
    let wanted: Vec<ValueInfoProto> = graph.output.iter().filter(|o| made.contains(o.name())).cloned().collect();
    let mut choice = NodeProto { output: wanted.iter().map(|o| o.name().to_owned()).collect(), ..choice.clone() };
    let results: Vec<String> = graph.node.get(at)?.output.clone();
    for a in &mut choice.attribute {
        *a = continued(a, &results, &moved, &made, &wanted)?;
    }
    // Behind everything that what moved may use.
    kept.push(choice);
    Some(GraphProto { node: kept, ..graph.clone() })
}

/// The places of the nodes that use a result of `from`, directly or not.
fn dependents(graph: &GraphProto, from: &NodeProto) -> BTreeSet<usize> {
    let mut users: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (k, n) in graph.node.iter().enumerate() {
        let mut uses: Vec<&str> = n.input.iter().map(|s| s.as_str()).collect();
        n.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)).for_each(|g| captured(g, &mut uses));
        uses.into_iter().filter(|u| !u.is_empty()).for_each(|u| users.entry(u).or_default().push(k));
    }
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(n) = open.pop() {
        for k in n.output.iter().filter_map(|o| users.get(o.as_str())).flatten() {
            if let Some(user) = graph.node.get(*k).filter(|_| found.insert(*k)) {
                open.push(user);
            }
        }
    }
    found
}

/// A branch that goes on with `moved` and gives `wanted`; `None` if it has names of its own for what comes after it.
fn continued(
    a: &AttributeProto,
    results: &[String],
    moved: &[NodeProto],
    made: &BTreeSet<&str>,
    wanted: &[ValueInfoProto],
) -> Option<AttributeProto> {
    let Some(branch) = &a.g else { return Some(a.clone()) };
    let own = branch.node.iter().flat_map(|n| &n.output).map(|s| s.as_str()).chain(branch.initializer.iter().map(|t| t.name()));
    if own.into_iter().any(|name| made.contains(name)) || branch.output.len() < results.len() {
        return None;
    }
    let named = branch.output.iter().zip(results).filter(|(_, r)| !r.is_empty());
    let named = named.map(|(inner, r)| node("Identity", vec![inner.name().to_owned()], r));
    let nodes = branch.node.iter().cloned().chain(named).chain(moved.iter().cloned()).collect();
    Some(AttributeProto { g: Some(GraphProto { node: nodes, output: wanted.to_vec(), ..branch.clone() }), ..a.clone() })
}

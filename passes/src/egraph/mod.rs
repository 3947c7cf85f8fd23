//! Fusion by equality: all ways to compute each value with more or less of the ops before it in one kernel stand beside each other
//! in an e-graph, and extraction takes the set of kernels that costs least together.
//!
//! Operands stand before users and rules look at an op and one operand, so that one sweep in order of execution finds everything.
//! What calls functions (branches, loops) and functions with sizes that data decides are not looked into.

pub mod extract;
mod lang;
mod rules;

pub use rules::Group;

use crate::cost::{self, Place, Rates};
use egg::{EGraph, Id, Language};
use extract::{Candidate, Problem};
use lang::{Classes, Node, Tables, What};
use odc_ir::core::{Loc, OpSet, Value};
use odc_ir::tensor::{Func, Op, Operation};
use rules::{Rules, class, value};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes of one class: chains of many maps have a node for every part of the chain.
const MOST_NODES: usize = 24;

/// What was found in one function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub classes: usize,
    pub nodes: usize,
    pub fired: BTreeMap<&'static str, usize>,
    /// Predicted nanoseconds of the given ops and of those chosen, each a kernel of its own.
    pub given: f64,
    pub chosen: f64,
    /// Classes that are computed otherwise than given.
    pub changed: usize,
    /// The values that are computed and could be in several ways, in order of execution.
    pub choices: Vec<Choice>,
}

/// A value and the ways to compute it.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub ways: Vec<Way>,
    /// The way that it was given with, and the one that was taken.
    pub given: usize,
    pub chosen: usize,
}

/// One op that could compute a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    pub op: &'static str,
    /// What is in it.
    pub of: Loc,
    pub reads: usize,
    /// Predicted nanoseconds of it alone.
    pub cost: f64,
}

/// How much dearer launches are made for the search to find forms with fewer of them. What is guessed to be 64 is often 1.
const DEARER: [f64; 3] = [1.0, 8.0, 64.0];

/// Chooses the ops of `func` anew, in ways that differ in how dear a dispatch is; `given` is the same function as another pass fused it,
/// and where the search begins. Nothing if there is nothing to choose.
pub fn choose(func: &Func, given: &Func, place: &Place<'_>, groups: &[Group], rates: &Rates) -> Vec<(Func, Report)> {
    if func.sizes().next().is_some() {
        return vec![];
    }
    search(func, given, place, groups, rates).unwrap_or_default()
}

fn search(func: &Func, given: &Func, place: &Place<'_>, groups: &[Group], rates: &Rates) -> Option<Vec<(Func, Report)>> {
    let mut g = Graph { egraph: EGraph::new(Classes), tables: Tables::new(), of: BTreeMap::new() };
    g.fill(func)?;
    let mut rules = Rules::new(place.ranges, groups);
    // First, so that rules go on from there: a class that is full has no room for what comes last.
    let chosen = g.add_given(func, given)?;
    g.saturate(func, &mut rules);
    let chosen = g.canonical(chosen);
    let (classes, nodes, mut problem) = g.problem(func, place, rates);
    let start: Vec<usize> =
        classes.iter().zip(&nodes).map(|(c, list)| chosen.get(c).and_then(|n| list.iter().position(|m| m == n)).unwrap_or(0)).collect();
    let costs = problem.clone();
    let mut found: Vec<(Vec<usize>, Report)> = vec![];
    for dearer in DEARER {
        for (dear, plain) in problem.classes.iter_mut().flatten().zip(costs.classes.iter().flatten()) {
            // What costs nothing is no dispatch.
            dear.cost = plain.cost + if plain.cost > 0.0 { (dearer - 1.0) * rates.launch() } else { 0.0 };
        }
        let best = extract::extract(&problem, &start);
        if found.iter().any(|(same, _)| *same == best) {
            continue;
        }
        let report = Report {
            classes: classes.len(),
            nodes: nodes.iter().map(Vec::len).sum(),
            fired: rules.fired.iter().map(|(group, n)| (group.name(), *n)).collect(),
            given: extract::cost(&costs, &start),
            chosen: extract::cost(&costs, &best),
            changed: best.iter().zip(&start).filter(|(a, b)| a != b).count(),
            choices: g.choices(&nodes, &costs, &start, &best),
        };
        found.push((best, report));
    }
    Some(found.into_iter().map(|(best, report)| (g.rebuild(func, &classes, &nodes, &best), report)).collect())
}

/// What a node's cost depends on: its op and type; of each operand the type, whether it is a constant, and which is the same as it.
type Alike = (What, u32, Vec<(u32, bool, usize)>);

struct Graph {
    egraph: EGraph<Node, Classes>,
    tables: Tables,
    /// The class of each value of the function.
    of: BTreeMap<Value, Id>,
}

fn opaque(op: &Op) -> bool {
    matches!(op, Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. })
}

impl Graph {
    /// A class for every value, as the function computes it.
    fn fill(&mut self, func: &Func) -> Option<()> {
        let mut at = 0;
        let leaf = |g: &mut Graph, v: Value, at: usize| {
            let (ty, loc) = (g.tables.ty(func.ty(v).clone()), g.tables.loc(Loc::none()));
            let id = g.egraph.add(Node { what: What::Leaf(v), ty, children: vec![], loc });
            g.egraph[id].data.at = at;
            g.of.insert(v, id);
        };
        func.body.args.iter().for_each(|v| leaf(self, *v, 0));
        let mut readers: BTreeMap<Value, usize> = BTreeMap::new();
        for op in &func.body.ops {
            at += 1;
            for v in op.operands.iter().collect::<BTreeSet<_>>() {
                *readers.entry(*v).or_default() += 1;
            }
            if opaque(&op.op) {
                op.results.iter().for_each(|v| leaf(self, *v, at));
                continue;
            }
            let result = op.result()?;
            let children = op.operands.iter().map(|v| self.of.get(v).copied()).collect::<Option<Vec<_>>>()?;
            let (ty, loc) = (self.tables.ty(func.ty(result).clone()), self.tables.loc(op.loc.clone()));
            let id = self.egraph.add(Node { what: self.tables.op(op.op.clone()), ty, children, loc });
            let data = &mut self.egraph[id].data;
            data.at = data.at.min(at);
            self.of.insert(result, id);
        }
        func.body.yields.iter().for_each(|v| *readers.entry(*v).or_default() += 1);
        for (v, n) in readers {
            let id = *self.of.get(&v)?;
            self.egraph[id].data.users += n;
        }
        self.egraph.rebuild();
        Some(())
    }

    /// Applies all rules, operands before users.
    fn saturate(&mut self, func: &Func, rules: &mut Rules<'_>) {
        let mut done = BTreeSet::new();
        for op in &func.body.ops {
            let Some(id) = op.result().filter(|_| !opaque(&op.op)).and_then(|r| self.of.get(&r)) else { continue };
            let id = self.egraph.find(*id);
            if !done.insert(id) {
                continue;
            }
            let mut open = self.nodes(id);
            let mut next = 0;
            while let Some(user) = open.get(next).cloned() {
                next += 1;
                let mut children = user.children.clone();
                children.dedup();
                for child in children {
                    let child = self.egraph.find(child);
                    for maker in self.nodes(child) {
                        for node in rules.apply(&self.egraph, &mut self.tables, &user, child, &maker) {
                            if open.len() < MOST_NODES && !open.contains(&node) {
                                let added = self.egraph.add(node.clone());
                                self.egraph.union(id, added);
                                open.push(node);
                            }
                        }
                    }
                }
            }
        }
        // Once: it looks at every node there is.
        self.egraph.rebuild();
    }

    /// A class's nodes over classes as they are known by now.
    fn nodes(&self, id: Id) -> Vec<Node> {
        self.egraph[id].nodes.iter().map(|n| n.clone().map_children(|c| self.egraph.find(c))).collect()
    }

    /// Adds the ops of `given` to the classes of their results; gives the node of each.
    fn add_given(&mut self, func: &Func, given: &Func) -> Option<BTreeMap<Id, Node>> {
        let mut chosen = BTreeMap::new();
        for op in given.body.ops.iter().filter(|o| !opaque(&o.op)) {
            let result = op.result()?;
            let id = *self.of.get(&result)?;
            let children = op.operands.iter().map(|v| self.of.get(v).copied()).collect::<Option<Vec<_>>>()?;
            let (ty, loc) = (self.tables.ty(func.ty(result).clone()), self.tables.loc(op.loc.clone()));
            let node = Node { what: self.tables.op(op.op.clone()), ty, children, loc };
            let added = self.egraph.add(node.clone());
            self.egraph.union(id, added);
            chosen.insert(id, node);
        }
        self.egraph.rebuild();
        Some(chosen)
    }

    fn canonical(&self, chosen: BTreeMap<Id, Node>) -> BTreeMap<Id, Node> {
        chosen.into_iter().map(|(id, n)| (self.egraph.find(id), n.map_children(|c| self.egraph.find(c)))).collect()
    }

    /// The classes in order of execution, their nodes, and what each costs.
    fn problem(&self, func: &Func, place: &Place<'_>, rates: &Rates) -> (Vec<Id>, Vec<Vec<Node>>, Problem) {
        let mut classes: Vec<Id> = self.of.values().map(|id| self.egraph.find(*id)).collect::<BTreeSet<_>>().into_iter().collect();
        let at = |id: Id| self.egraph[id].data.at;
        classes.sort_by_key(|id| (at(*id), *id));
        let position: BTreeMap<Id, usize> = classes.iter().enumerate().map(|(k, id)| (*id, k)).collect();
        let constant = |v: Value| {
            let constant = |n: &Node| matches!(self.tables.op_of(n.what), Some(Op::Constant { .. }));
            self.egraph[class(v)].nodes.iter().any(constant)
        };
        let types = |v: Value| self.tables.types.list[self.egraph[class(v)].data.ty as usize].clone();
        let mut known: BTreeMap<Alike, f64> = BTreeMap::new();
        let (mut all, mut problem) = (vec![], Problem { classes: vec![], roots: vec![] });
        for (k, id) in classes.iter().enumerate() {
            let (mut nodes, mut candidates) = (vec![], vec![]);
            for n in self.nodes(*id) {
                let children: Option<BTreeSet<usize>> = n.children.iter().map(|c| position.get(c).copied().filter(|p| *p < k)).collect();
                // Were a value computed from itself, nothing could begin.
                let Some(children) = children else { continue };
                // Layers of a model look alike: what was counted once is known.
                let reads: Vec<(u32, bool, usize)> = n
                    .children
                    .iter()
                    .map(|c| (self.egraph[*c].data.ty, constant(value(*c)), n.children.iter().position(|d| d == c).unwrap_or(0)))
                    .collect();
                let cost = *known.entry((n.what, n.ty, reads)).or_insert_with(|| match rules::operation(&self.tables, &n) {
                    Some(op) if matches!(op.op, Op::Map { .. } | Op::Reduce { .. } | Op::Scatter { .. }) => {
                        let op = Operation { results: vec![value(*id)], ..op };
                        rates.time(&cost::single(&op, &types, &constant, place))
                    }
                    _ => 0.0,
                });
                nodes.push(n);
                candidates.push(Candidate { cost, children: children.into_iter().collect() });
            }
            all.push(nodes);
            problem.classes.push(candidates);
        }
        let opaque_reads = func.body.ops.iter().filter(|o| opaque(&o.op)).flat_map(|o| &o.operands);
        let roots: BTreeSet<usize> = func
            .body
            .yields
            .iter()
            .chain(opaque_reads)
            .filter_map(|v| position.get(&self.egraph.find(*self.of.get(v)?)).copied())
            .collect();
        problem.roots = roots.into_iter().collect();
        (classes, all, problem)
    }

    /// What there was to choose between, for the classes that `best` needs.
    fn choices(&self, nodes: &[Vec<Node>], problem: &Problem, start: &[usize], best: &[usize]) -> Vec<Choice> {
        let needed = extract::needed(problem, best);
        let way = |(n, c): (&Node, &Candidate)| Way {
            op: self.tables.op_of(n.what).map_or("given", |op| op.info().mnemonic),
            of: self.tables.locs.get(n.loc as usize).cloned().unwrap_or_else(Loc::none),
            reads: n.children.len(),
            cost: c.cost,
        };
        let several = needed.into_iter().filter(|k| nodes.get(*k).is_some_and(|n| n.len() > 1));
        several
            .filter_map(|k| {
                let ways = nodes.get(k)?.iter().zip(problem.classes.get(k)?).map(way).collect();
                Some(Choice { ways, given: *start.get(k)?, chosen: *best.get(k)? })
            })
            .collect()
    }

    /// The function that computes each needed class by its chosen node.
    fn rebuild(&self, func: &Func, classes: &[Id], nodes: &[Vec<Node>], chosen: &[usize]) -> Func {
        let mut names: BTreeMap<Id, Value> = BTreeMap::new();
        let defined = func.body.args.iter().copied().chain(func.body.ops.iter().flat_map(|o| o.results.iter().copied()));
        for v in defined {
            if let Some(id) = self.of.get(&v) {
                names.entry(self.egraph.find(*id)).or_insert(v);
            }
        }
        let name = |v: &Value| self.of.get(v).and_then(|id| names.get(&self.egraph.find(*id))).copied().unwrap_or(*v);
        let mut at: BTreeMap<Id, usize> = BTreeMap::new();
        at.extend(classes.iter().enumerate().map(|(k, id)| (*id, k)));
        let mut ops = vec![];
        for op in &func.body.ops {
            if opaque(&op.op) {
                let mut op = op.clone();
                op.operands.iter_mut().for_each(|v| *v = name(v));
                ops.push(op);
                continue;
            }
            let Some(result) = op.result().filter(|r| name(r) == *r) else { continue };
            let Some(node) = self.of.get(&result).and_then(|id| {
                let k = *at.get(&self.egraph.find(*id))?;
                nodes.get(k)?.get(*chosen.get(k)?)
            }) else {
                continue;
            };
            let Some(mut chosen) = rules::operation(&self.tables, node) else { continue };
            chosen.operands = node.children.iter().filter_map(|c| names.get(c).copied()).collect();
            chosen.results = vec![result];
            ops.push(chosen);
        }
        let mut out = func.clone();
        out.body.ops = ops;
        out.body.yields.iter_mut().for_each(|v| *v = name(v));
        out.remove_dead();
        out
    }
}

#[cfg(test)]
mod tests;

//! From a graph with functions, in any order, to a plain list of nodes in which definitions come before uses. Model-local
//! functions are expanded by renaming; names that are missing, doubled or circular become diagnostics.

use super::limits::Limits;
use crate::diag::{Code, Diagnostic, Fault};
use crate::load::{canonical_domain, opset_in};
use crate::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One node to import: its place in the model, and the opset version that counts for it.
#[derive(Clone, Debug)]
pub struct Step<'m> {
    pub node: Cow<'m, NodeProto>,
    /// A name to show: the node's own, or that of its first output.
    pub name: String,
    pub opset: Option<i64>,
    /// The versions that count for its subgraphs.
    pub opsets: &'m [OperatorSetIdProto],
}

impl Step<'_> {
    /// The operator with its domain, as diagnostics show it.
    pub fn op(&self) -> String {
        match canonical_domain(self.node.domain()) {
            "" => self.node.op_type().to_owned(),
            domain => format!("{domain}.{}", self.node.op_type()),
        }
    }
}

/// All steps of the model's graph in order. Problems are added to `out`; what can be ordered is returned all the same.
pub fn flatten<'m>(model: &'m ModelProto, graph: &'m GraphProto, limits: &Limits, out: &mut Vec<Diagnostic>) -> Vec<Step<'m>> {
    body(model, graph, Surroundings { opsets: &model.opset_import, place: "", known: &|_| false }, limits, out)
}

/// What a subgraph has around it.
#[derive(Clone, Copy)]
pub struct Surroundings<'m, 's> {
    pub opsets: &'m [OperatorSetIdProto],
    /// The name of the node that the graph belongs to.
    pub place: &'s str,
    /// Is it a value of the graphs around?
    pub known: &'s dyn Fn(&str) -> bool,
}

/// As [`flatten`], for a graph inside of a node.
pub fn body<'m>(
    model: &'m ModelProto,
    graph: &'m GraphProto,
    around: Surroundings<'m, '_>,
    limits: &Limits,
    out: &mut Vec<Diagnostic>,
) -> Vec<Step<'m>> {
    let functions = model.functions.iter().map(|f| (key(f.domain(), f.name(), f.overload()), f)).collect();
    let mut e = Expander { functions, limits, steps: vec![], calls: 0, out };
    // Counted before anything is built: functions that call others twice each grow without end.
    let mut known = BTreeMap::new();
    let count = graph.node.iter().fold(0usize, |n, node| n.saturating_add(e.count(node, 0, &mut known)));
    if count > limits.nodes {
        let f = Fault::new(Code::Limit, format!("the model has more than {} nodes after its functions are expanded", limits.nodes));
        e.out.push(f.help(format!("if the model is to be trusted: --limit nodes={count}")).of_model());
        return vec![];
    }
    for node in &graph.node {
        e.expand(Cow::Borrowed(node), around.opsets, &mut vec![], around.place);
        if e.steps.len() > limits.nodes {
            let text = format!("the model has more than {} nodes after its functions are expanded", limits.nodes);
            e.out.push(Fault::new(Code::Limit, text).of_model());
            return vec![];
        }
    }
    let steps = e.steps;
    order(steps, graph, around.known, out)
}

type Key = (String, String, String);

fn key(domain: &str, name: &str, overload: &str) -> Key {
    (canonical_domain(domain).to_owned(), name.to_owned(), overload.to_owned())
}

struct Expander<'m, 'o> {
    functions: BTreeMap<Key, &'m FunctionProto>,
    limits: &'o Limits,
    steps: Vec<Step<'m>>,
    calls: usize,
    out: &'o mut Vec<Diagnostic>,
}

/// What a node is called in messages: its name, or that of its first result.
pub(super) fn shown(node: &NodeProto) -> &str {
    match node.name() {
        "" => node.output.iter().find(|o| !o.is_empty()).map_or("(unnamed)", |o| o.as_str()),
        name => name,
    }
}

impl<'m> Expander<'m, '_> {
    /// How many nodes a node becomes. A function that calls itself counts once; expansion says what is wrong with it.
    fn count(&self, node: &NodeProto, depth: usize, known: &mut BTreeMap<Key, usize>) -> usize {
        let key = key(node.domain(), node.op_type(), node.overload());
        let Some(function) = self.functions.get(&key).filter(|_| depth <= self.limits.call_depth) else { return 1 };
        if let Some(n) = known.get(&key) {
            return *n;
        }
        known.insert(key.clone(), 1);
        let inner = function.node.iter().fold(0usize, |n, node| n.saturating_add(self.count(node, depth + 1, known)));
        known.insert(key, inner);
        inner
    }

    fn expand(&mut self, node: Cow<'m, NodeProto>, opsets: &'m [OperatorSetIdProto], stack: &mut Vec<Key>, place: &str) {
        let own = shown(&node);
        let name = if place.is_empty() { own.to_owned() } else { format!("{place}/{own}") };
        match super::flex::parts(&node) {
            None => {}
            Some(Ok(parts)) => return parts.into_iter().for_each(|n| self.expand(Cow::Owned(n), opsets, stack, &name)),
            Some(Err(f)) => return self.out.push(f.at(&name, node.op_type())),
        }
        let key = key(node.domain(), node.op_type(), node.overload());
        let Some(&function) = self.functions.get(&key) else {
            let opset = opset_in(opsets, node.domain());
            self.steps.push(Step { node, name, opset, opsets });
            return;
        };
        let fail = |why: &str| Fault::new(Code::BadFunction, why.to_owned()).at(&name, node.op_type());
        if stack.contains(&key) {
            self.out.push(fail("the function calls itself"));
            return;
        }
        if stack.len() >= self.limits.call_depth {
            let f = Fault::new(Code::Limit, format!("functions call functions more than {} deep", self.limits.call_depth));
            self.out.push(f.at(&name, node.op_type()));
            return;
        }
        if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
            self.out.push(fail("the call has more inputs or outputs than the function"));
            return;
        }
        stack.push(key);
        self.calls += 1;
        let call = Call::new(&node, function, format!("{}@{}", function.name(), self.calls));
        for inner in &function.node {
            if self.steps.len() > self.limits.nodes {
                break;
            }
            self.expand(Cow::Owned(call.rename_node(inner)), &function.opset_import, stack, &name);
        }
        stack.pop();
    }
}

/// One call of a function: what its names and attributes become.
struct Call<'a> {
    names: BTreeMap<&'a str, &'a str>,
    attributes: BTreeMap<&'a str, &'a AttributeProto>,
    prefix: String,
}

impl<'a> Call<'a> {
    fn new(node: &'a NodeProto, function: &'a FunctionProto, prefix: String) -> Self {
        let mut names = BTreeMap::new();
        for (k, formal) in function.input.iter().enumerate() {
            names.insert(formal.as_str(), node.input.get(k).map_or("", |s| s.as_str()));
        }
        for (formal, actual) in function.output.iter().zip(&node.output) {
            if !actual.is_empty() {
                names.insert(formal, actual);
            }
        }
        let defaults = function.attribute_proto.iter();
        let attributes = defaults.chain(&node.attribute).map(|a| (a.name(), a)).collect();
        Call { names, attributes, prefix }
    }

    fn rename(&self, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        self.names.get(name).map_or_else(|| format!("{}/{name}", self.prefix), |s| (*s).to_owned())
    }

    fn rename_node(&self, node: &NodeProto) -> NodeProto {
        let mut n = node.clone();
        n.input.iter_mut().chain(&mut n.output).for_each(|s| *s = self.rename(s));
        n.attribute = node.attribute.iter().filter_map(|a| self.attribute(a)).collect();
        n
    }

    fn attribute(&self, a: &AttributeProto) -> Option<AttributeProto> {
        if !a.ref_attr_name().is_empty() {
            // An attribute that the call leaves out is left out inside as well.
            let given = *self.attributes.get(a.ref_attr_name())?;
            return Some(AttributeProto { name: a.name.clone(), ..given.clone() });
        }
        let mut a = a.clone();
        for g in a.g.iter_mut().chain(&mut a.graphs) {
            for node in &mut g.node {
                *node = self.rename_node(node);
            }
            let declared = g.input.iter_mut().chain(&mut g.output).chain(&mut g.value_info).map(|v| &mut v.name);
            for name in declared.chain(g.initializer.iter_mut().map(|t| &mut t.name)) {
                *name = name.as_deref().map(|n| self.rename(n));
            }
        }
        Some(a)
    }
}

/// Names from outside that a node's subgraphs use.
pub fn captured<'a>(graph: &'a GraphProto, found: &mut Vec<&'a str>) {
    let declared = graph.input.iter().map(|i| i.name()).chain(graph.initializer.iter().map(|t| t.name()));
    let inside: BTreeSet<&str> = declared.chain(graph.node.iter().flat_map(|n| n.output.iter().map(|s| s.as_str()))).collect();
    let mut uses = vec![];
    for n in &graph.node {
        uses.extend(n.input.iter().map(|s| s.as_str()));
        for a in &n.attribute {
            a.g.iter().chain(&a.graphs).for_each(|g| captured(g, &mut uses));
        }
    }
    uses.extend(graph.output.iter().map(|o| o.name()));
    found.extend(uses.into_iter().filter(|u| !u.is_empty() && !inside.contains(u)));
}

/// Kahn's algorithm with the file's order as the tie-break, so that a sorted model stays as it is.
fn order<'m>(steps: Vec<Step<'m>>, graph: &GraphProto, known: &dyn Fn(&str) -> bool, out: &mut Vec<Diagnostic>) -> Vec<Step<'m>> {
    let mut outer: BTreeSet<&str> = BTreeSet::new();
    let mut initializers = BTreeSet::new();
    for t in &graph.initializer {
        if !initializers.insert(t.name()) {
            out.push(Fault::new(Code::DuplicateName, format!("two initializers are named `{}`", t.name().escape_debug())).of_model());
        }
    }
    for i in &graph.input {
        if i.name().is_empty() || !outer.insert(i.name()) {
            out.push(Fault::new(Code::DuplicateName, format!("two inputs are named `{}`", i.name().escape_debug())).of_model());
        }
    }
    outer.extend(initializers);
    let mut producer: BTreeMap<&str, usize> = BTreeMap::new();
    for (k, s) in steps.iter().enumerate() {
        for o in s.node.output.iter().filter(|o| !o.is_empty()) {
            if outer.contains(o.as_str()) || producer.insert(o, k).is_some() {
                let f = Fault::new(Code::DuplicateName, format!("output `{}` is defined before", o.escape_debug()));
                out.push(f.at(&s.name, &s.op()));
            }
        }
    }
    let mut waits = vec![0usize; steps.len()];
    let mut users: Vec<Vec<usize>> = vec![vec![]; steps.len()];
    for (k, s) in steps.iter().enumerate() {
        let mut needs: Vec<&str> = s.node.input.iter().map(|i| i.as_str()).filter(|i| !i.is_empty()).collect();
        for a in &s.node.attribute {
            a.g.iter().chain(&a.graphs).for_each(|g| captured(g, &mut needs));
        }
        for need in needs {
            if outer.contains(need) {
                continue;
            }
            match producer.get(need) {
                Some(&p) => {
                    users[p].push(k);
                    waits[k] += 1;
                }
                None if known(need) => {}
                None => {
                    let f = Fault::new(Code::UndefinedName, format!("nothing defines its input `{}`", need.escape_debug()));
                    out.push(f.at(&s.name, &s.op()));
                }
            }
        }
    }
    let sorted = waits.iter().zip(steps.iter().enumerate()).all(|(w, (k, s))| {
        *w == 0
            || s.node.input.iter().filter_map(|i| producer.get(i.as_str())).all(|p| *p < k)
                && s.node.attribute.iter().all(|a| a.g.is_none())
    });
    if sorted {
        return steps;
    }
    let mut ready: BTreeSet<usize> = (0..steps.len()).filter(|k| waits[*k] == 0).collect();
    let mut sequence = VecDeque::new();
    while let Some(k) = ready.pop_first() {
        sequence.push_back(k);
        for &u in &users[k] {
            waits[u] -= 1;
            if waits[u] == 0 {
                ready.insert(u);
            }
        }
    }
    let mut steps: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    let ordered = sequence.iter().filter_map(|k| steps[*k].take()).collect();
    if let Some(s) = steps.iter().flatten().next() {
        let f =
            Fault::new(Code::Cycle, format!("this node and {} others wait for each other in a circle", steps.iter().flatten().count() - 1));
        out.push(f.at(&s.name, &s.op()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{AttributeType, ValueInfoProto};

    /// Operator, inputs, outputs.
    type Line = (String, Vec<String>, Vec<String>);

    fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        let own = |v: &[&str]| v.iter().map(|s| s.to_string()).collect();
        NodeProto { op_type: Some(op.into()), input: own(inputs), output: own(outputs), ..Default::default() }
    }
    fn run(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> (Vec<Line>, Vec<Code>) {
        let input = ["x", "y"].map(|n| ValueInfoProto { name: Some(n.into()), ..Default::default() }).to_vec();
        let graph = GraphProto { node: nodes, input, ..Default::default() };
        let model = ModelProto { graph: Some(graph.clone()), functions, ..Default::default() };
        let mut out = vec![];
        let steps = flatten(&model, &graph, &Limits::default(), &mut out);
        let list = steps.iter().map(|s| (s.node.op_type().to_owned(), s.node.input.clone(), s.node.output.clone())).collect();
        (list, out.iter().map(|d| d.code).collect())
    }
    fn ops(list: &[Line]) -> Vec<&str> {
        list.iter().map(|(op, ..)| op.as_str()).collect()
    }

    #[test]
    fn unsorted_nodes_are_sorted() {
        let (list, out) = run(vec![node("C", &["b"], &["c"]), node("A", &["x"], &["a"]), node("B", &["a", "y"], &["b"])], vec![]);
        assert_eq!(ops(&list), ["A", "B", "C"]);
        assert!(out.is_empty());
    }

    #[test]
    fn bad_names_are_all_reported() {
        let nodes = vec![
            node("A", &["nowhere"], &["a"]),
            node("B", &["x"], &["a"]),
            node("C", &["d"], &["c"]),
            node("D", &["c"], &["d"]),
            node("E", &["x"], &["x"]),
        ];
        let (_, out) = run(nodes, vec![]);
        assert_eq!(out, [Code::DuplicateName, Code::DuplicateName, Code::UndefinedName, Code::Cycle]);
    }

    fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
        FunctionProto {
            name: Some(name.into()),
            domain: Some("my".into()),
            input: vec!["p".into(), "q".into()],
            output: vec!["r".into()],
            node: nodes,
            ..Default::default()
        }
    }
    fn call(name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        NodeProto { domain: Some("my".into()), ..node(name, inputs, outputs) }
    }

    #[test]
    fn functions_are_expanded_with_their_attributes() {
        let mut leaf = node("Leaf", &["p", "q"], &["t"]);
        leaf.attribute = vec![AttributeProto { name: Some("axis".into()), ref_attr_name: Some("k".into()), ..Default::default() }];
        let f = function("F", vec![leaf, node("Neg", &["t"], &["r"])]);
        let g = function("G", vec![call("F", &["p"], &["u"]), node("Abs", &["u"], &["r"])]);
        let (list, out) = run(vec![call("G", &["x", "y"], &["z"]), node("End", &["z"], &["e"])], vec![f.clone(), g]);
        assert!(out.is_empty(), "{out:?}");
        assert_eq!(ops(&list), ["Leaf", "Neg", "Abs", "End"]);
        assert_eq!(list[0].1, ["x", ""], "an input that the call leaves out is left out inside");
        assert_eq!(list[2].2, ["z"]);
        assert_ne!(list[0].2, list[1].2);

        let mut c = call("F", &["x", "y"], &["z"]);
        let k = AttributeProto { name: Some("k".into()), i: Some(3), r#type: Some(AttributeType::Int as i32), ..Default::default() };
        c.attribute = vec![k];
        let model = ModelProto { functions: vec![f], ..Default::default() };
        let graph = GraphProto { node: vec![c], input: vec![], ..Default::default() };
        let steps = flatten(&model, &graph, &Limits::default(), &mut vec![]);
        let a = &steps[0].node.attribute[0];
        assert_eq!((a.name(), a.i(), a.ref_attr_name()), ("axis", 3, ""));
    }

    #[test]
    fn recursion_and_explosion_are_refused() {
        let f = function("F", vec![call("F", &["p"], &["r"])]);
        assert_eq!(run(vec![call("F", &["x"], &["z"])], vec![f]).1, [Code::BadFunction]);
        // Each level calls the next one ten times: 10^12 nodes if nobody counted.
        let level = |k: usize| {
            let calls = (0..10).map(|j| call(&format!("F{}", k + 1), &["p"], &[&format!("o{j}")])).collect();
            function(&format!("F{k}"), calls)
        };
        let mut functions: Vec<_> = (0..12).map(level).collect();
        functions.push(function("F12", vec![node("Abs", &["p"], &["r"])]));
        assert_eq!(run(vec![call("F0", &["x"], &["z"])], functions).1, [Code::Limit]);
    }
}

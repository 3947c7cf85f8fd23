//! FlexAttention as plain nodes: scores, probabilities and values, with the nodes of its subgraphs in between.

use crate::attrs::bad;
use crate::diag::Fault;
use crate::load::canonical_domain;
use crate::proto::{AttributeProto, AttributeType, GraphProto, NodeProto};
use std::collections::BTreeMap;

/// The nodes that stand for `node`; `None` if it is of another kind.
pub fn parts(node: &NodeProto) -> Option<Result<Vec<NodeProto>, Fault>> {
    (canonical_domain(node.domain()) == "ai.onnx.preview" && node.op_type() == "FlexAttention").then(|| spelled(node))
}

fn spelled(node: &NodeProto) -> Result<Vec<NodeProto>, Fault> {
    let input = |k: usize| node.input.get(k).cloned().unwrap_or_default();
    let y = node.output.first().cloned().unwrap_or_default();
    let name = |step: &str| format!("{y}/{step}");
    let part = |step: &str, input: Vec<String>, output: String, attributes: &[&str]| NodeProto {
        op_type: Some(format!("FlexAttention.{step}")),
        attribute: node.attribute.iter().filter(|a| attributes.contains(&a.name())).cloned().collect(),
        input,
        output: vec![output],
        ..node.clone()
    };
    if let Some(a) = node.attribute.iter().find(|a| !["scale", "softmax_precision", "score_mod", "prob_mod"].contains(&a.name())) {
        return Err(bad(a.name(), "is not known"));
    }
    let mut out = vec![part("scores", vec![input(0), input(1)], name("scores"), &["scale", "softmax_precision"])];
    let mut last = name("scores");
    for (step, attribute) in [("score_mod", "score_mod"), ("probs", ""), ("prob_mod", "prob_mod")] {
        if attribute.is_empty() {
            out.push(part(step, vec![last], name(step), &[]));
            last = name(step);
        } else if let Some(a) = node.attribute.iter().find(|a| a.name() == attribute) {
            let graph = a.g.as_ref().ok_or_else(|| bad(attribute, "holds no graph"))?;
            out.extend(inlined(graph, attribute, &last, &name(step))?);
            last = name(step);
        }
    }
    out.push(part("values", vec![last, input(2)], y.clone(), &[]));
    Ok(out)
}

/// The nodes of a subgraph from one value to another, under names of their own.
fn inlined(graph: &GraphProto, what: &str, from: &str, to: &str) -> Result<Vec<NodeProto>, Fault> {
    let ([input], [output]) = (graph.input.as_slice(), graph.output.as_slice()) else {
        return Err(bad(what, "must have one input and one output"));
    };
    let defined = graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)).chain(graph.initializer.iter().map(|t| t.name()));
    let mut names: BTreeMap<&str, String> = defined.filter(|n| !n.is_empty()).map(|n| (n, format!("{to}/{n}"))).collect();
    names.insert(input.name(), from.to_owned());
    let mut out = vec![];
    for t in &graph.initializer {
        let value = AttributeProto {
            name: Some("value".into()),
            r#type: Some(AttributeType::Tensor as i32),
            t: Some(t.clone()),
            ..Default::default()
        };
        let output = names.get(t.name()).cloned().into_iter().collect();
        out.push(NodeProto { op_type: Some("Constant".into()), output, attribute: vec![value], ..Default::default() });
    }
    out.extend(graph.node.iter().map(|n| renamed(n, &names)));
    // Whatever the output is: a node's, the input itself, or something from outside.
    let last = names.get(output.name()).cloned().unwrap_or_else(|| output.name().to_owned());
    out.push(NodeProto { op_type: Some("Identity".into()), input: vec![last], output: vec![to.to_owned()], ..Default::default() });
    Ok(out)
}

/// Names that are not in the table come from outside and stay.
fn renamed(node: &NodeProto, names: &BTreeMap<&str, String>) -> NodeProto {
    let mut n = node.clone();
    let rename = |s: &mut String| {
        if let Some(new) = names.get(s.as_str()) {
            s.clone_from(new);
        }
    };
    n.input.iter_mut().chain(&mut n.output).for_each(rename);
    for a in &mut n.attribute {
        for g in a.g.iter_mut().chain(&mut a.graphs) {
            g.node.iter_mut().for_each(|inner| *inner = renamed(inner, names));
            for v in &mut g.output {
                v.name.iter_mut().for_each(rename);
            }
        }
    }
    n
}

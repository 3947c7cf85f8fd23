//! Inputs that are sequences or optionals, of a length that the caller says: they become one tensor each (`x.0`, `x.1`, …), and
//! nodes in front of the others put the list together. Nothing behind this knows that there are such inputs.

use super::node;
use crate::diag::{Code, Diagnostic, Fault};
use crate::proto::type_proto::{Tensor as TensorType, Value as Kind};
use crate::proto::{AttributeProto, AttributeType, DimValue, Dimension, GraphProto, TensorShapeProto, TypeProto, ValueInfoProto};
use std::collections::BTreeMap;

/// What is known of a sequence's or an optional's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// So many, of the type that the model declares.
    Count(usize),
    /// One shape an element.
    Shapes(Vec<Vec<u64>>),
}

impl Items {
    pub fn len(&self) -> usize {
        match self {
            Items::Count(n) => *n,
            Items::Shapes(s) => s.len(),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The most elements of a list.
const MAX_ITEMS: usize = 4096;

/// The name of an element.
pub fn item_name(list: &str, k: usize) -> String {
    format!("{list}.{k}")
}

/// The declared type of a list's elements, and whether they are in a sequence, and that in an optional.
fn element(kind: &Kind) -> Option<(&TensorType, bool, bool)> {
    let inner = |t: &'_ Option<Box<TypeProto>>| t.as_ref().and_then(|t| t.value.as_ref()).is_some();
    match kind {
        Kind::SequenceType(s) if inner(&s.elem_type) => match s.elem_type.as_ref()?.value.as_ref()? {
            Kind::TensorType(t) => Some((t, true, false)),
            _ => None,
        },
        Kind::OptionalType(o) => match o.elem_type.as_ref()?.value.as_ref()? {
            Kind::TensorType(t) => Some((t, false, true)),
            k => element(k).filter(|e| e.1).map(|(t, ..)| (t, true, true)),
        },
        _ => None,
    }
}

fn kind(v: &ValueInfoProto) -> Option<&Kind> {
    v.r#type.as_ref()?.value.as_ref()
}

/// Is it a sequence or an optional?
pub fn is_list(v: &ValueInfoProto) -> bool {
    matches!(kind(v), Some(Kind::SequenceType(_) | Kind::OptionalType(_)))
}

/// The graph without such inputs; `None` if it has none.
pub fn expand(graph: &GraphProto, items: &BTreeMap<String, Items>, out: &mut Vec<Diagnostic>) -> Option<GraphProto> {
    for name in items.keys().filter(|n| !graph.input.iter().any(|i| i.name() == *n && is_list(i))) {
        let f = Fault::new(Code::BadFix, format!("the model has no input `{}` that is a sequence or an optional", name.escape_debug()));
        out.push(f.of_model());
    }
    if !graph.input.iter().any(is_list) {
        return None;
    }
    let mut g = graph.clone();
    let (mut inputs, mut nodes) = (vec![], vec![]);
    for i in &graph.input {
        let Some(found) = kind(i).filter(|_| is_list(i)) else {
            inputs.push(i.clone());
            continue;
        };
        let name = i.name();
        let bad = |why: &str| Fault::new(Code::BadSignature, format!("input `{}` {why}", name.escape_debug()));
        let Some((ty, sequence, optional)) = element(found) else {
            out.push(bad("is a list of something else than tensors, which is not supported").of_model());
            continue;
        };
        let Some(items) = items.get(name).filter(|n| n.len() <= MAX_ITEMS && (sequence || n.len() <= 1)) else {
            let f = bad("is a sequence or an optional, whose length must be known when compiling");
            out.push(f.help(format!("say how many elements it has: --list {}=N", name.escape_debug())).of_model());
            continue;
        };
        let names: Vec<String> = (0..items.len()).map(|k| item_name(name, k)).collect();
        for (k, n) in names.iter().enumerate() {
            let mut ty = ty.clone();
            if let Items::Shapes(all) = items
                && let Some(shape) = all.get(k)
            {
                let dim = |d: &u64| Dimension { value: i64::try_from(*d).ok().map(DimValue::DimValue), ..Default::default() };
                ty.shape = Some(TensorShapeProto { dim: shape.iter().map(dim).collect() });
            }
            let r#type = Some(TypeProto { value: Some(Kind::TensorType(ty)), ..Default::default() });
            inputs.push(ValueInfoProto { name: Some(n.clone()), r#type, ..Default::default() });
        }
        let list = if optional && sequence { format!("{name}.list") } else { name.to_owned() };
        if sequence {
            let mut n = node(if names.is_empty() { "SequenceEmpty" } else { "SequenceConstruct" }, names.clone(), &list);
            if names.is_empty() {
                let elem = i64::from(ty.elem_type());
                let a = AttributeProto {
                    name: Some("dtype".into()),
                    i: Some(elem),
                    r#type: Some(AttributeType::Int as i32),
                    ..Default::default()
                };
                n.attribute.push(a);
            }
            nodes.push(n);
        }
        if optional {
            let of = if sequence { vec![list] } else { names };
            nodes.push(node("Optional", of, name));
        }
    }
    nodes.extend(std::mem::take(&mut g.node));
    (g.input, g.node) = (inputs, nodes);
    Some(g)
}

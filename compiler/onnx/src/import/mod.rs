//! ONNX to graph IR: walks the nodes in order, each through its handler, and collects every problem on the way. When a node
//! teaches something about the sizes, the walk starts over with what was learnt.

pub mod build;
pub mod call;
pub mod compose;
pub mod dims;
mod equal;
mod expr;
mod fix;
mod flatten;
mod flex;
mod in_range;
mod inline;
pub mod known;
pub mod limits;
mod lists;
mod math;
pub mod options;
pub(crate) mod packed;
mod scope;
mod sink;
mod strings;
pub mod value;
mod wellformed;

pub use fix::Fixed;
pub use limits::Limits;
pub use lists::{Items, item_name};
pub use options::ImportOptions;

use crate::attrs::Attrs;
use crate::diag::{Code, Diagnostic, Fault};
use crate::load::{Model, canonical_domain};
use crate::ops;
use crate::proto::type_proto::Value as Kind;
use crate::proto::{GraphProto, NodeProto, TensorShapeProto, ValueInfoProto};
use build::Build;
use call::{Call, Out, dtype_number};
use dims::{Dims, Facts, Input};
use flatten::Step;
use odc_ir::core::{DType, Dim, Loc, TensorType, size_of_result};
use odc_ir::graph::Module;
use scope::Scope;
use std::collections::{BTreeMap, BTreeSet};
use value::{List, Val};

/// Opsets whose meaning is implemented.
pub const OPSETS: std::ops::RangeInclusive<i64> = 1..=28;

/// Each round learns at least one fact; real models need a handful.
const MAX_ROUNDS: usize = 64;

/// The graph of a model, or everything that is wrong with it.
pub fn import(model: &Model, options: &ImportOptions) -> Result<Module, Vec<Diagnostic>> {
    let empty = GraphProto::default();
    let graph = model.proto.graph.as_ref().unwrap_or(&empty);
    let mut out = vec![];
    match model.opset("") {
        Some(v) if OPSETS.contains(&v) => {}
        Some(v) => out.push(
            Fault::new(Code::Opset, format!("opset {v} is not supported; supported are {} to {}", OPSETS.start(), OPSETS.end())).of_model(),
        ),
        None if !graph.node.iter().any(|n| canonical_domain(n.domain()).is_empty()) => {}
        None => out.push(Fault::new(Code::Opset, "the model does not say which version of ai.onnx it was written for").of_model()),
    }
    wellformed::check(&model.proto, &mut out);
    let expanded = lists::expand(graph, &options.lists, &mut out);
    let graph = expanded.as_ref().unwrap_or(graph);
    let problems = match rounds(model, graph, options, out.clone()) {
        Ok(module) => return Ok(module),
        Err(problems) => problems,
    };
    let mut sunk = sink::into_branches(graph, &problems);
    for _ in 0..sink::MAX_MOVES {
        let Some(graph) = sunk else { break };
        match rounds(model, &graph, options, out.clone()) {
            Ok(module) => return Ok(module),
            Err(more) => sunk = sink::into_branches(&graph, &more),
        }
    }
    Err(problems)
}

/// Walks the graph until nothing more is learnt; adds what is wrong to `out`.
fn rounds(model: &Model, graph: &GraphProto, options: &ImportOptions, mut out: Vec<Diagnostic>) -> Result<Module, Vec<Diagnostic>> {
    let steps = flatten::flatten(&model.proto, graph, &options.limits, &mut out);
    if !graph.sparse_initializer.is_empty() {
        out.push(Fault::new(Code::UnsupportedType, "sparse initializers are not supported").of_model());
    }
    let mut facts = Facts::default();
    for _ in 0..MAX_ROUNDS {
        let round = Round { model, graph, options, steps: &steps };
        match round.run(facts, &out) {
            Pass::Done(module) => return typed(*module),
            Pass::Failed(all) => return Err(all),
            Pass::Again(learnt) => facts = learnt,
        }
    }
    out.push(Fault::new(Code::Undecided, "the sizes of this model do not settle").help("fix some dims with --dim").of_model());
    Err(out)
}

/// The last check: operands whose types no handler looked at.
fn typed(module: Module) -> Result<Module, Vec<Diagnostic>> {
    let errors = odc_ir::graph::verify(&module);
    if errors.is_empty() {
        return Ok(module);
    }
    Err(errors.into_iter().map(|e| Fault::new(Code::BadOperand, e.message).at(&e.loc, &e.op)).collect())
}

enum Pass {
    Done(Box<Module>),
    Failed(Vec<Diagnostic>),
    Again(Facts),
}

struct Round<'m> {
    model: &'m Model,
    graph: &'m GraphProto,
    options: &'m ImportOptions,
    steps: &'m [Step<'m>],
}

impl<'m> Round<'m> {
    fn run(&self, facts: Facts, before: &[Diagnostic]) -> Pass {
        let mut out = before.to_vec();
        let initializers: BTreeSet<&str> = self.graph.initializer.iter().map(|t| t.name()).collect();
        let fixed = fix::values(&self.graph.input, &self.options.fix, &mut out);
        let is_input = |i: &&ValueInfoProto| !initializers.contains(i.name()) && !fixed.contains_key(i.name());
        let inputs: Vec<&ValueInfoProto> = self.graph.input.iter().filter(is_input).collect();
        let (types, dims, shapes) = self.signature(&inputs, facts, &mut out);
        let mut build = Build::new(self.graph.name(), dims, self.options.limits.clone());
        let mut values: BTreeMap<&str, Val> = BTreeMap::new();
        for ((i, dtype), shape) in inputs.iter().zip(types).zip(shapes) {
            let ty = TensorType::new(dtype, shape);
            if let Err(f) = build.within_limits(&ty) {
                out.push(Fault { message: format!("input `{}`: {}", i.name().escape_debug(), f.message), ..f }.of_model());
            }
            values.insert(i.name(), build.param(i.name(), ty));
        }
        for t in self.graph.initializer.iter().filter(|t| !fixed.contains_key(t.name())) {
            match call::constant(&mut build, t, &self.model.external).and_then(|v| build.within_limits(&v.ty).map(|()| v)) {
                Ok(v) => drop(values.insert(t.name(), v)),
                Err(f) => {
                    let f = Fault { message: format!("initializer `{}`: {}", t.name().escape_debug(), f.message), ..f };
                    out.push(f.of_model());
                }
            }
        }
        values.extend(fixed.into_iter().map(|(name, (ty, t))| (name, build.literal(ty, t))));
        let declared: BTreeMap<&str, &ValueInfoProto> =
            self.graph.value_info.iter().chain(&self.graph.output).map(|v| (v.name(), v)).collect();
        self.walk(self.steps, &mut build, &mut values, &declared, &mut out);
        if build.dims.learnt {
            return Pass::Again(build.dims.facts);
        }
        build.loc = Loc::none();
        let results = self.results(&mut build, &values, &mut out);
        if out.is_empty() { Pass::Done(Box::new(build.finish(results))) } else { Pass::Failed(out) }
    }

    /// Imports steps in order, until something is learnt.
    fn walk<'s>(
        &self,
        steps: &'s [Step<'s>],
        build: &mut Build,
        values: &mut BTreeMap<&'s str, Val>,
        declared: &BTreeMap<&str, &ValueInfoProto>,
        out: &mut Vec<Diagnostic>,
    ) {
        for step in steps {
            build.loc = Loc::new(&step.name);
            let result = match self.inlined(step, build, values, out) {
                Some(result) => result,
                None => self.step(step, build, values, out),
            };
            if build.dims.learnt {
                return;
            }
            let failed = result.is_none();
            let results = result.unwrap_or_default();
            for (k, name) in step.node.output.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
                let fault = match (results.get(k), declared.get(name.as_str())) {
                    (None, _) if !failed => Err(Fault::new(Code::Arity, format!("has no output {k}, gives {}", results.len()))),
                    (Some(v), Some(d)) => wellformed::as_declared(v, d, None),
                    _ => Ok(()),
                };
                if let Err(f) = fault {
                    out.push(f.at(&step.name, &step.op()));
                }
                // A failed node still has the type that the model declares, so that the nodes behind it are checked too.
                let value = results.get(k).cloned().or_else(|| declared_type(declared.get(name.as_str())?).map(Val::broken));
                if let Some(v) = value {
                    values.insert(name, v);
                }
            }
        }
    }

    /// Element types, dims and shapes of the inputs.
    fn signature(&self, inputs: &[&'m ValueInfoProto], facts: Facts, out: &mut Vec<Diagnostic>) -> (Vec<DType>, Dims, Vec<Vec<Dim>>) {
        let mut types = vec![];
        let mut list = vec![];
        let appended = appended_axes(self.steps);
        for i in inputs {
            let (dtype, dims): (_, &[crate::proto::Dimension]) = match tensor_type(i) {
                Ok((dtype, shape)) => (dtype, &shape.dim),
                Err(f) => {
                    out.push(f.of_model());
                    (DType::F32, &[])
                }
            };
            types.push(dtype);
            let front = |a: &i64| usize::try_from(if *a < 0 { a.saturating_add(dims.len() as i64) } else { *a }).ok();
            let grows = appended.get(i.name()).into_iter().flatten().filter_map(front).collect();
            list.push(Input { name: i.name(), dims, grows });
        }
        let (dims, shapes) = Dims::declare(&list, self.options, facts, out);
        (types, dims, shapes)
    }

    fn step(&self, step: &Step, build: &mut Build, values: &BTreeMap<&str, Val>, out: &mut Vec<Diagnostic>) -> Option<Vec<Val>> {
        let mut report = |f: Fault| out.push(f.at(&step.name, &step.op()));
        let domain = canonical_domain(step.node.domain());
        let Some(row) = ops::find(domain, step.node.op_type()) else {
            let what = if ops::knows(domain) { "the operator is not supported" } else { "operators of this domain are not supported" };
            report(Fault::new(Code::UnsupportedOp, what));
            return None;
        };
        // Exporters forget to name the version of other domains; there it says little.
        let opset = step.opset.unwrap_or(if domain.is_empty() { 0 } else { 1 });
        if !(row.since..=row.until).contains(&opset) {
            report(Fault::new(Code::UnsupportedVersion, format!("is not part of opset {opset}, which the model asks for")));
            return None;
        }
        let attrs = match Attrs::of(&step.node) {
            Ok(a) => a,
            Err(f) => {
                report(f);
                return None;
            }
        };
        let names = &step.node.input;
        let given = names.iter().rposition(|n| !n.is_empty()).map_or(0, |k| k + 1);
        if given < row.inputs.0 || given > row.inputs.1 {
            let (lo, hi) = row.inputs;
            let takes = if lo == hi {
                format!("{lo}")
            } else if hi == usize::MAX {
                format!("{lo} or more")
            } else {
                format!("{lo} to {hi}")
            };
            report(Fault::new(Code::Arity, format!("has {given} inputs, takes {takes}")));
            return None;
        }
        let mut inputs = vec![];
        for n in names.iter().take(given) {
            match values.get(n.as_str()) {
                _ if n.is_empty() => inputs.push(None),
                Some(v) => inputs.push(Some(v.clone())),
                // Its own problem was reported where it failed.
                None => return None,
            }
        }
        let list = inputs.iter().position(|v| v.as_ref().is_some_and(|v| v.list().is_some()));
        if let Some(k) = list.filter(|_| !ops::takes_lists(domain, step.node.op_type())) {
            report(Fault::new(Code::BadOperand, format!("input {k} is a sequence or an optional, must be a tensor")));
            return None;
        }
        let mut broken = inputs.iter().flatten().any(Val::is_broken);
        let mut outside = vec![];
        step.node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)).for_each(|g| flatten::captured(g, &mut outside));
        for name in outside {
            // As above.
            broken |= values.get(name)?.is_broken();
        }
        let mut scope = Scope { round: self, step, values, out: vec![] };
        let mut call =
            Call { build, node: &step.node, attrs: &attrs, opset, inputs, external: &self.model.external, subgraphs: &mut scope };
        let result: Out = (row.run)(&mut call);
        for f in std::mem::take(&mut call.build.dims.doubts) {
            report(f);
        }
        let inner = call.subgraphs.rollback(0);
        let failed_inside = !inner.is_empty();
        out.extend(inner);
        let mut report = |f: Fault| out.push(f.at(&step.name, &step.op()));
        match result {
            Ok(v) => {
                for name in attrs.unread() {
                    report(Fault::new(
                        Code::UnknownAttribute,
                        format!("attribute `{}` is not known for opset {opset}", name.escape_debug()),
                    ));
                }
                Some(v)
            }
            // It was reported where it happened.
            Err(_) if failed_inside => None,
            Err(mut f) => {
                // Where the handler does not say which operand it needs, it is one of its integers.
                if f.code == Code::DataDependentShape && f.inputs.is_empty() {
                    let operands = call.inputs.iter().flatten().filter(|v| v.dtype().is_int() && v.known.is_none());
                    let behind = operands.flat_map(|v| call.build.inputs_behind(v)).collect();
                    f = f.fixable(behind);
                }
                // An operand of a failed node has no known sizes: that is reported where it failed.
                if f.code != Code::DataDependentShape || !broken {
                    report(f);
                }
                None
            }
        }
    }

    fn results(&self, build: &mut Build, values: &BTreeMap<&str, Val>, out: &mut Vec<Diagnostic>) -> Vec<(String, odc_ir::core::Value)> {
        let mut results = vec![];
        let mut seen = BTreeSet::new();
        if self.graph.output.is_empty() {
            out.push(Fault::new(Code::BadSignature, "the model has no outputs").of_model());
        }
        for o in &self.graph.output {
            let name = o.name();
            if size_of_result(name).is_some() {
                out.push(
                    Fault::new(Code::BadSignature, format!("the name of the output `{}` is reserved", name.escape_debug())).of_model(),
                );
                continue;
            }
            if name.is_empty() || !seen.insert(name) {
                out.push(Fault::new(Code::DuplicateName, format!("two outputs are named `{}`", name.escape_debug())).of_model());
                continue;
            }
            let Some(v) = values.get(name) else {
                if out.is_empty() {
                    out.push(Fault::new(Code::UndefinedName, format!("nothing defines the output `{}`", name.escape_debug())).of_model());
                }
                continue;
            };
            if out.is_empty()
                && let Err(f) = wellformed::as_declared(v, o, Some(&build.dims.ranges))
            {
                out.push(f.of_model());
            }
            for (name, v) in tensors_of(name, v) {
                match build.value(v) {
                    Ok(v) => results.push((name, v)),
                    Err(f) => out.push(f.of_model()),
                }
            }
        }
        results
    }
}

/// The tensors that an output consists of, by name: those of a sequence are numbered, an empty optional is none.
fn tensors_of<'v>(name: &str, v: &'v Val) -> Vec<(String, &'v Val)> {
    match v.list() {
        None => vec![(name.to_owned(), v)],
        Some(List::Sequence(items)) => items.iter().enumerate().flat_map(|(k, v)| tensors_of(&item_name(name, k), v)).collect(),
        Some(List::Optional(inner)) => inner.iter().flat_map(|v| tensors_of(name, v)).collect(),
        // Nothing says how many outputs they would be: this is reported as a list that stands where a tensor must be.
        Some(List::Rows(_) | List::Growing(_)) => vec![(name.to_owned(), v)],
    }
}

/// A node of ours in a rewritten graph, named as what it gives.
fn node(op: &str, inputs: Vec<String>, output: &str) -> NodeProto {
    NodeProto { op_type: Some(op.into()), name: Some(output.into()), input: inputs, output: vec![output.into()], ..Default::default() }
}

/// The axes along which nodes append something to a value, as to a cache.
fn appended_axes<'m>(steps: &'m [Step]) -> BTreeMap<&'m str, Vec<i64>> {
    let mut axes: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for s in steps.iter().filter(|s| s.node.op_type() == "Concat") {
        let axis = s.node.attribute.iter().find(|a| a.name() == "axis").map_or(0, |a| a.i());
        s.node.input.iter().for_each(|name| axes.entry(name).or_default().push(axis));
    }
    // A cache may be kept in another type than it is computed in.
    for s in steps.iter().rev().filter(|s| matches!(s.node.op_type(), "Cast" | "Identity")) {
        if let (Some(from), Some(to)) = (s.node.input.first(), s.node.output.first())
            && let Some(more) = axes.get(to.as_str()).cloned()
        {
            axes.entry(from).or_default().extend(more);
        }
    }
    axes
}

/// Element type and shape of an input.
fn tensor_type(v: &ValueInfoProto) -> Result<(DType, &TensorShapeProto), Fault> {
    let name = v.name().escape_debug();
    let bad = |why: &str| Fault::new(Code::BadSignature, format!("input `{name}` {why}"));
    let Some(Kind::TensorType(t)) = v.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err(bad("is no tensor, which is not supported"));
    };
    let dtype = dtype_number(t.elem_type()).map_err(|f| Fault { message: format!("input `{name}`: {}", f.message), ..f })?;
    match &t.shape {
        Some(s) => Ok((dtype, s)),
        None => Err(bad("does not say how many axes it has").help("run shape inference when exporting the model")),
    }
}

/// The declared type of an inner value with sizes nobody relies on; `None` if it says too little.
fn declared_type(v: &ValueInfoProto) -> Option<TensorType> {
    let (dtype, shape) = tensor_type(v).ok()?;
    let dim = |d: &crate::proto::Dimension| match d.value {
        Some(crate::proto::DimValue::DimValue(v)) if v >= 0 => Some(Dim::from(v)),
        _ => None,
    };
    Some(TensorType::new(dtype, shape.dim.iter().map(dim).collect::<Option<Vec<_>>>()?))
}

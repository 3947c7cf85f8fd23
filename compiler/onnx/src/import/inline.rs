//! Bodies that are imported once a turn: those of `SequenceMap`, and of loops over sequences, which exist only while importing.

use super::Round;
use super::build::Build;
use super::call;
use super::flatten::{self, Step};
use super::value::{Elem, List, Val};
use crate::diag::{Code, Diagnostic, Fault};
use crate::proto::{GraphProto, ValueInfoProto};
use odc_ir::core::{DType, TensorType};
use std::collections::BTreeMap;

/// The most turns of a loop that is written out.
const MAX_TURNS: i64 = 4096;

/// The body of a node, with what it takes from outside as further inputs.
fn body_of(step: &Step, values: &BTreeMap<&str, Val>) -> Option<(GraphProto, Vec<Val>)> {
    let mut body = step.node.attribute.iter().find(|a| a.name() == "body")?.g.clone()?;
    let mut outer = vec![];
    flatten::captured(&body, &mut outer);
    outer.sort_unstable();
    outer.dedup();
    let found: Vec<(String, Val)> = outer.iter().filter_map(|n| Some(((*n).to_owned(), values.get(n)?.clone()))).collect();
    let inputs = found.iter().map(|(name, _)| ValueInfoProto { name: Some(name.clone()), ..Default::default() });
    body.input.extend(inputs);
    Some((body, found.into_iter().map(|(_, v)| v).collect()))
}

impl Round<'_> {
    /// Operators whose bodies are written out; `None` for others.
    pub(super) fn inlined(
        &self,
        step: &Step,
        build: &mut Build,
        values: &BTreeMap<&str, Val>,
        out: &mut Vec<Diagnostic>,
    ) -> Option<Option<Vec<Val>>> {
        let kind = step.op();
        if kind != "SequenceMap" && kind != "Loop" {
            return None;
        }
        let (body, outer) = body_of(step, values)?;
        let input = |n: &String| values.get(n.as_str());
        let has_lists = step.node.input.iter().filter_map(input).chain(&outer).any(|v| v.list().is_some());
        if !has_lists {
            return None;
        }
        let steps = flatten::flatten(&self.model.proto, &body, &self.options.limits, out);
        let given: Vec<Option<Val>> = step.node.input.iter().map(|n| input(n).cloned()).collect();
        if step.node.input.iter().zip(&given).any(|(n, v)| !n.is_empty() && v.is_none()) {
            // Its own problem was reported where it failed.
            return Some(None);
        }
        let before = out.len();
        let mut turn = |inputs: Vec<Val>, build: &mut Build| {
            let all = inputs.into_iter().chain(outer.iter().cloned());
            self.turn(&body, &steps, all, build, out)
        };
        let result = match kind.as_str() {
            "Loop" => match unrolled(step, given, build, &mut turn) {
                // Data says how long it is: it becomes a loop, if all it does with sequences is to read and to append.
                Err(f) if f.code == Code::DataDependentShape && out.len() == before => return None,
                result => result,
            },
            _ => mapped(step, given, build, &mut turn),
        };
        match result {
            Ok(v) => Some(v),
            Err(f) => {
                if out.len() == before {
                    out.push(f.at(&step.name, &step.op()));
                }
                Some(None)
            }
        }
    }

    /// The body's outputs for these inputs; `None` if something in it failed or was learnt.
    fn turn(
        &self,
        body: &GraphProto,
        steps: &[Step],
        inputs: impl Iterator<Item = Val>,
        build: &mut Build,
        out: &mut Vec<Diagnostic>,
    ) -> Option<Vec<Val>> {
        let mut values: BTreeMap<&str, Val> = body.input.iter().map(ValueInfoProto::name).zip(inputs).collect();
        for t in &body.initializer {
            match call::constant(build, t, &self.model.external) {
                Ok(v) => drop(values.insert(t.name(), v)),
                Err(f) => out.push(f.of_model()),
            }
        }
        self.walk(steps, build, &mut values, &BTreeMap::new(), out);
        if build.dims.learnt {
            return None;
        }
        body.output.iter().map(|o| values.get(o.name()).cloned()).collect()
    }
}

type Turn<'t> = &'t mut dyn FnMut(Vec<Val>, &mut Build) -> Option<Vec<Val>>;

/// The body once an element of the first sequence: other sequences give an element as well, tensors stay.
fn mapped(step: &Step, given: Vec<Option<Val>>, build: &mut Build, turn: Turn<'_>) -> Result<Option<Vec<Val>>, Fault> {
    let inputs: Vec<Val> = given.into_iter().flatten().collect();
    let Some(List::Sequence(first)) = inputs.first().and_then(Val::list) else {
        return Err(Fault::new(Code::BadOperand, "its first input must be a sequence"));
    };
    let mut results: Vec<Vec<Val>> = vec![vec![]; step.node.output.len()];
    for k in 0..first.len() {
        let item = |v: &Val| match v.list() {
            Some(List::Sequence(items)) => items.get(k).cloned(),
            _ => Some(v.clone()),
        };
        let all = inputs.iter().map(item).collect::<Option<Vec<_>>>();
        let all = all.ok_or_else(|| Fault::new(Code::BadOperand, "its sequences are not of one length"))?;
        let Some(outputs) = turn(all, build) else { return Ok(None) };
        results.iter_mut().zip(outputs).for_each(|(list, v)| list.push(v));
    }
    Ok(Some(results.into_iter().map(|items| Val::of_list(List::Sequence(items))).collect()))
}

/// A loop whose trip count and conditions are known.
fn unrolled(step: &Step, given: Vec<Option<Val>>, build: &mut Build, turn: Turn<'_>) -> Result<Option<Vec<Val>>, Fault> {
    let unknown = |what: &str| {
        let text = format!("{what} of a loop over sequences must be known when compiling");
        Fault::new(Code::DataDependentShape, text)
    };
    let mut given = given.into_iter();
    let trips = match given.next().flatten() {
        None => MAX_TURNS,
        Some(v) => {
            let open = || v.known_ints().unwrap_or_default().iter().flat_map(|d| build.dims.open(d)).collect();
            let unknown = || unknown("the trip count").fixable(build.inputs_behind(&v)).needs_dims(open());
            v.const_ints().and_then(|l| l.first().copied()).ok_or_else(unknown)?
        }
    };
    let holds = |v: &Val, build: &Build| {
        let known = v.known.as_ref().and_then(|k| k.first()).and_then(Elem::as_bool);
        known.ok_or_else(|| unknown("the condition").fixable(build.inputs_behind(v)))
    };
    let condition = given.next().flatten();
    let mut more = condition.as_ref().map_or(Ok(true), |v| holds(v, build))?;
    let mut carried: Vec<Val> = given.flatten().collect();
    if step.node.output.len() > carried.len() {
        return Err(Fault::new(Code::UnsupportedUse, "stacked outputs of a loop over sequences are not supported")
            .help("collect them in a sequence"));
    }
    if trips > MAX_TURNS {
        return Err(Fault::new(Code::Limit, format!("a loop over sequences may have {MAX_TURNS} turns, this one has {trips}")));
    }
    let scalar = |dtype, e| Val::known(TensorType::scalar(dtype), vec![e]);
    for k in 0..trips {
        if !more {
            break;
        }
        let mut inputs = vec![scalar(DType::I64, Elem::int(k)), scalar(DType::Bool, Elem::bool(true))];
        inputs.extend(carried.iter().cloned());
        let Some(outputs) = turn(inputs, build) else { return Ok(None) };
        let mut outputs = outputs.into_iter();
        more = outputs.next().as_ref().map_or(Ok(true), |v| holds(v, build))?;
        carried = outputs.take(carried.len()).collect();
        if k + 1 == MAX_TURNS && more && trips == MAX_TURNS {
            return Err(Fault::new(Code::Limit, format!("a loop over sequences has more than {MAX_TURNS} turns")));
        }
    }
    Ok(Some(carried))
}

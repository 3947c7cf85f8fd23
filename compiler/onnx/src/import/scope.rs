//! Subgraphs of a node: imported where the node stands, with what the graphs around them define.

use super::Round;
use super::build::Build;
use super::call::{Out, constant};
use super::flatten::{self, Step, Surroundings};
use super::value::Val;
use crate::diag::{Code, Diagnostic, Fault};
use crate::proto::GraphProto;
use odc_ir::core::Loc;
use std::collections::BTreeMap;

/// What handlers may do with a subgraph.
pub trait Subgraphs {
    /// The results of `graph` for `args`, built into the function under construction. An error that `rollback` has is not to be
    /// reported again.
    fn run(&mut self, build: &mut Build, graph: &GraphProto, args: &[Val]) -> Out;
    /// How many problems were found so far.
    fn mark(&self) -> usize;
    /// Adds problems.
    fn report(&mut self, problems: Vec<Diagnostic>);
    /// Forgets problems after a mark.
    fn rollback(&mut self, to: usize) -> Vec<Diagnostic>;
}

pub(super) struct Scope<'s> {
    pub round: &'s Round<'s>,
    pub step: &'s Step<'s>,
    pub values: &'s BTreeMap<&'s str, Val>,
    pub out: Vec<Diagnostic>,
}

impl Subgraphs for Scope<'_> {
    fn run(&mut self, build: &mut Build, graph: &GraphProto, args: &[Val]) -> Out {
        let mark = self.out.len();
        let around = Surroundings { opsets: self.step.opsets, place: &self.step.name, known: &|n| self.values.contains_key(n) };
        let model = self.round.model;
        let steps = flatten::body(&model.proto, graph, around, &self.round.options.limits, &mut self.out);
        let mut values: BTreeMap<&str, Val> = self.values.iter().map(|(k, v)| (*k, v.clone())).collect();
        values.extend(graph.input.iter().map(|i| i.name()).zip(args.iter().cloned()));
        for t in &graph.initializer {
            values.insert(t.name(), constant(build, t, &model.external)?);
        }
        let declared = graph.value_info.iter().chain(&graph.output).map(|v| (v.name(), v)).collect();
        self.round.walk(&steps, build, &mut values, &declared, &mut self.out);
        build.loc = Loc::new(&self.step.name);
        if build.dims.learnt || self.out.len() > mark {
            return Err(Fault::new(Code::Undecided, "its subgraph is not sound"));
        }
        let missing =
            |name: &str| Fault::new(Code::UndefinedName, format!("nothing defines the output `{}` of a subgraph", name.escape_debug()));
        graph.output.iter().map(|o| values.get(o.name()).cloned().ok_or_else(|| missing(o.name()))).collect()
    }

    fn report(&mut self, problems: Vec<Diagnostic>) {
        self.out.extend(problems);
    }

    fn mark(&self) -> usize {
        self.out.len()
    }

    fn rollback(&mut self, to: usize) -> Vec<Diagnostic> {
        self.out.split_off(to.min(self.out.len()))
    }
}

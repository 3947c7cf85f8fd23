//! The function as planning sees it: calls in order, and for every value the memory that it lies in. A view lies where its
//! operand does; where it has several, they lie in its memory.

use super::PlanError;
use odc_ir::core::{
    ConstId, Dim, OpSet, Ranges, Sym, Symbol, TensorType, Value, at_ends, counted, counts_of, size_of_result, symbol_ranges,
};
use odc_ir::program::{Check, larger};
use odc_ir::tensor::{Func, Module, Op, Operation};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    Input(u32),
    Const(ConstId),
    /// A result of a call, or a whole of several: position in [`Graph::made`].
    Made(usize),
}

/// One dispatch, or one op that calls functions.
pub(super) struct Call<'m> {
    pub op: &'m Operation,
    /// One for each operand.
    pub reads: Vec<Place>,
    /// One for each result: positions in [`Graph::made`].
    pub writes: Vec<usize>,
    /// What must be known before: sizes that the data says.
    pub after: Vec<usize>,
}

impl Call<'_> {
    pub(super) fn is_dispatch(&self) -> bool {
        matches!(self.op.op, Op::Dispatch { .. })
    }
}

/// A result of a call; or a whole, which the calls that make its parts write.
pub(super) struct Made {
    pub bytes: Dim,
    pub is_output: bool,
    pub note: String,
    /// The whole that it is a part of, and how many bytes behind the whole's beginning it begins.
    pub within: Option<(usize, Dim)>,
    /// What lies in it; empty for a result of a call.
    pub parts: Vec<usize>,
}

pub(super) struct Graph<'m> {
    pub func: &'m Func,
    pub calls: Vec<Call<'m>>,
    pub made: Vec<Made>,
    pub inputs: Vec<(String, TensorType)>,
    pub outputs: Vec<(String, TensorType, Place)>,
    /// Sizes that the data says, and where.
    pub sizes: Vec<(Dim, Place)>,
    symbols: &'m BTreeMap<Sym, Symbol>,
}

impl<'m> Graph<'m> {
    pub(super) fn new(module: &'m Module, func: &'m Func) -> Result<Self, PlanError> {
        let mut g = Graph { func, calls: vec![], made: vec![], inputs: vec![], outputs: vec![], sizes: vec![], symbols: &module.symbols };
        let mut places: BTreeMap<Value, Place> = BTreeMap::new();
        let type_of = |v: Value| func.types.get(v.index());
        for (k, (v, name)) in func.body.args.iter().zip(&func.param_names).enumerate() {
            let ty = type_of(*v).ok_or_else(|| undefined("func", &func.name, *v))?;
            places.insert(*v, Place::Input(k as u32));
            g.inputs.push((name.clone(), ty.clone()));
        }
        for op in &func.body.ops {
            let name = op.op.info().mnemonic;
            let place = |v: &Value| places.get(v).copied().ok_or_else(|| undefined(name, &op.loc.to_string(), *v));
            match &op.op {
                Op::Constant { value } => {
                    places.extend(op.result().map(|r| (r, Place::Const(*value))));
                }
                Op::View {} if op.operands.len() > 1 => {
                    let parts = op.operands.iter().map(place).collect::<Result<Vec<_>, _>>()?;
                    places.extend(op.result().zip(Some(g.whole(op, &parts)?)));
                }
                Op::View {} => {
                    let of = op.operands.first().map(place).transpose()?;
                    places.extend(op.result().zip(of));
                }
                Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => {
                    let reads = op.operands.iter().map(place).collect::<Result<Vec<_>, _>>()?;
                    let mut writes = vec![];
                    for (k, r) in op.results.iter().enumerate() {
                        let ty = type_of(*r).ok_or_else(|| undefined(name, &op.loc.to_string(), *r))?;
                        writes.push(g.made.len());
                        places.insert(*r, g.make(op, k, ty, vec![]));
                    }
                    g.calls.push(Call { op, reads, writes, after: vec![] });
                }
                Op::Map { .. } | Op::Reduce { .. } | Op::Scatter { .. } => {
                    return Err(PlanError::NotDispatched { op: name.into(), loc: op.loc.to_string() });
                }
            }
        }
        for (v, name) in func.body.yields.iter().zip(&func.result_names) {
            let missing = || undefined("yield", name, *v);
            let place = *places.get(v).ok_or_else(missing)?;
            if let Some(size) = size_of_result(name) {
                g.sizes.push((size, place));
                continue;
            }
            if let Place::Made(m) = place
                && let Some(made) = g.made.get_mut(m)
            {
                made.is_output = true;
            }
            g.outputs.push((name.clone(), type_of(*v).ok_or_else(missing)?.clone(), place));
        }
        Ok(g)
    }

    fn make(&mut self, op: &Operation, k: usize, ty: &TensorType, parts: Vec<usize>) -> Place {
        let note = node_of(op, k).map_or_else(|| ty.to_string(), |node| format!("{ty} {node}"));
        let bytes = planned(self.symbols, &ty.bytes());
        self.made.push(Made { bytes, is_output: false, note, within: None, parts });
        Place::Made(self.made.len() - 1)
    }

    /// The memory of a view of several: theirs from now on lies in it.
    fn whole(&mut self, op: &Operation, places: &[Place]) -> Result<Place, PlanError> {
        let refused = |what: &str| PlanError::Part { loc: op.loc.to_string(), what: what.into() };
        let missing = || refused("has no type");
        let ty = |v: &Value| self.func.types.get(v.index()).ok_or_else(missing);
        let mut offset = Dim::ZERO;
        let mut parts: Vec<(usize, Dim)> = vec![];
        for (place, v) in places.iter().zip(&op.operands) {
            let Place::Made(m) = place else { return Err(refused("is an input or a constant")) };
            if self.made.get(*m).is_none_or(|m| m.within.is_some()) || parts.iter().any(|(other, _)| other == m) {
                return Err(refused("is already part of a buffer"));
            }
            let bytes = ty(v)?.bytes();
            if !counts_of(self.symbols, &bytes).is_empty() {
                return Err(refused("has a size that data decides"));
            }
            parts.push((*m, offset.clone()));
            offset = offset + bytes;
        }
        let result = ty(&op.result().ok_or_else(missing)?)?.clone();
        let whole = self.make(op, 0, &result, parts.iter().map(|(m, _)| *m).collect());
        if let Place::Made(w) = whole {
            for (m, offset) in parts {
                if let Some(made) = self.made.get_mut(m) {
                    made.within = Some((w, offset));
                }
            }
        }
        Ok(whole)
    }

    /// The value in whose memory `v` lies, and where there.
    pub(super) fn root(&self, v: usize) -> (usize, Dim) {
        let (mut at, mut offset) = (v, Dim::ZERO);
        // A whole stands behind its parts, so this ends.
        while let Some((whole, o)) = self.made.get(at).and_then(|m| m.within.as_ref()) {
            offset = offset + o;
            at = *whole;
        }
        (at, offset)
    }

    /// The results of calls that lie in `v`: itself, or its parts and theirs.
    fn leaves(&self, v: usize, found: &mut BTreeSet<usize>) {
        match self.made.get(v) {
            Some(made) if !made.parts.is_empty() => made.parts.iter().for_each(|p| self.leaves(*p, found)),
            _ => drop(found.insert(v)),
        }
    }

    /// The results that must be there before `call` runs: what it reads or waits for.
    pub(super) fn needs(&self, call: &Call) -> BTreeSet<usize> {
        let made = |p: &Place| if let Place::Made(v) = p { Some(*v) } else { None };
        let mut found = BTreeSet::new();
        call.reads.iter().filter_map(made).chain(call.after.iter().copied()).for_each(|v| self.leaves(v, &mut found));
        found
    }

    /// The memory that `call` reads, waits for or writes, by the value that it all is.
    pub(super) fn touches(&self, call: &Call) -> BTreeSet<usize> {
        self.needs(call).iter().chain(&call.writes).map(|v| self.root(*v).0).collect()
    }

    /// For each value that lies in no other: is it an output, or something in it?
    pub(super) fn kept(&self) -> Vec<bool> {
        let mut kept = vec![false; self.made.len()];
        for v in (0..self.made.len()).filter(|v| self.made.get(*v).is_some_and(|m| m.is_output)) {
            if let Some(k) = kept.get_mut(self.root(v).0) {
                *k = true;
            }
        }
        kept
    }

    /// Lets call `at` wait for the sizes that `dims` speak of.
    pub(super) fn wait_for<'d>(&mut self, at: usize, dims: impl Iterator<Item = &'d Dim>) {
        let mut counts: Vec<Sym> = dims.flat_map(|d| counts_of(self.symbols, d)).collect();
        counts.sort();
        counts.dedup();
        for (size, place) in &self.sizes {
            let waits = counted(self.symbols, size).is_some_and(|s| counts.contains(s));
            if let (true, Place::Made(v), Some(call)) = (waits, place, self.calls.get_mut(at)) {
                call.after.push(*v);
            }
        }
    }

    /// Bytes of a value; it is one of the function's.
    pub(super) fn bytes(&self, v: Value) -> Dim {
        self.func.types.get(v.index()).map_or(Dim::ZERO, TensorType::bytes)
    }

    /// What calls and outputs refer to.
    pub(super) fn used_consts(&self) -> BTreeSet<ConstId> {
        let places = self.calls.iter().flat_map(|c| &c.reads).chain(self.outputs.iter().map(|(_, _, p)| p));
        places.filter_map(|p| if let Place::Const(id) = p { Some(*id) } else { None }).collect()
    }
}

/// The ONNX node whose value result `k` is.
fn node_of(op: &Operation, k: usize) -> Option<&str> {
    let region = op.regions.first();
    let inner = region.and_then(|r| r.ops.iter().find(|o| r.yields.get(k).is_some_and(|y| o.results.contains(y))));
    let last = inner.and_then(|o| o.loc.0.last()).or_else(|| op.loc.0.last());
    last.map(|name| &**name)
}

/// Bytes that suffice whatever data decides.
pub(super) fn planned(symbols: &BTreeMap<Sym, Symbol>, bytes: &Dim) -> Dim {
    if counts_of(symbols, bytes).is_empty() {
        return bytes.clone();
    }
    larger(&symbol_ranges(symbols), &at_ends(symbols, bytes, true), &at_ends(symbols, bytes, false))
}

/// The results that are outputs, each with the first output that it is. What lies among others stays there, and is copied.
pub(super) fn apart(graph: &Graph) -> BTreeMap<usize, u32> {
    let mut of = BTreeMap::new();
    for (k, (_, _, place)) in graph.outputs.iter().enumerate() {
        if let Place::Made(v) = place
            && graph.made.get(*v).is_some_and(|m| m.within.is_none() && m.parts.is_empty())
        {
            of.entry(*v).or_insert(k as u32);
        }
    }
    of
}

/// The sizes of values that the bounds of the symbols do not prove to be non-negative. A product of two negative sizes would look
/// like any other number of bytes, so each one is checked by itself.
pub(super) fn checks(graph: &Graph, ranges: &Ranges) -> Vec<Check> {
    let mut seen = BTreeSet::new();
    let mut out = vec![];
    let mut visit = |v: &Value, what: &str| {
        let Some(ty) = graph.func.types.get(v.index()) else { return };
        for d in &ty.shape {
            if d.as_const().is_none() && seen.insert(d.clone()) && !ranges.nonneg(d) {
                out.push(Check { size: d.clone(), what: format!("{ty} {what}") });
            }
        }
    };
    graph.func.body.args.iter().zip(&graph.func.param_names).for_each(|(v, name)| visit(v, name));
    graph.func.body.visit_ops(&mut |op| {
        let what = op.loc.to_string();
        op.results.iter().for_each(|v| visit(v, &what));
    });
    out
}

fn undefined(op: &str, loc: &str, v: Value) -> PlanError {
    PlanError::Undefined { op: op.into(), loc: loc.into(), value: v.to_string() }
}

//! The function as planning sees it: calls in order, and for every value the memory that it lies in. A view lies where its
//! operand does.

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
    /// A result of a dispatch: position in [`Graph::made`].
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

/// A result of a dispatch.
pub(super) struct Made {
    pub bytes: Dim,
    /// The calls that read it, ascending.
    pub users: Vec<usize>,
    pub is_output: bool,
    pub note: String,
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
                Op::View {} => {
                    let of = op.operands.first().map(place).transpose()?;
                    places.extend(op.result().zip(of));
                }
                Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => {
                    let at = g.calls.len();
                    let reads = op.operands.iter().map(place).collect::<Result<Vec<_>, _>>()?;
                    for r in &reads {
                        if let Place::Made(v) = r
                            && let Some(made) = g.made.get_mut(*v)
                            && made.users.last() != Some(&at)
                        {
                            made.users.push(at);
                        }
                    }
                    let mut writes = vec![];
                    for r in &op.results {
                        let ty = type_of(*r).ok_or_else(|| undefined(name, &op.loc.to_string(), *r))?;
                        let note = op.loc.0.last().map_or_else(|| ty.to_string(), |node| format!("{ty} {node}"));
                        writes.push(g.made.len());
                        places.insert(*r, Place::Made(g.made.len()));
                        g.made.push(Made { bytes: planned(&module.symbols, &ty.bytes()), users: vec![], is_output: false, note });
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

    /// Lets call `at` wait for the sizes that `dims` speak of.
    pub(super) fn wait_for<'d>(&mut self, at: usize, dims: impl Iterator<Item = &'d Dim>) {
        let mut counts: Vec<Sym> = dims.flat_map(|d| counts_of(self.symbols, d)).collect();
        counts.sort();
        counts.dedup();
        for (size, place) in &self.sizes {
            let waits = counted(self.symbols, size).is_some_and(|s| counts.contains(s));
            if let (true, Place::Made(v), Some(call)) = (waits, place, self.calls.get_mut(at)) {
                call.after.push(*v);
                if let Some(made) = self.made.get_mut(*v).filter(|m| !m.users.contains(&at)) {
                    made.users.push(at);
                    made.users.sort_unstable();
                }
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

/// Bytes that suffice whatever data decides.
pub(super) fn planned(symbols: &BTreeMap<Sym, Symbol>, bytes: &Dim) -> Dim {
    if counts_of(symbols, bytes).is_empty() {
        return bytes.clone();
    }
    larger(&symbol_ranges(symbols), &at_ends(symbols, bytes, true), &at_ends(symbols, bytes, false))
}

/// The results that are outputs, each with the first output that it is.
pub(super) fn apart(graph: &Graph) -> BTreeMap<usize, u32> {
    let mut of = BTreeMap::new();
    for (k, (_, _, place)) in graph.outputs.iter().enumerate() {
        if let Place::Made(v) = place {
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

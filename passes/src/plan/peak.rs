//! How large the arena of a module would be, without its kernels: what candidates of the optimiser are priced by.

use super::values::{Graph, checks};
use super::{PlanError, PlanOptions, in_place, order, pack, values};
use odc_ir::core::{Binding, Callee, Dim, Ranges};
use odc_ir::program::{larger, sample_bindings};
use odc_ir::tensor::{Func, Module, Op};
use std::collections::BTreeMap;

/// Deeper calls are not looked into.
const MAX_DEPTH: usize = 32;

/// Bytes of the arena at the first sampled sizes (64 for every symbol whose bounds allow it) of a module of dispatches, planned for a
/// CPU. What a loop moves from iteration to iteration is left out.
pub fn peak(module: &Module) -> Result<i64, PlanError> {
    sampled(module, false)
}

/// The same with everything in the place that a plan for all sizes gives it, which takes longer to find out.
pub fn planned(module: &Module) -> Result<i64, PlanError> {
    sampled(module, true)
}

fn too_large() -> PlanError {
    PlanError::Size { what: "the buffers".into() }
}

fn sampled(module: &Module, for_all: bool) -> Result<i64, PlanError> {
    let main = module.main().ok_or(PlanError::NoFunction)?;
    let ranges = module.ranges();
    let mut all = vec![];
    for f in &module.funcs {
        all.extend(checks(&Graph::new(module, f)?, &ranges));
    }
    let samples = sample_bindings(&module.symbols, &all);
    let at = samples.first().cloned().unwrap_or_default();
    let sizes = Sizes { module, ranges: &ranges, samples: &samples, at: &at, for_all };
    at.eval(&sizes.arena(main, (false, 0))?).map_err(|_| too_large())
}

struct Sizes<'a> {
    module: &'a Module,
    ranges: &'a Ranges,
    samples: &'a [Binding],
    at: &'a Binding,
    /// Places that are right at all sizes, or at this one.
    for_all: bool,
}

impl Sizes<'_> {
    fn arena(&self, func: &Func, (apart, depth): (bool, usize)) -> Result<Dim, PlanError> {
        let graph = Graph::new(self.module, func)?;
        let order = order::order(&graph, Some(self.at));
        let apart = if apart { values::apart(&graph) } else { BTreeMap::new() };
        let options = PlanOptions::CPU;
        let storages = in_place::storages(&graph, &order, self.ranges, &|v| !apart.contains_key(&v), options.in_place);
        let mut items: Vec<pack::Item> = storages.into_iter().map(|s| pack::Item { bytes: s.bytes, start: s.start, end: s.end }).collect();
        for (position, call) in order.iter().enumerate().filter_map(|(p, c)| Some((p, graph.calls.get(*c)?))) {
            for bytes in self.called(&call.op.op, depth)? {
                items.push(pack::Item { bytes, start: position, end: position });
            }
        }
        if self.for_all {
            return super::pack_all(&items, self.ranges, self.samples, options.align).map(|(_, total)| total);
        }
        let sizes = items.iter().map(|i| self.at.eval(&i.bytes)).collect::<Result<Vec<i64>, _>>().map_err(|_| too_large())?;
        pack::pack(&items, &sizes, options.align).map(|p| Dim::from(p.total)).ok_or_else(too_large)
    }

    /// What the functions that an op calls want while they run.
    fn called(&self, op: &Op, depth: usize) -> Result<Vec<Dim>, PlanError> {
        let (callees, carried): (Vec<&Callee>, usize) = match op {
            Op::If { then, otherwise } => (vec![then, otherwise], 0),
            Op::Loop { body, form, .. } => (vec![body], form.carried),
            Op::Constant { .. } | Op::Map { .. } | Op::Reduce { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } => {
                (vec![], 0)
            }
        };
        let (mut most, mut moved) = (Dim::ZERO, vec![]);
        for f in callees.into_iter().filter_map(|name| self.module.func(name)).filter(|_| depth < MAX_DEPTH) {
            most = larger(self.ranges, &most, &self.arena(f, (true, depth + 1))?);
            // The iteration's number comes first.
            moved.extend(f.body.args.iter().skip(1).take(carried).map(|v| f.ty(*v).bytes()));
        }
        let wanted = [most].into_iter().chain(if self.for_all { moved } else { vec![] });
        Ok(wanted.filter(|bytes| !bytes.is(0)).collect())
    }
}

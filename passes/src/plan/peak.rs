//! How large the arena of a module would be, without its kernels: what candidates of the optimiser are priced by.

use super::values::{Graph, checks};
use super::{PlanError, PlanOptions, in_place, order, pack, values};
use odc_ir::core::{Binding, Callee, Ranges};
use odc_ir::program::sample_bindings;
use odc_ir::tensor::{Func, Module, Op};
use std::collections::BTreeMap;

/// Deeper calls are not looked into.
const MAX_DEPTH: usize = 32;

/// Bytes of the arena at the first sampled sizes (64 for every symbol whose bounds allow it) of a module of dispatches, planned for a
/// CPU. What a loop moves from iteration to iteration is left out.
pub fn peak(module: &Module) -> Result<i64, PlanError> {
    let main = module.main().ok_or(PlanError::NoFunction)?;
    let ranges = module.ranges();
    let mut all = vec![];
    for f in &module.funcs {
        all.extend(checks(&Graph::new(module, f)?, &ranges));
    }
    let at = sample_bindings(&module.symbols, &all).into_iter().next().unwrap_or_default();
    arena(module, main, &ranges, &at, (false, 0))
}

fn arena(module: &Module, func: &Func, ranges: &Ranges, at: &Binding, (apart, depth): (bool, usize)) -> Result<i64, PlanError> {
    let too_large = || PlanError::Size { what: "the buffers".into() };
    let graph = Graph::new(module, func)?;
    let order = order::order(&graph, Some(at));
    let apart = if apart { values::apart(&graph) } else { BTreeMap::new() };
    let options = PlanOptions::CPU;
    let storages = in_place::storages(&graph, &order, ranges, &|v| !apart.contains_key(&v), options.in_place);
    let mut items = vec![];
    let mut sizes = vec![];
    for s in storages {
        sizes.push(at.eval(&s.bytes).map_err(|_| too_large())?);
        items.push(pack::Item { bytes: s.bytes, start: s.start, end: s.end });
    }
    for (position, call) in order.iter().enumerate().filter_map(|(p, c)| Some((p, graph.calls.get(*c)?))) {
        let callees: Vec<&Callee> = match &call.op.op {
            Op::If { then, otherwise } => vec![then, otherwise],
            Op::Loop { body, .. } => vec![body],
            Op::Constant { .. } | Op::Map { .. } | Op::Reduce { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } => vec![],
        };
        let mut most = 0;
        for f in callees.into_iter().filter_map(|name| module.func(name)).filter(|_| depth < MAX_DEPTH) {
            most = most.max(arena(module, f, ranges, at, (true, depth + 1))?);
        }
        if most > 0 {
            sizes.push(most);
            items.push(pack::Item { bytes: most.into(), start: position, end: position });
        }
    }
    pack::pack(&items, &sizes, options.align).map(|p| p.total).ok_or_else(too_large)
}

//! What the cost model says of a compiled model at given input shapes, dispatch by dispatch: beside what `odc bench` measures.

use crate::{Compiled, macs};
use odc_ir::core::{Loc, Symbol};
use odc_ir::program::Command;
use odc_ir::tensor::Op;
use odc_passes::cost::{self, Count, Counts, Place, Rates};
use serde_json::{Map, Value, json};

/// The dispatches of the first target's main function with their counts, if that is a CPU.
pub fn predict(compiled: &Compiled, shapes: &[(String, Vec<usize>)]) -> Vec<(Loc, Counts)> {
    let Some(build) = compiled.builds().next() else { return vec![] };
    let Some(cpu) = build.machine.cpu() else { return vec![] };
    let mut module = build.dispatches.clone();
    for (s, n) in macs::sizes(&compiled.graph, shapes) {
        // Counting takes likely sizes; these are certain.
        if let Some(known) = module.symbols.get_mut(&s) {
            *known = Symbol { lo: n, hi: Some(n), ..known.clone() };
        }
    }
    let ranges = module.ranges();
    let place = Place { ranges: &ranges, symbols: &module.symbols, cpu };
    let Some(main) = module.main() else { return vec![] };
    let weights = cost::constants(main);
    let dispatches = main.body.ops.iter().filter(|o| matches!(o.op, Op::Dispatch { .. }));
    dispatches.map(|o| (o.loc.clone(), cost::dispatch(main, o, &weights, &place))).collect()
}

/// Adds `predicted_ms` and `moved_bytes`, and to each dispatch of the profile its own counts and `predicted_us`.
pub fn add(report: &mut Map<String, Value>, compiled: &Compiled, rates: &Rates, shapes: &[(String, Vec<usize>)]) {
    let mut predicted = predict(compiled, shapes);
    let total: f64 = predicted.iter().map(|(_, c)| rates.time(c)).sum();
    let bytes: f64 = predicted.iter().map(|(_, c)| c.get(Count::Bytes)).sum();
    report.insert("predicted_ms".into(), json!((total / 1e3).round() / 1e3));
    report.insert("moved_bytes".into(), json!(bytes as u64));
    let Some(profile) = report.get_mut("profile").and_then(Value::as_array_mut) else { return };
    for entry in profile {
        let at = entry.get("command").and_then(Value::as_u64).and_then(|k| usize::try_from(k).ok());
        let Some(Command::Dispatch { loc, .. }) = at.and_then(|k| compiled.program().commands.get(k)) else { continue };
        // Dispatches of the same nodes come in the same order.
        let Some(k) = predicted.iter().position(|(l, _)| l == loc) else { continue };
        let (_, counts) = predicted.remove(k);
        let named = Count::ALL.iter().map(|c| (c.name().to_string(), json!(counts.get(*c))));
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("predicted_us".into(), json!(rates.time(&counts).round() / 1e3));
            entry.insert("counts".into(), Value::Object(named.collect()));
        }
    }
}

//! Which ONNX nodes became one dispatch, and for every producer and consumer that are two, why.

use super::Memory;
use super::dispatches::{Row, rows};
use crate::{AnyTarget, Build, Candidate};
use odc_ir::core::{Binding, Sym};
use odc_passes::fuse::{self, Refusal, refusals};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The sizes of a memory report.
pub(super) fn binding(memory: &Memory<'_>) -> Binding {
    Binding(memory.dims.iter().map(|(name, size, _)| (Sym::new(name), *size)).collect())
}

/// Numbers of the two dispatches of each refusal; those whose dispatch is not in the program (in a body that was unrolled) are left out.
pub(super) fn pairs(rows: &[Row], refusals: Vec<Refusal>) -> Vec<(usize, usize, Refusal)> {
    let mut number: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (k, r) in rows.iter().enumerate() {
        number.entry(r.nodes.join(" + ")).or_default().push(k);
    }
    let of = |loc: &odc_ir::core::Loc| number.get(&loc.to_string()).map_or(&[][..], Vec::as_slice);
    let pair = |r: Refusal| {
        let (from, to) = (of(&r.producer), of(&r.consumer));
        // Of equal places the two that follow each other.
        let reads = |a: &usize, b: &usize| rows.get(*b).is_some_and(|row| row.after.contains(a));
        let known = to.iter().find_map(|b| Some((*from.iter().find(|a| reads(a, b))?, *b)));
        known.or_else(|| Some((*from.first()?, *to.first()?))).map(|(a, b)| (a, b, r))
    };
    refusals.into_iter().filter_map(pair).collect()
}

pub fn fusion_text(build: &Build, target: &AnyTarget, memory: &Memory<'_>) -> String {
    let rows = rows(build, target, &binding(memory));
    let mut out = String::new();
    let at: Vec<String> = memory.dims.iter().map(|(n, v, _)| format!("{n} = {v}")).collect();
    let at = if at.is_empty() { String::new() } else { format!(" at {}", at.join(", ")) };
    let _ = writeln!(out, "{} dispatches for {}{at}", rows.len(), target.name());
    for (k, r) in rows.iter().enumerate() {
        let _ = writeln!(out, "{}", r.text(k));
    }
    weighed(&mut out, build);
    for d in &build.decisions {
        if let Some(s) = &d.search {
            let fired: Vec<String> = s.fired.iter().map(|(group, n)| format!("{group} {n}")).collect();
            let taken = if d.taken() { "taken" } else { "greedy stays" };
            let (fired, chosen, greedy, [given, made]) = (fired.join(", "), d.chosen / 1e6, d.greedy / 1e6, d.dispatches);
            let _ = writeln!(
                out,
                "e-graph of @{}: {} classes, {} nodes ({fired}); predicted {chosen:.3} ms in {made} dispatches, greedy {greedy:.3} ms in {given}: {taken}",
                d.func, s.classes, s.nodes
            );
        }
        joined(&mut out, d);
    }
    if build.beside > 0 {
        let _ = writeln!(out, "side by side with another, for its launch: {} maps", build.beside);
    }
    let pairs = pairs(&rows, refusals(&build.dispatches, &build.machine));
    let _ = writeln!(out, "{} pairs that are not one dispatch", pairs.len());
    for (a, b, r) in pairs {
        let whys: Vec<String> = r.reasons.iter().map(|(way, why)| format!("{way}: {why}")).collect();
        let _ = writeln!(out, "{a:4} -> {b}  {}", whys.join("; "));
    }
    out.truncate(out.trim_end().len());
    out
}

/// Products that became one kernel with others.
fn joined(out: &mut String, d: &fuse::Decision) {
    for (n, what) in [(d.attention, "attention"), (d.gates, "a product and the one that reads it in its epilogue")] {
        if n > 0 {
            let _ = writeln!(out, "{what} as one kernel in @{}: {n} times", d.func);
        }
    }
}

/// What was held against the memory budget.
fn weighed(out: &mut String, build: &Build) {
    for (k, c) in build.weighed.iter().enumerate() {
        let mark = if k == 0 { "taken:  " } else { "instead:" };
        let _ = writeln!(out, "{mark} {:10.3} ms, arena {:12} bytes, {}", c.nanoseconds / 1e6, c.arena_bytes, c.how);
    }
}

/// What the e-graph weighed, for `--dump`: rule firings and costs, and for every value that could be computed in several ways these
/// ways, `=` in front of what greedy fusion gave and `>` in front of what was taken.
pub fn egraph_text(build: &Build) -> String {
    let mut out = String::new();
    weighed(&mut out, build);
    for d in &build.decisions {
        joined(&mut out, d);
        let Some(s) = &d.search else { continue };
        let _ =
            writeln!(out, "e-graph of @{}: {} classes, {} nodes, {} computed otherwise than given", d.func, s.classes, s.nodes, s.changed);
        for (group, n) in &s.fired {
            let _ = writeln!(out, "  {group} made {n} nodes");
        }
        let (first, second) = if d.taken() { ("search", "greedy fusion") } else { ("greedy fusion", "search") };
        let (least, next) = if d.taken() { (d.chosen, d.greedy) } else { (d.greedy, d.chosen) };
        let _ = writeln!(out, "  taken: {first}, {:.3} ms as dispatches; runner-up: {second}, {:.3} ms", least / 1e6, next / 1e6);
        let _ = writeln!(out, "  op by op: {:.3} ms as given, {:.3} ms as found", s.given / 1e6, s.chosen / 1e6);
        for c in &s.choices {
            let loc = c.ways.get(c.chosen).map(|w| w.of.to_string()).unwrap_or_default();
            let _ = writeln!(out, "{loc}");
            for (k, w) in c.ways.iter().enumerate() {
                let marks = [(c.given, '='), (c.chosen, '>')].map(|(way, mark)| if way == k { mark } else { ' ' });
                let _ = writeln!(out, "  {}{} {:9.3} us  {} of {} values: {}", marks[0], marks[1], w.cost / 1e3, w.op, w.reads, w.of);
            }
        }
    }
    out
}

pub fn fusion_json(build: &Build, target: &AnyTarget, memory: &Memory<'_>) -> Value {
    let rows = rows(build, target, &binding(memory));
    let refused = pairs(&rows, refusals(&build.dispatches, &build.machine));
    let decision = |d: &fuse::Decision| {
        let s = d.search.clone().unwrap_or_default();
        json!({
            "func": d.func, "classes": s.classes, "nodes": s.nodes, "fired": s.fired, "changed": s.changed,
            "predicted_ns": d.chosen, "greedy_ns": d.greedy, "dispatches": d.dispatches, "taken": d.taken(), "attention": d.attention, "gates": d.gates,
        })
    };
    let searched: Vec<_> = build.decisions.iter().map(decision).collect();
    let candidate = |c: &Candidate| json!({ "how": c.how, "predicted_ns": c.nanoseconds, "arena_bytes": c.arena_bytes });
    let weighed: Vec<_> = build.weighed.iter().map(candidate).collect();
    json!({ "target": target.name(), "weighed": weighed, "search": searched, "beside": build.beside, "dispatches": rows.iter().map(Row::json).collect::<Vec<_>>(), "not_merged": refused.iter().map(refusal).collect::<Vec<_>>() })
}

pub(super) fn refusal((from, to, r): &(usize, usize, Refusal)) -> Value {
    let reasons: Vec<_> = r.reasons.iter().map(|(way, why)| json!([way.to_string(), why.to_string()])).collect();
    json!({ "from": from, "to": to, "reasons": reasons })
}

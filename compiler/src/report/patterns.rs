//! What was recognised in a model, and what looks like a pattern but was not.

use crate::Compiled;
use odc_passes::canonicalise::{self, Patterns};
use serde_json::{Value, json};
use std::fmt::Write;

fn survey(compiled: &Compiled) -> (canonicalise::Report, Patterns) {
    // Asked again, since only people want it.
    let report = canonicalise::canonicalise(&mut compiled.graph.clone());
    (report, canonicalise::patterns(&compiled.canonical))
}

pub fn patterns_text(compiled: &Compiled) -> String {
    let (report, p) = survey(compiled);
    let mut out = String::new();
    let _ = writeln!(out, "recognised in {}", compiled.manifest().name);
    for (name, n) in &p.found {
        let _ = writeln!(out, "{n:6}  {name}");
    }
    let _ = writeln!(out, "rewrites");
    for (name, n) in &report.found {
        let _ = writeln!(out, "{n:6}  {name}");
    }
    let _ = writeln!(out, "{} that look like a pattern and are none", p.missed.len());
    for m in &p.missed {
        let _ = writeln!(out, "  {} at {}: {}", m.what, m.at, m.why);
    }
    out.truncate(out.trim_end().len());
    out
}

pub fn patterns_json(compiled: &Compiled) -> Value {
    let (report, p) = survey(compiled);
    let missed: Vec<_> = p.missed.iter().map(|m| json!({ "what": m.what, "at": m.at, "why": m.why })).collect();
    json!({ "name": compiled.manifest().name, "found": p.found, "rewrites": report.found, "missed": missed })
}

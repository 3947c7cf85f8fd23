//! The edges between crates that never exist: runtime → ir, backends → passes, ir → ours, and what follows from them.

use super::report;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

struct Crate {
    /// Folder from the root.
    folder: String,
    uses: BTreeSet<String>,
}

/// Our crates with what they need of each other to be built (not to be tested).
fn crates() -> BTreeMap<String, Crate> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(super::root())
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).expect("cargo metadata is JSON");
    let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_string();
    let packages = json["packages"].as_array().expect("packages");
    let names: BTreeSet<String> = packages.iter().map(|p| text(&p["name"])).collect();
    let one = |p: &serde_json::Value| {
        let manifest = text(&p["manifest_path"]);
        let folder = Path::new(&manifest).parent().and_then(|f| f.strip_prefix(super::root()).ok()).unwrap_or(Path::new("?"));
        let needed = p["dependencies"].as_array().into_iter().flatten().filter(|d| d["kind"] != "dev").map(|d| text(&d["name"]));
        let uses = needed.filter(|d| names.contains(d)).collect();
        (text(&p["name"]), Crate { folder: folder.to_string_lossy().replace('\\', "/"), uses })
    };
    packages.iter().map(one).collect()
}

/// Everything of ours that a crate pulls in.
fn reached(name: &str, all: &BTreeMap<String, Crate>) -> BTreeSet<String> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![name.to_string()]);
    while let Some(c) = next.pop() {
        for d in all.get(&c).into_iter().flat_map(|c| &c.uses) {
            if seen.insert(d.clone()) {
                next.push(d.clone());
            }
        }
    }
    seen
}

#[test]
fn forbidden_edges_do_not_exist() {
    let all = crates();
    // Folder, and the folders that crates in it may reach besides their own.
    let allowed: &[(&str, &[&str])] = &[
        ("ir", &[]),
        ("passes", &["ir"]),
        ("backends", &["ir"]),
        ("runtime", &[]),
        ("compiler/onnx", &["ir"]),
        ("compiler", &["ir", "passes", "backends", "runtime"]),
        ("tests", &["ir", "passes", "backends", "runtime", "compiler"]),
        ("fuzz", &["ir", "passes", "backends", "runtime", "compiler", "tests"]),
    ];
    let inside = |folder: &str, room: &str| folder == room || folder.starts_with(&format!("{room}/"));
    let mut problems = vec![];
    for (name, c) in &all {
        let Some((room, may)) = allowed.iter().find(|(room, _)| inside(&c.folder, room)) else {
            problems.push(format!("{name} lies in {}, which no rule knows: add one", c.folder));
            continue;
        };
        for used in reached(name, &all) {
            let folder = &all[&used].folder;
            if !inside(folder, room) && !may.iter().any(|m| inside(folder, m)) {
                problems.push(format!("{name} ({}) must not use {used} ({folder})", c.folder));
            }
        }
    }
    report(&problems);
}

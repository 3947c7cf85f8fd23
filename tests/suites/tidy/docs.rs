//! Documents that are true: pages exist, links and named files lead somewhere, op tables are those of the code.

use super::{files, report, root};
use odc_ir::core::{MANY, OpInfo, OpSet};
use odc_ir::{graph, loops, tensor};
use std::path::Path;

const PAGES: [&str; 11] = [
    "README.md",
    "docs/ARCHITECTURE.md",
    "docs/testing.md",
    "docs/adding-an-op.md",
    "docs/adding-a-pass.md",
    "docs/adding-a-backend.md",
    "docs/ir/graph.md",
    "docs/ir/tensor.md",
    "docs/ir/loop.md",
    "docs/ir/program.md",
    "docs/ir/text.md",
];

#[test]
fn pages_exist() {
    let missing: Vec<_> = PAGES.iter().filter(|p| !root().join(p).is_file()).map(|p| format!("{p} is missing")).collect();
    report(&missing);
}

/// `[text](path)` relative to the page, and `folder/file.ext` in backticks relative to the root.
#[test]
fn links_and_named_files_lead_somewhere() {
    let mut problems = vec![];
    let top: Vec<String> = ["backends", "compiler", "docs", "fuzz", "ir", "passes", "runtime", "tests"].map(|t| format!("{t}/")).to_vec();
    for (page, text) in files(&["md"]).into_iter().filter(|(p, _)| p.starts_with("docs") || p == Path::new("README.md")) {
        let folder = root().join(&page).parent().map(Path::to_path_buf).unwrap_or_default();
        for link in text.split("](").skip(1).filter_map(|l| l.split(')').next()) {
            let file = link.split('#').next().unwrap_or("");
            if !file.is_empty() && !link.contains("://") && !folder.join(file).exists() {
                problems.push(format!("{}: the link {link} leads nowhere", page.display()));
            }
        }
        for word in text.split('`').skip(1).step_by(2) {
            let plain = word.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
            if plain && top.iter().any(|t| word.starts_with(t)) && !root().join(word).exists() {
                problems.push(format!("{}: there is no {word}", page.display()));
            }
        }
    }
    report(&problems);
}

#[test]
fn every_op_is_documented_once() {
    let mut problems = vec![];
    for (level, table) in tables() {
        for (k, op) in table.iter().enumerate() {
            if op.doc.trim().len() < 8 || !op.doc.trim().ends_with('.') {
                problems.push(format!("{level} op `{}`: the doc line `{}` is no sentence", op.mnemonic, op.doc));
            }
            if table[..k].iter().any(|o| o.mnemonic == op.mnemonic) {
                problems.push(format!("{level} op `{}` is there twice", op.mnemonic));
            }
        }
    }
    report(&problems);
}

fn tables() -> [(&'static str, &'static [OpInfo]); 3] {
    [("graph", graph::Op::TABLE), ("tensor", tensor::Op::TABLE), ("loop", loops::Op::TABLE)]
}

/// The tables in `docs/ir` are generated: `ODC_BLESS=1` rewrites them.
#[test]
fn op_tables_are_those_of_the_code() {
    let (begin, end) =
        ("<!-- ops: generated from the op table; ODC_BLESS=1 cargo test -p odc-tests rewrites it -->\n", "<!-- end of ops -->");
    let mut problems = vec![];
    for (level, table) in tables() {
        let path = root().join(format!("docs/ir/{level}.md"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let Some((head, (_, tail))) = text.split_once(begin).and_then(|(h, rest)| Some((h, rest.split_once(end)?))) else {
            problems.push(format!("{}: the generated part has no begin or no end", path.display()));
            continue;
        };
        let new = format!("{head}{begin}{}{end}{tail}", op_table(table));
        if new == text {
            continue;
        }
        if std::env::var_os("ODC_BLESS").is_some() {
            std::fs::write(&path, new).expect("docs can be written");
        } else {
            problems.push(format!("{}: not the op table of the code; ODC_BLESS=1 rewrites it", path.display()));
        }
    }
    report(&problems);
}

fn op_table(table: &[OpInfo]) -> String {
    let count = |(lo, hi): (usize, usize)| match (lo, hi) {
        (lo, MANY) => format!("{lo}…"),
        (lo, hi) if lo == hi => lo.to_string(),
        (lo, hi) => format!("{lo}–{hi}"),
    };
    let mut out = String::from("| op | operands | results | regions | effect | meaning |\n|---|---|---|---|---|---|\n");
    for op in table {
        let doc = op.doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let (operands, results, regions) = (count(op.operands), count(op.results), count(op.regions));
        let effect = format!("{:?}", op.effect).to_lowercase();
        out += &format!("| `{}` | {operands} | {results} | {regions} | {effect} | {doc} |\n", op.mnemonic);
    }
    out
}

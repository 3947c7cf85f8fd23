//! `docs/onnx-support.md` says what the importer's tables say.

use odc_onnx::support::{Support, element_types, operators};
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "# What odc takes of ONNX

Made from the importer's tables by `INSTA_UPDATE=always cargo test -p odc-onnx --test support`; a test fails when it is stale. Opsets are those
of the operator's domain. `odc check MODEL` says exactly what a model needs that is missing, and with `-t` what a target cannot do; the
conformance lists (`tests/conformance/`) say case by case what is not right yet. Sizes that data decides run on the CPU only.

";

fn page() -> String {
    let mut text = HEAD.to_owned();
    let all = operators();
    for domain in ["ai.onnx", "ai.onnx.ml", "com.microsoft"] {
        let rows: Vec<&Support> = all.iter().filter(|s| s.domain == domain).collect();
        writeln!(text, "## {domain}: {} operators\n\n| operator | opsets | inputs |\n|---|---|---|", rows.len()).unwrap();
        for s in rows {
            let (first, last) = s.opsets;
            let opsets = match last {
                None if first <= 1 => "all".into(),
                None => format!("from {first}"),
                Some(last) if first <= 1 => format!("to {last}"),
                Some(last) => format!("{first} to {last}"),
            };
            let (least, most) = s.inputs;
            let inputs = match most {
                Some(most) if most == least => least.to_string(),
                Some(most) => format!("{least} to {most}"),
                None => format!("{least} or more"),
            };
            writeln!(text, "| {} | {opsets} | {inputs} |", s.op).unwrap();
        }
        text.push('\n');
    }
    text.push_str("## Element types\n\n| ONNX | odc |\n|---|---|\n");
    for (onnx, ours) in element_types() {
        writeln!(text, "| {onnx} | {} |", ours.unwrap_or("not taken")).unwrap();
    }
    text
}

#[test]
fn the_page_is_that_of_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/onnx-support.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|v| v == "always") {
        std::fs::write(&path, page()).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(have == page(), "docs/onnx-support.md is stale: INSTA_UPDATE=always cargo test -p odc-onnx --test support");
}

//! `docs/onnx-support.md`: every operator of the importer's tables with every element type, compiled for every kind of target. The
//! page says what came out; a test fails when that changes.

use crate::tidy;
use odc::{AnyTarget, CompileError, Options, compile_graph};
use odc_ir::core::DType;
use odc_onnx::support::{Support, element_types, operators};
use odc_onnx::{ImportOptions, import};
use odc_tests::samples::Sample;
use std::collections::BTreeMap;
use std::fmt::Write;

const TARGETS: [&str; 4] = ["cpu", "wgsl", "spirv", "metal"];

const HEAD: &str = "# What odc takes of ONNX

Operators, opsets and inputs are those of the importer's tables, opsets counted in the operator's domain. Element types and targets are what
came out of trying: a smallest model of each operator (`tests/samples/`) with each element type for `T`, compiled for each target.
`INSTA_UPDATE=always cargo test -p odc-tests support` makes this page; a test fails when it is stale.

*floats* are f32, f64, f16 and bf16; *ints* are i8 to i64 and u8 to u64; *small* are the types that are only stored, moved and converted: floats
of 8 bits and fewer, integers of 4 and 2. *fixed* means that ONNX leaves no choice. On a GPU, *same* means the types of the CPU. f16 is computed as
f32 there, but by `wgsl:f16`, `spirv:f16` and `metal:f16`; i64 and u64 in 32 bits. A code says why there is none: ODC0313 is a
size or a number of iterations that only data decides, for other codes see what `odc check` says.

`odc check MODEL` says exactly what a model needs that is missing, and with `-t` what a target cannot do; the conformance lists
(`tests/conformance/`) say case by case what is not right yet.

";

const FLOATS: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::BF16];
const INTS: [DType; 8] = [DType::I8, DType::I16, DType::I32, DType::I64, DType::U8, DType::U16, DType::U32, DType::U64];

/// What one target makes of a sample: which types it takes, why not the others.
#[derive(Default)]
struct Verdict {
    types: Vec<DType>,
    codes: BTreeMap<DType, String>,
}

fn code(e: &CompileError) -> String {
    match e {
        CompileError::Import(list) => list.first().map(|d| d.code.as_str().to_owned()),
        CompileError::Compile(list) => list.first().map(|p| p.code.to_string()),
        CompileError::Budget(p) => Some(p.code.to_string()),
    }
    .unwrap_or_default()
}

/// By target.
fn verdicts(s: &Sample) -> [Verdict; 4] {
    let mut all = TARGETS.map(|_| Verdict::default());
    let types = if s.varies() { DType::ALL } else { &[DType::F32] };
    for &t in types {
        let module = import(&s.model(t), &ImportOptions::default()).map_err(CompileError::Import);
        for (name, v) in TARGETS.iter().zip(&mut all) {
            let targets = vec![AnyTarget::parse(name).unwrap()];
            let options = Options { targets, threads: 1, ..Options::default() };
            match module.clone().and_then(|m| compile_graph(m, &options)) {
                Ok(_) => v.types.push(t),
                Err(e) => {
                    let code = code(&e);
                    assert!(!code.starts_with("ODC0390"), "{} of {t} for {name}: {e}", s.op);
                    v.codes.insert(t, code);
                }
            }
        }
    }
    all
}

/// Element types in as few words as they can be named.
fn words(types: &[DType]) -> String {
    let small: Vec<DType> = DType::ALL.iter().copied().filter(|t| t.is_storage()).collect();
    let mut rest = types.to_vec();
    let mut out = vec![];
    for (name, group) in [("floats", &FLOATS[..]), ("ints", &INTS), ("small", &small)] {
        if group.iter().all(|t| rest.contains(t)) {
            rest.retain(|t| !group.contains(t));
            out.push(name);
        }
    }
    out.extend(rest.iter().map(|t| t.name()));
    out.join(", ")
}

fn cell(s: &Sample, v: &Verdict, cpu: Option<&Verdict>) -> String {
    if v.types.is_empty() {
        let (_, code) = v.codes.iter().next().expect("a type that is not taken has a reason");
        return format!("none: {code}");
    }
    match cpu {
        None if s.varies() => words(&v.types),
        None => "fixed".into(),
        Some(cpu) if cpu.types == v.types => "same".into(),
        Some(cpu) => {
            let missing: Vec<DType> = cpu.types.iter().copied().filter(|t| !v.types.contains(t)).collect();
            if missing.len() <= v.types.len() { format!("not {}", words(&missing)) } else { words(&v.types) }
        }
    }
}

fn page() -> String {
    let samples = Sample::all();
    let rows = operators();
    let find = |row: &Support| samples.iter().find(|s| s.domain == row.domain && s.op == row.op);
    let missing: Vec<_> = rows.iter().filter(|r| find(r).is_none()).map(|r| format!("{}: {} has no sample", r.domain, r.op)).collect();
    tidy::report(&missing);
    // Every thread takes every so many rows.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = |k| rows.iter().skip(k).step_by(threads).filter_map(find).map(|s| ((s.domain, &s.op), verdicts(s))).collect::<Vec<_>>();
    let verdicts: BTreeMap<_, _> = std::thread::scope(|scope| {
        let part = &part;
        let running: Vec<_> = (0..threads).map(|k| scope.spawn(move || part(k))).collect();
        running.into_iter().flat_map(|r| r.join().expect("no sample panics")).collect()
    });

    let mut text = HEAD.to_owned();
    for domain in ["ai.onnx", "ai.onnx.ml", "com.microsoft"] {
        let of: Vec<&Support> = rows.iter().filter(|s| s.domain == domain).collect();
        writeln!(text, "## {domain}: {} operators\n", of.len()).unwrap();
        text.push_str("| operator | opsets | inputs | element types on cpu | wgsl | spirv | metal |\n|---|---|---|---|---|---|---|\n");
        for row in of {
            let Some(sample) = find(row) else { continue };
            let [cpu, gpus @ ..] = &verdicts[&(row.domain, &sample.op)];
            let cells: Vec<_> = gpus.iter().map(|v| cell(sample, v, Some(cpu))).collect();
            let (opsets, inputs) = columns(row);
            writeln!(text, "| {} | {opsets} | {inputs} | {} | {} |", row.op, cell(sample, cpu, None), cells.join(" | ")).unwrap();
        }
        text.push('\n');
    }
    text.push_str("## Element types\n\n| ONNX | odc |\n|---|---|\n");
    for (onnx, ours) in element_types() {
        writeln!(text, "| {onnx} | {} |", ours.unwrap_or("not taken")).unwrap();
    }
    text
}

fn columns(row: &Support) -> (String, String) {
    let (first, last) = row.opsets;
    let opsets = match last {
        None if first <= 1 => "all".into(),
        None => format!("from {first}"),
        Some(last) if first <= 1 => format!("to {last}"),
        Some(last) => format!("{first} to {last}"),
    };
    let (least, most) = row.inputs;
    let inputs = match most {
        Some(most) if most == least => least.to_string(),
        Some(most) => format!("{least} to {most}"),
        None => format!("{least} or more"),
    };
    (opsets, inputs)
}

#[test]
fn the_page_says_what_comes_out() {
    let path = tidy::root().join("docs/onnx-support.md");
    let page = page();
    if std::env::var("INSTA_UPDATE").is_ok_and(|v| v == "always") {
        std::fs::write(&path, &page).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    let changed = have.lines().zip(page.lines()).find(|(a, b)| a != b).map(|(a, b)| format!("\n{a}\nis now\n{b}")).unwrap_or_default();
    assert!(have == page, "docs/onnx-support.md is stale: INSTA_UPDATE=always cargo test -p odc-tests support{changed}");
}

//! The fuzz targets' bodies with fixed seeds, for a few seconds: so that they are right when a fuzzer calls them, and so that
//! everyone runs them. Compiled code against the graph interpreter is the widest test of all: every stage stands in it.

use odc::{OptLevel, Options};
use odc_ir::core::DType;
use odc_tests::choices::Choices;
use odc_tests::fuzz;
use odc_tests::generate;
use odc_tests::pipeline;
use odc_tests::samples::Sample;

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut c = Choices::from_seed(seed, length);
    (0..length).map(|_| c.below(256) as u8).collect()
}

/// Random graphs at one level; reports all that fail, the shortest in full. `ODC_FUZZ=from..to` runs other seeds.
fn graphs(options: fn(u64) -> Options, seeds: std::ops::Range<u64>) {
    let given = std::env::var("ODC_FUZZ").ok();
    let range = given.as_deref().and_then(|s| s.split_once("..")).and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    let mut failed = vec![];
    for seed in range.unwrap_or(seeds) {
        let run = || fuzz::compare(&mut Choices::from_seed(seed, 600), &options(seed));
        let result = std::panic::catch_unwind(run).unwrap_or_else(|_| Err("panicked, see above".into()));
        failed.extend(result.err().map(|e| (e, seed)));
    }
    failed.sort_by_key(|(e, _)| e.len());
    let seeds: Vec<_> = failed.iter().map(|(e, seed)| format!("seed {seed}: {}", e.lines().next().unwrap_or(""))).collect();
    assert!(failed.is_empty(), "{}\n\nthe shortest: {}", seeds.join("\n"), failed[0].0);
}

#[test]
fn compiled_graphs_do_what_the_interpreter_does() {
    graphs(|_| pipeline::optimised(), 0..200);
}

#[test]
fn without_optimisation_too() {
    graphs(|_| Options { level: OptLevel::O0, ..pipeline::optimised() }, 1000..1060);
}

/// Any rules may be switched off.
#[test]
fn with_some_rules_too() {
    graphs(|seed| pipeline::optimised_somehow(&mut Choices::from_seed(seed, 20)), 2000..2100);
}

/// Every operator of ONNX that has a sample, which all of the importer's table have, with a few element types.
#[test]
fn compiled_operators_too() {
    let mut failed = vec![];
    for (k, s) in Sample::all().iter().enumerate() {
        let mut c = Choices::from_seed(k as u64, 4096);
        let types = if s.varies() { vec![DType::F32, *c.pick(DType::ALL), *c.pick(DType::ALL)] } else { vec![DType::F32] };
        for t in types {
            let run = || fuzz::compare_sample(s, t, &mut c);
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| Err(format!("{} of {t} panicked", s.op)));
            failed.extend(result.err());
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n\n"));
}

#[test]
fn damaged_text() {
    for seed in 0..300 {
        let mut c = Choices::from_seed(seed, 400);
        let text = generate::graph::module(&mut c).to_string();
        fuzz::parse_graph(&fuzz::damaged_text(&text, &mut c));
        let mut c = Choices::from_seed(seed, 400);
        let text = generate::tensor::module(&mut c).to_string();
        fuzz::parse_tensor(&fuzz::damaged_text(&text, &mut c));
        let mut c = Choices::from_seed(seed, 400);
        let text = generate::loops::module(&mut c).to_string();
        fuzz::parse_loop(&fuzz::damaged_text(&text, &mut c));
    }
}

#[test]
fn damaged_artifacts() {
    for seed in 0..1500 {
        fuzz::artifact(&bytes(seed, 3 * (1 + seed as usize % 4)));
    }
}

#[test]
fn damaged_models() {
    let model = std::fs::read(crate::tidy::root().join("tests/models/ppocrv2_cls/model.onnx")).expect("the carried model");
    for seed in 0..40 {
        let mut c = Choices::from_seed(seed, 64);
        let mut damaged = model.clone();
        for _ in 0..1 + c.below(4) {
            // Names and structure stand at both ends, weights between them.
            let near = c.below(8000).min(damaged.len() - 1);
            let at = if c.chance(50) { near } else { damaged.len() - 1 - near };
            damaged[at] = c.below(256) as u8;
        }
        damaged.truncate(damaged.len() - if c.chance(20) { c.below(damaged.len()) } else { 0 });
        fuzz::onnx_import(&damaged);
        fuzz::onnx_import(&bytes(seed, 300));
    }
}

/// What fuzzers found once: `fuzz/regressions/TARGET/`.
#[test]
fn findings_stay_fixed() {
    type Target = (&'static str, fn(&[u8]));
    let targets: [Target; 7] = [
        ("onnx_import", fuzz::onnx_import),
        ("parse_graph", fuzz::parse_graph),
        ("parse_tensor", fuzz::parse_tensor),
        ("parse_loop", fuzz::parse_loop),
        ("artifact", fuzz::artifact),
        ("shape_program", fuzz::shape_program),
        ("differential", fuzz::differential),
    ];
    let folder = crate::tidy::root().join("fuzz/regressions");
    let mut found = 0;
    for target in std::fs::read_dir(&folder).expect("the folder is there").map(|e| e.expect("an entry").path()) {
        let name = target.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let (_, body) = targets.iter().find(|(t, _)| *t == name).unwrap_or_else(|| panic!("there is no fuzz target {name}"));
        for file in std::fs::read_dir(&target).expect("a folder").map(|e| e.expect("an entry").path()) {
            body(&std::fs::read(&file).expect("a file"));
            found += 1;
        }
    }
    assert!(found > 0, "nothing in {}", folder.display());
}

#[test]
fn sizes() {
    for seed in 0..3000 {
        fuzz::shape_program(&bytes(seed, 240));
    }
}

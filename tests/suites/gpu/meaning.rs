//! Random graphs through the whole compiler for several GPUs at once: each program does what the graph's interpreter does, without a
//! race between invocations, and each kernel goes through its backend. What is refused is refused by name.

use super::compiled;
use super::limits::tight;
use super::models::model;
use odc::{AnyModule, AnyTarget, Options, compile_graph};
use odc_ir::loops::{Block, Op};
use odc_ir::program;
use odc_tests::choices::Choices;
use odc_tests::filetest::close;
use odc_tests::generate::{self, inputs};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Problems that say what a GPU does not have.
const REFUSED: [&str; 3] = ["ODC0310", "ODC0311", "ODC0401"];

fn targets() -> Vec<AnyTarget> {
    let of = |name| AnyTarget::parse(name).expect("a target");
    vec![of("wgsl"), of("spirv:f16+subgroups"), of("metal:f16"), tight()]
}

/// How many of the targets took it.
fn check(seed: u64) -> Result<usize, String> {
    let mut c = Choices::from_seed(seed, 300);
    let m = generate::graph::module(&mut c);
    let mut taken = 0;
    let any = AnyModule::Graph(m.clone());
    let sets: Vec<_> = (0..2).map(|_| inputs::binding(&mut c, &m.symbols)).collect();
    for target in targets() {
        let options = Options { targets: vec![target.clone()], threads: 1, ..Options::default() };
        let at = |e: String| format!("{} refuses or breaks it: {e}\nmodule:\n{m}", target.name());
        let compiled = match compile_graph(m.clone(), &options).map_err(|e| e.to_string()) {
            Ok(c) => c,
            Err(e) if REFUSED.iter().any(|code| e.contains(code)) => continue,
            Err(e) => return Err(at(e)),
        };
        taken += 1;
        for binding in &sets {
            let at = |e: String| at(format!("{e}\nat {binding:?}"));
            let given = inputs::inputs(&mut c, &any.inputs(), binding).map_err(|e| at(e.to_string()))?;
            let want = any.run(&given).map_err(|e| at(e.to_string()))?;
            let got = program::run(compiled.program(), &given).map_err(|e| at(format!("{e}\n{}", compiled.program())))?;
            for ((name, want), got) in want.iter().zip(&got) {
                close(got, want).map_err(|e| at(format!("`{name}`: {e}\n{}", compiled.program())))?;
            }
            if got.len() != want.len() {
                return Err(at(format!("{} results instead of {}", got.len(), want.len())));
            }
        }
    }
    Ok(taken)
}

/// Kernels without their barriers are refused as they run: the suite relies on it.
#[test]
fn a_missing_barrier_is_a_race() {
    fn without(b: &mut Block) {
        b.ops.retain(|o| !matches!(o.op, Op::Barrier {}));
        b.ops.iter_mut().flat_map(|o| &mut o.regions).for_each(without);
    }
    let m = model("softmax");
    let given = inputs::inputs(&mut Choices::from_seed(1, 4000), &AnyModule::Graph(m.clone()).inputs(), &binding_of(&m)).expect("inputs");
    let mut p = compiled(&m, &["wgsl"]).program().clone();
    program::run(&p, &given).expect("it runs as it is");
    p.kernels.iter_mut().for_each(|f| without(&mut f.body));
    let e = program::run(&p, &given).expect_err("a race").to_string();
    assert!(e.contains("while another invocation does"), "{e}");
}

fn binding_of(m: &odc_ir::graph::Module) -> odc_ir::core::Binding {
    inputs::binding(&mut Choices::from_seed(1, 10), &m.symbols)
}

/// `ODC_FUZZ=from..to` runs other seeds.
#[test]
fn programs_do_what_graphs_say() {
    let given = std::env::var("ODC_FUZZ").ok();
    let range = given.as_deref().and_then(|s| s.split_once("..")).and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    let range: std::ops::Range<u64> = range.unwrap_or(0..150);
    let all = range.clone().count() * targets().len();
    let taken = AtomicUsize::new(0);
    let mut failed = vec![];
    for seed in range {
        let result = std::panic::catch_unwind(|| check(seed)).unwrap_or_else(|_| Err("panicked, see above".into()));
        match result {
            Ok(n) => drop(taken.fetch_add(n, Ordering::Relaxed)),
            Err(e) => failed.push((e, seed)),
        }
    }
    failed.sort_by_key(|(e, _)| e.len());
    let seeds: Vec<_> = failed.iter().map(|(e, seed)| format!("seed {seed}: {}", e.lines().next().unwrap_or(""))).collect();
    assert!(failed.is_empty(), "{}\n\nthe shortest: {}", seeds.join("\n"), failed[0].0);
    let taken = taken.into_inner();
    assert!(taken * 10 >= all * 7, "only {taken} of {all} programs were made");
}

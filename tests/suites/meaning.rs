//! Every registered pass keeps meaning: a random module verifies, runs, and after each pass of the pipeline verifies again and
//! gives the same results by the interpreters. A new row in the table of passes is tested by that alone.

use crate::tape;
use odc::AnyModule;
use odc::passes::{CHOICE_PASSES, GPU_PASSES, PASSES, Pass};
use odc_ir::core::TensorValue;
use odc_tests::choices::Choices;
use odc_tests::filetest::close;
use odc_tests::generate::{self, inputs};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Named = [(String, TensorValue)];

fn check(m: AnyModule, c: &mut Choices) -> Result<(), String> {
    let errors = m.verify();
    if let Some(e) = errors.first() {
        return Err(format!("the generated module does not verify: {e}\n{m}"));
    }
    let binding = inputs::binding(c, m.symbols());
    let given = inputs::inputs(c, &m.inputs(), &binding).map_err(|e| e.to_string())?;
    let expected = m.run(&given).map_err(|e| format!("{e}\n{m}"))?;
    for passes in [PASSES, CHOICE_PASSES, GPU_PASSES] {
        pipeline(passes, &m, &given, &expected).map_err(|e| format!("{e}sizes {binding:?}"))?;
    }
    Ok(())
}

fn pipeline(passes: &[Pass], m: &AnyModule, given: &Named, expected: &Named) -> Result<(), String> {
    // The newest module of each level.
    let text = m.to_string();
    let mut newest = BTreeMap::from([(m.level(), m.clone())]);
    for pass in passes {
        let Some(at) = newest.get(pass.levels().0) else { continue };
        let next = match pass.apply(at.clone()) {
            Ok(next) => next,
            // What GPUs do not have is refused, not compiled wrongly; so are dispatches that a person formed with rows of no known size.
            Err(e) if e.contains("ODC0311") || e.contains("ODC0310") && text.contains("= dispatch ") => return Ok(()),
            Err(e) => return Err(format!("{}: {e}\n{at}", pass.name)),
        };
        let wrong = |what: String| format!("after {}: {what}\nmodule:\n{text}before:\n{at}after:\n{next}", pass.name);
        if let Some(e) = next.verify().first() {
            return Err(wrong(format!("it does not verify: {e}")));
        }
        if next.can_run() {
            let got = next.run(given).map_err(|e| wrong(e.to_string()))?;
            if got.len() != expected.len() {
                return Err(wrong(format!("{} results instead of {}", got.len(), expected.len())));
            }
            for ((name, x), (_, y)) in got.iter().zip(expected) {
                close(x, y).map_err(|e| wrong(format!("`{name}`: {e}")))?;
            }
        }
        newest.insert(next.level(), next);
    }
    Ok(())
}

/// 300 modules at each level, or as many as `ODC_CASES` says.
fn cases() -> u32 {
    std::env::var("ODC_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 600, ..ProptestConfig::default() })]
    #[test]
    fn from_graph(tape in tape()) {
        let mut c = Choices::new(tape);
        check(AnyModule::Graph(generate::graph::module(&mut c)), &mut c).map_err(TestCaseError::fail)?;
    }
    #[test]
    fn from_tensor(tape in tape()) {
        let mut c = Choices::new(tape);
        check(AnyModule::Tensor(generate::tensor::module(&mut c)), &mut c).map_err(TestCaseError::fail)?;
    }
    #[test]
    fn kernels_verify(tape in tape()) {
        let m = AnyModule::Loop(generate::loops::module(&mut Choices::new(tape)));
        prop_assert!(m.verify().is_empty(), "{:?}\n{m}", m.verify());
    }
}

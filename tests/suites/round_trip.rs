//! `parse(print(m)) == m` and stable printing, on random modules of each level.

use crate::tape;
use odc_ir::core::{Level, Module, hex, parse_module};
use odc_tests::choices::Choices;
use odc_tests::generate;
use proptest::prelude::*;

fn check<L: Level>(m: &Module<L>) -> Result<(), TestCaseError> {
    let text = m.to_string();
    let blobs = |hash: &str| m.consts.iter().find(|c| hex(&c.hash()) == hash).map(|c| c.bytes.clone());
    let back = parse_module::<L>(&text, &blobs).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
    prop_assert_eq!(&back, m, "{}", text);
    prop_assert_eq!(back.to_string(), text);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn graph(tape in tape()) {
        check(&generate::graph::module(&mut Choices::new(tape)))?;
    }
    #[test]
    fn tensor(tape in tape()) {
        check(&generate::tensor::module(&mut Choices::new(tape)))?;
    }
    #[test]
    fn loops(tape in tape()) {
        check(&generate::loops::module(&mut Choices::new(tape)))?;
    }
}

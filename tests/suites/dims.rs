//! Dims algebra against plain integers: canonical forms, text, substitution, and what `Ranges` proves.

use crate::tape;
use odc_ir::core::{Dim, Module, Sym, parse_dim};
use odc_ir::graph::Graph;
use odc_tests::choices::Choices;
use odc_tests::generate::dims::{Binding, SYMBOLS, Tree, binding, symbol};
use proptest::prelude::*;

fn ranges() -> odc_ir::core::Ranges {
    let mut m = Module::<Graph>::new("facts");
    for (name, ..) in SYMBOLS {
        m.symbols.insert(Sym::new(name), symbol(name, None));
    }
    m.ranges()
}

fn eval(d: &Dim, b: &Binding) -> Option<i64> {
    d.eval(&|s| b.get(s).copied()).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonical_forms_keep_the_value(tape in tape()) {
        let mut c = Choices::new(tape);
        let (tree, b) = (Tree::random(&mut c, 4), binding(&mut c));
        let d = tree.dim();
        if let (Some(expected), false) = (tree.value(&b), d.is_poison()) {
            prop_assert_eq!(eval(&d, &b), Some(expected), "{:?} became {}", tree, d);
        }
    }

    #[test]
    fn text_gives_the_dim_back(tape in tape()) {
        let d = Tree::random(&mut Choices::new(tape), 4).dim();
        prop_assert_eq!(parse_dim(&d.to_string()).map_err(|e| TestCaseError::fail(format!("{d}: {e}")))?, d);
    }

    #[test]
    fn substitution_is_evaluation(tape in tape()) {
        let mut c = Choices::new(tape);
        let (d, b) = (Tree::random(&mut c, 4).dim(), binding(&mut c));
        if let Some(value) = eval(&d, &b) {
            prop_assert_eq!(d.subst(&|s| b.get(s).map(|&v| Dim::from(v))), Dim::from(value), "{}", d);
        }
    }

    #[test]
    fn proofs_hold(tape in tape()) {
        let mut c = Choices::new(tape);
        let (d, b, r) = (Tree::random(&mut c, 3).dim(), binding(&mut c), ranges());
        if let Some(value) = eval(&d, &b) {
            let (lo, hi) = r.interval(&d);
            prop_assert!(lo <= value && value <= hi, "{d} = {value} is not in {lo}..={hi} at {b:?}");
            prop_assert!(!r.nonneg(&d) || value >= 0, "{d} = {value} was proved non-negative at {b:?}");
            let simple = r.simplify(&d);
            prop_assert_eq!(eval(&simple, &b), Some(value), "{} simplified to {}", d, simple);
        }
    }
}

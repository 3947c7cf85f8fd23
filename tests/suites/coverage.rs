//! Is every op met by a test? Generators and file tests together must use each row of each op table.

use crate::tidy;
use odc::AnyModule;
use odc::passes::apply;
use odc_ir::core::{Level, Module, OpSet};
use odc_ir::tensor::{Op, Template};
use odc_tests::choices::Choices;
use odc_tests::generate;
use std::collections::BTreeMap;

const SEEDS: u64 = 1500;

fn count<L: Level>(make: impl Fn(&mut Choices) -> Module<L>) -> BTreeMap<&'static str, usize> {
    let mut n = BTreeMap::new();
    let mut ops = 0;
    for seed in 0..SEEDS {
        let m = make(&mut Choices::from_seed(seed, 300));
        for f in &m.funcs {
            f.body.visit_ops(&mut |op| {
                *n.entry(op.op.info().mnemonic).or_insert(0) += 1;
                ops += 1;
            });
        }
    }
    println!("{} modules of {}: {} ops, {} a module; {n:?}", SEEDS, L::NAME, ops, ops / SEEDS as usize);
    n
}

fn missing<L: Level>(made: &BTreeMap<&'static str, usize>) -> Vec<String> {
    let texts: Vec<String> =
        tidy::files(&["odc"]).into_iter().map(|(_, t)| t).filter(|t| t.contains(&format!("{} module", L::NAME))).collect();
    let in_file =
        |mn: &str| texts.iter().any(|t| t.lines().any(|l| l.split("//").next().unwrap_or("").split_whitespace().any(|w| w == mn)));
    let rows = L::Op::TABLE.iter().map(|r| r.mnemonic);
    rows.filter(|mn| !made.contains_key(mn) && !in_file(mn))
        .map(|mn| format!("{} op `{mn}` is in no generator and no file test", L::NAME))
        .collect()
}

#[test]
fn every_op_is_met() {
    let mut problems = missing::<odc_ir::graph::Graph>(&count(generate::graph::module));
    problems.extend(missing::<odc_ir::tensor::Tensor>(&count(generate::tensor::module)));
    problems.extend(missing::<odc_ir::loops::Loop>(&count(generate::loops::module)));
    tidy::report(&problems);
}

/// Do random graphs become attention in one kernel of a CPU, and maps side by side? Softmax between two products is drawn, but not every
/// one of them may.
#[test]
fn attention_and_maps_side_by_side_are_met() {
    let (mut met, mut beside) = (0, 0);
    for seed in 0..SEEDS {
        let mut m = AnyModule::Graph(generate::graph::module(&mut Choices::from_seed(seed, 300)));
        for pass in ["lower_tensor", "choose", "beside", "schedule"] {
            m = apply(pass, m).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        }
        let AnyModule::Tensor(m) = &m else { panic!("schedules stand in tensor IR") };
        for op in m.main().into_iter().flat_map(|f| &f.body.ops) {
            let Op::Dispatch { schedule } = &op.op else { continue };
            met += usize::from(schedule.template == Template::Attention);
            beside += usize::from(schedule.template == Template::Beside);
        }
    }
    println!("{SEEDS} graphs: {met} times attention, {beside} times maps side by side");
    assert!(beside >= 20, "maps lie side by side {beside} times in {SEEDS} graphs");
    assert!(met >= 5, "attention is met {met} times in {SEEDS} graphs");
}

/// Every op that random graphs draw has families, each of which works on its own; each family is some op's.
#[test]
fn every_family_finds_something_to_do() {
    let mut problems = vec![];
    for (op, families) in generate::graph::FAMILIES {
        for (k, family) in families.iter().enumerate() {
            let made = (0..200).any(|seed| {
                let m = generate::graph::module_with(&mut Choices::from_seed(seed, 300), *family);
                m.funcs.iter().any(|f| f.body.ops.len() > 2)
            });
            if !made {
                problems.push(format!("family {k} of `{op}` never made anything"));
            }
        }
    }
    let table = odc_ir::graph::Op::TABLE;
    let is_drawn = |op: &str| table.iter().any(|row| row.mnemonic == op && row.weight > 0);
    let drawn = |(op, _): &&(&str, _)| !is_drawn(op);
    problems
        .extend(generate::graph::FAMILIES.iter().filter(drawn).map(|(op, _)| format!("no random graph draws `{op}`: it weighs nothing")));
    for row in table.iter().filter(|row| row.weight > 0) {
        if generate::graph::FAMILIES.iter().all(|(op, _)| *op != row.mnemonic) {
            problems.push(format!("`{0}` weighs {1}, but no family of random graphs makes it", row.mnemonic, row.weight));
        }
    }
    tidy::report(&problems);
}

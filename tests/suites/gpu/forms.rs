//! Do random graphs become every kind of GPU kernel? What no seed ever becomes, no other suite tests.

use crate::tidy;
use odc::AnyModule;
use odc::passes::apply;
use odc_ir::core::{Binary, DType, Dim};
use odc_ir::tensor::{Expr, Index, Module, Op, Operation, Program, ReduceKind, Template};
use odc_tests::choices::Choices;
use odc_tests::generate;
use std::collections::BTreeMap;

const SEEDS: u64 = 1500;

/// What to find, and how many at least: a handful of each, or the suites' hundreds of seeds miss it.
const WANTED: &[&str] = &[
    "map",
    "reduction by one invocation",
    "gemm",
    "gemm of several blocks",
    "gemm with an epilogue",
    "gemv along columns",
    "gemv along the depth",
    "rows",
    "rows of one reduction",
    "rows in a result",
    "rows in groups",
    "gemm in groups",
    "product, softmax",
    "product, softmax, product",
    "small products",
    "norm",
    "gather",
    "scatter",
    "as many buffers as there may be",
    "nothing to do",
    "f16",
    "bf16",
    "i64",
    "bool",
    "u8",
];
const LEAST: usize = 5;

fn product(o: &Operation) -> bool {
    let Op::Reduce { kind: ReduceKind::Sum, body, .. } = &o.op else { return false };
    body.root.is_some_and(|r| matches!(body.get(r), Expr::Binary(Binary::Mul, a, b) if a != b))
}

fn reduces(o: &Operation, wanted: ReduceKind) -> bool {
    matches!(&o.op, Op::Reduce { kind, .. } if *kind == wanted) && !product(o)
}

fn programs(o: &Operation) -> Vec<&Program> {
    match &o.op {
        Op::Map { body, .. } => vec![body],
        Op::Reduce { body, epilogue, .. } => vec![body, epilogue],
        _ => vec![],
    }
}

/// The forms that dispatch `d` has.
fn forms(m: &Module, d: &Operation) -> Vec<&'static str> {
    let (Op::Dispatch { schedule }, [block], Some(f)) = (&d.op, d.regions.as_slice(), m.main()) else { return vec![] };
    let mut out = vec![];
    let mut found = |name, yes: bool| out.extend(yes.then_some(name));
    let ops = &block.ops;
    let is = |t| schedule.template == t;
    let one = ops.len() == 1;
    found("map", is(Template::Loops) && matches!(ops[0].op, Op::Map { .. }));
    found("reduction by one invocation", is(Template::Loops) && matches!(ops[0].op, Op::Reduce { .. }));
    found("gemm", is(Template::Gemm));
    let extent = |axes: &[(odc_ir::core::Sym, Dim)]| Dim::product(axes.iter().map(|(_, n)| n)).as_const();
    let large =
        |o: &Operation| matches!(&o.op, Op::Reduce { axes, .. } if extent(axes).is_none_or(|n| n > schedule.block[0] * schedule.block[1]));
    found("gemm of several blocks", is(Template::Gemm) && large(&ops[0]));
    let epilogue = |o: &Operation| matches!(&o.op, Op::Reduce { epilogue, .. } if !epilogue.is_identity());
    found("gemm with an epilogue", is(Template::Gemm) && epilogue(&ops[0]));
    // The depth is split over more invocations where it is contiguous; groups of columns are more columns than invocations.
    let (split, threads) = (schedule.block.get(1).copied().unwrap_or(0), schedule.local.first().copied().unwrap_or(0));
    let columns = is(Template::Gemv) && if schedule.vector > 1 { schedule.block[0] * split > threads } else { split < 32 };
    found("gemv along columns", columns);
    found("gemv along the depth", is(Template::Gemv) && !columns);
    found("rows in groups", is(Template::Rows) && schedule.vector > 1);
    found("gemm in groups", is(Template::Gemm) && schedule.vector > 1);
    found("rows", is(Template::Rows) && !one);
    found("rows of one reduction", is(Template::Rows) && one);
    let inside = |v| ops.iter().any(|o| o.operands.contains(v));
    found("rows in a result", is(Template::Rows) && block.yields.iter().any(inside));
    let products = ops.iter().filter(|o| product(o)).count();
    let softmax = ops.iter().any(|o| reduces(o, ReduceKind::Max));
    found("product, softmax", products == 1 && softmax);
    found("product, softmax, product", products == 2 && softmax);
    found("small products", products == 2 && !softmax);
    found("norm", ops.iter().filter(|o| reduces(o, ReduceKind::Sum)).count() >= 2 && ops.len() >= 3);
    let loads = |o: &Operation| programs(o).iter().any(|p| p.loads().any(|(_, i)| i.iter().any(|i| matches!(i, Index::Value(_)))));
    found("gather", ops.iter().any(loads));
    found("scatter", ops.iter().any(|o| matches!(o.op, Op::Scatter { .. })));
    found("as many buffers as there may be", d.operands.len() + d.results.len() == 8);
    let types: Vec<_> = d.operands.iter().chain(&d.results).map(|v| f.ty(*v)).collect();
    found("nothing to do", types.iter().any(|t| t.shape.iter().any(|n| n.is(0))));
    for (name, dtype) in [("f16", DType::F16), ("bf16", DType::BF16), ("i64", DType::I64), ("bool", DType::Bool), ("u8", DType::U8)] {
        found(name, types.iter().any(|t| t.dtype == dtype));
    }
    out
}

#[test]
fn every_form_is_met() {
    let mut n: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut m = AnyModule::Graph(generate::graph::module(&mut Choices::from_seed(seed, 300)));
        for pass in ["merge", "lower_tensor", "fuse_gpu", "schedule_gpu"] {
            m = apply(pass, m).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        }
        let AnyModule::Tensor(m) = &m else { panic!("schedules stand in tensor IR") };
        for d in m.main().iter().flat_map(|f| &f.body.ops) {
            for form in forms(m, d) {
                *n.entry(form).or_insert(0) += 1;
            }
        }
    }
    println!("{SEEDS} graphs: {n:?}");
    let of = |form: &&&str| n.get(**form).copied().unwrap_or(0);
    let rare = WANTED.iter().filter(|f| of(f) < LEAST).map(|f| format!("`{f}` is met {} times in {SEEDS} graphs", of(&f)));
    tidy::report(&rare.collect::<Vec<_>>());
}

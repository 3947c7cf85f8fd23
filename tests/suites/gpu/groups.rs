//! Neighbours that are loaded and stored four at once: how many storage accesses that saves, that the results stay the same for shapes that do
//! and do not lie in groups (the interpreter refuses a vector at an offset that is no multiple of its lanes), and that kernels have them.

use super::models::{model, parse};
use super::texts;
use odc::passes::apply;
use odc::{AnyModule, AnyTarget, Options, compile_graph};
use odc_ir::core::{Scalar, Value};
use odc_ir::graph;
use odc_ir::loops::{Block, Func, LoopType, Op, Space};
use odc_ir::program;
use odc_ir::tensor::{self, Template};
use odc_tests::choices::Choices;
use odc_tests::filetest::close;
use odc_tests::generate::inputs;

/// A device that few invocations keep busy: what it computes, it computes in groups.
fn small() -> AnyTarget {
    match AnyTarget::parse("wgsl") {
        Ok(AnyTarget::Gpu(mut t)) => {
            t.costs.busy = 4;
            AnyTarget::Gpu(t)
        }
        other => panic!("{other:?}"),
    }
}

/// Loads and stores of storage buffers in one run of a kernel whose loops have constant bounds; of vectors, and in all.
fn accesses(f: &Func) -> (i64, i64) {
    let mut constants = std::collections::BTreeMap::new();
    f.body.visit_ops(&mut |op| {
        if let (Op::Const { value: Scalar::Int(x) }, Some(r)) = (&op.op, op.result()) {
            constants.insert(r, *x);
        }
    });
    fn block(f: &Func, b: &Block, constant: &dyn Fn(&Value) -> i64, times: i64, found: &mut (i64, i64)) {
        for op in &b.ops {
            let trips = match (&op.op, op.operands.as_slice()) {
                (Op::For { .. }, [lo, hi, step, ..]) => (constant(hi) - constant(lo) + constant(step) - 1) / constant(step),
                _ => 1,
            };
            op.regions.iter().for_each(|r| block(f, r, constant, times * trips, found));
            let value = match op.op {
                Op::Load {} => op.result(),
                Op::Store {} => op.operands.get(2).copied(),
                _ => continue,
            };
            if let (LoopType::Ptr(_, Space::Global), Some(v)) = (f.ty(op.operands[0]), value) {
                found.0 += if f.ty(v).lanes() > 1 { times } else { 0 };
                found.1 += times;
            }
        }
    }
    let mut found = (0, 0);
    block(f, &f.body, &|v| *constants.get(v).unwrap_or_else(|| panic!("{v} of @{} is no constant", f.name)), 1, &mut found);
    found
}

/// The kernels of a graph, as scheduled or with schedules that have no groups.
fn kernels(m: &graph::Module, groups: bool) -> Vec<Func> {
    let mut m = AnyModule::Graph(m.clone());
    for pass in ["merge", "lower_tensor", "fuse_gpu", "schedule_gpu"] {
        m = apply(pass, m).expect(pass);
    }
    if let AnyModule::Tensor(t) = &mut m
        && !groups
    {
        for op in t.funcs.iter_mut().flat_map(|f| &mut f.body.ops) {
            if let tensor::Op::Dispatch { schedule: s } = &mut op.op {
                // Columns of a workgroup are counted one by one.
                if s.template == Template::Gemv && s.block[0] * s.block[1] > s.local[0] {
                    s.block[0] /= i64::from(s.vector);
                }
                s.vector = 1;
            }
        }
    }
    match apply("plan_gpu", m).expect("a program") {
        AnyModule::Program(p) => p.kernels,
        _ => panic!("no program"),
    }
}

const FIXED: &[(&str, &str)] = &[
    (
        "map",
        r#"func @main(%0 "x": f32[64, 1024], %1 "y": f32[1024]) {
    %2 = binary {f = mul} %0, %1 : f32[64, 1024]
    %3 = unary {f = tanh} %2 : f32[64, 1024]
    yield %3 "z"
  }"#,
    ),
    (
        "norm",
        r#"const #0 : f32[768] = ?
  const #1 : f32[768] = ?
  func @main(%0 "x": f32[128, 768]) {
    %1 = constant {value = #0} : f32[768]
    %2 = constant {value = #1} : f32[768]
    %3 = layer_norm {axis = 1, epsilon = 1e-5} %0, %1, %2 : f32[128, 768]
    yield %3 "y"
  }"#,
    ),
    (
        "product",
        r#"const #0 : f32[256, 512] = ?
  const #1 : f32[512] = ?
  func @main(%0 "x": f32[128, 256]) {
    %1 = constant {value = #0} : f32[256, 512]
    %2 = constant {value = #1} : f32[512]
    %3 = matmul %0, %1 : f32[128, 512]
    %4 = binary {f = add} %3, %2 : f32[128, 512]
    yield %4 "y"
  }"#,
    ),
];

/// A fourth of the accesses. What all of a group share (a factor of its columns) is read as one element, the rest in groups.
#[test]
fn a_fourth_of_the_accesses() {
    let fixed = FIXED.iter().map(|(name, text)| parse(name, text));
    for m in fixed.chain(["gemv", "gemv_deep"].map(model)) {
        let sum = |fs: Vec<Func>| fs.iter().map(accesses).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let (before, after) = (sum(kernels(&m, false)), sum(kernels(&m, true)));
        println!("{}: {} accesses before, {} after, {} of them of four", m.name, before.1, after.1, after.0);
        assert_eq!(before.0, 0, "{}: groups without a schedule that wants them", m.name);
        let shared = ["gemv", "gemv_deep"].contains(&m.name.as_str());
        assert!(after.0 >= if shared { after.1 / 2 } else { after.1 }, "{}: only {} of {} are of four", m.name, after.0, after.1);
        assert!(after.1 * 7 <= before.1 * 2, "{}: {} accesses before, {} after", m.name, before.1, after.1);
    }
}

/// Sizes of which some are multiples of four.
fn size(c: &mut Choices) -> i64 {
    if c.chance(60) { c.between(1, 20) * 4 } else { c.between(1, 70) }
}

fn random(c: &mut Choices) -> graph::Module {
    let (m, n, k, b) = (if c.chance(40) { c.between(1, 3) } else { size(c) }, size(c), size(c), c.between(1, 3));
    let (x, turned) = (format!("f32[{b}, {m}, {n}]"), c.chance(50));
    let axis = if c.chance(70) { 2 } else { 1 };
    let reduced = if axis == 2 { format!("f32[{b}, {m}]") } else { format!("f32[{b}, {n}]") };
    let text = match c.below(6) {
        0 | 1 => {
            let (w, wt) = (format!("f32[{k}, {n}]"), format!("f32[{n}, {k}]"));
            let (first, turn) = match turned {
                true => (&wt, format!("%3 = transpose {{perm = [1, 0]}} %1 : {w}")),
                false => (&w, format!("%3 = unary {{f = neg}} %1 : {w}")),
            };
            format!(
                r#"func @main(%0 "x": f32[{b}, {m}, {k}], %1 "w": {first}, %2 "bias": f32[{n}]) {{
    {turn}
    %4 = matmul %0, %3 : {x}
    %5 = binary {{f = add}} %4, %2 : {x}
    yield %5 "y"
  }}"#
            )
        }
        2 => format!(
            r#"func @main(%0 "x": {x}, %1 "y": f32[{m}, 1], %2 "z": f32[{n}]) {{
    %3 = binary {{f = mul}} %0, %1 : {x}
    %4 = binary {{f = add}} %3, %2 : {x}
    %5 = unary {{f = sigmoid}} %4 : {x}
    yield %5 "y"
  }}"#
        ),
        3 => format!(
            r#"func @main(%0 "x": {x}) {{
    %1 = softmax {{axis = {axis}, log = false}} %0 : {x}
    yield %1 "y"
  }}"#
        ),
        4 => format!(
            r#"func @main(%0 "x": {x}) {{
    %1 = reduce {{f = max, axes = [{axis}], keep = false}} %0 : {reduced}
    %2 = reduce {{f = mean, axes = [{axis}], keep = false}} %0 : {reduced}
    %3 = binary {{f = sub}} %1, %2 : {reduced}
    yield %3 "y"
  }}"#
        ),
        _ => format!(
            r#"func @main(%0 "q": f32[{b}, {m}, {k}], %1 "k": f32[{b}, {k}, {n}], %2 "v": f32[{b}, {n}, {k}]) {{
    %3 = matmul %0, %1 : {x}
    %4 = softmax {{axis = 2, log = false}} %3 : {x}
    %5 = matmul %4, %2 : f32[{b}, {m}, {k}]
    yield %5 "y"
  }}"#
        ),
    };
    parse("random", &text)
}

#[test]
fn groups_mean_the_same() {
    let mut met = 0;
    for seed in 0..80 {
        let mut c = Choices::from_seed(seed, 60_000);
        let m = random(&mut c);
        let compiled = compile_graph(m.clone(), &Options { targets: vec![small()], threads: 1, ..Options::default() });
        let compiled = compiled.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{m}"));
        texts(&compiled);
        let any = AnyModule::Graph(m.clone());
        let given = inputs::inputs(&mut c, &any.inputs(), &Default::default()).expect("inputs");
        let want = any.run(&given).expect("the graph runs");
        let p = compiled.program();
        let got = program::run(p, &given).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{m}\n{p}"));
        for ((name, want), got) in want.iter().zip(&got) {
            close(got, want).unwrap_or_else(|e| panic!("seed {seed}: `{name}`: {e}\n{m}\n{p}"));
        }
        let vectors = |f: &Func| {
            let mut any = false;
            f.body.visit_ops(&mut |op| any |= matches!(op.op, Op::Load {}) && op.result().is_some_and(|r| f.ty(r).lanes() > 1));
            any
        };
        met += usize::from(p.kernels.iter().any(vectors));
    }
    assert!(met >= 30, "only {met} of 80 graphs have loads of four");
}

//! Sizes that data decides: symbols with bounds, and results that say their values.

use crate::net::{Net, attr, floats, int, ints, node, one, value};
use odc_ir::core::{DType, Scalar, TensorValue};
use odc_ir::graph::interp;
use odc_onnx::Code;
use odc_onnx::proto::{AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto, ValueInfoProto};

fn run(net: &Net, x: &[f32]) -> Vec<Vec<f64>> {
    let x = TensorValue::from_f32(&[x.len()], x).unwrap();
    interp::run(&net.module(), &[("x".into(), x)]).unwrap().iter().map(TensorValue::to_f64).collect()
}

#[test]
fn counts_are_symbols_with_bounds() {
    let net = one(13, "NonZero", &["n"], vec![], vec![]);
    let m = net.module();
    assert_eq!(net.result(), "i64[1, u0]");
    let u0 = m.symbols.iter().find(|(s, _)| s.name() == "u0").unwrap().1;
    assert!(u0.is_count() && u0.most.as_ref().unwrap().to_string() == "n");
    assert_eq!(m.main().unwrap().result_names, ["y", "= u0"]);
    assert_eq!(run(&net, &[0.0, 2.0, 0.0, -1.0]), [[1.0, 3.0]]);
    assert_eq!(run(&net, &[0.0]), [[0.0; 0]]);
}

#[test]
fn unique_orders_and_counts() {
    let x = [3.0, 1.0, 3.0, 2.0, 1.0, 3.0];
    let net = |sorted| {
        let n = Net::new(11).input("x", &["n"]).node("Unique", &["x"], &["y", "i", "v", "c"], vec![int("sorted", sorted)]);
        n.output("y").output("i").output("v").output("c")
    };
    let want = [vec![1.0, 2.0, 3.0], vec![1.0, 3.0, 0.0], vec![2.0, 0.0, 2.0, 1.0, 0.0, 2.0], vec![2.0, 1.0, 3.0]];
    assert_eq!(run(&net(1), &x), want);
    let want = [vec![3.0, 1.0, 2.0], vec![0.0, 1.0, 3.0], vec![0.0, 1.0, 0.0, 2.0, 1.0, 0.0], vec![3.0, 2.0, 1.0]];
    assert_eq!(run(&net(0), &x), want);
}

/// What is known of a count holds only if the data agrees.
#[test]
fn counts_that_must_be_sizes_are_checked() {
    let net = Net::new(13)
        .input("x", &["n"])
        .typed("k", DataType::Float, &["2"])
        .weights([floats("w", &[2], &[1.0, 2.0])])
        .node("Greater", &["x", "zero"], &["m"], vec![])
        .weights([floats("zero", &[], &[0.0])])
        .node("Compress", &["x", "m"], &["c"], vec![])
        .node("Add", &["c", "w"], &["y"], vec![])
        .output("y");
    let m = net.module();
    assert!(m.main().unwrap().result_names.contains(&"= 2".to_string()), "{m}");
    let k = TensorValue::filled(DType::F32, &[2], Scalar::Float(0.0)).unwrap();
    let run = |x: &[f32]| interp::run(&m, &[("x".into(), TensorValue::from_f32(&[x.len()], x).unwrap()), ("k".into(), k.clone())]);
    assert_eq!(run(&[-1.0, 5.0, 7.0]).unwrap()[0].to_f32(), [6.0, 9.0]);
    let e = run(&[-1.0, 5.0, -7.0]).unwrap_err().to_string();
    assert!(e.contains('2') && e.contains('1'), "{e}");
}

fn graph(name: &str, nodes: Vec<NodeProto>, inputs: &[ValueInfoProto], outputs: &[&str]) -> AttributeProto {
    let output = outputs.iter().map(|o| ValueInfoProto { name: Some(o.to_string()), ..Default::default() }).collect();
    let g = GraphProto { name: Some("g".into()), node: nodes, input: inputs.to_vec(), output, ..Default::default() };
    AttributeProto { g: Some(g), ..attr(name, AttributeType::Graph) }
}

/// A loop that doubles its value while it is below 100, and keeps what it had.
fn doubling(limit: i64) -> Net {
    let body = vec![
        node("Add", &["v", "v"], &["w"], vec![]),
        node("ReduceMax", &["w"], &["m"], vec![int("keepdims", 0)]),
        node("Less", &["m", "top"], &["more"], vec![]),
        node("Identity", &["m"], &["kept"], vec![]),
    ];
    let inputs = [value("i", DataType::Int64, &[]), value("go", DataType::Bool, &[]), value("v", DataType::Float, &["n"])];
    let body = graph("body", body, &inputs, &["more", "w", "kept"]);
    let trips = TensorProto { dims: vec![], ..ints("trips", &[limit]) };
    let net = Net::new(17).input("x", &["n"]).weights([floats("top", &[], &[100.0]), trips]);
    net.node("Loop", &["trips", "", "x"], &["last", "all"], vec![body]).output("all").output("last")
}

#[test]
fn loops_that_end_early_collect_as_many_as_there_were() {
    let net = doubling(50);
    let m = net.module();
    assert_eq!(m.main().unwrap().ty(m.main().unwrap().body.yields[0]).to_string(), "f32[u0]");
    assert_eq!(run(&net, &[3.0, 20.0]), [vec![40.0, 80.0, 160.0], vec![24.0, 160.0]]);
    assert_eq!(run(&doubling(2), &[3.0, 20.0])[0], [40.0, 80.0]);
    // As long as it takes, but not longer than there is room.
    let mut net = doubling(i64::MAX);
    net.options.limits.trips = 4;
    assert_eq!(run(&net, &[10.0])[0], [20.0, 40.0, 80.0, 160.0]);
    let x = TensorValue::from_f32(&[1], &[5.0]).unwrap();
    let e = interp::run(&net.module(), &[("x".into(), x)]).unwrap_err().to_string();
    assert!(e.contains("0..4"), "{e}");
}

/// Both are computed where data decides sizes in one of them.
#[test]
fn branches_of_different_sizes() {
    let then = graph("then_branch", vec![node("NonZero", &["x"], &["a"], vec![])], &[], &["a"]);
    let other = graph("else_branch", vec![node("Identity", &["none"], &["b"], vec![])], &[], &["b"]);
    let none = TensorProto { dims: vec![1, 2], ..ints("none", &[8, 9]) };
    let net = Net::new(17).input("x", &["n"]).weights([floats("zero", &[], &[0.0]), none]);
    let net = net.node("ReduceSum", &["x"], &["s"], vec![int("keepdims", 0)]).node("Greater", &["s", "zero"], &["c"], vec![]);
    let net = net.node("If", &["c"], &["y"], vec![then, other]).output("y");
    assert_eq!(run(&net, &[0.0, 2.0, 0.0, 1.0, 1.0]), [[1.0, 3.0, 4.0]]);
    assert_eq!(run(&net, &[-1.0, 0.0, 0.0]), [[8.0, 9.0]]);
}

/// What follows branches of different ranks is computed in both.
#[test]
fn branches_of_different_ranks() {
    let branches = || {
        let then = graph("then_branch", vec![node("Identity", &["x"], &["a"], vec![])], &[], &["a"]);
        let other = graph("else_branch", vec![node("ReduceSum", &["x"], &["b"], vec![int("keepdims", 0)])], &[], &["b"]);
        vec![then, other]
    };
    let net = |branches| {
        let net = Net::new(17).input("x", &["n"]).typed("c", DataType::Bool, &[]);
        net.node("If", &["c"], &["r"], branches).node("Neg", &["x"], &["minus"], vec![])
    };
    let last = |net: Net, from: &str| net.node("ReduceMax", &[from], &["y"], vec![int("keepdims", 0)]).output("y");
    // The nodes behind it also use what comes after it in the file, and a graph of their own uses it.
    let inner = |name, op| graph(name, vec![node(op, &["r"], &["in"], vec![])], &[], &["in"]);
    let good = net(branches()).node("If", &["c"], &["s"], vec![inner("then_branch", "Relu"), inner("else_branch", "Abs")]);
    let good = last(good.node("Add", &["s", "minus"], &["t"], vec![]), "t").output("minus");
    let m = good.module();
    let run = |c: bool| {
        let x = TensorValue::from_f32(&[3], &[1.0, -2.0, -4.0]).unwrap();
        let c = TensorValue::filled(DType::Bool, &[], Scalar::Int(c.into())).unwrap();
        interp::run(&m, &[("x".into(), x), ("c".into(), c)]).unwrap().iter().map(TensorValue::to_f64).collect::<Vec<_>>()
    };
    assert_eq!(run(true), [vec![4.0], vec![-1.0, 2.0, 4.0]]);
    assert_eq!(run(false), [vec![9.0], vec![-1.0, 2.0, 4.0]]);
    // A result whose rank stays open has no type, and a name that a branch has is not taken from it.
    for bad in [net(branches()).node("Relu", &["r"], &["y"], vec![]).output("y"), last(net(branches()), "r").output("r")] {
        assert_eq!(bad.codes(), [Code::DataDependentShape]);
    }
    let mut taken = branches();
    taken[0] = graph("then_branch", vec![node("Identity", &["x"], &["y"], vec![])], &[], &["y"]);
    assert_eq!(last(net(taken), "r").codes(), [Code::DataDependentShape]);
}

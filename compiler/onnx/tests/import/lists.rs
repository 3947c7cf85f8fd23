//! Sequences and optionals are gone after import: what they hold is known then.

use crate::net::{Net, floats, int, ints, node, one};
use odc_ir::core::TensorValue;
use odc_ir::graph::interp;
use odc_onnx::proto::type_proto::{Optional, Sequence, Value};
use odc_onnx::proto::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto, TypeProto, ValueInfoProto};
use odc_onnx::{Code, Items, OpenDim};

fn name(n: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(n.into()), ..Default::default() }
}

/// Makes the model's first input a sequence of what it is, in an optional if asked.
fn listed(mut net: Net, optional: bool) -> Net {
    let input = &mut net.graph().input[0];
    let mut ty = input.r#type.clone().map(Box::new);
    ty = Some(Box::new(TypeProto { value: Some(Value::SequenceType(Box::new(Sequence { elem_type: ty }))), ..Default::default() }));
    if optional {
        ty = Some(Box::new(TypeProto { value: Some(Value::OptionalType(Box::new(Optional { elem_type: ty }))), ..Default::default() }));
    }
    input.r#type = ty.map(|t| *t);
    net
}

#[test]
fn positions_pick_the_tensors() {
    let n = Net::new(13)
        .input("x", &["n", "2"])
        .input("y", &["n", "3"])
        .weights([ints("minus", &[-1])])
        .node("SequenceConstruct", &["x", "x"], &["s"], vec![])
        .node("SequenceInsert", &["s", "y"], &["t"], vec![])
        .node("SequenceAt", &["t", "minus"], &["z"], vec![])
        .output("z");
    assert_eq!((n.body().len(), n.result()), (0, "f32[n, 3]".into()));
    let n =
        Net::new(13).input("x", &["n"]).node("SequenceConstruct", &["x"], &["s"], vec![]).node("Abs", &["s"], &["z"], vec![]).output("z");
    assert!(n.error().contains("input 0 is a sequence"), "{}", n.error());
}

#[test]
fn splits_and_joins() {
    let split = |size: &str| one(13, "SplitToSequence", &["2", size], vec![ints("k", &[2, 3])], vec![int("axis", 1)]);
    let mut n = split("5").node("ConcatFromSequence", &["y"], &["z"], vec![int("axis", 0)]);
    n.graph().output = vec![name("z")];
    assert!(n.error().contains("never agree"));
    let m = split("5").module();
    assert_eq!(m.main().unwrap().result_names, ["y.0", "y.1"]);
    assert_eq!(split("s").module().symbols.len(), 0, "the parts say how long the axis is");
    let open = one(13, "SplitToSequence", &["n"], vec![TensorProto { dims: vec![], ..ints("k", &[2]) }], vec![]).import().unwrap_err();
    let dim = OpenDim { name: "n".into(), input: "x".into(), axis: 0 };
    assert!(open[0].dims == [dim] && open[0].to_string().contains("--dim n="), "{}", open[0]);
}

#[test]
fn sequence_inputs_are_flattened() {
    let body = GraphProto {
        node: vec![node("Add", &["a", "b"], &["c"], vec![])],
        input: vec![name("a"), name("b")],
        output: vec![name("c")],
        ..Default::default()
    };
    let body = AttributeProto { name: Some("body".into()), r#type: Some(AttributeType::Graph as i32), g: Some(body), ..Default::default() };
    let net = || {
        let n = Net::new(17).input("x", &["n"]).input("y", &["n"]).node("SequenceMap", &["x", "y"], &["z"], vec![body.clone()]).output("z");
        listed(n, false)
    };
    let e = net().import().unwrap_err();
    assert!(e[0].help.as_ref().unwrap().contains("--list x=N"), "{}", e[0]);
    let mut n = net();
    n.options.lists.insert("x".into(), Items::Count(2));
    let m = n.module();
    let f = m.main().unwrap();
    assert_eq!((f.param_names.join(" "), f.result_names.join(" ")), ("x.0 x.1 y".into(), "z.0 z.1".into()));
    n.options.lists.insert("w".into(), Items::Count(2));
    assert_eq!(n.codes(), [Code::BadFix]);
}

#[test]
fn optionals_say_what_they_hold() {
    let net = |n: usize| {
        let net = Net::new(18).input("x", &["3"]).node("OptionalHasElement", &["x"], &["h"], vec![]).output("h");
        let mut net = listed(net, true);
        net.options.lists.insert("x".into(), Items::Count(n));
        net
    };
    // An empty sequence is an element all the same.
    assert_eq!((net(0).result(), net(1).result()), ("bool[]".into(), "bool[]".into()));
}

/// A loop as long as data says appends to a sequence; another one reads it.
#[test]
fn sequences_that_loops_make() {
    let graph = |nodes: Vec<NodeProto>, inputs: &[&str], outputs: &[&str]| {
        let of = |names: &[&str]| names.iter().map(|n| name(n)).collect();
        let g = GraphProto { node: nodes, input: of(inputs), output: of(outputs), ..Default::default() };
        AttributeProto { name: Some("body".into()), r#type: Some(AttributeType::Graph as i32), g: Some(g), ..Default::default() }
    };
    let double = vec![
        node("Add", &["v", "v"], &["w"], vec![]),
        node("ReduceMax", &["w"], &["m"], vec![int("keepdims", 0)]),
        node("Less", &["m", "top"], &["more"], vec![]),
        node("SequenceInsert", &["s", "w"], &["t"], vec![]),
    ];
    let double = graph(double, &["i", "go", "v", "s"], &["more", "w", "t"]);
    let read = vec![
        node("Identity", &["go"], &["more"], vec![]),
        node("SequenceAt", &["all", "i"], &["row"], vec![]),
        node("ReduceSum", &["row"], &["kept"], vec![int("keepdims", 0)]),
    ];
    let read = graph(read, &["i", "go"], &["more", "kept"]);
    let trips = TensorProto { dims: vec![], ..ints("trips", &[50]) };
    let net = Net::new(17).input("x", &["n"]).weights([floats("top", &[], &[100.0]), trips]);
    let net = net.node("SequenceEmpty", &[], &["none"], vec![]).node("Loop", &["trips", "", "x", "none"], &["last", "all"], vec![double]);
    let net = net.node("SequenceLength", &["all"], &["len"], vec![]).node("Loop", &["len", ""], &["sums"], vec![read]);
    let net = net.node("ConcatFromSequence", &["all"], &["y"], vec![int("axis", 0)]);
    let net = net.node("ConcatFromSequence", &["all"], &["z"], vec![int("axis", 1), int("new_axis", 1)]);
    let net = net.output("y").output("z").output("len").output("sums");
    let x = TensorValue::from_f32(&[2], &[10.0, 20.0]).unwrap();
    let got = interp::run(&net.module(), &[("x".into(), x)]).unwrap();
    let got: Vec<Vec<f64>> = got.iter().map(TensorValue::to_f64).collect();
    let (rows, columns) = (vec![20.0, 40.0, 40.0, 80.0, 80.0, 160.0], vec![20.0, 40.0, 80.0, 40.0, 80.0, 160.0]);
    assert_eq!(got, [rows, columns, vec![3.0], vec![60.0, 120.0, 240.0]]);
}

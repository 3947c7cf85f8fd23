//! What a module says of the values of its inputs.

use crate::net::{Net, attr, int, list, node};
use odc_ir::core::TensorValue;
use odc_ir::graph::interp;
use odc_onnx::proto::{AttributeProto, AttributeType, DataType, GraphProto, ValueInfoProto};

fn said(net: &Net) -> Vec<String> {
    let m = net.module();
    m.to_string().lines().map(str::trim).filter(|l| l.starts_with("in_range")).map(str::to_owned).collect()
}

fn gather(ty: DataType) -> Net {
    Net::new(17).input("x", &["n", "3"]).typed("i", ty, &["k", "2"])
}

#[test]
fn indices_are_followed_to_their_input() {
    let rows = "in_range \"i\" from [-n] to [n - 1] by \"Gather /Gather\"";
    let plain = gather(DataType::Int64).node("Gather", &["x", "i"], &["y"], vec![]).output("y");
    assert_eq!(said(&plain), [rows]);
    let turned = gather(DataType::Int32)
        .node("Transpose", &["i"], &["t"], vec![list("perm", &[1, 0])])
        .node("Cast", &["t"], &["c"], vec![int("to", 7)])
        .node("Gather", &["x", "c"], &["y"], vec![])
        .output("y");
    assert_eq!(said(&turned), [rows]);
    // Computed, cut to fewer bits, or some of them only: those are clamped.
    let computed = gather(DataType::Int64).node("Abs", &["i"], &["a"], vec![]).node("Gather", &["x", "a"], &["y"], vec![]).output("y");
    let cut =
        gather(DataType::Int64).node("Cast", &["i"], &["a"], vec![int("to", 6)]).node("Gather", &["x", "a"], &["y"], vec![]).output("y");
    assert_eq!((said(&computed), said(&cut)), (vec![], vec![]));
}

#[test]
fn parts_of_tuples_have_their_own_ranges() {
    let net = gather(DataType::Int64).node("GatherND", &["x", "i"], &["y"], vec![]).output("y");
    assert_eq!(said(&net), ["in_range \"i\" from [-n, -3] to [n - 1, 2] by \"GatherND /GatherND\""]);
    let run = |at: &[i64]| {
        let x = TensorValue::from_f32(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let i = TensorValue::from_i64(&[at.len() / 2, 2], at).unwrap();
        interp::run(&net.module(), &[("x".into(), x), ("i".into(), i)]).map(|y| y[0].to_f32())
    };
    assert_eq!(run(&[1, 2, -2, -3]).unwrap(), [5.0, 0.0]);
    let e = run(&[1, 2, 2, 0]).unwrap_err().to_string();
    assert!(e.contains("element 2 of input `i` is 2") && e.contains("-2 to 1"), "{e}");
    assert!(run(&[0, 3]).is_err());
}

/// A branch may not be taken; neither where it becomes a function nor where both are computed.
#[test]
fn branches_say_nothing() {
    let branch = |name: &str, op: &str, inputs: &[&str]| {
        let output = vec![ValueInfoProto { name: Some("r".into()), ..Default::default() }];
        let g = GraphProto { name: Some(op.into()), node: vec![node(op, inputs, &["r"], vec![])], output, ..Default::default() };
        AttributeProto { g: Some(g), ..attr(name, AttributeType::Graph) }
    };
    for rows in ["n", "k"] {
        let attributes = vec![branch("then_branch", "Gather", &["x", "i"]), branch("else_branch", "Relu", &["x"])];
        let net = Net::new(17)
            .input("x", &["n", "3"])
            .typed("i", DataType::Int64, &[rows])
            .typed("c", DataType::Bool, &[])
            .node("If", &["c"], &["y"], attributes)
            .output("y");
        assert_eq!(said(&net), [""; 0], "{rows}");
    }
}

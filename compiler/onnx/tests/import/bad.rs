//! What must be refused, and how: every problem at once, with node names and stable codes.

use crate::net::{Net, floats, int, one};
use odc_onnx::Code;
use odc_onnx::proto::{DataType, NodeProto};

#[test]
fn all_problems_at_once_with_node_names() {
    let n = Net::new(17)
        .input("x", &["n", "4"])
        .node("Mystery", &["x"], &["a"], vec![])
        .node("Relu", &["a"], &["b"], vec![])
        .node("Softmax", &["x"], &["c"], vec![int("axis", 7)])
        .node("Riddle", &["x"], &["d"], vec![])
        .output("b");
    assert_eq!(n.codes(), [Code::UnsupportedOp, Code::BadAttribute, Code::UnsupportedOp]);
    let text = n.error();
    assert!(text.contains("node `/Mystery` (Mystery)") && text.contains("node `/Softmax` (Softmax)"), "{text}");
}

#[test]
fn other_domains_and_versions() {
    let mut n = Net::new(17).input("x", &["4"]).output("y");
    n.graph().node.push(NodeProto {
        domain: Some("com.example".into()),
        op_type: Some("Relu".into()),
        input: vec!["x".into()],
        output: vec!["y".into()],
        ..Default::default()
    });
    assert_eq!(n.codes(), [Code::UnsupportedOp]);
    assert!(n.error().contains("(com.example.Relu)"));
    assert_eq!(one(13, "HardSwish", &["4"], vec![], vec![]).codes(), [Code::UnsupportedVersion]);
    for v in [0, 29, -1] {
        assert!(one(v, "Relu", &["4"], vec![], vec![]).codes().contains(&Code::Opset), "{v}");
    }
}

#[test]
fn names() {
    let n = Net::new(17).input("x", &["4"]).input("x", &["4"]).node("Relu", &["x"], &["y"], vec![]).output("y").output("y");
    assert_eq!(n.codes(), [Code::DuplicateName, Code::DuplicateName]);
    let n = Net::new(17).input("x", &["4"]).node("Add", &["x", "z"], &["y"], vec![]).output("y");
    assert_eq!(n.codes(), [Code::UndefinedName]);
    let n = Net::new(17).input("x", &["4"]).node("Relu", &["x"], &["y"], vec![]).output("q");
    assert_eq!(n.codes(), [Code::UndefinedName]);
    let n = Net::new(17).input("x", &["4"]).node("Relu", &["x"], &["y"], vec![]);
    assert_eq!(n.codes(), [Code::BadSignature]);
}

#[test]
fn arity_and_signature() {
    assert_eq!(Net::new(17).input("x", &["4"]).node("Add", &["x"], &["y"], vec![]).output("y").codes(), [Code::Arity]);
    assert_eq!(Net::new(17).input("x", &["4"]).node("Where", &["x", "", "x"], &["y"], vec![]).output("y").codes(), [Code::Arity]);
    assert_eq!(
        Net::new(17).typed("x", DataType::Complex64, &["4"]).node("Identity", &["x"], &["y"], vec![]).output("y").codes(),
        [Code::UnsupportedType]
    );
    let mut n = Net::new(17).input("x", &[]).node("Relu", &["x"], &["y"], vec![]).output("y");
    n.graph().input[0].r#type = None;
    assert_eq!(n.codes(), [Code::BadSignature]);
}

#[test]
fn initializers_that_are_inputs_too_are_constants() {
    let n = Net::new(17)
        .input("x", &["4"])
        .input("w", &["4"])
        .weights([floats("w", &[4], &[1.0; 4])])
        .node("Add", &["x", "w"], &["y"], vec![])
        .output("y");
    assert_eq!(n.params(), ["f32[4]"]);
}

#[test]
fn sizes_that_overflow() {
    let big = "3000000000";
    let n = Net::new(17).input("x", &[big, "1", "1"]).input("z", &["1", big, big]).node("Add", &["x", "z"], &["y"], vec![]).output("y");
    assert_eq!(n.codes(), [Code::Limit, Code::Limit]);
    let mut n =
        Net::new(17).input("x", &["4"]).weights([floats("w", &[4], &[1.0; 3])]).node("Add", &["x", "w"], &["y"], vec![]).output("y");
    assert_eq!(n.codes(), [Code::TensorData]);
    n.graph().initializer[0].dims = vec![i64::MAX, 4];
    assert_eq!(n.codes(), [Code::TensorData]);
}

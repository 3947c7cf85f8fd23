//! Model-local functions are expanded where they are called.

use crate::net::{Net, node};
use odc_onnx::proto::{FunctionProto, OperatorSetIdProto};

/// A call of a model-local function is its body, named after the call.
#[test]
fn calls_are_expanded() {
    let mut net = Net::new(18).input("x", &["n"]).output("y");
    let mut call = node("Twice", &["x"], &["y"], vec![]);
    call.domain = Some("local".into());
    net.graph().node.push(call);
    net.model.functions.push(FunctionProto {
        name: Some("Twice".into()),
        domain: Some("local".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: vec![node("Abs", &["a"], &["t"], vec![]), node("Neg", &["t"], &["b"], vec![])],
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(18) }],
        ..Default::default()
    });
    assert_eq!(net.body(), ["%1 = unary {f = abs} %0 : f32[n]", "%2 = unary {f = neg} %1 : f32[n]"]);
    let text = net.module().to_string();
    assert!(text.contains("loc(\"/Twice//Abs\")"), "{text}");
}

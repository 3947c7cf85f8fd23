//! Elementwise operators: functions, broadcasting, types.

use crate::net::{Net, float, floats, int, one, text};
use odc_onnx::Code;
use odc_onnx::proto::DataType;

#[test]
fn names_become_functions() {
    for (op, f) in [("Relu", "relu"), ("Sigmoid", "sigmoid"), ("Erf", "erf"), ("HardSwish", "hard_swish"), ("Neg", "neg")] {
        assert_eq!(one(17, op, &["n", "3"], vec![], vec![]).body(), [format!("%1 = unary {{f = {f}}} %0 : f32[n, 3]")]);
    }
    assert_eq!(one(17, "IsNaN", &["3"], vec![], vec![]).body(), ["%1 = unary {f = is_nan} %0 : bool[3]"]);
    assert_eq!(one(20, "Gelu", &["3"], vec![], vec![text("approximate", "tanh")]).body(), ["%1 = unary {f = gelu_tanh} %0 : f32[3]"]);
    assert_eq!(one(17, "LeakyRelu", &["3"], vec![], vec![float("alpha", 0.5)]).body(), ["%1 = leaky_relu {alpha = 0.5} %0 : f32[3]"]);
}

#[test]
fn broadcasting() {
    let net = |a: &[&str], b: &[&str]| Net::new(14).input("a", a).input("b", b).node("Add", &["a", "b"], &["y"], vec![]).output("y");
    assert_eq!(net(&["n", "1", "4"], &["3", "1"]).result(), "f32[n, 3, 4]");
    assert_eq!(net(&["n", "h"], &["n", "h"]).result(), "f32[n, h]");
    assert_eq!(net(&[], &["n"]).result(), "f32[n]");
    // Two names for one size are one size.
    let same = net(&["n", "3"], &["m", "3"]);
    assert_eq!((same.result(), same.params()[1].as_str()), ("f32[n, 3]".into(), "f32[n, 3]"));
    assert_eq!(net(&["2"], &["3"]).codes(), [Code::BadOperand]);
}

#[test]
fn types_must_agree() {
    let n = Net::new(14).input("a", &["2"]).typed("b", DataType::Int64, &["2"]).node("Add", &["a", "b"], &["y"], vec![]).output("y");
    assert_eq!(n.codes(), [Code::BadOperand]);
    assert!(n.error().contains("f32[2] and i64[2]"));
    let n = Net::new(14).typed("a", DataType::Int64, &["2"]).node("Sqrt", &["a"], &["y"], vec![]).output("y");
    assert_eq!(n.codes(), [Code::BadOperand]);
}

#[test]
fn clip_in_both_forms() {
    let old = one(6 + 1, "Clip", &["3"], vec![], vec![float("min", 0.0), float("max", 6.0)]);
    let new = one(13, "Clip", &["3"], vec![floats("lo", &[], &[0.0]), floats("hi", &[], &[6.0])], vec![]);
    let want = ["%2 = binary {f = max} %0, %1 : f32[3]", "%4 = binary {f = min} %2, %3 : f32[3]"];
    assert_eq!(old.body(), want);
    assert_eq!(new.body(), want);
    let half =
        Net::new(13).input("x", &["3"]).weights([floats("hi", &[], &[6.0])]).node("Clip", &["x", "", "hi"], &["y"], vec![]).output("y");
    assert_eq!(half.body(), ["%2 = binary {f = min} %0, %1 : f32[3]"]);
}

#[test]
fn powers_and_casts() {
    let n = Net::new(15).input("x", &["3"]).weights([crate::net::ints("e", &[2])]).node("Pow", &["x", "e"], &["y"], vec![]).output("y");
    assert_eq!(n.body(), ["%2 = binary {f = pow} %0, %1 : f32[3]"], "the exponent's literal has the base's type");
    assert_eq!(one(13, "Cast", &["3"], vec![], vec![int("to", 7)]).body(), ["%1 = cast %0 : i64[3]"]);
    assert_eq!(one(13, "Cast", &["3"], vec![], vec![int("to", 1)]).body(), [""; 0], "to its own type is nothing");
    assert_eq!(one(13, "Cast", &["3"], vec![], vec![int("to", 8)]).codes(), [Code::UnsupportedUse]);
    assert_eq!(one(13, "Cast", &["3"], vec![], vec![int("to", 14)]).codes(), [Code::UnsupportedType]);
    assert_eq!(one(13, "Cast", &["3"], vec![], vec![]).codes(), [Code::BadAttribute]);
}

#[test]
fn conditions() {
    let n = Net::new(16)
        .input("x", &["n", "4"])
        .weights([floats("z", &[], &[0.0])])
        .node("Greater", &["x", "z"], &["c"], vec![])
        .node("Where", &["c", "x", "z"], &["y"], vec![])
        .output("y");
    assert_eq!(n.body(), ["%2 = binary {f = gt} %0, %1 : bool[n, 4]", "%3 = select %2, %0, %1 : f32[n, 4]"]);
}

#[test]
fn operators_of_many_operands() {
    let n = Net::new(13).input("a", &["2"]).input("b", &["2"]).input("c", &["2"]).node("Max", &["a", "b", "c"], &["y"], vec![]).output("y");
    assert_eq!(n.body(), ["%3 = binary {f = max} %0, %1 : f32[2]", "%4 = binary {f = max} %3, %2 : f32[2]"]);
}

//! Models that contradict themselves or ask for too much, a few of each kind: typed errors, whatever else is in them.

use crate::net::{Net, attr, floats, int, ints, list, node, text};
use odc_onnx::proto::{AttributeProto, AttributeType, DataType, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto};
use odc_onnx::{Code, Limits};

fn relu(dims: &[&str]) -> Net {
    Net::new(17).input("x", dims).node("Relu", &["x"], &["y"], vec![]).output("y")
}

/// `y = f(x, constants…)`.
fn with(op: &str, x: &[&str], constants: Vec<TensorProto>, attribute: Vec<odc_onnx::proto::AttributeProto>) -> Net {
    let mut names = vec!["x".to_string()];
    names.extend(constants.iter().map(|t| t.name().to_string()));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Net::new(17).input("x", x).weights(constants).node(op, &names, &["y"], attribute).output("y")
}

#[test]
fn versions() {
    let set = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
    let mut n = relu(&["2"]);
    n.model.opset_import.push(set("ai.onnx", 16));
    assert_eq!(n.codes(), [Code::Opset]);
    n.model.opset_import = vec![set("", 17), set("ai.onnx", 17)];
    assert_eq!(n.params(), ["f32[2]"]);
    for v in [0, -1, 1000, i64::MAX] {
        n.model.ir_version = Some(v);
        assert_eq!(n.codes(), [Code::Opset], "{v}");
    }
}

#[test]
fn declarations_that_lie() {
    let declared = |name: &str, ty, dims: &[&str]| Net::new(17).typed(name, ty, dims).graph().input.remove(0);
    let mut n = relu(&["n", "3"]);
    n.graph().output[0] = declared("y", DataType::Float, &["n", "3"]);
    assert_eq!(n.result(), "f32[n, 3]");
    for (ty, dims) in [(DataType::Int64, &["n", "3"][..]), (DataType::Float, &["n", "4"]), (DataType::Float, &["3"])] {
        n.graph().output[0] = declared("y", ty, dims);
        assert_eq!(n.codes(), [Code::BadSignature], "{ty:?} {dims:?}");
    }
    // Inside of the graph exporters leave stale sizes, but a type is a type.
    let mut n = Net::new(17).input("x", &["2"]).node("Relu", &["x"], &["t"], vec![]).node("Neg", &["t"], &["y"], vec![]).output("y");
    n.graph().value_info.push(declared("t", DataType::Float, &["7"]));
    assert_eq!(n.result(), "f32[2]");
    n.graph().value_info[0] = declared("t", DataType::Double, &["2"]);
    assert_eq!(n.codes(), [Code::BadSignature]);
}

#[test]
fn more_than_there_is() {
    let mut n = relu(&["2"]);
    n.graph().node[0].output.push("z".into());
    assert_eq!(n.codes(), [Code::Arity]);
    let mut n = relu(&["2"]);
    let f = FunctionProto { name: Some("F".into()), domain: Some("d".into()), ..Default::default() };
    n.model.functions = vec![f.clone(), f];
    assert_eq!(n.codes(), [Code::BadFunction]);
    let both = TensorProto { raw_data: Some(vec![0; 8].into()), ..floats("w", &[2], &[1.0, 2.0]) };
    assert_eq!(with("Add", &["2"], vec![both], vec![]).codes()[0], Code::TensorData);
    let mut n = Net::new(17).typed("x", DataType::Bool, &["2", "2"]).node("MatMul", &["x", "x"], &["y"], vec![]).output("y");
    assert_eq!(n.codes(), [Code::BadOperand]);
    n.graph().node[0] = node("Transpose", &["x"], &["y"], vec![list("perm", &[-1, 0])]);
    assert_eq!(n.codes(), [Code::BadAttribute]);
}

#[test]
fn constant_indices_lie_in_their_axes() {
    let at = |v: &[i64], dims: &[i64]| TensorProto { dims: dims.to_vec(), ..ints("i", v) };
    assert_eq!(with("GatherND", &["2", "3"], vec![at(&[1, 2], &[1, 2])], vec![]).result(), "f32[1]");
    for v in [[0, 9], [2, 0], [0, -4]] {
        assert_eq!(with("GatherND", &["2", "3"], vec![at(&v, &[1, 2])], vec![]).codes(), [Code::BadOperand], "{v:?}");
    }
    // More of them than the importer computes with.
    let mut many = vec![0; 100];
    assert_eq!(with("Gather", &["2", "3"], vec![at(&many, &[100])], vec![]).result(), "f32[100, 3]");
    many[99] = 2;
    assert_eq!(with("Gather", &["2", "3"], vec![at(&many, &[100])], vec![]).codes(), [Code::BadOperand]);
    let far = vec![at(&[1, 9], &[2, 1]), floats("u", &[2, 1], &[0.0; 2])];
    assert_eq!(with("ScatterElements", &["4", "1"], far, vec![]).codes(), [Code::BadOperand]);
}

#[test]
fn limits_and_how_to_raise_them() {
    let axes = vec!["1"; 65];
    assert_eq!(relu(&axes).codes(), [Code::Limit, Code::Limit]);
    let huge = with("Expand", &["1"], vec![ints("s", &[1 << 20, 1 << 20])], vec![]);
    let faults = huge.import().unwrap_err();
    assert_eq!(faults[0].code, Code::Limit);
    assert!(faults[0].help.as_ref().unwrap().contains("--limit tensor_bytes=4398046511104"), "{faults:?}");
    let mut raised = huge;
    assert!(raised.options.limits.set("tensor_bytes", 1 << 42));
    assert_eq!(raised.result(), "f32[1048576, 1048576]");
    assert!(!Limits::default().set("nonsense", 1));
    // No element takes part in it, however long the step.
    let far = vec![ints("s", &[0]), ints("e", &[i64::MAX]), ints("a", &[0]), ints("t", &[i64::MAX])];
    assert_eq!(with("Slice", &["3"], far, vec![]).result(), "f32[1]");
}

/// `v = v + v` a million times, in as many loops around each other.
fn loops(depth: usize) -> Vec<NodeProto> {
    if depth == 0 {
        return vec![node("Add", &["v0", "v0"], &["out0"], vec![])];
    }
    let at = |name: &str, k: usize| format!("{name}{k}");
    let (value, out, inner) = (at("v", depth), at("out", depth), depth - 1);
    let port = |name: String, ty, dims: &[&str]| Net::new(17).typed(&name, ty, dims).graph().input.remove(0);
    let flag = |name| port(at(name, depth), DataType::Bool, &[]);
    let vector = |name| port(at(name, inner), DataType::Float, &["2"]);
    let mut body = GraphProto { node: loops(inner), ..Default::default() };
    body.node.push(node("Identity", &[&at("go", depth)], &[&at("on", depth)], vec![]));
    body.input = vec![port(at("i", depth), DataType::Int64, &[]), flag("go"), vector("v")];
    body.output = vec![flag("on"), vector("out")];
    let body = AttributeProto { g: Some(body), ..attr("body", AttributeType::Graph) };
    vec![node("Loop", &["trips", "", &value], &[&out], vec![body])]
}

#[test]
fn loops_in_loops_are_bounded_together() {
    let net = |depth| {
        let mut n = Net::new(17).input("v1", &["2"]).weights([TensorProto { dims: vec![], ..ints("trips", &[1_000_000]) }]).output("out1");
        if depth > 1 {
            n = Net::new(17).input(&format!("v{depth}"), &["2"]).weights(n.graph().initializer.clone()).output(&format!("out{depth}"));
        }
        n.graph().node = loops(depth);
        n
    };
    assert_eq!(net(1).result(), "f32[2]");
    for depth in [4, 12] {
        assert!(net(depth).codes().contains(&Code::Limit), "{depth}");
    }
}

#[test]
fn shapes_are_lists_and_digits_may_be_names() {
    let square = TensorProto { dims: vec![1, 2], ..ints("s", &[3, 2]) };
    assert_eq!(with("Reshape", &["6"], vec![square], vec![]).codes(), [Code::BadOperand]);
    assert_eq!(relu(&["2*3"]).params(), ["f32[d2_3]"]);
}

/// A few bytes of attributes ask for eight million columns: no table of them is made (a fuzzer's finding).
#[test]
fn columns_of_grams_cost_nothing() {
    let mut attrs = vec![text("mode", "TF"), int("min_gram_length", 1), int("max_gram_length", 1), int("max_skip_count", 0)];
    attrs.extend([list("ngram_counts", &[0]), list("ngram_indexes", &[1 << 23]), list("pool_int64s", &[7])]);
    let n = Net::new(17).typed("x", DataType::Int64, &["4"]).node("TfIdfVectorizer", &["x"], &["y"], attrs).output("y");
    assert!(n.module().consts.iter().all(|c| c.bytes.len() < 100));
}

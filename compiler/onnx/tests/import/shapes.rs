//! Chains of operators on shapes vanish: they become sizes.

use crate::net::{Net, floats, int, ints, list, one};
use odc_onnx::Code;
use odc_onnx::proto::DataType;

/// What TorchScript writes for `x.view(x.size(0), x.size(1) * 2, -1)`.
#[test]
fn chains_of_shapes_vanish() {
    let zero = || vec![int("axis", 0)];
    let n = Net::new(14)
        .input("x", &["n", "s", "64"])
        .weights([ints("two", &[2]), ints("minus", &[-1]), ints("a", &[0])])
        .node("Shape", &["x"], &["shape"], vec![])
        .node("Constant", &[], &["i0"], vec![int("value_int", 0)])
        .node("Constant", &[], &["i1"], vec![int("value_int", 1)])
        .node("Gather", &["shape", "i0"], &["g0"], zero())
        .node("Gather", &["shape", "i1"], &["g1"], zero())
        .node("Mul", &["g1", "two"], &["m"], vec![])
        .node("Unsqueeze", &["g0", "a"], &["u"], vec![])
        .node("Concat", &["u", "m", "minus"], &["c"], zero())
        .node("Reshape", &["x", "c"], &["y"], vec![])
        .output("y");
    assert_eq!(n.body(), ["%1 = reshape %0 : f32[n, 2*s, 32]"]);
}

#[test]
fn sizes_needed_as_data_become_dims() {
    let n = Net::new(14)
        .input("x", &["n", "s"])
        .node("Shape", &["x"], &["shape"], vec![])
        .node("Cast", &["shape"], &["f"], vec![int("to", 1)])
        .output("f");
    assert_eq!(n.body(), ["%1 = dims {values = [n, s]} : f32[2]"]);
}

/// Half of a size by way of floats, as Resize's exporters do it.
#[test]
fn sizes_survive_floats() {
    let n = Net::new(14)
        .input("x", &["n", "s"])
        .weights([floats("half", &[], &[0.5])])
        .node("Shape", &["x"], &["shape"], vec![])
        .node("Cast", &["shape"], &["f"], vec![int("to", 1)])
        .node("Mul", &["f", "half"], &["h"], vec![])
        .node("Floor", &["h"], &["r"], vec![])
        .node("Cast", &["r"], &["i"], vec![int("to", 7)])
        .node("ConstantOfShape", &["i"], &["y"], vec![])
        .output("y");
    assert_eq!(n.result(), "f32[floordiv(n, 2), floordiv(s, 2)]");
}

/// `Where(Equal(shape, -1), 1, shape)`: torch's `expand`.
#[test]
fn comparisons_of_sizes_are_decided() {
    let n = Net::new(14)
        .input("x", &["1", "4"])
        .input("like", &["n", "4"])
        .weights([ints("minus", &[-1]), ints("one", &[1])])
        .node("Shape", &["like"], &["shape"], vec![])
        .node("Equal", &["shape", "minus"], &["e"], vec![])
        .node("Where", &["e", "one", "shape"], &["w"], vec![])
        .node("Expand", &["x", "w"], &["y"], vec![])
        .output("y");
    assert_eq!(n.body(), ["%2 = expand %0 : f32[n, 4]"]);
}

#[test]
fn data_dependent_shapes_are_refused() {
    let n = Net::new(14)
        .input("x", &["4"])
        .typed("shape", DataType::Int64, &["2"])
        .node("Reshape", &["x", "shape"], &["y"], vec![])
        .output("y");
    assert_eq!(n.codes(), [Code::DataDependentShape]);
}

#[test]
fn reshape_rules() {
    let net = |dims: &[&str], to: &[i64]| one(14, "Reshape", dims, vec![ints("s", to)], vec![]);
    assert_eq!(net(&["n", "6"], &[0, 2, -1]).result(), "f32[n, 2, 3]");
    assert_eq!(net(&["n", "s", "6"], &[-1, 6]).result(), "f32[n*s, 6]");
    assert_eq!(net(&["2", "3"], &[4, -1]).codes(), [Code::BadOperand]);
    assert_eq!(net(&["2", "3"], &[7]).codes(), [Code::BadOperand]);
    assert_eq!(net(&["2", "3"], &[-1, -1]).codes(), [Code::BadOperand]);
    assert_eq!(net(&["2", "3"], &[-2]).codes(), [Code::BadOperand]);
    assert_eq!(net(&["2", "3"], &[0, 0, 0]).codes(), [Code::BadOperand]);
    // A fixed size on one side fixes the symbol on the other.
    assert_eq!(net(&["n", "4"], &[2, 4]).params(), ["f32[2, 4]"]);
    // A flattened remainder needs a multiple.
    assert_eq!(net(&["n"], &[-1, 4]).params(), ["f32[4*n_div4]"]);
}

#[test]
fn axes_come_and_go() {
    assert_eq!(one(13, "Unsqueeze", &["n", "3"], vec![ints("a", &[0, -1])], vec![]).result(), "f32[1, n, 3, 1]");
    assert_eq!(one(11, "Unsqueeze", &["n", "3"], vec![], vec![list("axes", &[1])]).result(), "f32[n, 1, 3]");
    assert_eq!(one(13, "Squeeze", &["n", "1", "3"], vec![ints("a", &[1])], vec![]).result(), "f32[n, 3]");
    assert_eq!(one(13, "Squeeze", &["n", "1", "3"], vec![], vec![]).result(), "f32[n, 3]");
    assert_eq!(one(13, "Squeeze", &["n", "2"], vec![ints("a", &[1])], vec![]).codes(), [Code::BadOperand]);
    assert_eq!(one(13, "Flatten", &["n", "2", "3"], vec![], vec![]).result(), "f32[n, 6]");
    assert_eq!(one(13, "Flatten", &["n", "2", "3"], vec![], vec![int("axis", 0)]).result(), "f32[1, 6*n]");
    assert_eq!(one(13, "Transpose", &["n", "2", "3"], vec![], vec![]).body(), ["%1 = transpose {perm = [2, 1, 0]} %0 : f32[3, 2, n]"]);
    assert_eq!(one(13, "Transpose", &["n", "2"], vec![], vec![list("perm", &[0, 0])]).codes(), [Code::BadAttribute]);
}

#[test]
fn slices() {
    let net = |dims: &[&str], l: [&[i64]; 4]| {
        let w = ["s", "e", "a", "t"].iter().zip(l).map(|(n, v)| ints(n, v)).collect();
        one(13, "Slice", dims, w, vec![])
    };
    assert_eq!(net(&["n", "10"], [&[2], &[i64::MAX], &[1], &[3]]).body(), ["%1 = slice {starts = [0, 2], steps = [1, 3]} %0 : f32[n, 3]"]);
    assert_eq!(net(&["10"], [&[-3], &[-1], &[0], &[1]]).body(), ["%1 = slice {starts = [7], steps = [1]} %0 : f32[2]"]);
    assert_eq!(net(&["10"], [&[-1], &[i64::MIN], &[0], &[-1]]).body(), ["%1 = slice {starts = [9], steps = [-1]} %0 : f32[10]"]);
    assert_eq!(net(&["n"], [&[1], &[i64::MAX], &[0], &[1]]).result(), "f32[n - 1]");
    assert_eq!(net(&["n"], [&[0], &[-1], &[0], &[1]]).result(), "f32[n - 1]");
    assert_eq!(net(&["n"], [&[0], &[i64::MAX], &[0], &[1]]).body(), [""; 0], "everything is no slice");
    assert_eq!(net(&["4"], [&[9], &[12], &[0], &[1]]).result(), "f32[0]");
    assert_eq!(net(&["4"], [&[0], &[1], &[0], &[0]]).codes(), [Code::BadOperand]);
    assert_eq!(net(&["4"], [&[0], &[1], &[3], &[1]]).codes(), [Code::BadAttribute]);
    let old = one(9, "Slice", &["4"], vec![], vec![list("starts", &[1]), list("ends", &[3])]);
    assert_eq!(old.result(), "f32[2]");
}

#[test]
fn splits_and_joins() {
    let split = |opset, outs: &[&str], attrs| {
        Net::new(opset)
            .input("x", &["n", "6"])
            .node("Split", &["x"], outs, attrs)
            .node("Concat", outs, &["y"], vec![int("axis", 0)])
            .output("y")
    };
    assert_eq!(split(18, &["a", "b"], vec![int("axis", 1), int("num_outputs", 2)]).result(), "f32[2*n, 3]");
    assert_eq!(split(11, &["a", "b", "c"], vec![int("axis", 1), list("split", &[2, 2, 2])]).result(), "f32[3*n, 2]");
    assert_eq!(split(11, &["a", "b"], vec![int("axis", 1), list("split", &[2, 2])]).codes(), [Code::BadOperand]);
    assert_eq!(split(11, &["a", "b", "c", "d"], vec![int("axis", 1)]).codes(), [Code::BadOperand]);
}

#[test]
fn gathers() {
    let n = Net::new(13)
        .input("x", &["n", "5"])
        .typed("i", DataType::Int64, &["k"])
        .node("Gather", &["x", "i"], &["y"], vec![int("axis", 1)])
        .output("y");
    assert_eq!(n.body(), ["%2 = gather {axis = 1} %0, %1 : f32[n, k]"]);
    let last = Net::new(13)
        .input("x", &["n", "s", "5"])
        .node("Constant", &[], &["i"], vec![int("value_int", -1)])
        .node("Gather", &["x", "i"], &["y"], vec![int("axis", 1)])
        .output("y");
    assert_eq!(last.body(), ["%1 = slice {starts = [0, s - 1, 0], steps = [1, 1, 1]} %0 : f32[n, 1, 5]", "%2 = reshape %1 : f32[n, 5]"]);
    assert_eq!(one(13, "Gather", &["3"], vec![ints("i", &[3])], vec![]).codes(), [Code::BadOperand]);
    let nd = Net::new(13)
        .input("x", &["2", "n", "4"])
        .typed("i", DataType::Int64, &["b", "2"])
        .node("GatherND", &["x", "i"], &["y"], vec![])
        .output("y");
    assert_eq!(nd.result(), "f32[b, 4]");
}

/// The op wraps negative indices itself: wrapped twice, -6 of depth 4 would come back inside.
#[test]
fn one_hot_indices_are_passed_on() {
    let n = Net::new(13)
        .typed("i", DataType::Int64, &["n"])
        .node("Constant", &[], &["d"], vec![int("value_int", 4)])
        .weights([floats("v", &[2], &[0.0, 1.0])])
        .node("OneHot", &["i", "d", "v"], &["y"], vec![int("axis", -1)])
        .output("y");
    assert_eq!(n.body().last().map(String::as_str), Some("%2 = one_hot {axis = 1} %0, %1 : f32[n, 4]"));
}

#[test]
fn ranges_pads_and_blocks() {
    let n = Net::new(13)
        .input("x", &["n"])
        .node("Shape", &["x"], &["s"], vec![])
        .node("Squeeze", &["s"], &["l"], vec![])
        .node("Constant", &[], &["z"], vec![int("value_int", 0)])
        .node("Constant", &[], &["o"], vec![int("value_int", 1)])
        .node("Range", &["z", "l", "o"], &["y"], vec![])
        .output("y");
    assert_eq!(n.body(), ["%3 = range %1, %2 : i64[n]"]);
    let pad = one(13, "Pad", &["n", "4"], vec![ints("p", &[0, 1, 0, 2])], vec![]);
    assert_eq!(pad.body(), ["%1 = pad {mode = constant, before = [0, 1]} %0 : f32[n, 7]"]);
    let deep = one(13, "DepthToSpace", &["n", "12", "h", "w"], vec![], vec![int("blocksize", 2)]);
    assert_eq!(deep.result(), "f32[n, 3, 2*h, 2*w]");
    assert_eq!(one(13, "DepthToSpace", &["n", "13", "h", "w"], vec![], vec![int("blocksize", 2)]).codes(), [Code::BadOperand]);
    assert_eq!(one(13, "Tile", &["n", "2"], vec![ints("r", &[1, 3])], vec![]).result(), "f32[n, 6]");
}

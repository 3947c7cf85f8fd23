//! Reductions, softmax, norms and running sums, in the forms of all opsets.

use crate::net::{Net, float, floats, int, ints, list, one, weight};
use odc_onnx::Code;

#[test]
fn axes_as_attribute_and_as_input() {
    let want = ["%1 = reduce {f = mean, axes = [1], keep = false} %0 : f32[n]"];
    assert_eq!(one(13, "ReduceMean", &["n", "4"], vec![], vec![list("axes", &[-1]), int("keepdims", 0)]).body(), want);
    assert_eq!(one(18, "ReduceMean", &["n", "4"], vec![ints("a", &[-1])], vec![int("keepdims", 0)]).body(), want);
    assert_eq!(one(13, "ReduceSum", &["n", "4"], vec![], vec![]).result(), "f32[1, 1]");
    assert_eq!(one(13, "ReduceSum", &["n", "4"], vec![], vec![int("noop_with_empty_axes", 1)]).body(), [""; 0]);
    assert_eq!(one(13, "ReduceSum", &["n", "4"], vec![ints("a", &[2])], vec![]).codes(), [Code::BadAttribute]);
    // The attribute has gone: it must not be ignored.
    assert_eq!(one(18, "ReduceMean", &["n", "4"], vec![], vec![list("axes", &[1])]).codes(), [Code::UnknownAttribute]);
}

#[test]
fn softmax_of_both_ages() {
    assert_eq!(
        one(13, "Softmax", &["n", "4", "5"], vec![], vec![int("axis", 1)]).body(),
        ["%1 = softmax {axis = 1, log = false} %0 : f32[n, 4, 5]"]
    );
    let old = one(11, "Softmax", &["n", "4", "5"], vec![], vec![int("axis", 1)]).body();
    assert_eq!(old.len(), 3, "{old:?}");
    assert!(old[0].contains("reshape %0 : f32[n, 20]"));
    assert_eq!(one(11, "Softmax", &["n", "4"], vec![], vec![]).body(), ["%1 = softmax {axis = 1, log = false} %0 : f32[n, 4]"]);
}

#[test]
fn positions_and_running_sums() {
    let n = one(13, "ArgMax", &["n", "4"], vec![], vec![int("axis", -1), int("keepdims", 0)]);
    assert_eq!(n.body(), ["%1 = arg_reduce {f = max, axis = 1, keep = false, last = false} %0 : i64[n]"]);
    let n = one(14, "CumSum", &["n", "4"], vec![ints("a", &[1])], vec![int("exclusive", 1)]);
    assert_eq!(n.body(), ["%1 = cum_sum {axis = 1, exclusive = true, reverse = false} %0 : f32[n, 4]"]);
}

#[test]
fn normalisations() {
    let layer = one(17, "LayerNormalization", &["n", "s", "80"], vec![weight("g", &[80]), weight("b", &[80])], vec![float("epsilon", 0.5)]);
    assert!(layer.body()[0].contains("layer_norm {axis = 2, epsilon = 0.5}"));
    let four = || ["s", "b", "m", "v"].map(|n| floats(n, &[3], &[1.0; 3])).to_vec();
    let batch = one(15, "BatchNormalization", &["n", "3", "h"], four(), vec![float("momentum", 0.9), float("epsilon", 0.5)]);
    assert!(batch.body()[0].contains("batch_norm {epsilon = 0.5}"));
    let wrong = one(15, "BatchNormalization", &["n", "4", "h"], four(), vec![]);
    assert_eq!(wrong.codes(), [Code::BadOperand]);
    let group = one(21, "GroupNormalization", &["n", "6", "h"], vec![weight("s", &[6]), weight("b", &[6])], vec![int("num_groups", 2)]);
    assert!(group.body()[0].contains("group_norm {groups = 2"));
    let drop = Net::new(13).input("x", &["4"]).node("Dropout", &["x"], &["y"], vec![]).node("Relu", &["y"], &["z"], vec![]).output("z");
    assert_eq!(drop.body(), ["%1 = unary {f = relu} %0 : f32[4]"]);
}

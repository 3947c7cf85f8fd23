//! Operators of ai.onnx.ml by their values.

use crate::net::{Net, int, list, node, text, words};
use odc_ir::core::TensorValue;
use odc_ir::graph::interp;
use odc_onnx::proto::{AttributeProto, AttributeType};

fn net(op: &str, attribute: Vec<AttributeProto>, outputs: &[&str]) -> Net {
    let mut n = Net::new(18).input("x", &["n", "2"]);
    let mut node = node(op, &["x"], outputs, attribute);
    node.domain = Some("ai.onnx.ml".into());
    n.graph().node.push(node);
    outputs.iter().fold(n, |n, o| n.output(o))
}

fn run(net: &Net, rows: &[[f32; 2]]) -> Vec<Vec<f64>> {
    let x = TensorValue::from_f32(&[rows.len(), 2], rows.as_flattened()).unwrap();
    interp::run(&net.module(), &[("x".into(), x)]).unwrap().iter().map(TensorValue::to_f64).collect()
}

fn floats(name: &str, v: &[f32]) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(AttributeType::Floats as i32), floats: v.to_vec(), ..Default::default() }
}

/// Two trees: `x0 <= 1 ? (x1 > 0 ? 1 : 2) : 4`, and a leaf of 10 for target 1 behind `x1 < 5 or missing`.
fn trees() -> Vec<AttributeProto> {
    vec![
        list("nodes_treeids", &[0, 0, 0, 0, 0, 1, 1, 1]),
        list("nodes_nodeids", &[0, 1, 2, 3, 4, 0, 1, 2]),
        list("nodes_featureids", &[0, 1, 0, 0, 0, 1, 0, 0]),
        list("nodes_truenodeids", &[1, 3, 0, 0, 0, 1, 0, 0]),
        list("nodes_falsenodeids", &[2, 4, 0, 0, 0, 2, 0, 0]),
        list("nodes_missing_value_tracks_true", &[0, 0, 0, 0, 0, 1, 0, 0]),
        words("nodes_modes", &["BRANCH_LEQ", "BRANCH_GT", "LEAF", "LEAF", "LEAF", "BRANCH_LT", "LEAF", "LEAF"]),
        floats("nodes_values", &[1.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0]),
        list("target_treeids", &[0, 0, 0, 1]),
        list("target_nodeids", &[2, 3, 4, 1]),
        list("target_ids", &[0, 0, 0, 1]),
        floats("target_weights", &[4.0, 1.0, 2.0, 10.0]),
        int("n_targets", 2),
    ]
}

#[test]
fn rows_walk_down_all_trees() {
    let n = net("TreeEnsembleRegressor", trees(), &["y"]);
    let rows = [[1.0, 1.0], [0.0, -1.0], [2.0, 9.0], [f32::NAN, f32::NAN]];
    assert_eq!(run(&n, &rows)[0], [1.0, 10.0, 2.0, 10.0, 4.0, 0.0, 4.0, 10.0]);
    let mut least = trees();
    least.push(text("aggregate_function", "MIN"));
    assert_eq!(run(&net("TreeEnsembleRegressor", least, &["y"]), &rows[2..3])[0], [4.0, 0.0], "no leaf speaks of target 1");
}

#[test]
fn trees_that_are_none_are_refused() {
    let mut circle = trees();
    circle[3] = list("nodes_truenodeids", &[1, 0, 0, 0, 0, 1, 0, 0]);
    assert!(net("TreeEnsembleRegressor", circle, &["y"]).error().contains("circle"));
    let mut wide = trees();
    wide[2] = list("nodes_featureids", &[2, 1, 0, 0, 0, 1, 0, 0]);
    assert!(net("TreeEnsembleRegressor", wide, &["y"]).error().contains("column 2"));
}

#[test]
fn linear_classes() {
    let a = vec![
        floats("coefficients", &[1.0, 0.0, 0.0, 1.0, -1.0, -1.0]),
        floats("intercepts", &[0.0, 0.5, 0.0]),
        list("classlabels_ints", &[7, 8, 9]),
    ];
    let got = run(&net("LinearClassifier", a, &["l", "s"]), &[[3.0, 1.0], [0.0, 1.0], [-1.0, -1.0]]);
    assert_eq!(got, [vec![7.0, 8.0, 9.0], vec![3.0, 1.5, -4.0, 0.0, 1.5, -1.0, -1.0, -0.5, 2.0]]);
}

#[test]
fn support_vectors() {
    let mut a = vec![floats("support_vectors", &[1.0, 0.0, 0.0, 2.0]), floats("coefficients", &[1.0, -1.0]), floats("rho", &[0.5])];
    a.extend([int("n_supports", 2), text("kernel_type", "POLY"), floats("kernel_params", &[2.0, 1.0, 2.0])]);
    // (2 * 1 + 1)^2 - (2 * 2 + 1)^2 + 0.5
    assert_eq!(run(&net("SVMRegressor", a, &["y"]), &[[1.0, 1.0]])[0], [-15.5]);
}

#[test]
fn labels_default_and_the_last_key_counts() {
    let a = vec![floats("keys_floats", &[1.0, 2.0, 1.0]), list("values_int64s", &[10, 20, 30]), int("default_int64", -5)];
    assert_eq!(run(&net("LabelEncoder", a, &["y"]), &[[1.0, 2.0], [3.0, 1.0]])[0], [30.0, 20.0, -5.0, 30.0]);
}

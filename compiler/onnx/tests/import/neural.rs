//! Operators of networks, spelled out in others: numbers from the ONNX reference implementation.

use crate::net::{Net, attr, close, float, floats, int, one, ramp, run_in, run_one, text, weight};
use odc_ir::core::TensorValue;
use odc_onnx::Code;
use odc_onnx::proto::{AttributeProto, AttributeType, DataType, TensorProto};

fn ints(shape: &[usize], data: &[i64]) -> Option<TensorValue> {
    Some(TensorValue::from_i64(shape, data).unwrap())
}
fn some(k: usize, shape: &[usize]) -> Option<TensorValue> {
    Some(ramp(k, shape))
}
/// Negative (or positive) magnitudes.
fn signed(k: usize, shape: &[usize], sign: f32) -> Option<TensorValue> {
    let data: Vec<f32> = ramp(k, shape).to_f32().iter().map(|x| sign * x.abs()).collect();
    Some(TensorValue::from_f32(shape, &data).unwrap())
}

#[test]
fn attention_of_groups_with_a_row_that_sees_nothing() {
    let mask = TensorValue::from_bool(&[2, 3], &[true, false, false, false, false, false]).unwrap();
    let inputs = [some(0, &[1, 2, 2, 2]), some(1, &[1, 1, 3, 2]), some(2, &[1, 1, 3, 2]), Some(mask)];
    let y = run_one(23, "Attention", &inputs, vec![], 1);
    close(&y[0], &[0.25, -0.75, 0.0, 0.0, 0.25, -0.75, 0.0, 0.0]);
}

#[test]
fn causal_attention_behind_a_cache() {
    let cache = [some(3, &[1, 1, 2, 2]), some(4, &[1, 1, 2, 2])];
    let mut inputs = vec![some(0, &[1, 2, 2, 2]), some(1, &[1, 1, 3, 2]), some(2, &[1, 1, 3, 2]), None];
    inputs.extend(cache);
    let y = run_one(25, "Attention", &inputs, vec![int("is_causal", 1), float("softcap", 2.0)], 3);
    close(&y[0], &[-0.10224, -0.88637, -0.01176, -0.72857, -0.53891, -0.0825, -0.16674, 0.07233]);
    assert_eq!(y[1].shape, [1, 1, 5, 2]);
}

#[test]
fn attention_of_any_length() {
    let net = |heads: i64| {
        let four = ["q", "k", "v"].into_iter().fold(Net::new(24), |n, name| n.input(name, &["b", "s", "8"]));
        let heads = vec![int("q_num_heads", heads), int("kv_num_heads", 2), int("is_causal", 1)];
        four.node("Attention", &["q", "k", "v"], &["y"], heads).output("y")
    };
    assert_eq!(net(2).result(), "f32[b, s, 8]");
    // Nothing guards a row that always sees itself.
    assert!(!net(2).body().iter().any(|l| l.contains("reduce")));
    assert_eq!(net(3).codes(), [Code::BadOperand]);
}

#[test]
fn flex_attention_with_a_subgraph_for_scores() {
    let operands = || [some(0, &[1, 2, 2, 4]), some(1, &[1, 1, 3, 4]), some(2, &[1, 1, 3, 2])];
    let inner = Net::new(26).input("s", &["b", "h", "l", "k"]).weights([floats("two", &[], &[2.0])]);
    let graph = inner.node("Mul", &["s", "two"], &["t"], vec![]).output("t").graph().clone();
    let doubled = AttributeProto { g: Some(graph), ..attr("score_mod", AttributeType::Graph) };
    let plain = run_one(25, "Attention", &operands(), vec![float("scale", 1.0)], 1);
    let flex = run_in("ai.onnx.preview", Net::new(26), "FlexAttention", &operands(), vec![doubled], 1);
    close(&flex[0], &plain[0].to_f32());
}

#[test]
fn rotary_embedding_of_neighbours() {
    let inputs = [some(0, &[1, 2, 8]), some(1, &[4, 2]), some(2, &[4, 2]), ints(&[1, 2], &[3, 1])];
    let y = run_one(23, "RotaryEmbedding", &inputs, vec![int("num_heads", 2), int("interleaved", 1)], 1);
    let first = [1.375, -0.1875, 1.1875, 1.5625, -0.4375, 0.6875, 0.75, -1.25];
    let second = [-1.0, -0.8125, 0.1875, 0.9375, 0.625, 0.375, -0.9375, -0.1875];
    close(&y[0], &[first, second].concat());
}

#[test]
fn cross_entropy_ignores_a_class_that_is_none() {
    let inputs = [some(0, &[3, 4]), ints(&[3], &[1, 9, 3]), some(3, &[4])];
    let y = run_one(13, "SoftmaxCrossEntropyLoss", &inputs, vec![int("ignore_index", 9)], 2);
    close(&y[0], &[2.517]);
    assert_eq!(y[1].shape, [3, 4]);
}

#[test]
fn a_cache_written_in_a_circle() {
    let inputs = [some(0, &[2, 3, 1]), some(1, &[2, 2, 1]), ints(&[2], &[1, 2])];
    let y = run_one(24, "TensorScatter", &inputs, vec![text("mode", "circular"), int("axis", 1)], 1);
    close(&y[0], &[-1.25, -0.5, 1.25, -0.75, 0.25, 0.25]);
}

#[test]
fn linear_attention_in_steps() {
    let mut inputs: Vec<_> = (0..3).map(|k| some(k, &[1, 2, 2])).collect();
    inputs.extend([some(3, &[1, 1, 2, 2]), signed(4, &[1, 2, 1], -1.0), signed(5, &[1, 2, 1], 1.0)]);
    let y = run_one(27, "LinearAttention", &inputs, vec![int("q_num_heads", 1), int("kv_num_heads", 1)], 2);
    close(&y[0], &[-0.25773, -0.14439, -0.96101, -0.0133]);
    close(&y[1], &[0.41424, 0.05226, -0.92156, 0.00586]);
}

#[test]
fn norms_with_their_statistics() {
    let y = run_one(17, "LayerNormalization", &[some(0, &[2, 3]), some(1, &[3])], vec![], 3);
    close(&y[0], &[0.58123, 1.59839, -0.02906, -0.61237, 0.0, -0.30618]);
    close(&y[1], &[-0.41667, 0.25]);
    close(&y[2], &[1.39496, 1.22474]);
    let inputs = [some(0, &[2, 2, 2]), some(1, &[2]), some(2, &[2]), some(3, &[2]), signed(4, &[2], 1.0)];
    let y = run_one(15, "BatchNormalization", &inputs, vec![int("training_mode", 1), float("momentum", 0.5)], 3);
    close(&y[0], &[0.90527, -0.3179, -2.38818, 0.66976, -0.14316, 0.55579, 0.23291, -1.51448]);
    close(&y[1], &[0.34375, 0.21875]);
    close(&y[2], &[0.75586, 0.63086]);
}

#[test]
fn dropout_drops_nothing() {
    let y = run_one(13, "Dropout", &[some(0, &[3])], vec![], 2);
    close(&y[0], &ramp(0, &[3]).to_f32());
    assert_eq!(y[1].to_i64(), [1, 1, 1]);
    let yes = TensorProto { data_type: Some(DataType::Bool as i32), int32_data: vec![1], name: Some("t".into()), ..Default::default() };
    let training = one(13, "Dropout", &["4"], vec![weight("r", &[]), yes], vec![]);
    assert_eq!(training.result(), "f32[4]");
}

//! Operators of com.microsoft: numbers from ONNX Runtime.

use crate::net::{close, float, int, ramp, run_microsoft, text};
use odc_ir::core::{DType, TensorValue};

fn some(k: usize, shape: &[usize]) -> Option<TensorValue> {
    Some(ramp(k, shape))
}
fn i32s(shape: &[usize], data: &[i64]) -> Option<TensorValue> {
    Some(TensorValue::from_ints(DType::I32, shape, data).unwrap())
}
fn bytes(shape: &[usize], data: &[i64]) -> Option<TensorValue> {
    Some(TensorValue::from_ints(DType::U8, shape, data).unwrap())
}

#[test]
fn multi_head_attention_with_padding_and_a_cache() {
    let mut inputs: Vec<_> = (0..3).map(|k| some(k, &[1, 2, 4])).collect();
    inputs.extend([None, i32s(&[1, 3], &[1, 1, 0]), None, some(3, &[1, 2, 1, 2]), some(4, &[1, 2, 1, 2])]);
    let y = run_microsoft("MultiHeadAttention", &inputs, vec![int("num_heads", 2), int("unidirectional", 1)], 1);
    close(&y[0], &[0.06772, -0.53127, -0.06772, -1.06772, -0.64586, 0.32503, 0.63453, -0.36547]);
}

#[test]
fn grouped_queries_write_where_each_cache_ends() {
    let angles = ramp(3, &[8, 8]).to_f32();
    let table = |f: fn(f32) -> f32| {
        let data: Vec<f32> = angles.iter().map(|x| f(*x)).collect();
        Some(TensorValue::from_f32(&[8, 8], &data).unwrap())
    };
    let mut inputs = vec![some(0, &[2, 1, 32]), some(1, &[2, 1, 16]), some(2, &[2, 1, 16])];
    inputs.extend([some(3, &[2, 1, 3, 16]), some(4, &[2, 1, 3, 16]), i32s(&[2], &[3, 1]), i32s(&[], &[4])]);
    inputs.extend([table(f32::cos), table(f32::sin)]);
    let attributes = vec![int("num_heads", 2), int("kv_num_heads", 1), int("do_rotary", 1)];
    let y = run_microsoft("GroupQueryAttention", &inputs, attributes, 3);
    assert_eq!(y[1].shape, [2, 1, 4, 16]);
    let part = |v: &TensorValue, at: usize| TensorValue::from_f32(&[4], &v.to_f32()[at..at + 4]).unwrap();
    close(&part(&y[0], 0), &[-0.29953, 0.18322, 0.45047, -0.54953]);
    close(&part(&y[0], 32), &[0.54549, -0.45451, 0.79506, 0.29549]);
    // The second sample had one key: the new one is its second, and nothing follows.
    close(&part(&y[1], 48), &[-0.48052, 1.76666, 0.36593, -0.71098]);
    close(&part(&y[1], 80), &[-0.23725, -0.78336, 1.23041, -0.13508]);
    close(&part(&y[1], 96), &[0.0; 4]);
}

#[test]
fn residuals_are_normalised() {
    let inputs = [some(0, &[1, 1, 4]), some(1, &[1, 1, 4]), some(2, &[4]), some(3, &[4])];
    let y = run_microsoft("SkipLayerNormalization", &inputs, vec![float("epsilon", 1e-5)], 1);
    close(&y[0], &[0.64239, -0.99886, -1.24663, 0.75]);
}

#[test]
fn products_of_batches_that_stand_inside() {
    let attributes = vec![int("transBatchA", 1), int("transA", 1), float("alpha", 0.5)];
    let y = run_microsoft("FusedMatMul", &[some(0, &[3, 2, 2]), some(1, &[2, 3, 2])], attributes, 1);
    close(&y[0], &[-0.15625, -0.875, 0.15625, 0.59375, 0.0625, -0.75, -0.9375, 0.78125]);
}

#[test]
fn weights_of_four_bits() {
    let packed: Vec<i64> = (0..32).map(|i| i * 13 % 256).collect();
    let inputs = [some(0, &[2, 24]), bytes(&[2, 2, 8], &packed), some(1, &[4]), bytes(&[2], &[0x83, 0x59])];
    let attributes = vec![int("K", 24), int("N", 2), int("bits", 4), int("block_size", 16)];
    let y = run_microsoft("MatMulNBits", &inputs, attributes, 1);
    close(&y[0], &[-25.0625, 20.5625, -1.5, 5.0625]);
}

/// States are rounded to codes in every step, and zero points differ by direction.
#[test]
fn lstm_with_codes_as_weights() {
    let codes = |n: i64, by: i64| (0..n).map(|i| i * by % 256).collect::<Vec<_>>();
    let mut scales = [0.015; 16];
    (scales[3], scales[11]) = (0.005, 0.005);
    let floats = |shape: &[usize], data: &[f32]| Some(TensorValue::from_f32(shape, data).unwrap());
    let mut inputs = vec![some(0, &[3, 2, 3]), bytes(&[2, 3, 8], &codes(48, 37)), bytes(&[2, 2, 8], &codes(32, 53)), some(1, &[2, 16])];
    inputs.extend([None, some(2, &[2, 2, 2]), None, None, floats(&[2], &[0.01, 0.02]), bytes(&[2], &[128, 120])]);
    inputs.extend([floats(&[2, 8], &scales), bytes(&[2, 8], &[130; 16])]);
    let y = run_microsoft("DynamicQuantizeLSTM", &inputs, vec![text("direction", "bidirectional"), int("hidden_size", 2)], 3);
    assert_eq!(y[0].shape, [3, 2, 2, 2]);
    close(&y[1], &[-0.22215, 0.14989, -0.12436, 0.14684, -0.28966, 0.00034, -0.41315, -0.00822]);
    close(&y[2], &[-0.33457, 0.485, -0.17652, 0.5319, -0.34912, 0.01212, -0.44156, -0.00868]);
}
